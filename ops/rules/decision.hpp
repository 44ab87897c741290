// What the nodes with a rule behind them, and the rules, have in common. For the library's own .cpp
// files.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "../../engine/require.hpp"
#include "../kernels/axis.hpp"
#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Whether the rule can stand behind such a node.
bool stands_behind(AppliesTo node, const Rule& rule);

/// The op "verb[rule]" of such a node, with the rule's flow. Throws std::invalid_argument for a
/// rule that stands behind another kind of node, that needs a draw where there is none, that has no
/// backward, that is soft without a relaxation, or whose temperature is a schedule.
Op op_with(const std::string& verb, const Rule& rule, AppliesTo node, bool drawn);

/// f(x) along an axis, for an f that works along the last one and takes k categories of it. Throws
/// std::invalid_argument, in the name of `verb`, unless there are so many, and one at least.
template <class F>
Var along_categories(const char* verb, Var x, std::size_t k, int axis, F f) {
  const std::size_t a = axis_of(verb, axis, x.shape()), n = x.shape()[a];
  require(n > 0, verb, ": logits are ", x.shape(), "; need at least one category on axis ", a);
  require(k <= n, verb, ": k is ", k, ", logits are ", x.shape(), "; need at most ", n);
  return along_axis(verb, x, axis, f);
}

/// Noise that was given for logits, with the axis that is chosen along as its last one. Throws
/// std::invalid_argument unless it has their shape and is finite.
Var given_noise(const char* verb, Var logits, Var noise, int axis);

/// Records such a node: `value` was decided for the logits, with the noise if it is not empty,
/// which is the node's second input then. Of a soft rule that has a relaxation it is the
/// relaxation's. Throws std::invalid_argument for noise that wants a gradient which the rule does
/// not have.
Var record_decision(Op op, const Rule& rule, const Decision& decision, Var logits, Var noise,
                    Tensor value);

/// The axes of one decision, counted from the last: {-1}, or {-2, -1}.
Axes own_axes(const Draw& draw);
/// The others' lengths, for x as for the logits: how many decisions there are, along which axes.
Shape rows_of(const Draw& draw, Var x);

/// l, or l + g for a drawn choice.
Var noisy_logits(const Draw& draw);

/// A pathwise rule whose formula reads no more of the draw than D.
Rule choice_rule(std::string name, std::function<Var(const Draw& draw, Var gradient)> formula);

/// A rule with a temperature, made at once for a number and at each step for a schedule. Throws
/// std::invalid_argument, in the rule's name, for tau outside of least ... 1e20.
Rule tempered(const char* name, const Temperature& tau, std::function<Rule(double tau)> make,
              double least = 1e-20);

/// Lets a rule stand behind subsets too, with the relaxed subset of l, or of l + g if `noisy`,
/// where a choice has its softmax.
void relax_subsets(Rule& rule, double tau, bool noisy);

/// So many Gumbel noises for a draw, in front of its axes: made from the bits of its own noise, or
/// of the logits where nothing was drawn.
Var more_noise(const Draw& draw, std::size_t count, std::uint64_t seed);

/// What is not finite is refused in the same words by all that choose or weigh choices
/// (engine/refuse_row.hpp). They throw std::invalid_argument, in the name of `op`, and name the
/// row: the first that has NaN or +inf, or nothing but -inf, which is what a forbidden category
/// has, or fewer than `least` possible ones;
void require_possible(const std::string& op, const Tensor& logits, std::size_t least = 1);
/// the first NaN among costs.
void require_numbers(const std::string& op, const Tensor& costs);

ARGTAPE_END
