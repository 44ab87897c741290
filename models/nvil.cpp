#include "models/nvil.hpp"

#include <algorithm>
#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// One row for each example of the cost's shape; the network sees 0 of a forbidden category.
Tensor rows_of(const Tensor& logits, const Tensor& costs) {
  const std::size_t n = costs.size();
  Tensor rows = reshaped(logits, {n, n == 0 ? 0 : logits.size() / n});
  for (Scalar& x : rows)
    if (std::isinf(x)) x = 0;
  return rows;
}

void require_inputs(const Mlp& network, const Tensor& rows) {
  const std::size_t known = network.parameters[0].shape()[0], found = rows.shape()[1];
  require(found == known, "NvilBaseline: an example has ", found, " logits, it had ", known,
          " before; need as many");
}

}  // namespace

NvilBaseline::NvilBaseline(NvilSettings settings) : settings_(settings), adam_(settings.rate) {
  if (!(settings.decay >= 0 && settings.decay < 1))
    refuse("NvilBaseline: decay is ", settings.decay, "; need 0 <= decay < 1");
}

Tensor NvilBaseline::value(const Tensor& rows) const {
  const std::size_t n = rows.shape()[0];
  Tensor baseline = full({n}, mean_);
  if (!network_) return baseline;
  require_inputs(*network_, rows);
  Tape tape;
  std::vector<Var> weights;
  for (const Tensor& w : network_->parameters) weights.push_back(tape.borrow_constant(w));
  const Var guess = (*network_)(weights, tape.borrow_constant(rows));
  for (std::size_t i = 0; i < n; ++i) baseline.data()[i] += guess.value().data()[i];
  return baseline;
}

double NvilBaseline::scale() const {
  return settings_.normalise ? std::max(1.0, std::sqrt(variance_)) : 1;
}

std::unique_ptr<Mlp> NvilBaseline::first_network(std::size_t inputs) const {
  if (inputs == 0 || settings_.hidden == 0) return nullptr;
  Rng rng(settings_.seed);
  auto network = std::make_unique<Mlp>(std::vector<std::size_t>{inputs, settings_.hidden, 1}, rng);
  network->parameters[2].fill(0);  // so that it starts as nothing
  network->parameters[3].fill(0);
  return network;
}

void NvilBaseline::archive(Archive& a) {
  a("mean", mean_);
  a("variance", variance_);
  a("started", started_);
  std::size_t inputs = network_ ? network_->parameters[0].shape()[0] : 0;
  a("inputs", inputs);
  if (a.loading()) {
    network_ = first_network(inputs);
    adam_ = Adam(settings_.rate);
  }
  if (!network_) return;
  a("weights", network_->parameters);
  a("adam", adam_);
}

void NvilBaseline::learn(const Tensor& rows, const Tensor& costs) {
  const std::size_t n = costs.size();
  if (n == 0 || worst_of(costs) != Worst::finite) return;
  std::unique_ptr<Mlp> first = network_ ? nullptr : first_network(rows.shape()[1]);
  Mlp* const network = first ? first.get() : network_.get();
  std::vector<double> left(n);
  for (std::size_t i = 0; i < n; ++i) left[i] = static_cast<double>(costs.data()[i]);
  Tape tape;
  std::vector<Var> weights;
  Var guess;
  if (network) {
    require_inputs(*network, rows);
    weights = tape.borrow_parameters(network->parameters);
    guess = (*network)(weights, tape.borrow_constant(rows));
    for (std::size_t i = 0; i < n; ++i) left[i] -= static_cast<double>(guess.value().data()[i]);
  }
  double mean = 0, variance = 0;
  for (double x : left) mean += x / static_cast<double>(n);
  for (double x : left) variance += (x - mean) * (x - mean) / static_cast<double>(n);
  if (!std::isfinite(variance)) return;  // costs near the end of the range have squares beyond it
  if (network) {
    const Var target = tape.constant(reshaped(costs, {n, 1}));
    const Gradients gradients = backward(square(target - guess - mean_) / static_cast<double>(n));
    for (const Var& w : weights)  // and these are Scalar's
      if (worst_of(gradients[w]) != Worst::finite) return;
    adam_.step(network->parameters, weights, gradients);
  }
  if (first) network_ = std::move(first);  // from here on nothing fails
  const double keep = started_ ? settings_.decay : 0;
  mean_ = keep * mean_ + (1 - keep) * mean;
  variance_ = keep * variance_ + (1 - keep) * variance;
  started_ = true;
}

Method nvil(std::shared_ptr<NvilBaseline> state) {
  require(state != nullptr, "nvil: the state is empty; need one");
  Method method;
  method.name = "nvil";
  method.estimate = [state](Var logits, const Cost& f, Rng& rng) {
    const OneThread::Hold hold(state->one_thread_, "nvil");
    const Var z = drawn_choice(logits, rng), cost = evaluate(z, f);
    Tensor baseline = state->value(rows_of(logits.value(), cost.value()));
    const Var signal =
        (cost - logits.tape->constant(reshaped(std::move(baseline), cost.shape()), "baseline")) /
        state->scale();
    return with_gradient("nvil", cost, logits, score_gradient(signal, z, softmax(logits)));
  };
  method.learn = [state](Var estimate, Var logits) {
    const OneThread::Hold hold(state->one_thread_, "nvil");
    state->learn(rows_of(logits.value(), estimate.value()), estimate.value());
  };
  method.archive = [state](Archive& a) { a("nvil", *state); };
  return method;
}

ARGTAPE_END
