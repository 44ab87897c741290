#include "ops/fused.hpp"

#include <stdexcept>

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace fused {

Shape shape_of(const char* op, Inputs inputs) {
  tape_of(op, inputs);
  Shape shape = inputs[0].shape();
  for (const Var& x : inputs) shape = broadcast_shape(op, shape, x.shape());
  return shape;
}

void refuse_empty(const char* op, const Shape& shape) {
  throw std::invalid_argument(std::string(op) + ": the inputs are " + str(shape) +
                              "; need at least one number");
}

std::vector<Var> stand_ins(Arrival& at) {
  std::vector<Var> x;
  for (std::size_t i = 0; i < at.inputs(); ++i)
    x.push_back(at.out().tape->record("stand-in", {at.in(i)}, at.in(i).value(),
                                      [](Arrival& at) { at.pass(0); }));
  return x;
}

void give_derivatives(Arrival& at, Var y, const std::vector<Var>& stand_ins, double factor) {
  std::vector<Var> wanted;
  for (std::size_t i = 0; i < at.inputs(); ++i)
    if (at.wants(i)) wanted.push_back(stand_ins[i]);
  // The formula may ignore the very input that the shape comes from.
  Shape shape = y.shape();
  for (std::size_t i = 0; i < at.inputs(); ++i)
    shape = broadcast_shape("elementwise", shape, at.in(i).shape());
  if (y.shape() != shape) y = broadcast_to(y, shape);
  const Var g = factor == 1 ? at.gradient() : at.gradient() * factor;
  const std::vector<Var> slopes =
      differentiate(y, wanted, g.shape() == y.shape() ? g : broadcast_to(g, y.shape()));
  std::size_t next = 0;
  for (std::size_t i = 0; i < at.inputs(); ++i)
    if (at.wants(i)) at.give(i, slopes[next++]);
}

Slopes::Slopes(Arrival& at) : whole_(at.inputs()) {
  const Shape& shape = at.out().shape();
  for (std::size_t i = 0; i < at.inputs(); ++i) {
    if (!at.wants(i)) continue;
    if (at.in(i).shape() == shape) {
      // An input used twice has one sink, and is added to the second time.
      const auto [sink, fresh] = at.sink(i);
      to[i] = sink;
      add[i] = !fresh;
    } else {
      whole_[i] = uninitialised(shape);
      to[i] = whole_[i].data();
    }
  }
}

void Slopes::give(Arrival& at) {
  for (std::size_t i = 0; i < at.inputs(); ++i)
    if (at.wants(i) && at.in(i).shape() != at.out().shape()) at.give(i, std::move(whole_[i]));
}

}  // namespace fused
}  // namespace ARGTAPE_ABI
}  // namespace argtape
