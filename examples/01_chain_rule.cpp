// The chain rule, twice, and the one operation that has none. Its numbers stand in the README.
#include <iostream>

#include <argtape/argtape.hpp>
#include "examples/common/program.hpp"

using namespace argtape;

int main(int argc, char** argv) {
  argtape_examples::Program program("01_chain_rule",
                                    "the chain rule, twice, and the one operation that has none");
  return program.run(argc, argv, [&] {
    set_threads(program.threads);
    // README begins
    Tape tape;
    Var x = tape.parameter(Tensor{0.5, 2.0, -1.0}, "x");
    Var y = sum(x * tanh(x));               // every operation is recorded
    Var slope = differentiate(y, x)[0];     // a gradient is a value on the tape ...
    Var bend = differentiate(slope, x)[0];  // ... so it has a gradient itself
    std::cout << "y " << y << "\ndy/dx " << slope << "\nd2y/dx2 " << bend << "\n";

    Var prices = tape.constant(Tensor{3.0, 1.0, 2.0});
    Var cut = sum(prices * argmax(x, zero()));  // argmax has no derivative: say what to do
    Var passed = sum(prices * argmax(x, straight_through()));
    std::cout << "argmax, zero " << backward(cut)[x] << "\n";
    std::cout << "straight-through " << backward(passed)[x] << "\n" << stop_report(cut, x);
    // README ends
    program.explain(
        "y is the sum of x tanh x, so each slope is tanh x + x / cosh^2 x. A gradient that is "
        "recorded has a "
        "gradient itself: the third line. argmax has none: under the zero rule nothing passes, and "
        "the last "
        "line says where it was cut; straight-through passes back what the softmax of x would "
        "have, which "
        "is an answer, though not argmax's derivative.");
    const auto figures = [&](const std::string& name, const Tensor& value) {
      for (std::size_t i = 0; i < value.size(); ++i)
        program.figure(value.size() == 1 ? name : name + " " + std::to_string(i),
                       static_cast<double>(value.data()[i]));
    };
    figures("y", y.value()), figures("dy/dx", slope.value()), figures("d2y/dx2", bend.value());
    figures("argmax, zero", backward(cut)[x]), figures("straight-through", backward(passed)[x]);
  });
}
