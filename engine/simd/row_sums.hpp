// Sums of rows of contiguous numbers.
#pragma once

#include <algorithm>
#include <numeric>

#include "lane.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// Above so many terms a sum is gathered in double: one of ever more floats stops growing.
constexpr std::size_t kManyTerms = 256;

inline Scalar sum_of_row(const Scalar* p, std::size_t n) {
  Lane total(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) total += Lane::load_unaligned(p + i);
  if (i < n) total += load_some(p + i, n - i);
  return lane_sum(total);
}

// to[r * step] += the sum of row r, for rows one after the other from p on.
template <class Sum>
void sum_rows(const Scalar* p, std::size_t rows, std::size_t length, Sum* to, std::size_t step) {
  std::size_t r = 0;
  if (length < kLane) {
    // Whole lanes are loaded while they reach no further than the last row; and asked for ahead,
    // since loads that overlap do not look like a walk through memory.
    alignas(64) Scalar place[kLane];
    std::iota(place, place + kLane, Scalar{0});
    const auto inside = Lane::load_aligned(place) < Lane(static_cast<Scalar>(length));
    const std::size_t far = 25 * kLane, size = rows * length;
    for (std::size_t at = 0; at + kLane <= size; ++r, at += length, to += step) {
      __builtin_prefetch(p + std::min(at + far, size - 1));
      *to += lane_sum(xsimd::select(inside, Lane::load_unaligned(p + at), Lane(0)));
    }
  }
  for (p += r * length; r < rows; ++r, p += length, to += step)
    for (std::size_t i = 0; i < length; i += kManyTerms)
      *to += sum_of_row(p + i, std::min(kManyTerms, length - i));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
