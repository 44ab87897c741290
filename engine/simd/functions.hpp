// exp, log, tanh, pow and their kin, a lane at a time and without branches: one algorithm for float
// and double. Each says how far from the true value its result may be, anywhere, in units in the
// last place (ulp). Zeros of both signs, denormal numbers, the ends of the range, infinities and
// NaN give what C's functions give, and no number of a lane touches another.
#pragma once

#include <sleef.h>

#include <cstdint>
#include <limits>
#include <type_traits>

#include "lane.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace lanes {

using Limits = std::numeric_limits<Scalar>;
using Bit = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
typedef Bit Bits __attribute__((vector_size(sizeof(Lane))));
inline Bits bits_of(Lane x) { return (Bits)(Lane::register_type)x; }
inline Lane from_bits(Bits b) { return Lane((Lane::register_type)b); }

constexpr int kFraction = Limits::digits - 1, kBias = Limits::max_exponent - 1;
constexpr Scalar kLn2 = Scalar(0.693147180559945309);
constexpr Scalar kFractionEnd = Scalar(Bit{1} << kFraction);  // whole numbers from here on

// x y + z, in one rounding where the machine has such an instruction. (xsimd 8 leaves AVX-512's to
// the compiler.)
inline Lane multiply_add(Lane x, Lane y, Lane z) {
#if defined(__AVX512F__)
  return ARGTAPE_AVX512(fmadd)(x, y, z);
#else
  return xsimd::fma(x, y, z);
#endif
}

// The larger of a limit and x, and the smaller; NaN where x is. (Of a number and NaN xsimd gives
// the second, from version 14 on the first.)
#if XSIMD_VERSION_MAJOR < 14
inline Lane at_least(Scalar limit, Lane x) { return xsimd::max(Lane(limit), x); }
inline Lane at_most(Scalar limit, Lane x) { return xsimd::min(Lane(limit), x); }
#else
inline Lane at_least(Scalar limit, Lane x) { return xsimd::max(x, Lane(limit)); }
inline Lane at_most(Scalar limit, Lane x) { return xsimd::min(x, Lane(limit)); }
#endif

// Coefficients from the highest power to the lowest.
template <std::size_t n>
[[gnu::always_inline]] inline Lane polynomial(Lane x, const Scalar (&c)[n]) {
  Lane p(c[0]);
  for (std::size_t i = 1; i < n; ++i) p = multiply_add(p, x, Lane(c[i]));
  return p;
}

// log 2 in two parts, the first with zeros at its end, so that few times it is exact. kExp:
// (e^r - 1 - r) / r^2 for |r| <= log(2) / 2, fitted to the smallest largest error. kLog: from
// fdlibm, (log((1 + s) / (1 - s)) - 2 s) / s^3 for |s| < 0.172, in s^2.
#ifdef ARGTAPE_DOUBLE
constexpr Scalar kLn2High = 6.93147180369123816490e-01, kLn2Low = 1.90821492927058770002e-10;
constexpr Scalar kExp[] = {2.5000023941014597e-08, 2.763030624003365e-07,  2.755758678327482e-06,
                           2.480149294975168e-05,  0.00019841269505802483, 0.0013888888943759778,
                           0.008333333333494961,   0.04166666666652973,    0.1666666666666641,
                           0.5000000000000011};
constexpr Scalar kLog[] = {1.479819860511658591e-01, 1.531383769920937332e-01,
                           1.818357216161805012e-01, 2.222219843214978396e-01,
                           2.857142874366239149e-01, 3.999999999940941908e-01,
                           6.666666666666735130e-01};
#else
constexpr Scalar kLn2High = 6.9313812256e-01f, kLn2Low = 9.0580006145e-06f;
constexpr Scalar kExp[] = {0.00138145359f, 0.00836874545f, 0.0416683927f, 0.166665211f,
                           0.49999994f};
constexpr Scalar kLog[] = {0.24279078841f, 0.28498786688f, 0.40000972152f, 0.66666662693f};
#endif

// x = n log 2 + r, |r| <= log(2) / 2, and e^r = 1 + r + r^2 p; p. (Of a struct of the three gcc
// writes two to memory, for nobody.)
[[gnu::always_inline]] inline Lane reduced(Lane x, Lane& n, Lane& r) {
  n = xsimd::nearbyint(x * Lane(Scalar(1.44269504088896341)));
  r = multiply_add(n, Lane(-kLn2Low), multiply_add(n, Lane(-kLn2High), x));
  return polynomial(r, kExp);
}

