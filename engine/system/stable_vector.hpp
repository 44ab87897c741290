// A list that grows and shrinks at its end and never moves what is in it: references stay good. A
// std::deque keeps as few as one large element in a block of memory, and finds it by a division.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "memory.hpp"

ARGTAPE_PUBLIC_BEGIN

template <class T>
class StableVector {
 public:
  StableVector() = default;
  StableVector(const StableVector&) = delete;
  StableVector& operator=(const StableVector&) = delete;
  ~StableVector() {
    while (size_ > 0) pop_back();
    for (std::size_t c = 0; c < chunks_.size(); ++c) free_chunk(c);
  }

  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return chunks_[i / kChunk][i % kChunk]; }
  const T& operator[](std::size_t i) const { return chunks_[i / kChunk][i % kChunk]; }
  T& back() { return (*this)[size_ - 1]; }

  template <class... A>
  T& emplace_back(A&&... arguments) {
    if (size_ == chunks_.size() * kChunk) {
      // The list grows first: then push_back cannot throw, and lose the chunk.
      if (chunks_.size() == chunks_.capacity()) chunks_.reserve(2 * chunks_.size() + 1);
      chunks_.push_back(take_chunk(chunks_.size()));
    }
    T* place = &chunks_[size_ / kChunk][size_ % kChunk];
    new (place) T(std::forward<A>(arguments)...);
    ++size_;
    return *place;
  }
  void pop_back() { (*this)[--size_].~T(); }

 private:
  static constexpr std::size_t kChunk = 32;
  static constexpr std::size_t kRecycled = 1024;  // chunks; a longer list returns the rest at once
  static T* take_chunk(std::size_t c) {
    return c < kRecycled ? CachingAllocator<T>().allocate(kChunk)
                         : std::allocator<T>().allocate(kChunk);
  }
  void free_chunk(std::size_t c) {
    if (c < kRecycled)
      CachingAllocator<T>().deallocate(chunks_[c], kChunk);
    else
      std::allocator<T>().deallocate(chunks_[c], kChunk);
  }

  std::vector<T*, CachingAllocator<T*>> chunks_;
  std::size_t size_ = 0;
};

ARGTAPE_END
