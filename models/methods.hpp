// All rules and methods by their names.
#pragma once

#include <string>
#include <vector>

#include "../ops/methods/method.hpp"
#include "../ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Those of rule_names(), then exact and the methods around a cost, with default settings, each
/// with a state of its own where it learns; tau is for rules that have one and for the control
/// variates of rebar and relax, where it is the first. score-function+leave-one-out is rloo().
/// Throws std::invalid_argument, listing them, for another name.
Method method_named(const std::string& name, Temperature tau = 1.0);
const std::vector<std::string>& method_names();

ARGTAPE_END