// 2^n for a whole n, if that is a normal number.
inline Lane power_of_two(Lane n) {
  return from_bits(bits_of(n + Lane(kFractionEnd * Scalar(1.5) + kBias)) << kFraction);
}

// x 2^n, for 2^n that are 0 or infinite too.
inline Lane scaled(Lane x, Lane n) {
#if defined(__AVX512F__)
  return ARGTAPE_AVX512(scalef)(x, n);
#else
  const Lane half = xsimd::nearbyint(n * Lane(Scalar(0.5)));
  return x * power_of_two(half) * power_of_two(n - half);
#endif
}

// x = 2^exponent (1 + fraction), 1 + fraction in sqrt(1/2)..sqrt(2). The exponent of 0 is -inf,
// that of inf is inf, and NaN for what has no logarithm.
struct Split {
  Lane exponent, fraction;
};
#if defined(__AVX512F__)
inline Lane exponent(Lane x) { return ARGTAPE_AVX512(getexp)(x); }
inline Lane mantissa(Lane x) {
  return ARGTAPE_AVX512(getmant)(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_nan);
}
[[gnu::always_inline]] inline Split split(Lane x) {
  const Lane m = mantissa(x), e = exponent(x);
  const auto upper = m > Lane(Scalar(1.41421356));
  return {xsimd::select(upper, e + Lane(1), e),
          xsimd::select(upper, m * Lane(Scalar(0.5)), m) - Lane(1)};
}
#else
[[gnu::always_inline]] inline Split split(Lane x) {
  constexpr Scalar inf = Limits::infinity();
  const auto tiny = x < Lane(Limits::min());
  const Bits low = bits_of(Lane(Scalar(0.70710678)));
  const Bits b = bits_of(xsimd::select(tiny, x * Lane(kFractionEnd), x)) + (bits_of(Lane(1)) - low);
  const Lane biased = from_bits(b >> kFraction | bits_of(Lane(kFractionEnd))) - Lane(kFractionEnd);
  const Lane e = biased - xsimd::select(tiny, Lane(kBias + kFraction), Lane(kBias));
  const Lane special = xsimd::select(x == Lane(0), Lane(-inf), Lane(Limits::quiet_NaN()));
  return {xsimd::select(x > Lane(0), xsimd::select(x < Lane(inf), e, x), special),
          from_bits((b & ((Bit{1} << kFraction) - 1)) + low) - Lane(1)};
}
#endif

// log(2^e (1 + f)) for 1 + f in sqrt(1/2)..sqrt(2).
[[gnu::always_inline]] inline Lane log_of(Lane e, Lane f) {
  const Lane s = f / (f + Lane(2)), square = s * s, half = Lane(Scalar(0.5)) * f * f;
  const Lane sum = multiply_add(square, polynomial(square, kLog), half);
  return multiply_add(e, Lane(kLn2High), f - (half - multiply_add(s, sum, e * Lane(kLn2Low))));
}

#if defined(__AVX512F__) && !defined(ARGTAPE_DOUBLE)
// For float in half the time: x = 2^e m with m in 1..2, m c = 1 + r with c near 1 / m from a table
// of 16 in a register. The table's c are those near which log c is almost a float. Next to 1 c is 1
// or 1/2, and no digit is lost.
inline Lane log_by_table(Lane x) {
  const __m512 c =
      _mm512_setr_ps(1, 0.914179265f, 0.864982545f, 0.820661068f, 0.780449152f, 0.744031608f,
                     0.711086273f, 0.680979848f, 0.653072298f, 0.627581418f, 0.603794754f,
                     0.581813097f, 0.56153816f, 0.542195737f, 0.524763465f, 0.5f);
  const __m512 minus_log_c =
      _mm512_setr_ps(0, 0.0897285938f, 0.145045951f, 0.197645083f, 0.247885689f, 0.295671761f,
                     0.340961516f, -0.308924615f, -0.267079741f, -0.227265313f, -0.18862623f,
                     -0.151541159f, -0.116071634f, -0.0810189769f, -0.0483395196f, 0);
  const Lane m = mantissa(x), one(1);
  const __m512i place = _mm512_srli_epi32(_mm512_castps_si512(m), 19);  // its lowest four bits
  const Lane r = multiply_add(m, _mm512_permutexvar_ps(place, c), -one);
  // log(1 + r) for -1/32 < r < 1/16, to 3e-9 (fitted to the smallest largest relative error).
  const Lane p = polynomial(r, {0.18851917584f, -0.25006564252f, 0.33334451153f, -0.50000001015f});
  const Lane near = multiply_add(r * r, p, r);
  // From 1.4375 on the table's logarithms are those of m / 2, so that nothing cancels below 1.
  const Lane e = exponent(x), whole = xsimd::select(m >= Lane(1.4375f), e + one, e);
  return multiply_add(whole, Lane(kLn2), _mm512_permutexvar_ps(place, minus_log_c)) + near;
}
#endif

