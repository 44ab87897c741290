#include "ops/loss.hpp"

#include <cmath>
#include <memory>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace {

// weight log_p, where an impossible category of no weight costs nothing, and the weight's slope is
// 0. A row without a softmax passes nothing back where nothing arrives.
Lane possible(Lane weight, Lane log_p) {
  return xsimd::select((weight == Lane(0)) & (log_p == Lane(kMinusInf)), Lane(0), log_p);
}
Var possible(Var weight, Var log_p) {
  return where(equal(weight, 0.0) * equal(log_p, kMinusInf), 0.0, log_p);
}
constexpr auto kWeighted = row(
    "weighted", [](Lane w, Lane l) { return times(w, l); },
    slope<0, 1>([](auto g, auto w, auto l) { return g * possible(w, l); }),
    slope<0>([](auto g, auto w) { return g * w; }));
Var weighted(Var weight, Var log_p) { return apply<kWeighted>(weight, log_p); }

// Checks, in the op's own name, that one of its operands broadcasts to the other: (B, 1) and (B,)
// would make B^2 numbers of B. `needs` is the least number of axes, to sum over the last.
void require_alike(const char* op, Var a, Var b, std::size_t needs) {
  if (SymbolicTape::of(tape_of(op, {a, b}))) return;  // numbers alone
  const Shape both = broadcast_shape(op, a.shape(), b.shape());
  require(both == a.shape() || both == b.shape(), op, ": a is ", a.shape(), ", b is ", b.shape(),
          "; need one of the two shapes for the result, which is ", both);
  require(both.size() >= needs, op, ": a is (), b is (); need at least one axis");
}

// The labels, and of each row what its logits are less to be log-probabilities: where the label is
// unlikely, the loss has lost its digits.
struct Labelled {
  std::vector<std::size_t> labels;
  std::vector<LogSum> totals;
};

// g (softmax(x) - one_hot(labels)), row by row; 0 for g = 0 whatever x is.
Var cross_entropy_vjp(Var x, Var g, const std::shared_ptr<const Labelled>& kept) {
  const TensorRows rows(x.value());
  const auto row = [=, of = kept.get(), slopes = g.value().data()](ResultRow y) {
    if (slopes[y.r] == 0) return y = InLane{Lane(0)};
    const InMemory x = rows[y];
    const LogSum total = of->totals[y.r];
    const Lane slope(slopes[y.r]), shift(total.shift), log_sum(total.log_sum);
    y = [&](std::size_t i) { return slope * lane_exp(x(i) - shift - log_sum); };
    y.to[of->labels[y.r]] -= slopes[y.r];
  };
  Tensor to = map_each_row(x.shape(), row);
  return x.tape->record("cross_entropy_vjp", {x, g}, std::move(to), [kept](BackwardContext& ctx) {
    const Var x = ctx.in(0), g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0))
      ctx.give(0, times(beside(g, x.shape().size()), softmax_jacobian(softmax(x), u)));
    if (!ctx.wants(1)) return;
    const Var one = u.tape->constant(ones(g.shape()), "one");
    ctx.give(1, sum(u * cross_entropy_vjp(x, one, kept), -1));
  });
}

}  // namespace

Var expected_log(const char* op, Var weight, Var log_p) {
  require_alike(op, log_p, weight, 1);
  return sum(weighted(weight, log_p), -1);
}

Var cross_entropy(Var logits, const std::vector<std::size_t>& labels) {
  const Shape& shape = logits.shape();
  require(!shape.empty(), "cross_entropy: logits are (); need (..., K)");
  const std::size_t k = shape.back();
  Tensor y = uninitialised(Shape(shape.begin(), shape.end() - 1));
  require(labels.size() == y.size(), "cross_entropy: logits are ", shape, ", labels are ",
          labels.size(), "; need one label for each row");
  for (std::size_t r = 0; r < labels.size(); ++r)
    require(labels[r] < k, "cross_entropy: label ", labels[r], " in row ", r, "; need less than ",
            k);
  const auto kept =
      std::make_shared<Labelled>(Labelled{labels, std::vector<LogSum>(labels.size())});
  const Scalar* x = logits.value().data();
  Rows(shape).each([&](std::size_t r, std::size_t at) {
    const LogSum total = kept->totals[r] = log_sum_row(x + at, k);
    y.data()[r] = total.log_sum - (x[at + labels[r]] - total.shift);
  });
  return logits.tape->record("cross_entropy", {logits}, std::move(y), [kept](BackwardContext& ctx) {
    ctx.give(0, cross_entropy_vjp(ctx.in(0), ctx.gradient(), kept));
  });
}

Var cross_entropy(const Operand& of, const Operand& to) {
  const auto [logits, targets] = together("cross_entropy", of, to);
  return -expected_log("cross_entropy", targets, log_softmax(logits));
}

namespace {
constexpr auto kBceWithLogits = row(
    "bce_with_logits",
    [](Lane x, Lane t) {
      return times(1 - t, lanes::at_least(0, x)) + times(t, lanes::at_least(0, -x)) +
             lane_log1p_of_unit(lane_exp_below(-xsimd::abs(x)));
    },
    slope<0, 1>([](auto g, auto x, auto t) { return g * (sigmoid(x) - t); }),
    slope<0>([](auto g, auto x) { return -g * x; }));
constexpr auto kSquaredError = row(
    "squared_error", [](Lane a, Lane b) { return (a - b) * (a - b); },
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (a - b); }),
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (b - a); }));
}  // namespace

Var bce_with_logits(const Operand& of, const Operand& to) {
  const auto [logits, targets] = together("bce_with_logits", of, to);
  require_alike("bce_with_logits", logits, targets, 0);
  return apply<kBceWithLogits>(logits, targets);
}
Var squared_error(const Operand& of, const Operand& to) {
  const auto [a, b] = together("squared_error", of, to);
  require_alike("squared_error", a, b, 0);
  return apply<kSquaredError>(a, b);
}

Var kl_categorical(const Operand& of, const Operand& to) {
  const auto [q_logits, p_logits] = together("kl_categorical", of, to);
  require_alike("kl_categorical", q_logits, p_logits, 1);
  const Var q = softmax(q_logits);
  return sum(weighted(q, log_softmax(q_logits)) - weighted(q, log_softmax(p_logits)), -1);
}

Var kl_categorical_uniform(Var q_logits) {
  const char* op = "kl_categorical_uniform";
  const Shape& shape = q_logits.shape();
  require(!shape.empty() && shape.back() > 0, op, ": q_logits are ", shape,
          "; need at least one category");
  return std::log(static_cast<double>(shape.back())) +
         expected_log(op, softmax(q_logits), log_softmax(q_logits));
}

Var kl_gaussian(const Operand& m, const Operand& l) {
  const auto [mean, log_variance] = together("kl_gaussian", m, l);
  require_alike("kl_gaussian", mean, log_variance, 1);
  return 0.5 * sum(square(mean) + exp(log_variance) - log_variance - 1, -1);
}

Var kl_gaussian(const Operand& mq, const Operand& lq, const Operand& mp, const Operand& lp) {
  const auto [mean_q, log_variance_q, mean_p, log_variance_p] =
      together("kl_gaussian", mq, lq, mp, lp);
  for (const Var& v : {log_variance_q, mean_p, log_variance_p})
    require_alike("kl_gaussian", mean_q, v, 1);
  const Var ratio = exp(log_variance_q - log_variance_p);
  const Var distance = square(times(mean_q - mean_p, exp(-0.5 * log_variance_p)));
  return 0.5 * sum(ratio + distance - 1 - log_variance_q + log_variance_p, -1);
}

ARGTAPE_END
