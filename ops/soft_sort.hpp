// Sorting made soft by scores alone, without a matching.
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

// Both take scores s (..., n) and give P (..., n, n) as ops/matching.hpp has it, place 0 being that
// of the smallest: each column j is a softmax over the items i, so columns sum to one and rows need
// not. As tau goes to 0 it goes to the permutation that sorts. A number added to all scores changes
// nothing. Both throw std::invalid_argument for no scores, scores that are not finite, naming the
// row, and tau outside [1e-20, 1e20].

/// Column j is softmax_i(((2j + 1 - n) s_i - sum_k |s_i - s_k|) / tau), with j from 0: NeuralSort
/// (A. Grover, E. Wang, A. Zweig, S. Ermon, arXiv 1903.08850, equation 5, with places reversed).
/// Throws also for scores so far apart that this leaves the range of numbers.
Var neural_sort(Var scores, double tau);

/// Column j is softmax_i(-|s_i - s_(j)| / tau), where s_(j) is the j-th smallest score: SoftSort
/// (S. Prillo, J. Eisenschlos, arXiv 2006.16038, equation 3, with places reversed).
Var soft_sort(Var scores, double tau);

ARGTAPE_END
