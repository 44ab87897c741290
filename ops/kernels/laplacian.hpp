// Linear systems whose matrix is the Laplacian of a graph. For the library's own .cpp files.
//
// Nodes are eliminated one by one, each handing its links to its neighbours, and the diagonal is
// the sum of the links instead of a difference (Grassmann, Taksar and Heyman, "Regenerative
// analysis and steady state distributions for Markov chains", 1985), so that no digit is lost where
// some links are far weaker than others. Everything is in double.
#pragma once

#include <cstddef>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// x with sum_k w_jk (x_j - x_k) = c_j for nodes j > 0, and x_0 = 0. On entry x holds c and links[j
/// * n + k], for k < j, w_jk; they are used up. A node whose links to those before it sum to
/// `weakest` at most is cut off from them, with x_j = 0.
void solve_laplacian(std::size_t n, double* links, double weakest, double* x);

/// The system behind a doubly stochastic matrix's derivative: finds alpha, beta with
///     diag(P 1) alpha + P beta = r,    P^T alpha + diag(P^T 1) beta = s
/// for n by n numbers P >= 0, no row or column all 0, r and s being the sums of the rows and the
/// columns of h, each less `less`. With -beta for beta the matrix is a Laplacian, with links P.
/// Moving a constant from alpha to beta changes nothing; beta_0 is 0.
void fit_marginals(std::size_t n, const Scalar* p, const Scalar* h, double less, double* alpha,
                   double* beta);

ARGTAPE_END
