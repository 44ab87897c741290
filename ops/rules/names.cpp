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

std::vector<std::string> names_for(AppliesTo node) {
  std::vector<std::string> names;
  for (const auto make : kRules)
    if (const Rule rule = make({}); stands_behind(node, rule)) names.push_back(rule.name);
  return names;
}

Rule find(const char* op, AppliesTo node, const std::string& name, const Settings& settings) {
  std::string all;
  for (const auto make : kRules) {
    const Rule rule = make({});
    if (!stands_behind(node, rule)) continue;
    if (rule.name == name) return make(settings);
    all += (all.empty() ? "" : ", ") + rule.name;
  }
  refuse(op, ": '", name, "'; need one of ", all);
}

}  // namespace

const std::vector<std::string>& rule_names() {
  static const std::vector<std::string> names = names_for(AppliesTo::choice);
  return names;
}

Rule rule_named(const std::string& name, Temperature tau) {
  return find("rule_named", AppliesTo::choice, name, {tau, Converge{}});
}

const std::vector<std::string>& top_k_rule_names() {
  static const std::vector<std::string> names = names_for(AppliesTo::subset);
  return names;
}

Rule top_k_rule_named(const std::string& name, Temperature tau) {
  return find("top_k_rule_named", AppliesTo::subset, name, {tau, Converge{}});
}

const std::vector<std::string>& matching_rule_names() {
  static const std::vector<std::string> names = names_for(AppliesTo::matching);
  return names;
}

Rule matching_rule_named(const std::string& name, Temperature tau, HowFar far) {
  return find("matching_rule_named", AppliesTo::matching, name, {tau, far});
}

ARGTAPE_END
