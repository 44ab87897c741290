// Plain arrays, a vector register at a time. For the library's own .cpp files: it includes xsimd,
// which no public header does. exp, log and the like are in functions.hpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <xsimd/xsimd.hpp>

#include "../scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// As many Scalars as a register holds. Formulas written as generic lambdas take Lanes as they do
/// Vars.
using Lane = xsimd::batch<Scalar>;
constexpr std::size_t kLane = Lane::size;

#if defined(__AVX512F__)
// Masked instructions, which xsimd 8 has no name for.
namespace lanes {
inline __m512 load(const float* p, unsigned mask, float rest) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(rest), static_cast<__mmask16>(mask), p);
}
inline __m512d load(const double* p, unsigned mask, double rest) {
  return _mm512_mask_loadu_pd(_mm512_set1_pd(rest), static_cast<__mmask8>(mask), p);
}
inline void store(float* p, unsigned mask, __m512 x) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>(mask), x);
}
inline void store(double* p, unsigned mask, __m512d x) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>(mask), x);
}
inline void stream(float* p, __m512 x) { _mm512_stream_ps(p, x); }
inline void stream(double* p, __m512d x) { _mm512_stream_pd(p, x); }
inline float sum(__m512 x) { return _mm512_reduce_add_ps(x); }
inline double sum(__m512d x) { return _mm512_reduce_add_pd(x); }
inline float max(__m512 x) { return _mm512_reduce_max_ps(x); }
inline double max(__m512d x) { return _mm512_reduce_max_pd(x); }
inline unsigned equal(__m512 x, __m512 y) { return _mm512_cmp_ps_mask(x, y, _CMP_EQ_OQ); }
inline unsigned equal(__m512d x, __m512d y) { return _mm512_cmp_pd_mask(x, y, _CMP_EQ_OQ); }
inline unsigned unordered(__m512 x) { return _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q); }
inline unsigned unordered(__m512d x) { return _mm512_cmp_pd_mask(x, x, _CMP_UNORD_Q); }
}  // namespace lanes
#endif

/// The first n < kLane numbers from p; the rest of the lane is `rest`.
inline Lane load_some(const Scalar* p, std::size_t n, Scalar rest = 0) {
#if defined(__AVX512F__)
  return lanes::load(p, (1u << n) - 1, rest);
#else
  alignas(64) Scalar some[kLane];
  std::fill(std::copy(p, p + n, some), some + kLane, rest);
  return Lane::load_aligned(some);
#endif
}
inline void store_some(Lane x, Scalar* p, std::size_t n) {
#if defined(__AVX512F__)
  lanes::store(p, (1u << n) - 1, x);
#else
  alignas(64) Scalar some[kLane];
  x.store_aligned(some);
  std::copy(some, some + n, p);
#endif
}

/// The sum, and the largest, of a lane's numbers. (xsimd's own changed their names with version 9.)
inline Scalar lane_sum(Lane x) {
#if defined(__AVX512F__)
  return lanes::sum(x);
#else
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  Scalar s = 0;
  for (Scalar v : each) s += v;
  return s;
#endif
}
inline Scalar lane_max(Lane x) {
#if defined(__AVX512F__)
  return lanes::max(x);
#else
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  return *std::max_element(each, each + kLane);
#endif
}

/// Results so large go past the caches, which could not hold them until they are read: memory is
/// not read first only to be written over.
constexpr std::size_t kPastCaches = std::size_t{8} << 20;  // bytes

/// Stores a lane past the caches, where the machine can be told so; p is a multiple of the lane's
/// bytes. finish_streams() comes after the last, before another thread may read them.
inline void stream_lane(Lane x, Scalar* p) {
#if defined(__AVX512F__)
  lanes::stream(p, x);
#else
  x.store_aligned(p);
#endif
}
inline void finish_streams() {
#if defined(__AVX512F__)
  _mm_sfence();
#endif
}

// The loop below is flattened: a long f, in two places, would else stay a call for each lane.

/// out[i] = f(in[i]...) for i < n; with `add`, out[i] += f(in[i]...).
template <class F, class... P>
[[gnu::flatten]] void map_lanes(std::size_t n, Scalar* out, bool add, F f, const P*... in) {
  std::size_t i = 0;
  if (add)
    for (; i + kLane <= n; i += kLane)
      (Lane::load_unaligned(out + i) + Lane(f(Lane::load_unaligned(in + i)...)))
          .store_unaligned(out + i);
  else
    for (; i + kLane <= n; i += kLane)
      Lane(f(Lane::load_unaligned(in + i)...)).store_unaligned(out + i);
  if (i == n) return;
  const Lane last = f(load_some(in + i, n - i)...);
  store_some(add ? load_some(out + i, n - i) + last : last, out + i, n - i);
}

ARGTAPE_END
