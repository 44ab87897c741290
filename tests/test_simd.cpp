// The functions of a lane, over the whole range of their arguments: float against C's functions of
// double, double against MPFR. Built for both libraries.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/simd/functions.hpp"
#ifdef ARGTAPE_DOUBLE
#include <mpfr.h>
#endif

using namespace argtape;

namespace {

using Limits = std::numeric_limits<Scalar>;
constexpr Scalar kInfinity = Limits::infinity(), kNaN = Limits::quiet_NaN();
constexpr Scalar kLarge = Limits::max();
constexpr bool kDouble = sizeof(Scalar) == 8;

// What references are computed in: a number with digits to spare, and exponents too.
#ifdef ARGTAPE_DOUBLE
struct Wide {
  Wide(double x) {
    mpfr_init2(number, 140);
    mpfr_set_d(number, x, MPFR_RNDN);
  }
  Wide(const Wide& other) {
    mpfr_init2(number, 140);
    mpfr_set(number, other.number, MPFR_RNDN);
  }
  ~Wide() { mpfr_clear(number); }
  Wide& operator=(const Wide&) = delete;
  mpfr_t number;
};
#define WITH_ONE(name, call)             \
  Wide name(Wide x) {                    \
    call(x.number, x.number, MPFR_RNDN); \
    return x;                            \
  }
#define WITH_TWO(name, call)                       \
  Wide name(Wide x, const Wide& y) {               \
    call(x.number, x.number, y.number, MPFR_RNDN); \
    return x;                                      \
  }
WITH_ONE(exp, mpfr_exp)
WITH_ONE(log, mpfr_log)
WITH_ONE(log1p, mpfr_log1p)
WITH_ONE(tanh, mpfr_tanh)
WITH_ONE(sqrt, mpfr_sqrt)
WITH_ONE(sin, mpfr_sin)
WITH_ONE(cos, mpfr_cos)
WITH_ONE(erf, mpfr_erf)
WITH_ONE(erfc, mpfr_erfc)
WITH_ONE(expm1, mpfr_expm1)
WITH_ONE(operator-, mpfr_neg)
WITH_TWO(pow, mpfr_pow)
WITH_TWO(operator+, mpfr_add)
WITH_TWO(operator*, mpfr_mul)
WITH_TWO(operator/, mpfr_div)
bool operator>(const Wide& x, const Wide& y) { return mpfr_greater_p(x.number, y.number) != 0; }
long double value(const Wide& x) { return mpfr_get_ld(x.number, MPFR_RNDN); }
#else
using Wide = double;
using std::exp, std::log, std::log1p, std::expm1, std::tanh, std::sqrt, std::pow;
using std::sin, std::cos, std::erf, std::erfc;
long double value(Wide x) { return x; }
#endif

// The distance in units in the last place, of `least` for a true value below it. Beyond the range
// lies one more number, 2^max_exponent. A wrong sign, of a zero too, and NaN in the wrong place are
// infinitely far.
double distance(Wide exact_, Scalar got, Scalar least = Limits::min()) {
  const long double exact = value(exact_), end = std::ldexp(1.0L, Limits::max_exponent);
  constexpr double far = std::numeric_limits<double>::infinity();
  if (std::isnan(exact) || std::isnan(got)) return std::isnan(exact) && std::isnan(got) ? 0 : far;
  const long double size = std::abs(exact);
  if (least == Limits::min() && std::signbit(exact) != std::signbit(got)) return far;
  const int exponent = std::ilogb(std::min(std::max<long double>(size, least), end));
  const auto near = [end](long double x) { return std::clamp(x, -end, end); };
  return static_cast<double>(std::abs(near(got) - near(exact)) /
                             std::ldexp(1.0L, exponent - Limits::digits + 1));
}

struct Function {
  std::string name;
  Lane (*ours)(Lane);
  Wide (*exact)(Wide);
  double ulps;                                // as documented
  Scalar low = -kInfinity, high = kInfinity;  // where it is meant for
  Scalar least = Limits::min();               // results below are measured in ulps of this
};
const Function kFunctions[] = {
    {"exp", lane_exp, [](Wide x) { return exp(x); }, 1.2},
    {"log", lane_log, [](Wide x) { return log(x); }, 1.6},
    {"log1p_of_unit", lane_log1p_of_unit, [](Wide x) { return log1p(x); }, 1.5,
     Limits::denorm_min(), 1},
    {"tanh", lane_tanh, [](Wide x) { return tanh(x); }, 2.7},
    {"sigmoid", lane_sigmoid, [](Wide x) { return 1 / (1 + exp(-x)); }, 2.5},
    {"softplus", lane_softplus, [](Wide x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); },
     2},
    {"sqrt", lane_sqrt, [](Wide x) { return sqrt(x); }, 0.5},
    {"sin", lane_sin, [](Wide x) { return sin(x); }, 1},
    {"cos", lane_cos, [](Wide x) { return cos(x); }, 1},
    {"erf", lane_erf, [](Wide x) { return erf(x); }, 1.1},
    {"log1p", lane_log1p, [](Wide x) { return log1p(x); }, 1.6},
    {"expm1", lane_expm1, [](Wide x) { return expm1(x); }, 1},
    {"normal_cdf", lane_normal_cdf, [](Wide x) { return 0.5 * erfc(-x * sqrt(Wide(0.5))); }, 2.5},
    {"gelu", lane_gelu, [](Wide x) { return x * (0.5 * erfc(-x * sqrt(Wide(0.5)))); }, 3.5, -kLarge,
     kInfinity, 1024 * Limits::min()},
    {"silu", lane_silu, [](Wide x) { return x / (1 + exp(-x)); }, 3.5, -kLarge, kInfinity,
     1024 * Limits::min()},
    {"gumbel", lane_gumbel, [](Wide x) { return -log(-log1p(-x)); }, 2, 0, 1, 1},
};

