// A list of a few plain numbers: the shape of a tensor. Up to N stand in the object itself, so that
// to make, copy and move one is no more than to copy its bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <type_traits>

#include "scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

template <class T>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr std::uint32_t N = 4;

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

  SmallVector() {}
  explicit SmallVector(std::size_t n, T value = T()) { resize(n, value); }
  SmallVector(std::initializer_list<T> list) : SmallVector(list.begin(), list.end()) {}
  template <class It, class = typename std::iterator_traits<It>::iterator_category>
  SmallVector(It first, It last) {
    resize(static_cast<std::size_t>(std::distance(first, last)));
    std::copy(first, last, begin());
  }
  SmallVector(const SmallVector& other) { copy(other); }
  SmallVector(SmallVector&& other) noexcept { take(other); }
  SmallVector& operator=(const SmallVector& other) {
    if (this != &other) copy(other);
    return *this;
  }
  SmallVector& operator=(SmallVector&& other) noexcept {
    if (this == &other) return *this;
    release();
    take(other);
    return *this;
  }
  ~SmallVector() { release(); }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return capacity_ > N ? heap_ : inside_; }
  const T* data() const { return capacity_ > N ? heap_ : inside_; }
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

  void resize(std::size_t n, T value = T()) {
    if (n > capacity_) grow(std::max(n, std::size_t{2} * capacity_));
    for (std::size_t i = size_; i < n; ++i) data()[i] = value;
    size_ = static_cast<std::uint32_t>(n);
  }
  void clear() { size_ = 0; }
  void push_back(T value) { resize(size_ + 1, value); }
  void pop_back() { --size_; }
  void erase(const T* first, const T* last) {
    std::copy(last, cend(), begin() + (first - begin()));
    size_ -= static_cast<std::uint32_t>(last - first);
  }

  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    return a.size_ == b.size_ && std::equal(a.begin(), a.end(), b.begin());
  }
  friend bool operator!=(const SmallVector& a, const SmallVector& b) { return !(a == b); }
  friend void swap(SmallVector& a, SmallVector& b) noexcept { std::swap(a, b); }

 private:
  void copy(const SmallVector& other) {
    resize(other.size_);
    std::copy(other.begin(), other.end(), begin());
  }
  void take(SmallVector& other) noexcept {
    std::memcpy(static_cast<void*>(this), &other, sizeof *this);
    other.size_ = 0;
    other.capacity_ = N;
  }
  void grow(std::size_t capacity) {
    T* fresh = new T[capacity];
    std::copy(begin(), end(), fresh);
    release();
    heap_ = fresh;
    capacity_ = static_cast<std::uint32_t>(capacity);
  }
  void release() {
    if (capacity_ > N) delete[] heap_;
  }

  std::uint32_t size_ = 0, capacity_ = N;
  union {
    T inside_[N];
    T* heap_;
  };
};

ARGTAPE_END

// How xtensor makes a list of strides of a list of lengths.
namespace xt {
template <class X, class C>
struct rebind_container;
template <class X, class T>
struct rebind_container<X, argtape::SmallVector<T>> {
  using type = argtape::SmallVector<X>;
};
}  // namespace xt
