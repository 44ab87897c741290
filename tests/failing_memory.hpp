// Memory that is refused when a test says so, for a whole program that links failing_memory.cpp: by
// operator new, and by aligned_alloc(), of which the library has its blocks.
#pragma once

#include <atomic>

struct FailingMemory {
  /// Allocations up to the one that is refused, counted over all threads; 0: none is.
  std::atomic<long> left{0};
  /// Whether all are refused from then on.
  std::atomic<bool> all{false};
  std::atomic<long> refused{0};
  /// Blocks of operator new that have not come back.
  std::atomic<long> held{0};
};
extern FailingMemory failing_memory;
