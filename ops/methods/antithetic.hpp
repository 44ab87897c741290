// Methods for binary variables: pairs of choices made with u and with 1 - u.
#pragma once

#include "method.hpp"

ARGTAPE_PUBLIC_BEGIN

// Below a = l_1 - l_0 is the log-odds of category 1, s the logistic function, u uniform, b = [u >
// s(-a)] and b' = [1 - u > s(-a)] the two choices; the gradient for a goes to l_1, its negative to
// l_0. Both estimates throw std::invalid_argument unless there are two categories.

/// (f(b) - f(b')) (u - 1/2) (augment-REINFORCE-merge: Yin and Zhou, arXiv 1807.11143). Unbiased.
/// Two evaluations; f may be a black box.
Method arm();

/// (f(b) - f(b')) (b - b') s(|a|) / 2: ARM with u integrated out given the two choices (DisARM:
/// Dong, Mnih, Tucker, arXiv 2006.10680; U2G: Yin, Ho, Yan, Qian, Zhou, 2020). Unbiased, and of
/// less variance. Two evaluations; f may be a black box.
Method disarm();

ARGTAPE_END
