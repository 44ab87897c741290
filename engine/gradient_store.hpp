// Where a sweep gathers gradients, for each node the sum of what has arrived there: as numbers, in
// tensors that are used again once a node has been passed; or as Vars, where they are recorded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "broadcast.hpp"
#include "system/parallel.hpp"
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
  void add(std::uint32_t i, Var gradient) {
    vars_[i] = has(i) ? add_same(vars_[i], gradient) : gradient;
  }

  // In numbers. A gradient that is the same all along an axis, as below a sum, may be kept once
  // there, until somebody asks for all of it: whole() (gathered() has it as it is).
  Tensor& whole(std::uint32_t i) {
    Tensor& t = pool_[slot_[i]];
    if (t.shape() != shape_of(i)) t = broadcast_to(t, shape_of(i));
    return t;
  }
  void add(std::uint32_t i, Tensor&& gradient) {
    if (has(i)) return add_to(whole(i), gradient);
    take(i) = std::move(gradient);
  }
  void add_copy(std::uint32_t i, const Tensor& gradient) {
    bool fresh;
    Tensor& t = open(i, fresh);
    if (!fresh)
      return add_to(t, gradient.size() == t.size() ? gradient : broadcast_to(gradient, t.shape()));
    if (gradient.size() != t.size()) t.resize(gradient.shape());
    parallel_for(gradient.size(), kGrain, [&](std::size_t begin, std::size_t end) {
      std::copy(gradient.data() + begin, gradient.data() + end, t.data() + begin);
    });
  }
  /// Node `from` gives its tensor to node `to`, which has none yet.
  void move(std::uint32_t from, std::uint32_t to) { std::swap(slot_[from], slot_[to]); }
  /// The tensor that gathers node i's gradient; a fresh one has the node's shape and no values yet.
  Tensor& open(std::uint32_t i, bool& fresh) {
    fresh = slot_[i] == kNone;
    if (!fresh) return whole(i);
    Tensor& t = take(i);
    t.resize(shape_of(i));
    return t;
  }
  void drop(std::uint32_t i) {
    if (slot_.empty() || slot_[i] == kNone) return;
    // The next gradient comes in a tensor of its own, most likely: let that have the memory.
    if (Tensor& t = pool_[slot_[i]]; t.size() >= kWorthReleasing) t.resize(Shape{0});
    idle_.push_back(slot_[i]);
    slot_[i] = kNone;
  }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  // One of the pool, for a node that has none.
  Tensor& take(std::uint32_t i) {
    if (idle_.empty()) {
      idle_.push_back(static_cast<std::uint32_t>(pool_.size()));
      pool_.emplace_back();
    }
    slot_[i] = idle_.back();
    idle_.pop_back();
    return pool_[slot_[i]];
  }
  const Shape& shape_of(std::uint32_t i) const { return tape_.node(i).value->shape(); }

  const Tape& tape_;
  std::vector<Var> vars_;
  std::vector<std::uint32_t> slot_;  // which tensor of the pool
  std::deque<Tensor> pool_;
  std::vector<std::uint32_t> idle_;
};

ARGTAPE_END
