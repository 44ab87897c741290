// The rules that solve argmax, or a matching, again in their backward: blackbox differentiation,
// perturbed optimisers, I-MLE. The letters in the formulas are those of ops/rules/rule.hpp. What is
// solved again is solved for logits less the largest of their row (and then of their column, in a
// square matching), on which no solution depends: in float a large offset would swallow the step,
// or the noise. What is forbidden gets no gradient.
#pragma once

#include <cstdint>

#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// (D - argmax(x - lambda f')) / lambda, where x is what D is the argmax of: l, or l + g for a
/// drawn choice. The slope of a piecewise linear interpolation of the solver (Vlastelica, Paulus,
/// Musil, Martius, Rolinek, arXiv 1912.02175, algorithm 1, where the solver minimises). Biased. One
/// more call of the solver. Throws std::invalid_argument unless lambda > 0, and neither it nor 1 /
/// lambda is out of Scalar's range; its sweep does where x - lambda f' has NaN, +inf or nothing
/// possible, as does i_mle()'s.
Rule blackbox(double lambda = 1.0);

/// sum_j h(g_j) <argmax(l + tau g_j) - D, f'> / (n tau) over n fresh Gumbel noises g_j, where
/// h(g) = 1 - e^-g is the slope of their log density (perturbed optimisers: Berthet et al., arXiv
/// 2002.08676, D standing in as a control variate). Given D its mean is straight_through(tau). Not
/// of zero sum. n more calls of the solver. The noise is made as in gumbel_rao(), from the logits
/// where the choice was not drawn.
Rule perturbed(Temperature tau = 1.0, std::size_t draws = 10, std::uint64_t seed = 0);

/// The mean over `draws` Gumbel noises g_j of (argmax(l + g_j) - argmax(l + g_j - lambda f')) /
/// lambda (implicit maximum likelihood: Niepert, Minervini, Franceschi, arXiv 2106.01798; of a
/// one-hot choice their sum-of-gamma noise is Gumbel noise). The first noise is the node's own:
/// with one draw it is blackbox(). Biased. 2 draws - 1 more calls of the solver. Only for drawn
/// choices.
Rule i_mle(double lambda = 1.0, std::size_t draws = 1, std::uint64_t seed = 0);

ARGTAPE_END
