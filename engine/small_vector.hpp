// A list of a few plain numbers: the shape of a tensor. Up to N stand in the object itself, so that
// to make, copy and move one is no more than to copy its bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <type_traits>
#include <utility>

#include "scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

template <class T>
class SmallVector {
  static_assert(std::is_trivially_copyable_v<T>);
  static constexpr std::size_t N = 4;

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

  void resize(std::size_t n, T value = T()) {
    const std::size_t kept = std::min(n, size_);
    if (n > N) {
      T* fresh = new T[n];
      std::copy(begin(), begin() + kept, fresh);
      release();
      heap_ = fresh;
    } else if (size_ > N) {
      T* old = heap_;
      std::copy(old, old + kept, inside_);
      delete[] old;
    }
    size_ = n;
    for (std::size_t i = kept; i < n; ++i) (*this)[i] = value;
  }
  void clear() { resize(0); }
  void push_back(T value) { resize(size_ + 1, value); }
  void pop_back() { resize(size_ - 1); }
  void erase(const T* first, const T* last) {
    std::copy(last, cend(), begin() + (first - begin()));
    resize(size_ - static_cast<std::size_t>(last - first));
  }

  friend bool operator==(const SmallVector& a, const SmallVector& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (a[i] != b[i]) return false;
    return true;
  }
  friend bool operator!=(const SmallVector& a, const SmallVector& b) { return !(a == b); }
  friend void swap(SmallVector& a, SmallVector& b) noexcept { std::swap(a, b); }

 private:
  void copy(const SmallVector& other) {
    if (size_ != other.size_) resize(other.size_);
    for (std::size_t i = 0; i < size_; ++i) (*this)[i] = other[i];
  }
  void take(SmallVector& other) noexcept {
    size_ = std::exchange(other.size_, 0);
    if (size_ > N)
      heap_ = other.heap_;
    else  // number by number: what has just been written in parts would be waited for as a whole
      for (std::size_t i = 0; i < size_; ++i) inside_[i] = other.inside_[i];
  }
  void release() {
    if (size_ > N) delete[] heap_;
  }

  std::size_t size_ = 0;
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
