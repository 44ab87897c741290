#include "examples/common/workers.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <thread>

#include "examples/common/program.hpp"

namespace argtape_examples {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

namespace {

volatile std::sig_atomic_t stop_signal = 0;

// SIGINT and SIGTERM are noted, as long as this lives. A second one ends the process as usual.
class StopSignals {
 public:
  StopSignals() {
    stop_signal = 0;
    struct sigaction note {};
    note.sa_handler = [](int signal) { stop_signal = signal; };
    note.sa_flags = static_cast<int>(SA_RESETHAND);
    for (std::size_t i = 0; i < 2; ++i) {
      ::sigaction(kSignals[i], nullptr, &before_[i]);
      // Who started it in the background, or under nohup, had it ignored.
      if (before_[i].sa_handler != SIG_IGN) ::sigaction(kSignals[i], &note, nullptr);
    }
  }
  ~StopSignals() {
    for (std::size_t i = 0; i < 2; ++i) ::sigaction(kSignals[i], &before_[i], nullptr);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  static constexpr int kSignals[2] = {SIGINT, SIGTERM};
  struct sigaction before_[2];
};

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// The progress of all cells, whoever works on them.
class Display {
 public:
  explicit Display(const Work& work)
      : work_(work),
        progress_(std::to_string(work.cells.size()) + " cells", kEach * work.cells.size(), sum()) {}

  void draw() {
    const Clock::time_point now = Clock::now();
    if (!progress_.terminal() || now - last_ < milliseconds(500)) return;
    last_ = now;
    // A cell that went back to its checkpoint is no reason to go back here.
    const std::size_t done = sum();
    progress_.step(done - std::min(done, progress_.done()));
  }

 private:
  static constexpr std::size_t kEach = 10000;

  std::size_t sum() const {
    double sum = 0;
    for (const auto& cell : work_.cells) sum += work_.folder.progress(cell.first);
    return static_cast<std::size_t>(sum * kEach);
  }

  const Work& work_;
  Progress progress_;
  Clock::time_point last_ = Clock::now();
};

void train(const Work& work, const std::string& name, Training& training, const CellLock& lock,
           Display* display) {
  std::uint64_t steps = 0;
  double seconds = 0;
  const std::string file = work.folder.checkpoint(name), kind = work.program + " " + name;
  const auto state = [&](argtape::Archive& a) {
    a("steps", steps);
    a("seconds", seconds);
    a("training", training);
  };
  if (work.folder.has_checkpoint(name)) try {
      argtape::load(file, state, kind);
    } catch (const std::runtime_error& e) {
      throw std::runtime_error(std::string(e.what()) + "; without that file the cell begins anew");
    }

  Clock::time_point now = Clock::now(), saved = now, shown{};
  for (;;) {
    const Clock::time_point start = now;
    const bool may_train = work.seconds == 0 || seconds < work.seconds;
    const Training::Did did = training.step(may_train);
    if (did == Training::Did::finished) break;
    now = Clock::now();
    if (did == Training::Did::trained) {
      ++steps;
      seconds += seconds_between(start, now);
    }
    if (stop_signal != 0 || seconds_between(saved, now) >= work.checkpoint) {
      argtape::save(file, state, kind);
      saved = now = Clock::now();
    }
    if (stop_signal != 0) throw Stopped{stop_signal};
    if (now - shown < milliseconds(200)) continue;
    lock.say(work.seconds == 0 ? training.progress()
                               : std::max(seconds / work.seconds, training.progress()));
    if (display != nullptr) display->draw();
    shown = now = Clock::now();
  }
  if (work.save)
    argtape::save(work.folder.network(name), [&](argtape::Archive& a) { training.save(a); });
  Json result = training.result();
  result["steps"] = steps;
  result["seconds"] = seconds;
  result["ms_per_step"] = steps == 0 ? 0 : 1000 * seconds / static_cast<double>(steps);
  work.folder.finish(name, result);
}

// False if somebody else is at it.
bool visit(const Work& work, const Cells::value_type& cell, Display* display) {
  const auto& [name, make] = cell;
  if (work.folder.settled(name)) return true;
  const CellLock lock(work.folder, name);
  if (!lock) return false;
  if (work.folder.done(name)) work.folder.tidy(name);
  if (work.folder.settled(name)) return true;
  try {
    train(work, name, *make(), lock, display);
  } catch (const std::system_error&) {
    throw;
  } catch (const std::bad_alloc&) {
    work.folder.fail(name, "there is not enough memory; free some, or choose less");
  } catch (const std::exception& error) {
    work.folder.fail(name, error.what());
  }
  return true;
}

void run(const Work& work, Display* display) {
  for (;;) {
    bool all_settled = true;
    for (const auto& cell : work.cells) all_settled = visit(work, cell, display) && all_settled;
    if (all_settled) return;
    for (int i = 0; i < 5 && stop_signal == 0; ++i) std::this_thread::sleep_for(milliseconds(100));
    if (stop_signal != 0) throw Stopped{stop_signal};
    if (display != nullptr) display->draw();
  }
}

// A worker process's whole life; an error's words go to the pipe. It is forked, not started anew:
// the data that the program has read are shared, and no thread runs yet, since those of the library
// start with the first training (OpenBLAS stops and restarts its own around fork()).
[[noreturn]] void be_worker(const Work& work, int words, pid_t parent) {
  // Only the parent answers to the terminal; it sends SIGTERM on, once. If it dies, so do we.
  std::signal(SIGINT, SIG_IGN);
#ifdef __linux__
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
  if (::getppid() != parent) stop_signal = SIGTERM;
  try {
    run(work, nullptr);
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    const std::string text = error.what();
    if (::write(words, text.data(), text.size()) < 0) std::_Exit(1);
  }
  std::_Exit(0);
}

}  // namespace

void work_here(const Work& work, bool show) {
  const StopSignals signals;
  std::optional<Display> display;
  if (show) display.emplace(work);
  run(work, display ? &*display : nullptr);
}

void work_in_processes(const Work& work, std::size_t jobs) {
  const StopSignals signals;
  Display display(work);
  int words[2];
  if (::pipe(words) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot start a worker");
  std::cout.flush();
  const pid_t parent = ::getpid();
  std::set<pid_t> alive;
  int reason = 0;
  for (std::size_t i = 0; i < jobs; ++i) {
    const pid_t child = ::fork();
    if (child == 0) be_worker(work, words[1], parent);
    if (child < 0) reason = errno;  // those there are do the work
    if (child > 0) alive.insert(child);
  }
  ::close(words[1]);
  if (alive.empty()) {
    ::close(words[0]);
    throw std::system_error(reason, std::generic_category(), "cannot start a worker");
  }
  for (bool told = false; !alive.empty();) {
    for (auto child = alive.begin(); child != alive.end();)
      child = ::waitpid(*child, nullptr, WNOHANG) == 0 ? std::next(child) : alive.erase(child);
    if (stop_signal != 0 && !told) {
      for (const pid_t child : alive) ::kill(child, SIGTERM);
      told = true;
    }
    display.draw();
    std::this_thread::sleep_for(milliseconds(20));
  }
  char text[1024];
  const ssize_t length = ::read(words[0], text, sizeof text);
  ::close(words[0]);
  if (stop_signal != 0) throw Stopped{stop_signal};
  if (length > 0) throw std::runtime_error(std::string(text, static_cast<std::size_t>(length)));
}

}  // namespace argtape_examples
