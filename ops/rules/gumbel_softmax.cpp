#include "ops/rules/gumbel_softmax.hpp"

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// J(softmax((l + g) / tau)) f' / tau at the draw's own noise, if it has any.
Var at_own_noise(const Draw& draw, Var g, double tau) {
  const bool drawn = draw.noise.shape() == draw.logits.shape();
  return relaxed_jacobian(draw.logits, g, tau, drawn ? draw.noise : Var{});
}

}  // namespace

Rule gumbel_softmax(Temperature tau) {
  return tempered("gumbel-softmax", tau, [](double t) {
    Rule rule = pathwise_rule(
        "", [t](const Draw& draw, Var g) { return softmax_jacobian(draw.value, g, 1 / t); });
    rule.soft_tau = t;
    relax_subsets(rule, t, true);
    return rule;
  });
}

Rule st_gumbel_softmax(Temperature tau) {
  return tempered("st-gumbel-softmax", tau, [](double t) {
    Rule rule =
        pathwise_rule("", [t](const Draw& draw, Var g) { return at_own_noise(draw, g, t); });
    relax_subsets(rule, t, true);
    return rule;
  });
}

Rule gumbel_rao(Temperature tau, std::size_t draws, std::uint64_t seed) {
  require(draws > 0, "gumbel_rao: draws are 0; need at least 1");
  return tempered("gumbel-rao", tau, [=](double t) {
    Rule rule = pathwise_rule("", [=](const Draw& draw, Var g) {
      const Var own = at_own_noise(draw, g, t);
      if (draws == 1) return own;
      const Var fresh = more_noise(draw, draws - 1, seed),
                z = conditional_gumbels(draw.logits, draw.hard(), fresh);
      return (own + sum(relaxed_jacobian(z, broadcast_to(g, fresh.shape()), t), 0)) /
             static_cast<double>(draws);
    });
    rule.needs_draw = true;
    return rule;
  });
}

ARGTAPE_END
