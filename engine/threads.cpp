#include "engine/threads.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

namespace argtape __attribute__((visibility("default"))) {
namespace {
std::atomic<int> count{1};
}

void set_threads(int n) {
  if (n < 1)
    throw std::invalid_argument("set_threads: n is " + std::to_string(n) + "; need at least 1");
  count = n;
}

int threads() noexcept { return count; }

}  // namespace argtape