std::mt19937_64 generator(1);

Scalar random(Scalar low, Scalar high) {
  return low + (high - low) * static_cast<Scalar>(std::ldexp(double(generator() >> 11), -53));
}

Scalar random_with(lanes::Bit sign, lanes::Bit exponent) {
  const auto fraction =
      static_cast<lanes::Bit>(generator()) >> (8 * sizeof(Scalar) - lanes::kFraction);
  const lanes::Bit bits =
      sign << (8 * sizeof(Scalar) - 1) | exponent << lanes::kFraction | fraction;
  Scalar x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// Where functions have something special to say.
std::vector<Scalar> special_numbers() {
  std::vector<Scalar> x = {0,
                           Scalar(0.5),
                           1,
                           2,
                           3,
                           4,
                           1000,
                           Scalar(1e10),
                           Scalar(1.7e19),
                           kInfinity,
                           Limits::denorm_min(),
                           Limits::min(),
                           Limits::max(),
                           Limits::max() / 2,
                           1 + Limits::epsilon(),
                           1 - Limits::epsilon() / 2,
                           Scalar(0.5) / Limits::epsilon() + Scalar(0.5),
                           1 / Limits::epsilon() + 1,
                           2 / Limits::epsilon() + 2};
  for (std::size_t i = 0, n = x.size(); i < n; ++i) x.push_back(-x[i]);
  x.push_back(kNaN);
  return x;
}

// Each exponent with both signs; where the functions bend; and both ends of what exp can give.
std::vector<Scalar> points() {
  std::vector<Scalar> x = special_numbers();
  for (lanes::Bit exponent = 0; exponent < 2 * lanes::kBias + 1; ++exponent)
    for (int i = 0; i < (kDouble ? 5 : 2000); ++i)
      for (lanes::Bit sign : {0U, 1U}) x.push_back(random_with(sign, exponent));
  const Scalar top = std::log(Limits::max()), bottom = std::log(Limits::denorm_min());
  const Scalar normal = std::log(Limits::min());
  const Scalar stretches[][2] = {{-1, 1},
                                 {0, 2},
                                 {-20, 20},
                                 {bottom - 2, top + 2},
                                 {top - Scalar(0.01), top + Scalar(0.01)},
                                 {bottom - 1, normal + 1}};
  for (const auto& [low, high] : stretches)
    for (int i = 0; i < (kDouble ? 5000 : 100'000); ++i) x.push_back(random(low, high));
  return x;
}

// Bases and exponents for powers over the whole range, and its upper end densely.
std::vector<std::array<Scalar, 2>> pairs() {
  std::vector<std::array<Scalar, 2>> all;
  for (Scalar x : special_numbers())
    for (Scalar y : special_numbers()) all.push_back({x, y});
  const Scalar end = Limits::max_exponent;
  for (int i = 0; i < (kDouble ? 15'000 : 200'000); ++i) {
    const auto exponent = 1 + static_cast<lanes::Bit>(generator() % (2 * lanes::kBias));
    const Scalar x = random_with(0, i % 2 ? lanes::Bit(lanes::kBias) : exponent);
    const Scalar whole = std::trunc(random(-20, 20));
    all.push_back({x, random(-end - Limits::digits - 2, end + 2) / std::log2(x)});
    all.push_back({x, random(end - Scalar(1e-3), end + Scalar(1e-4)) / std::log2(x)});
    all.push_back({-x, whole});
    all.push_back({-random(0, 3), whole});
  }
  return all;
}

Scalar one(Lane (*f)(Lane), double x) {
  Scalar y[kLane];
  f(Lane(static_cast<Scalar>(x))).store_unaligned(y);
  return y[0];
}
Scalar power(double x, double y) {
  Scalar z[kLane];
  lane_pow(Lane(static_cast<Scalar>(x)), Lane(static_cast<Scalar>(y))).store_unaligned(z);
  return z[0];
}

bool same(Scalar x, Scalar y) {
  return (std::isnan(x) && std::isnan(y)) || std::memcmp(&x, &y, sizeof x) == 0;
}

// The references' own error.
constexpr double kReference = 0x1p-11;

}  // namespace

TEST_CASE("no result is farther from the true one than documented") {
  const std::vector<Scalar> all = points();
  for (const Function& f : kFunctions) {
    std::vector<Scalar> x;
    for (Scalar v : all)
      if (!(v < f.low || v > f.high)) x.push_back(v);
    std::vector<Scalar> y(x.size());
    map_lanes(x.size(), y.data(), false, f.ours, x.data());
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double d = distance(f.exact(x[i]), y[i], f.least);
      if (d > worst) worst = d, at = i;
    }
    CAPTURE(f.name);
    CAPTURE(x[at]);
    CAPTURE(y[at]);
    CHECK(worst <= f.ulps + kReference);
  }
}

TEST_CASE("no power is farther from the true one than documented") {
  double worst = 0, worst_high = 0;
  std::array<Scalar, 2> at{}, at_high{};
  for (const auto& [x, y] : pairs()) {
    const Wide exact = pow(Wide(x), Wide(y));
    const Scalar z = power(x, y);
    const bool high = kDouble && std::abs(value(exact)) > 1.79769e308L;
    const double d = distance(exact, z);
    if (d > (high ? worst_high : worst)) {
      (high ? worst_high : worst) = d;
      (high ? at_high : at) = {x, y};
    }
  }
  CAPTURE(at[0]);
  CAPTURE(at[1]);
  CHECK(worst <= 1 + kReference);
  CAPTURE(at_high[0]);
  CAPTURE(at_high[1]);
  CHECK(worst_high <= 2 + kReference);
}

TEST_CASE("zeros, ends, infinities and NaN") {
  CHECK(one(lane_exp, -kInfinity) == 0);
  CHECK(one(lane_exp, kInfinity) == kInfinity);
  CHECK(one(lane_log, -0.0) == -kInfinity);
  CHECK(std::isnan(one(lane_log, -1)));
  CHECK(one(lane_log1p_of_unit, 0) == 0);
  CHECK(std::signbit(one(lane_tanh, -0.0)));
  CHECK(one(lane_sigmoid, -kInfinity) == 0);
  CHECK(one(lane_softplus, kInfinity) == kInfinity);
  CHECK(std::isnan(one(lane_sin, kInfinity)));
  CHECK(std::isnan(one(lane_cos, -kInfinity)));
  CHECK(std::signbit(one(lane_sin, -0.0)));
  CHECK(one(lane_erf, -kInfinity) == -1);
  CHECK(one(lane_log1p, -1) == -kInfinity);
  CHECK(one(lane_log1p, kInfinity) == kInfinity);
  CHECK(one(lane_expm1, -kInfinity) == -1);
  CHECK(one(lane_normal_cdf, -kInfinity) == 0);
  CHECK(one(lane_normal_cdf, kInfinity) == 1);
  CHECK(one(lane_gelu, -kInfinity) == 0);
  CHECK(one(lane_silu, -kInfinity) == 0);
  CHECK(one(lane_gumbel, 0) == kInfinity);
  CHECK(one(lane_gumbel, 1) == -kInfinity);
  for (const Function& f : kFunctions) CHECK(std::isnan(one(f.ours, kNaN)));

  CHECK(power(0, -1) == kInfinity);
  CHECK(power(-0.0, -1) == -kInfinity);
  CHECK(power(-0.0, -2) == kInfinity);
  CHECK(power(kNaN, 0) == 1);
  CHECK(power(1, kNaN) == 1);
  CHECK(std::isnan(power(0, kNaN)));
  CHECK(power(-1, kInfinity) == 1);
  CHECK(power(-1, -kInfinity) == 1);
  CHECK(power(-1, 1e10) == 1);
  CHECK(std::isnan(power(-1, 0.5)));
  if (kDouble) {
    CHECK(one(lane_log, 1e-310) == doctest::Approx(-713.801378828154));
    CHECK(one(lane_exp, 709.5) == doctest::Approx(1.35498631931e308));
    CHECK(one(lane_exp, -709) == doctest::Approx(1.21678075062e-308));
    CHECK(power(-1.7976931e308, 1) == doctest::Approx(-1.7976931e308));
  } else {
    CHECK(power(1.7e19, 2) == doctest::Approx(2.89e38));
    CHECK(power(1e-20, 2) == doctest::Approx(1e-40));
  }
}

TEST_CASE("a number's result does not depend on its place or its neighbours") {
  std::vector<Scalar> x = special_numbers();
  for (int i = 0; i < 200; ++i) x.push_back(random(-30, 30));
  const auto in_company = [&](auto f, std::size_t i) {
    for (std::size_t place = 0; place < kLane; ++place) {
      Scalar some[kLane], y[kLane];
      for (Scalar& v : some) v = x[generator() % x.size()];
      some[place] = x[i];
      f(Lane::load_unaligned(some)).store_unaligned(y);
      f(Lane(x[i])).store_unaligned(some);
      if (!same(y[place], some[0])) return false;
    }
    return true;
  };
  for (std::size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i]);
    for (const Function& f : kFunctions) {
      CAPTURE(f.name);
      CHECK(in_company(f.ours, i));
    }
    for (Scalar other : special_numbers()) {
      CAPTURE(other);
      CHECK(in_company([other](Lane v) { return lane_pow(v, Lane(other)); }, i));
      CHECK(in_company([other](Lane v) { return lane_pow(Lane(other), v); }, i));
    }
  }
}
