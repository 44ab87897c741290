// What stands at the stochastic layers of a network, one behind the other: a rule or a method, by
// its name, with a state of its own for each layer where it learns.
#pragma once

#include <string>
#include <vector>

#include "../ops/methods/method.hpp"
#include "../ops/temperature.hpp"
#include "training/archive.hpp"

ARGTAPE_PUBLIC_BEGIN

struct LayerEstimatorSettings {
  /// straight-through and reinmax stay at 1: the former's annealing is a rule of its own, the
  /// latter needs at least 1. Of rebar and relax it is the first temperature.
  Temperature tau = 1.0;
  std::size_t samples = 2;  ///< draws of the whole network, for a rule that needs several
};

/// With several layers the cost of a choice is what the layers behind it make of it, estimates
/// themselves:
///
///     cost = layer(0, logits, [&](Var z) {
///       return layer(1, logits_of(z), [&](Var z) { return -log p(y | z); }, rng); }, rng);
///
/// A rule draws each layer once, or with leave-one-out the whole network `samples` times; a method
/// of two evaluations a layer (disarm) makes 2^layers of them. muprop, rebar and relax also ask for
/// the cost of a point between the choices: there the layers behind are taken at their means, the
/// mean-field pass of arXiv 1511.05176. A control variate may be any function, so that biases
/// nothing.
class LayerEstimator {
 public:
  /// Throws std::invalid_argument for an unknown name, and for vimco, which estimates another
  /// objective.
  LayerEstimator(const std::string& name, std::size_t layers,
                 const LayerEstimatorSettings& settings = {});

  /// An estimate of E rest(z), z drawn from softmax(logits) at the layer: one number for each
  /// example, or with several samples their costs (samples, ...) divided by their number. Throws
  /// what the rule or the method throws.
  Var operator()(std::size_t layer, Var logits, const Cost& rest, Rng& rng);

  /// The step of training, for a temperature that is a schedule.
  std::size_t step = 0;
  /// Teaches what learns (nvil, rebar, relax) from the estimates since the last call. Before the
  /// tape's last sweep.
  void learn();
  /// What has been learned.
  void archive(Archive& a);

 private:
  struct Layer {
    Method method;
    Rule rule;  // in place of the method, if it is a rule's
    Var estimate, logits;
  };
  std::vector<Layer> layers_;
  std::size_t samples_;
  bool mean_field_ = false;  // in a pass between the choices
};

ARGTAPE_END
