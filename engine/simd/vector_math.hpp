// exp, log and tanh of several floats at once, without branches: V is a vector type of the compiler
// (of 16, 32 or 64 bytes). Where a number is out of range the result is what the standard's
// functions give, at the same speed. The polynomials are those of S. Moshier's Cephes library.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace argtape {
namespace vector_math {

template <class V>
using Integers = decltype(V{} < V{});  // as many, of the same width

template <class V>
[[gnu::always_inline]] inline V all(float x) {
  return x - V{};
}

// The nearest integers of |x| < 2^31, as numbers and as integers.
template <class V>
[[gnu::always_inline]] inline V round(V x, Integers<V>& n) {
  const V half = x < 0.f ? all<V>(-0.5f) : all<V>(0.5f);
  n = __builtin_convertvector(x + half, Integers<V>);
  return __builtin_convertvector(n, V);
}

template <class V>
[[gnu::always_inline]] inline V power_of_two(Integers<V> n) {
  return (V)((n + 127) << 23);
}

template <class V>
[[gnu::always_inline]] inline V exp(V x) {
  // Clamped where the result is 0 or infinite anyway; NaN is not below or above anything.
  V y = x < -110.f ? all<V>(-110.f) : x;
  y = y > 89.f ? all<V>(89.f) : y;
  const V scaled = y * 1.44269504f;
#if defined(__AVX512F__)
  constexpr bool wide = sizeof(V) == 64;
#else
  constexpr bool wide = false;
#endif
  V whole;
  Integers<V> n{};
  if constexpr (wide) {
#if defined(__AVX512F__)
    whole = (V)_mm512_roundscale_ps((__m512)scaled, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#endif
  } else {
    whole = round(scaled, n);
  }
  const V r = (y - whole * 0.693359375f) - whole * -2.12194440e-4f;
  V p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = (r * r) * p + (r + 1.f);
  if constexpr (wide) {
#if defined(__AVX512F__)
    return (V)_mm512_scalef_ps((__m512)p, (__m512)whole);
#endif
  } else {
    // In two steps, since 2^n alone may be 0 or infinite.
    const Integers<V> half = n >> 1;
    return p * power_of_two<V>(half) * power_of_two<V>(n - half);
  }
}

// log(2^e (1 + r)) for sqrt(1/2) <= 1 + r < sqrt(2).
template <class V>
[[gnu::always_inline]] inline V log_of(V e, V r) {
  V p = 7.0376836292e-2f * r - 1.1514610310e-1f;
  p = p * r + 1.1676998740e-1f;
  p = p * r - 1.2420140846e-1f;
  p = p * r + 1.4249322787e-1f;
  p = p * r - 1.6668057665e-1f;
  p = p * r + 2.0000714765e-1f;
  p = p * r - 2.4999993993e-1f;
  p = p * r + 3.3333331174e-1f;
  const V square = r * r;
  return e * 0.693147181f + ((square * r) * p + (square * -0.5f + r));
}

#if defined(__AVX512F__)
// log x for 64 bytes, of any x: x = 2^e m with m in 1..2, m c = 1 + r with c near 1 / m from a
// table of 16 in a register. Next to 1 c is 1 or 1/2, and no digit is lost.
[[gnu::always_inline]] inline __m512 log_by_table(__m512 x) {
  const __m512 c =
      _mm512_setr_ps(1.f, 0.914285719f, 0.864864886f, 0.820512831f, 0.780487776f, 0.744186044f,
                     0.711111128f, 0.680851042f, 0.653061211f, 0.627451003f, 0.603773594f,
                     0.581818163f, 0.561403513f, 0.542372882f, 0.524590135f, 0.5f);
  const __m512 minus_log_c =
      _mm512_setr_ps(0.f, 0.0896121562f, 0.145181984f, 0.19782573f, 0.247836202f, 0.295464218f,
                     0.340926558f, -0.30873546f, -0.267062753f, -0.227057487f, -0.188591182f,
                     -0.151549861f, -0.115831822f, -0.0813456401f, -0.0480091646f, 0.f);
  const __m512 m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
  const __m512i place = _mm512_srli_epi32(_mm512_castps_si512(m), 19);  // its lowest four bits
  const __m512 r = _mm512_fmsub_ps(m, _mm512_permutexvar_ps(place, c), _mm512_set1_ps(1));
  // log(1 + r) for -1/32 < r < 1/16, to 3e-9 (fitted to the smallest largest relative error).
  __m512 p = _mm512_set1_ps(0.18851917584f);
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-0.25006564252f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.33334451153f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(-0.50000001015f));
  const __m512 near = _mm512_fmadd_ps(_mm512_mul_ps(r, r), p, r);
  // From 1.4375 on the table's logarithms are those of m / 2, so that nothing cancels below 1.
  __m512 e = _mm512_getexp_ps(x);
  e = _mm512_mask_add_ps(e, _mm512_cmp_ps_mask(m, _mm512_set1_ps(1.4375f), _CMP_GE_OQ), e,
                         _mm512_set1_ps(1));
  const __m512 whole =
      _mm512_fmadd_ps(e, _mm512_set1_ps(0.693147181f), _mm512_permutexvar_ps(place, minus_log_c));
  return _mm512_add_ps(whole, near);
}
#endif

template <class V>
[[gnu::always_inline]] inline V log(V x) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return (V)log_by_table((__m512)x);
#endif
  const Integers<V> tiny = x < 1.17549435e-38f;
  const V y = tiny ? x * 8388608.f : x;
  // x = 2^e (1 + r), counted from sqrt(1/2).
  const Integers<V> n = ((Integers<V>)y - 0x3f3504f3) >> 23;
  const V e = __builtin_convertvector(n, V) - (tiny ? all<V>(23.f) : V{});
  V result = log_of(e, (V)((Integers<V>)y - (n << 23)) - 1.f);
  const float infinity = __builtin_inff();
  result = x == 0.f ? all<V>(-infinity) : result;
  result = x == infinity ? x : result;
  return x >= 0.f ? result : all<V>(__builtin_nanf(""));
}

// log(1 + x) for 0 <= x <= 1.
template <class V>
[[gnu::always_inline]] inline V log1p_of_unit(V x) {
  const Integers<V> small = x < 0.414213562f;
  return log_of(small ? V{} : all<V>(1.f), small ? x : x * 0.5f - 0.5f);
}

template <class V>
[[gnu::always_inline]] inline V abs(V x) {
  return (V)((Integers<V>)x & 0x7fffffff);
}

template <class V>
[[gnu::always_inline]] inline V tanh(V x) {
  const V square = x * x;
  V p = -5.70498872745e-3f * square + 2.06390887954e-2f;
  p = p * square - 5.37397155531e-2f;
  p = p * square + 1.33314422036e-1f;
  p = p * square - 3.33332819422e-1f;
  const V near = (p * square) * x + x;
  const V size = abs(x), far = 1.f - 2.f / (exp(size + size) + 1.f);
  return size < 0.625f ? near : (V)((Integers<V>)far | ((Integers<V>)x & (-0x7fffffff - 1)));
}

}  // namespace vector_math
}  // namespace argtape
