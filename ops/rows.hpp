// Kernels over rows of contiguous numbers. For the library's own .cpp files.
#pragma once

#include <cmath>
#include <limits>

#include "../engine/lanes.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

constexpr Scalar kLowest = -std::numeric_limits<Scalar>::infinity();

inline Scalar row_max(const Scalar* x, std::size_t n) {
  Lane m(kLowest);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) m = xsimd::max(m, Lane::load_unaligned(x + i));
  if (i < n) m = xsimd::max(m, load_some(x + i, n - i, kLowest));
  alignas(64) Scalar each[kLane];
  m.store_aligned(each);
  return *std::max_element(each, each + kLane);
}

/// Sum of f(in[i]...) over i < n.
template <class F, class... P>
Scalar row_sum(std::size_t n, F f, const P*... in) {
  Lane s(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) s += f(Lane::load_unaligned(in + i)...);
  if (i < n) {
    alignas(64) Scalar last[kLane] = {};
    store_some(f(load_some(in + i, n - i)...), last, n - i);
    s += Lane::load_aligned(last);
  }
  return lane_sum(s);
}

/// y = softmax(x) for one row, without overflow. A row of -inf alone has none, and gives NaN.
inline void softmax_row(const Scalar* x, std::size_t n, Scalar* y) {
  const Lane m(row_max(x, n));
  map_lanes(
      n, y, false, [=](Lane v) { return xsimd::exp(v - m); }, x);
  const Lane scale = Lane(1) / Lane(row_sum(
                                   n, [](Lane v) { return v; }, y));
  map_lanes(
      n, y, false, [=](Lane v) { return v * scale; }, y);
}

/// log sum exp(x) for one row, without overflow.
inline Scalar logsumexp_row(const Scalar* x, std::size_t n) {
  const Scalar largest = row_max(x, n);
  if (std::isinf(largest)) return largest;
  const Lane m(largest);
  return largest + std::log(row_sum(
                       n, [=](Lane v) { return xsimd::exp(v - m); }, x));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
