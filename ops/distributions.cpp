#include "ops/distributions.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/gumbel_softmax_density.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

Categorical::Categorical(Var logits) : logits_(logits) {
  const Shape& shape = logits.shape();
  require(!shape.empty() && shape.back() > 0, "Categorical: logits are ", shape,
          "; need (..., K) with at least one category");
}

Categorical Categorical::from_probabilities(Var p) {
  const Categorical result(log(p));
  const Tensor& t = p.value();
  const std::size_t k = p.shape().back();
  double total = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    const double x = static_cast<double>(t.data()[i]);
    require(x >= 0, "Categorical: probabilities have ", x, " in row ", i / k, "; need at least 0");
    total = (i % k ? total : 0) + x;
    require((i + 1) % k || std::abs(total - 1) <= 0.01, "Categorical: probabilities sum to ", total,
            " in row ", i / k, "; need 1, or logits");
  }
  return result;
}

Var Categorical::sample(const Rule& rule, Rng& rng) const {
  return argtape::sample(logits_, rule, rng);
}

Var Categorical::log_prob(Var x) const { return -cross_entropy(logits_, x); }

Var Categorical::log_prob(const std::vector<std::size_t>& labels) const {
  return -cross_entropy(logits_, labels);
}

Var Categorical::entropy() const {
  return std::log(static_cast<double>(logits_.shape().back())) - kl_categorical_uniform(logits_);
}

Var Categorical::kl(const Categorical& p) const { return kl_categorical(logits_, p.logits_); }

Bernoulli::Bernoulli(Var logits)
    : pair_(stack({logits.tape->constant(zeros(logits.shape())), logits}, -1)) {}

Bernoulli Bernoulli::from_probabilities(Var p) {
  for (Scalar x : p.value())
    require(x >= 0 && x <= 1, "Bernoulli: probabilities have ", static_cast<double>(x),
            "; need 0 to 1");
  return Bernoulli(Categorical(stack({log(1 - p), log(p)}, -1)));
}

Var Bernoulli::sample(const Rule& rule, Rng& rng) const {
  return squeeze(slice(pair_.sample(rule, rng), 1, 2, -1), -1);
}

Var Bernoulli::log_prob(Var x) const { return pair_.log_prob(stack({1 - x, x}, -1)); }

Var RelaxedCategorical::sample(Rng& rng) const {
  return argtape::sample(logits_, gumbel_softmax(tau_), rng);
}

Var RelaxedCategorical::log_prob(Var y) const { return gumbel_softmax_log_prob(y, logits_, tau_); }

Normal::Normal(Var mean, Var std) : mean_(mean), std_(std) {
  tape_of("Normal", {mean, std});
  shape_ = broadcast_shape("Normal", mean.shape(), std.shape());
  for (Scalar x : std.value())
    require(x > 0 && std::isfinite(x), "Normal: std has ", static_cast<double>(x),
            "; need finite numbers above 0");
}

Var Normal::sample(Rng& rng) const {
  return mean_ + std_ * mean_.tape->constant(rng.normal(shape_), "noise");
}

namespace {
const double kLogRootTwoPi = std::log(8 * std::atan(1.0)) / 2;

// The logarithm of the variance, and anything else, as rows of one number: divergences are summed
// over the last axis.
Var alone(Var x) { return expand_dims(x, -1); }
Var log_variance(Var std) { return alone(2 * log(std)); }
}  // namespace

Var Normal::log_prob(Var x) const {
  return -0.5 * square((x - mean_) / std_) - log(std_) - kLogRootTwoPi;
}

Var Normal::entropy() const { return broadcast(0.5 + kLogRootTwoPi + log(std_), shape_); }

Var Normal::kl(const Normal& p) const {
  return kl_gaussian(alone(mean_), log_variance(std_), alone(p.mean_), log_variance(p.std_));
}

ARGTAPE_END
