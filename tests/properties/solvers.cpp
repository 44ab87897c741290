#include "tests/properties/solvers.hpp"

#include <algorithm>
#include <numeric>

namespace plain {

Found best_subset(const Row& x, std::size_t k) {
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
Found best_matching(const Row& x, std::size_t n) {
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
    best.margin = sum > best.most ? sum - best.most : std::min(best.margin, best.most - sum);
    if (sum > best.most) best.most = sum, best.hot = hot;
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}
Row sinkhorn(Row x, double tau, std::size_t n, std::size_t iterations) {
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

Row as_chosen(const Row& hot, const Row& x) {
  Row y = hot;
  for (std::size_t i = 0; i < y.size(); ++i) y[i].d = x[i].d;
  return y;
}

}  // namespace plain
