#include "ops/elementwise.hpp"

#include <limits>

#include "engine/require.hpp"
#include "ops/kernels/elementwise_kernel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Lane max_0(Lane x) { return if_positive(-x, 0, x); }  // NaN comes through

// The words of elementwise.hpp for Lanes, as far as slopes are written in them.
Lane one_if(Lane::batch_bool_type holds) { return xsimd::select(holds, Lane(1), Lane(0)); }
Lane greater(Lane a, Lane b) { return one_if(a > b); }
Var greater(const Operand& a, const Operand& b) { return a > b; }
Lane not_less(Lane a, Lane b) { return one_if(a >= b); }
Lane equal(Lane a, Lane b) { return one_if(a == b); }
Lane where(Lane c, Lane a, Lane b) { return xsimd::select(c == Lane(0), b, a); }
Lane abs(Lane x) { return xsimd::abs(x); }
Lane pow(Lane a, Lane b) { return lane_pow(a, b); }
Lane sin(Lane x) { return lane_sin(x); }
Lane cos(Lane x) { return lane_cos(x); }
Lane clip(Lane x, Lane low, Lane high) {
  return xsimd::select(x < low, low, xsimd::select(x > high, high, x));
}
// Of a standard normal number.
Lane normal_cdf(Lane x) { return lane_normal_cdf(x); }
Var normal_cdf(Var x);
constexpr auto density = [](auto x) {
  return Scalar(0.398942280401432678) * exp(x * x * Scalar(-0.5));
};

// x itself, wherever what vanishes as e^-|x| does is not 0 yet: so that infinity times it is 0 too.
constexpr auto within_exp = [](auto x) { return clip(x, -1000, 1000); };

// a^b has the derivative b base^(b-1) for a: 0 for b = 0, whatever a is. And a^b log argument for
// b: 0 for a = 0 and b > 0.
constexpr auto base = [](auto a, auto b) {
  constexpr Scalar least = std::numeric_limits<Scalar>::min();
  return where(equal(b, 0) * (1 - greater(abs(a), least)), 1, a);
};
constexpr auto argument = [](auto a, auto b) { return where(equal(a, 0) * greater(b, 0), 1, a); };

constexpr auto kAdd = row(
    "add", [](Lane a, Lane b) { return a + b; }, kPasses, kPasses);
constexpr auto kSubtract = row(
    "subtract", [](Lane a, Lane b) { return a - b; }, kPasses, slope<>([](auto g) { return -g; }));
constexpr auto kMultiply = row(
    "multiply", [](Lane a, Lane b) { return a * b; },
    slope<1>([](auto g, auto b) { return g * b; }), slope<0>([](auto g, auto a) { return g * a; }));
constexpr auto kDivide = row(
    "divide", [](Lane a, Lane b) { return a / b; }, slope<1>([](auto g, auto b) { return g / b; }),
    slope<1, kValue>([](auto g, auto b, auto y) { return -g * y / b; }));
// Linear in the gradient, as they are, their own derivatives are those of * and /.
constexpr auto kTimes = row(
    "multiply", [](Lane g, Lane x) { return times(g, x); }, kMultiply.slopes[0],
    kMultiply.slopes[1]);
constexpr auto kOver = row(
    "divide", [](Lane g, Lane x) { return over(g, x); }, kDivide.slopes[0], kDivide.slopes[1]);
constexpr auto kNegative = row(
    "negative", [](Lane x) { return -x; }, slope<>([](auto g) { return -g; }));

constexpr auto kExp = row(
    "exp", [](Lane x) { return lane_exp(x); }, slope<kValue>([](auto g, auto y) { return g * y; }));
constexpr auto kLog = row(
    "log", [](Lane x) { return lane_log(x); }, slope<0>([](auto g, auto x) { return g / x; }));
constexpr auto kTanh = row(
    "tanh", [](Lane x) { return lane_tanh(x); },
    slope<kValue>([](auto g, auto y) { return g * (1 - y * y); }));
constexpr auto kSigmoid = row(
    "sigmoid", [](Lane x) { return sigmoid(x); },
    slope<kValue>([](auto g, auto y) { return g * (y * (1 - y)); }));
constexpr auto kRelu = row(
    "relu", [](Lane x) { return max_0(x); },
    slope<0>([](auto g, auto x) { return if_positive(x, g, 0); }));
