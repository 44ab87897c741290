#include "ops/choice.hpp"

#include <cmath>

#include "engine/refuse_row.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// The first largest of a row whose largest number is far from 0, or none: it is not finite if there
// is NaN or +inf, or nothing but -inf.
[[gnu::cold, gnu::noinline]] std::size_t far_argmax(const std::string& op, const Tensor& logits,
                                                    const Tensor* noise, ResultRow y) {
  NoisyRow row = TensorRows(logits, noise).noisy(y);
  const Scalar largest = row_argmax(y.n, row).value;
  if (!std::isfinite(largest)) refuse_row(op, logits, y.r);
  row.settle(largest);
  return row_argmax(y.n, row).at;
}

// One-hot at the first largest of each row of logits + noise, or for tau > 0 the row's softmax at
// that temperature. `noise` may be empty.
Tensor chosen(const std::string& op, const Tensor& logits, Var noise, Scalar tau) {
  const Tensor *of = &logits, *added = noise.tape ? &noise.value() : nullptr;
  const TensorRows rows(logits, added);
  if (tau > 0)
    return map_softmax_rows(logits.shape(), rows, tau, [=, &op](ResultRow y, auto e, Scalar sum) {
      if (!(sum > 0)) refuse_row(op, *of, y.r);
      const Lane over(1 / sum);
      y = [&](std::size_t i) { return e(i) * over; };
    });
  return map_each_row(logits.shape(), [=, &op](ResultRow y) {
    Largest best = row_argmax(y.n, rows.noisy(y));
    if (__builtin_expect(!(std::abs(best.value) < 64), false))
      best.at = far_argmax(op, *of, added, y);
    y = InLane{Lane(0)};
    y.to[best.at] = 1;
  });
}

// weight (D - p), one weight for each row: the gradient of weight log p(D), p = softmax(logits).
Var weighted_score(Var logits, Var hard, Var weight) {
  const auto row = [w = weight.value().data()](ResultRow y, auto e, Scalar sum, auto d) {
    const Lane weight(w[y.r]), over(1 / sum);
    y = [&](std::size_t i) { return weight * (d(i) - over * e(i)); };
  };
  Tensor y = map_softmax_rows(logits.shape(), TensorRows(logits.value()), 1, row,
                              TensorRows(hard.value()));
  const std::vector<Var> inputs = {logits, hard, weight};
  return logits.tape->record("weighted_score", inputs, std::move(y), [](BackwardContext& ctx) {
    const Var logits = ctx.in(0), d = ctx.in(1), u = ctx.gradient();
    const Var w = beside(ctx.in(2), logits.shape().size());
    if (ctx.wants(0)) ctx.give(0, -relaxed_jacobian(logits, w * u));
    if (ctx.wants(2)) ctx.give(2, sum(u * (d - softmax(logits)), -1));
  });
}

const Decision kChoice = {
    AppliesTo::choice, 1, [](Var x, std::size_t) { return argmax(x, zero()); },
    [](const Draw& draw, Var weight) { return weighted_score(draw.logits, draw.hard(), weight); }};

// The node itself, along the last axis. `noise` is empty for argmax.
Var choose(const char* verb, Var logits, const Rule& rule, Var noise) {
  Op op = op_with(verb, rule, AppliesTo::choice, noise.tape);
  Tensor value = chosen(op.name, logits.value(), noise, static_cast<Scalar>(rule.soft_tau));
  return record_decision(std::move(op), rule, kChoice, logits, noise, std::move(value));
}

}  // namespace

Var argmax(Var logits, const Rule& rule, int axis) {
  return along_categories("argmax", logits, 1, axis,
                          [&](Var l) { return choose("argmax", l, rule, {}); });
}

Var argmin(Var costs, const Rule& rule, int axis) {
  return along_categories("argmin", costs, 1, axis,
                          [&](Var c) { return choose("argmin", -c, rule, {}); });
}

Var sample(Var logits, const Rule& rule, Rng& rng, int axis) {
  return along_categories("sample", logits, 1, axis, [&](Var l) {
    return choose("sample", l, rule, l.tape->constant(rng.gumbel(l.shape()), "gumbel noise"));
  });
}

Var sample(Var logits, const Rule& rule, Var noise, int axis) {
  const Var g = given_noise("sample", logits, noise, axis);
  return along_categories("sample", logits, 1, axis,
                          [&](Var l) { return choose("sample", l, rule, g); });
}

std::vector<std::size_t> indices_of(Var choice, std::size_t k) {
  const Shape& shape = choice.shape();
  const std::size_t n = shape.empty() ? 0 : shape.back();
  require(n > 0, "indices_of: the choice is ", shape, "; need (..., K) with at least one category");
  std::vector<std::size_t> indices;
  const Scalar* x = choice.value().data();
  for (std::size_t r = 0; r < choice.value().size() / n; ++r, x += n) {
    bool hard = true;
    for (std::size_t i = 0; i < n; ++i) {
      if (x[i] == 1) indices.push_back(i);
      hard = hard && (x[i] == 0 || x[i] == 1);
    }
    require(hard && indices.size() == (r + 1) * k, "indices_of: row ", r, " of the choice is not ",
            k == 1 ? "one-hot; of a subset of k: indices_of(subset, k)"
                   : std::to_string(k) + " ones among zeros");
  }
  return indices;
}

Var noise_of(Var sampled) {
  tape_of("noise_of", sampled);
  const Node& n = sampled.tape->node(sampled.index);
  const std::string name = n.op.name;
  require(name.rfind("sample", 0) == 0 && n.inputs.size() == 2, "noise_of: the Var is ", name,
          "; need a sample along the last axis, of a subset or a matching too");
  return sampled.tape->var(n.inputs[1]);
}

ARGTAPE_END
