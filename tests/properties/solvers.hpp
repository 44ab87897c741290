// Assignments by trying all, and Sinkhorn's operator in plain loops.
#pragma once

#include <cmath>
#include <cstddef>

#include "tests/properties/rows.hpp"

namespace plain {

/// The best of several sums, and how far the next best is.
struct Found {
  Row hot;
  long double most = -INFINITY, margin = INFINITY;
};

/// k out of n; of equal ones the first.
Found best_subset(const Row& x, std::size_t k);
/// A column for each of n rows, by trying all orders of all columns.
Found best_matching(const Row& x, std::size_t n);
/// e^{x / tau} with its rows and then its columns divided by their sums, in logarithms.
Row sinkhorn(Row x, double tau, std::size_t n, std::size_t iterations);

/// What goes forward is `hot`, what goes back does so to x.
Row as_chosen(const Row& hot, const Row& x);

}  // namespace plain
