#include "ops/loss.hpp"

#include <algorithm>
#include <cmath>
#include <memory>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace {

// Each row's label, and its logsumexp: where the label is unlikely, the loss has lost its digits.
struct Labelled {
  std::vector<std::size_t> labels;
  Tensor totals;
};

// One number for each row of x, to be multiplied with its numbers.
Var column(Var numbers, Var x) {
  Shape shape = x.shape();
  shape[shape.size() - 1] = 1;
  return reshape(numbers, shape);
}

// g (softmax(x) - one_hot(labels)), row by row.
Var cross_entropy_vjp(Var x, Var g, const std::shared_ptr<const Labelled>& kept) {
  const Rows rows(x.shape());
  Tensor to = uninitialised(x.shape());
  const Scalar *from = x.value().data(), *slopes = g.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    const Lane total(kept->totals.data()[r]), slope(slopes[r]);
    map_lanes(
        rows.length, to.data() + at, false, [=](Lane v) { return slope * lane_exp(v - total); },
        from + at);
    to.data()[at + kept->labels[r]] -= slopes[r];
  });
  return x.tape->record("cross_entropy_vjp", {x, g}, std::move(to), [kept](BackwardContext& ctx) {
    const Var x = ctx.in(0), g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0)) ctx.give(0, column(g, x) * softmax_jacobian(softmax(x), u));
    if (!ctx.wants(1)) return;
    const Var one = u.tape->constant(ones(g.shape()), "one");
    ctx.give(1, sum(u * cross_entropy_vjp(x, one, kept), -1));
  });
}

}  // namespace

Var cross_entropy(Var logits, const std::vector<std::size_t>& labels) {
  const Shape& shape = logits.shape();
  if (shape.empty()) refuse("cross_entropy: logits are (); need (..., K)");
  const std::size_t k = shape[shape.size() - 1];
  Tensor y = uninitialised(Shape(shape.begin(), shape.end() - 1));
  if (labels.size() != y.size())
    refuse("cross_entropy: logits are ", shape, ", labels are ", labels.size(),
           "; need one label for each row");
  for (std::size_t r = 0; r < labels.size(); ++r)
    if (labels[r] >= k)
      refuse("cross_entropy: label ", labels[r], " in row ", r, "; need less than ", k);
  const auto kept = std::make_shared<Labelled>(Labelled{labels, uninitialised({labels.size()})});
  const Scalar* x = logits.value().data();
  Rows(shape).each([&](std::size_t r, std::size_t at) {
    const Scalar total = logsumexp_row(x + at, k);
    kept->totals.data()[r] = total;
    y.data()[r] = total - x[at + labels[r]];
  });
  return logits.tape->record("cross_entropy", {logits}, std::move(y), [kept](BackwardContext& ctx) {
    ctx.give(0, cross_entropy_vjp(ctx.in(0), ctx.gradient(), kept));
  });
}

namespace {

// log_p, but 0 where it is -inf and the weight is 0, for 0 * -inf to be 0: an impossible category
// of no weight costs nothing.
Var possible(Var weight, Var log_p) {
  const Tensor& l = log_p.value();
  if (std::find(l.begin(), l.end(), kLowest) == l.end()) return log_p;
  Tape& tape = *log_p.tape;
  const Var zero = tape.constant(0.0), never = tape.constant(full({}, kLowest));
  return where(equal(weight, zero) * equal(log_p, never), zero, log_p);
}
Var weighted(Var weight, Var log_p) { return weight * possible(weight, log_p); }

// Checks, in the op's own name, that its operands go together and have a last axis to sum over.
void require_together(const char* op, Var a, Var b) {
  tape_of(op, {a, b});
  if (broadcast_shape(op, a.shape(), b.shape()).empty())
    refuse(op, ": a is (), b is (); need at least one axis");
}

}  // namespace

Var cross_entropy(Var logits, Var targets) {
  require_together("cross_entropy", logits, targets);
  return -sum(weighted(targets, log_softmax(logits)), -1);
}

