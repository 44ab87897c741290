// Kernels over rows of contiguous numbers. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "../../engine/simd/functions.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// 0, 1, 2, ...: as many as a lane holds.
constexpr std::array<Scalar, kLane> lane_places() {
  std::array<Scalar, kLane> places{};
  for (std::size_t i = 0; i < kLane; ++i) places[i] = static_cast<Scalar>(i);
  return places;
}

constexpr Scalar kLowest = -std::numeric_limits<Scalar>::infinity();

/// The first n numbers of a lane; the rest is 0.
inline Lane first_of(Lane x, std::size_t n) {
  alignas(64) static constexpr auto places = lane_places();
  return xsimd::select(Lane::load_aligned(places.data()) < Lane(static_cast<Scalar>(n)), x,
                       Lane(0));
}

inline Scalar row_max(const Scalar* x, std::size_t n) {
  Lane m(kLowest);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) m = xsimd::max(m, Lane::load_unaligned(x + i));
  if (i < n) m = xsimd::max(m, load_some(x + i, n - i, kLowest));
  return lane_max(m);
}

/// Sum of f(in[i]...) over i < n.
template <class F, class... P>
[[gnu::flatten]] Scalar row_sum(std::size_t n, F f, const P*... in) {
  Lane s(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) s += f(Lane::load_unaligned(in + i)...);
  if (i < n) s += first_of(f(load_some(in + i, n - i)...), n - i);
  return lane_sum(s);
}

/// The same for rows of any length: gathered in double, a stretch at a time, since a sum of ever
/// more floats stops growing.
template <class F, class... P>
double long_row_sum(std::size_t n, F f, const P*... in) {
  constexpr std::size_t stretch = 64 * kLane;
  double s = 0;
  for (std::size_t i = 0; i < n; i += stretch)
    s += static_cast<double>(row_sum(std::min(stretch, n - i), f, in + i...));
  return s;
}

inline Scalar row_mean(const Scalar* x, std::size_t n) {
  return static_cast<Scalar>(long_row_sum(
                                 n, [](Lane v) { return v; }, x) /
                             static_cast<double>(n));
}

