// What a formula given to elementwise() (ops/formula.hpp) computes with: several numbers side by
// side, and beside their values the derivatives for some of the formula's inputs. They know the
// words of ops/elementwise.hpp, so that the same formula takes Vars.
#pragma once

#include <cmath>
#include <cstddef>
#include <type_traits>

#include "../../engine/scalar.hpp"
#include "../../engine/simd/vector_math.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// As many Scalars as one of the registers holds that the compiler may use: a wider type would not
/// be passed to functions in the same way everywhere.
#if defined(__AVX512F__)
#define ARGTAPE_PACKS packs_of_64
typedef Scalar Pack __attribute__((vector_size(64)));
#elif defined(__AVX__)
#define ARGTAPE_PACKS packs_of_32
typedef Scalar Pack __attribute__((vector_size(32)));
#else
#define ARGTAPE_PACKS packs_of_16
typedef Scalar Pack __attribute__((vector_size(16)));
#endif
constexpr std::size_t kPack = sizeof(Pack) / sizeof(Scalar);

[[noreturn]] void refuse_clip(double low, double high);

// Programs whose files are compiled for different machines must not take one for the other.
inline namespace ARGTAPE_PACKS {

/// Values, and the derivative for each input k with bit k set in `inputs`: a dual number with room
/// for just those derivatives that are not zero.
template <unsigned inputs>
struct Number {
  static constexpr unsigned count = static_cast<unsigned>(__builtin_popcount(inputs));
  /// Where the derivative for input k stands.
  static constexpr unsigned place(unsigned k) {
    return static_cast<unsigned>(__builtin_popcount(inputs & ((1u << k) - 1)));
  }
  Pack value;
  Pack slope[count == 0 ? 1 : count];
};

namespace packs {

[[gnu::always_inline]] inline Pack all(double c) { return static_cast<Scalar>(c) - Pack{}; }
[[gnu::always_inline]] inline Number<0> constant(double c) { return {all(c), {}}; }

// Number by number where there is no formula for several: double is there to be exact, not fast.
template <class F>
[[gnu::always_inline]] inline Pack each(Pack x, F f) {
  for (std::size_t i = 0; i < kPack; ++i) x[i] = f(x[i]);
  return x;
}
constexpr bool kFloat = sizeof(Scalar) == 4;

[[gnu::always_inline]] inline Pack exp(Pack x) {
  if constexpr (kFloat)
    return vector_math::exp(x);
  else
    return each(x, [](Scalar v) { return std::exp(v); });
}
[[gnu::always_inline]] inline Pack log(Pack x) {
  if constexpr (kFloat)
    return vector_math::log(x);
  else
    return each(x, [](Scalar v) { return std::log(v); });
}
[[gnu::always_inline]] inline Pack tanh(Pack x) {
  if constexpr (kFloat)
    return vector_math::tanh(x);
  else
    return each(x, [](Scalar v) { return std::tanh(v); });
}
[[gnu::always_inline]] inline Pack softplus(Pack x) {
  if constexpr (kFloat) {
    return (x > 0 ? x : Pack{}) + vector_math::log1p_of_unit(exp(-vector_math::abs(x)));
  } else {
    return each(x, [](Scalar v) { return std::fmax(v, 0) + std::log1p(std::exp(-std::abs(v))); });
  }
}
[[gnu::always_inline]] inline Pack pow(Pack x, Pack p) {
  for (std::size_t i = 0; i < kPack; ++i) x[i] = std::pow(x[i], p[i]);
  return x;
}
[[gnu::always_inline]] inline Pack sqrt(Pack x) {
  return each(x, [](Scalar v) { return std::sqrt(v); });
}

// use(k) for each input k with its bit set, k a constant of its own type.
template <unsigned inputs, unsigned k = 0, class Use>
void each_input(Use use) {
  if constexpr (inputs >> k & 1) use(std::integral_constant<unsigned, k>{});
  if constexpr (inputs >> k > 1) each_input<inputs, k + 1>(use);
}

// f(x) with derivative f'(x).
template <unsigned a>
[[gnu::always_inline]] inline Number<a> chain(const Number<a>& x, Pack value, Pack slope) {
  Number<a> y;
  y.value = value;
  each_input<a>([&](auto k) {
    constexpr unsigned i = Number<a>::place(decltype(k)::value);
    y.slope[i] = slope * x.slope[i];
  });
  return y;
}
// f(x, z) with derivatives dx and dz.
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> chain(const Number<a>& x, const Number<b>& z,
                                                  Pack value, Pack dx, Pack dz) {
  Number<a | b> y;
  y.value = value;
  each_input<(a | b)>([&](auto index) {
    constexpr unsigned k = decltype(index)::value;
    constexpr unsigned i = Number<a>::place(k), j = Number<b>::place(k);
    Pack& to = y.slope[Number<(a | b)>::place(k)];
    if constexpr ((a >> k & 1) && (b >> k & 1))
      to = dx * x.slope[i] + dz * z.slope[j];
    else if constexpr (a >> k & 1)
      to = dx * x.slope[i];
    else
      to = dz * z.slope[j];
  });
  return y;
}

}  // namespace packs

template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> operator+(const Number<a>& x, const Number<b>& y) {
  return packs::chain(x, y, x.value + y.value, packs::all(1), packs::all(1));
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> operator-(const Number<a>& x, const Number<b>& y) {
  return packs::chain(x, y, x.value - y.value, packs::all(1), packs::all(-1));
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> operator*(const Number<a>& x, const Number<b>& y) {
  return packs::chain(x, y, x.value * y.value, y.value, x.value);
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> operator/(const Number<a>& x, const Number<b>& y) {
  const Pack over = 1 / y.value, value = x.value / y.value;
  return packs::chain(x, y, value, over, -value * over);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator-(const Number<a>& x) {
  return packs::chain(x, -x.value, packs::all(-1));
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator+(const Number<a>& x, double c) {
  return x + packs::constant(c);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator+(double c, const Number<a>& x) {
  return x + c;
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator-(const Number<a>& x, double c) {
  return x + -c;
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator-(double c, const Number<a>& x) {
  return packs::constant(c) - x;
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator*(const Number<a>& x, double c) {
  return x * packs::constant(c);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator*(double c, const Number<a>& x) {
  return x * c;
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator/(const Number<a>& x, double c) {
  return packs::chain(x, x.value / packs::all(c), 1 / packs::all(c));
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> operator/(double c, const Number<a>& x) {
  return packs::constant(c) / x;
}

template <unsigned a>
[[gnu::always_inline]] inline Number<a> exp(const Number<a>& x) {
  const Pack y = packs::exp(x.value);
  return packs::chain(x, y, y);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> log(const Number<a>& x) {
  return packs::chain(x, packs::log(x.value), 1 / x.value);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> tanh(const Number<a>& x) {
  const Pack y = packs::tanh(x.value);
  return packs::chain(x, y, 1 - y * y);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> sigmoid(const Number<a>& x) {
  const Pack y = 1 / (1 + packs::exp(-x.value));
  return packs::chain(x, y, y * (1 - y));
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> softplus(const Number<a>& x) {
  return packs::chain(x, packs::softplus(x.value), 1 / (1 + packs::exp(-x.value)));
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> relu(const Number<a>& x) {
  // NaN comes through.
  return packs::chain(x, x.value <= 0 ? Pack{} : x.value, x.value > 0 ? packs::all(1) : Pack{});
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> sqrt(const Number<a>& x) {
  const Pack y = packs::sqrt(x.value);
  return packs::chain(x, y, packs::all(0.5) / y);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> square(const Number<a>& x) {
  return packs::chain(x, x.value * x.value, x.value + x.value);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> pow(const Number<a>& x, double p) {
  const Pack slope = p == 0 ? Pack{} : packs::all(p) * packs::pow(x.value, packs::all(p - 1));
  return packs::chain(x, packs::pow(x.value, packs::all(p)), slope);
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> pow(const Number<a>& x, const Number<b>& p) {
  const Pack y = packs::pow(x.value, p.value);
  return packs::chain(x, p, y, p.value * packs::pow(x.value, p.value - 1), y * packs::log(x.value));
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> abs(const Number<a>& x) {
  const Pack sign = x.value > 0 ? packs::all(1) : x.value < 0 ? packs::all(-1) : Pack{};
  return packs::chain(x, x.value < 0 ? -x.value : x.value, sign);
}
template <unsigned a>
[[gnu::always_inline]] inline Number<a> clip(const Number<a>& x, double low, double high) {
  if (!(low <= high)) refuse_clip(low, high);
  const Pack l = packs::all(low), h = packs::all(high);
  const Pack y = x.value < l ? l : x.value > h ? h : x.value;
  const auto outside = (x.value < l) | (x.value > h);
  return packs::chain(x, y, outside ? Pack{} : packs::all(1));
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> maximum(const Number<a>& x, const Number<b>& y) {
  const Pack one = packs::all(1), half = packs::all(0.5);
  const auto above = x.value > y.value, below = x.value < y.value;
  const Pack share = above ? one : below ? Pack{} : half;
  const Pack middle = half * (x.value + y.value);
  return packs::chain(x, y, above ? x.value : below ? y.value : middle, share, 1 - share);
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> minimum(const Number<a>& x, const Number<b>& y) {
  return -maximum(-x, -y);
}

template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<0> greater(const Number<a>& x, const Number<b>& y) {
  return {x.value > y.value ? packs::all(1) : Pack{}, {}};
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<0> less(const Number<a>& x, const Number<b>& y) {
  return greater(y, x);
}
template <unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<0> equal(const Number<a>& x, const Number<b>& y) {
  return {x.value == y.value ? packs::all(1) : Pack{}, {}};
}
template <unsigned c, unsigned a, unsigned b>
[[gnu::always_inline]] inline Number<a | b> where(const Number<c>& condition, const Number<a>& x,
                                                  const Number<b>& y) {
  const auto no = condition.value == 0;
  Number<a | b> z;
  z.value = no ? y.value : x.value;
  packs::each_input<(a | b)>([&](auto index) {
    constexpr unsigned k = decltype(index)::value;
    Pack p{}, q{};
    if constexpr (a >> k & 1) p = x.slope[Number<a>::place(k)];
    if constexpr (b >> k & 1) q = y.slope[Number<b>::place(k)];
    z.slope[Number<(a | b)>::place(k)] = no ? q : p;
  });
  return z;
}
template <unsigned a>
[[gnu::always_inline]] inline Number<0> stop_gradient(const Number<a>& x) {
  return {x.value, {}};
}

}  // namespace ARGTAPE_PACKS
}  // namespace ARGTAPE_ABI
}  // namespace argtape
