// Rules: what a choice passes back in place of the derivative it does not have. In the formulas l
// are the logits, p = softmax(l), g Gumbel noise, D the one-hot choice, J(q) = diag(q) - q q^T the
// Jacobian of the softmax at q, and f' the gradient of the cost at the choice's value.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../engine/sweep.hpp"
#include "schedule.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// One choice, as its rule sees it when the sweep arrives. The last axis is the one chosen along.
struct Draw {
  Var logits;
  Var noise;  ///< Gumbel noise of the logits' shape; the number 0 for argmax, which draws none
  Var value;  ///< what went forward: D, or the relaxation of a soft rule
  Var hard;   ///< D, a constant
};

/// What a rule asks of the sweep.
enum class Reads {
  nothing,
  gradient,  ///< f': it needs a differentiable path from the choice to the cost
  costs,     ///< the costs themselves, black boxes included
};

struct Rule {
  std::string name;
  Reads reads = Reads::gradient;
  /// Whether the choice must have been drawn: a rule about a distribution means nothing for argmax.
  bool needs_draw = false;
  /// Whether the first axis of the logits must hold the same logits, repeated for several samples.
  bool needs_repeats = false;
  /// Softmax temperature of a soft rule, whose forward value is softmax((l + g) / tau); 0: hard,
  /// one-hot.
  double soft_tau = 0;
  /// The gradient for the logits, in Vars. arrival.gradient() is f'; arrival.costs(rows) are the
  /// costs.
  std::function<Var(const Draw& draw, Arrival& arrival)> backward;
  /// The same where only numbers are asked for, straight into at.sink(0); optional, for speed.
  std::function<void(Arrival& at)> shortcut;
  /// For a scheduled temperature: the rule at a step.
  std::function<Rule(std::size_t step)> scheduled;

  /// The rule for one step of training: itself, unless its temperature is a schedule.
  Rule at(std::size_t step) const { return scheduled ? scheduled(step) : *this; }
};

/// Nothing: the choice is a constant. Biased, unless the cost depends on the logits in no other way
/// than a piecewise constant one (as in k-means).
Rule zero();

/// J(softmax(l / tau)) f' / tau, f' taken at D (Bengio, Leonard, Courville, arXiv 1308.3432;
/// through the softmax as in arXiv 1611.01144, section 2.3). Biased; exact for a linear cost at tau
/// = 1.
Rule straight_through(Temperature tau = 1.0);

/// f' itself, as if the choice were the logits. Biased, and not of zero sum.
Rule straight_through_identity();

/// Forward softmax((l + g) / tau), which is not one-hot, and its exact derivative (Jang, Gu, Poole,
/// arXiv 1611.01144; Maddison, Mnih, Teh, arXiv 1611.00712). Biased as a gradient of the discrete
/// problem. For argmax, without noise: the soft argmax.
Rule gumbel_softmax(Temperature tau);

/// Forward D, backward J(softmax((l + g) / tau)) f' / tau (arXiv 1611.01144, section 2.2). Biased.
Rule st_gumbel_softmax(Temperature tau);

/// [2 J((softmax(l / tau) + D) / 2) - J(p) / 2] f' (Liu, Dong, Liu, Yu, Gao, arXiv 2304.08612,
/// algorithm 2). Exact for a quadratic cost at tau = 1, where it is ZGR (Shekhovtsov, 2023). Needs
/// tau >= 1.
Rule reinmax(Temperature tau = 1.0);

/// What a score function subtracts from the costs. `value` gets the costs, one for each choice, and
/// returns as many numbers; it must not depend on the same choice's own cost, or the estimate is
/// biased. `learn`, if there is one, is told of the costs after that, once in each sweep.
struct Baseline {
  std::string name;
  std::function<Tensor(const Tensor& costs)> value;
  std::function<void(const Tensor& costs)> learn;
  bool needs_repeats = false;  ///< see Rule
};

/// The mean of earlier sweeps' costs, forgotten at the rate `decay`; 0 in the first sweep. It is a
/// state: all copies of the baseline share it. Throws std::invalid_argument unless 0 <= decay < 1.
Baseline running_mean(double decay = 0.9);

/// The mean cost of the other samples: logits must be (M, ...), the same logits M times along the
/// first axis (ops/shape.hpp, broadcast), and each cost one number a sample: averaged over the
/// samples it would be its own baseline. Throws std::invalid_argument, in the sweep, for fewer than
/// two samples and for a cost without their axis.
Baseline leave_one_out();

/// (f(D) - baseline) (D - p), unbiased, and needs no path: f may be a black box (Glynn 1990;
/// Williams 1992). Only for drawn choices.
Rule score_function(Baseline baseline = {});

/// A rule of one's own from a formula: the gradient for the logits, given the draw and f'. It is
/// pathwise: without a differentiable path to a cost the sweep refuses it.
Rule pathwise_rule(std::string name, std::function<Var(const Draw& draw, Var gradient)> formula);

/// The rules by their names, with default settings, and all those names. Throws
/// std::invalid_argument, listing them, for another name.
Rule rule_named(const std::string& name, Temperature tau = 1.0);
const std::vector<std::string>& rule_names();

}  // namespace ARGTAPE_ABI
}  // namespace argtape
