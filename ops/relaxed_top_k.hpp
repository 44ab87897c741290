// Top-k made soft.
#pragma once

#include <cstddef>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// S_k(x, tau) = p_1 + ... + p_k with p_j = softmax(a_j / tau), a_1 = x and a_(j+1) = a_j + log(1 -
/// p_j), over the last axis: k choices one after the other, each soft, and each making what it took
/// less likely (S. Xie and S. Ermon, "Reparameterizable subset sampling via continuous
/// relaxations", arXiv 1901.10517). It sums to k; for k = 1 it is softmax(x / tau), and as tau goes
/// to 0 the k-hot top-k of x. A number may come out above 1, where k is nearly all there are. log(1
/// - p) keeps its digits where p rounds to 1, and with it the derivatives, of any order, at low
/// temperatures; but where numbers are nearer to one another than tau a slope can be as large as
/// tau^-k. A number added to all of x changes nothing: each is taken from the largest, and of
/// numbers so far below it that float cannot tell them apart there, 1 from 2 at 1e8, the
/// differences are lost.
/// Throws std::invalid_argument for a row with NaN or +inf, or with fewer than k numbers other than
/// -inf, for k = 0 and for tau outside of 1e-20 ... 1e20.
Var relaxed_top_k(Var x, std::size_t k, double tau);

ARGTAPE_END
