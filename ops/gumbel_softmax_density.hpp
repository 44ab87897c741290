// The density of what a soft rule sends forward: the Gumbel-softmax, or concrete, distribution.
#pragma once

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

/// log of (K-1)! tau^(K-1) (sum_i p_i / y_i^tau)^-K prod_i p_i / y_i^(tau + 1), the density of
/// y = softmax((l + g) / tau) over the first K-1 numbers of y, where p = softmax(l) and g is Gumbel
/// noise (Jang, Gu, Poole, arXiv 1611.01144, appendix B; Maddison, Mnih, Teh, arXiv 1611.00712).
/// Points (..., K) and logits that broadcast to one shape; tau is one number; gives (...). It is
/// differentiable in all three, in y as the formula stands, for any positive numbers.
/// Throws std::invalid_argument unless each y is more than 0 and each row sums to 1 (give or take
/// 0.01), the logits are finite, and tau > 0. Near a corner y rounds to 0: use the form below.
Var gumbel_softmax_log_prob(Var y, Var logits, const Operand& tau);

/// The same distribution seen through log y = log_softmax((l + g) / tau), of which every number is
/// finite: log of (K-1)! tau^(K-1) prod_i q_i, where q = softmax(l - tau log y). It is the density
/// of y times prod_i y_i (ExpConcrete in arXiv 1611.00712). Throws likewise.
Var exp_concrete_log_prob(Var log_y, Var logits, const Operand& tau);

ARGTAPE_END
