// Kernels over rows of contiguous numbers. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "../../engine/simd/functions.hpp"
#include "../../engine/system/parallel.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

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

/// Sum of f(in[i]...) over i < n.
template <class F, class... P>
[[gnu::flatten]] Scalar row_sum(std::size_t n, F f, const P*... in) {
  Lane s(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) s += f(Lane::load_unaligned(in + i)...);
  if (i < n) s += first_of(f(load_some(in + i, n - i)...), n - i);
  return lane_sum(s);
}

/// So many numbers are added up as Scalars; blocks of them as doubles, since a sum of ever more
/// floats stops growing.
constexpr std::size_t kSumBlock = 64 * kLane;

/// The same for rows of any length.
template <class F, class... P>
double long_row_sum(std::size_t n, F f, const P*... in) {
  double s = 0;
  for (std::size_t i = 0; i < n; i += kSumBlock)
    s += static_cast<double>(row_sum(std::min(kSumBlock, n - i), f, in + i...));
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

// Below a row is a function: row(i) are its numbers from i on, where a lane begins, and past its
// end 0, or -inf for one that has a largest number or a softmax.

/// A row that fits in a lane, read once.
struct InLane {
  Lane x;
  Lane operator()(std::size_t) const { return x; }
};

struct InMemory {
  const Scalar* x;
  std::size_t n;
  Lane operator()(std::size_t i) const {
    return i + kLane <= n ? Lane::load_unaligned(x + i) : load_some(x + i, n - i);
  }
};

/// Past its end -inf. `noise`, if not null, is added.
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

/// The largest of a row of n > 0 numbers.
template <class R>
[[gnu::always_inline]] inline Scalar max_lanes(std::size_t n, R row) {
  Lane m = row(0);
  for (std::size_t i = kLane; i < n; i += kLane) m = xsimd::max(m, row(i));
  return lane_max(m);
}

/// The sum of a row's numbers from begin on up to end, where the row ends or a lane begins.
template <class R>
[[gnu::always_inline]] inline Scalar sum_lanes(std::size_t begin, std::size_t end, R row) {
  Lane s(0);
  std::size_t i = begin;
  for (; i + kLane <= end; i += kLane) s += row(i);
  if (i < end) s += row(i);
  return lane_sum(s);
}

/// The sum of a row of n numbers.
template <class R>
[[gnu::always_inline]] inline Scalar sum_lanes(std::size_t n, R row) {
  if (n <= kLane) return lane_sum(row(0));
  if (n <= kSumBlock) return sum_lanes(0, n, row);
  double total = 0;
  for (std::size_t i = 0; i < n; i += kSumBlock)
    total += static_cast<double>(sum_lanes(i, std::min(n, i + kSumBlock), row));
  return static_cast<Scalar>(total);
}

/// to = row, which may be made of what stands there.
template <class R>
[[gnu::always_inline]] inline void store_lanes(std::size_t n, Scalar* to, R row) {
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) row(i).store_unaligned(to + i);
  if (i < n) store_some(row(i), to + i, n - i);
}

/// The place of the first largest of n > 0 numbers, n if one of them is NaN.
template <class R>
[[gnu::always_inline]] inline std::size_t row_argmax(std::size_t n, R row) {
  if (n <= kLane) {
    const std::size_t at = lane_argmax(row(0));
    return at < kLane ? at : n;
  }
  // Each of a lane's numbers has its own largest, and where that was: no branch depends on them.
  // Within a block places are exact as Scalars.
  alignas(64) static constexpr auto places = lane_places();
  std::size_t best = 0;
  Scalar largest = kLowest;
  for (std::size_t begin = 0; begin < n; begin += kSumBlock) {
    Lane m(kLowest), place = Lane::load_aligned(places.data()), at = place;
    auto numbers = m == m;
    for (std::size_t i = begin; i < std::min(n, begin + kSumBlock); i += kLane) {
      const Lane v = row(i);
      numbers = numbers & (v == v);
      at = xsimd::select(v > m, place, at);
      m = xsimd::max(m, v);
      place += Lane(static_cast<Scalar>(kLane));
    }
    if (!xsimd::all(numbers)) return n;
    const Scalar here = lane_max(m);
    if (!(here > largest)) continue;
    largest = here;
    at = xsimd::select(m == Lane(here), -at, Lane(kLowest));
    best = begin + static_cast<std::size_t>(-lane_max(at));
  }
  return best;
}

/// The place of the first largest of n > 0 numbers, or smallest; of the first NaN if there is one.
template <bool smallest>
std::size_t row_extreme(const Scalar* x, std::size_t n) {
  const std::size_t at = row_argmax(n, [=](std::size_t i) {
    const Lane v = n - i < kLane ? load_some(x + i, n - i, smallest ? -kLowest : kLowest)
                                 : Lane::load_unaligned(x + i);
    return smallest ? -v : v;
  });
  if (at < n) return at;
  return static_cast<std::size_t>(std::find_if(x, x + n, [](Scalar v) { return std::isnan(v); }) -
                                  x);
}

