// Rules: what a choice passes back in place of the derivative it does not have. In the formulas l
// are the logits, p = softmax(l), g Gumbel noise, D the one-hot choice, J(q) = diag(q) - q q^T the
// Jacobian of the softmax at q, and f' the gradient of the cost at the choice's value.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../../engine/sweep.hpp"
#include "../temperature.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

struct Decision;

/// One choice, as its rule sees it when the sweep arrives. The last axis is the one chosen along;
/// a matching (ops/matching.hpp) has two.
struct Draw {
  Var logits;
  Var noise;  ///< Gumbel noise of the logits' shape; the number 0 for argmax, which draws none
  Var value;  ///< what went forward: D, or the relaxation of a soft rule
  Var hard;   ///< D, a constant
  const Decision* decision = nullptr;  ///< what it is that was chosen
};

/// The nodes that a rule can stand behind.
enum class AppliesTo { choice, matching, any };

/// What a rule that stands behind any node asks of it.
struct Decision {
  std::size_t axes;     ///< so many last axes are one decision's: K categories, or n by m
  Var (*solve)(Var x);  ///< the best for x, a constant
  Var (*score)(const Draw& draw);  ///< the gradient of the draw's log density for the logits
};

/// What a rule asks of the sweep.
enum class Needs {
  nothing,
  gradient,  ///< f': it needs a differentiable path from the choice to the cost
  costs,     ///< the costs themselves, black boxes included
};

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
  /// Temperature of a soft rule, whose forward value is softmax((l + g) / tau), or a matching's
  /// relaxation; 0: hard, one-hot.
  double soft_tau = 0;
  /// The gradient for the logits, in Vars. ctx.gradient() is f'; ctx.costs(rows) are the
  /// costs.
  std::function<Var(const Draw& draw, BackwardContext& ctx)> backward;
  /// The same where only numbers are asked for, straight into ctx.sink(0); optional, for speed.
  std::function<void(BackwardContext& ctx)> shortcut;
  /// In place of a backward, for a matching: what is differentiated instead of it.
  std::function<Var(Var logits, Var noise)> relaxation;
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

/// straight_through() with a slope a = 1 / tau that is annealed: J(softmax(a l)) a f', where a
/// grows as the schedule's tau falls (slope annealing: Chung, Ahn, Bengio, arXiv 1609.01704;
/// "annealed ST" in arXiv 1611.01144). At a fixed temperature it is straight_through(tau). Biased.
Rule annealed_straight_through(Temperature tau);

/// f' itself, as if the choice were the logits. Biased, and not of zero sum.
Rule straight_through_identity();

/// Forward softmax((l + g) / tau), which is not one-hot, and its exact derivative (Jang, Gu, Poole,
/// arXiv 1611.01144; Maddison, Mnih, Teh, arXiv 1611.00712). Biased as a gradient of the discrete
/// problem. For argmax, without noise: the soft argmax.
Rule gumbel_softmax(Temperature tau);

/// Forward D, backward J(softmax((l + g) / tau)) f' / tau (arXiv 1611.01144, section 2.2). Biased.
Rule st_gumbel_softmax(Temperature tau);

/// Forward D, backward the mean over `draws` Gumbel noises, given D, of J(softmax((l + g) / tau))
/// f' / tau (Gumbel-Rao: Paulus, Maddison, Krause, arXiv 2010.04838). The first is the node's own
/// noise, so with one draw it is st_gumbel_softmax(); with more its mean is the same and its
/// variance lower. The further noise is made from the bits of the node's own and from `seed`: a
/// replay sees it again. Biased. Costs draws x K numbers a choice. Throws std::invalid_argument for
/// no draw.
Rule gumbel_rao(Temperature tau, std::size_t draws = 10, std::uint64_t seed = 0);

/// J(softmax(m / tau)) f' / tau at the logits m that D would have won with: l_D raised to the
/// largest logit, the others kept at least `gap` below it (Gapped straight-through: Fan, Chi,
/// Rudnicky, Ramadge, arXiv 2206.07235). Biased. Throws std::invalid_argument unless gap >= 0.
Rule gapped_straight_through(Temperature tau, double gap = 1.0);

