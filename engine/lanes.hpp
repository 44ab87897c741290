// Plain arrays, a vector register at a time. For the library's own .cpp files: it includes xsimd,
// which no public header does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <xsimd/xsimd.hpp>

#include "scalar.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

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

/// e^x. For float with AVX-512 written out, since xsimd 8 takes twice the instructions: within 2
/// units in the last place; e^-inf is 0, and NaN comes through.
inline Lane lane_exp(Lane x) {
#if defined(__AVX512F__) && !defined(ARGTAPE_DOUBLE)
  // Clamped where the result is 0 or infinite anyway; with y second, NaN passes both.
  const __m512 y = _mm512_min_ps(_mm512_set1_ps(89), _mm512_max_ps(_mm512_set1_ps(-110), x));
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(y, _mm512_set1_ps(1.44269504f)),
                                        _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), y);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  // The polynomial of S. Moshier's Cephes library for e^r, |r| <= log(2) / 2.
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, _mm512_add_ps(r, _mm512_set1_ps(1)));
  return _mm512_scalef_ps(p, n);
#else
  return xsimd::exp(x);
#endif
}

#if defined(__AVX512F__) && !defined(ARGTAPE_DOUBLE)
namespace lanes {
// log(2^e (1 + r)) for -0.25 <= r < 0.5, with the Cephes library's polynomial for log(1 + r).
inline __m512 log_of(__m512 e, __m512 r) {
  __m512 p = _mm512_set1_ps(7.0376836292e-2f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-1.1514610310e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.1676998740e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-1.2420140846e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.4249322787e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-1.6668057665e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(2.0000714765e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-2.4999993993e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(3.3333331174e-1f));
  const __m512 square = _mm512_mul_ps(r, r);
  const __m512 y = _mm512_fmadd_ps(_mm512_mul_ps(square, r), p,
                                   _mm512_fmadd_ps(square, _mm512_set1_ps(-0.5f), r));
  return _mm512_fmadd_ps(e, _mm512_set1_ps(0.693147181f), y);
}
inline __m512 exponent(__m512 x) {
  return _mm512_getexp_ps(_mm512_mul_ps(x, _mm512_set1_ps(4.0f / 3)));
}
inline __m512 mantissa(__m512 x) {
  return _mm512_sub_ps(_mm512_getmant_ps(x, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan),
                       _mm512_set1_ps(1));
}
}  // namespace lanes
#endif

/// -log(-log(1 - u)) for 0 < u < 1: the Gumbel number of a uniform one, fine where u is small and
/// the result large.
inline Lane lane_gumbel(Lane u) {
#if defined(__AVX512F__) && !defined(ARGTAPE_DOUBLE)
  const __m512 w = _mm512_sub_ps(_mm512_set1_ps(1), u);
  // Below a quarter r is -u itself, so that no digit is lost in 1 - u.
  const __mmask16 small = _mm512_cmp_ps_mask(u, _mm512_set1_ps(0.25f), _CMP_LE_OQ);
  const __m512 e = _mm512_maskz_mov_ps(static_cast<__mmask16>(~small), lanes::exponent(w));
  const __m512 r = _mm512_mask_sub_ps(lanes::mantissa(w), small, _mm512_setzero_ps(), u);
  const __m512 exponential = _mm512_sub_ps(_mm512_setzero_ps(), lanes::log_of(e, r));
  return _mm512_sub_ps(_mm512_setzero_ps(),
                       lanes::log_of(lanes::exponent(exponential), lanes::mantissa(exponential)));
#else
  return -xsimd::log(-xsimd::log1p(-u));
#endif
}

/// out[i] = f(in[i]...) for i < n; with `add`, out[i] += f(in[i]...).
template <class F, class... P>
void map_lanes(std::size_t n, Scalar* out, bool add, F f, const P*... in) {
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

}  // namespace ARGTAPE_ABI
}  // namespace argtape
