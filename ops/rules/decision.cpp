#include "ops/rules/decision.hpp"

#include <stdexcept>
#include <utility>

namespace argtape {
inline namespace ARGTAPE_ABI {

Op op_with(const std::string& verb, const Rule& rule, AppliesTo node, bool drawn,
           const char* drawn_by) {
  const std::string name = verb + "[" + rule.name + "]";
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument(name + ": " + why);
  };
  if (rule.applies_to != AppliesTo::any && rule.applies_to != node)
    refuse(node == AppliesTo::matching
               ? "the rule is for the choice of one category; need one for matchings, such as "
                 "straight_through_sinkhorn()"
               : "the rule is for matchings; need one for the choice of one category");
  if (rule.needs_draw && !drawn)
    refuse("a " + std::string(node == AppliesTo::matching ? "matching" : "choice") +
           " that is not drawn has no distribution; use " + drawn_by + "()");
  if (rule.needs != Needs::nothing && !rule.backward && !rule.relaxation && !rule.scheduled)
    refuse("the rule has no backward; give it one, or read nothing");
  if (rule.scheduled)
    refuse("the temperature is a schedule; say at which step, with rule.at(step)");
  Op op(name, rule.needs == Needs::nothing ? Flow::cut : Flow::surrogate);
  op.needs_costs = rule.needs == Needs::costs;
  op.refuses_no_path = rule.needs == Needs::gradient;
  op.why_cut = "Its rule is the zero gradient; another rule passes something on.";
  return op;
}

Axes own_axes(const Draw& draw) { return draw.decision->axes == 1 ? Axes{-1} : Axes{-2, -1}; }

Shape rows_of(const Draw& draw) {
  const Shape& shape = draw.logits.shape();
  return Shape(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(draw.decision->axes));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
