// The lower half of a digit from its upper half, through stochastic layers (E. Jang, S. Gu, B.
// Poole, "Categorical reparameterization with Gumbel-softmax", arXiv 1611.01144, section 4.1).
#pragma once

#include "stochastic_network.hpp"
#include "units.hpp"

ARGTAPE_PUBLIC_BEGIN

struct StructuredPredictionSettings {
  std::vector<Units> layers = {Units{20, 10}, Units{20, 10}};
  std::uint64_t seed = 1;  ///< of the weights
};

/// p(lower | upper) = E p(lower | z_L), where z_1 ~ q(z | upper), z_2 ~ q(z | z_1), ...: affine
/// maps between stochastic layers, with Glorot's uniform weights and biases of 0. The bound of m
/// samples is E -log 1/m sum p(lower | z): of one sample, it is what is trained.
class StructuredPrediction : public StochasticNetwork {
 public:
  /// For images of so many pixels, the first half of which is given. Throws std::invalid_argument
  /// unless their number is even, and for no layer.
  StructuredPrediction(std::size_t pixels, const StructuredPredictionSettings& settings = {});

  std::size_t layers() const override { return units_.size(); }
  std::vector<Var> costs(const std::vector<Var>& on_tape, Var images, LayerEstimator& estimate,
                         Rng& rng) const override;
  Var log_weights(const std::vector<Var>& on_tape, Var images, std::size_t m,
                  Rng& rng) const override;

  /// The probabilities of the lower half's pixels for m draws (m, B, pixels / 2). Their mean is the
  /// best guess.
  Var completions(const std::vector<Var>& on_tape, Var images, std::size_t m, Rng& rng) const;

 private:
  Var upper(Var images) const;
  Var lower(Var images) const;
  Var drawn_logits(const std::vector<Var>& on_tape, Var images, std::size_t m, Rng& rng) const;
  std::vector<Units> units_;
  std::size_t half_;
};

ARGTAPE_END
