// The rows of a tensor: numbers one after the other that an op works on together. For the library's
// own .cpp files.
#pragma once

#include <cstddef>

#include "../../engine/system/parallel.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

struct Rows {
  std::size_t count, length;

  Rows(std::size_t count, std::size_t length) : count(count), length(length) {}
  /// Along the last axis.
  explicit Rows(const Shape& shape) : count(0), length(shape[shape.size() - 1]) {
    if (length != 0) count = size_of(shape) / length;
  }

  /// f(row, where it begins) for each, on all threads.
  template <class F>
  void each(F f) const {
    parallel_for(count, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) f(r, r * length);
    });
  }
};

ARGTAPE_END
