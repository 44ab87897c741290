#include "engine/threads.hpp"

#include <atomic>

#include "engine/require.hpp"

namespace argtape __attribute__((visibility("default"))) {
  namespace {
  std::atomic<int> count{1};
  }

  void set_threads(int n) {
    if (n < 1) refuse("set_threads: n is ", n, "; need at least 1");
    count = n;
  }

  int threads() noexcept { return count; }

}  // namespace )
