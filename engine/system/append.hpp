// How a node comes onto the tape: for Tape::record(), and for the ops that are so cheap that their
// value is computed where it will stand (ops/kernels/elementwise_kernel.cpp).
#pragma once

#include <limits>

#include "../require.hpp"
#include "../tape.hpp"

ARGTAPE_PUBLIC_BEGIN

template <class Value>
Var Tape::append(const Op& op, const Inputs& inputs, Value&& value, Backward&& backward) {
  const OneThread::Hold hold(one_thread_, "tape");
  if (formula_)
    refuse(formula_, ": the formula uses ", op.name, "; need functions of ops/elementwise.hpp");
  const std::size_t index = nodes_.size();
  if (index > std::numeric_limits<std::uint32_t>::max())
    refuse<std::length_error>(op.name, ": the tape is full; need fewer than 2^32 nodes");
  bool gradient = false, costs = false;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].tape != this || inputs[i].index >= index)
      refuse(op.name, ": input ", i, " stands on another tape; need all on one tape");
    Node& in = nodes_[inputs[i].index];
    gradient |= in.wants_gradient;
    costs |= in.wants_costs;
    if (in.first_use == 0 && !temporary_) in.first_use = static_cast<std::uint32_t>(index);
  }
  Node& n = nodes_.emplace_back(op, std::forward<Value>(value), inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) n.inputs[i] = inputs[i].index;
  const bool useful = gradient && n.op.flow != Flow::cut;
  n.wants_gradient = useful && !n.op.needs_costs;
  n.wants_costs = costs || (useful && (n.op.needs_costs || n.op.refuses_no_path));
  if (useful) n.backward = std::move(backward);
  if (detect_anomaly && !sweep_) check_finite(index);  // what a sweep records it looks at itself
  return at(index);
}

ARGTAPE_END
