#include "models/structured_prediction.hpp"

#include "engine/require.hpp"
#include "models/training/layers.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN

StructuredPrediction::StructuredPrediction(std::size_t pixels,
                                           const StructuredPredictionSettings& settings)
    : units_(settings.layers), half_(pixels / 2) {
  require(pixels > 0 && pixels % 2 == 0, "StructuredPrediction: ", pixels,
          " pixels; need two halves");
  require(!units_.empty(), "StructuredPrediction: no stochastic layer; need at least one");
  Rng rng(settings.seed);
  std::size_t from = half_;
  const auto affine = [&, start = glorot_uniform()](std::size_t to) {
    parameters.push_back(start.weights(from, to, rng));
    parameters.push_back(start.bias(from, to, rng));
    from = to;
  };
  for (const Units& units : units_) affine(units.width());
  affine(half_);
}

Var StructuredPrediction::upper(Var images) const { return slice(images, 0, half_, -1); }
Var StructuredPrediction::lower(Var images) const { return slice(images, half_, 2 * half_, -1); }

std::vector<Var> StructuredPrediction::costs(const std::vector<Var>& on_tape, Var images,
                                             LayerEstimator& estimate, Rng& rng) const {
  const Var y = lower(images);
  std::function<Var(std::size_t, Var)> behind = [&](std::size_t i, Var h) {
    const Var l = dense(h, on_tape[2 * i], on_tape[2 * i + 1]);
    if (i == units_.size()) return sum(bce_with_logits(l, y), -1);  // -log p(y | z_L)
    return estimate(
        i, units_[i].logits(l), [&](Var z) { return behind(i + 1, units_[i].values(z)); }, rng);
  };
  return {behind(0, upper(images))};
}

Var StructuredPrediction::drawn_logits(const std::vector<Var>& on_tape, Var images, std::size_t m,
                                       Rng& rng) const {
  Var h = upper(images);
  for (std::size_t i = 0; i < units_.size(); ++i) {
    const Var l = units_[i].logits(dense(h, on_tape[2 * i], on_tape[2 * i + 1]));
    h = units_[i].values(drawn_choice(l, rng, i == 0 ? m : 0));  // m draws, then one of each
  }
  return dense(h, on_tape[2 * units_.size()], on_tape[2 * units_.size() + 1]);
}

Var StructuredPrediction::log_weights(const std::vector<Var>& on_tape, Var images, std::size_t m,
                                      Rng& rng) const {
  return -sum(bce_with_logits(drawn_logits(on_tape, images, m, rng), lower(images)), -1);
}

Var StructuredPrediction::completions(const std::vector<Var>& on_tape, Var images, std::size_t m,
                                      Rng& rng) const {
  return sigmoid(drawn_logits(on_tape, images, m, rng));
}

ARGTAPE_END
