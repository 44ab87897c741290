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
      : tape_(tape), costs_(costs), gradients_(gradients), take_(take) {
    for (const Var& c : costs) {  // a cost stays where the input it is the same as goes
      Node& n = tape_.nodes_[c.index];
      if (!is_same_as_input(n)) continue;
      n.own = *n.value;
      n.value = &n.own;
    }
    for (std::size_t i = count; i < tape_.nodes_.size(); ++i)  // what is behind the costs goes too
      if (is_same_as_input(tape_.nodes_[i])) tape_.nodes_[i].value = nullptr;
    // A tensor borrowed more than once is one parameter.
    std::unordered_map<const Tensor*, std::uint32_t> last;
    const auto until = [&](std::uint32_t i) {
      const Node& n = tape_.nodes_[i];
      const std::uint32_t use = n.first_use > 0 && n.first_use < count ? n.first_use : i;
      std::uint32_t& found = last.emplace(n.value, use).first->second;
      return found = std::min(found, use);
    };
    for (const auto& borrowed : tape_.borrowed_) until(borrowed.first);
    for (std::uint32_t p : tape_.parameters_) until(p);
    for (std::uint32_t p : tape_.parameters_)
      if (p < count) complete_.emplace_back(until(p), p);
    std::sort(complete_.begin(), complete_.end());
  }
  /// The sweep has passed node i.
  void passed(std::uint32_t i) {
    for (; !complete_.empty() && complete_.back().first >= i; complete_.pop_back())
      hand_over(complete_.back().second);
    Node& n = tape_.nodes_[i];
    n.backward.reset();
    const bool borrowed = n.value != &n.own && n.inputs.empty();
    const auto is_this = [i](const Var& c) { return c.index == i; };
    if (borrowed || n.parameter || std::any_of(costs_.begin(), costs_.end(), is_this)) return;
    n.value = nullptr;
    if (n.own.size() >= kWorthReleasing) n.own.resize(Shape{0});
  }

 private:
  static bool is_same_as_input(const Node& n) { return n.value != &n.own && !n.inputs.empty(); }
  void hand_over(std::uint32_t parameter) {
    if (!gradients_.has(parameter)) return;
    take_(tape_.at(parameter), gradients_.whole(parameter));
    gradients_.drop(parameter);
  }

  Tape& tape_;
  const std::vector<Var>& costs_;
  GradientStore& gradients_;
  const TakeGradient& take_;
  // When each parameter's gradient is complete, the next last: at the first node that uses it.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> complete_;
};

ARGTAPE_END
