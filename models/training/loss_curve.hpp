// How a loss fell in training, as a few means. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// The mean loss over each twentieth of the steps (each step, if there are fewer than twenty).
class LossCurve {
 public:
  explicit LossCurve(std::size_t steps)
      : steps_(steps), sums_(std::min<std::size_t>(20, steps)), terms_(sums_.size()) {}
  /// Which of the parts a step belongs to.
  std::size_t part(std::size_t step) const { return step * sums_.size() / steps_; }
  void add(std::size_t step, double loss) {
    sums_[part(step)] += loss;
    ++terms_[part(step)];
  }
  std::vector<double> means() const {
    std::vector<double> y = sums_;
    for (std::size_t i = 0; i < y.size(); ++i) y[i] /= static_cast<double>(terms_[i]);
    return y;
  }

 private:
  std::size_t steps_;
  std::vector<double> sums_;
  std::vector<std::size_t> terms_;
};

ARGTAPE_END
