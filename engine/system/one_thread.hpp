// That two threads use a thing at once that is for one at a time is noticed by the second, which is
// refused before it has touched anything. One after the other they may use it.
#pragma once

#include <atomic>

#include "../scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

/// What the thing keeps: the thread that uses it just now. A copy is another thing.
class OneThread {
 public:
  OneThread() = default;
  OneThread(const OneThread&) noexcept {}
  OneThread& operator=(const OneThread&) noexcept { return *this; }

  /// It is the calling thread's as long as this lives; the thread may take it again meanwhile.
  class Hold {
   public:
    /// Throws std::logic_error, in the name of `what`, if it is another thread's.
    Hold(OneThread& thing, const char* what);
    ~Hold() { thing_.user_.store(before_, std::memory_order_relaxed); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    OneThread& thing_;
    const void* before_;
  };

 private:
  std::atomic<const void*> user_{nullptr};
};

ARGTAPE_END
