// One square matrix whose rows and columns are scaled in turn until they sum to one. For the
// library's own .cpp files.
//
// The matrix is e^{x - u - v} for logits x / tau and a number in u for each row, in v for each
// column. The definition in logarithms takes an exponential of every number in every half
// iteration; here it is kept as a K b with K = e^{x - u - v} fixed and factors a for rows, b for
// columns, and a half iteration is one matrix-vector product (Sinkhorn and Knopp 1967). Before a
// factor grows so far that numbers of K too small to be told from 0 could matter, the factors move
// into u and v and K is made anew (absorption: B. Schmitzer, "Stabilized sparse scaling algorithms
// for entropy regularized transport problems", 2019, section 3.2), the side in question from its
// largest number, as the definition would have it.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "../../engine/scalar.hpp"
#include "../../engine/system/memory.hpp"

ARGTAPE_PRIVATE_BEGIN

class SinkhornSolver {
 public:
  /// For n by n logits over tau. What backward() needs is kept only if asked for.
  SinkhornSolver(std::size_t n, double tau, bool remember);

  /// Rows, then columns, so many times. Logits are finite or -inf, each row and column with
  /// something finite.
  void iterate(const Scalar* logits, std::size_t iterations);
  /// Until no row sum is farther than `tolerance` from one, `most` iterations at most; how many it
  /// took. It begins at a higher temperature, where few are needed, and takes the potentials along
  /// to lower ones; a Newton step now and then, counted as one, brings down what iterations alone
  /// would take thousands for.
  std::size_t converge(const Scalar* logits, double tolerance, std::size_t most);
  /// The matrix as it stands.
  void write(Scalar* p) const;
  /// Its largest |row sum - 1| and |column sum - 1|; something not finite if it has left the range
  /// of numbers.
  double residual();
  /// After iterate(): the gradient for the logits, given the one for the matrix p. It goes back
  /// through every iteration; the sums of rows and columns are all it needs of them.
  void backward(const Scalar* p, const Scalar* g, Scalar* to);

 private:
  template <class T>
  using Array = std::vector<T, CachingAllocator<T>>;
  template <class T>
  using Pair = std::array<Array<T>, 2>;
  enum Side : std::size_t { kRows, kColumns };
  static Side other(Side side) { return side == kRows ? kColumns : kRows; }

  void read(const Scalar* logits);
  void start(double slope);
  void sum(Side side);
  void scale(Side side);
  bool invert(Side side);
  void fold(Side side);
  void absorb(Side side);
  void renew();
  double residual(Side side) const;
  void newton();
  void exponentials();

  std::size_t n_, stride_;  // rows are padded with zeros to whole registers
  const double target_;     // 1 / tau
  double slope_ = 1;        // that of the moment
  bool remember_;
  const Scalar* logits_ = nullptr;
  // One for rows and one for columns: what their sums are weighted sums of, which is K for columns
  // and its transpose for rows, with a row of zeros where n is odd; a and b; u and v.
  Pair<Scalar> k_, factors_;
  Pair<double> potentials_;
  Array<double> largest_;  // each row's largest logit, on which nothing depends, is taken off first
  Array<Scalar> sums_;

  // For backward(): after a row of ones the factors of each half iteration, and where K was made
  // anew from which u, v.
  struct Absorbed {
    std::size_t step;
    Pair<double> potentials;
  };
  Array<Scalar> history_;
  std::vector<Absorbed> absorbed_;
};

ARGTAPE_END
