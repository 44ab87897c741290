// Where a sweep gathers gradients, for each node the sum of what has arrived there: as numbers, in
// tensors that are used again once a node has been passed; or as Vars, where they are recorded.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
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
      : tape_(tape), vars_(recorded ? nodes : 0), tensors_(recorded ? 0 : nodes, nullptr) {}

  bool recorded() const { return !vars_.empty(); }
  bool has(std::uint32_t i) const {
    return vars_.empty() ? tensors_[i] != nullptr : vars_[i].tape != nullptr;
  }

  /// What has arrived so far, perhaps unexpanded.
  const Tensor& gathered(std::uint32_t i) const {
    return vars_.empty() ? *tensors_[i] : vars_[i].value();
  }

  // Recorded.
  Var var(std::uint32_t i) const { return vars_[i]; }
  void add(std::uint32_t i, Var gradient) {
    vars_[i] = has(i) ? add_same(vars_[i], gradient) : gradient;
  }

  // In numbers. A gradient that is the same all along an axis, as below a sum, may be kept once
  // there, until somebody asks for all of it: whole() (gathered() has it as it is).
  Tensor& whole(std::uint32_t i) {
    Tensor& t = *tensors_[i];
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
  void move(std::uint32_t from, std::uint32_t to) { std::swap(tensors_[from], tensors_[to]); }
  /// The tensor that gathers node i's gradient; a fresh one has the node's shape and no values yet.
  Tensor& open(std::uint32_t i, bool& fresh) {
    fresh = !tensors_[i];
    if (!fresh) return whole(i);
    Tensor& t = take(i);
    if (t.shape() != shape_of(i)) t.resize(shape_of(i));  // which would call the standard library
    return t;
  }
  void drop(std::uint32_t i) {
    if (tensors_.empty() || !tensors_[i]) return;
    // The next gradient comes in a tensor of its own, most likely: let that have the memory.
    if (tensors_[i]->size() >= kWorthReleasing) tensors_[i]->resize(Shape{0});
    idle_.push_back(std::exchange(tensors_[i], nullptr));
  }

 private:
  // One of the pool, for a node that has none.
  Tensor& take(std::uint32_t i) {
    if (idle_.empty()) idle_.push_back(&pool_.emplace_back());
    tensors_[i] = idle_.back();
    idle_.pop_back();
    return *tensors_[i];
  }
  const Shape& shape_of(std::uint32_t i) const { return tape_.node(i).value->shape(); }

  const Tape& tape_;
  std::vector<Var> vars_;
  std::vector<Tensor*> tensors_;  // null: nothing has arrived
  std::deque<Tensor> pool_;
  std::vector<Tensor*> idle_;  // of the pool
};

ARGTAPE_END
