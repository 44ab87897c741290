// The reverse sweep: from the costs back to the parameters. It carries to each node the gradient of
// the costs and the set of costs that the node feeds. Broadcasting is undone, contributions are
// added and gradient shapes are checked here, once for all ops.
#pragma once

#include <functional>
#include <stdexcept>
#include <vector>

#include "backward_context.hpp"
#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A pathwise choice feeds a cost to which no differentiable path leads.
class NoPath : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// The gradients a sweep found. There is nothing to zero between sweeps: each returns its own.
class Gradients {
 public:
  /// The gradient for one of the tape's parameters (or of the Vars asked for): zeros if nothing
  /// arrived. Throws std::invalid_argument for any other Var.
  const Tensor& operator[](Var v) const&;
  /// Of Gradients that nobody keeps, as in backward(cost)[x]: a tensor of its own.
  Tensor operator[](Var v) &&;
  /// Whether a gradient arrived at all; stop_report() (engine/report.hpp) says why not.
  bool reached(Var v) const;

 private:
  friend class Sweep;
  struct Entry {
    std::uint32_t index;
    bool reached;
    Tensor gradient;
  };
  const Entry& entry(Var v) const;
  const Tape* tape_ = nullptr;
  std::vector<Entry> entries_;  // by rising index
};
template <class G, class = std::enable_if_t<std::is_same_v<G, Gradients>>>
std::ostream& operator<<(std::ostream& out, const G&) {
  static_assert(!std::is_same_v<G, Gradients>, "each is printed alone: std::cout << gradients[x]");
  return out;
}

/// The gradient of the sum of all costs for every parameter of their tape, and for `also`. Costs
/// are best left one number an example, of shape (B,): averaging first credits each choice with
/// everybody's cost. `weights`, one for each cost and of its shape, make it the gradient of
/// sum(weight * cost) instead. Throws std::invalid_argument for costs on two
/// tapes, and NoPath, which is one, for a pathwise choice with no differentiable path to a cost.
/// The tape is left as it was; it may be swept again.
Gradients backward(Inputs costs, Inputs also = {}, Inputs weights = {});

/// The same for a tape's last sweep, in the least memory: take(parameter, gradient) is called for
/// each parameter that a gradient arrives at, as soon as it is complete, and may change the
/// parameter itself, which nobody will read again; what the sweep has passed is given back, values
/// included, but for those of the costs and the parameters. After it, other values may not be read
/// (std::logic_error), nor the tape be swept. Throws std::logic_error inside a backward.
/// If it throws, some parameters have been handed over and others not.
using TakeGradient = std::function<void(Var parameter, Tensor& gradient)>;
void backward_and_release(Inputs costs, const TakeGradient& take);

/// backward() without leaving a trace: nothing is counted, and no baseline learns.
Gradients dry_run(Inputs costs, Inputs also = {});

/// The same for `wrt`, recorded on the tape, so that the gradients can be differentiated again, to
/// any order. Draws and rules count as they stand: the gradient of an estimate is the derivative of
/// that estimate, not of its expectation. If it throws, the tape is left as it was.
std::vector<Var> differentiate(Inputs costs, Inputs wrt, Inputs weights = {});

ARGTAPE_END
