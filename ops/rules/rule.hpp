// Rules: what a choice passes back in place of the derivative it does not have. Here is what a rule
// is made of; the library's own stand in the headers beside this one, and names.hpp has them all by
// name. In their formulas l are the logits, p = softmax(l), g Gumbel noise, D the one-hot choice,
// J(q) = diag(q) - q q^T the Jacobian of the softmax at q, and f' the gradient of the cost at the
// choice's value.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../../engine/sweep.hpp"

ARGTAPE_PUBLIC_BEGIN

struct Decision;

/// One choice, as its rule sees it when the sweep arrives. The last axis is the one chosen along;
/// a matching (ops/matching.hpp) has two. Of a subset (ops/top_k.hpp) D has k ones.
struct Draw {
  Var logits;
  Var noise;  ///< Gumbel noise of the logits' shape; the number 0 for argmax, which draws none
  Var value;  ///< what went forward: D, or the relaxation of a soft rule
  const Decision* decision = nullptr;  ///< what it is that was chosen
  bool soft = false;                   ///< whether the rule is soft
  /// D, a constant. A soft rule has gone forward without it: there it is found at each call.
  Var hard() const;
};

/// The nodes that a rule can stand behind.
enum class AppliesTo { choice, subset, choice_and_subset, matching, any };

/// What a rule that stands behind any node asks of it.
struct Decision {
  AppliesTo node;    ///< choice, subset or matching
  std::size_t axes;  ///< so many last axes are one decision's: K categories, or n by m
  /// The best for x, a constant.
  Var (*solve)(Var x, std::size_t k);
  /// The gradient of the draw's log density for the logits, times a weight for each decision.
  Var (*score)(const Draw& draw, Var weight);
  std::size_t k = 1;  ///< categories in a subset
};

/// What a rule asks of the sweep.
enum class Needs {
  nothing,
  gradient,  ///< f': it needs a differentiable path from the choice to the cost
  costs,     ///< the costs themselves, black boxes included
};

/// A rule stands behind choices on any number of tapes, in any number of threads at once: its
/// functions are called by whatever thread sweeps. The library's own have no state, but for a
/// baseline's, which is made for that (score_function.hpp).
struct Rule {
  std::string name;
  Needs needs = Needs::gradient;
  AppliesTo applies_to = AppliesTo::choice;
  /// Whether the choice must have been drawn: a rule about a distribution means nothing for argmax.
  bool needs_draw = false;
  /// Whether the first axis of the logits must hold the same logits, repeated for several samples.
  bool needs_multiple_samples = false;
  /// Whether the gradient depends on more of the draw than D. If not, its bias and variance are
  /// sums over the choices.
  bool reads_noise = true;
  /// Whether it differentiates a function of l + g: then its gradient for the logits is the noise's
  /// too. Behind any other rule noise that wants a gradient is refused.
  bool differentiates_noise = false;
  /// Temperature of a soft rule, whose forward value is softmax((l + g) / tau), or the relaxation;
  /// 0: hard.
  double soft_tau = 0;
  /// The gradient for the logits. ctx.gradient() is f'; costs_of(ctx, rows) are the costs.
  std::function<Var(const Draw& draw, BackwardContext& ctx)> backward;
  /// In place of a backward, for a subset or a matching: what is differentiated instead of it,
  /// made when the draw has no value yet.
  std::function<Var(const Draw& draw)> relaxation;
  /// What it keeps from sweep to sweep, such as a baseline's mean, for a checkpoint; else empty. A
  /// checkpoint reads and writes it while no thread sweeps, a sweep in what it gives to
  /// BackwardContext::when_swept.
  std::shared_ptr<std::vector<double>> memory;
  /// For a scheduled temperature: the rule at a step.
  std::function<Rule(std::size_t step)> scheduled;

  /// The rule for one step of training: itself, unless its temperature is a schedule.
  Rule at(std::size_t step) const { return scheduled ? scheduled(step) : *this; }
};

/// Its name.
std::ostream& operator<<(std::ostream& out, const Rule& rule);

/// A rule of one's own from a formula: the gradient for the logits, given the draw and f'. It is
/// pathwise: without a differentiable path to a cost the sweep refuses it.
Rule pathwise_rule(std::string name, std::function<Var(const Draw& draw, Var gradient)> formula);

/// The costs that a choice feeds, one number for each of `rows`, which are the logits' axes without
/// those chosen along: the sum over all costs downstream, lined up with the leading axes. For rows
/// (8, 5), as of 8 examples with 5 choices each, a cost (8, 5) counts number by number, a cost (8,)
/// for all 5 choices of its example, a cost () for all 40, and a cost (8, 5, 3) summed over its
/// last axis; with rows (1, 5) costs are summed over the examples. What weighs nothing (backward())
/// adds nothing, even if it is infinite. Throws std::invalid_argument for a cost such as (5,), and
/// std::logic_error unless the op or one upstream said needs_costs (Op), as the op of a rule does
/// that needs costs.
Var costs_of(const BackwardContext& ctx, const Shape& rows);

ARGTAPE_END
