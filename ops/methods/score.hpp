// Methods that multiply the score D - p of a draw with its cost less a baseline: the other draws,
// or the cost's linear expansion. The letters in the formulas are those of ops/methods/method.hpp.
#pragma once

#include "method.hpp"

ARGTAPE_PUBLIC_BEGIN

/// 1/M sum_m (f(D_m) - mean of the others) (D_m - p): leave-one-out, or RLOO (Kool, van Hoof,
/// Welling, 2019). Unbiased. M evaluations. Named as the rule that does the same at the node.
/// Throws std::invalid_argument for fewer than two samples.
Method rloo(std::size_t samples = 4);

/// (f(D) - f(p) - <f'(p), D - p>) (D - p) + J(p) f'(p): the cost's linear expansion at the mean as
/// a control variate (Gu, Levine, Sutskever, Mnih, arXiv 1511.05176). Unbiased. Two evaluations,
/// one backward pass. The estimate throws NoPath for a black box.
Method muprop();

/// The bound -log 1/M sum_m e^-f(D_m) in place of the expected cost, f being minus the logarithm of
/// an importance weight; sum_m (L - L_m) (D_m - p), where L_m is the bound with f(D_m) replaced by
/// the mean of the others (Mnih and Rezende, arXiv 1602.06725: a geometric mean of the weights).
/// Unbiased for that bound. M evaluations. Throws std::invalid_argument for fewer than two samples.
Method vimco(std::size_t samples = 4);

ARGTAPE_END
