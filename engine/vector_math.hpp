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

// The nearest integers of |x| < 2^22, as numbers and as integers.
template <class V>
[[gnu::always_inline]] inline V round(V x, Integers<V>& n) {
  const V magic = all<V>(12582912.f), shifted = x + magic;  // 1.5 * 2^23
  n = (Integers<V>)shifted - (Integers<V>)magic;
  return shifted - magic;
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

// x = 2^e (1 + r), so that log_of() gives its logarithm.
template <class V>
[[gnu::always_inline]] inline void split(V x, V& e, V& r) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) {
    const auto m = (V)_mm512_getmant_ps((__m512)x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
    e = (V)_mm512_getexp_ps((__m512)x);
    const Integers<V> above = m > 1.41421356f;
    e = above ? e + 1.f : e;
    r = (above ? m * 0.5f : m) - 1.f;
    return;
  }
#endif
  const Integers<V> tiny = x < 1.17549435e-38f;
  const V y = tiny ? x * 8388608.f : x;
  const Integers<V> shifted = (Integers<V>)y - 0x3f3504f3, n = shifted >> 23;
  e = __builtin_convertvector(n, V) - (tiny ? all<V>(23.f) : V{});
  r = (V)((Integers<V>)y - (n << 23)) - 1.f;
}

template <class V>
[[gnu::always_inline]] inline V log(V x) {
  V e, r;
  split(x, e, r);
  V y = log_of(e, r);
  if constexpr (
#if defined(__AVX512F__)
      sizeof(V) != 64
#else
      true
#endif
  ) {
    const float infinity = __builtin_inff();
    y = x == 0.f ? all<V>(-infinity) : y;
    y = x == infinity ? x : y;
    y = x >= 0.f ? y : all<V>(__builtin_nanf(""));
  }
  return y;
}

// log(1 + x) for 0 <= x <= 1.
template <class V>
[[gnu::always_inline]] inline V log1p_of_unit(V x) {
  const Integers<V> small = x < 0.414213562f;
  return log_of(small ? V{} : all<V>(1.f), small ? x : x * 0.5f - 0.5f);
}

// -log(-log(1 - u)) for 0 < u < 1: the Gumbel number of a uniform one, fine where u is small and
// the result large.
template <class V>
[[gnu::always_inline]] inline V gumbel(V u) {
  V e, r;
  split(1.f - u, e, r);
  // Below a quarter r is -u itself, so that no digit is lost in 1 - u.
  const Integers<V> small = u <= 0.25f;
  split(-log_of(small ? V{} : e, small ? -u : r), e, r);
  return -log_of(e, r);
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

template <class V>
[[gnu::always_inline]] inline V sigmoid(V x) {
  return 1.f / (1.f + exp(-x));
}

}  // namespace vector_math
}  // namespace argtape
