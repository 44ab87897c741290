#include "models/methods.hpp"

#include <algorithm>
#include <utility>

#include "engine/require.hpp"
#include "models/control_variate.hpp"
#include "models/nvil.hpp"
#include "ops/methods/antithetic.hpp"
#include "ops/methods/score.hpp"
#include "ops/methods/without_replacement.hpp"
#include "ops/rules/names.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Method tuned(const Temperature& tau, std::size_t hidden) {
  ControlVariateSettings settings;
  settings.tau = tau.at(0);
  settings.hidden = hidden;
  return rebar(std::make_shared<ControlVariate>(settings));
}

// Every method that is not a rule's, in the order in which tables have them. Its name it says
// itself; of two of one name, a method comes before a rule.
Method (*const kMethods[])(const Temperature&) = {
    [](const Temperature&) { return rloo(); },
    [](const Temperature&) { return enumeration(); },
    [](const Temperature&) { return muprop(); },
    [](const Temperature&) { return nvil(); },
    [](const Temperature&) { return vimco(); },
    [](const Temperature& tau) { return tuned(tau, 0); },
    [](const Temperature& tau) { return tuned(tau, 8); },
    [](const Temperature&) { return sum_and_sample(); },
    [](const Temperature&) { return unordered_set(); },
    [](const Temperature&) { return arm(); },
    [](const Temperature&) { return disarm(); },
};

bool among(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const std::vector<std::string>& method_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = rule_names();
    for (const auto make : kMethods)
      if (const std::string name = make(1.0).name; !among(all, name)) all.push_back(name);
    return all;
  }();
  return names;
}

Method method_named(const std::string& name, Temperature tau) {
  for (const auto make : kMethods)
    if (make(1.0).name == name) return make(tau);
  if (among(rule_names(), name)) return rule_named(name, std::move(tau));
  std::string all;
  for (const std::string& known : method_names()) all += (all.empty() ? "" : ", ") + known;
  refuse("method_named: '", name, "'; need one of ", all);
}

ARGTAPE_END
