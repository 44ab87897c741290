// Distributions as small values, in the words of torch.distributions. Each is what its parameters
// say, on their tape; sample(), log_prob(), entropy() and kl() record ops. Discrete ones take the
// rule that stands behind their draw (ops/rules/rule.hpp). A number or a tensor beside a Var is a
// constant. Two of them, or one and x, broadcast;
// what does not fit throws std::invalid_argument, and so do other numbers of categories.
#pragma once

#include <vector>

#include "../engine/random.hpp"
#include "../engine/tape.hpp"
#include "operand.hpp"
#include "rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// One of K categories, as one-hot (..., K): softmax(logits). -inf forbids a category: it adds
/// nothing to entropy and divergence, and gets no gradient.
class Categorical {
 public:
  /// Throws std::invalid_argument unless logits are (..., K), K at least 1, and for a row with NaN
  /// or +inf, or with nothing but -inf.
  explicit Categorical(Var logits) : Categorical("Categorical", logits) {}
  /// From probabilities (..., K), 0 allowed: p over its sum. A probability of 0 gets a gradient
  /// where there is a finite one: of log_prob(), and of what p is to kl(); its logarithm is
  /// infinite, which tape.detect_anomaly refuses. Throws
  /// std::invalid_argument for a row with a number below 0 or NaN, or that does not sum to 1 (give
  /// or take 0.01).
  static Categorical from_probabilities(Var p);

  Var sample(const Rule& rule, Rng& rng) const;
  /// sum_k x_k log p_k for one-hot or relaxed x (..., K), or log p_k for a label of each row.
  Var log_prob(const Operand& x) const;
  Var log_prob(const std::vector<std::size_t>& labels) const;
  Var log_prob(std::initializer_list<std::size_t> labels) const {
    return log_prob(std::vector<std::size_t>(labels));
  }
  Var entropy() const;
  /// KL(this || p), infinite where p forbids what this does not.
  Var kl(const Categorical& p) const;
  Var logits() const { return logits_; }

 private:
  friend class Bernoulli;
  Categorical(const char* op, Var logits, Var log_p = {});
  Var log_p() const;
  Var logits_, log_p_;  // empty: those of the logits
};

/// 1 with probability sigmoid(logits), else 0, number by number: the choice between two categories
/// with logits 0 and l, so that every rule for choices applies.
class Bernoulli {
 public:
  /// Throws std::invalid_argument for NaN and +inf.
  explicit Bernoulli(Var logits);
  /// From probabilities, 0 and 1 allowed (see there). Throws std::invalid_argument for others than
  /// 0 to 1.
  static Bernoulli from_probabilities(Var p);

  Var sample(const Rule& rule, Rng& rng) const;
  /// x log p + (1 - x) log(1 - p).
  Var log_prob(const Operand& x) const;
  Var entropy() const { return pair_.entropy(); }
  Var kl(const Bernoulli& p) const;

 private:
  explicit Bernoulli(const Categorical& pair) : pair_(pair) {}
  Shape shape() const;
  Categorical pair_;  // 0 or 1
};

/// softmax((logits + Gumbel noise) / tau), on the simplex: what gumbel_softmax() sends forward. Its
/// entropy and divergence have no closed form.
class RelaxedCategorical {
 public:
  /// Throws std::invalid_argument, as the ops do, when it is used: for tau <= 0, ...
  RelaxedCategorical(Var logits, double tau) : logits_(logits), tau_(tau) {}

  /// Differentiable in the logits, by its own derivative.
  Var sample(Rng& rng) const;
  /// gumbel_softmax_log_prob() of ops/gumbel_softmax_density.hpp, where there is one for log y too:
  /// at a low temperature samples round to the corners, where y has none.
  Var log_prob(const Operand& y) const;

 private:
  Var logits_;
  double tau_;
};

/// The normal distribution, number by number; mean and standard deviation broadcast.
class Normal {
 public:
  /// Throws std::invalid_argument for a standard deviation that is not above 0 and finite.
  Normal(const Operand& mean, const Operand& std);

  /// mean + std * noise, differentiable in both (torch: rsample).
  Var sample(Rng& rng) const;
  Var log_prob(const Operand& x) const;
  Var entropy() const;
  Var kl(const Normal& p) const;

 private:
  Var mean_, std_;
  Shape shape_;
};

ARGTAPE_END
