// The linear system behind a doubly stochastic matrix's derivative. For the library's own .cpp
// files.
#pragma once

#include <cstddef>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Finds alpha, beta with
///     diag(P 1) alpha + P beta = r,    P^T alpha + diag(P^T 1) beta = s
/// for n by n numbers P >= 0, no row or column all 0, r and s being the sums of the rows and the
/// columns of h, each less `less`. Moving a constant from alpha to beta changes nothing: their sums
/// are made equal, so that the solution is the shortest.
///
/// With -beta for beta the matrix is the Laplacian of a graph with links P. Nodes are eliminated
/// one by one, each handing its links to its neighbours, and the diagonal is the sum of the links
/// instead of a difference (Grassmann, Taksar and Heyman, "Regenerative analysis and steady state
/// distributions for Markov chains", 1985), so that no digit is lost where P is all but a
/// permutation. Everything is in double.
void fit_marginals(std::size_t n, const Scalar* p, const Scalar* h, double less, double* alpha,
                   double* beta);

ARGTAPE_END
