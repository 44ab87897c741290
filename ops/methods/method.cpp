#include "ops/methods/method.hpp"

#include <algorithm>
#include <ostream>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/top_k.hpp"

ARGTAPE_PUBLIC_BEGIN
Method::Method(Rule of, std::size_t repeats, std::size_t k)
    : name(of.name),
      samples(of.needs_multiple_samples ? repeats : 1),
      rule(std::make_shared<const Rule>(std::move(of))),
      k(k) {
  estimate = [rule = rule, repeats, k](Var logits, const Cost& f, Rng& rng) {
    const auto cost = [&](Var l) {
      return evaluate(k == 1 ? sample(l, *rule, rng) : sample_top_k(l, k, *rule, rng), f);
    };
    if (!rule->needs_multiple_samples) return cost(logits);
    const Var many = broadcast(logits, with_axis(logits.shape(), 0, repeats));
    return cost(many) / static_cast<double>(repeats);
  };
  if (k != 1) objective = [k](Var logits, const Cost& f) { return expectation(logits, k, f); };
}

std::ostream& operator<<(std::ostream& out, const Method& method) { return out << method.name; }

Var with_gradient(const std::string& name, Var value, Var logits, Var gradient) {
  const Shape &v = value.shape(), &l = logits.shape();
  if (gradient.shape() != l || v.size() >= l.size() || !std::equal(v.begin(), v.end(), l.begin()))
    refuse(name, ": the estimate is ", v, ", its gradient ", gradient.shape(), ", the logits are ",
           l, "; need one number an example and a gradient of the logits' shape");
  // The gradient is no input: the estimate's value does not depend on it.
  return tape_of(name, {value, logits, gradient})
      .record(Op("estimate[" + name + "]", Flow::surrogate), {value, logits}, value.value(),
              [gradient](BackwardContext& ctx) {
                ctx.pass(0);
                if (ctx.wants(1))
                  ctx.give(1, beside(ctx.gradient(), gradient.shape().size()) * gradient);
              });
}

Var score_gradient(Var weight, Var choice, Var p) {
  return beside(weight, choice.shape().size()) * (choice - p);
}

Var drawn_choice(Var logits, Rng& rng, std::size_t samples) {
  Tape& tape = tape_of("sample", {logits});
  const Tensor& l = logits.value();
  require(!l.shape().empty(), "sample: logits are ", l.shape(),
          "; need (..., K) with at least one category");
  return sample(samples == 0
                    ? tape.borrow_constant(l, "logits")
                    : tape.constant(broadcast_to(l, with_axis(l.shape(), 0, samples)), "logits"),
                zero(), rng);
}

Var evaluate_samples(const std::string& name, Var choices, const Cost& f) {
  const Var cost = evaluate(choices, f);
  const Shape& c = cost.shape();
  for (std::uint32_t i = choices.index + 1; i < cost.index; ++i) {
    const Node& n = cost.tape->node(i);
    const Shape& rows = n.value->shape();
    if (n.op.needs_costs && c.size() > 1 && rows.size() > c.size() &&
        std::equal(c.begin(), c.end(), rows.begin()))
      refuse(name, ": ", n.op.name, " (node ", i, "), in the cost, is ", rows, " for ", c[0],
             " samples; need a rule or a method there that reads no costs");
  }
  return cost;
}

Probe::Probe(Var x) : reached_(std::make_shared<bool>(false)) {
  point = x.tape->record("point", {x}, x.value(), [reached = reached_](BackwardContext& ctx) {
    *reached = true;
    ctx.pass(0);
  });
}

void Probe::require_path(const std::string& name) const {
  if (!*reached_)
    refuse<NoPath>(name,
                   ": no differentiable path from the choice to the cost; use a method that needs "
                   "none, such as rloo(), or make the path differentiable");
}

Slope slope_at(const std::string& name, const Cost& f, Var point) {
  Tape& tape = *point.tape;
  if (!tape.node(point.index).wants_gradient) point = tape.parameter(point.value(), "point");
  const Probe probe(point);
  const Var cost = evaluate(probe.point, f);
  const Var gradient = differentiate(cost, point)[0];
  probe.require_path(name);
  tape.counts.backwards += point.value().size() / point.shape().back();
  return {cost, gradient};
}

ARGTAPE_END
