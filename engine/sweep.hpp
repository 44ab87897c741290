// The reverse sweep: from the costs back to the parameters. It carries to each node the gradient of
// the costs and the set of costs that the node feeds. Broadcasting is undone, contributions are
// added and gradient shapes are checked here, once for all ops.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <utility>
#include <vector>

#include "tape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

class Sweep;

/// A pathwise choice feeds a cost to which no differentiable path leads.
class NoPath : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// What the sweep knows when it reaches a node. A backward gives one gradient for each input that
/// wants one, written in Vars: then it can be differentiated again, and serves for numbers too. A
/// hot op adds a shortcut for the case !recorded(), on plain arrays.
class BackwardContext {
 public:
  Var in(std::size_t i) const { return tape_->var(node_->inputs[i]); }
  Var out() const { return tape_->var(index_); }
  std::size_t inputs() const { return node_->inputs.size(); }
  /// Whether anybody upstream of input i wants its gradient. What is not wanted need not be
  /// computed.
  bool wants(std::size_t i) const;
  /// Whether the gradients given will be differentiated themselves.
  bool recorded() const;

  /// Whether some differentiable path leads from this node to a cost.
  bool has_gradient() const;
  /// The gradient of the summed costs with respect to the node's value. Only if has_gradient().
  Var gradient();
  /// The same as numbers; only if !recorded(). Both throw std::logic_error otherwise.
  const Tensor& numbers() const;
  /// The same in a shape that broadcasts to the node's: where the gradient is the same all along an
  /// axis, as below a sum, it may be kept once. For shortcuts that broadcast.
  const Tensor& compact() const;

  /// The gradient for input i: of the input's shape, or of a shape that it broadcasts to. Throws
  /// std::logic_error, naming the op, for any other shape. Does nothing if it is not wanted.
  void give(std::size_t i, Var gradient);
  void give(std::size_t i, Tensor&& gradient);
  /// The node's own gradient: unchanged; stretched over the input, as below a sum (it is kept small
  /// until somebody asks for all of it); its numbers in the input's shape (only if !recorded()).
  void pass(std::size_t i);
  void pass_spread(std::size_t i);
  void pass_reshaped(std::size_t i);
  /// For shortcuts: where input i's gradient is gathered, of the input's shape, and whether it is
  /// still `fresh`, i.e. to be written rather than added to.
  struct Sink {
    Scalar* data;
    bool fresh;
  };
  Sink sink(std::size_t i);

  /// The costs this node feeds, one number for each choice: the sum, over all costs downstream, of
  /// the cost with its axes lined up with the leading ones of `rows`; along an axis where `rows`
  /// has length 1, or no axis, costs are summed; a cost with fewer axes counts for each choice
  /// below it. Throws std::invalid_argument if a cost does not line up.
  Tensor costs(const Shape& rows) const;
  /// The costs this node feeds, one by one; `weight` is empty where all count alike.
  struct DownstreamCost {
    Var cost, weight;
  };
  std::vector<DownstreamCost> downstream_costs() const;
  /// Whether the sweep is just looking, for a report: what learns from costs must not learn now.
  bool dry_run() const;
  const std::string& op() const { return node_->op.name; }
  Counts& counts() const { return tape_->counts; }

 private:
  friend class Sweep;
  void require_gradient() const;
  Sweep* sweep_ = nullptr;
  Tape* tape_ = nullptr;
  const Node* node_ = nullptr;
  std::uint32_t index_ = 0;
  Var gradient_;  // made when first asked for
};

/// The gradients a sweep found. There is nothing to zero between sweeps: each returns its own.
class Gradients {
 public:
  /// The gradient for one of the tape's parameters (or of the Vars asked for): zeros if nothing
  /// arrived. Throws std::invalid_argument for any other Var.
  const Tensor& operator[](Var v) const;
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
/// (std::logic_error), nor the tape be swept.
/// If it throws, some parameters have been handed over and others not.
void backward_and_release(Inputs costs,
                          const std::function<void(Var parameter, Tensor& gradient)>& take);

/// The same without leaving a trace: nothing is counted, and no baseline learns.
Gradients dry_run(Inputs costs, Inputs also = {});

/// The same for `wrt`, recorded on the tape, so that the gradients can be differentiated again, to
/// any order. Draws and rules count as they stand: the gradient of an estimate is the derivative of
/// that estimate, not of its expectation.
std::vector<Var> differentiate(Inputs costs, Inputs wrt, Inputs weights = {});

}  // namespace ARGTAPE_ABI
}  // namespace argtape
