#include "ops/softmax.hpp"

#include <stdexcept>

#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

void require_rows_alike(const char* op, const char* what, Var x, Var g) {
  tape_of(op, {x, g});
  if (x.shape().empty() || x.shape() != g.shape())
    throw std::invalid_argument(std::string(op) + ": " + what + " is " + str(x.shape()) +
                                ", g is " + str(g.shape()) + "; need the same shape, (..., K)");
}

// The gradient of <u, J(p) g> for p.
Var jacobian_slope(Var p, Var g, Var u) {
  return u * (g - sum(p * g, {-1}, true)) - sum(u * p, {-1}, true) * g;
}

}  // namespace

Var softmax(Var x, int axis) {
  return along_axis("softmax", x, axis, [](Var x) {
    const TensorRows rows(x.value());
    Tensor y = map_softmax_rows(x.shape(), rows, 1,
                                [n = rows.n](std::size_t, Scalar* to, auto e, Scalar sum) {
                                  const Lane over(1 / sum);
                                  store_lanes(n, to, [&](std::size_t i) { return e(i) * over; });
                                });
    return x.tape->record("softmax", {x}, std::move(y), [](BackwardContext& ctx) {
      ctx.give(0, softmax_jacobian(ctx.out(), ctx.gradient()));
    });
  });
}

Var softmax_jacobian(Var p, Var g, double scale) {
  require_rows_alike("softmax_jacobian", "p", p, g);
  const TensorRows from(p.value()), slope(g.value());
  Tensor y = map_rows_of(
      p.shape(),
      [n = from.n, s = static_cast<Scalar>(scale)](std::size_t, Scalar* to, auto p, auto g) {
        jacobian_row(n, p, 1, g, s, to);
      },
      from, slope);
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
  const TensorRows from(x.value(), noisy ? &noise.value() : nullptr), slope(g.value());
  const auto t = static_cast<Scalar>(tau);
  Tensor y = map_softmax_rows(
      x.shape(), from, t,
      [n = from.n, t](std::size_t, Scalar* to, auto e, Scalar sum, auto g) {
        jacobian_row(n, e, sum, g, 1 / t, to);
      },
      slope);
  std::vector<Var> inputs = {x, g};
  if (noisy) inputs.push_back(noise);
  return x.tape->record(
      "relaxed_jacobian", inputs, std::move(y), [tau, noisy](BackwardContext& ctx) {
        const Var x = ctx.in(0), g = ctx.in(1), noise = noisy ? ctx.in(2) : Var{},
                  u = ctx.gradient();
        if (ctx.wants(1)) ctx.give(1, relaxed_jacobian(x, u, tau, noise));
        if (!ctx.wants(0) && !(noisy && ctx.wants(2))) return;
        const Var p = softmax((noisy ? x + noise : x) / tau),
                  to_x = softmax_jacobian(p, jacobian_slope(p, g, u), 1 / tau) / tau;
        ctx.give(0, to_x);
        if (noisy) ctx.give(2, to_x);
      });
}

Var log_softmax(Var x, int axis) {
  return along_axis("log_softmax", x, axis, [](Var x) {
    const TensorRows rows(x.value());
    Tensor y = map_rows(x.shape(), [=](std::size_t r, Scalar* to) {
      const InMemory row = rows[r];
      const Lane total(logsumexp_row(row.x, row.n));
      store_lanes(row.n, to, [&](std::size_t i) { return row(i) - total; });
    });
    return x.tape->record("log_softmax", {x}, std::move(y), [](BackwardContext& ctx) {
      ctx.give(0, log_softmax_vjp(ctx.out(), ctx.gradient()));
    });
  });
}

Var log_softmax_vjp(Var y, Var g) {
  require_rows_alike("log_softmax_vjp", "y", y, g);
  const TensorRows from(y.value()), slope(g.value());
  Tensor x = map_rows_of(
      y.shape(),
      [n = from.n](std::size_t, Scalar* to, auto y, auto g) {
        const Lane total(sum_lanes(n, g));
        store_lanes(n, to, [&](std::size_t i) { return g(i) - lane_exp(y(i)) * total; });
      },
      from, slope);
  return y.tape->record("log_softmax_vjp", {y, g}, std::move(x), [](BackwardContext& ctx) {
    const Var p = exp(ctx.in(0)), g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0)) ctx.give(0, -u * p * sum(g, {-1}, true));
    if (ctx.wants(1)) ctx.give(1, u - sum(u * p, {-1}, true));
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
