// Where a sweep gathers gradients, for each node the sum of what has arrived there: as numbers, in
// tensors that are used again once a node has been passed; or as Vars, where they are recorded.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "tape.hpp"

ARGTAPE_PRIVATE_BEGIN

/// So many numbers are worth giving back early; with less it costs more than it saves.
constexpr std::size_t kWorthReleasing = 1024;

class GradientStore {
 public:
  GradientStore(const Tape& tape, std::size_t nodes, bool recorded)
      : tape_(tape), vars_(recorded ? nodes : 0), slot_(recorded ? 0 : nodes, kNone) {}

  bool has(std::uint32_t i) const {
    return slot_.empty() ? vars_[i].tape != nullptr : slot_[i] != kNone;
  }

  /// What has arrived so far, perhaps unexpanded.
  const Tensor& gathered(std::uint32_t i) const {
    return slot_.empty() ? vars_[i].value() : pool_[slot_[i]];
  }

  // Recorded.
  Var var(std::uint32_t i) const { return vars_[i]; }
  void add(std::uint32_t i, Var gradient);

  // In numbers. A gradient that is the same all along an axis, as below a sum, may be kept once
  // there, until somebody asks for all of it: whole() (gathered() has it as it is).
  Tensor& whole(std::uint32_t i);
  void add(std::uint32_t i, Tensor&& gradient);
  void add_copy(std::uint32_t i, const Tensor& gradient);
  /// Node `from` gives its tensor to node `to`, which has none yet.
  void move(std::uint32_t from, std::uint32_t to) { std::swap(slot_[from], slot_[to]); }
  /// The tensor that gathers node i's gradient; a fresh one has the node's shape and no values yet.
  Tensor& open(std::uint32_t i, bool& fresh);
  void drop(std::uint32_t i);

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  Tensor& take(std::uint32_t i);  // one of the pool, for a node that has none
  const Shape& shape_of(std::uint32_t i) const { return tape_.node(i).value->shape(); }

  const Tape& tape_;
  std::vector<Var> vars_;
  std::vector<std::uint32_t> slot_;  // which tensor of the pool
  std::deque<Tensor> pool_;
  std::vector<std::uint32_t> idle_;
};

ARGTAPE_END
