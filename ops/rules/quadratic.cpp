// The rules that are exact for quadratic costs, and DARN, of which they are made.
#include <utility>
#include <vector>

#include "ops/reduce.hpp"
#include "ops/rules/temper.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// (D - p)(D - p)^T g.
Var around_mean(Var p, Var hard, Var g) {
  const Var off = hard - p;
  return off * sum(off * g, {-1}, true);
}

// to = st J(p) g + darn (D - p)(D - p)^T g for a row.
auto mixed_rows(Scalar st, Scalar darn) {
  return by_rows([=](const NoisyRow& row, const Scalar* d, const Scalar* g, Scalar* p, Scalar* to,
                     bool add) {
    const std::size_t k = row.n;
    softmax_row(row.x, k, p);
    const Lane mean(row_sum(
        k, [](Lane p, Lane g) { return p * g; }, p, g));
    const Lane chosen(row_sum(
        k, [](Lane d, Lane g) { return d * g; }, d, g));
    const Lane a(st), b(darn);
    map_lanes(
        k, to, add,
        [=](Lane p, Lane d, Lane g) { return a * p * (g - mean) + b * (d - p) * (chosen - mean); },
        p, d, g);
  });
}

}  // namespace

Rule darn() {
  Rule rule = pathwise_rule("darn", [](const Draw& draw, Var g) {
    return around_mean(softmax(draw.logits), draw.hard, g);
  });
  rule.reads_noise = false;
  rule.shortcut = mixed_rows(0, 1);
  return rule;
}

Rule zgr() {
  Rule rule = pathwise_rule("zgr", [](const Draw& draw, Var g) {
    const Var p = softmax(draw.logits);
    return (softmax_jacobian(p, g) + around_mean(p, draw.hard, g)) / 2;
  });
  rule.reads_noise = false;
  rule.shortcut = mixed_rows(0.5, 0.5);
  return rule;
}

Rule reinmax(Temperature tau) {
  return with(std::move(tau), "reinmax", 1, [](double t) {
    Rule rule;
    rule.reads_noise = false;
    rule.backward = [t](const Draw& draw, BackwardContext& ctx) {
      const Var g = ctx.gradient(), p = softmax(draw.logits),
                p_tau = t == 1 ? p : softmax(draw.logits / t);
      return 2 * softmax_jacobian((p_tau + draw.hard) / 2, g) - softmax_jacobian(p, g) / 2;
    };
    return rule;
  });
}

namespace {

// x with sum_k w_ik (x_i - x_k) = c_i for a row, and x = 0 at the likeliest category. The matrix is
// that of a network of resistors: elimination needs no pivots, and all sums in it are of one sign.
void potentials_row(const Scalar* p, const Scalar* c, std::size_t n, Scalar* x,
                    std::vector<double>& a) {
  const std::size_t ground = row_argmax(p, n);
  std::vector<double> y(n);
  a.assign(n * n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    y[i] = static_cast<double>(c[i]);
    for (std::size_t k = 0; k < n; ++k) {
      const double q = static_cast<double>(p[i]), r = static_cast<double>(p[k]);
      if (i == k || q + r == 0) continue;
      a[i * n + i] += q * r / (q + r);
      a[i * n + k] -= q * r / (q + r);
    }
  }
  for (std::size_t j = 0; j < n; ++j) {
    if (j == ground || !(a[j * n + j] > 0)) continue;  // a category without probability stays at 0
    for (std::size_t i = j + 1; i < n; ++i) {
      if (i == ground) continue;
      const double ratio = a[i * n + j] / a[j * n + j];
      for (std::size_t k = j + 1; k < n; ++k) a[i * n + k] -= ratio * a[j * n + k];
      y[i] -= ratio * y[j];
    }
  }
  x[ground] = 0;
  for (std::size_t j = n; j-- > 0;) {
    if (j == ground) continue;
    double rest = y[j];
    for (std::size_t k = j + 1; k < n; ++k)
      if (k != ground) rest -= a[j * n + k] * static_cast<double>(x[k]);
    x[j] = a[j * n + j] > 0 ? static_cast<Scalar>(rest / a[j * n + j]) : 0;
  }
}

// The same as an op. The matrix W(p) is symmetric, so what goes back to c is u = W^-1 g, and to p
// -u^T dW x.
Var potentials(Var p, Var c) {
  const Shape& shape = p.shape();
  const std::size_t n = shape[shape.size() - 1];
  Tensor x = uninitialised(shape);
  std::vector<double> scratch;
  for (std::size_t i = 0; i < x.size(); i += n)
    potentials_row(p.value().data() + i, c.value().data() + i, n, x.data() + i, scratch);
  return p.tape->record("potentials", {p, c}, std::move(x), [](BackwardContext& ctx) {
    const Var p = ctx.in(0), x = ctx.out(), g = ctx.gradient();
    // Only differences of x count, so the sum of g does not.
    const Var u = potentials(p, g - mean(g, {-1}, true));
    ctx.give(1, u);
    if (!ctx.wants(0)) return;
    Shape across = p.shape(), down = p.shape();
    down.push_back(1);
    across.push_back(across[across.size() - 1]);
    across[across.size() - 2] = 1;
    const auto difference = [&](Var v) { return reshape(v, down) - reshape(v, across); };
    const Var share = reshape(p, across) / (reshape(p, down) + reshape(p, across));
    ctx.give(0, -sum(square(share) * difference(x) * difference(u), {-1}));
  });
}

}  // namespace

Rule mve() {
  Rule rule = pathwise_rule("mve", [](const Draw& draw, Var g) {
    const Var p = softmax(draw.logits), d = draw.hard, chosen = sum(d * g, {-1}, true);
    const Var current = (1 - d) * g * p / (p + sum(d * p, {-1}, true));
    const Var x = potentials(p, current - d * sum(current, {-1}, true));
    return ((d - p) * chosen + softmax_jacobian(p, x)) / 2;
  });
  rule.reads_noise = false;
  return rule;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
