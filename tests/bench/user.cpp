// A user's file, as build_cost.py compiles it: a network with a hard choice in the middle, an op
// and a rule of its own, trained and reported on.
#include <cmath>
#include <iostream>

#include <argtape/argtape.hpp>

using namespace argtape;

namespace {

// sin x, which can be differentiated again.
Var sine(Var x) {
  Tensor y = xt::sin(x.value());
  return x.tape->record("sine", {x}, y, [](BackwardContext& ctx) {
    const Var x = ctx.in(0), g = ctx.gradient();
    ctx.give(0, g * sine(x + std::acos(-1.0) / 2));
  });
}

Rule half_straight_through() {
  return pathwise_rule("half_straight_through", [](const Draw& draw, Var g) {
    const Var p = softmax(draw.logits);
    return 0.5 * (g + softmax_jacobian(p, g));
  });
}

}  // namespace

int main() {
  Rng rng(1);
  const Tensor x = rng.uniform({64, 2}, -1, 1);
  Tensor target = xt::sin(Scalar(3) * x);
  Mlp choices({2, 32, 8}, rng), outputs({8, 32, 2}, rng);
  Adam adam(1e-2);
  std::vector<Tensor> parameters = choices.parameters;
  parameters.insert(parameters.end(), outputs.parameters.begin(), outputs.parameters.end());
  double first = 0, last = 0;
  for (int step = 0; step < 200; ++step) {
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(parameters), to(p.begin(), p.begin() + 4),
                           from(p.begin() + 4, p.end());
    const Var z = argmax(choices(to, tape.borrow_constant(x)), half_straight_through());
    const Var y = sine(outputs(from, z));
    const Var loss = mean(squared_error(y, tape.borrow_constant(target)));
    adam.step(parameters, p, loss);
    last = static_cast<double>(loss.item());
    if (step == 0) first = last;
  }
  std::cout << "loss " << first << " -> " << last << "\n";
  return last < first ? 0 : 1;
}
