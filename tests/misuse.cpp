// What no message can refuse: uses of what is gone. Run under the address sanitizer, which must
// stop each (tests/run --all); `misuse none` does the same within its life, and must not be
// stopped. Where nothing is stopped it ends well, whatever was read.
#include <argtape/argtape.hpp>
#include <memory>
#include <string>

using namespace argtape;

namespace {

// A sum of squares of what is read where it stands.
Var recorded(Tape& tape, const std::vector<Tensor>& model) {
  return sum(square(tape.borrow_parameters(model)[0]));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "none";
  auto tape = std::make_unique<Tape>();
  auto model = std::make_unique<std::vector<Tensor>>(1, full({1000}, 2));
  const Var y = recorded(*tape, *model);
  Gradients kept = backward(y);
  const Tensor& gradient = kept[tape->var(0)];
  if (what == "model") model.reset();           // a borrowed model that died before the last sweep
  if (what == "gradients") kept = Gradients();  // a reference into Gradients that are gone
  if (what == "tape") tape.reset();             // a Var whose tape is gone
  const bool right = backward(y)[y.tape->var(0)] == full({1000}, 4) && gradient.data()[0] == 4;
  return right || what != "none" ? 0 : 1;
}
