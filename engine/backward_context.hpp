// What an op's backward sees when the sweep reaches its node, and where it puts what goes back.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A cost that a node feeds; `weight` is empty where all costs count alike.
struct DownstreamCost {
  Var cost, weight;
};

/// What the sweep knows at a node. A backward gives one gradient for each input that wants one,
/// written in Vars: so it serves for numbers, and can be differentiated again. In a sweep for
/// numbers the Vars it makes are gone when it returns. Inputs are counted from 0; one beyond the
/// last throws std::out_of_range.
class BackwardContext {
 public:
  Var in(std::size_t i) const { return tape_->at(input(i)); }
  Var out() const { return tape_->at(index_); }
  std::size_t inputs() const { return node_->inputs.size(); }
  /// Whether anybody upstream of input i wants its gradient. What is not wanted need not be
  /// computed.
  bool wants(std::size_t i) const;

  /// Whether some differentiable path leads from this node to a cost.
  bool has_gradient() const;
  /// The gradient of the summed costs with respect to the node's value. Throws std::logic_error
  /// unless has_gradient().
  Var gradient();

  /// The gradient for input i: of the input's shape, or of a shape that it broadcasts to, over
  /// which it is summed. Throws std::logic_error, naming the op, for any other shape. Does nothing
  /// if it is not wanted.
  void give(std::size_t i, Var gradient);
  /// give(i, gradient()), without a node for it.
  void pass(std::size_t i);

  /// The costs this node feeds. Throws std::logic_error unless the op or one upstream said
  /// needs_costs (Op).
  std::vector<DownstreamCost> downstream_costs() const;

  /// Whether the sweep leaves no trace (dry_run() of engine/sweep.hpp).
  bool dry_run() const;
  /// Has learn() called when the sweep has ended, and the one in whose backward it may run; not if
  /// it throws, nor in a dry run or in differentiate(). What learns from costs learns there:
  /// choices that share a baseline are then all judged by what it knew before this sweep. By a mean
  /// with their own costs in it the estimate would be biased.
  void when_swept(std::function<void()> learn);
  Name op() const { return node_->op.name; }
  Counts& counts() const { return tape_->counts; }

 private:
  friend class Sweep;
  friend struct SweepDoor;
  std::uint32_t input(std::size_t i) const {
    if (i >= node_->inputs.size()) refuse_input(i);
    return node_->inputs[i];
  }
  [[noreturn]] void refuse_input(std::size_t i) const;

  Sweep* sweep_ = nullptr;
  Tape* tape_ = nullptr;
  GradientStore* store_ = nullptr;
  const Node* node_ = nullptr;
  std::uint32_t index_ = 0;
  Var gradient_;  // made when first asked for
};

ARGTAPE_END
