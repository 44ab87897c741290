#include "models/stochastic_training.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// Streams of random numbers, each for a purpose of its own.
enum : std::uint64_t { kNoise = 2, kEvaluation = 4, kFirstEpoch = 16 };

LayerEstimatorSettings estimator_settings(const StochasticTrainingSettings& settings) {
  return {settings.tau, settings.samples};
}

const StochasticNetwork& given(const std::unique_ptr<StochasticNetwork>& network) {
  require(network != nullptr, "StochasticTraining: the network is null; need one");
  return *network;
}

}  // namespace

StochasticTraining::StochasticTraining(std::unique_ptr<StochasticNetwork> network,
                                       const Split& data,
                                       const StochasticTrainingSettings& settings)
    : network_(std::move(network)),
      data_(data),
      settings_(settings),
      estimate_(settings.rule, given(network_).layers(), estimator_settings(settings)),
      adam_(settings.rate),
      noise_(settings.seed, 0, kNoise) {
  require(settings.batch > 0 && settings.batch <= data.train.size(),
          "StochasticTraining: batch is ", settings.batch, " of ", data.train.size(),
          " digits; need at least 1, and no more than there are");
  require(settings.decay > 0 && settings.decay <= 1, "StochasticTraining: decay is ",
          settings.decay, "; need more than 0, and at most 1");
  require(settings.curve > 0, "StochasticTraining: the curve has 0 places; need at least 1");
}

const std::vector<std::size_t>& StochasticTraining::rows() {
  const std::size_t in_epoch = data_.train.size() / settings_.batch, epoch = step_ / in_epoch;
  if (!batches_ || epoch_ != epoch) {
    Rng order(settings_.seed, 0, kFirstEpoch + epoch);
    batches_.emplace(data_.train.size(), settings_.batch, order);
    epoch_ = epoch;
  }
  return *(batches_->begin() + static_cast<std::ptrdiff_t>(step_ % in_epoch));
}

std::vector<Var> StochasticTraining::costs(Tape& tape, std::vector<Var>& on_tape) {
  on_tape = tape.borrow_parameters(network_->parameters);
  estimate_.step = step_;
  const Var images = tape.constant(take(data_.train, rows()).images, "images");
  std::vector<Var> costs = network_->costs(on_tape, images, estimate_, noise_);
  for (Var& cost : costs) cost = cost / static_cast<double>(settings_.batch);
  return costs;
}

bool StochasticTraining::mark_due() const {
  const std::size_t every = std::max<std::size_t>(1, settings_.steps / settings_.curve);
  return step_ > 0 && step_ % every == 0 && (curve_.steps.empty() || curve_.steps.back() != step_);
}

void StochasticTraining::step() { mark_due() ? mark() : train(); }

void StochasticTraining::train() {
  const auto begin = std::chrono::steady_clock::now();
  {
    Tape tape;
    std::vector<Var> on_tape;
    const std::vector<Var> all = costs(tape, on_tape);
    estimate_.learn();
    adam_.rate = settings_.rate * std::pow(settings_.decay, static_cast<double>(step_ / 1000));
    adam_.step(network_->parameters, on_tape, all);
  }
  ++step_;
  seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void StochasticTraining::mark() {
  const Tensor images = rows_from(data_.test, 0, settings_.curve_size).images;
  Rng rng(settings_.seed, 0, kEvaluation);
  curve_.steps.push_back(step_);
  curve_.seconds.push_back(seconds_);
  curve_.bound.push_back(negative_bound(*network_, images, settings_.curve_m, rng));
}

void StochasticTraining::archive(Archive& a) {
  a("parameters", network_->parameters);
  a("adam", adam_);
  a("estimator", estimate_);
  a("noise", noise_);
  a("step", step_);
  a("seconds", seconds_);
  a("curve steps", curve_.steps);
  a("curve seconds", curve_.seconds);
  a("curve bound", curve_.bound);
}

ARGTAPE_END
