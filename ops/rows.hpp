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
  return lane_max(m);
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

/// The place of the first largest of n > 0 numbers; n if one of them is NaN.
inline std::size_t row_argmax(const Scalar* x, std::size_t n) {
  const Scalar largest = row_max(x, n);
#if defined(__AVX512F__)
  std::size_t best = n;
  for (std::size_t i = 0; i < n; i += kLane) {
    const Lane v = i + kLane <= n ? Lane::load_unaligned(x + i) : load_some(x + i, n - i, kLowest);
    const unsigned in_row = i + kLane <= n ? (1u << kLane) - 1 : (1u << (n - i)) - 1;
    if (lanes::unordered(v)) return n;
    const unsigned hits = lanes::equal(v, Lane(largest)) & in_row;
    if (hits && best == n) best = i + static_cast<std::size_t>(__builtin_ctz(hits));
  }
  return best;
#else
  // NaN may be lost in a maximum; a sum keeps it.
  if (row_sum(
          n, [](Lane v) { return xsimd::select(v == v, Lane(0), Lane(1)); }, x) != 0)
    return n;
  std::size_t i = 0;
  while (x[i] != largest) ++i;
  return i;
#endif
}

/// y = softmax(x / tau) for one row, without overflow; returns sum_i e^{(x_i - max) / tau}, which
/// is NaN for a row without a softmax: one with NaN, +inf, or -inf alone.
inline Scalar softmax_row(const Scalar* x, std::size_t n, Scalar* y, Scalar tau = 1) {
  const Lane m(row_max(x, n)), slope(1 / tau);
  Lane total(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    const Lane e = lane_exp((Lane::load_unaligned(x + i) - m) * slope);
    e.store_unaligned(y + i);
    total += e;
  }
  if (i < n) {
    // The rest of the lane stands at -inf, and adds nothing.
    const Lane e = lane_exp((load_some(x + i, n - i, kLowest) - m) * slope);
    store_some(e, y + i, n - i);
    total += e;
  }
  const Scalar sum = lane_sum(total);
  const Lane scale(1 / sum);
  map_lanes(
      n, y, false, [=](Lane v) { return v * scale; }, y);
  return sum;
}

/// to = scale p * (g - <p, g>) for one row, or added to it: J(p) g.
inline void jacobian_row(const Scalar* p, const Scalar* g, std::size_t n, Scalar scale, Scalar* to,
                         bool add) {
  const Lane mean(row_sum(
      n, [](Lane a, Lane b) { return a * b; }, p, g)),
      s(scale);
  map_lanes(
      n, to, add, [=](Lane a, Lane b) { return s * a * (b - mean); }, p, g);
}

/// log sum exp(x) for one row, without overflow.
inline Scalar logsumexp_row(const Scalar* x, std::size_t n) {
  const Scalar largest = row_max(x, n);
  if (std::isinf(largest)) return largest;
  const Lane m(largest);
  return largest + std::log(row_sum(
                       n, [=](Lane v) { return lane_exp(v - m); }, x));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
