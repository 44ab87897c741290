// A variational autoencoder whose code is made of choices, under every rule and method.
#include <algorithm>

#include <argtape/argtape.hpp>
#include "examples/common/stochastic_study.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

constexpr char kName[] = "12_categorical_vae";

// pixels-(count x categories)-200-pixels and the like, by their names. Those of K categories share
// 240 bits, as Concrete's and Gumbel-Rao's experiments do.
CategoricalVaeSettings network_named(const std::string& name) {
  if (name == "notebook") return {};
  if (name == "binary") return {{}, {200, 2}, {}, 1};
  if (name == "4-ary") return {{}, {120, 4}, {200}, 1};
  if (name == "8-ary") return {{}, {80, 8}, {200}, 1};
  if (name == "16-ary") return {{}, {60, 16}, {200}, 1};
  return {{}, {20, 10}, {200}, 1};
}

std::string layers_of(const CategoricalVaeSettings& s, std::size_t pixels) {
  std::string all = std::to_string(pixels);
  for (std::size_t n : s.encoder) all += "-" + std::to_string(n);
  all += s.latents.categories == 2 ? "-" + std::to_string(s.latents.count)
                                   : "-(" + std::to_string(s.latents.count) + "x" +
                                         std::to_string(s.latents.categories) + ")";
  for (std::size_t n : s.decoder) all += "-" + std::to_string(n);
  return all + "-" + std::to_string(pixels);
}

// Digits, what comes back through their codes, and what comes from codes of the prior.
std::vector<Strip> strips(const StochasticNetwork& network, const Dataset& digits, Rng& rng) {
  const auto& vae = dynamic_cast<const CategoricalVae&>(network);
  const Tensor images = rows_from(digits, 0, 10).images;
  Tape tape;
  std::vector<Var> weights;
  for (const Tensor& p : network.parameters) weights.push_back(tape.borrow_constant(p));
  const auto decoded = [&](Var logits) {
    return sigmoid(vae.decoded(weights, drawn_choice(logits, rng))).value();
  };
  const Var q = vae.encoded(weights, tape.borrow_constant(images));
  const Tensor back = decoded(q), prior = decoded(tape.constant(zeros(q.shape())));
  return {{"digits", images}, {"reconstructed", back}, {"from the prior", prior}};
}

}  // namespace

int main(int argc, char** argv) {
  Program program(kName, "an autoencoder whose code is made of choices");
  Grid grid(program);
  StochasticStudy study(program, grid);
  std::vector<std::string> names = {"notebook", "categorical", "binary"};
  const std::vector<std::string> all = {"notebook", "categorical", "binary",
                                        "4-ary",    "8-ary",       "16-ary"};
  grid.list("--networks", names, all, "which networks");
  return program.run(argc, argv, [&] {
    const Dataset digits = study.digits();
    const Split data = split(digits, default_train_size(digits));
    const std::size_t pixels = digits.images.shape()[1];
    StudyPlan plan;
    plan.key = "categorical_vae";
    plan.quantity = "-bound";
    plan.chosen = names;
    for (const std::string& name : all)
      plan.networks.push_back(
          {name, layers_of(network_named(name), pixels), [=](std::uint64_t seed) {
             CategoricalVaeSettings settings = network_named(name);
             settings.seed = seed;
             return std::make_unique<CategoricalVae>(pixels, settings);
           }});
    plan.training.decay = 0.9;
    plan.training.steps = grid.steps(5000, 40);
    plan.training.curve = std::min<std::size_t>(25, plan.training.steps);
    plan.tau_rate = 3e-5;
    plan.tau_every = 1000;
    plan.test_100 = 500;
    plan.strips = strips;
    study.run(plan, data, kName);
  });
}
