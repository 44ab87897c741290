// Losses and divergences. Costs stay per example: none of them averages. Of two operands one must
// broadcast to the other, else they throw std::invalid_argument; one must be a Var.
#pragma once

#include <vector>

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

/// -log softmax(logits)[label]: logits (..., K), one label for each row in row-major order; gives
/// (...). Throws std::invalid_argument for a wrong number of labels or one out of 0..K-1.
Var cross_entropy(Var logits, const std::vector<std::size_t>& labels);
inline Var cross_entropy(Var logits, std::initializer_list<std::size_t> labels) {
  return cross_entropy(logits, std::vector<std::size_t>(labels));
}
/// -sum_k targets_k log softmax(logits)_k over the last axis; targets are probabilities that
/// broadcast.
Var cross_entropy(const Operand& logits, const Operand& targets);
Var cross_entropy(...) = delete;  // cross_entropy(logits, labels), or (logits, probabilities)
/// -t log s - (1 - t) log(1 - s), s = sigmoid(logits), without overflow; number by number.
Var bce_with_logits(const Operand& logits, const Operand& targets);
/// (a - b)^2, number by number.
Var squared_error(const Operand& a, const Operand& b);
/// KL(q || p) of categoricals given by their logits, over the last axis; p's logits broadcast.
Var kl_categorical(const Operand& q_logits, const Operand& p_logits);
/// KL(q || uniform) = log K - entropy of q, over the last axis.
Var kl_categorical_uniform(Var q_logits);
/// KL(N(mean, e^log_variance) || N(0, 1)), summed over the last axis (diagonal covariance).
Var kl_gaussian(const Operand& mean, const Operand& log_variance);
/// KL(N(mean_q, e^log_variance_q) || N(mean_p, e^log_variance_p)), summed over the last axis.
Var kl_gaussian(const Operand& mean_q, const Operand& log_variance_q, const Operand& mean_p,
                const Operand& log_variance_p);

ARGTAPE_END
