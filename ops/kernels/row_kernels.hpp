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

constexpr Scalar kMinusInf = -std::numeric_limits<Scalar>::infinity(),
                 kNaN = std::numeric_limits<Scalar>::quiet_NaN();

/// The first n numbers of a lane; the rest is 0.
inline Lane first_of(Lane x, std::size_t n) {
  alignas(64) static constexpr auto places = lane_places();
  return xsimd::select(Lane::load_aligned(places.data()) < Lane(static_cast<Scalar>(n)), x,
                       Lane(0));
}

/// So many numbers are added up as Scalars; blocks of them as doubles, since a sum of ever more
/// floats stops growing.
constexpr std::size_t kSumBlock = 64 * kLane;

// Below a row is a function: row(i) are its numbers from i on, where a lane begins, and past its
// end 0, or -inf for one that has a largest number or a softmax.

/// A row that fits in a lane, read once.
struct InLane {
  Lane x;
  Lane operator()(std::size_t) const { return x; }
};

/// Written down in lanes.
struct InLanes {
  const Lane* x;
  Lane operator()(std::size_t i) const { return x[i / kLane]; }
};
/// x, which is written down, too. (What `to = x` gives is read from there again.)
inline Lane written(Lane x, Lane& to) {
  to = x;
  return x;
}

struct InMemory {
  const Scalar* x;
  std::size_t n;
  Scalar rest = 0;  // past its end
  Lane operator()(std::size_t i) const {
    return i + kLane <= n ? Lane::load_unaligned(x + i) : load_some(x + i, n - i, rest);
  }
};

/// The largest of a row of n > 0 numbers.
template <class R>
[[gnu::always_inline]] inline Scalar max_lanes(std::size_t n, R row) {
  Lane m = row(0);
  for (std::size_t i = kLane; i < n; i += kLane) m = xsimd::max(m, row(i));
  return lane_max(m);
}

/// x + noise, if that is not null, less a shift.
struct NoisyRow {
  InMemory x, noise;
  Scalar shift = 0;
  Lane operator()(std::size_t i) const { return noise.x ? x(i) - Lane(shift) + noise(i) : x(i); }
  /// Whether the noise loses its digits where the sum's largest number is this.
  [[gnu::always_inline]] bool loses_noise(Scalar largest) const {
    return __builtin_expect(std::abs(largest) >= 64, false) && noise.x;
  }
  /// Shifts by the largest of x then, if it is finite.
  void settle(Scalar largest) {
    if (!loses_noise(largest)) return;
    const Scalar top = max_lanes(x.n, x);
    shift = std::isfinite(top) ? top : 0;
  }
};

/// The sum of a row of n numbers.
template <class R>
[[gnu::always_inline]] inline Scalar sum_lanes(std::size_t n, R row) {
  if (n <= kLane) return lane_sum(row(0));
  const auto block = [&](std::size_t begin, std::size_t end) {
    Lane s(0);
    std::size_t i = begin;
    for (; i + kLane <= end; i += kLane) s += row(i);
    if (i < end) s += row(i);
    return lane_sum(s);
  };
  if (n <= kSumBlock) return block(0, n);
  double total = 0;
  for (std::size_t i = 0; i < n; i += kSumBlock)
    total += static_cast<double>(block(i, std::min(n, i + kSumBlock)));
  return static_cast<Scalar>(total);
}

/// Sum of f(in[i]...) over i < n, for an f that need not be 0 at 0.
template <class F, class... P>
[[gnu::flatten]] Scalar row_sum(std::size_t n, F f, const P*... in) {
  return sum_lanes(n, [&](std::size_t i) {
    return i + kLane <= n ? Lane(f(Lane::load_unaligned(in + i)...))
                          : first_of(f(load_some(in + i, n - i)...), n - i);
  });
}

/// A row's mean as its first number and what is left from there: so a number that all have in
/// common costs no digits of x - mean.
struct Mean {
  Scalar first, rest;
  auto subtracted() const {
    return [first = Lane(first), rest = Lane(rest)](Lane x) { return x - first - rest; };
  }
};
inline Mean row_mean(const Scalar* x, std::size_t n) {
  const Scalar sum = row_sum(
      n, [first = Lane(x[0])](Lane v) { return v - first; }, x);
  return {x[0], sum / static_cast<Scalar>(n)};
}

/// The mean and the mean of (x - mean)^2 of n > 0 numbers.
struct Moments {
  Mean mean;
  Scalar variance;
};
inline Moments row_moments(const Scalar* x, std::size_t n) {
  const Mean mean = row_mean(x, n);
  const auto square = [centred = mean.subtracted()](Lane v) { return centred(v) * centred(v); };
  return {mean, row_sum(n, square, x) / static_cast<Scalar>(n)};
}

