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

/// The place of the first largest of a lane's numbers, whose rest stands at -inf; kLane if there is
/// NaN among them.
inline std::size_t lane_argmax(Lane x) {
#if defined(__AVX512F__)
  if (lanes::unordered(x)) return kLane;
  return static_cast<std::size_t>(__builtin_ctz(lanes::equal(x, Lane(lane_max(x)))));
#else
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  std::size_t best = 0;
  for (std::size_t i = 0; i < kLane; ++i) {
    if (std::isnan(each[i])) return kLane;
    if (each[i] > each[best]) best = i;
  }
  return best;
#endif
}

/// The place of the first largest of n > 0 numbers; n if one of them is NaN.
inline std::size_t row_argmax(const Scalar* x, std::size_t n) {
  std::size_t best = 0;
  for (std::size_t i = 0; i < n; i += kLane) {
    const std::size_t left = n - i;
    const std::size_t at =
        lane_argmax(left < kLane ? load_some(x + i, left, kLowest) : Lane::load_unaligned(x + i));
    if (at == kLane) return n;
    if (x[i + at] > x[best]) best = i + at;
  }
  return best;
}

/// softmax(slope x) of a lane whose rest stands at -inf, and sum_i e^{slope (x_i - max)}, which is
/// NaN for numbers without a softmax: among them NaN or +inf, or nothing but -inf.
inline Lane softmax_lane(Lane x, Scalar slope, Scalar& sum) {
  const Lane e = lane_exp((x - Lane(lane_max(x))) * Lane(slope));
  sum = lane_sum(e);
  return e * Lane(1 / sum);
}

/// y = softmax(x / tau) for one row, without overflow; returns the sum, as softmax_lane() does.
inline Scalar softmax_row(const Scalar* x, std::size_t n, Scalar* y, Scalar tau = 1) {
  Scalar sum;
  if (n <= kLane) {
    store_some(softmax_lane(load_some(x, n, kLowest), 1 / tau, sum), y, n);
    return sum;
  }
  const Lane m(row_max(x, n)), slope(1 / tau);
  Lane total(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    const Lane e = lane_exp((Lane::load_unaligned(x + i) - m) * slope);
    e.store_unaligned(y + i);
    total += e;
  }
  if (i < n) {
    const Lane e = lane_exp((load_some(x + i, n - i, kLowest) - m) * slope);
    store_some(e, y + i, n - i);
    total += e;
  }
  sum = lane_sum(total);
  const Lane scale(1 / sum);
  map_lanes(
      n, y, false, [=](Lane v) { return v * scale; }, y);
  return sum;
}

/// scale J(p) g of lanes whose rest stands at 0.
inline Lane jacobian_lane(Lane p, Lane g, Scalar scale) {
  return Lane(scale) * p * (g - Lane(lane_sum(p * g)));
}

/// to = scale J(p) g = scale p * (g - <p, g>) for one row, or added to it.
inline void jacobian_row(const Scalar* p, const Scalar* g, std::size_t n, Scalar scale, Scalar* to,
                         bool add) {
  if (n <= kLane) {
    const Lane y = jacobian_lane(load_some(p, n), load_some(g, n), scale);
    return store_some(add ? load_some(to, n) + y : y, to, n);
  }
  const Lane mean(row_sum(
      n, [](Lane a, Lane b) { return a * b; }, p, g));
  const Lane s(scale);
  map_lanes(
      n, to, add, [=](Lane a, Lane b) { return s * a * (b - mean); }, p, g);
}

/// to = J(softmax((x + noise) / tau)) g / tau for one row, or added to it. `noise` may be null;
/// scratch holds n numbers.
inline void relaxed_jacobian_row(const Scalar* x, const Scalar* noise, const Scalar* g,
                                 std::size_t n, Scalar tau, Scalar* scratch, Scalar* to, bool add) {
  if (n <= kLane) {
    Scalar sum;
    const Lane l = load_some(x, n, kLowest);
    const Lane p = softmax_lane(noise ? l + load_some(noise, n) : l, 1 / tau, sum);
    const Lane y = jacobian_lane(p, load_some(g, n), 1 / tau);
    return store_some(add ? load_some(to, n) + y : y, to, n);
  }
  if (noise)
    map_lanes(
        n, scratch, false, [](Lane a, Lane b) { return a + b; }, x, noise);
  softmax_row(noise ? scratch : x, n, scratch, tau);
  jacobian_row(scratch, g, n, 1 / tau, to, add);
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