/// The mean and the mean of (x - mean)^2 of n > 0 numbers.
struct Moments {
  Scalar mean, variance;
};
inline Moments row_moments(const Scalar* x, std::size_t n) {
  const Scalar mean = row_mean(x, n);
  const Lane m(mean);
  const double squares = long_row_sum(
      n, [=](Lane v) { return (v - m) * (v - m); }, x);
  return {mean, static_cast<Scalar>(squares / static_cast<double>(n))};
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

/// A row as it is read, lane by lane: the numbers from i on, and past its end -inf. `noise`, if not
/// null, is added.
struct NoisyRow {
  const Scalar *x, *noise;
  std::size_t n;
  Lane operator()(std::size_t i) const {
    if (i + kLane <= n) {
      const Lane v = Lane::load_unaligned(x + i);
      return noise ? v + Lane::load_unaligned(noise + i) : v;
    }
    const Lane v = load_some(x + i, n - i, kLowest);
    return noise ? v + load_some(noise + i, n - i) : v;
  }
};

/// The place of the first largest of n > 0 numbers, or smallest; of the first NaN if there is one.
template <bool smallest>
std::size_t row_extreme(const Scalar* x, std::size_t n) {
  const auto turned = [](Lane v) { return smallest ? -v : v; };
  const auto first_nan = [x](const Scalar* begin, const Scalar* end) {
    return static_cast<std::size_t>(
        std::find_if(begin, end, [](Scalar v) { return std::isnan(v); }) - x);
  };
  const auto some = [&](std::size_t i) {
    return turned(n - i < kLane ? load_some(x + i, n - i, smallest ? -kLowest : kLowest)
                                : Lane::load_unaligned(x + i));
  };
  if (n <= kLane) {
    const std::size_t at = lane_argmax(some(0));
    return at < kLane ? at : first_nan(x, x + n);
  }
  // A stretch at a time, so that the search for the place finds it in the cache.
  constexpr std::size_t stretch = 64 * kLane;
  std::size_t best = 0;
  Scalar largest = kLowest;
  for (std::size_t begin = 0; begin < n; begin += stretch) {
    const std::size_t end = std::min(n, begin + stretch);
    Lane m(kLowest);
    auto numbers = m == m;
    for (std::size_t i = begin; i < end; i += kLane) {
      const Lane v = some(i);
      numbers = numbers & (v == v);
      m = xsimd::max(m, v);
    }
    if (!xsimd::all(numbers)) return first_nan(x + begin, x + end);
    const Scalar here = lane_max(m);
    if (!(here > largest)) continue;
    largest = here;
    std::size_t i = begin;
    while (!xsimd::any(some(i) == Lane(here))) i += kLane;
    best = static_cast<std::size_t>(std::find(x + i, x + n, smallest ? -here : here) - x);
  }
  return best;
}

/// The place of the first largest of n > 0 numbers; n if one of them is NaN.
inline std::size_t row_argmax(const NoisyRow& row) {
  if (row.n <= kLane) {
    const std::size_t at = lane_argmax(row(0));
    return at == kLane ? row.n : at;
  }
  std::size_t best = 0;
  Scalar largest = kLowest;
  for (std::size_t i = 0; i < row.n; i += kLane) {
    const Lane v = row(i);
    const std::size_t at = lane_argmax(v);
    if (at == kLane) return row.n;
    const Scalar m = lane_max(v);
    if (i == 0 || m > largest) {
      best = i + at;
      largest = m;
    }
  }
  return best;
}
inline std::size_t row_argmax(const Scalar* x, std::size_t n) {
  return row_argmax({x, nullptr, n});
}

/// The place of the 1 in a row of n numbers; n if the rest is not all 0.
inline std::size_t one_hot_place(const Scalar* x, std::size_t n) {
  std::size_t place = n, ones = 0;
#if defined(__AVX512F__)
  for (std::size_t i = 0; i < n; i += kLane) {
    const std::size_t left = n - i;
    const Lane v = left < kLane ? load_some(x + i, left) : Lane::load_unaligned(x + i);
    const unsigned one = lanes::equal(v, Lane(1)), all = (1u << kLane) - 1;
    if ((one | lanes::equal(v, Lane(0))) != all) return n;
    if (one == 0) continue;
    ones += static_cast<std::size_t>(__builtin_popcount(one));
    place = i + static_cast<std::size_t>(__builtin_ctz(one));
  }
#else
  for (std::size_t i = 0; i < n; ++i) {
    if (x[i] == 0) continue;
    if (x[i] != 1) return n;
    ++ones;
    place = i;
  }
#endif
  return ones == 1 ? place : n;
}

/// softmax(slope x) of a lane whose rest stands at -inf, and sum_i e^{slope (x_i - max)}, which is
/// NaN for numbers without a softmax: among them NaN or +inf, or nothing but -inf.
inline Lane softmax_lane(Lane x, Scalar slope, Scalar& sum) {
  const Lane e = lane_exp((x - Lane(lane_max(x))) * Lane(slope));
  sum = lane_sum(e);
  return e * Lane(1 / sum);
}

/// So many lanes of a row at most are worked on outside of its own memory: there a last, incomplete
/// lane need not be masked, and what was stored can be read again at once.
constexpr std::size_t kShortRow = 32;

/// e = e^{(x - max) / tau} lane by lane, into `lanes`; returns their sum.
inline Scalar exponentials(const NoisyRow& row, Scalar tau, Lane* lanes) {
  const std::size_t n = row.n;
  Lane largest(kLowest), total(0);
  for (std::size_t i = 0; i < n; i += kLane) {
    const Lane v = row(i);
    lanes[i / kLane] = v;
    largest = xsimd::max(largest, v);
  }
  const Lane m(lane_max(largest)), slope(1 / tau);
  for (std::size_t i = 0; i < n; i += kLane) {
    const Lane e = lane_exp((lanes[i / kLane] - m) * slope);
    lanes[i / kLane] = e;
    total += e;
  }
  return lane_sum(total);
}

/// y = softmax((x + noise) / tau) for one row, without overflow; returns the sum, as softmax_lane()
/// does.
inline Scalar softmax_row(const NoisyRow& row, Scalar* y, Scalar tau = 1) {
  const std::size_t n = row.n;
  Scalar sum;
  if (n <= kLane) {
    store_some(softmax_lane(row(0), 1 / tau, sum), y, n);
    return sum;
  }
  if (n <= kShortRow * kLane) {
    Lane lanes[kShortRow];
    sum = exponentials(row, tau, lanes);
    const Lane scale(1 / sum);
    std::size_t i = 0;
    for (; i + kLane <= n; i += kLane) (lanes[i / kLane] * scale).store_unaligned(y + i);
    if (i < n) store_some(lanes[i / kLane] * scale, y + i, n - i);
    return sum;
  }
  Lane largest(kLowest);
  for (std::size_t i = 0; i < n; i += kLane) largest = xsimd::max(largest, row(i));
  const Lane m(lane_max(largest)), slope(1 / tau);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) lane_exp((row(i) - m) * slope).store_unaligned(y + i);
  if (i < n) store_some(lane_exp((row(i) - m) * slope), y + i, n - i);
  sum = static_cast<Scalar>(long_row_sum(
      n, [](Lane e) { return e; }, y));
  const Lane scale(1 / sum);
  map_lanes(
      n, y, false, [=](Lane v) { return v * scale; }, y);
  return sum;
}
inline Scalar softmax_row(const Scalar* x, std::size_t n, Scalar* y, Scalar tau = 1) {
  return softmax_row({x, nullptr, n}, y, tau);
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
  const Lane mean(static_cast<Scalar>(long_row_sum(
      n, [](Lane a, Lane b) { return a * b; }, p, g)));
  const Lane s(scale);
  map_lanes(
      n, to, add, [=](Lane a, Lane b) { return s * a * (b - mean); }, p, g);
}