/// to = row, which may be made of what stands there.
template <class R>
[[gnu::always_inline]] inline void store_lanes(std::size_t n, Scalar* to, R row) {
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) row(i).store_unaligned(to + i);
  if (i < n) store_some(row(i), to + i, n - i);
}

/// The first largest of n > 0 numbers, and its place; NaN, and n, if one of them is NaN.
struct Largest {
  std::size_t at;
  Scalar value;
};
template <class R>
[[gnu::always_inline]] inline Largest row_argmax(std::size_t n, R row) {
#if defined(__AVX512F__)
  if (n <= kLane) {
    const Lane x = row(0);
    const Scalar largest = lane_max(x);
    if (lanes::unordered(x)) return {n, kNaN};
    return {static_cast<std::size_t>(__builtin_ctz(lanes::equal(x, Lane(largest)))), largest};
  }
#endif
  // Each of a lane's numbers has its own largest, and where that was: no branch depends on them.
  // Within a block places are exact as Scalars.
  alignas(64) static constexpr auto places = lane_places();
  Largest best{0, kMinusInf};
  for (std::size_t begin = 0; begin < n; begin += kSumBlock) {
    Lane m(kMinusInf), place = Lane::load_aligned(places.data()), at = place;
    auto numbers = m == m;
    for (std::size_t i = begin; i < std::min(n, begin + kSumBlock); i += kLane) {
      const Lane v = row(i);
      numbers = numbers & (v == v);
      at = xsimd::select(v > m, place, at);
      m = xsimd::max(m, v);
      place += Lane(static_cast<Scalar>(kLane));
    }
    if (!xsimd::all(numbers)) return {n, kNaN};
    const Scalar here = lane_max(m);
    if (!(here > best.value)) continue;
    at = xsimd::select(m == Lane(here), -at, Lane(kMinusInf));
    best = {begin + static_cast<std::size_t>(-lane_max(at)), here};
  }
  return best;
}

/// The place of the first largest of n > 0 numbers, or smallest; of the first NaN if there is one.
template <bool smallest>
std::size_t row_extreme(const Scalar* x, std::size_t n) {
  const InMemory row{x, n, smallest ? -kMinusInf : kMinusInf};
  const Largest best = row_argmax(n, [=](std::size_t i) { return smallest ? -row(i) : row(i); });
  if (best.at < n) return best.at;
  return static_cast<std::size_t>(std::find_if(x, x + n, [](Scalar v) { return std::isnan(v); }) -
                                  x);
}

/// The place of the 1 in a row of n > 0 numbers; n if the rest is not all 0.
inline std::size_t one_hot_place(const Scalar* x, std::size_t n) {
  const Largest one = row_argmax(n, InMemory{x, n, kMinusInf});
  const Scalar not_zero = row_sum(
      n, [](Lane v) { return xsimd::select(v == Lane(0), Lane(0), Lane(1)); }, x);
  return one.value == 1 && not_zero == 1 ? one.at : n;
}

/// log sum exp(x) of a row in two parts, without overflow: x - shift - log_sum keeps digits that
/// are lost in x - (shift + log_sum), where all numbers are far from 0.
struct LogSum {
  Scalar shift, log_sum;
};
inline LogSum log_sum_row(const Scalar* x, std::size_t n) {
  const InMemory row{x, n, kMinusInf};
  // Against inf - inf; without a shift the sum comes out as 0 or infinite, as it should.
  const Scalar largest = max_lanes(n, row), shift = std::isinf(largest) ? 0 : largest;
  return {shift,
          std::log(sum_lanes(n, [&](std::size_t i) { return lane_exp(row(i) - Lane(shift)); }))};
}
inline Scalar logsumexp_row(const Scalar* x, std::size_t n) {
  const LogSum parts = log_sum_row(x, n);
  return parts.shift + parts.log_sum;
}

/// Row r of a result.
struct ResultRow {
  std::size_t r, n;
  Scalar* to;
  template <class R>
  [[gnu::always_inline]] void operator=(R row) const {
    store_lanes(n, to, row);
  }
};

/// The rows of a tensor along its last axis; `noise`, if not null, has the same shape.
struct TensorRows {
  const Scalar *x, *noise;
  explicit TensorRows(const Tensor& t, const Tensor* noise = nullptr)
      : x(t.data()), noise(noise ? noise->data() : nullptr) {}
  /// The row beside y, or some behind it. Its length is y's, which the compiler then knows to be
  /// one.
  InMemory operator[](ResultRow y) const { return {x + y.r * y.n, y.n}; }
  NoisyRow noisy(ResultRow y, std::size_t behind = 0) const {
    const std::size_t at = (y.r + behind) * y.n;
    return {{x + at, y.n, kMinusInf}, {noise ? noise + at : nullptr, y.n}};
  }
};

