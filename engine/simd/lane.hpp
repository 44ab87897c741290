// Plain arrays, a vector register at a time. For the library's own .cpp files: it includes xsimd,
// which no public header does. exp, log and the like are in functions.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <xsimd/xsimd.hpp>

#include "../scalar.hpp"

#if defined(__aarch64__) && !defined(ARGTAPE_DOUBLE)
// The quotient, in place of xsimd's, which is made from an estimate of 1 / y.
template <>
inline xsimd::batch<float>& xsimd::batch<float>::operator/=(const batch& y) noexcept {
  return *this = vdivq_f32(*this, y);
}
#endif

ARGTAPE_PRIVATE_BEGIN

/// As many Scalars as a register holds. Formulas written as generic lambdas take Lanes as they do
/// Vars.
using Lane = xsimd::batch<Scalar>;
constexpr std::size_t kLane = Lane::size;

#if defined(__AVX512F__)
// AVX-512's instructions that xsimd 8 has no name for.
#ifdef ARGTAPE_DOUBLE
#define ARGTAPE_AVX512(name) _mm512_##name##_pd
#else
#define ARGTAPE_AVX512(name) _mm512_##name##_ps
#endif
namespace lanes {
using Mask = Lane::batch_bool_type::register_type;
inline unsigned equal(Lane x, Lane y) { return static_cast<Mask>(x == y); }
inline unsigned unordered(Lane x) { return static_cast<Mask>(xsimd::isnan(x)); }
}  // namespace lanes
#endif

/// The first n < kLane numbers from p; the rest of the lane is `rest`.
inline Lane load_some(const Scalar* p, std::size_t n, Scalar rest = 0) {
#if defined(__AVX512F__)
  return ARGTAPE_AVX512(mask_loadu)(Lane(rest), static_cast<lanes::Mask>((1u << n) - 1), p);
#else
  alignas(64) Scalar some[kLane];
  for (std::size_t i = 0; i < kLane; ++i) some[i] = i < n ? p[i] : rest;
  return Lane::load_aligned(some);
#endif
}
inline void store_some(Lane x, Scalar* p, std::size_t n) {
#if defined(__AVX512F__)
  ARGTAPE_AVX512(mask_storeu)(p, static_cast<lanes::Mask>((1u << n) - 1), x);
#else
  alignas(64) Scalar some[kLane];
  x.store_aligned(some);
  std::copy(some, some + n, p);
#endif
}

/// The square root, the number nearest to it.
inline Lane lane_sqrt(Lane x) {
#if defined(__aarch64__) && !defined(ARGTAPE_DOUBLE)
  return vsqrtq_f32(x);  // xsimd's is an estimate, and NaN of infinity
#else
  return xsimd::sqrt(x);
#endif
}

/// The sum, and the largest, of a lane's numbers. (xsimd's own changed their names with version 9.)
inline Scalar lane_sum(Lane x) {
#if defined(__AVX512F__)
  return ARGTAPE_AVX512(reduce_add)(x);
#else
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  return std::accumulate(each, each + kLane, Scalar{0});
#endif
}
inline Scalar lane_max(Lane x) {
#if defined(__AVX512F__)
  return ARGTAPE_AVX512(reduce_max)(x);
#else
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  return *std::max_element(each, each + kLane);
#endif
}

/// The sum of n numbers: four sums side by side, none of which waits for the others.
inline Scalar sum_of(const Scalar* p, std::size_t n) {
  Lane sums[4] = {Lane(0), Lane(0), Lane(0), Lane(0)};
  std::size_t i = 0;
  for (; i + 4 * kLane <= n; i += 4 * kLane)
    for (std::size_t k = 0; k < 4; ++k) sums[k] += Lane::load_unaligned(p + i + k * kLane);
  for (; i < n; i += kLane)
    sums[0] += n - i < kLane ? load_some(p + i, n - i) : Lane::load_unaligned(p + i);
  return lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/// Results so large go past the caches, which could not hold them until they are read: memory is
/// not read first only to be written over.
constexpr std::size_t kPastCaches = std::size_t{8} << 20;  // bytes

constexpr bool streams(std::size_t numbers) { return numbers * sizeof(Scalar) >= kPastCaches; }

/// Stores a lane past the caches, where the machine can be told so; p is a multiple of the lane's
/// bytes. finish_streams() comes after the last, before another thread may read them.
inline void stream_lane(Lane x, Scalar* p) {
#if defined(__AVX512F__)
  ARGTAPE_AVX512(stream)(p, x);
#else
  x.store_aligned(p);
#endif
}
inline void finish_streams() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

/// out[i] = f(in[i]...) for i < n; with `add`, out[i] += f(in[i]...). It is flattened: a long f, in
/// two places, would else stay a call for each lane.
template <class F, class... P>
[[gnu::flatten]] void map_lanes(std::size_t n, Scalar* out, bool add, F f, const P*... in) {
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    const Lane y = f(Lane::load_unaligned(in + i)...);
    (add ? Lane::load_unaligned(out + i) + y : y).store_unaligned(out + i);
  }
  if (i == n) return;
  const Lane last = f(load_some(in + i, n - i)...);
  store_some(add ? load_some(out + i, n - i) + last : last, out + i, n - i);
}

ARGTAPE_END
