// The rules that are exact for quadratic costs, and DARN, which is part of one of them. The letters
// in the formulas are those of ops/rules/rule.hpp.
#pragma once

#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// (D - p)(D - p)^T f': the score function with the cost's linear expansion at D as its baseline,
/// of which the correction is dropped (Gregor et al., arXiv 1310.8499, section 2.3, in its
/// categorical form). Biased beyond linear costs. The form for one binary variable, with the
/// baseline at 1/2, is zgr() for K = 2.
Rule darn();

/// [J(p) + (D - p)(D - p)^T] f' / 2: the mean of straight_through() and darn(), and the limit of
/// gumbel_rao() as tau goes to 0 (Shekhovtsov, "Cold analysis of Rao-Blackwellized straight-through
/// Gumbel-softmax gradient estimator", ICML 2023). Exact for a quadratic cost.
Rule zgr();

/// [2 J((softmax(l / tau) + D) / 2) - J(p) / 2] f' (Liu, Dong, Liu, Yu, Gao, arXiv 2304.08612,
/// algorithm 2). Exact for a quadratic cost at tau = 1, where it is ZGR (Shekhovtsov, 2023). Needs
/// tau >= 1.
Rule reinmax(Temperature tau = 1.0);

/// [(D - p) f'_D + J(p) x] / 2, where x solves the K equations sum_k w_ik (x_i - x_k) = c_i, with
/// w_ik = p_i p_k / (p_i + p_k), c_i = f'_i p_i / (p_i + p_D) for i other than D, and sum(c) = 0.
/// Of all estimators A(D) f' that are exact for every quadratic cost it has the smallest mean
/// square of A, and so the least variance for an f' without a direction (the minimum-variance
/// member; after Hooper and Shekhovtsov, AISTATS 2026). For K = 2 it is zgr(), the only one there
/// is. Costs K^3 / 3 multiplications a choice.
Rule mve();

ARGTAPE_END
