// Training of a network with stochastic layers on black and white digits, a step at a time, so that
// it can be stopped, saved and gone on with to the same bits.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../ops/temperature.hpp"
#include "data/data.hpp"
#include "stochastic_network.hpp"
#include "training/optimisers.hpp"

ARGTAPE_PUBLIC_BEGIN

struct StochasticTrainingSettings {
  std::string rule = "gumbel-softmax";  ///< of rule_names(), or of method_names()
  std::size_t steps = 5000, batch = 100;
  double rate = 1e-3;             ///< of Adam at the start
  double decay = 1;               ///< the rate is multiplied by it each 1,000 steps
  Temperature tau = 1.0;          ///< see LayerEstimatorSettings
  std::size_t samples = 2;        ///< see LayerEstimatorSettings
  std::size_t curve = 20;         ///< places of the training curve
  std::size_t curve_m = 1;        ///< samples of its bound,
  std::size_t curve_size = 1000;  ///< on so many test digits at most
  std::uint64_t seed = 1;
};

/// How the bound of hard samples on test digits came on: after so many steps, and the seconds they
/// took.
struct BoundCurve {
  std::vector<std::size_t> steps;
  std::vector<double> seconds, bound;
};

/// Adam on minus the bound of one sample, batch by batch. Batches are a function of the seed and
/// the step: every rule sees the same ones.
class StochasticTraining {
 public:
  /// `data` must outlive it. Throws std::invalid_argument for an unknown rule, and for settings or
  /// data that do not fit.
  StochasticTraining(std::unique_ptr<StochasticNetwork> network, const Split& data,
                     const StochasticTrainingSettings& settings);

  bool done() const { return step_ >= settings_.steps && !mark_due(); }
  std::size_t steps_done() const { return step_; }
  /// Whether the next step() looks at the bound, for the curve, instead of training.
  bool mark_due() const;
  /// One step of training, or the next place of the curve. Throws what the rule throws, and what
  /// Adam does where training diverges. After anything that it throws the state is no good: it is
  /// loaded from an archive of before.
  void step();
  /// The next step's costs, recorded; nothing is changed but the noise's place.
  std::vector<Var> costs(Tape& tape, std::vector<Var>& on_tape);
  void archive(Archive& a);

  const StochasticNetwork& network() const { return *network_; }
  const BoundCurve& curve() const { return curve_; }

 private:
  const std::vector<std::size_t>& rows();
  void train();
  void mark();

  std::unique_ptr<StochasticNetwork> network_;
  const Split& data_;
  StochasticTrainingSettings settings_;
  LayerEstimator estimate_;
  Adam adam_;
  Rng noise_;
  std::size_t step_ = 0;
  double seconds_ = 0;
  BoundCurve curve_;
  std::optional<Batches> batches_;  // of the epoch below
  std::size_t epoch_ = 0;
};

ARGTAPE_END
