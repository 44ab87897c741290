#include "models/categorical_vae.hpp"

#include <cmath>

#include "models/training/layers.hpp"
#include "ops/distributions.hpp"
#include "ops/elementwise.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

std::vector<std::size_t> sizes(std::size_t from, std::vector<std::size_t> hidden, std::size_t to) {
  hidden.insert(hidden.begin(), from);
  hidden.push_back(to);
  return hidden;
}

}  // namespace

CategoricalVae::CategoricalVae(std::size_t pixels, const CategoricalVaeSettings& settings)
    : latents_(settings.latents) {
  Rng rng(settings.seed);
  Mlp encoder(sizes(pixels, settings.encoder, latents_.width()), rng, glorot_uniform()),
      decoder(sizes(latents_.width(), settings.decoder, pixels), rng, glorot_uniform());
  middle_ = encoder.parameters.size();
  parameters = std::move(encoder.parameters);
  for (Tensor& p : decoder.parameters) parameters.push_back(std::move(p));
}

Var CategoricalVae::encoded(const std::vector<Var>& on_tape, Var images) const {
  return latents_.logits(dense_layers(on_tape, 0, middle_, images));
}

Var CategoricalVae::decoded(const std::vector<Var>& on_tape, Var choice) const {
  return dense_layers(on_tape, middle_, on_tape.size(), latents_.values(choice));
}

std::vector<Var> CategoricalVae::costs(const std::vector<Var>& on_tape, Var images,
                                       LayerEstimator& estimate, Rng& rng) const {
  const Var q = encoded(on_tape, images);
  const Cost reconstruction = [&](Var z) {  // -log p(x | z)
    return sum(bce_with_logits(decoded(on_tape, z), images), -1);
  };
  return {estimate(0, q, reconstruction, rng), sum(kl_categorical_uniform(q), -1)};
}

Var CategoricalVae::log_weights(const std::vector<Var>& on_tape, Var images, std::size_t m,
                                Rng& rng) const {
  const Var q = encoded(on_tape, images), z = drawn_choice(q, rng, m);
  const Var log_likelihood = -sum(bce_with_logits(decoded(on_tape, z), images), -1),
            log_q = sum(Categorical(q).log_prob(z), -1);
  const double log_prior =
      -static_cast<double>(latents_.count) * std::log(static_cast<double>(latents_.categories));
  return log_likelihood + log_prior - log_q;
}

Var CategoricalVae::divergence(const std::vector<Var>& on_tape, Var images) const {
  return sum(kl_categorical_uniform(encoded(on_tape, images)), -1);
}

ARGTAPE_END
