// Numbers for definitions in plain loops: in long double, each with a derivative, and both with how
// far rounding may take them, so that a definition brings its own bound along.
#pragma once

namespace plain {

/// v, of which rounding to Scalar makes v +- e epsilon at most, or about so much.
struct Rounded {
  long double v = 0, e = 0;
};
/// Of several numbers that may be added in any order, each counts.
Rounded operator+(Rounded a, Rounded b);
Rounded operator-(Rounded a);
Rounded operator-(Rounded a, Rounded b);
/// Where an error is 0, it stays so beside an infinity.
long double grown(long double slope, long double e);
Rounded operator*(Rounded a, Rounded b);
Rounded operator/(Rounded a, Rounded b);
/// f(a), where f has that slope at a.
Rounded image(Rounded a, long double f, long double slope);

/// A number with its derivative along the one input that is looked at.
struct Number {
  Number() = default;
  Number(double x) : v{x, 0} {}
  Number(Rounded v, Rounded d) : v(v), d(d) {}
  Rounded v, d;
  long double value() const { return v.v; }
};

/// What the chain rule makes of d. Where 0 arrives, 0 goes on.
Rounded along(Rounded slope, Rounded d);
Rounded square(Rounded a);
Rounded exp(Rounded a);
Rounded constant(long double v);

Number operator+(Number a, Number b);
Number operator-(Number a);
Number operator-(Number a, Number b);
Number operator*(Number a, Number b);
Number operator/(Number a, Number b);
Number& operator+=(Number& a, Number b);
Number operator>(Number a, Number b);
Number operator<(Number a, Number b);
Number operator>=(Number a, Number b);
Number operator<=(Number a, Number b);
Number equal(Number a, Number b);
Number where(Number c, Number a, Number b);
Number stop_gradient(Number a);

Number exp(Number a);
Number log(Number a);
/// Of the value alone, as ops/elementwise.hpp says.
Number tanh(Number a);
Number sigmoid(Number a);
Number relu(Number a);
Number scaled(Number a, double by);
Number leaky_relu(Number a, double slope = 0.01);
Number expm1(Number a);
Number elu(Number a, double alpha = 1);
Number softplus(Number a);
Number sin(Number a);
Number cos(Number a);
Number erf(Number a);
Number log1p(Number a);
/// The probability that a standard normal number is less.
long double normal_cdf(long double x);
Number gelu(Number a);
Number silu(Number a);
Number sqrt(Number a);
Number square(Number a);
Number abs(Number a);
Number clip(Number a, double low, double high);
Number maximum(Number a, Number b);
Number minimum(Number a, Number b);
Number pow(Number a, Number b);

}  // namespace plain
