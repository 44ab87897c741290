// The private door into the sweep, for the maps that are so cheap that a node and a tensor for each
// gradient would cost more than the gradient itself: the linear ones of engine/broadcast.cpp and
// those number by number of ops/kernels/elementwise_kernel.cpp, op by op or as a formula. No other op may use it: what is
// behind it depends on how the sweep stores what it gathers.
#pragma once

#include "../backward_context.hpp"

ARGTAPE_PRIVATE_BEGIN

struct SweepDoor {
  /// Tape::record() with the value as make() returns it, computed where it will stand.
  class Value {
   public:
    template <class Make>
    Value(const Make& make)
        : call_([](const void* make) { return (*static_cast<const Make*>(make))(); }),
          make_(&make) {}
    Tensor operator()() const { return call_(make_); }

   private:
    Tensor (*call_)(const void* make);
    const void* make_;
  };
  static Var record(Tape& tape, const Op& op, const Inputs& inputs, const Value& value,
                    Backward backward);

  /// Whether the gradients given will be differentiated themselves. If not:
  static bool recorded(const BackwardContext& ctx);
  static const Node& node(const BackwardContext& ctx);
  /// The node's gradient in a shape that broadcasts to the node's: where it is the same all along
  /// an axis, as below a sum, it may be kept once.
  static const Tensor& unexpanded(const BackwardContext& ctx);
  /// Where input i's gradient is gathered, of the input's shape; it is to be written if `fresh`,
  /// else added to.
  struct Sink {
    Scalar* data;
    bool fresh;
  };
  static Sink sink(BackwardContext& ctx, std::size_t i);

  /// The node's own gradient for input i, in either kind of sweep: in the input's shape, where that
  /// has as many numbers, else stretched over the input, as below a sum. It is kept small until
  /// somebody asks for all of it.
  static void pass(BackwardContext& ctx, std::size_t i);
};

ARGTAPE_END
