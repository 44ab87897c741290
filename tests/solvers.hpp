// Assignments by trying all, and Sinkhorn's operator in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "tests/rows.hpp"

namespace plain {

/// The best of several sums, and how far the next best is.
struct Found {
  Row hot;
  long double most = -INFINITY, margin = INFINITY;
  void offer(long double sum, const Row& candidate) {
    if (sum > most) {
      margin = sum - most;
      most = sum;
      hot = candidate;
    } else {
      margin = std::min(margin, most - sum);
    }
  }
};

/// k out of n; of equal ones the first.
inline Found best_subset(const Row& x, std::size_t k) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return x[a].value() > x[b].value(); });
  Found best;
  best.hot = Row(x.size());
  for (std::size_t i = 0; i < k; ++i) best.hot[order[i]] = 1;
  if (k > 0 && k < x.size()) best.margin = x[order[k - 1]].value() - x[order[k]].value();
  return best;
}
/// A column for each of n rows, by trying all orders of all columns.
inline Found best_matching(const Row& x, std::size_t n) {
  const std::size_t m = x.size() / n;
  std::vector<std::size_t> order(m);
  std::iota(order.begin(), order.end(), std::size_t{0});
  Found best;
  std::vector<std::size_t> last;
  do {
    const std::vector<std::size_t> columns(order.begin(),
                                           order.begin() + static_cast<std::ptrdiff_t>(n));
    if (columns == last) continue;  // the columns beyond are in another order
    last = columns;
    long double sum = 0;
    Row hot(x.size());
    for (std::size_t i = 0; i < n; ++i) {
      sum += x[i * m + columns[i]].value();
      hot[i * m + columns[i]] = 1;
    }
    best.offer(sum, hot);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}
/// e^{x / tau} with its rows and then its columns divided by their sums, in logarithms.
inline Row sinkhorn(Row x, double tau, std::size_t n, std::size_t iterations) {
  for (Number& v : x) v = v / Number(tau);
  for (std::size_t turn = 0; turn < 2 * iterations; ++turn) {
    const std::size_t step = turn % 2 == 0 ? 1 : n, other = n + 1 - step;
    for (std::size_t i = 0; i < n; ++i) {
      Row line;
      for (std::size_t j = 0; j < n; ++j) line.push_back(x[i * other + j * step]);
      const Number sum = plain::logsumexp(line);
      for (std::size_t j = 0; j < n; ++j) x[i * other + j * step] = line[j] - sum;
    }
  }
  for (Number& v : x) v = exp(v);
  return x;
}

}  // namespace plain
