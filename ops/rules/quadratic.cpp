#include "ops/rules/quadratic.hpp"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "ops/elementwise.hpp"
#include "ops/kernels/laplacian.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// (a J(p) + b (D - p)(D - p)^T) g: the covariance of a draw and the draw's own share in it, mixed.
Var covariance(Var logits, Var hard, Var g, double a, double b) {
  const Lane of_all(static_cast<Scalar>(a)), of_draw(static_cast<Scalar>(b));
  const auto row = [=](ResultRow y, auto e, Scalar sum, auto d, auto g) {
    const Scalar over = 1 / sum;
    const Lane mean(over * sum_lanes(y.n, [&](std::size_t i) { return e(i) * g(i); })),
        chosen(sum_lanes(y.n, [&](std::size_t i) { return d(i) * g(i); })), o(over);
    y = [&](std::size_t i) {
      const Lane p = o * e(i);
      return of_all * p * (g(i) - mean) + of_draw * (d(i) - p) * (chosen - mean);
    };
  };
  Tensor y = map_softmax_rows(logits.shape(), TensorRows(logits.value()), 1, row,
                              TensorRows(hard.value()), TensorRows(g.value()));
  return g.tape->record("covariance", {logits, hard, g}, std::move(y), [=](BackwardContext& ctx) {
    const Var logits = ctx.in(0), d = ctx.in(1), g = ctx.in(2), u = ctx.gradient();
    if (ctx.wants(2)) ctx.give(2, covariance(logits, d, u, a, b));  // it is symmetric
    if (!ctx.wants(0)) return;
    const auto dot = [](Var x, Var y) { return sum(x * y, -1, keep_axes); };
    const Var p = softmax(logits);
    const Var to_p =
        a * (u * (g - dot(p, g)) - dot(u, p) * g) - b * (u * dot(d - p, g) + dot(u, d - p) * g);
    ctx.give(0, softmax_jacobian(p, to_p));
  });
}

Rule mixed(const char* name, double a, double b) {
  return choice_rule(
      name, [=](const Draw& draw, Var g) { return covariance(draw.logits, draw.hard(), g, a, b); });
}

// x with sum_k w_ik (x_i - x_k) = c_i for a row, and x = 0 at the likeliest category, which goes
// first in the system, and at those without probability.
void potentials_row(const Scalar* p, const Scalar* c, std::size_t n, Scalar* x,
                    std::vector<double>& scratch) {
  scratch.resize(n * (n + 2));
  double *links = scratch.data(), *q = links + n * n, *solution = q + n;
  std::copy(p, p + n, q);
  std::copy(c, c + n, solution);
  const std::size_t ground = row_extreme<false>(p, n);
  std::swap(q[0], q[ground]);
  std::swap(solution[0], solution[ground]);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < i; ++k)
      links[i * n + k] = q[i] + q[k] > 0 ? q[i] * q[k] / (q[i] + q[k]) : 0;
  solve_laplacian(n, links, 0, solution);
  std::swap(solution[0], solution[ground]);
  for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<Scalar>(solution[i]);
}

// The same as an op. The matrix W(p) is symmetric, so what goes back to c is u = W^-1 g, and to p
// -u^T dW x.
Var potentials(Var p, Var c) {
  const std::size_t n = p.shape().back();
  Tensor x = uninitialised(p.shape());
  parallel_for(x.size() / n, rows_of_grain(n * n * n), [&](std::size_t begin, std::size_t end) {
    std::vector<double> scratch;
    for (std::size_t i = begin * n; i < end * n; i += n)
      potentials_row(p.value().data() + i, c.value().data() + i, n, x.data() + i, scratch);
  });
  return p.tape->record("potentials", {p, c}, std::move(x), [](BackwardContext& ctx) {
    const Var p = ctx.in(0), x = ctx.out(), g = ctx.gradient();
    const Var u = potentials(p, g);
    ctx.give(1, u);
    if (!ctx.wants(0)) return;
    const auto down = [](Var v) { return expand_dims(v, -1); };
    const auto across = [](Var v) { return expand_dims(v, -2); };
    const auto difference = [&](Var v) { return down(v) - across(v); };
    // Where neither has a probability there is no current between them.
    const Var both = maximum(down(p) + across(p), std::numeric_limits<Scalar>::min()),
              share = across(p) / both;
    ctx.give(0, -sum(square(share) * difference(x) * difference(u), -1));
  });
}

}  // namespace

Rule darn() { return mixed("darn", 0, 1); }

Rule zgr() { return mixed("zgr", 0.5, 0.5); }

Rule reinmax(Temperature tau) {
  const auto at = [](double t) {
    return choice_rule("", [t](const Draw& draw, Var g) {
      const Var p = softmax(draw.logits),
                p_tau = t == 1 ? p : softmax(without_offset(draw.logits) / t);
      return softmax_jacobian((p_tau + draw.hard()) / 2, g, 2) - softmax_jacobian(p, g, 0.5);
    });
  };
  return tempered("reinmax", tau, at, 1);
}

Rule mve() {
  return choice_rule("mve", [](const Draw& draw, Var g) {
    const Var l = draw.logits, p = softmax(l), d = draw.hard(), chosen = sum(d * g, -1, keep_axes);
    // p_i / (p_i + p_D), also where both round to 0
    const Var share = sigmoid(l - sum(where(d, l, 0.0), -1, keep_axes)),
              current = (1 - d) * g * share;
    const Var x = potentials(p, current - d * sum(current, -1, keep_axes));
    return ((d - p) * chosen + softmax_jacobian(p, x)) / 2;
  });
}

ARGTAPE_END
