#include "ops/matching.hpp"

#include <memory>
#include <stdexcept>
#include <utility>

#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/assignment_checks.hpp"
#include "ops/linalg.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/temper.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

std::size_t count_of(const Shape& shape) { return size_of(Shape(shape.begin(), shape.end() - 2)); }

Tensor solved(const std::string& op, const char* what, const Tensor& x) {
  const std::vector<std::size_t> columns = best_columns(op, what, x, Best::largest);
  const std::size_t m = x.shape()[x.dimension() - 1];
  Tensor p = zeros(x.shape());
  for (std::size_t r = 0; r < columns.size(); ++r) p.data()[r * m + columns[r]] = 1;
  return p;
}

const Decision kMatching = {2, [](Var x) { return matching(x, zero()); },
                            // A forbidden pair stays so whatever is added to it.
                            [](const Draw& draw) {
                              const Var lowest = draw.logits.tape->constant(kLowest);
                              return greater(draw.logits, lowest) * (1 - exp(-draw.noise));
                            }};

// The node. `noise` is empty where nothing is drawn.
Var match(const std::string& verb, Var logits, const Rule& rule, Var noise) {
  const bool drawn = noise.tape != nullptr, soft = rule.soft_tau > 0;
  Op op = op_with(verb, rule, AppliesTo::matching, drawn, "sample_matching");
  if (soft && !rule.relaxation)
    throw std::invalid_argument(op.name + ": the rule is soft; need its relaxation");
  const auto value = [&] {
    if (!drawn) return solved(op.name, "logit", logits.value());
    return solved(op.name, "logit", Tensor(logits.value() + noise.value()));
  };
  Tape& tape = *logits.tape;
  if (rule.relaxation) {
    Tensor hard;
    if (!soft) hard = value();
    const Var relaxed = rule.relaxation(logits, drawn ? noise : tape.constant(0.0));
    return tape.record(std::move(op), {relaxed}, soft ? relaxed.value() : std::move(hard),
                       [](BackwardContext& ctx) {
                         ctx.counts().backwards += count_of(ctx.out().shape());
                         ctx.pass(0);
                       });
  }
  Tensor hard = value();
  const auto backward = [kept = std::make_shared<const Rule>(rule)](BackwardContext& ctx) {
    Tape& tape = *ctx.out().tape;
    if (kept->needs == Needs::gradient) ctx.counts().backwards += count_of(ctx.out().shape());
    const Var noise = ctx.inputs() == 2 ? ctx.in(1) : tape.constant(0.0);
    const Var p = tape.borrow_constant(ctx.out().value(), "matching");
    ctx.give(0, kept->backward({ctx.in(0), noise, ctx.out(), p, &kMatching}, ctx));
  };
  return drawn ? tape.record(std::move(op), {logits, noise}, std::move(hard), backward)
               : tape.record(std::move(op), {logits}, std::move(hard), backward);
}

Axes last_two_exchanged(const Shape& shape) {
  Axes axes(shape.size());
  for (std::size_t a = 0; a < axes.size(); ++a) axes[a] = static_cast<int>(a);
  std::swap(axes[axes.size() - 1], axes[axes.size() - 2]);
  return axes;
}

// Throws unless p is (..., n, m) and x is (..., rows, d), rows being axis `from_end` of p.
void require_items(const char* op, Var p, Var x, std::size_t from_end) {
  tape_of(op, {p, x});
  const Shape &a = p.shape(), &b = x.shape();
  if (a.size() < 2 || b.size() < 2 || b[b.size() - 2] != a[a.size() - from_end])
    throw std::invalid_argument(std::string(op) + ": p is " + str(a) + ", the items are " + str(b) +
                                "; need (..., n, m) and " +
                                (from_end == 2 ? "(..., n, d)" : "(..., m, d)"));
}

Rule through_sinkhorn(const char* name, Temperature tau, HowFar far, bool soft, bool noisy) {
  return with(std::move(tau), name, 0, [=](double t) {
    Rule rule;
    rule.applies_to = AppliesTo::matching;
    rule.soft_tau = soft ? t : 0;
    rule.reads_noise = noisy;
    rule.relaxation = [=](Var logits, Var noise) {
      const Var x = noisy && !noise.shape().empty() ? logits + noise : logits;
      return std::visit([&](auto until) { return sinkhorn(x, t, until).matrices; }, far);
    };
    return rule;
  });
}

}  // namespace

Var matching(Var logits, const Rule& rule) {
  tape_of("matching", {logits});
  return match("matching", logits, rule, {});
}

Var sample_matching(Var logits, const Rule& rule, Rng& rng) {
  Tape& tape = tape_of("sample_matching", {logits});
  return match("sample_matching", logits, rule,
               tape.constant(rng.gumbel(logits.shape()), "gumbel noise"));
}

Var sample_matching(Var logits, const Rule& rule, Var noise) {
  tape_of("sample_matching", {logits, noise});
  if (noise.shape() != logits.shape())
    throw std::invalid_argument("sample_matching: logits are " + str(logits.shape()) +
                                ", noise is " + str(noise.shape()) + "; need the same shape");
  return match("sample_matching", logits, rule, noise);
}

Var permute(Var p, Var items) {
  require_items("place", p, items, 2);
  return matmul(transpose(p, last_two_exchanged(p.shape())), items);
}

Var unpermute(Var p, Var places) {
  require_items("fetch", p, places, 1);
  return matmul(p, places);
}

Rule gumbel_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("gumbel-sinkhorn", std::move(tau), far, true, true);
}

Rule straight_through_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("straight-through-sinkhorn", std::move(tau), far, false, false);
}

Rule st_gumbel_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("st-gumbel-sinkhorn", std::move(tau), far, false, true);
}

const std::vector<std::string>& matching_rule_names() {
  static const std::vector<std::string> names = {"zero",
                                                 "score-function",
                                                 "score-function+mean",
                                                 "score-function+leave-one-out",
                                                 "straight-through-identity",
                                                 "straight-through-sinkhorn",
                                                 "gumbel-sinkhorn",
                                                 "st-gumbel-sinkhorn",
                                                 "perturbed",
                                                 "blackbox",
                                                 "i-mle"};
  return names;
}

Rule matching_rule_named(const std::string& name, Temperature tau, HowFar far) {
  if (name == "straight-through-sinkhorn") return straight_through_sinkhorn(std::move(tau), far);
  if (name == "gumbel-sinkhorn") return gumbel_sinkhorn(std::move(tau), far);
  if (name == "st-gumbel-sinkhorn") return st_gumbel_sinkhorn(std::move(tau), far);
  std::string all;
  for (const std::string& known : matching_rule_names()) {
    if (name == known) return rule_named(name, std::move(tau));
    all += (all.empty() ? "" : ", ") + known;
  }
  throw std::invalid_argument("matching_rule_named: '" + name + "'; need one of " + all);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
