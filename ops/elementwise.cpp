#include "ops/elementwise.hpp"

#include <stdexcept>

#include "ops/kernels/dual.hpp"
#include "ops/kernels/elementwise_kernel.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// The words beyond arithmetic that derivatives are written in: for Lanes here, for Vars below.
Lane keep_positive(Lane c, Lane x) { return xsimd::select(c > Lane(0), x, Lane(0)); }
Lane keep_unless_positive(Lane c, Lane x) { return xsimd::select(c > Lane(0), Lane(0), x); }
Lane power(Lane x, Lane p) { return lane_pow(x, p); }

Var keep_positive(Var c, Var x) {
  const Var zero = c.tape->constant(0.0);
  return where(greater(c, zero), x, zero);
}
Var keep_unless_positive(Var c, Var x) {
  const Var zero = c.tape->constant(0.0);
  return where(greater(c, zero), zero, x);
}
Var power(Var x, double p) { return pow(x, p); }
Var power(Var x, Var p) { return pow(x, p); }

Scalar scalar(double c) { return static_cast<Scalar>(c); }

}  // namespace

Var operator+(Var a, Var b) {
  Tensor y = uninitialised(broadcast_shape("add", a.shape(), b.shape()));
  map_broadcast(
      y.shape(), y.data(), false, [](auto p, auto q) { return p + q; }, a.value(), b.value());
  return tape_of("add", {a, b}).record("add", {a, b}, std::move(y), [](BackwardContext& ctx) {
    ctx.pass(0);
    ctx.pass(1);
  });
}

Var operator-(Var a, Var b) {
  return map(
      "subtract", a, b, [](auto p, auto q) { return p - q; },
      [](auto g, auto, auto, auto) { return g; }, [](auto g, auto, auto, auto) { return -g; });
}

Var operator*(Var a, Var b) {
  return map(
      "multiply", a, b, [](auto p, auto q) { return p * q; },
      [](auto g, auto, auto q, auto) { return g * q; },
      [](auto g, auto p, auto, auto) { return g * p; });
}

Var operator/(Var a, Var b) {
  return map(
      "divide", a, b, [](auto p, auto q) { return p / q; },
      [](auto g, auto, auto q, auto) { return g / q; },
      [](auto g, auto, auto q, auto y) { return -g * y / q; });
}

Var operator+(Var x, double c) {
  return map(
      "add number", x, [c = scalar(c)](Lane v) { return v + c; },
      [](auto g, auto, auto) { return g; });
}
Var operator+(double c, Var x) { return x + c; }
Var operator-(Var x, double c) { return x + -c; }
Var operator-(double c, Var x) {
  return map(
      "number minus", x, [c = scalar(c)](Lane v) { return c - v; },
      [](auto g, auto, auto) { return -g; });
}
Var operator*(Var x, double c) {
  return map(
      "times number", x, [c = scalar(c)](Lane v) { return v * c; },
      [c = scalar(c)](auto g, auto, auto) { return g * c; });
}
Var operator*(double c, Var x) { return x * c; }
Var operator/(Var x, double c) {
  return map(
      "over number", x, [c = scalar(c)](Lane v) { return v / c; },
      [c = scalar(c)](auto g, auto, auto) { return g / c; });
}
Var operator/(double c, Var x) {
  return map(
      "number over", x, [c = scalar(c)](Lane v) { return c / v; },
      [](auto g, auto v, auto y) { return -g * y / v; });
}
Var operator-(Var x) {
  return map(
      "negative", x, [](auto v) { return -v; }, [](auto g, auto, auto) { return -g; });
}

Var exp(Var x) {
  return map(
      "exp", x, [](Lane v) { return lane_exp(v); }, [](auto g, auto, auto y) { return g * y; });
}

Var log(Var x) {
  return map(
      "log", x, [](Lane v) { return lane_log(v); }, [](auto g, auto v, auto) { return g / v; });
}

Var tanh(Var x) {
  return map(
      "tanh", x, [](Lane v) { return lane_tanh(v); },
      [](auto g, auto, auto y) { return g * (1 - y * y); });
}

Var sigmoid(Var x) {
  return map(
      "sigmoid", x, [](Lane v) { return sigmoid(v); },
      [](auto g, auto, auto y) { return g * (y * (1 - y)); });
}

Var relu(Var x) {
  return map(
      "relu", x, [](Lane v) { return keep_unless_positive(-v, v); },
      [](auto g, auto v, auto) { return keep_positive(v, g); });
}

Var softplus(Var x) {
  return map(
      "softplus", x, [](Lane v) { return lane_softplus(v); },
      [](auto g, auto v, auto) { return g * sigmoid(v); });
}

Var sqrt(Var x) {
  return map(
      "sqrt", x, [](Lane v) { return lane_sqrt(v); },
      [](auto g, auto, auto y) { return g * 0.5f / y; });
}

Var square(Var x) {
  return map(
      "square", x, [](Lane v) { return v * v; }, [](auto g, auto v, auto) { return g * (v + v); });
}

