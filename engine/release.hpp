// What a tape's last sweep gives back as it goes: the gradient of a parameter as soon as it is
// complete, and the values and backwards of nodes that it has passed.
#pragma once

#include <algorithm>
#include <unordered_map>

#include "gradient_store.hpp"
#include "sweep.hpp"

ARGTAPE_PRIVATE_BEGIN

class Release {
 public:
  /// For the first `count` nodes of the tape.
  Release(Tape& tape, const std::vector<Var>& costs, std::uint32_t count, GradientStore& gradients,
          const TakeGradient& take)
      : tape_(tape),
        costs_(costs),
        gradients_(gradients),
        take_(take),
        uses_(count, 0),
        counted_(count) {
    for (const Var& c : costs) {  // a cost stays where the input it is the same as goes
      Node& n = tape_.nodes_[c.index];
      if (!is_same_as_input(n)) continue;
      n.own = *n.value;
      n.value = &n.own;
    }
    for (std::size_t i = count; i < tape_.nodes_.size(); ++i)  // what is behind the costs goes too
      if (is_same_as_input(tape_.nodes_[i])) tape_.nodes_[i].value = nullptr;
    std::unordered_map<const Tensor*, std::uint32_t> first;
    for (std::uint32_t i = 0; i < count; ++i) {
      const Node& n = tape_.nodes_[i];
      counted_[i] = n.value == &n.own ? i : first.emplace(n.value, i).first->second;
      for (std::uint32_t in : n.inputs) ++uses_[counted_[in]];
    }
  }
  /// The sweep has passed node i.
  void passed(std::uint32_t i) {
    Node& n = tape_.nodes_[i];
    for (std::uint32_t in : n.inputs)
      if (--uses_[counted_[in]] == 0 && tape_.nodes_[in].inputs.empty()) hand_over(counted_[in]);
    if (n.parameter && uses_[counted_[i]] == 0) hand_over(counted_[i]);  // nobody used it
    n.backward = nullptr;
    const bool cost =
        std::any_of(costs_.begin(), costs_.end(), [i](const Var& c) { return c.index == i; });
    const bool borrowed = n.value != &n.own && n.inputs.empty();
    if (borrowed || n.parameter || cost) return;
    n.value = nullptr;
    if (n.own.size() >= kWorthReleasing) n.own.resize(Shape{0});
  }

 private:
  static bool is_same_as_input(const Node& n) { return n.value != &n.own && !n.inputs.empty(); }
  void hand_over(std::uint32_t counted) {
    for (std::uint32_t p : tape_.parameters_) {
      if (p >= counted_.size() || counted_[p] != counted || !gradients_.has(p)) continue;
      take_(tape_.at(p), gradients_.whole(p));
      gradients_.drop(p);
    }
  }

  Tape& tape_;
  const std::vector<Var>& costs_;
  GradientStore& gradients_;
  const TakeGradient& take_;
  // The uses of each node by nodes not yet passed, and where they are counted: a tensor borrowed
  // more than once is one parameter, whose uses count together.
  std::vector<std::uint32_t> uses_, counted_;
};

ARGTAPE_END
