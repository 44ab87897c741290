// The private door into the sweep, for the maps that are so cheap that a node and a tensor for each
// gradient would cost more than the gradient itself: the linear ones of engine/broadcast.cpp and
// those number by number of ops/kernels/elementwise_kernel.cpp, op by op or as a formula. No other
// op may use it: what is behind it depends on how the sweep stores what it gathers.
#pragma once

#include "../backward_context.hpp"
#include "../gradient_store.hpp"
#include "append.hpp"

ARGTAPE_PRIVATE_BEGIN

struct SweepDoor {
  /// Tape::record() with the value as make() returns it, computed where it will stand.
  template <class Make>
  static Var record(Tape& tape, const Op& op, const Inputs& inputs, const Make& make,
                    Backward backward) {
    return tape.append(op, inputs, make, std::move(backward));
  }

  /// Whether the gradients given will be differentiated themselves. If not:
  static bool recorded(const BackwardContext& ctx) { return ctx.store_->recorded(); }
  static const Node& node(const BackwardContext& ctx) { return *ctx.node_; }
  /// The node's gradient, where there is one, as there always is unless the op needs costs; in a
  /// shape that broadcasts to the node's: where it is the same all along an axis, as below a sum,
  /// it may be kept once.
  static const Tensor& unexpanded(const BackwardContext& ctx) {
    return ctx.store_->gathered(ctx.index_);
  }
  /// Where input i's gradient is gathered, of the input's shape; it is to be written if `fresh`,
  /// else added to.
  struct Sink {
    Scalar* data;
    bool fresh;
  };
  static Sink sink(BackwardContext& ctx, std::size_t i) {
    if (ctx.node_->wants_costs) hand_on_paths(ctx, i);
    bool fresh;
    Tensor& t = ctx.store_->open(ctx.node_->inputs[i], fresh);
    return {t.data(), fresh};
  }

  /// The node's own gradient for input i, in either kind of sweep: in the input's shape, where that
  /// has as many numbers, else stretched over the input, as below a sum. It is kept small until
  /// somebody asks for all of it.
  static void pass(BackwardContext& ctx, std::size_t i);

 private:
  static void hand_on_paths(BackwardContext& ctx, std::size_t i);
};

ARGTAPE_END
