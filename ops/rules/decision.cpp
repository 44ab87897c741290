#include "ops/rules/decision.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "engine/refuse_row.hpp"
#include "engine/require.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/settings.hpp"

ARGTAPE_PRIVATE_BEGIN

Op op_with(const std::string& verb, const Rule& rule, AppliesTo node, bool drawn) {
  const bool matching = node == AppliesTo::matching;
  const std::string name = verb + "[" + rule.name + "]";
  require(rule.applies_to == AppliesTo::any || rule.applies_to == node, name, ": ",
          matching ? "the rule is for the choice of one category; need one for matchings, such as "
                     "straight_through_sinkhorn()"
                   : "the rule is for matchings; need one for the choice of one category");
  require(drawn || !rule.needs_draw, name, ": a ", matching ? "matching" : "choice",
          " that is not drawn has no distribution; use ",
          matching ? "sample_matching()" : "sample()");
  require(!rule.scheduled, name,
          ": the temperature is a schedule; say at which step, with rule.at(step)");
  require(rule.needs == Needs::nothing || rule.backward || rule.relaxation, name,
          ": the rule has no backward; give it one, or let it need nothing");
  Op op(name, rule.needs == Needs::nothing ? Flow::cut : Flow::surrogate);
  op.needs_costs = rule.needs == Needs::costs;
  op.refuses_no_path = rule.needs == Needs::gradient;
  op.why_cut = "Its rule is the zero gradient; another rule passes something on.";
  return op;
}

Var record_decision(Op op, const Rule& rule, const Decision& decision, Var logits, Var noise,
                    Tensor value) {
  std::vector<Var> inputs = {logits};
  if (noise.tape) inputs.push_back(noise);
  return logits.tape->record(
      std::move(op), inputs, std::move(value),
      [kept = std::make_shared<const Rule>(rule), &decision](BackwardContext& ctx) {
        const Var noise = ctx.inputs() == 2 ? ctx.in(1) : ctx.out().tape->constant(0.0);
        const Draw draw{ctx.in(0), noise, ctx.out(), &decision, kept->soft_tau > 0};
        if (kept->needs == Needs::gradient)
          ctx.counts().backwards += size_of(rows_of(draw, draw.logits));
        ctx.give(0, kept->backward(draw, ctx));
      });
}

Axes own_axes(const Draw& draw) { return draw.decision->axes == 1 ? Axes{-1} : Axes{-2, -1}; }

Shape rows_of(const Draw& draw, Var x) {
  const Shape& shape = x.shape();
  return Shape(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(draw.decision->axes));
}

Rule choice_rule(std::string name, std::function<Var(const Draw&, Var)> formula) {
  Rule rule = pathwise_rule(std::move(name), std::move(formula));
  rule.reads_noise = false;
  return rule;
}

Rule tempered(const char* name, const Temperature& tau, std::function<Rule(double)> make,
              double least) {
  const auto checked = [=](double t) {
    require_temperature(name, t, least);
    Rule rule = make(t);
    rule.name = name;
    return rule;
  };
  Rule rule = checked(tau.at(0));
  if (!tau.scheduled()) return rule;
  rule.backward = nullptr;
  rule.scheduled = [=](std::size_t step) { return checked(tau.at(step)); };
  return rule;
}

Var more_noise(const Draw& draw, std::size_t count, std::uint64_t seed) {
  const Tensor &logits = draw.logits.value(), &noise = draw.noise.value();
  const bool drawn = noise.shape() == logits.shape();
  return draw.logits.tape->constant(
      rng_from(drawn ? noise : logits, seed).gumbel(with_axis(logits.shape(), 0, count)),
      "gumbel noise");
}

void require_possible(const std::string& op, const Tensor& logits) {
  const std::size_t n = logits.shape().back();
  for (std::size_t at = 0; at < logits.size(); at += n) {
    const Largest best = row_argmax(n, InMemory{logits.data() + at, n, kMinusInf});
    if (!std::isfinite(best.value)) refuse_row(op, logits, at / n);
  }
}

void require_numbers(const std::string& op, const Tensor& costs) {
  const auto nan = std::find_if(costs.begin(), costs.end(), [](Scalar v) { return std::isnan(v); });
  require(nan == costs.end(), op, ": costs have NaN in row ", nan - costs.begin(),
          "; need numbers");
}

ARGTAPE_END