// SLEEF's functions, for registers of this width.
#if defined(ARGTAPE_DOUBLE) && defined(__AVX512F__)
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##d8_##accuracy
#elif defined(ARGTAPE_DOUBLE) && defined(__AVX__)
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##d4_##accuracy
#elif defined(ARGTAPE_DOUBLE)
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##d2_##accuracy
#elif defined(__AVX512F__)
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##f16_##accuracy
#elif defined(__AVX__)
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##f8_##accuracy
#else
#define ARGTAPE_SLEEF(name, accuracy) Sleef_##name##f4_##accuracy
#endif

// f(x) for SLEEF 3.5's sine or cosine, which goes another way with all numbers of a lane if one of
// them is large.
template <class F>
Lane by_size(Lane x, F f) {
  const auto small = xsimd::abs(x) < Lane(125);
  const Lane y = f(xsimd::select(small, x, Lane(0)));
  if (xsimd::all(small)) return y;
  const Lane others = f(xsimd::select(small, Lane(1000), x));
  return xsimd::select(small, y, others);
}

}  // namespace lanes

/// e^x, to 1.2 ulp, of what is not above 0 or is NaN.
[[gnu::always_inline]] inline Lane lane_exp_below(Lane x) {
  // Clamped where the result is 0 anyway.
  constexpr Scalar least = (lanes::Limits::min_exponent - lanes::Limits::digits - 2) * lanes::kLn2;
  Lane n, r;
  const Lane p = lanes::reduced(lanes::at_least(least, x), n, r);
  return lanes::scaled(lanes::multiply_add(lanes::multiply_add(p, r, Lane(1)), r, Lane(1)), n);
}

/// e^x, to 1.2 ulp.
[[gnu::always_inline]] inline Lane lane_exp(Lane x) {
  constexpr Scalar most = (lanes::Limits::max_exponent + 1) * lanes::kLn2;  // it is infinite there
  return lane_exp_below(lanes::at_most(most, x));
}

/// log x, to 1.6 ulp.
[[gnu::always_inline]] inline Lane lane_log(Lane x) {
#if defined(__AVX512F__) && !defined(ARGTAPE_DOUBLE)
  return lanes::log_by_table(x);
#else
  const auto [exponent, fraction] = lanes::split(x);
  return lanes::log_of(exponent, fraction);
#endif
}

/// log(1 + x) for 0 <= x <= 1, to 1.5 ulp.
[[gnu::always_inline]] inline Lane lane_log1p_of_unit(Lane x) {
  const auto small = x < Lane(Scalar(0.414213562));
  const Lane half(Scalar(0.5));
  return lanes::log_of(xsimd::select(small, Lane(0), Lane(1)),
                       xsimd::select(small, x, lanes::multiply_add(x, half, -half)));
}

/// tanh x, to 2.7 ulp.
[[gnu::always_inline]] inline Lane lane_tanh(Lane x) {
  // From t = e^2|x| - 1; beyond the limit 1 is nearest.
  const Lane size = lanes::at_most(sizeof(Scalar) == 4 ? 10 : 20, xsimd::abs(x));
  Lane n, r;
  const Lane p = lanes::reduced(size + size, n, r), power = lanes::power_of_two(n);
  const Lane t = lanes::multiply_add(power, lanes::multiply_add(r * r, p, r), power - Lane(1));
  return xsimd::copysign(t / (t + Lane(2)), x);
}

/// 1 / (1 + e^-x), to 2.5 ulp.
inline Lane lane_sigmoid(Lane x) {
  const Lane e = lane_exp_below(-xsimd::abs(x));
  return xsimd::select(x < Lane(0), e, Lane(1)) / (Lane(1) + e);
}

