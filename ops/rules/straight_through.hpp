// The zero gradient, and straight-through: D goes forward, and something smooth is differentiated.
// The letters in the formulas are those of ops/rules/rule.hpp.
#pragma once

#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

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

/// J(softmax(m / tau)) f' / tau at the logits m that D would have won with: l_D raised to the
/// largest logit, the others kept at least `gap` below it (Gapped straight-through: Fan, Chi,
/// Rudnicky, Ramadge, arXiv 2206.07235). Biased. Throws std::invalid_argument unless gap >= 0.
Rule gapped_straight_through(Temperature tau, double gap = 1.0);

ARGTAPE_END
