#include "ops/rules/straight_through.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {
Rule through_softmax(const char* name, const Temperature& tau) {
  return tempered(name, tau, [](double t) {
    Rule rule = choice_rule(
        "", [t](const Draw& draw, Var g) { return relaxed_jacobian(draw.logits, g, t); });
    relax_subsets(rule, t, false);
    return rule;
  });
}
}  // namespace

Rule zero() {
  Rule rule;
  rule.name = "zero";
  rule.needs = Needs::nothing;
  rule.applies_to = AppliesTo::any;
  rule.reads_noise = false;
  return rule;
}

Rule straight_through(Temperature tau) { return through_softmax("straight-through", tau); }

Rule annealed_straight_through(Temperature tau) {
  return through_softmax("annealed-straight-through", tau);
}

Rule straight_through_identity() {
  Rule rule = choice_rule("straight-through-identity", [](const Draw&, Var g) { return g; });
  rule.applies_to = AppliesTo::any;
  return rule;
}

Rule gapped_straight_through(Temperature tau, double gap) {
  if (!(gap >= 0) || std::isinf(gap))
    refuse("gapped_straight_through: gap is ", gap, "; need a finite number of at least 0");
  return tempered("gapped-straight-through", tau, [=](double t) {
    return choice_rule("", [=](const Draw& draw, Var g) {
      const Var l = without_offset(draw.logits), top = max(l, -1, keep_axes);
      return relaxed_jacobian(where(draw.hard(), top, minimum(l, top - gap)), g, t);
    });
  });
}

ARGTAPE_END
