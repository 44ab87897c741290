#include "tests/failing_memory.hpp"

#include <cerrno>
#include <cstdlib>
#include <new>

FailingMemory failing_memory;

namespace {

bool refuses() {
  long left = failing_memory.left;
  while (left > 0) {
    const long next = left > 1 ? left - 1 : failing_memory.all ? 1 : 0;
    if (failing_memory.left.compare_exchange_weak(left, next)) break;
  }
  if (left == 1) ++failing_memory.refused;
  return left == 1;
}

void* allocate(std::size_t bytes) noexcept {
  void* block = refuses() ? nullptr : std::malloc(bytes ? bytes : 1);
  if (block) ++failing_memory.held;
  return block;
}

void* allocate_or_throw(std::size_t bytes) {
  void* block = allocate(bytes);
  if (!block) throw std::bad_alloc();
  return block;
}

void give_back(void* block) noexcept {
  if (block) --failing_memory.held;
  std::free(block);
}

}  // namespace

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  void* block = nullptr;
  errno = refuses() ? ENOMEM : posix_memalign(&block, alignment, bytes);
  return block;
}

void* operator new(std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new[](std::size_t bytes) { return allocate_or_throw(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes); }
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept { return allocate(bytes); }
void operator delete(void* block) noexcept { give_back(block); }
void operator delete[](void* block) noexcept { give_back(block); }
void operator delete(void* block, std::size_t) noexcept { give_back(block); }
void operator delete[](void* block, std::size_t) noexcept { give_back(block); }
