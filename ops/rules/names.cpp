#include "ops/rules/names.hpp"

#include "engine/require.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/quadratic.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/solver.hpp"
#include "ops/rules/straight_through.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

struct Settings {
  Temperature tau = 1.0;
  HowFar far = Converge{};
};

// Every rule, in the order in which tables have them. Its name, and what it applies to, it says
// itself.
Rule (*const kRules[])(const Settings&) = {
    [](const Settings&) { return zero(); },
    [](const Settings&) { return score_function(); },
    [](const Settings&) { return score_function(running_mean()); },
    [](const Settings&) { return score_function(leave_one_out()); },
    [](const Settings& s) { return straight_through(s.tau); },
    [](const Settings&) { return straight_through_identity(); },
    [](const Settings& s) { return gumbel_softmax(s.tau); },
    [](const Settings& s) { return st_gumbel_softmax(s.tau); },
    [](const Settings& s) { return reinmax(s.tau); },
    [](const Settings& s) { return annealed_straight_through(s.tau); },
    [](const Settings&) { return darn(); },
    [](const Settings&) { return zgr(); },
    [](const Settings& s) { return gapped_straight_through(s.tau); },
    [](const Settings& s) { return gumbel_rao(s.tau); },
    [](const Settings&) { return mve(); },
    [](const Settings& s) { return straight_through_sinkhorn(s.tau, s.far); },
    [](const Settings& s) { return gumbel_sinkhorn(s.tau, s.far); },
    [](const Settings& s) { return st_gumbel_sinkhorn(s.tau, s.far); },
    [](const Settings& s) { return perturbed(s.tau); },
    [](const Settings&) { return blackbox(); },
    [](const Settings&) { return i_mle(); },
};

template <AppliesTo node>
const std::vector<std::string>& names_for() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto make : kRules)
      if (const Rule rule = make({}); stands_behind(node, rule)) all.push_back(rule.name);
    return all;
  }();
  return names;
}

template <AppliesTo node>
Rule find(const char* op, const std::string& name, const Settings& settings) {
  for (const auto make : kRules)
    if (const Rule rule = make({}); rule.name == name && stands_behind(node, rule))
      return make(settings);
  std::string all;
  for (const std::string& known : names_for<node>()) all += (all.empty() ? "" : ", ") + known;
  refuse(op, ": '", name, "'; need one of ", all);
}

}  // namespace

const std::vector<std::string>& rule_names() { return names_for<AppliesTo::choice>(); }
const std::vector<std::string>& top_k_rule_names() { return names_for<AppliesTo::subset>(); }
const std::vector<std::string>& matching_rule_names() { return names_for<AppliesTo::matching>(); }

Rule rule_named(const std::string& name, Temperature tau) {
  return find<AppliesTo::choice>("rule_named", name, {tau, Converge{}});
}
Rule top_k_rule_named(const std::string& name, Temperature tau) {
  return find<AppliesTo::subset>("top_k_rule_named", name, {tau, Converge{}});
}
Rule matching_rule_named(const std::string& name, Temperature tau, HowFar far) {
  return find<AppliesTo::matching>("matching_rule_named", name, {tau, far});
}

ARGTAPE_END
