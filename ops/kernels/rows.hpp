// The rows of a tensor: numbers one after the other that an op works on together. For the library's
// own .cpp files.
#pragma once

#include <algorithm>
#include <cstddef>

#include "../../engine/system/parallel.hpp"
#include "../../engine/tensor.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

struct Rows {
  std::size_t count = 0, length = 0;

  /// Along the last axis.
  explicit Rows(const Shape& shape) : length(shape[shape.size() - 1]) {
    count = length == 0 ? 0 : size_of(shape) / length;
  }
  /// Along the axes that `kept` has brought down to length 1. The length is 0 where they are not
  /// the last ones, or where there is nothing to do.
  Rows(const Shape& shape, const Shape& kept) {
    const std::size_t size = size_of(shape);
    std::size_t axis = shape.size();
    while (axis > 0 && kept[axis - 1] == 1) --axis;
    if (size == 0 ||
        !std::equal(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis), kept.begin()))
      return;
    count = size_of(kept);
    length = size / count;
  }

  /// f(row, where it begins) for each, on all threads.
  template <class F>
  void each(F f) const {
    parallel_for(count, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) f(r, r * length);
    });
  }
};

}  // namespace ARGTAPE_ABI
}  // namespace argtape
