#include "ops/formula.hpp"

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

std::vector<Var> stand_ins(BackwardContext& ctx) {
  std::vector<Var> x;
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    x.push_back(ctx.out().tape->record("stand-in", {ctx.in(i)}, ctx.in(i).value(),
                                       [](BackwardContext& ctx) { ctx.pass(0); }));
  return x;
}

void give_derivatives(BackwardContext& ctx, Var y, const std::vector<Var>& stand_ins,
                      double factor) {
  std::vector<Var> wanted;
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    if (ctx.wants(i)) wanted.push_back(stand_ins[i]);
  // The formula may ignore the very input that the shape comes from.
  Shape shape = y.shape();
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    shape = broadcast_shape("elementwise", shape, ctx.in(i).shape());
  if (y.shape() != shape) y = broadcast_to(y, shape);
  const Var g = factor == 1 ? ctx.gradient() : ctx.gradient() * factor;
  const std::vector<Var> slopes =
      differentiate(y, wanted, g.shape() == y.shape() ? g : broadcast_to(g, y.shape()));
  std::size_t next = 0;
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    if (ctx.wants(i)) ctx.give(i, slopes[next++]);
}

Slopes::Slopes(BackwardContext& ctx) : whole_(ctx.inputs()) {
  const Shape& shape = ctx.out().shape();
  for (std::size_t i = 0; i < ctx.inputs(); ++i) {
    if (!ctx.wants(i)) continue;
    if (ctx.in(i).shape() == shape) {
      // An input used twice has one sink, and is added to the second time.
      const auto [sink, fresh] = ctx.sink(i);
      to[i] = sink;
      add[i] = !fresh;
    } else {
      whole_[i] = uninitialised(shape);
      to[i] = whole_[i].data();
    }
  }
}

void Slopes::give(BackwardContext& ctx) {
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    if (ctx.wants(i) && ctx.in(i).shape() != ctx.out().shape()) ctx.give(i, std::move(whole_[i]));
}

}  // namespace fused
}  // namespace ARGTAPE_ABI
}  // namespace argtape
