// The choices: argmax, argmin and sample, nodes without a derivative. Each takes the rule that
// stands in for it (ops/rules/rule.hpp), and there is no default: the reader must say what is to
// happen.
#pragma once

#include "../engine/random.hpp"
#include "../engine/tape.hpp"
#include "rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// One-hot at the largest element along the axis (for a soft rule, its relaxation); on ties the
/// first. -inf means forbidden. Throws std::invalid_argument for a row with NaN or +inf or with
/// nothing but -inf, naming it, an axis that is empty or out of range, a rule that needs a drawn
/// choice, or a rule whose temperature is a schedule (say rule.at(step)).
Var argmax(Var logits, const Rule& rule, int axis = -1);
Var argmax(...) = delete;  // argmax(x, straight_through()): say what passes back, or rule_named("")

/// One-hot at the smallest element: argmax of the negatives.
Var argmin(Var costs, const Rule& rule, int axis = -1);
Var argmin(...) = delete;  // argmin(x, straight_through()): say what passes back, or rule_named("")

/// One-hot at k with probability softmax(logits)_k: argmax of logits + Gumbel noise (the Gumbel-max
/// trick). The noise is drawn once and kept on the tape, as the node's second input. Throws as
/// argmax does.
Var sample(Var logits, const Rule& rule, Rng& rng, int axis = -1);

/// The same with the noise given, so that several rules see the same draw. `noise` has the logits'
/// shape, and is finite. If it wants a gradient, it gets the logits' where the rule differentiates
/// l + g (Rule::differentiates_noise), none behind zero(), and is refused behind any other rule.
Var sample(Var logits, const Rule& rule, Var noise, int axis = -1);
Var sample(...) = delete;  // sample(x, gumbel_softmax(), rng): say what passes back, and draw

/// The index of the 1 in each row of a hard choice (..., K): a choice as labels, for take() or a
/// table. Of a subset (ops/top_k.hpp) the k indices of each row, rising. Throws
/// std::invalid_argument for a row that is not hard, or has another number of ones.
std::vector<std::size_t> indices_of(Var choice, std::size_t k = 1);

/// The noise that a sample along the last axis was drawn with, or a subset (ops/top_k.hpp), or a
/// matching (ops/matching.hpp). Throws std::invalid_argument for any other Var.
Var noise_of(Var sampled);

ARGTAPE_END
