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

Rule through_own_noise(const char* name, const Temperature& tau, bool soft) {
  return tempered(name, tau, [=](double t) {
    Rule rule = pathwise_rule("", [=](const Draw& draw, Var g) {
      return soft ? softmax_jacobian(draw.value, g, 1 / t) : at_own_noise(draw, g, t);
    });
    rule.soft_tau = soft ? t : 0;
    relax_subsets(rule, t, true);
    return rule;
  });
}

}  // namespace

Rule gumbel_softmax(Temperature tau) { return through_own_noise("gumbel-softmax", tau, true); }

Rule st_gumbel_softmax(Temperature tau) {
  return through_own_noise("st-gumbel-softmax", tau, false);
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
