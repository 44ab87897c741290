#include "ops/rules/gumbel_sinkhorn.hpp"

#include "ops/rules/decision.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Rule through_sinkhorn(const char* name, const Temperature& tau, HowFar far, bool soft, bool noisy) {
  return tempered(name, tau, [=](double t) {
    Rule rule;
    rule.applies_to = AppliesTo::matching;
    rule.soft_tau = soft ? t : 0;
    rule.reads_noise = rule.differentiates_noise = noisy;
    rule.relaxation = [=](const Draw& draw) {
      const Var x = noisy ? noisy_logits(draw) : draw.logits;
      return std::visit([&](auto until) { return sinkhorn(x, t, until).matrices; }, far);
    };
    return rule;
  });
}

}  // namespace

Rule gumbel_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("gumbel-sinkhorn", tau, far, true, true);
}

Rule straight_through_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("straight-through-sinkhorn", tau, far, false, false);
}

Rule st_gumbel_sinkhorn(Temperature tau, HowFar far) {
  return through_sinkhorn("st-gumbel-sinkhorn", tau, far, false, true);
}

ARGTAPE_END
