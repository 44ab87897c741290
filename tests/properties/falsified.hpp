// Properties of random cases. A case is a list of decisions, which RapidCheck draws, and shortens
// and lowers as long as the property fails: 0 is the simplest decision, and where the list ends all
// are 0. ARGTAPE_CASES says how many cases a property gets, RC_PARAMS="seed=7" which.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

using Decisions = std::vector<std::uint16_t>;

/// Runs a property, which says what is wrong, on random cases: "", or what is wrong with the
/// smallest case that was found to fail, and how to repeat it. `subject` tells it from all others.
std::string falsified(const std::string& subject,
                      const std::function<std::string(const Decisions&)>& property);
