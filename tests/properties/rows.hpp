// What definitions in plain loops say again and again, of one row of numbers.
#pragma once

#include <vector>

#include "tests/properties/number.hpp"

namespace plain {

using Row = std::vector<Number>;
using Rows = std::vector<Row>;

Number total(const Row& x);
Number count(const Row& x);
Row operator+(Row x, const Row& y);
Row operator-(Row x, const Row& y);
Row operator*(Row x, const Row& y);
Row operator*(Number c, Row x);
Row operator/(Row x, Number c);
Number dot(const Row& x, const Row& y);

/// The first of the largest.
std::size_t place_of_largest(const Row& x);
Row one_hot(std::size_t k, std::size_t n);
/// x less its largest number as a constant, so that nothing overflows.
Row from_largest(const Row& x);
Number logsumexp(const Row& x);
Row log_softmax(const Row& x);
Row softmax(const Row& x);
/// J(p) g.
Row jacobian(const Row& p, const Row& g);
Number average(const Row& x);
/// The mean of (x - mean)^2.
Number variance_of(const Row& x);
/// KL of two categoricals, given by their logits.
Number divergence(const Rows& logits);
/// log of (K-1)! tau^(K-1) prod softmax(l - tau log y).
Number exp_concrete_log_prob(const Row& log_y, const Row& logits, Number tau);
/// Gumbel noise given that `chosen` won with it, from fresh noise h: ops/gumbel_posterior.hpp.
Row conditional_gumbels(const Row& logits, std::size_t chosen, const Row& h);

/// All subsets of k out of n, each by its places in rising order.
std::vector<std::vector<std::size_t>> subsets(std::size_t n, std::size_t k);
/// How likely an order is: each place from what is left.
Number order_probability(const Row& logits, const std::vector<std::size_t>& order);
/// How likely a set is: the sum over its orders.
Number set_probability(const Row& logits, std::vector<std::size_t> set);
/// S_k(x, tau) of ops/relaxed_top_k.hpp.
Row relaxed_top_k(Row x, std::size_t k, double tau);

}  // namespace plain
