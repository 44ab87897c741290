#include "ops/rules/solver.hpp"

#include <stdexcept>

#include "engine/require.hpp"
#include "ops/formula.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// The choice, or the matching, once more, counted.
Var solve(const Draw& draw, Var x, BackwardContext& ctx) {
  ctx.counts().solver_calls += size_of(rows_of(draw, x));
  return draw.decision->solve(x, draw.decision->k);
}

// Of logits that the gradient made, which nobody gave: what the solver says of them is said of it.
Var solve_pushed(const Draw& draw, Var x, BackwardContext& ctx) {
  try {
    return solve(draw, x, ctx);
  } catch (const std::invalid_argument& error) {
    refuse(ctx.op(), ": pushed by the gradient that arrives, ", error.what());
  }
}

// The logits less what no solution depends on: what a row has in common, and a column where each is
// taken.
Var centred(const Draw& draw) {
  const Var x = without_offset(draw.logits);
  const Shape& shape = x.shape();
  const bool square = draw.decision->axes == 2 && shape.back() == shape[shape.size() - 2];
  return square ? along_axis("centred", x, -2, [](Var y) { return without_offset(y); }) : x;
}

// x - lambda f', where x is what D is the best of.
Var pushed(const Draw& draw, double lambda, Var gradient) {
  const auto push = [lambda](auto x, auto g, auto slope) { return x + g - lambda * slope; };
  return elementwise("pushed", push, centred(draw), draw.noise, gradient);
}

// How the best moves where x is pushed, over the draw's own noise and so many fresh ones more.
Rule implicit(const char* name, double lambda, std::size_t draws, std::uint64_t seed) {
  require_divisor(name, "lambda", lambda);
  require(draws > 0, name, ": draws are 0; need at least 1");
  Rule rule;
  rule.name = name;
  rule.applies_to = AppliesTo::any;
  rule.differentiates_noise = draws == 1;
  rule.backward = [=](const Draw& draw, BackwardContext& ctx) {
    const Var own = draw.hard() - solve_pushed(draw, pushed(draw, lambda, ctx.gradient()), ctx);
    if (draws == 1) return own / lambda;
    const Var more = centred(draw) + more_noise(draw, draws - 1, seed);
    return (own +
            sum(solve(draw, more, ctx) - solve_pushed(draw, more - lambda * ctx.gradient(), ctx),
                0)) /
           (static_cast<double>(draws) * lambda);
  };
  return rule;
}

}  // namespace

Rule blackbox(double lambda) { return implicit("blackbox", lambda, 1, 0); }

Rule perturbed(Temperature tau, std::size_t draws, std::uint64_t seed) {
  require(draws > 0, "perturbed: draws are 0; need at least 1");
  return tempered("perturbed", tau, [=](double t) {
    Rule rule;
    rule.applies_to = AppliesTo::any;
    rule.backward = [=](const Draw& draw, BackwardContext& ctx) {
      const Var g = more_noise(draw, draws, seed);
      const Var off = solve(draw, centred(draw) + t * g, ctx) - draw.hard();
      return is_possible(draw.logits) *
             sum((1 - exp(-g)) * sum(off * ctx.gradient(), own_axes(draw), keep_axes), 0) /
             (static_cast<double>(draws) * t);
    };
    return rule;
  });
}

Rule i_mle(double lambda, std::size_t draws, std::uint64_t seed) {
  Rule rule = implicit("i_mle", lambda, draws, seed);
  rule.name = "i-mle";
  rule.needs_draw = true;
  return rule;
}

ARGTAPE_END