/// The place of the 1 in a row of n > 0 numbers; n if the rest is not all 0.
inline std::size_t one_hot_place(const Scalar* x, std::size_t n) {
  const std::size_t at = row_argmax(n, NoisyRow{x, nullptr, n});
  const Scalar not_zero = sum_lanes(n, [row = InMemory{x, n}](std::size_t i) {
    return xsimd::select(row(i) == Lane(0), Lane(0), Lane(1));
  });
  return at < n && x[at] == 1 && not_zero == 1 ? at : n;
}

/// log sum exp(x) for one row, without overflow.
template <class R>
[[gnu::always_inline]] inline Scalar logsumexp_row(std::size_t n, R row) {
  // Against inf - inf; without a shift the sum comes out as 0 or infinite, as it should.
  const Scalar largest = max_lanes(n, row), shift = std::isinf(largest) ? 0 : largest;
  return shift +
         std::log(sum_lanes(n, [&](std::size_t i) { return lane_exp(row(i) - Lane(shift)); }));
}
inline Scalar logsumexp_row(const Scalar* x, std::size_t n) {
  const NoisyRow row{x, nullptr, n};
  return n <= kLane ? logsumexp_row(n, InLane{row(0)}) : logsumexp_row(n, row);
}

/// The rows of a tensor along its last axis; `noise`, if not null, has the same shape.
struct TensorRows {
  const Scalar *x, *noise;
  std::size_t n;
  explicit TensorRows(const Tensor& t, const Tensor* noise = nullptr)
      : x(t.data()), noise(noise ? noise->data() : nullptr), n(t.shape()[t.dimension() - 1]) {}
  InMemory operator[](std::size_t r) const { return {x + r * n, n}; }
  NoisyRow noisy(std::size_t r) const { return {x + r * n, noise ? noise + r * n : nullptr, n}; }
};

/// Row r of a result.
struct ResultRow {
  std::size_t r, n;
  Scalar* to;
  template <class R>
  [[gnu::always_inline]] void operator=(R row) const {
    store_lanes(n, to, row);
  }
};

/// A tensor of `shape` from f(ResultRow, the same rows of `from`...), for each row along its last
/// axis.
template <class F>
Tensor map_each_row(const Shape& shape, F f) {
  Tensor y = uninitialised(shape);
  const std::size_t n = shape[shape.size() - 1];
  if (n == 0) return y;
  parallel_for(y.size() / n, rows_of_grain(n), [&](std::size_t begin, std::size_t end) {
    const F row = f;  // of which nobody else has a pointer, so that it stays in registers
    Scalar* to = y.data() + begin * n;
    for (std::size_t r = begin; r < end; ++r, to += n) row(ResultRow{r, n, to});
  });
  return y;
}
template <class F, class... From>
Tensor map_rows(const Shape& shape, F f, const From&... from) {
  if (shape[shape.size() - 1] <= kLane)
    return map_each_row(shape, [=](ResultRow y) { f(y, InLane{from[y.r](0)}...); });
  return map_each_row(shape, [=](ResultRow y) { f(y, from[y.r]...); });
}

/// The same for a softmax: f(ResultRow, e, sum of e, the same rows of `from`...) with
/// e = e^{(x + noise - max) / tau}, which may stand where the result goes. The sum is NaN for
/// numbers that have no softmax: among them NaN or +inf, or nothing but -inf.
template <class F, class... From>
Tensor map_softmax_rows(const Shape& shape, const TensorRows& x, Scalar tau, F f,
                        const From&... from) {
  constexpr std::size_t short_row = 32 * kLane;  // so much of a row is kept outside of memory
  const Lane slope(1 / tau);
  if (x.n <= kLane)
    return map_each_row(shape, [=](ResultRow y) {
      const Lane v = x.noisy(y.r)(0), e = lane_exp((v - Lane(lane_max(v))) * slope);
      f(y, InLane{e}, lane_sum(e), InLane{from[y.r](0)}...);
    });
  if (x.n <= short_row)
    return map_each_row(shape, [=](ResultRow y) {
      const NoisyRow row = x.noisy(y.r);
      Lane e[short_row / kLane], m(kLowest), total(0);
      for (std::size_t i = 0; i < y.n; i += kLane) m = xsimd::max(m, e[i / kLane] = row(i));
      m = Lane(lane_max(m));
      for (std::size_t i = 0; i < y.n; i += kLane)
        total += e[i / kLane] = lane_exp((e[i / kLane] - m) * slope);
      f(
          y, [&](std::size_t i) { return e[i / kLane]; }, lane_sum(total), from[y.r]...);
    });
  return map_each_row(shape, [=](ResultRow y) {
    const NoisyRow row = x.noisy(y.r);
    const Lane m(max_lanes(y.n, row));
    y = [&](std::size_t i) { return lane_exp((row(i) - m) * slope); };
    const InMemory e{y.to, y.n};
    f(y, e, sum_lanes(y.n, e), from[y.r]...);
  });
}

/// y = scale J(p) g = scale p * (g - <p, g>) for a row p = e / sum.
template <class E, class G>
[[gnu::always_inline]] inline void jacobian_row(ResultRow y, E e, Scalar sum, G g, Scalar scale) {
  const Scalar over = 1 / sum;
  const Lane mean(over * sum_lanes(y.n, [&](std::size_t i) { return e(i) * g(i); })),
      s(scale * over);
  y = [&](std::size_t i) { return s * e(i) * (g(i) - mean); };
}

ARGTAPE_END