namespace {
constexpr auto kBceWithLogits = row(
    "bce_with_logits",
    [](Lane x, Lane t) {
      return xsimd::max(x, Lane(0)) - x * t + lane_log1p_of_unit(lane_exp(-xsimd::abs(x)));
    },
    slope<0, 1>([](auto g, auto x, auto t) { return g * (sigmoid(x) - t); }),
    slope<0>([](auto g, auto x) { return -g * x; }));
constexpr auto kSquaredError = row(
    "squared_error", [](Lane a, Lane b) { return (a - b) * (a - b); },
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (a - b); }),
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (b - a); }));
}  // namespace

Var bce_with_logits(Var logits, Var targets) { return apply<kBceWithLogits>(logits, targets); }
Var squared_error(Var a, Var b) { return apply<kSquaredError>(a, b); }

Var kl_categorical(Var q_logits, Var p_logits) {
  require_together("kl_categorical", q_logits, p_logits);
  const Var log_q = log_softmax(q_logits), q = exp(log_q);
  return sum(weighted(q, log_q) - weighted(q, log_softmax(p_logits)), -1);
}

namespace {

// q log q, where an impossible category counts for nothing, though its logarithm is -inf.
Lane entropy_term(Lane q, Lane log_q) { return xsimd::select(q == Lane(0), Lane(0), q * log_q); }

// g J log q for q = softmax(x), where J u = q (u - <q, u>), row by row; the <q, log q> are given.
Var kl_categorical_uniform_vjp(Var x, Var g, const Tensor& means) {
  const Rows rows(x.shape());
  Tensor to = uninitialised(x.shape());
  const Scalar *from = x.value().data(), *slopes = g.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    const Lane total(logsumexp_row(from + at, rows.length)), mean(means.data()[r]),
        slope(slopes[r]);
    map_lanes(
        rows.length, to.data() + at, false,
        [=](Lane v) {
          const Lane log_q = v - total, q = lane_exp(log_q);
          return slope * (entropy_term(q, log_q) - q * mean);
        },
        from + at);
  });
  return x.tape->record(
      "kl_categorical_uniform_vjp", {x, g}, std::move(to), [](BackwardContext& ctx) {
        const Var x = ctx.in(0), u = ctx.gradient(), l = log_softmax(x), q = exp(l),
                  log_q = possible(q, l), above = log_q - sum(q * log_q, -1, keep_axes);
        if (ctx.wants(0))
          ctx.give(0, column(ctx.in(1), x) *
                          softmax_jacobian(q, u + (u - sum(q * u, -1, keep_axes)) * above));
        if (ctx.wants(1)) ctx.give(1, sum(u * q * above, -1));
      });
}

}  // namespace

Var kl_categorical_uniform(Var q_logits) {
  require_together("kl_categorical_uniform", q_logits, q_logits);
  const Rows rows(q_logits.shape());
  const Shape& shape = q_logits.shape();
  if (rows.length == 0)
    refuse("kl_categorical_uniform: q_logits are ", shape, "; need at least one category");
  Tensor y = uninitialised(Shape(shape.begin(), shape.end() - 1));
  const Scalar* x = q_logits.value().data();
  const auto shift = static_cast<Scalar>(std::log(static_cast<double>(rows.length)));
  rows.each([&](std::size_t r, std::size_t at) {
    const Lane total(logsumexp_row(x + at, rows.length));
    y.data()[r] =
        shift + row_sum(
                    rows.length,
                    [=](Lane v) { return entropy_term(lane_exp(v - total), v - total); }, x + at);
  });
  return q_logits.tape->record(
      "kl_categorical_uniform", {q_logits}, std::move(y), [shift](BackwardContext& ctx) {
        const Tensor means = ctx.out().value() - shift;
        ctx.give(0, kl_categorical_uniform_vjp(ctx.in(0), ctx.gradient(), means));
      });
}

Var kl_gaussian(Var mean, Var log_variance) {
  require_together("kl_gaussian", mean, log_variance);
  return 0.5 * sum(square(mean) + exp(log_variance) - log_variance - 1, -1);
}

Var kl_gaussian(Var mean_q, Var log_variance_q, Var mean_p, Var log_variance_p) {
  for (const Var& v : {log_variance_q, mean_p, log_variance_p})
    require_together("kl_gaussian", mean_q, v);
  const Var ratio = exp(log_variance_q - log_variance_p);
  const Var distance = square(mean_q - mean_p) / exp(log_variance_p);
  return 0.5 * sum(ratio + distance - 1 - log_variance_q + log_variance_p, -1);
}

ARGTAPE_END
