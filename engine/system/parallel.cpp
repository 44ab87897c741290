#include "engine/system/parallel.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
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
      while (workers_.size() + 1 < count)
        workers_.emplace_back(&Pool::serve, this, workers_.size());
    } catch (const std::exception&) {
      // There are no more threads, or no memory for one: those there are do the work.
    }
    n_ = n;
    grain_ = std::max(grain, n / (8 * count) / grain * grain);
    count_ = count;
    work_ = work;
    context_ = context;
    next_ = 0;
    helpers_ = count - 1;
    ++job_;
    if (sleepers_ > 0) {
      { const std::lock_guard<std::mutex> lock(sleep_); }
      wake_.notify_all();
    }
    take_pieces();
    helpers_ = 0;
    while (inside_ > 0) pause();
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    return true;
  }

  static inline thread_local bool in_piece = false;

 private:
  // A piece is half of a thread's share in what is left: they become smaller, so that all end about
  // together, and none waits long for one that was held up.
  void take_pieces() {
    in_piece = true;
    for (std::size_t begin = next_; begin != n_; begin = next_) {
      const std::size_t half = (n_ - begin) / (2 * count_) / grain_ * grain_,
                        end = std::min(n_, begin + std::max(grain_, half));
      if (!next_.compare_exchange_weak(begin, end)) continue;
      try {
        work_(context_, begin, end);
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
    for (std::uint64_t seen = 0;;) {
      seen = job_after(seen);
      ++inside_;
      if (index < helpers_) take_pieces();
      --inside_;
    }
  }

  // Jobs come in quick succession: it watches for the next one before it goes to sleep.
  std::uint64_t job_after(std::uint64_t seen) {
    using Clock = std::chrono::steady_clock;
    const auto until = Clock::now() + std::chrono::microseconds(100);
    do {
      for (int i = 0; i < 64; ++i) {
        if (job_ != seen) return job_;
        pause();
      }
    } while (Clock::now() < until);
    std::unique_lock<std::mutex> lock(sleep_);
    ++sleepers_;
    wake_.wait(lock, [&] { return job_ != seen; });
    --sleepers_;
    return job_;
  }

  std::mutex use_, sleep_, failing_;
  std::condition_variable wake_;
  std::vector<std::thread> workers_;

  // The job, open while it has helpers. Sequentially consistent: a worker that saw it open is
  // counted in before it is closed. (What workers watch is best beside the rest: in a cache line of
  // its own it made small jobs slower.)
  std::atomic<std::uint64_t> job_{0};
  std::atomic<std::size_t> next_{0}, helpers_{0}, inside_{0}, sleepers_{0};
  std::size_t n_ = 0, grain_ = 1, count_ = 1, failed_at_ = 0;
  void (*work_)(void*, std::size_t, std::size_t) = nullptr;
  void* context_ = nullptr;
  std::exception_ptr failure_;
};

}  // namespace

void run_pieces(std::size_t n, std::size_t grain, void (*work)(void*, std::size_t, std::size_t),
                void* context) {
  // Never destroyed: work may be done after main(), and a process that was forked has no workers to
  // wait for.
  alignas(Pool) static unsigned char room[sizeof(Pool)];
  static Pool& pool = *new (room) Pool;
  if (Pool::in_piece || !pool.run(n, grain, work, context)) work(context, 0, n);
}

}  // namespace argtape
