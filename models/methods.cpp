#include "models/methods.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "models/control_variate.hpp"
#include "models/nvil.hpp"
#include "ops/methods/antithetic.hpp"
#include "ops/methods/without_replacement.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

Method tuned(const Temperature& tau, std::size_t hidden) {
  ControlVariateSettings settings;
  settings.tau = tau.at(0);
  settings.hidden = hidden;
  return rebar(std::make_shared<ControlVariate>(settings));
}

struct Named {
  const char* name;
  Method (*make)(const Temperature& tau);
};

const Named kMethods[] = {
    {"exact", [](const Temperature&) { return enumeration(); }},
    {"muprop", [](const Temperature&) { return muprop(); }},
    {"nvil", [](const Temperature&) { return nvil(); }},
    {"vimco", [](const Temperature&) { return vimco(); }},
    {"rebar", [](const Temperature& tau) { return tuned(tau, 0); }},
    {"relax", [](const Temperature& tau) { return tuned(tau, 8); }},
    {"sum-and-sample", [](const Temperature&) { return sum_and_sample(); }},
    {"unordered-set", [](const Temperature&) { return unordered_set(); }},
    {"arm", [](const Temperature&) { return arm(); }},
    {"disarm", [](const Temperature&) { return disarm(); }},
};

}  // namespace

const std::vector<std::string>& method_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all = rule_names();
    for (const Named& method : kMethods) all.push_back(method.name);
    return all;
  }();
  return names;
}

Method method_named(const std::string& name, Temperature tau) {
  if (name == "score-function+leave-one-out") return rloo();
  for (const Named& method : kMethods)
    if (name == method.name) return method.make(tau);
  if (const auto& rules = rule_names(); std::find(rules.begin(), rules.end(), name) != rules.end())
    return rule_named(name, std::move(tau));
  std::string all;
  for (const std::string& known : method_names()) all += (all.empty() ? "" : ", ") + known;
  throw std::invalid_argument("method_named: '" + name + "'; need one of " + all);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
