#include "examples/common/grid.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <optional>
#include <set>
#include <system_error>
#include <thread>

#include "examples/common/ranks.hpp"
#include "examples/common/run_folder.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;
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

// Thrown where a signal was noted, once all is saved.
struct Stopped {};

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

using Cells = std::vector<std::pair<std::string, Grid::Factory>>;

// The progress of all cells, whoever works on them.
class Display {
 public:
  Display(const RunFolder& folder, const Cells& cells)
      : folder_(folder),
        cells_(cells),
        progress_(std::to_string(cells.size()) + " cells", kEach * cells.size(), sum()) {}

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
    for (const auto& cell : cells_) sum += folder_.progress(cell.first);
    return static_cast<std::size_t>(sum * kEach);
  }

  const RunFolder& folder_;
  const Cells& cells_;
  Progress progress_;
  Clock::time_point last_ = Clock::now();
};

// Takes one cell after the other, until all are settled.
class Worker {
 public:
  Worker(const RunFolder& folder, const Cells& cells, std::string program, double limit,
         double every)
      : folder_(folder),
        cells_(cells),
        program_(std::move(program)),
        limit_(limit),
        every_(every) {}

  // Throws Stopped, and std::system_error where the folder cannot be written to.
  void run(Display* display) const;

 private:
  bool visit(const std::string& name, const Grid::Factory& factory, Display* display) const;
  void train(const std::string& name, const Grid::Factory& factory, const CellLock& lock,
             Display* display) const;

  const RunFolder& folder_;
  const Cells& cells_;
  std::string program_;
  double limit_, every_;
};

void Worker::run(Display* display) const {
  for (;;) {
    bool all_settled = true;
    for (const auto& [name, factory] : cells_)
      all_settled = visit(name, factory, display) && all_settled;
    if (all_settled) return;
    // The others have what is left. Should one of them die, his cell is taken over.
    for (int i = 0; i < 5 && stop_signal == 0; ++i) std::this_thread::sleep_for(milliseconds(100));
    if (stop_signal != 0) throw Stopped();
    if (display != nullptr) display->draw();
  }
}

// False if somebody else is at it.
bool Worker::visit(const std::string& name, const Grid::Factory& factory, Display* display) const {
  if (folder_.settled(name)) return true;
  const CellLock lock(folder_, name);
  if (!lock) return false;
  if (folder_.done(name)) folder_.tidy(name);
  if (folder_.settled(name)) return true;
  try {
    train(name, factory, lock, display);
  } catch (const std::system_error&) {
    throw;
  } catch (const std::exception& error) {
    folder_.fail(name, error.what());
  }
  return true;
}

void Worker::train(const std::string& name, const Grid::Factory& factory, const CellLock& lock,
                   Display* display) const {
  const std::unique_ptr<Training> training = factory();
  std::uint64_t steps = 0;
  double seconds = 0;
  const std::string file = folder_.checkpoint(name), kind = program_ + " " + name;
  const auto state = [&](argtape::Archive& a) {
    a("steps", steps);
    a("seconds", seconds);
    a("training", *training);
  };
  if (folder_.has_checkpoint(name)) argtape::load_archive(file, kind, state);

  Clock::time_point now = Clock::now(), saved = now, shown{};
  for (;;) {
    const Clock::time_point start = now;
    const bool may_train = limit_ == 0 || seconds < limit_;
    const Training::Did did = training->step(may_train);
    if (did == Training::Did::finished) break;
    now = Clock::now();
    if (did == Training::Did::trained) {
      ++steps;
      seconds += seconds_between(start, now);
    }
    if (stop_signal != 0 || seconds_between(saved, now) >= every_) {
      argtape::save_archive(file, kind, state);
      saved = now = Clock::now();
    }
    if (stop_signal != 0) throw Stopped();
    if (now - shown < milliseconds(200)) continue;
    lock.say(limit_ == 0 ? training->progress() : std::max(seconds / limit_, training->progress()));
    if (display != nullptr) display->draw();
    shown = now = Clock::now();
  }
  Json result = training->result();
  result["steps"] = steps;
  result["seconds"] = seconds;
  result["ms_per_step"] = steps == 0 ? 0 : 1000 * seconds / static_cast<double>(steps);
  folder_.finish(name, result);
}

// A worker process's whole life; an error's words go to the pipe. It is forked, not started anew:
// the data that the program has read are shared, and no thread runs yet, since those of the library
// start with the first training (OpenBLAS stops and restarts its own around fork()).
[[noreturn]] void be_worker(const Worker& worker, int words, pid_t parent) {
  // Only the parent answers to the terminal; it sends SIGTERM on, once. If it dies, so do we.
  std::signal(SIGINT, SIG_IGN);
#ifdef __linux__
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
#endif
  if (::getppid() != parent) stop_signal = SIGTERM;
  try {
    worker.run(nullptr);
  } catch (const Stopped&) {
  } catch (const std::exception& error) {
    const std::string text = error.what();
    if (::write(words, text.data(), text.size()) < 0) std::_Exit(1);
  }
  std::_Exit(0);
}

