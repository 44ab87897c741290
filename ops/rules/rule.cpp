#include "ops/rules/rule.hpp"

#include <ostream>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
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

namespace {

// A cost's axes lined up with the leading ones of `rows`: summed over what the choices do not tell
// apart, the same for all that it does not tell apart itself.
Var line_up(const BackwardContext& ctx, Var cost, const Shape& rows) {
  Shape summed = cost.shape(), aligned(rows.size(), 1);
  if (summed == rows) return cost;
  for (std::size_t a = 0; a < summed.size(); ++a) {
    if (a >= rows.size() || rows[a] == 1)
      summed[a] = 1;
    else if (summed[a] != 1 && summed[a] != rows[a])
      refuse(ctx.op(), ": a cost is ", cost.shape(), ", the choices are ", rows,
             "; need costs lined up with the leading axes of the choices");
    if (a < rows.size()) aligned[a] = summed[a];
  }
  return broadcast_to(reshaped(sum_to(cost, summed), aligned), rows);
}

}  // namespace

Var costs_of(const BackwardContext& ctx, const Shape& rows) {
  Var total;
  for (const DownstreamCost& fed : ctx.downstream_costs()) {
    const Var cost = line_up(ctx, fed.weight.tape ? times(fed.weight, fed.cost) : fed.cost, rows);
    total = total.tape ? total + cost : cost;
  }
  return total;
}

ARGTAPE_END
