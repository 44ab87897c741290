// Small training steps, as many as are asked for, and the memory that they leave resident:
//   endurance STEPS
// Prints it after the second thousand and at ten places more. The status is 1 if it grew by more
// than 64 KiB.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

#include "models/argtape.hpp"

using namespace argtape;

namespace {

// Of this process, in KiB: not the pages of files, which the system takes and gives back.
std::size_t resident() {
  std::ifstream file("/proc/self/smaps_rollup");
  std::size_t size = 0;
  for (std::string word; file >> word;)
    if (word == "Anonymous:") file >> size;
  return size;
}

// Each step is another one: all choices, and most of the rules behind them.
Var loss(const std::vector<Var>& w, Rng& rng, std::size_t step) {
  const auto rule = [&](const std::vector<std::string>& names) {
    return names[step % names.size()];
  };
  Tape& tape = *w[0].tape;
  switch (step % 5) {
    case 0: {
      const Var h = tanh(dense(tape.constant(rng.normal({4, 3})), w[0], w[1]));
      return cross_entropy(h, {0, 1, 2, 0});
    }
    case 1:
      return sum(square(sample(w[0], rule_named(rule(rule_names())), rng) - w[0]), -1);
    case 2: {
      const Var l = broadcast(w[0], {2, 3, 3});
      return sum(l * sample_matching(l, matching_rule_named(rule(matching_rule_names())), rng),
                 {-2, -1});
    }
    case 3: {
      const Var one = argmax(w[1], straight_through());
      return sum(select(one, w[0],
                        {[](Var x) { return x; }, [](Var x) { return tanh(x); },
                         [](Var x) { return softmax(x); }}));
    }
    default: {
      const Var y = sum(elementwise([](auto a) { return a * sigmoid(a); }, w[0]) *
                        top_k(w[0], 2, straight_through()));
      return y + sum(square(differentiate(y, w[1])[0])) + sum(square(differentiate(y, w[0])[0]));
    }
  }
}

}  // namespace

int main(int, char** argv) {
  const std::size_t steps = std::strtoull(argv[1], nullptr, 10), kFirst = 2000, kMore = 64;
  Rng rng(1);
  std::vector<Tensor> parameters = {rng.normal({3, 3}), rng.normal({3})};
  Adam adam(1e-3);
  std::size_t first = 0, last = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    if (step == kFirst) first = resident();
    if (step == kFirst || (step > kFirst && step % std::max(steps / 10, kFirst) == 0))
      std::cout << step << " steps: " << resident() << " KiB" << std::endl;
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(parameters);
    const Var cost = loss(w, rng, step);
    if (step % 2)
      adam.step(parameters, w, cost);
    else
      adam.step(parameters, w, backward(cost));
  }
  last = resident();
  std::cout << steps << " steps: " << last << " KiB\n";
  return last > first + kMore ? 1 : 0;
}
