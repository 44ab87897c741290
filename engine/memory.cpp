#include "engine/memory.hpp"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>

// Recycled memory would hide a use after free from the address sanitizer.
#if defined(__SANITIZE_ADDRESS__)
#define ARGTAPE_RECYCLE 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARGTAPE_RECYCLE 0
#endif
#endif
#ifndef ARGTAPE_RECYCLE
#define ARGTAPE_RECYCLE 1
#endif

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

constexpr std::size_t kLine = 64;                // a cache line, and the widest vector register
constexpr std::size_t kSmall = 1024;             // up to here one class for each cache line
constexpr std::size_t kMostCached = 512u << 20;  // bytes a thread keeps; the rest goes back at once
constexpr std::size_t kClasses = kSmall / kLine + 1 + 4 * 48;

struct Block {
  Block* next;
};

// Size classes: every multiple of 64 up to 1024, then four steps to each doubling, so that at most
// a fifth of a block is lost.
struct Class {
  std::size_t index, bytes;
};
Class class_of(std::size_t bytes) {
  if (bytes <= kSmall) {
    const std::size_t lines = bytes == 0 ? 1 : (bytes + kLine - 1) / kLine;
    return {lines, lines * kLine};
  }
  const auto top = static_cast<std::size_t>(63 - __builtin_clzll(bytes - 1));  // 2^top < bytes
  const std::size_t step = std::size_t{1} << (top - 2);
  const std::size_t quarter = (bytes - 1 - (std::size_t{1} << top)) / step;  // 0..3
  return {kSmall / kLine + 1 + 4 * (top - 10) + quarter,
          (std::size_t{1} << top) + (quarter + 1) * step};
}

std::atomic<std::size_t> system_requests{0};

// Plain data, so that tensors destroyed after the thread's own clean-up may still be given back.
struct Cache {
  Block* free[kClasses];
  std::size_t bytes;
  bool closed;
};
thread_local Cache cache;

void empty_cache() noexcept {
  for (Block*& head : cache.free)
    while (head) {
      Block* next = head->next;
      std::free(head);
      head = next;
    }
  cache.bytes = 0;
}

struct AtThreadExit {
  ~AtThreadExit() {
    empty_cache();
    cache.closed = true;
  }
};
thread_local AtThreadExit at_thread_exit;

}  // namespace

void* take_block(std::size_t bytes) {
  if (bytes >= kMostBytes) throw std::bad_alloc();
  const Class c = class_of(bytes);
  if (Block* block = cache.free[c.index]) {
    cache.free[c.index] = block->next;
    cache.bytes -= c.bytes;
    return block;
  }
  system_requests.fetch_add(1, std::memory_order_relaxed);
  void* fresh = std::aligned_alloc(kLine, c.bytes);
  if (!fresh) throw std::bad_alloc();
  return fresh;
}

void give_block(void* block, std::size_t bytes) noexcept {
  if (!block) return;
  const Class c = class_of(bytes);
  if (!ARGTAPE_RECYCLE || cache.closed || cache.bytes + c.bytes > kMostCached) {
    std::free(block);
    return;
  }
  static_cast<void>(&at_thread_exit);  // names it, so that this thread's clean-up is registered
  auto* b = static_cast<Block*>(block);
  b->next = cache.free[c.index];
  cache.free[c.index] = b;
  cache.bytes += c.bytes;
}

MemoryUse memory_use() { return {system_requests.load(std::memory_order_relaxed), cache.bytes}; }

void release_cached_memory() noexcept { empty_cache(); }

}  // namespace ARGTAPE_ABI
}  // namespace argtape
