#include "ops/rules/decision.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "engine/refuse_row.hpp"
#include "engine/require.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/relaxed_top_k.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// How messages speak of a kind of node.
struct Words {
  const char *rules, *such_as, *what, *drawn;
};
const Words& words_for(AppliesTo node) {
  static const Words choice{"the choice of one category", "", "choice", "sample()"},
      subset{"subsets", ", such as straight_through()", "subset", "sample_top_k()"},
      matching{"matchings", ", such as straight_through_sinkhorn()", "matching",
               "sample_matching()"};
  return node == AppliesTo::matching ? matching : node == AppliesTo::subset ? subset : choice;
}

}  // namespace

bool stands_behind(AppliesTo node, const Rule& rule) {
  const bool both = rule.applies_to == AppliesTo::choice_and_subset;
  return rule.applies_to == node || rule.applies_to == AppliesTo::any ||
         (both && node != AppliesTo::matching);
}

Op op_with(const std::string& verb, const Rule& rule, AppliesTo node, bool drawn) {
  const Words& words = words_for(node);
  const std::string name = verb + "[" + rule.name + "]";
  require(stands_behind(node, rule), name, ": the rule is for ", words_for(rule.applies_to).rules,
          "; need one for ", words.rules, words.such_as);
  require(drawn || !rule.needs_draw, name, ": a ", words.what,
          " that is not drawn has no distribution; use ", words.drawn);
  require(!rule.scheduled, name,
          ": the temperature is a schedule; say at which step, with rule.at(step)");
  require(rule.needs == Needs::nothing || rule.backward || rule.relaxation, name,
          ": the rule has no backward; give it one, or let it need nothing");
  require(node == AppliesTo::choice || rule.soft_tau == 0 || rule.relaxation, name,
          ": the rule is soft; need its relaxation");
  Op op(name, rule.needs == Needs::nothing ? Flow::cut : Flow::surrogate);
  op.needs_costs = rule.needs == Needs::costs;
  op.refuses_no_path = rule.needs == Needs::gradient;
  op.why_cut = "Its rule is the zero gradient; another rule passes something on.";
  return op;
}

Var given_noise(const char* verb, Var logits, Var noise, int axis) {
  tape_of(verb, {logits, noise});
  const Shape& shape = noise.shape();
  require(shape == logits.shape(), verb, ": logits are ", logits.shape(), ", noise is ", shape,
          "; need the same shape");
  const Axes order = axis_last(axis_of(verb, axis, shape), shape.size());
  const Var rows = order.empty() ? noise : transpose(noise, order);
  const Tensor& g = rows.value();
  if (!all_finite(g)) {
    const auto at = std::find_if(g.begin(), g.end(), [](Scalar v) { return !std::isfinite(v); });
    refuse(verb, ": noise has ", std::isnan(*at) ? "NaN" : "an infinity", " in row ",
           static_cast<std::size_t>(at - g.begin()) / g.shape().back(), "; need numbers");
  }
  return rows;
}

Var record_decision(Op op, const Rule& rule, const Decision& decision, Var logits, Var noise,
                    Tensor value) {
  const bool drawn = noise.tape != nullptr, soft = rule.soft_tau > 0;
  require(!drawn || rule.needs == Needs::nothing || rule.differentiates_noise ||
              !noise.tape->node(noise.index).wants_gradient,
          op.name, ": the noise wants a gradient, and the rule has none for it; need a constant, ",
          "or a rule that differentiates the noise too");
  // The choice of one category has backwards that are faster.
  const bool relaxed = rule.relaxation && (decision.node != AppliesTo::choice || !rule.backward);
  if (relaxed) {
    logits =
        rule.relaxation({logits, drawn ? noise : logits.tape->constant(0.0), {}, &decision, soft});
    if (soft) value = logits.value();
  }
  std::vector<Var> inputs = {logits};
  if (drawn) inputs.push_back(noise);
  return logits.tape->record(
      std::move(op), inputs, std::move(value),
      [kept = std::make_shared<const Rule>(rule), decision, relaxed](BackwardContext& ctx) {
        const bool drawn = ctx.inputs() == 2;
        const Draw draw{ctx.in(0), drawn ? ctx.in(1) : ctx.out().tape->constant(0.0), ctx.out(),
                        &decision, kept->soft_tau > 0};
        if (kept->needs == Needs::gradient)
          ctx.counts().backwards += size_of(rows_of(draw, draw.value));
        if (relaxed) return ctx.pass(0);
        const Var gradient = kept->backward(draw, ctx);
        ctx.give(0, gradient);
        if (drawn) ctx.give(1, gradient);  // or else it was refused
      });
}

Axes own_axes(const Draw& draw) { return draw.decision->axes == 1 ? Axes{-1} : Axes{-2, -1}; }

Shape rows_of(const Draw& draw, Var x) {
  const Shape& shape = x.shape();
  return Shape(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(draw.decision->axes));
}

Var noisy_logits(const Draw& draw) {
  const bool drawn = draw.noise.shape() == draw.logits.shape();
  return drawn ? without_offset(draw.logits) + draw.noise : draw.logits;
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

void relax_subsets(Rule& rule, double tau, bool noisy) {
  rule.applies_to = AppliesTo::choice_and_subset;
  rule.differentiates_noise = noisy;
  rule.relaxation = [=](const Draw& draw) {
    return relaxed_top_k(noisy ? noisy_logits(draw) : draw.logits, draw.decision->k, tau);
  };
}

Var more_noise(const Draw& draw, std::size_t count, std::uint64_t seed) {
  const Tensor &logits = draw.logits.value(), &noise = draw.noise.value();
  const bool drawn = noise.shape() == logits.shape();
  return draw.logits.tape->constant(
      rng_from(drawn ? noise : logits, seed).gumbel(with_axis(logits.shape(), 0, count)),
      "gumbel noise");
}

void require_possible(const std::string& op, const Tensor& logits, std::size_t least) {
  const std::size_t n = logits.shape().back();
  for (std::size_t at = 0; at < logits.size(); at += n) {
    const Largest best = row_argmax(n, InMemory{logits.data() + at, n, kMinusInf});
    if (!std::isfinite(best.value)) refuse_row(op, logits, at / n);
    if (least <= 1) continue;
    const auto forbidden =
        static_cast<std::size_t>(std::count(logits.data() + at, logits.data() + at + n, kMinusInf));
    require(n - forbidden >= least, op, ": ", n - forbidden, " categories are possible in row ",
            at / n, "; need at least k = ", least);
  }
}

void require_numbers(const std::string& op, const Tensor& costs) {
  const auto nan = std::find_if(costs.begin(), costs.end(), [](Scalar v) { return std::isnan(v); });
  require(nan == costs.end(), op, ": costs have NaN in row ", nan - costs.begin(),
          "; need numbers");
}

ARGTAPE_END
