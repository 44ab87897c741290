#include "ops/rules/rule.hpp"

#include <ostream>
#include <utility>

#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"

ARGTAPE_PUBLIC_BEGIN

Var Draw::hard() const {
  return soft ? decision->solve(logits - max(logits, own_axes(*this), keep_axes) + noise,
                                decision->k)
              : value.tape->borrow_constant(value.value(), "choice");
}

std::ostream& operator<<(std::ostream& out, const Rule& rule) { return out << rule.name; }

Rule pathwise_rule(std::string name, std::function<Var(const Draw&, Var)> formula) {
  require(formula != nullptr, name, ": the formula is empty; need one for the gradient");
  Rule rule;
  rule.name = std::move(name);
  rule.backward = [formula = std::move(formula)](const Draw& draw, BackwardContext& ctx) {
    return formula(draw, ctx.gradient());
  };
  return rule;
}

ARGTAPE_END