// `jobs` processes, until the last has ended. Throws Stopped, and std::runtime_error with the words
// of the first that could not go on.
void run_jobs(const Worker& worker, std::size_t jobs, Display& display) {
  int words[2];
  if (::pipe(words) != 0)
    throw std::system_error(errno, std::generic_category(), "cannot start a worker");
  std::cout.flush();
  const pid_t parent = ::getpid();
  std::set<pid_t> alive;
  int reason = 0;
  for (std::size_t i = 0; i < jobs; ++i) {
    const pid_t child = ::fork();
    if (child == 0) be_worker(worker, words[1], parent);
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
  if (stop_signal != 0) throw Stopped();
  if (length > 0) throw std::runtime_error(std::string(text, static_cast<std::size_t>(length)));
}

// A folder for a run that nobody wants to keep.
class PassingFolder {
 public:
  PassingFolder() {
    std::string name = (fs::temp_directory_path() / "argtape-run-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error(errno, std::generic_category(), "cannot make '" + name + "'");
    path_ = name;
  }
  ~PassingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PassingFolder(const PassingFolder&) = delete;
  PassingFolder& operator=(const PassingFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::vector<std::string> parts(const std::string& list) {
  std::vector<std::string> all(1);
  for (const char c : list)
    if (c == ',')
      all.emplace_back();
    else
      all.back() += c;
  return all;
}

std::string joined(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + word;
  return all;
}

}  // namespace

struct Grid::State {
  explicit State(Program& program) : program(program) {}

  void check_flags(const Ranks& ranks) const;
  Json manifest(const Json& settings) const;
  std::vector<Row> rows(const RunFolder& folder, const Json& manifest) const;
  void work(const RunFolder& folder, const Ranks& ranks) const;
  void tell_table(const RunFolder& folder, const Json& manifest) const;
  void tell_failures(const RunFolder& folder) const;
  std::string how_to_go_on() const;

  Program& program;
  int steps = 0, seeds = 1, jobs = 1;
  double seconds = 0, checkpoint = 60;
  std::string run;
  bool resume = false, table = false;
  std::vector<std::pair<std::string, const std::vector<std::string>*>> lists;
  Cells cells;
};

Grid::Grid(Program& program) : state_(std::make_unique<State>(program)) {
  State& s = *state_;
  program.option("--steps", s.steps, "of each training; 0: a number that suits the program", 0);
  program.option("--seeds", s.seeds, "how many seeds, --seed and those after it");
  program.option("--seconds", s.seconds,
                 "of training for each cell, and no more; 0: all steps, however long they take");
  program.option("--jobs", s.jobs, "processes that share the cells out between them");
  program.option("--run", s.run,
                 "a folder for checkpoints and results, so that the run can be resumed");
  program.option("--resume", s.resume, "go on with the run in the --run folder, or join it");
  program.option("--table", s.table, "show what the --run folder has so far, and run nothing");
  program.option("--checkpoint", s.checkpoint, "seconds between two checkpoints of a cell");
  program.app.get_option("--run")->type_name("DIR");
  if (launched_rank() == 0) return;
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO);
  ::close(nowhere);
}

Grid::~Grid() = default;

void Grid::list(const std::string& flag, std::vector<std::string>& chosen,
                const std::vector<std::string>& all, const std::string& help) {
  chosen = all;
  const auto choose = [flag, all, &chosen](const std::string& text) {
    chosen = parts(text);
    for (const std::string& name : chosen) {
      if (std::count(all.begin(), all.end(), name) == 0)
        throw WrongCall(flag + " has '" + name + "'; need some of " + joined(all));
      if (std::count(chosen.begin(), chosen.end(), name) > 1)
        throw WrongCall(flag + " has '" + name + "' twice; need each once");
    }
  };
  state_->program.app
      .add_option_function<std::string>(
          flag, choose, help + "; some of " + joined(all) + ", with commas, default: all")
      ->type_name("NAMES");
  state_->lists.emplace_back(flag.substr(flag.find_first_not_of('-')), &chosen);
}

std::size_t Grid::steps(std::size_t full, std::size_t quick) const {
  if (state_->steps > 0) return static_cast<std::size_t>(state_->steps);
  return state_->program.quick ? quick : full;
}

std::vector<std::uint64_t> Grid::seeds() const {
  std::vector<std::uint64_t> all;
  for (int i = 0; i < state_->seeds; ++i)
    all.push_back(state_->program.seed + static_cast<std::uint64_t>(i));
  return all;
}

void Grid::add(const std::string& cell, Factory factory) {
  for (const auto& other : state_->cells)
    if (other.first == cell) throw std::logic_error("the cell '" + cell + "' is there already");
  for (const char c : cell)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string("+-._/").find(c) == std::string::npos)
      throw std::logic_error("a cell's name is '" + cell + "'; need letters, digits and +-._/");
  state_->cells.emplace_back(cell, std::move(factory));
}

void Grid::State::check_flags(const Ranks& ranks) const {
  if (run.empty() && (resume || table))
    throw WrongCall(std::string(resume ? "--resume" : "--table") + " needs --run DIR");
  if (resume && table) throw WrongCall("--resume and --table exclude each other");
  if (!(seconds >= 0)) throw WrongCall("--seconds must be at least 0");
  if (!(checkpoint >= 0)) throw WrongCall("--checkpoint must be at least 0");
  if (ranks.size() > 1 && jobs > 1)
    throw WrongCall("--jobs is for one machine alone; under mpirun start more ranks");
  if (ranks.size() > 1 && run.empty())
    throw WrongCall("under mpirun --run DIR is needed, a folder that all ranks see");
}

Json Grid::State::manifest(const Json& settings) const {
  // The last digits of a product depend on the number of threads.
  Json all = {{"program", program.json.at("program")},
              {"format", 1},
              {"seed", program.seed},
              {"seeds", seeds},
              {"quick", program.quick},
              {"threads", program.threads},
              {"seconds", seconds}};
  for (const auto& [name, chosen] : lists) all[name] = *chosen;
  all.update(settings);
  all["cells"] = Json::array();
  for (const auto& cell : cells) all["cells"].push_back(cell.first);
  return all;
}

std::string Grid::State::how_to_go_on() const {
  return run.empty() ? "nothing was kept: --run DIR would have" : "--resume goes on from there";
}

void Grid::State::work(const RunFolder& folder, const Ranks& ranks) const {
  const Worker worker(folder, cells, program.json.at("program"), seconds, checkpoint);
  const StopSignals signals;
  try {
    std::optional<Display> display;
    if (ranks.rank() == 0) display.emplace(folder, cells);
    if (jobs == 1)
      worker.run(display ? &*display : nullptr);
    else
      run_jobs(worker, std::min(static_cast<std::size_t>(jobs), cells.size()), *display);
  } catch (const Stopped&) {
    throw Ended{128 + stop_signal, std::string("stopped by ") +
                                       (stop_signal == SIGINT ? "SIGINT" : "SIGTERM") + "; " +
                                       how_to_go_on()};
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string(error.what()) + "; " + how_to_go_on());
  }
}

