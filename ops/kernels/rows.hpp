// The rows of a tensor: numbers one after the other that an op works on together. For the library's
// own .cpp files.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "row_kernels.hpp"

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

/// The moments, and the mean of x^2, of a row times `unit`.
struct UnitMoments : Moments {
  Scalar square, unit;
};

/// The same in units of a power of two near the largest number, where sums and squares would be out
/// of range.
[[gnu::cold]] inline UnitMoments rescaled_moments(const Scalar* x, std::size_t n) {
  Scalar largest = 0;
  for (std::size_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(x[i]));
  const int exponent = largest > 0 && std::isfinite(largest) ? std::ilogb(largest) : 0;
  const Scalar unit =
      std::ldexp(Scalar{1}, std::min(-exponent, std::numeric_limits<Scalar>::max_exponent - 1));
  double mean = 0, variance = 0, square = 0;
  const auto each = [&](auto f) {
    for (std::size_t i = 0; i < n; ++i) f(double{x[i] * unit}, static_cast<double>(n));
  };
  each([&](double v, double count) { mean += v / count, square += v * v / count; });
  each([&](double v, double count) { variance += (v - mean) * (v - mean) / count; });
  return {{{static_cast<Scalar>(mean), 0}, static_cast<Scalar>(variance)},
          static_cast<Scalar>(square),
          unit};
}

ARGTAPE_END
