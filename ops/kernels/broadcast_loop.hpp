// Where the numbers of inputs that broadcast to one shape stand: stretches of contiguous numbers of
// the result, along which an input either moves in step or stands still.
#pragma once

#include <cstddef>
#include <initializer_list>

#include "../../engine/tensor.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

class BroadcastLoop {
 public:
  static constexpr std::size_t kMostInputs = 8;

  /// Each input must broadcast to `shape`.
  BroadcastLoop(const Shape& shape, std::initializer_list<const Shape*> inputs);

  std::size_t length() const { return length_; }
  /// Whether input j moves along a stretch.
  bool moves(std::size_t j) const { return moves_[j]; }

  /// Calls use(places, from, to, at) for the parts of stretches among the result's numbers
  /// begin..end: numbers from..to of a stretch, whose first is the result's number `at`; input j
  /// stands at places[j] where the stretch begins.
  template <class Use>
  void each(std::size_t begin, std::size_t end, Use use) const {
    if (begin >= end) return;
    std::size_t stretch = begin / length_, from = begin % length_;
    Walk walk(*this, stretch);
    for (std::size_t at = begin;;) {
      const std::size_t to = end - at < length_ - from ? from + end - at : length_;
      use(walk.places, from, to, at);
      at += to - from;
      if (at == end) return;
      from = 0;
      walk.next();
    }
  }

 private:
  struct Walk {
    Walk(const BroadcastLoop& over, std::size_t stretch);
    void next() {
      for (std::size_t axis = at.size(); axis-- > 0;) {
        const bool wraps = ++at[axis] == over.lengths_[axis];
        for (std::size_t j = 0; j < over.inputs_; ++j) {
          const std::size_t step = over.steps_[j][axis];
          places[j] = wraps ? places[j] - step * (over.lengths_[axis] - 1) : places[j] + step;
        }
        if (!wraps) return;
        at[axis] = 0;
      }
    }
    const BroadcastLoop& over;
    std::size_t places[kMostInputs] = {};
    xt::svector<std::size_t, 4> at;
  };

  std::size_t inputs_, length_ = 1;
  bool moves_[kMostInputs] = {};
  // Axes across stretches, the innermost last: their lengths, and the steps of each input.
  xt::svector<std::size_t, 4> lengths_;
  xt::svector<std::size_t, 4> steps_[kMostInputs];
};

}  // namespace ARGTAPE_ABI
}  // namespace argtape