/// (D - p)(D - p)^T f': the score function with the cost's linear expansion at D as its baseline,
/// of which the correction is dropped (Gregor et al., arXiv 1310.8499, section 2.3, in its
/// categorical form). Biased beyond linear costs. The form for one binary variable, with the
/// baseline at 1/2, is zgr() for K = 2.
Rule darn();

/// [J(p) + (D - p)(D - p)^T] f' / 2: the mean of straight_through() and darn(), and the limit of
/// gumbel_rao() as tau goes to 0 (Shekhovtsov, "Cold analysis of Rao-Blackwellized straight-through
/// Gumbel-softmax gradient estimator", ICML 2023). Exact for a quadratic cost.
Rule zgr();

/// [(D - p) f'_D + J(p) x] / 2, where x solves the K equations sum_k w_ik (x_i - x_k) = c_i, with
/// w_ik = p_i p_k / (p_i + p_k), c_i = f'_i p_i / (p_i + p_D) for i other than D, and sum(c) = 0.
/// Of all estimators A(D) f' that are exact for every quadratic cost it has the smallest mean
/// square of A, and so the least variance for an f' without a direction (the minimum-variance
/// member; after Hooper and Shekhovtsov, AISTATS 2026). For K = 2 it is zgr(), the only one there
/// is. Costs K^3 / 3 multiplications a choice.
Rule mve();

/// [2 J((softmax(l / tau) + D) / 2) - J(p) / 2] f' (Liu, Dong, Liu, Yu, Gao, arXiv 2304.08612,
/// algorithm 2). Exact for a quadratic cost at tau = 1, where it is ZGR (Shekhovtsov, 2023). Needs
/// tau >= 1.
Rule reinmax(Temperature tau = 1.0);

/// (D - argmax(x - lambda f')) / lambda, where x is what D is the argmax of: l, or l + g for a
/// drawn choice. The slope of a piecewise linear interpolation of the solver (Vlastelica, Paulus,
/// Musil, Martius, Rolinek, arXiv 1912.02175, algorithm 1, where the solver minimises). Biased. One
/// more call of the solver. Throws std::invalid_argument unless lambda > 0.
Rule blackbox(double lambda = 1.0);

/// sum_j h(g_j) <argmax(l + tau g_j) - D, f'> / (n tau) over n fresh Gumbel noises g_j, with h(g) =
/// 1
/// - e^-g, the slope of their log density (perturbed optimisers: Berthet et al., arXiv 2002.08676,
/// D standing in as a control variate). Given D its mean is straight_through(tau).
/// Not of zero sum. n more calls of the solver. The noise is made as in gumbel_rao(), from the
/// logits where the choice was not drawn.
Rule perturbed(Temperature tau = 1.0, std::size_t draws = 10, std::uint64_t seed = 0);

/// The mean over `draws` Gumbel noises g_j of (argmax(l + g_j) - argmax(l + g_j - lambda f')) /
/// lambda (implicit maximum likelihood: Niepert, Minervini, Franceschi, arXiv 2106.01798; of a
/// one-hot choice their sum-of-gamma noise is Gumbel noise). The first noise is the node's own:
/// with one draw it is blackbox(). Biased. 2 draws - 1 more calls of the solver. Only for drawn
/// choices.
Rule i_mle(double lambda = 1.0, std::size_t draws = 1, std::uint64_t seed = 0);

/// What a score function subtracts from the costs. `value` gets the costs, one for each choice, and
/// returns as many numbers; it must not depend on the same choice's own cost, or the estimate is
/// biased. `learn`, if there is one, is told of the costs after that, once in each sweep.
struct Baseline {
  std::string name;
  std::function<Tensor(const Tensor& costs)> value;
  std::function<void(const Tensor& costs)> learn;
  bool needs_multiple_samples = false;  ///< see Rule
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
