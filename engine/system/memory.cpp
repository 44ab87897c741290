#include "engine/system/memory.hpp"

#include <atomic>
#include <cstdlib>
#include <new>
#include <utility>

ARGTAPE_PUBLIC_BEGIN
namespace {

#ifdef ARGTAPE_NO_RECYCLING
constexpr bool kRecycle = false;
#else
constexpr bool kRecycle = true;
#endif

constexpr std::size_t kLine = 64;     // a cache line, and the widest vector register
constexpr std::size_t kSmall = 1024;  // up to here one class for each cache line
// Bytes a thread keeps, in blocks up to kSmall and above; the rest goes back at once. Small ones
// cost little to ask for again, and a tape of a million small nodes should not leave its memory
// behind.
constexpr std::size_t kMostSmall = 32u << 20, kMostLarge = 512u << 20;
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

struct Cache {
  Block* free[kClasses] = {};
  std::size_t small = 0, large = 0;   // bytes
  std::ptrdiff_t held = 0, peak = 0;  // bytes handed out
  std::size_t& of(const Class& c) { return c.bytes <= kSmall ? small : large; }
  void hand_out(const Class& c) {
    held += static_cast<std::ptrdiff_t>(c.bytes);
    if (held > peak) peak = held;
  }
  ~Cache() { empty(); }
  void empty() noexcept {
    for (Block*& head : free)
      while (head) {
        Block* next = head->next;
        std::free(head);
        head = next;
      }
    small = large = 0;
  }
};

// A bare pointer, found without a call even in a shared library that is loaded late; plain data, so
// that tensors destroyed after the thread's own clean-up may still be given back.
#if defined(__ELF__)
__attribute__((tls_model("initial-exec")))
#endif
thread_local Cache* cache = nullptr;
thread_local bool closed = false;

Cache* open_cache() noexcept {
  // It holds no more than a pointer itself: there is little room for what is found without a call.
  struct Owner {
    Owner() { cache = new (std::nothrow) Cache; }
    ~Owner() {
      delete std::exchange(cache, nullptr);
      closed = true;
    }
  };
  if (closed) return nullptr;
  static thread_local Owner owner;
  return cache;
}

}  // namespace

void* take_block(std::size_t bytes) {
  if (bytes >= kMostBytes) throw std::bad_alloc();
  const Class c = class_of(bytes);
  Cache* kept = cache ? cache : open_cache();
  if (kept) {
    if (Block* block = kept->free[c.index]) {
      kept->free[c.index] = block->next;
      kept->of(c) -= c.bytes;
      kept->hand_out(c);
      return block;
    }
  }
  system_requests.fetch_add(1, std::memory_order_relaxed);
  void* fresh = std::aligned_alloc(kLine, c.bytes);
  if (!fresh) throw std::bad_alloc();
  if (kept) kept->hand_out(c);
  return fresh;
}

void give_block(void* block, std::size_t bytes) noexcept {
  if (!block) return;
  const Class c = class_of(bytes);
  Cache* kept = cache ? cache : open_cache();
  if (kept) kept->held -= static_cast<std::ptrdiff_t>(c.bytes);
  if (!kRecycle || !kept || kept->of(c) + c.bytes > (c.bytes <= kSmall ? kMostSmall : kMostLarge)) {
    std::free(block);
    return;
  }
  auto* b = static_cast<Block*>(block);
  b->next = kept->free[c.index];
  kept->free[c.index] = b;
  kept->of(c) += c.bytes;
}

MemoryUse memory_use() {
  MemoryUse use{system_requests.load(std::memory_order_relaxed)};
  if (cache) {
    use.cached_bytes = cache->small + cache->large;
    use.held_bytes = cache->held;
    use.peak_bytes = cache->peak;
  }
  return use;
}

void reset_peak_memory() noexcept {
  if (cache) cache->peak = cache->held;
}

void release_cached_memory() noexcept {
  if (cache) cache->empty();
}

ARGTAPE_END
