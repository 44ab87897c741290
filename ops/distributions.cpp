#include "ops/distributions.hpp"

#include <cmath>
#include <limits>

#include "engine/require.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/gumbel_softmax_density.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace {

// One-hot at the most likely category.
Var most_likely(Var logits) {
  return argmax(logits.tape->borrow_constant(logits.value(), "logits"), zero());
}

// log softmax(logits), to the last digits also where a probability rounds to 1.
Var log_probabilities(Var logits) {
  const Var first = most_likely(logits),
            x = where(first, 0.0, logits - sum(where(first, logits, 0.0), -1, keep_axes));
  return x - log1p(sum(where(first, 0.0, exp(x)), -1, keep_axes));
}

// The shape of weights and log-probabilities together.
Shape categories(const char* op, Var weight, Var log_p) {
  const Shape &w = weight.shape(), &p = log_p.shape(), both = broadcast_shape(op, w, p);
  require(!w.empty() && w.back() == p.back(), op, ": categories are ", w, " and ", p,
          "; need (..., K), with the same K");
  return both;
}

}  // namespace

// Where log p is given its slope at p = 0, infinite in what is made of the logits, is left out.
Categorical::Categorical(const char* op, Var logits, Var log_p)
    : logits_(log_p.tape ? where(is_possible(logits), logits, kMinusInf) : logits), log_p_(log_p) {
  const Shape& shape = logits.shape();
  require(!shape.empty() && shape.back() > 0, op, ": logits are ", shape,
          "; need (..., K) with at least one category");
  require_possible(op, logits.value());
}

Categorical Categorical::from_probabilities(Var p) {
  const Var log_p = log(p), total = sum(p, -1, keep_axes);
  const Tensor &each = p.value(), &sums = total.value();
  for (std::size_t i = 0; i < each.size(); ++i)
    require(each.data()[i] >= 0, "Categorical: probabilities have ",
            static_cast<double>(each.data()[i]), " in row ", i / p.shape().back(),
            "; need at least 0");
  for (std::size_t r = 0; r < sums.size(); ++r)
    require(std::abs(sums.data()[r] - 1) <= 0.01, "Categorical: probabilities sum to ",
            static_cast<double>(sums.data()[r]), " in row ", r, "; need 1, or logits");
  return Categorical("Categorical", log_p, log_p - log(total));
}

Var Categorical::sample(const Rule& rule, Rng& rng) const {
  return argtape::sample(logits_, rule, rng);
}

Var Categorical::log_p() const { return log_p_.tape ? log_p_ : log_probabilities(logits_); }

Var Categorical::log_prob(const Operand& at) const {
  const Var x = together("log_prob", logits_, at)[1];
  return expected_log("log_prob", broadcast(x, categories("log_prob", x, logits_)), log_p());
}

Var Categorical::log_prob(const std::vector<std::size_t>& labels) const {
  const Shape& shape = logits_.shape();
  const std::size_t k = shape.back(), rows = logits_.value().size() / k;
  require(labels.size() == rows, "log_prob: labels are ", labels.size(), ", logits are ", shape,
          "; need one label for each row");
  std::vector<std::size_t> places(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    require(labels[r] < k, "log_prob: label ", labels[r], " in row ", r, "; need less than ", k);
    places[r] = r * k + labels[r];
  }
  return gather(log_p(), places, Shape(shape.begin(), shape.end() - 1));
}

Var Categorical::entropy() const {
  return -expected_log("entropy", softmax(logits_), log_probabilities(logits_));
}

// A number c taken off each row of log p/q changes nothing but that: weights add up to 1. With that
// of the most likely category, whose weight may round to 1, no digit of the gradient is lost.
Var Categorical::kl(const Categorical& p) const {
  categories("kl", logits_, p.logits_);
  const Var log_p = p.log_p(), q = softmax(logits_), possible = is_possible(logits_),
            ratio = where(possible, log_p, 0.0) - where(possible, log_probabilities(logits_), 0.0),
            at_most_likely = sum(where(most_likely(q), stop_gradient(ratio), 0.0), -1, keep_axes),
            c = where(at_most_likely > kMinusInf, at_most_likely, 0.0);
  return -expected_log("kl", broadcast(q, ratio.shape()), ratio - c) - squeeze(c, -1);
}

Bernoulli::Bernoulli(Var logits)
    : pair_("Bernoulli", stack({logits.tape->constant(zeros(logits.shape())), logits}, -1),
            stack({-softplus(logits), -softplus(-logits)}, -1)) {}

Bernoulli Bernoulli::from_probabilities(Var p) {
  for (Scalar x : p.value())
    require(x >= 0 && x <= 1, "Bernoulli: probabilities have ",
            str(static_cast<double>(x), std::numeric_limits<Scalar>::max_digits10),
            "; need 0 to 1");
  const Var log_p = stack({log1p(-p), log(p)}, -1);
  return Bernoulli(Categorical("Bernoulli", log_p, log_p));
}

Var Bernoulli::sample(const Rule& rule, Rng& rng) const {
  return squeeze(slice(pair_.sample(rule, rng), 1, 2, -1), -1);
}

Var Bernoulli::log_prob(const Operand& at) const {
  const Var x = together("log_prob", pair_.logits(), at)[1];
  broadcast_shape("log_prob", x.shape(), shape());
  return pair_.log_prob(stack({1 - x, x}, -1));
}

Var Bernoulli::kl(const Bernoulli& p) const {
  broadcast_shape("kl", shape(), p.shape());
  return pair_.kl(p.pair_);
}

Shape Bernoulli::shape() const {
  const Var logits = pair_.logits();
  const Shape& pairs = logits.shape();
  return Shape(pairs.begin(), pairs.end() - 1);
}

Var RelaxedCategorical::sample(Rng& rng) const {
  return argtape::sample(logits_, gumbel_softmax(tau_), rng);
}

Var RelaxedCategorical::log_prob(const Operand& y) const {
  return gumbel_softmax_log_prob(together("log_prob", logits_, y)[1], logits_, tau_);
}

Normal::Normal(const Operand& mean, const Operand& std) {
  const auto both = together("Normal", mean, std);
  mean_ = both[0], std_ = both[1];
  shape_ = broadcast_shape("Normal", mean_.shape(), std_.shape());
  for (Scalar x : std_.value())
    require(x > 0 && std::isfinite(x), "Normal: std has ", static_cast<double>(x),
            "; need finite numbers above 0");
}

Var Normal::sample(Rng& rng) const {
  return mean_ + std_ * mean_.tape->constant(rng.normal(shape_), "noise");
}

static const double kLogRootTwoPi = std::log(8 * std::atan(1.0)) / 2;

Var Normal::log_prob(const Operand& at) const {
  const Var x = together("log_prob", mean_, at)[1];
  broadcast_shape("log_prob", x.shape(), shape_);
  return -0.5 * square((x - mean_) / std_) - log(std_) - kLogRootTwoPi;
}

Var Normal::entropy() const { return broadcast(0.5 + kLogRootTwoPi + log(std_), shape_); }

Var Normal::kl(const Normal& p) const {
  const Var wider = log(std_) - log(p.std_);  // their quotient may be out of range
  return 0.5 * (expm1(2 * wider) + square((mean_ - p.mean_) / p.std_)) - wider;
}

ARGTAPE_END
