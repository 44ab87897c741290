// Subsets as choices: the k largest of n, a node without a derivative, and k drawn without
// replacement. As argmax (ops/choice.hpp) it takes the rule that stands in for one, and there is no
// default.
#pragma once

#include <cstddef>
#include <vector>

#include "../engine/random.hpp"
#include "../engine/tape.hpp"
#include "rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// k-hot along the axis: 1 at the k largest, else 0 (for a soft rule, its relaxation); on ties the
/// first. -inf means forbidden.
///
/// Rules: zero(), straight_through_identity(), score_function(), blackbox(), perturbed() and
/// i_mle(), as for one category; and straight_through(), annealed_straight_through(),
/// gumbel_softmax() and st_gumbel_softmax(), which put S_k of ops/relaxed_top_k.hpp where a choice
/// has its softmax (the exact probabilities of being chosen are sums over subsets: it stands for
/// them at the price of k softmaxes). With k = 1 each is what argmax makes of it. With k = 0 and k
/// = n there is nothing to choose, and nothing goes back whatever the rule.
///
/// Throws std::invalid_argument for k > n, a row with NaN or +inf or with fewer than k categories
/// that are possible, naming it, and what argmax() throws for.
Var top_k(Var logits, std::size_t k, const Rule& rule, int axis = -1);

/// The k largest of logits + Gumbel noise: k categories drawn one after the other without
/// replacement, each with probability softmax(logits) among those that are left (Gumbel top-k: W.
/// Kool, H. van Hoof, M. Welling, arXiv 1903.06059; the model is Plackett's and Luce's).
/// score_function() takes the score of the set, top_k_log_prob()'s gradient: costs know no order,
/// and so it is the mean of the scores of all orders, of less variance than the one drawn. For k >
/// kMostUnordered, where that costs too much, it is the drawn order's own score. Unbiased, both.
Var sample_top_k(Var logits, std::size_t k, const Rule& rule, Rng& rng, int axis = -1);
/// The same with the noise given, as sample() has it.
Var sample_top_k(Var logits, std::size_t k, const Rule& rule, Var noise, int axis = -1);

// The logarithms of how likely such a draw is, for logits (..., n): one number for each row. A
// forbidden category among those chosen makes it -inf. Differentiable in the logits, to any order.

/// The largest k for which all orders of a set are gone through: 2^k sums.
constexpr std::size_t kMostUnordered = 12;

/// Of a set, k-hot (..., n), in whatever order: a recursion over its subsets in which nothing is
/// subtracted, so that no digits are lost. Throws std::invalid_argument for another shape, rows
/// that are not k-hot with the same k, and k > kMostUnordered.
Var top_k_log_prob(Var logits, Var subset);

/// Of an order: for each row the k places, from the first drawn to the last. Throws
/// std::invalid_argument for a place out of range or twice in a row, and for places that are not
/// equally many for each row.
Var plackett_luce_log_prob(Var logits, const std::vector<std::size_t>& order);

ARGTAPE_END
