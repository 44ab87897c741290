// A variational autoencoder with categorical latents (E. Jang, S. Gu, B. Poole, "Categorical
// reparameterization with Gumbel-softmax", arXiv 1611.01144, section 4.2).
#pragma once

#include "stochastic_network.hpp"
#include "units.hpp"

ARGTAPE_PUBLIC_BEGIN

/// pixels - encoder... - latents - decoder... - pixels, relu between dense layers. The defaults are
/// those of the authors' notebook.
struct CategoricalVaeSettings {
  std::vector<std::size_t> encoder = {512, 256};
  Units latents{30, 10};
  std::vector<std::size_t> decoder = {256, 512};
  std::uint64_t seed = 1;  ///< of the weights: Glorot's uniform ones, biases 0
};

/// log p(x) >= E_q(z | x) log p(x | z) - KL(q(z | x) || p(z)), with a Bernoulli likelihood for each
/// pixel and a uniform prior, whose divergence is exact. With a soft choice in place of z it is a
/// cost to train on and no bound; log_weights() draws hard ones, w = p(x | z) p(z) / q(z | x).
class CategoricalVae : public StochasticNetwork {
 public:
  CategoricalVae(std::size_t pixels, const CategoricalVaeSettings& settings = {});

  std::size_t layers() const override { return 1; }
  std::vector<Var> costs(const std::vector<Var>& on_tape, Var images, LayerEstimator& estimate,
                         Rng& rng) const override;
  Var log_weights(const std::vector<Var>& on_tape, Var images, std::size_t m,
                  Rng& rng) const override;
  Var divergence(const std::vector<Var>& on_tape, Var images) const override;

  /// The logits of q(z | x), (B, count, categories).
  Var encoded(const std::vector<Var>& on_tape, Var images) const;
  /// The logits of p(x | z) for choices (..., count, categories): (..., pixels).
  Var decoded(const std::vector<Var>& on_tape, Var choice) const;
  const Units& latents() const { return latents_; }

 private:
  Units latents_;
  std::size_t middle_;  // the parameters before are the encoder's, the others the decoder's
};

ARGTAPE_END
