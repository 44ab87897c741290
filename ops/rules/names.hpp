// All rules by their names.
#pragma once

#include <string>
#include <vector>

#include "gumbel_sinkhorn.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The rules for the choice of one category, with default settings, and all their names. Throws
/// std::invalid_argument, listing them, for another name.
Rule rule_named(const std::string& name, Temperature tau = 1.0);
const std::vector<std::string>& rule_names();

/// The same for subsets.
Rule top_k_rule_named(const std::string& name, Temperature tau = 1.0);
const std::vector<std::string>& top_k_rule_names();

/// The same for matchings.
Rule matching_rule_named(const std::string& name, Temperature tau = 1.0, HowFar far = Converge{});
const std::vector<std::string>& matching_rule_names();

ARGTAPE_END
