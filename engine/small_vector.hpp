// A list of plain numbers. Up to N stand in the object itself, so that to make, copy and move a
// short one is no more than to copy its bytes; more stand in a block of just their size.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <type_traits>

#include "system/memory.hpp"

ARGTAPE_PUBLIC_BEGIN

/// When a list grows or shrinks, what was there stays, and what is new is 0; or nothing is set: the
/// numbers of a tensor.
enum class OnResize { keep, leave_unset };

/// Moved from, a list that keeps is empty; a tensor's numbers are one 0, which goes with the shape
/// () that the tensor is left with.
template <class T, OnResize on_resize = OnResize::keep, std::size_t N = 4>
class SmallVector {
  static constexpr bool keeps = on_resize == OnResize::keep;
  static_assert(std::is_trivially_copyable_v<T> && N * sizeof(T) >= sizeof(T*));

 public:
  using value_type = T;
  using size_type = std::size_t;
  using difference_type = std::ptrdiff_t;
  using reference = T&;
  using const_reference = const T&;
  using pointer = T*;
  using const_pointer = const T*;
  using iterator = T*;
  using const_iterator = const T*;
  using reverse_iterator = std::reverse_iterator<T*>;
  using const_reverse_iterator = std::reverse_iterator<const T*>;
  using allocator_type = CachingAllocator<T>;

  SmallVector() {}
  explicit SmallVector(std::size_t n, T value = T()) {
    take(n);
    std::fill(begin(), end(), value);
  }
  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  SmallVector(I) = delete;  // a shape is a list of lengths: {3}, not 3
  SmallVector(std::initializer_list<T> list) : SmallVector(list.begin(), list.end()) {}
  template <class It, class = typename std::iterator_traits<It>::iterator_category>
  SmallVector(It first, It last) {
    take(static_cast<std::size_t>(std::distance(first, last)));
    std::copy(first, last, begin());
  }
  /// Of xt::svector, the shape of xtensor's other arrays and of its expressions.
  template <template <class, std::size_t, class, bool> class List, std::size_t n, class A, bool b>
  SmallVector(const List<T, n, A, b>& list) : SmallVector(list.begin(), list.end()) {}
  SmallVector(const SmallVector& other) {
    if (other.size_ <= N) {
      steal_bytes(other);
    } else {
      take(other.size_);
      std::copy_n(other.heap_, size_, heap_);
    }
  }
  SmallVector(SmallVector&& other) noexcept { steal(other); }
  SmallVector& operator=(const SmallVector& other) { return *this = SmallVector(other); }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this == &other) return *this;
    release();
    steal(other);
    return *this;
  }
  ~SmallVector() { release(); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return size_ > N ? heap_ : inside_; }
  const T* data() const { return size_ > N ? heap_ : inside_; }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  const T* cbegin() const { return begin(); }
  const T* cend() const { return end(); }
  reverse_iterator rbegin() { return reverse_iterator(end()); }
  reverse_iterator rend() { return reverse_iterator(begin()); }
  const_reverse_iterator rbegin() const { return const_reverse_iterator(end()); }
  const_reverse_iterator rend() const { return const_reverse_iterator(begin()); }
  const_reverse_iterator crbegin() const { return rbegin(); }
  const_reverse_iterator crend() const { return rend(); }
  T& operator[](std::size_t i) { return data()[i]; }
  const T& operator[](std::size_t i) const { return data()[i]; }
  T& front() { return *begin(); }
  const T& front() const { return *begin(); }
  T& back() { return end()[-1]; }
  const T& back() const { return end()[-1]; }

  void resize(std::size_t n) {
    if (n == size_) return;
    if (n <= N && size_ <= N) {
      if (keeps && n > size_) std::fill(inside_ + size_, inside_ + n, T());
      size_ = n;
      return;
    }
    SmallVector fresh;
    fresh.take(n);
    if (keeps) std::fill(std::copy_n(begin(), std::min(n, size_), fresh.begin()), fresh.end(), T());
    *this = std::move(fresh);
  }
  void resize(std::size_t n, T value) {
    const std::size_t before = size_;
    resize(n);
    if (n > before) std::fill(begin() + before, end(), value);
  }
  void clear() { resize(0); }
  void push_back(T value) { resize(size_ + 1, value); }
  void pop_back() { resize(size_ - 1); }
  void erase(const T* at) { erase(at, at + 1); }
  void erase(const T* first, const T* last) {
    std::copy(last, cend(), begin() + (first - begin()));
    resize(size_ - static_cast<std::size_t>(last - first));
  }
  void insert(const T* at, const T* first, const T* last) {
    const std::ptrdiff_t before = at - begin(), n = last - first;
    resize(size_ + static_cast<std::size_t>(n));
    std::copy_backward(begin() + before, end() - n, end());
    std::copy(first, last, begin() + before);
  }

  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)  // std::equal would call the standard library
      if (a[i] != b[i]) return false;
    return true;
  }
  friend bool operator!=(const SmallVector& a, const SmallVector& b) { return !(a == b); }

 private:
  // Of an empty list.
  void take(std::size_t n) {
    if (n > N) heap_ = CachingAllocator<T>().allocate(n);
    size_ = n;
  }
  void steal(SmallVector& other) noexcept {
    steal_bytes(other);
    other.size_ = keeps ? 0 : 1;
    if (!keeps) other.inside_[0] = T();
  }
  void steal_bytes(const SmallVector& other) noexcept {
    size_ = other.size_;
    std::memcpy(inside_, other.inside_, sizeof inside_);
  }
  void release() noexcept {
    if (size_ > N) CachingAllocator<T>().deallocate(heap_, size_);
    size_ = 0;
  }

  std::size_t size_ = 0;
  union {
    T inside_[N];
    T* heap_;
  };
};

ARGTAPE_END

// How xtensor makes a list of strides of a list of lengths. From clang 19 on its own rule for
// std::array<T, N> would fit as well, if what follows T were integers and bool alone.
namespace xt {
template <class X, class C>
struct rebind_container;
template <class X, class T, argtape::OnResize on_resize, std::size_t N>
struct rebind_container<X, argtape::SmallVector<T, on_resize, N>> {
  using type = argtape::SmallVector<X, on_resize, N>;
};
}  // namespace xt
