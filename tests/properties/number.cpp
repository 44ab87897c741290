#include "tests/properties/number.hpp"

#include <algorithm>
#include <cmath>

#include "engine/scalar.hpp"

namespace plain {

using argtape::Scalar;

Rounded operator+(Rounded a, Rounded b) {
  return {a.v + b.v, a.e + b.e + std::abs(a.v) + std::abs(b.v)};
}
Rounded operator-(Rounded a) { return {-a.v, a.e}; }
Rounded operator-(Rounded a, Rounded b) { return a + -b; }
long double grown(long double slope, long double e) { return e == 0 ? 0 : std::abs(slope) * e; }
Rounded operator*(Rounded a, Rounded b) {
  return {a.v * b.v, grown(a.v, b.e) + grown(b.v, a.e) + std::abs(a.v * b.v)};
}
Rounded operator/(Rounded a, Rounded b) {
  const long double q = a.v / b.v;
  return {q, grown(1 / b.v, a.e) + grown(q / b.v, b.e) + std::abs(q)};
}
Rounded image(Rounded a, long double f, long double slope) {
  return {f, grown(slope, a.e) + std::abs(f)};
}

Rounded along(Rounded slope, Rounded d) { return d.v == 0 && d.e == 0 ? d : slope * d; }
Rounded square(Rounded a) { return a * a; }
Rounded exp(Rounded a) {
  const long double y = std::exp(a.v);
  return image(a, y, y);
}
Rounded constant(long double v) { return {v, 0}; }

Number operator+(Number a, Number b) { return {a.v + b.v, a.d + b.d}; }
Number operator-(Number a) { return {-a.v, -a.d}; }
Number operator-(Number a, Number b) { return a + -b; }
Number operator*(Number a, Number b) { return {a.v * b.v, along(b.v, a.d) + along(a.v, b.d)}; }
// What a slope is made of may overflow in Scalar where a gradient would not: the slope itself, if
// little arrives, and what is multiplied by what arrives, 2 at most, before it is divided.
Rounded made_of(long double x, Rounded slope) {
  if (std::isinf(static_cast<Scalar>(x))) slope.e = INFINITY;
  return slope;
}
Number operator/(Number a, Number b) {
  const Rounded y = a.v / b.v;
  return {y, along(constant(1) / b.v, a.d) - along(made_of(2 * y.v, y / b.v), b.d)};
}
Number& operator+=(Number& a, Number b) { return a = a + b; }
Number operator>(Number a, Number b) { return a.value() > b.value() ? 1 : 0; }
Number operator<(Number a, Number b) { return b > a; }
Number operator>=(Number a, Number b) { return a.value() >= b.value() ? 1 : 0; }
Number operator<=(Number a, Number b) { return b >= a; }
Number equal(Number a, Number b) { return a.value() == b.value() ? 1 : 0; }
Number where(Number c, Number a, Number b) { return c.value() != 0 ? a : b; }
Number stop_gradient(Number a) { return {a.v, {}}; }

Number exp(Number a) {
  const Rounded y = exp(a.v);
  return {y, along(y, a.d)};
}
Number log(Number a) {
  return {image(a.v, std::log(a.value()), 1 / a.value()), along(constant(1) / a.v, a.d)};
}
Number tanh(Number a) {
  const long double y = std::tanh(a.value());
  const Rounded t = image(a.v, y, 1 - y * y);
  return {t, along(constant(1) - t * t, a.d)};
}
Number sigmoid(Number a) {
  const long double y = 1 / (1 + std::exp(-a.value())), other = 1 / (1 + std::exp(a.value()));
  const Rounded s = image(a.v, y, y * other);
  return {s, along(s * Rounded{other, other + (a.value() > 0 ? 1 : 0)}, a.d)};
}
Number relu(Number a) { return a.value() > 0 ? a : Number({std::max(a.value(), 0.0L), 0}, {}); }
Number scaled(Number a, double by) { return a * Number(by); }
Number leaky_relu(Number a, double slope) { return a.value() > 0 ? a : scaled(a, slope); }
Number expm1(Number a) {
  const long double slope = std::exp(a.value());
  return {image(a.v, std::expm1(a.value()), slope), along(exp(a.v), a.d)};
}
Number elu(Number a, double alpha) { return a.value() > 0 ? a : scaled(expm1(a), alpha); }
Number softplus(Number a) {
  const long double x = a.value(), s = 1 / (1 + std::exp(-x));
  return {image(a.v, std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))), s),
          along({s, s}, a.d)};
}
Number sin(Number a) {
  const long double s = std::sin(a.value()), c = std::cos(a.value());
  return {image(a.v, s, c), along(image(a.v, c, s), a.d)};
}
Number cos(Number a) {
  const long double s = std::sin(a.value()), c = std::cos(a.value());
  return {image(a.v, c, s), along(-image(a.v, s, c), a.d)};
}
constexpr long double kPi = 3.14159265358979323846264338327950288L;
Number erf(Number a) {
  const long double x = a.value(), slope = 2 / std::sqrt(kPi) * std::exp(-x * x);
  // Its digits, and those of other bells, go with the square in the exponent.
  return {image(a.v, std::erf(x), slope), along({slope, slope * (1 + x * x)}, a.d)};
}
Number log1p(Number a) {
  return {image(a.v, std::log1p(a.value()), 1 / (1 + a.value())),
          along(constant(1) / (constant(1) + a.v), a.d)};
}
long double normal_cdf(long double x) { return std::erfc(-x / std::sqrt(2.0L)) / 2; }
Number gelu(Number a) {
  const long double x = a.value(), p = normal_cdf(x),
                    density = std::exp(-x * x / 2) / std::sqrt(2 * kPi);
  if (x < -200) return {{std::isnan(x) ? x : 0, 0}, {}};
  const long double tail = std::isinf(x) ? 0 : x * density;
  return {image(a.v, x * p, p + tail),
          along({p + tail, p + std::abs(tail) * (1 + x * x / 2)}, a.d)};
}
Number silu(Number a) {
  const long double x = a.value(), s = 1 / (1 + std::exp(-x)), t = 1 / (1 + std::exp(x));
  if (std::isinf(x)) return x > 0 ? a : Number();
  return {image(a.v, x * s, s + x * s * t), along({s + x * s * t, s + std::abs(x * s * t)}, a.d)};
}
Number sqrt(Number a) {
  const long double y = std::sqrt(a.value());
  const Rounded r = image(a.v, y, 1 / (2 * y));
  return {r, along(constant(1) / (r + r), a.d)};
}
Number square(Number a) { return {a.v * a.v, along(made_of(2 * a.value(), a.v + a.v), a.d)}; }
Number abs(Number a) {
  const long double sign = a.value() > 0 ? 1 : a.value() < 0 ? -1 : 0;
  return {{std::abs(a.value()), a.v.e}, along(constant(sign), a.d)};
}
Number clip(Number a, double low, double high) {
  if (a.value() >= low && a.value() <= high) return a;
  return {{std::isnan(a.value()) ? a.value() : a.value() < low ? low : high, 0}, {}};
}
Number maximum(Number a, Number b) {
  if (a.value() > b.value()) return a;
  if (b.value() > a.value()) return b;
  const long double y = a.value() + b.value();  // NaN, or twice either
  const Rounded half = constant(0.5);
  return {{y / 2, std::max(a.v.e, b.v.e)}, along(half, a.d) + along(half, b.d)};
}
Number minimum(Number a, Number b) { return -maximum(-a, -b); }
Number pow(Number a, Number b) {
  const long double x = a.value(), n = b.value(), y = std::pow(x, n),
                    less = std::pow(x, static_cast<long double>(static_cast<Scalar>(n - 1)));
  const long double for_a = n == 0 ? 0 : n * less,
                    for_b = static_cast<Scalar>(y) == 0 ? 0 : y * std::log(x);
  const long double e = grown(for_a, a.v.e) + grown(for_b, b.v.e) + std::abs(y);
  // In Scalar n - 1 is rounded, and what is on the way may overflow where the slope would not.
  const bool overflows =
      std::isinf(static_cast<Scalar>(less)) || std::isinf(static_cast<Scalar>(n * less));
  return {{y, e},
          along({for_a, overflows ? INFINITY : std::abs(for_a)}, a.d) +
              along({for_b, std::abs(for_b)}, b.d)};
}

}  // namespace plain
