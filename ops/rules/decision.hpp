// What the nodes with a rule behind them have in common. For the library's own .cpp files.
#pragma once

#include <string>

#include "rule.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// The op "verb[rule]" of such a node, with the rule's flow. Throws std::invalid_argument for a
/// rule that stands behind another kind of node, that needs a draw where there is none (`drawn_by`
/// is what draws), that has no backward, or whose temperature is a schedule.
Op op_with(const std::string& verb, const Rule& rule, AppliesTo node, bool drawn,
           const char* drawn_by);

/// The axes of one decision, counted from the last: {-1}, or {-2, -1}.
Axes own_axes(const Draw& draw);
/// The others' lengths: how many decisions there are, along which axes.
Shape rows_of(const Draw& draw);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