Var pow(Var x, double p) {
  // The formula below would multiply 0 by infinity at x = 0. x^0 is 1 for every x.
  if (p == 0)
    return map(
        "pow", x, [](Lane) { return Lane(1); }, [](auto g, auto, auto) { return g * 0.0f; });
  if (p == 1) return x * 1.0;
  return map(
      "pow", x, [p = scalar(p)](Lane v) { return power(v, p); },
      [p = scalar(p)](auto g, auto v, auto) { return g * p * power(v, p - 1); });
}

Var pow(Var a, Var b) {
  return map(
      "pow", a, b, [](Lane p, Lane q) { return power(p, q); },
      [](auto g, auto p, auto q, auto) { return g * q * power(p, q - 1); },
      [](auto g, auto p, auto, auto y) { return g * y * log(p); });
}

Var abs(Var x) {
  return map(
      "abs", x, [](Lane v) { return xsimd::abs(v); },
      [](auto g, auto v, auto) { return keep_positive(v, g) - keep_positive(-v, g); });
}

void refuse_clip(double low, double high) {
  throw std::invalid_argument("clip: low is " + str(low) + ", high is " + str(high) +
                              "; need low <= high");
}

Var clip(Var x, double low, double high) {
  if (!(low <= high)) refuse_clip(low, high);
  const Scalar l = scalar(low), h = scalar(high);
  return map(
      "clip", x,
      [l, h](Lane v) {
        return xsimd::select(v < Lane(l), Lane(l), xsimd::select(v > Lane(h), Lane(h), v));
      },
      [l, h](auto g, auto v, auto) {
        return keep_unless_positive(l - v, keep_unless_positive(v - h, g));
      });
}

namespace {
// The larger of a and b, or of -a and -b with `sign` -1.
template <int sign>
Var extreme(const char* name, Var a, Var b) {
  return map(
      name, a, b,
      [](Lane p, Lane q) {
        const Lane d = Lane(sign) * (p - q);
        return xsimd::select(d > Lane(0), p, xsimd::select(d < Lane(0), q, Lane(0.5f) * (p + q)));
      },
      [](auto g, auto p, auto q, auto) {
        return 0.5f * (keep_positive(sign * (p - q), g) + keep_unless_positive(sign * (q - p), g));
      },
      [](auto g, auto p, auto q, auto) {
        return 0.5f * (keep_positive(sign * (q - p), g) + keep_unless_positive(sign * (p - q), g));
      });
}
}  // namespace

Var maximum(Var a, Var b) { return extreme<1>("maximum", a, b); }
Var minimum(Var a, Var b) { return extreme<-1>("minimum", a, b); }

namespace {
template <class F>
Var compare(const char* name, Var a, Var b, F holds) {
  Tensor y = uninitialised(broadcast_shape(name, a.shape(), b.shape()));
  map_broadcast(
      y.shape(), y.data(), false,
      [&](Lane p, Lane q) { return xsimd::select(holds(p, q), Lane(1), Lane(0)); }, a.value(),
      b.value());
  Op op(name, Flow::cut);
  op.why_cut = "A comparison is flat almost everywhere.";
  return tape_of(name, {a, b}).record(std::move(op), {a, b}, std::move(y), {});
}
}  // namespace

Var greater(Var a, Var b) {
  return compare("greater", a, b, [](Lane p, Lane q) { return p > q; });
}
Var less(Var a, Var b) {
  return compare("less", a, b, [](Lane p, Lane q) { return p < q; });
}
Var equal(Var a, Var b) {
  return compare("equal", a, b, [](Lane p, Lane q) { return p == q; });
}

Var where(Var condition, Var a, Var b) {
  Tape& tape = tape_of("where", {condition, a, b});
  const Shape between = broadcast_shape("where", a.shape(), b.shape());
  if (!broadcasts_to(condition.shape(), between) && !broadcasts_to(between, condition.shape()))
    throw std::invalid_argument("where: condition is " + str(condition.shape()) + ", a is " +
                                str(a.shape()) + ", b is " + str(b.shape()) +
                                "; need shapes that broadcast");
  if (tape.node(condition.index).wants_gradient) {
    Op op("condition", Flow::cut);
    op.why_cut = "A condition is flat almost everywhere.";
    condition = tape.record(std::move(op), {condition}, condition.value(), {});
  }
  Tensor y = uninitialised(broadcast_shape("where", between, condition.shape()));
  map_broadcast(
      y.shape(), y.data(), false,
      [](Lane c, Lane p, Lane q) { return xsimd::select(c == Lane(0), q, p); }, condition.value(),
      a.value(), b.value());
  return tape.record("where", {condition, a, b}, std::move(y), [](BackwardContext& ctx) {
    const Var c = ctx.in(0), zero = c.tape->constant(0.0);
    if (ctx.wants(1)) ctx.give(1, where(c, ctx.gradient(), zero));
    if (ctx.wants(2)) ctx.give(2, where(c, zero, ctx.gradient()));
  });
}

Var stop_gradient(Var x) {
  Op op("stop_gradient", Flow::cut);
  op.why_cut = "That is what it is for.";
  return x.tape->record(std::move(op), {x}, x.value(), {});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
