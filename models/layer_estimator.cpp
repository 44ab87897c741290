#include "models/layer_estimator.hpp"

#include <algorithm>
#include <utility>

#include "engine/require.hpp"
#include "models/methods.hpp"
#include "ops/choice.hpp"
#include "ops/rules/names.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

bool is_rule(const std::string& name) {
  const std::vector<std::string>& rules = rule_names();
  return std::find(rules.begin(), rules.end(), name) != rules.end();
}

// Whether a point of a method's is a choice: its numbers are 0 and 1.
bool is_choice(const Tensor& point) {
  return std::all_of(point.begin(), point.end(), [](Scalar x) { return x == 0 || x == 1; });
}

}  // namespace

LayerEstimator::LayerEstimator(const std::string& name, std::size_t layers,
                               const LayerEstimatorSettings& settings)
    : samples_(settings.samples) {
  require(name != "vimco",
          "LayerEstimator: vimco estimates a bound of several samples; need a method for the "
          "expected cost");
  const Temperature tau =
      name == "straight-through" || name == "reinmax" ? Temperature(1.0) : settings.tau;
  for (std::size_t i = 0; i < layers; ++i) {
    Layer layer;
    if (is_rule(name))
      layer.rule = rule_named(name, tau);
    else
      layer.method = method_named(name, tau);
    layers_.push_back(std::move(layer));
  }
}

Var LayerEstimator::operator()(std::size_t i, Var logits, const Cost& rest, Rng& rng) {
  require(i < layers_.size(), "LayerEstimator: layer ", i, " of ", layers_.size(),
          "; need one that is there");
  Layer& layer = layers_[i];
  if (mean_field_) return rest(softmax(logits));
  if (!layer.method.estimate) {
    const Rule rule = layer.rule.at(step);
    // Behind the first layer the samples are there already.
    return i == 0 ? Method(rule, samples_)(logits, rest, rng)
                  : evaluate(sample(logits, rule, rng), rest);
  }
  const Cost watched = [&](Var z) {
    struct Pass {
      bool& mean_field;
      ~Pass() { mean_field = false; }
    } pass{mean_field_ = !is_choice(z.value())};
    return rest(z);
  };
  layer.logits = logits;
  return layer.estimate = layer.method(logits, watched, rng);
}

void LayerEstimator::archive(Archive& a) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = "layers." + std::to_string(i);
    if (layers_[i].rule.memory) a(name, *layers_[i].rule.memory);
    if (layers_[i].method.archive) a(name, layers_[i].method.archive);
  }
}

void LayerEstimator::learn() {
  for (Layer& layer : layers_) {
    const Var estimate =
        std::exchange(layer.estimate, {});  // used once: its tape may be gone later
    if (layer.method.learn && estimate.tape) layer.method.learn(estimate, layer.logits);
  }
}

ARGTAPE_END