constexpr auto kSoftplus = row(
    "softplus", [](Lane x) { return lane_softplus(x); },
    slope<0>([](auto g, auto x) { return g * sigmoid(x); }));
constexpr auto kSin = row(
    "sin", [](Lane x) { return sin(x); }, slope<0>([](auto g, auto x) { return g * cos(x); }));
constexpr auto kCos = row(
    "cos", [](Lane x) { return cos(x); }, slope<0>([](auto g, auto x) { return -g * sin(x); }));
constexpr auto kErf = row(
    "erf", [](Lane x) { return lane_erf(x); }, slope<0>([](auto g, auto x) {
      return g * (Scalar(1.12837916709551257) * exp(-x * x));  // 2 / sqrt(pi)
    }));
constexpr auto kLog1p = row(
    "log1p", [](Lane x) { return lane_log1p(x); },
    slope<0>([](auto g, auto x) { return g / (1 + x); }));
constexpr auto kExpm1 = row(
    "expm1", [](Lane x) { return lane_expm1(x); },
    slope<0>([](auto g, auto x) { return g * exp(x); }));
constexpr auto kLeakyRelu = row(
    "leaky_relu", [](Lane x, Lane below) { return if_positive(x, x, below * x); },
    slope<0, 1>([](auto g, auto x, auto below) { return if_positive(x, g, g * below); }), kNothing);
constexpr auto kElu = row(
    "elu", [](Lane x, Lane alpha) { return if_positive(x, x, alpha * lane_expm1(x)); },
    slope<0, 1>([](auto g, auto x, auto alpha) { return if_positive(x, g, g * (alpha * exp(x))); }),
    kNothing);
constexpr auto kNormalCdf = row(
    "normal_cdf", [](Lane x) { return normal_cdf(x); },
    slope<0>([](auto g, auto x) { return g * density(x); }));
Var normal_cdf(Var x) { return apply<kNormalCdf>(x); }
constexpr auto kGelu = row(
    "gelu", [](Lane x) { return lane_gelu(x); },
    slope<0>([](auto g, auto x) { return g * (normal_cdf(x) + within_exp(x) * density(x)); }));
constexpr auto kSilu = row(
    "silu", [](Lane x) { return lane_silu(x); }, slope<0>([](auto g, auto x) {
      const auto s = sigmoid(x);
      return g * (s + within_exp(x) * (s * (1 - s)));
    }));
constexpr auto kSqrt = row(
    "sqrt", [](Lane x) { return lane_sqrt(x); },
    slope<kValue>([](auto g, auto y) { return g * 0.5f / y; }));
constexpr auto kSquare = row(
    "square", [](Lane x) { return x * x; }, slope<0>([](auto g, auto x) { return g * (x + x); }));
constexpr auto kPow = row(
    "pow", [](Lane a, Lane b) { return pow(a, b); },
    slope<0, 1>([](auto g, auto a, auto b) { return g * (b * pow(base(a, b), b - 1)); }),
    slope<0, 1, kValue>(
        [](auto g, auto a, auto b, auto y) { return g * y * log(argument(a, b)); }));
constexpr auto kAbs = row(
    "abs", [](Lane x) { return abs(x); },
    slope<0>([](auto g, auto x) { return if_positive(x, g, 0) - if_positive(-x, g, 0); }));
constexpr auto kClip = row(
    "clip", [](Lane x, Lane low, Lane high) { return clip(x, low, high); },
    slope<0, kValue>([](auto g, auto x, auto y) { return where(equal(x, y), g, 0); }), kNothing,
    kNothing);

// What the first of the two gets of the gradient.
template <int sign>
constexpr auto share = [](auto g, auto a, auto b) {
  return 0.5f * (if_positive(sign * (a - b), g, 0) + if_positive(sign * (b - a), 0, g));
};
// The larger of a and b, or of -a and -b with `sign` -1; NaN if one of them is.
template <int sign>
constexpr auto kExtreme = row(
    sign > 0 ? "maximum" : "minimum",
    [](Lane a, Lane b) {
      const Lane p = Lane(sign) * a, q = Lane(sign) * b;
      return xsimd::select(p > q, a, xsimd::select(q >= p, b, a + b));
    },
    slope<0, 1>(share<sign>), slope<1, 0>(share<sign>));

