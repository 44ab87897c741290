// What tests/tensor_files.py has read by Python's readers, and reads of their writers:
//   tensor_files write FILE    a training and some arrays
//   tensor_files read FILE     every array as a line: its name, its shape and its numbers
#include <iostream>
#include <map>

#include "models/argtape.hpp"

using namespace argtape;

namespace {

void write(const std::string& path) {
  std::map<std::string, Tensor> arrays = {{"ramp", tensor({2, 3}, {-1, -0.5, 0, 0.5, 1, 1.5})},
                                          {"number", tensor({}, {0.25})},
                                          {"none", zeros({0, 4})},
                                          {"\xc3\xa4 \"quoted\"", tensor({1}, {2})}};
  Rng rng(3, 5, 7);
  std::size_t step = 12;
  int below = -3;
  bool yes = true;
  double x = 0.1;
  std::string text = "words";
  Mlp model({2, 3}, rng);
  Adam adam(1e-2);
  rng = Rng(3, 5, 7);
  Tape tape;
  const std::vector<Var> on_tape = tape.borrow_parameters(model.parameters);
  adam.step(model.parameters, on_tape, sum(model(on_tape, tape.constant(ones({4, 2})))));
  save(path, [&](Archive& a) {
    a("arrays", arrays);
    a("rng", rng), a("step", step), a("below", below), a("yes", yes), a("x", x), a("text", text);
    a("model", model), a("adam", adam);
  });
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc == 3 ? argv[1] : "";
  try {
    if (what == "write") {
      write(argv[2]);
    } else if (what == "read") {
      std::map<std::string, Tensor> arrays;
      load(argv[2], arrays);
      for (const auto& [name, t] : arrays)
        std::cout << name << " " << str(t.shape()) << " " << str(t, 9) << "\n";
    } else {
      std::cerr << "need write or read, and a file\n";
      return 2;
    }
  } catch (const std::exception& error) {
    std::cout << error.what() << "\n";
    return 1;
  }
}