/// log(1 + e^x), to 2 ulp.
inline Lane lane_softplus(Lane x) {
  return lanes::at_least(0, x) + lane_log1p_of_unit(lane_exp_below(-xsimd::abs(x)));
}

/// x^y, to 1 ulp; in double to 2 where it is above 1.79769e308.
inline Lane lane_pow(Lane x, Lane y) {
  const Lane z = ARGTAPE_SLEEF(pow, u10)(x, y), size = xsimd::abs(x), half(Scalar(0.5));
  // SLEEF 3.5 takes doubles above 1.79769e308 for infinite: there, the square of x^(y/2).
  const auto over = (xsimd::abs(z) == Lane(lanes::Limits::infinity())) & (xsimd::abs(y) > half);
  if (sizeof(Scalar) == 4 || !xsimd::any(over)) return z;
  const Lane root = ARGTAPE_SLEEF(pow, u10)(size, y * half);
  return xsimd::select(over, xsimd::copysign(root * root, z), z);
}

/// sin x and cos x to 1 ulp, erf x to 1.1.
inline Lane lane_sin(Lane x) { return lanes::by_size(x, ARGTAPE_SLEEF(sin, u10)); }
inline Lane lane_cos(Lane x) { return lanes::by_size(x, ARGTAPE_SLEEF(cos, u10)); }
inline Lane lane_erf(Lane x) { return ARGTAPE_SLEEF(erf, u10)(x); }

/// log(1 + x), to 1.6 ulp.
inline Lane lane_log1p(Lane x) {
  // SLEEF 3.5 takes denormal numbers for 0, and doubles above 1e307 for infinite.
  const Lane y = ARGTAPE_SLEEF(log1p, u10)(x);
  const auto tiny = xsimd::abs(x) < Lane(lanes::Limits::epsilon() / 4);
  const auto large = x > Lane(lanes::kFractionEnd);
  return xsimd::select(tiny, x, xsimd::select(large, lane_log(x), y));
}

/// e^x - 1, to 1 ulp.
inline Lane lane_expm1(Lane x) { return ARGTAPE_SLEEF(expm1, u10)(x); }

/// The probability that a standard normal number is less than x, to 2.5 ulp.
inline Lane lane_normal_cdf(Lane x) {
  // erfc(t) / 2 for t = -x / sqrt(2). What t loses to rounding changes the result x^2 times as
  // much, so it is given back: products of numbers of half the digits are exact.
  constexpr long double root = 0.707106781186547524400844L;
  constexpr Scalar high = sizeof(Scalar) == 4 ? 2896.0f / 4096 : 0.70710677f;
  constexpr int digits = lanes::kFraction / 2 + 1;
  x = lanes::at_most(40, lanes::at_least(-40, x));
  const Lane t = x * Lane(Scalar(-root));
  const Lane half = lanes::from_bits(lanes::bits_of(x) >> digits << digits);
  const Lane rest = half * Lane(Scalar(root - high)) + (x - half) * Lane(Scalar(root)),
             lost = half * Lane(-high) - t - rest;
  const Lane slope = Lane(Scalar(1.12837916709551257)) * lane_exp_below(-t * t);  // 2 / sqrt(pi)
  const Lane twice = ARGTAPE_SLEEF(erfc, u15)(t);
  // Of denormal numbers the difference might be below 0.
  return Lane(Scalar(0.5)) * xsimd::abs(twice - slope * lost);
}

/// x times the probability that a standard normal number is less, and x sigmoid(x), to 3.5 ulp; of
/// 1024 times the smallest normal number where the result is smaller. 0 at -inf.
inline Lane lane_gelu(Lane x) { return lanes::at_least(-1000, x) * lane_normal_cdf(x); }
inline Lane lane_silu(Lane x) { return lanes::at_least(-1000, x) * lane_sigmoid(x); }

/// -log(-log(1 - u)) for 0 < u < 1: the Gumbel number of a uniform one, fine where u is small and
/// the result large. To 2 ulp, of 1 where the result is smaller.
[[gnu::always_inline]] inline Lane lane_gumbel(Lane u) {
  // What rounding took from 1 - u is given back to its logarithm.
  const Lane w = Lane(1) - u, lost = u - (Lane(1) - w);
  return -lane_log(lost - lane_log(w));
}

ARGTAPE_END
