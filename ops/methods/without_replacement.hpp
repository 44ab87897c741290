// Methods that never evaluate the same choice of an example twice: all choices, or some of them.
// The letters in the formulas are those of ops/methods/method.hpp.
#pragma once

#include "method.hpp"

ARGTAPE_PUBLIC_BEGIN

/// expectation() as a method: all combinations, no noise; for k > 1 of subsets.
Method enumeration(std::size_t k = 1);

// An example's choices count together, as one among all their combinations; with so many that
// kMostCombinations is exceeded the estimates throw std::invalid_argument. If there are no more
// combinations than asked for, these give the exact gradient. f may be a black box. The weights of
// the choices are constants where an estimate is differentiated again.

/// sum_{c in C} p_c f(c) (c - p) + (1 - p_C) f(D) (D - p), where C are the k likeliest combinations
/// and D is drawn from the others (Liu, Regier, Tripuraneni, Jordan, McAuliffe, arXiv 1810.04777).
/// Unbiased. k + 1 evaluations. Throws std::invalid_argument for k = 0.
Method sum_and_sample(std::size_t k = 2);

/// sum_{s in S} p(s) R(S, s) (f(s) - sum_{s' in S} p(s') R_s(S, s') f(s')) (s - p), where S are k
/// choices drawn without replacement, R(S, s) the probability of the set S given that s came first,
/// over its probability, R_s the same in the domain without s, and R_s(S, s) = 1 (the unordered set
/// estimator with its built-in baseline: Kool, van Hoof, Welling, arXiv 2002.06043).
/// Unbiased. k evaluations. Throws std::invalid_argument unless 1 <= k <= 12: it sums over subsets.
Method unordered_set(std::size_t k = 3);

ARGTAPE_END
