// Permutations as choices: the best matching of items to places, a node without a derivative. As
// argmax (ops/choice.hpp) it takes the rule that stands in for one, and there is no default.
//
// What P does, here and everywhere: P is (..., n, m), and P_ij = 1 means that item i goes to place
// j. So P^T x has at place j the item that belongs there, and P y gives item i what stands at its
// place.
#pragma once

#include "../engine/random.hpp"
#include "../engine/tape.hpp"
#include "rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// M(X): the P, each row one-hot and no column used twice, with the largest sum of P_ij X_ij, by
/// the Hungarian method (ops/hungarian.hpp); for a soft rule, its relaxation. Logits X are (..., n,
/// m) with n <= m; square, P is a permutation. -inf forbids a pair.
///
/// Rules: zero(), straight_through_identity(), score_function(), blackbox(), perturbed() and
/// i_mle(), which ask only for another matching, or for none; and those of
/// ops/rules/gumbel_sinkhorn.hpp, which put Sinkhorn's operator where a choice has its softmax.
/// Throws std::invalid_argument for other shapes, NaN and +inf, forbidden pairs that leave no
/// matching, and what argmax() throws for.
Var matching(Var logits, const Rule& rule);

/// M(X + G), with Gumbel noise at every number: the Gumbel-matching distribution, to which
/// Gumbel-Sinkhorn leads as tau goes to 0 (G. Mena, D. Belanger, S. Linderman and J. Snoek, arXiv
/// 1802.08665, section 4). It has no density in closed form. score_function() takes that of the
/// noisy logits, of which P is a function: f(P) (1 - e^-G), unbiased, of more variance than P's
/// own score would have.
Var sample_matching(Var logits, const Rule& rule, Rng& rng);
/// The same with the noise given, as sample() has it (ops/choice.hpp).
Var sample_matching(Var logits, const Rule& rule, Var noise);

/// P^T x: the items (..., n, d) at their places (..., m, d). Leading axes broadcast.
Var permute(Var p, Var items);
/// P y: for each item (..., n, d) what stands at its place in y (..., m, d).
Var unpermute(Var p, Var places);

ARGTAPE_END
