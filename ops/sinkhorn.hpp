// The Sinkhorn operator: a matrix of logits made doubly stochastic, i.e. with rows and columns that
// sum to one. As tau goes to 0 it goes to the best matching.
#pragma once

#include <string>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// What sinkhorn() gives: the matrices, and how far it got. It serves as the Var of the matrices.
struct Sinkhorn {
  Var matrices;                ///< (..., n, n), each row a soft choice of a column
  double residual = 0;         ///< the largest |row sum - 1| or |column sum - 1| in the batch
  std::size_t iterations = 0;  ///< the most that a matrix of the batch took
  double tau = 0;              ///< as given
  double tolerance = 0;        ///< as given; 0 where the number of iterations was

  operator Var() const { return matrices; }
  /// Empty if all is well. Otherwise, where the tolerance was not reached or a sum is off by more
  /// than 0.05, a sentence saying so and what helps. The library prints nothing itself: early in
  /// training, or at a low tau with few iterations, this may be what the caller wants, at every
  /// step.
  std::string warning() const;
};

/// e^{logits / tau} with its rows and then its columns divided by their sums, `iterations` times,
/// for each n by n matrix of (..., n, n); computed so that neither large logits nor a low tau
/// overflows or underflows (R. Sinkhorn and P. Knopp, 1967; as an operator in networks: G. Mena, D.
/// Belanger, S. Linderman and J. Snoek, "Learning Latent Permutations with Gumbel-Sinkhorn
/// Networks", arXiv 1802.08665). Columns sum to one, rows only as nearly as `residual` says. The
/// gradient goes back through every iteration; none is kept for it, they are done again.
///
/// Logits of -inf forbid a pair: it stays 0. Throws std::invalid_argument for matrices that are not
/// square or are empty, NaN or +inf, forbidden pairs that leave no matching, tau outside [1e-20,
/// 1e20], no iterations, and logits / tau that leave the range of double.
Sinkhorn sinkhorn(Var logits, double tau, std::size_t iterations);

/// Until when: until no row or column sum of a matrix is farther from one than `tolerance`, for
/// each matrix by itself, or `most` iterations.
struct Converge {
  double tolerance = 1e-3;
  std::size_t most = 10000;
};

/// The matrix to which the iterations lead. They are helped: by higher temperatures to begin with,
/// and by Newton steps on the potentials, each counted as one iteration, where iterations alone
/// would take thousands. The gradient is that of the limit, by implicit differentiation,
/// whatever was done to get there: exact as far as the residual is 0. It takes about n^3
/// operations. Throws also for a tolerance below what Scalar can tell (4e-6 in float, 7e-15 in
/// double) or of 1 and more.
Sinkhorn sinkhorn(Var logits, double tau, Converge until);

/// How far matrices (..., n, m) are from doubly stochastic: the largest |row sum - 1| or |column
/// sum - 1|; NaN where a matrix has NaN. Throws std::invalid_argument for fewer than two axes.
double residual(const Tensor& matrices);

ARGTAPE_END
