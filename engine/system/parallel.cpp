#include "engine/system/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace argtape {
namespace {

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}

// The threads beside the caller's. They take pieces of the job that is open; one that wakes up late
// finds it closed and is not waited for.
class Pool {
 public:
  // False if the pool works for somebody else.
  bool run(std::size_t n, std::size_t grain, void (*work)(void*, std::size_t, std::size_t),
           void* context) {
    const std::unique_lock<std::mutex> use(use_, std::try_to_lock);
    if (!use) return false;
    const auto count = static_cast<std::size_t>(threads());
    try {
      while (workers_.size() + 1 < count) {
        const std::size_t index = workers_.size();
        workers_.emplace_back([this, index] { serve(index); });
      }
    } catch (const std::system_error&) {
      // The machine has no more threads to give: those there are do the work.
    }
    // A few pieces for each thread, so that none waits long for one that was held up.
    const std::size_t grains = (n + grain - 1) / grain, pieces = std::min(grains, 4 * count);
    n_ = n;
    piece_ = (grains + pieces - 1) / pieces * grain;
    work_ = work;
    context_ = context;
    failure_ = nullptr;
    next_ = 0;
    helpers_ = count - 1;
    open_ = true;
    ++job_;
    if (sleepers_ > 0) {
      { const std::lock_guard<std::mutex> lock(sleep_); }
      wake_.notify_all();
    }
    take_pieces();
    open_ = false;
    while (inside_ > 0) pause();
    if (failure_) std::rethrow_exception(failure_);
    return true;
  }

  static inline thread_local bool in_piece = false;

 private:
  void take_pieces() {
    in_piece = true;
    for (;;) {
      const std::size_t begin = next_.fetch_add(piece_);
      if (begin >= n_) break;
      try {
        work_(context_, begin, std::min(n_, begin + piece_));
      } catch (...) {
        const std::lock_guard<std::mutex> lock(failing_);
        if (!failure_ || begin < failed_at_) {
          failure_ = std::current_exception();
          failed_at_ = begin;
        }
      }
    }
    in_piece = false;
  }

  void serve(std::size_t index) {
    std::uint64_t seen = 0;
    for (;;) {
      wait_for_job(seen);
      ++inside_;
      if (open_ && index < helpers_) take_pieces();
      --inside_;
    }
  }

  // Jobs come in quick succession: it watches for the next one before it goes to sleep.
  void wait_for_job(std::uint64_t& seen) {
    constexpr auto watch = std::chrono::microseconds(100);
    const auto start = std::chrono::steady_clock::now();
    do {
      for (int i = 0; i < 64; ++i) {
        if (job_ != seen) {
          seen = job_;
          return;
        }
        pause();
      }
    } while (std::chrono::steady_clock::now() - start < watch);
    std::unique_lock<std::mutex> lock(sleep_);
    ++sleepers_;
    wake_.wait(lock, [&] { return job_ != seen; });
    --sleepers_;
    seen = job_;
  }

  std::mutex use_, sleep_, failing_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;

  // The job. Sequentially consistent: a worker that saw it open is counted in before it is closed.
  std::atomic<std::uint64_t> job_{0};
  std::atomic<bool> open_{false};
  std::atomic<std::size_t> inside_{0}, sleepers_{0}, next_{0}, helpers_{0};
  std::size_t n_ = 0, piece_ = 0, failed_at_ = 0;
  void (*work_)(void*, std::size_t, std::size_t) = nullptr;
  void* context_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace

void run_pieces(std::size_t n, std::size_t grain, void (*work)(void*, std::size_t, std::size_t),
                void* context) {
  // Never destroyed: work may be done after main(), and a process that was forked has no workers to
  // wait for.
  static Pool& pool = *new Pool;
  if (Pool::in_piece || !pool.run(n, grain, work, context)) work(context, 0, n);
}

}  // namespace argtape
