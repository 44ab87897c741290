#include "ops/rules/rule.hpp"

#include <stdexcept>
#include <utility>

#include "ops/rules/temper.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Rule zero() {
  Rule rule;
  rule.name = "zero";
  rule.needs = Needs::nothing;
  rule.applies_to = AppliesTo::any;
  rule.reads_noise = false;
  return rule;
}

namespace {
Rule through_softmax(const char* name, Temperature tau) {
  return with(std::move(tau), name, 0, [](double t) {
    Rule rule;
    rule.reads_noise = false;
    rule.backward = [t](const Draw& draw, BackwardContext& ctx) {
      return over(softmax_jacobian(softmax(over(draw.logits, t)), ctx.gradient()), t);
    };
    rule.shortcut = by_rows(
        [tau = static_cast<Scalar>(t)](NoisyRow row, const Scalar*, const Scalar* g,
                                       Scalar* scratch, Scalar* to, bool add) {
          row.noise = nullptr;
          relaxed_jacobian_row(row, g, tau, scratch, to, add);
        },
        true);
    return rule;
  });
}
}  // namespace

Rule straight_through(Temperature tau) {
  return through_softmax("straight-through", std::move(tau));
}

Rule annealed_straight_through(Temperature tau) {
  return through_softmax("annealed-straight-through", std::move(tau));
}

Rule straight_through_identity() {
  Rule rule = pathwise_rule("straight-through-identity", [](const Draw&, Var g) { return g; });
  rule.applies_to = AppliesTo::any;
  rule.reads_noise = false;
  return rule;
}

Rule gumbel_softmax(Temperature tau) {
  return with(std::move(tau), "gumbel-softmax", 0, [](double t) {
    Rule rule;
    rule.soft_tau = t;
    rule.backward = [t](const Draw& draw, BackwardContext& ctx) {
      return over(softmax_jacobian(draw.value, ctx.gradient()), t);
    };
    rule.shortcut =
        by_rows([tau = static_cast<Scalar>(t)](
                    const NoisyRow& row, const Scalar* y, const Scalar* g, Scalar*, Scalar* to,
                    bool add) { jacobian_row(y, g, row.n, 1 / tau, to, add); },
                true);
    return rule;
  });
}

Rule st_gumbel_softmax(Temperature tau) {
  return with(std::move(tau), "st-gumbel-softmax", 0, [](double t) {
    Rule rule;
    rule.backward = [t](const Draw& draw, BackwardContext& ctx) {
      return over(softmax_jacobian(softmax(over(draw.logits + draw.noise, t)), ctx.gradient()), t);
    };
    rule.shortcut =
        by_rows([tau = static_cast<Scalar>(t)](
                    const NoisyRow& row, const Scalar*, const Scalar* g, Scalar* scratch,
                    Scalar* to, bool add) { relaxed_jacobian_row(row, g, tau, scratch, to, add); },
                true);
    return rule;
  });
}

namespace {

struct Named {
  const char* name;
  Rule (*make)(const Temperature& tau);
};

const Named kRules[] = {
    {"zero", [](const Temperature&) { return zero(); }},
    {"score-function", [](const Temperature&) { return score_function(); }},
    {"score-function+mean", [](const Temperature&) { return score_function(running_mean()); }},
    {"score-function+leave-one-out",
     [](const Temperature&) { return score_function(leave_one_out()); }},
    {"straight-through", [](const Temperature& tau) { return straight_through(tau); }},
    {"straight-through-identity", [](const Temperature&) { return straight_through_identity(); }},
    {"gumbel-softmax", [](const Temperature& tau) { return gumbel_softmax(tau); }},
    {"st-gumbel-softmax", [](const Temperature& tau) { return st_gumbel_softmax(tau); }},
    {"reinmax", [](const Temperature& tau) { return reinmax(tau); }},
    {"annealed-straight-through",
     [](const Temperature& tau) { return annealed_straight_through(tau); }},
    {"darn", [](const Temperature&) { return darn(); }},
    {"zgr", [](const Temperature&) { return zgr(); }},
    {"gapped-straight-through",
     [](const Temperature& tau) { return gapped_straight_through(tau); }},
    {"gumbel-rao", [](const Temperature& tau) { return gumbel_rao(tau); }},
    {"mve", [](const Temperature&) { return mve(); }},
    {"blackbox", [](const Temperature&) { return blackbox(); }},
    {"perturbed", [](const Temperature& tau) { return perturbed(tau); }},
    {"i-mle", [](const Temperature&) { return i_mle(); }},
};

}  // namespace

const std::vector<std::string>& rule_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const Named& rule : kRules) all.push_back(rule.name);
    return all;
  }();
  return names;
}

Rule rule_named(const std::string& name, Temperature tau) {
  for (const Named& rule : kRules)
    if (name == rule.name) return rule.make(tau);
  std::string all;
  for (const std::string& known : rule_names()) all += (all.empty() ? "" : ", ") + known;
  throw std::invalid_argument("rule_named: '" + name + "'; need one of " + all);
}

Rule pathwise_rule(std::string name, std::function<Var(const Draw&, Var)> formula) {
  Rule rule;
  rule.name = std::move(name);
  rule.backward = [formula = std::move(formula)](const Draw& draw, BackwardContext& ctx) {
    return formula(draw, ctx.gradient());
  };
  return rule;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
