#include "tests/properties/rows.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <utility>

namespace plain {

Number total(const Row& x) {
  return std::accumulate(x.begin(), x.end(), Number(), [](Number a, Number b) { return a + b; });
}
Number count(const Row& x) { return static_cast<double>(x.size()); }
Row operator+(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] + y[i];
  return x;
}
Row operator-(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] - y[i];
  return x;
}
Row operator*(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * y[i];
  return x;
}
Row operator*(Number c, Row x) {
  for (Number& v : x) v = c * v;
  return x;
}
Row operator/(Row x, Number c) {
  for (Number& v : x) v = v / c;
  return x;
}
Number dot(const Row& x, const Row& y) { return total(x * y); }

std::size_t place_of_largest(const Row& x) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (x[i].value() > x[best].value()) best = i;
  return best;
}
Row one_hot(std::size_t k, std::size_t n) {
  Row x(n);
  x[k] = 1;
  return x;
}
Row from_largest(const Row& x) {
  const Number most = x.empty() ? Number() : stop_gradient(x[place_of_largest(x)]);
  Row y;
  for (const Number& v : x) y.push_back(v - most);
  return y;
}
Number logsumexp(const Row& x) {
  Number sum;
  for (const Number& v : from_largest(x)) sum += exp(v);
  return stop_gradient(x[place_of_largest(x)]) + log(sum);
}
Row log_softmax(const Row& x) {
  const Row y = from_largest(x);
  Number sum;
  for (const Number& v : y) sum += exp(v);
  Row z;
  for (const Number& v : y) z.push_back(v - log(sum));
  return z;
}
Row softmax(const Row& x) {
  Row y = from_largest(x);
  for (Number& v : y) v = exp(v);
  return y / total(y);
}
Row jacobian(const Row& p, const Row& g) {
  const Number mean = dot(p, g);
  Row y;
  for (std::size_t i = 0; i < p.size(); ++i) y.push_back(p[i] * (g[i] - mean));
  return y;
}
Number average(const Row& x) { return total(x) / count(x); }
Number variance_of(const Row& x) {
  const Number mean = average(x);
  Number sum;
  for (const Number& v : x) sum += square(v - mean);
  return sum / count(x);
}
Number divergence(const Rows& logits) {
  const Row q = log_softmax(logits[0]), p = log_softmax(logits[1]);
  Number sum;
  for (std::size_t k = 0; k < q.size(); ++k) sum += exp(q[k]) * (q[k] - p[k]);
  return sum;
}
Number exp_concrete_log_prob(const Row& log_y, const Row& logits, Number tau) {
  const auto k = static_cast<double>(log_y.size());
  return Number(std::lgamma(k)) + Number(k - 1) * log(tau) +
         total(log_softmax(logits - tau * log_y));
}
Row conditional_gumbels(const Row& logits, std::size_t chosen, const Row& h) {
  const Row log_p = log_softmax(logits);
  Row z(h.size());
  for (std::size_t i = 0; i < z.size(); ++i)
    z[i] = i == chosen ? h[i] : h[chosen] - softplus(h[chosen] - (log_p[i] + h[i]));
  return z;
}

std::vector<std::vector<std::size_t>> subsets(std::size_t n, std::size_t k) {
  std::vector<std::vector<std::size_t>> all;
  for (std::size_t bits = 0; bits < std::size_t{1} << n; ++bits) {
    std::vector<std::size_t> set;
    for (std::size_t i = 0; i < n; ++i)
      if (bits >> i & 1U) set.push_back(i);
    if (set.size() == k) all.push_back(set);
  }
  return all;
}
Number order_probability(const Row& logits, const std::vector<std::size_t>& order) {
  Row w = from_largest(logits);
  for (Number& v : w) v = exp(v);
  Number p = 1;
  for (std::size_t i : order) {
    p = p * (w[i] / total(w));
    w[i] = 0;
  }
  return p;
}
Number set_probability(const Row& logits, std::vector<std::size_t> set) {
  Number p;
  do p += order_probability(logits, set);
  while (std::next_permutation(set.begin(), set.end()));
  return p;
}
Row relaxed_top_k(Row x, std::size_t k, double tau) {
  Row sum(x.size());
  for (std::size_t j = 0; j < k; ++j) {
    const Row p = softmax(x / tau);
    sum = sum + p;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] + log(Number(1) - p[i]);
  }
  return sum;
}

}  // namespace plain