/// A tensor of `shape` from f(ResultRow, count) for the rows along its last axis, `count` of them
/// at a time: as many as `most`, but at the end.
template <std::size_t most, class F>
Tensor map_groups(const Shape& shape, F f) {
  Tensor y = uninitialised(shape);
  const std::size_t n = shape[shape.size() - 1];
  if (n == 0) return y;
  parallel_for(y.size() / n, rows_of_grain(n), [&](std::size_t begin, std::size_t end) {
    const F rows = f;  // of which nobody else has a pointer, so that it stays in registers
    Scalar* to = y.data() + begin * n;
    for (std::size_t r = begin; r < end; r += most, to += most * n)
      rows(ResultRow{r, n, to}, std::min(most, end - r));
  });
  return y;
}
/// A tensor of `shape` from f(ResultRow, the same rows of `from`...), for each row along its last
/// axis.
template <class F>
Tensor map_each_row(const Shape& shape, F f) {
  return map_groups<1>(shape, [=](ResultRow y, std::size_t) { f(y); });
}
template <class F, class... From>
Tensor map_rows(const Shape& shape, F f, const From&... from) {
  const std::size_t n = shape[shape.size() - 1];
  if (n <= kLane)
    return map_each_row(shape, [=](ResultRow y) {
      y.n = n;  // known to be one for all rows: masks are made once
      f(y, InLane{from[y](0)}...);
    });
  return map_each_row(shape, [=](ResultRow y) { f(y, from[y]...); });
}

/// One row of what follows, of any length and with a shift where the noise needs it.
template <class F, class... From>
[[gnu::noinline]] void softmax_row(ResultRow y, NoisyRow row, Scalar tau, const F& f,
                                   const From&... from) {
  row.settle(max_lanes(y.n, row));
  const Lane m(max_lanes(y.n, row)), slope(1 / tau);
  y = [&](std::size_t i) { return lane_exp_below((row(i) - m) * slope); };
  const InMemory e{y.to, y.n};
  f(y, e, sum_lanes(y.n, e), from...);
}

/// Rows up to so many lanes are kept outside of memory, so many at a time: the processor works on
/// one's exponentials while it waits for another's sum.
constexpr std::size_t kShortRow = 32, kGroup = 4;

/// The same for a softmax: f(ResultRow, e, sum of e, the same rows of `from`...) with
/// e = e^{(x + noise - max) / tau}, which may stand where the result goes. The sum is NaN for
/// numbers that have no softmax: among them NaN or +inf, or nothing but -inf.
template <class F, class... From>
Tensor map_softmax_rows(const Shape& shape, const TensorRows& x, Scalar tau, F f,
                        const From&... from) {
  const Lane slope(1 / tau);
  const std::size_t n = shape[shape.size() - 1];
  if (n <= kLane)
    return map_each_row(shape, [=](ResultRow y) {
      y.n = n;
      const NoisyRow row = x.noisy(y);
      Lane v = row(0);
      Scalar m = lane_max(v);
      if (row.loses_noise(m)) {
        v = row.x(0) - Lane(lane_max(row.x(0))) + row.noise(0);
        m = lane_max(v);
      }
      const Lane e = lane_exp_below((v - Lane(m)) * slope);
      f(y, InLane{e}, lane_sum(e), InLane{from[y](0)}...);
    });
  if (n <= kShortRow * kLane)
    return map_groups<kGroup>(shape, [=](ResultRow y, std::size_t count) {
      Lane e[kGroup][kShortRow];
      Scalar largest[kGroup], sums[kGroup];
      for (std::size_t k = 0; k < count; ++k) {
        const NoisyRow row = x.noisy(y, k);
        largest[k] = max_lanes(y.n, [&](std::size_t i) {
          __builtin_prefetch(row.x.x + i + kGroup * y.n);  // of the next group
          if (row.noise.x) __builtin_prefetch(row.noise.x + i + kGroup * y.n);
          return written(row(i), e[k][i / kLane]);
        });
      }
      for (std::size_t k = 0; k < count; ++k)
        sums[k] = sum_lanes(y.n, [&, m = Lane(largest[k])](std::size_t i) {
          Lane& v = e[k][i / kLane];
          return written(lane_exp_below((v - m) * slope), v);
        });
      for (std::size_t k = 0; k < count; ++k, ++y.r, y.to += y.n) {
        if (const NoisyRow row = x.noisy(y); row.loses_noise(largest[k]))
          softmax_row(y, row, tau, f, from[y]...);
        else
          f(y, InLanes{e[k]}, sums[k], from[y]...);
      }
    });
  return map_each_row(shape, [=](ResultRow y) { softmax_row(y, x.noisy(y), tau, f, from[y]...); });
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