/// to = J(softmax((x + noise) / tau)) g / tau for one row, or added to it; scratch holds n numbers.
inline void relaxed_jacobian_row(const NoisyRow& row, const Scalar* g, Scalar tau, Scalar* scratch,
                                 Scalar* to, bool add) {
  const std::size_t n = row.n;
  if (n <= kLane) {
    Scalar sum;
    const Lane p = softmax_lane(row(0), 1 / tau, sum);
    const Lane y = jacobian_lane(p, load_some(g, n), 1 / tau);
    return store_some(add ? load_some(to, n) + y : y, to, n);
  }
  if (n > kShortRow * kLane) {
    softmax_row(row, scratch, tau);
    return jacobian_row(scratch, g, n, 1 / tau, to, add);
  }
  Lane p[kShortRow];
  const Scalar over = 1 / exponentials(row, tau, p);
  const auto slope = [&](std::size_t i) {
    return i + kLane <= n ? Lane::load_unaligned(g + i) : load_some(g + i, n - i);
  };
  Lane weighted(0);
  for (std::size_t i = 0; i < n; i += kLane) weighted += p[i / kLane] * slope(i);
  const Lane mean(lane_sum(weighted) * over), scale(over / tau);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    const Lane y = scale * p[i / kLane] * (slope(i) - mean);
    (add ? Lane::load_unaligned(to + i) + y : y).store_unaligned(to + i);
  }
  if (i == n) return;
  const Lane y = scale * p[i / kLane] * (slope(i) - mean);
  store_some(add ? load_some(to + i, n - i) + y : y, to + i, n - i);
}

/// log sum exp(x) for one row, without overflow.
inline Scalar logsumexp_row(const Scalar* x, std::size_t n) {
  // Against inf - inf; without a shift the sum comes out as 0 or infinite, as it should.
  const auto shift_of = [](Scalar largest) { return std::isinf(largest) ? 0 : largest; };
  if (n <= kLane) {
    const Lane v = load_some(x, n, kLowest);
    const Scalar shift = shift_of(lane_max(v));
    return shift + std::log(lane_sum(lane_exp(v - Lane(shift))));
  }
  const Scalar shift = shift_of(row_max(x, n));
  const Lane m(shift);
  return shift + std::log(static_cast<Scalar>(long_row_sum(
                     n, [=](Lane v) { return lane_exp(v - m); }, x)));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
