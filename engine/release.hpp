// What a tape's last sweep gives back as it goes: the gradient of a parameter as soon as it is
// complete, and the values and backwards of nodes that it has passed.
#pragma once

#include "gradient_store.hpp"
#include "sweep.hpp"

ARGTAPE_PRIVATE_BEGIN

class Release {
 public:
  /// For the first `count` nodes of the tape.
  Release(Tape& tape, const std::vector<Var>& costs, std::uint32_t count, GradientStore& gradients,
          const TakeGradient& take);
  /// The sweep has passed node i.
  void passed(std::uint32_t i);

 private:
  void hand_over(std::uint32_t counted);

  Tape& tape_;
  const std::vector<Var>& costs_;
  GradientStore& gradients_;
  const TakeGradient& take_;
  // The uses of each node by nodes not yet passed, and where they are counted: a tensor borrowed
  // more than once is one parameter, whose uses count together.
  std::vector<std::uint32_t> uses_, counted_;
};

ARGTAPE_END
