#include "ops/softmax.hpp"

#include <atomic>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/reduce.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void require_rows_alike(const char* op, const char* what, Var x, Var g) {
  tape_of(op, {x, g});
  if (x.shape().empty() || x.shape() != g.shape())
    refuse(op, ": ", what, " is ", x.shape(), ", g is ", g.shape(),
           "; need the same shape, (..., K)");
}

// The gradient of <u, J(p) g> for p.
Var jacobian_slope(Var p, Var g, Var u) {
  return u * (g - sum(p * g, -1, keep_axes)) - sum(u * p, -1, keep_axes) * g;
}

}  // namespace

Var softmax(Var x, int axis) {
  return along_axis("softmax", x, axis, [](Var x) {
    std::atomic<bool> without{false};  // whether some row has no softmax
    const auto over_sum = [seen = &without](ResultRow y, auto e, Scalar sum) {
      if (!(sum > 0)) *seen = true;
      const Lane over(1 / sum);
      y = [&](std::size_t i) { return e(i) * over; };
    };
    Tensor y = map_softmax_rows(x.shape(), TensorRows(x.value()), 1, over_sum);
    return x.tape->record("softmax", {x}, std::move(y),
                          [odd = without.load()](BackwardContext& ctx) {
                            const Var g = ctx.gradient(), to_x = softmax_jacobian(ctx.out(), g);
                            // Where nothing arrives nothing goes back, even there.
                            ctx.give(0, odd ? where(max(abs(g), -1, keep_axes), to_x, 0.0) : to_x);
                          });
  });
}

Var softmax_jacobian(Var p, Var g, double scale) {
  require_rows_alike("softmax_jacobian", "p", p, g);
  const auto row = [s = static_cast<Scalar>(scale)](ResultRow y, auto p, auto g) {
    jacobian_row(y, p, 1, g, s);
  };
  Tensor y = map_rows(p.shape(), row, TensorRows(p.value()), TensorRows(g.value()));
  return p.tape->record("softmax_jacobian", {p, g}, std::move(y), [scale](BackwardContext& ctx) {
    const Var p = ctx.in(0), g = ctx.in(1), u = ctx.gradient();
    const Var scaled = scale == 1 ? u : scale * u;
    if (ctx.wants(0)) ctx.give(0, jacobian_slope(p, g, scaled));
    if (ctx.wants(1)) ctx.give(1, softmax_jacobian(p, scaled));  // J is symmetric
  });
}

Var relaxed_jacobian(Var x, Var g, double tau, Var noise) {
  const bool noisy = noise.tape != nullptr;
  require_rows_alike("relaxed_jacobian", "x", x, g);
  if (noisy) require_rows_alike("relaxed_jacobian", "noise", noise, g);
  require_temperature("relaxed_jacobian", tau);
  const auto t = static_cast<Scalar>(tau);
  const auto row = [t](ResultRow y, auto e, Scalar sum, auto g) {
    jacobian_row(y, e, sum, g, 1 / t);
  };
  Tensor y = map_softmax_rows(x.shape(), TensorRows(x.value(), noisy ? &noise.value() : nullptr), t,
                              row, TensorRows(g.value()));
  std::vector<Var> inputs = {x, g};
  if (noisy) inputs.push_back(noise);
  return x.tape->record("relaxed_jacobian", inputs, std::move(y),
                        [tau, noisy](BackwardContext& ctx) {
                          const Var x = ctx.in(0), g = ctx.in(1), noise = noisy ? ctx.in(2) : Var{},
                                    u = ctx.gradient();
                          if (ctx.wants(1)) ctx.give(1, relaxed_jacobian(x, u, tau, noise));
                          if (!ctx.wants(0) && !(noisy && ctx.wants(2))) return;
                          const Var cold = without_offset(x), warm = noisy ? cold + noise : cold,
                                    p = softmax(tau == 1 ? warm : warm / tau),
                                    h = jacobian_slope(p, g, tau == 1 ? u : u / tau),
                                    to_x = softmax_jacobian(p, h, 1 / tau);
                          ctx.give(0, to_x);
                          if (noisy) ctx.give(2, to_x);
                        });
}

Var log_softmax(Var x, int axis) {
  return along_axis("log_softmax", x, axis, [](Var x) {
    const TensorRows rows(x.value());
    Tensor y = map_each_row(x.shape(), [=](ResultRow y) {
      const InMemory x = rows[y];
      const LogSum total = log_sum_row(x.x, x.n);
      const Lane shift(total.shift), log_sum(total.log_sum);
      y = [&](std::size_t i) { return x(i) - shift - log_sum; };
    });
    return x.tape->record("log_softmax", {x}, std::move(y), [](BackwardContext& ctx) {
      ctx.give(0, log_softmax_vjp(ctx.out(), ctx.gradient()));
    });
  });
}

Var log_softmax_vjp(Var y, Var g) {
  require_rows_alike("log_softmax_vjp", "y", y, g);
  const auto row = [](ResultRow x, auto y, auto g) {
    const Scalar total = sum_lanes(x.n, g);
    if (total == 0) return x = g;  // whatever y is
    x = [&](std::size_t i) { return g(i) - lane_exp(y(i)) * Lane(total); };
  };
  Tensor x = map_rows(y.shape(), row, TensorRows(y.value()), TensorRows(g.value()));
  return y.tape->record("log_softmax_vjp", {y, g}, std::move(x), [](BackwardContext& ctx) {
    const Var p = exp(ctx.in(0)), g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0)) ctx.give(0, -u * p * sum(g, -1, keep_axes));
    if (ctx.wants(1)) ctx.give(1, u - sum(u * p, -1, keep_axes));
  });
}

ARGTAPE_END
