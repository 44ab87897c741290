// The lower half of a digit from its upper half, through two layers of stochastic units, under
// every rule and method.
#include <algorithm>

#include <argtape/argtape.hpp>
#include "examples/common/stochastic_study.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

constexpr char kName[] = "11_structured_prediction";

// What was given, what was drawn, and the mean of many draws.
std::vector<Strip> strips(const StochasticNetwork& network, const Dataset& digits, Rng& rng) {
  const std::size_t pixels = digits.images.shape()[1];
  const Tensor images = rows_from(digits, 0, 10).images;
  const auto completed = [&](std::size_t m) {
    Tape tape;
    std::vector<Var> weights;
    for (const Tensor& p : network.parameters) weights.push_back(tape.borrow_constant(p));
    const Var given = tape.borrow_constant(images);
    const Var lower =
        dynamic_cast<const StructuredPrediction&>(network).completions(weights, given, m, rng);
    return concatenate({slice(given, 0, pixels / 2, -1), mean(lower, 0)}, -1).value();
  };
  return {{"digits", images}, {"one draw", completed(1)}, {"mean of 200", completed(200)}};
}

}  // namespace

int main(int argc, char** argv) {
  Program program(kName,
                  "the lower half of a digit from its upper half, through stochastic layers");
  Grid grid(program);
  StochasticStudy study(program, grid);
  std::vector<std::string> names;
  const std::vector<std::string> all = {"categorical", "binary"};
  grid.list("--networks", names, all, "which networks");
  return program.run(argc, argv, [&] {
    const Dataset digits = study.digits();
    const Split data = split(digits, default_train_size(digits));
    const std::size_t pixels = digits.images.shape()[1];
    const std::string half = std::to_string(pixels / 2);
    StudyPlan plan;
    plan.key = "structured_prediction";
    plan.quantity = "-log p(lower half)";
    plan.chosen = names;
    for (const std::string& name : all) {
      const Units units = name == "binary" ? Units{200, 2} : Units{20, 10};
      const std::string layer = name == "binary" ? "-200" : "-(20x10)";
      plan.networks.push_back({name, half + layer + layer + "-" + half, [=](std::uint64_t seed) {
                                 return std::make_unique<StructuredPrediction>(
                                     pixels, StructuredPredictionSettings{{units, units}, seed});
                               }});
    }
    plan.training.rate = 3e-3;
    plan.training.steps = grid.steps(6000, 60);
    plan.training.curve = std::min<std::size_t>(30, plan.training.steps);
    plan.training.curve_m = 10;
    plan.tau_rate = 1e-4;
    plan.tau_every = 500;
    plan.strips = strips;
    study.run(plan, data, kName);
  });
}