constexpr const char* kFlat = "A comparison is flat almost everywhere.";
constexpr auto kGreater = cut_row("greater", kFlat, [](Lane a, Lane b) { return greater(a, b); });
constexpr auto kLess = cut_row("less", kFlat, [](Lane a, Lane b) { return one_if(a < b); });
constexpr auto kGreaterEqual =
    cut_row("greater_equal", kFlat, [](Lane a, Lane b) { return not_less(a, b); });
constexpr auto kLessEqual =
    cut_row("less_equal", kFlat, [](Lane a, Lane b) { return not_less(b, a); });
constexpr auto kEqual = cut_row("equal", kFlat, [](Lane a, Lane b) { return equal(a, b); });
constexpr auto kCondition =
    cut_row("condition", "A condition is flat almost everywhere.", [](Lane c) { return c; });
constexpr auto kWhere = row(
    "where", [](Lane c, Lane a, Lane b) { return where(c, a, b); }, kNothing,
    slope<0>([](auto g, auto c) { return where(c, g, 0); }),
    slope<0>([](auto g, auto c) { return where(c, 0, g); }));
constexpr auto kStopGradient =
    cut_row("stop_gradient", "That is what it is for.", [](Lane x) { return x; });

}  // namespace

Var times(Var g, const Operand& x) { return apply<kTimes>(g, x); }
Var over(Var g, const Operand& x) { return apply<kOver>(g, x); }

Var operator+(const Operand& a, const Operand& b) { return apply<kAdd>(a, b); }
Var operator-(const Operand& a, const Operand& b) { return apply<kSubtract>(a, b); }
Var operator*(const Operand& a, const Operand& b) { return apply<kMultiply>(a, b); }
Var operator/(const Operand& a, const Operand& b) { return apply<kDivide>(a, b); }
Var operator-(Var x) { return apply<kNegative>(x); }

Var exp(Var x) { return apply<kExp>(x); }
Var log(Var x) { return apply<kLog>(x); }
Var tanh(Var x) { return apply<kTanh>(x); }
Var sigmoid(Var x) { return apply<kSigmoid>(x); }
Var relu(Var x) { return apply<kRelu>(x); }
Var softplus(Var x) { return apply<kSoftplus>(x); }
Var leaky_relu(Var x, double negative_slope) { return apply<kLeakyRelu>(x, negative_slope); }
Var elu(Var x, double alpha) { return apply<kElu>(x, alpha); }
Var gelu(Var x) { return apply<kGelu>(x); }
Var silu(Var x) { return apply<kSilu>(x); }
Var sin(Var x) { return apply<kSin>(x); }
Var cos(Var x) { return apply<kCos>(x); }
Var erf(Var x) { return apply<kErf>(x); }
Var log1p(Var x) { return apply<kLog1p>(x); }
Var expm1(Var x) { return apply<kExpm1>(x); }
Var sqrt(Var x) { return apply<kSqrt>(x); }
Var square(Var x) { return apply<kSquare>(x); }
Var pow(const Operand& a, const Operand& b) { return apply<kPow>(a, b); }
Var abs(Var x) { return apply<kAbs>(x); }
Var clip(Var x, double low, double high) {
  require(low <= high, "clip: low is ", low, ", high is ", high, "; need low <= high");
  return apply<kClip>(x, low, high);
}
Var maximum(const Operand& a, const Operand& b) { return apply<kExtreme<1>>(a, b); }
Var minimum(const Operand& a, const Operand& b) { return apply<kExtreme<-1>>(a, b); }

Var operator>(const Operand& a, const Operand& b) { return apply<kGreater>(a, b); }
Var operator<(const Operand& a, const Operand& b) { return apply<kLess>(a, b); }
Var operator>=(const Operand& a, const Operand& b) { return apply<kGreaterEqual>(a, b); }
Var operator<=(const Operand& a, const Operand& b) { return apply<kLessEqual>(a, b); }
Var equal(const Operand& a, const Operand& b) { return apply<kEqual>(a, b); }

Var where(const Operand& condition, const Operand& a, const Operand& b) {
  const Var c = condition.var;
  const bool cuts = c.tape && c.tape->node(c.index).wants_gradient;
  return apply<kWhere>(cuts ? Operand(apply<kCondition>(c)) : condition, a, b);
}

Var stop_gradient(Var x) { return apply<kStopGradient>(x); }

ARGTAPE_END
