// Blocks of memory that are handed out again, so that a training step in its steady state asks the
// system for nothing.
#pragma once

#include <cstddef>

#include "../scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

/// So many bytes or more are refused (std::bad_alloc): a negative size, most likely.
constexpr std::size_t kMostBytes = std::size_t{1} << 46;

/// At least `bytes` of memory on a 64-byte boundary. Throws std::bad_alloc.
void* take_block(std::size_t bytes);

/// Hands back a block that take_block(bytes) gave; any thread may do so.
void give_block(void* block, std::size_t bytes) noexcept;

/// What tensors and tapes take. `system_requests` counts the blocks asked of the system since the
/// start of the process, over all threads; the bytes are those of the calling thread.
struct MemoryUse {
  std::size_t system_requests = 0;
  std::size_t cached_bytes = 0;   ///< kept to be handed out again
  std::ptrdiff_t held_bytes = 0;  ///< taken and not given back; less than 0 if others took them
  std::ptrdiff_t peak_bytes = 0;  ///< the most held since the start, or reset_peak_memory()
};
MemoryUse memory_use();
void reset_peak_memory() noexcept;

/// Gives the calling thread's cached blocks back to the system.
void release_cached_memory() noexcept;

/// The allocator of every Tensor and of the tape's nodes. It is named in their types, so that those
/// do not change with a user's compiler flags (xtensor's default allocator does).
template <class T>
struct CachingAllocator {
  using value_type = T;
  CachingAllocator() = default;
  template <class U>
  CachingAllocator(const CachingAllocator<U>&) noexcept {}
  T* allocate(std::size_t n) {
    return static_cast<T*>(take_block(n < kMostBytes / sizeof(T) ? n * sizeof(T) : kMostBytes));
  }
  void deallocate(T* p, std::size_t n) noexcept { give_block(p, n * sizeof(T)); }
  friend bool operator==(const CachingAllocator&, const CachingAllocator&) noexcept { return true; }
  friend bool operator!=(const CachingAllocator&, const CachingAllocator&) noexcept {
    return false;
  }
};

ARGTAPE_END
