// What definitions in plain loops say again and again, of one row of numbers.
#pragma once

#include <cmath>
#include <numeric>
#include <vector>

#include "tests/definition.hpp"

namespace plain {

inline Number total(const Row& x) {
  return std::accumulate(x.begin(), x.end(), Number(), [](Number a, Number b) { return a + b; });
}
inline Number count(const Row& x) { return static_cast<double>(x.size()); }
inline Row operator+(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] + y[i];
  return x;
}
inline Row operator-(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] - y[i];
  return x;
}
inline Row operator*(Row x, const Row& y) {
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] * y[i];
  return x;
}
inline Row operator*(Number c, Row x) {
  for (Number& v : x) v = c * v;
  return x;
}
inline Row operator/(Row x, Number c) {
  for (Number& v : x) v = v / c;
  return x;
}
inline Number dot(const Row& x, const Row& y) { return total(x * y); }

/// The first of the largest.
inline std::size_t place_of_largest(const Row& x) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < x.size(); ++i)
    if (x[i].value() > x[best].value()) best = i;
  return best;
}
inline Row one_hot(std::size_t k, std::size_t n) {
  Row x(n);
  x[k] = 1;
  return x;
}
/// x less its largest number as a constant, so that nothing overflows.
inline Row from_largest(const Row& x) {
  const Number most = x.empty() ? Number() : stop_gradient(x[place_of_largest(x)]);
  Row y;
  for (const Number& v : x) y.push_back(v - most);
  return y;
}
inline Number logsumexp(const Row& x) {
  Number sum;
  for (const Number& v : from_largest(x)) sum += exp(v);
  return stop_gradient(x[place_of_largest(x)]) + log(sum);
}
inline Row log_softmax(const Row& x) {
  const Row y = from_largest(x);
  Number sum;
  for (const Number& v : y) sum += exp(v);
  Row z;
  for (const Number& v : y) z.push_back(v - log(sum));
  return z;
}
inline Row softmax(const Row& x) {
  Row y = from_largest(x);
  for (Number& v : y) v = exp(v);
  return y / total(y);
}
/// J(p) g.
inline Row jacobian(const Row& p, const Row& g) {
  const Number mean = dot(p, g);
  Row y;
  for (std::size_t i = 0; i < p.size(); ++i) y.push_back(p[i] * (g[i] - mean));
  return y;
}
/// x log y, of which a probability of 0 makes 0.
inline Number x_log(Number x, Number log_y) {
  return x.value() == 0 && x.d.v == 0 ? Number() : x * log_y;
}

/// All subsets of k out of n, each by its places in rising order.
inline std::vector<std::vector<std::size_t>> subsets(std::size_t n, std::size_t k) {
  std::vector<std::vector<std::size_t>> all;
  for (std::size_t bits = 0; bits < std::size_t{1} << n; ++bits) {
    std::vector<std::size_t> set;
    for (std::size_t i = 0; i < n; ++i)
      if (bits >> i & 1U) set.push_back(i);
    if (set.size() == k) all.push_back(set);
  }
  return all;
}
/// How likely an order is: each place from what is left.
inline Number order_probability(const Row& logits, const std::vector<std::size_t>& order) {
  Row w = from_largest(logits);
  for (Number& v : w) v = exp(v);
  Number p = 1;
  for (std::size_t i : order) {
    p = p * (w[i] / total(w));
    w[i] = 0;
  }
  return p;
}
/// How likely a set is: the sum over its orders.
inline Number set_probability(const Row& logits, std::vector<std::size_t> set) {
  Number p;
  do p += order_probability(logits, set);
  while (std::next_permutation(set.begin(), set.end()));
  return p;
}
/// S_k(x, tau) of ops/relaxed_top_k.hpp.
inline Row relaxed_top_k(Row x, std::size_t k, double tau) {
  Row sum(x.size());
  for (std::size_t j = 0; j < k; ++j) {
    const Row p = softmax(x / tau);
    sum = sum + p;
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = x[i] + log(Number(1) - p[i]);
  }
  return sum;
}

}  // namespace plain