std::vector<Grid::Row> Grid::State::rows(const RunFolder& folder, const Json& manifest) const {
  std::vector<Row> all;
  for (const std::string cell : manifest.at("cells"))
    if (folder.done(cell)) all.push_back({cell, folder.result(cell)});
  return all;
}

// How far a run is that somebody else may be at.
void Grid::State::tell_table(const RunFolder& folder, const Json& manifest) const {
  std::size_t done = 0, all = manifest.at("cells").size();
  std::string others;
  for (const std::string cell : manifest.at("cells")) {
    if (folder.done(cell)) {
      ++done;
    } else if (const auto reason = folder.failure(cell)) {
      others += "  " + cell + " failed: " + *reason + "\n";
    } else if (const double progress = folder.progress(cell); progress > 0) {
      others += "  " + cell + " " + number(std::floor(100 * progress)) + "%" +
                (folder.at_work(cell) ? "" : ", stopped") + "\n";
    }
  }
  std::cout << done << " of " << all << " cells are done\n" << others << "\n";
}

void Grid::State::tell_failures(const RunFolder& folder) const {
  std::string first;
  std::size_t count = 0;
  for (const auto& cell : cells)
    if (!folder.done(cell.first) && ++count == 1)
      first = cell.first + ": " +
              folder.failure(cell.first).value_or("the workers were killed before it was done");
  if (count == 0) return;
  const std::string words = std::to_string(count) + " of " + std::to_string(cells.size()) +
                            " cells failed; " + first + "; " + how_to_go_on();
  if (count == cells.size()) throw std::runtime_error(words);
  program.fail_at_the_end(words);
}

std::vector<Grid::Row> Grid::run(Json settings) {
  State& s = *state_;
  const Ranks ranks;
  s.check_flags(ranks);
  std::optional<PassingFolder> passing;
  if (s.run.empty()) passing.emplace();
  const RunFolder folder(passing ? passing->path() : fs::path(s.run));
  Json manifest = s.manifest(settings);
  if (s.table) {
    manifest = folder.manifest();
    if (manifest.at("program") != s.program.json.at("program"))
      throw WrongCall("--run: '" + s.run + "' holds a run of " +
                      manifest.at("program").get<std::string>() + "; need one of this program's");
    s.tell_table(folder, manifest);
  } else {
    if (ranks.rank() == 0) s.resume ? folder.resume(manifest) : folder.start(manifest);
    ranks.barrier();
    if (ranks.rank() != 0) folder.require_same(manifest);
    s.work(folder, ranks);
  }
  ranks.finish();
  if (ranks.rank() != 0) throw Ended{0, ""};
  if (!s.table) s.tell_failures(folder);
  std::vector<Row> rows = s.rows(folder, manifest);
  for (const char* unwanted : {"format", "threads", "cells"}) manifest.erase(unwanted);
  s.program.json.update(manifest);
  return rows;
}

}  // namespace argtape_examples
