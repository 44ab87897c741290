// What the networks with stochastic layers have in common: costs to train on, and the bound of
// several hard samples to judge by.
#pragma once

#include <cstdint>
#include <vector>

#include "../engine/random.hpp"
#include "layer_estimator.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A network's parameters, and what it makes of images (B, pixels) with pixels 0 and 1. `on_tape`
/// are the parameters there, as tape.borrow_parameters() gives them.
class StochasticNetwork {
 public:
  virtual ~StochasticNetwork() = default;
  std::vector<Tensor> parameters;

  virtual std::size_t layers() const = 0;  ///< stochastic ones
  /// Costs whose sum over all their numbers, of all of them, estimates minus the bound of the
  /// images together, in nats. Kept apart, so that no choice is credited with what it does not do.
  virtual std::vector<Var> costs(const std::vector<Var>& on_tape, Var images,
                                 LayerEstimator& estimate, Rng& rng) const = 0;
  /// The logarithms of the importance weights of m draws, hard ones, for each image: (m, B). The
  /// mean weight estimates the likelihood without bias.
  virtual Var log_weights(const std::vector<Var>& on_tape, Var images, std::size_t m,
                          Rng& rng) const = 0;
  /// The divergence of what is drawn from its prior for each image (B,), exactly; on no tape for a
  /// network that draws from its prior.
  virtual Var divergence(const std::vector<Var>&, Var) const { return {}; }
};

/// -log 1/m sum_i w_i of each image (n,), in nats: minus the bound of m samples (Burda, Grosse,
/// Salakhutdinov, arXiv 1509.00519), which rises with m towards the likelihood. Throws
/// std::invalid_argument for m = 0.
Tensor negative_bounds(const StochasticNetwork& network, const Tensor& images, std::size_t m,
                       Rng& rng);
/// Their mean over the images, and over `repeats` estimates of each.
double negative_bound(const StochasticNetwork& network, const Tensor& images, std::size_t m,
                      Rng& rng, std::size_t repeats = 1);
/// The mean divergence; NaN if the network has none.
double mean_divergence(const StochasticNetwork& network, const Tensor& images);

ARGTAPE_END
