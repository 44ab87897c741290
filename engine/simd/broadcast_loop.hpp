// Inputs that broadcast to one shape: the axes they run through, a walk along those, and blocks of
// contiguous numbers, as a kernel sees them.
#pragma once

#include <cstddef>

#include "../tensor.hpp"
#include "lane.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Contiguous numbers: number i is data[i & along]; or, where `along` is 0, one number again and
/// again, of which a whole lane stands at `data`.
struct Block {
  const Scalar* data;
  std::size_t along;
};
inline Block run_of(const Scalar* data) { return {data, ~std::size_t{0}}; }
inline Block lane_of(Scalar number, Scalar* lane) {
  Lane(number).store_unaligned(lane);
  return {lane, 0};
}

/// An input: a tensor's numbers and shape, or a single number, without one.
struct Source {
  const Scalar* data = nullptr;
  const Shape* shape = nullptr;
};

/// The axes of a shape, the innermost first, and how far each input moves along them. Axes of
/// length 1 are left out; neighbours that all inputs run through alike are one.
struct StretchedAxes {
  static constexpr std::size_t kMostInputs = 8;
  struct Axis {
    std::size_t length, steps[kMostInputs];
  };
  std::size_t count;
  xt::svector<Axis, 4> axes;

  /// Each input must broadcast to `shape`.
  StretchedAxes(const Shape& shape, const Source* inputs, std::size_t count);
  Axis at(std::size_t axis) const { return axis < axes.size() ? axes[axis] : Axis{1, {}}; }
};

/// A walk along the axes from `first` on: where each input stands, and how far along each axis.
struct Walk {
  const StretchedAxes& over;
  const std::size_t first;
  std::size_t offsets[StretchedAxes::kMostInputs] = {};
  xt::svector<std::size_t, 4> place;

  Walk(const StretchedAxes& over, std::size_t first)
      : over(over), first(first), place(over.axes.size(), std::size_t{0}) {}
  /// On by so many steps; at the end from the beginning.
  void next(std::size_t steps = 1);
};

class BroadcastLoop {
 public:
  /// Numbers of a block, so few that a formula's temporaries stay in the nearest cache; the blocks
  /// of a formula that needs few registers are longer. (With 256 it takes half as long again; from
  /// 320 to 512 no difference can be told from noise.)
  static constexpr std::size_t kBlock = 320;

  /// Each input must broadcast to `shape`.
  BroadcastLoop(const Shape& shape, const Source* inputs, std::size_t count);

  /// The result's numbers begin..end, a block of at most `most` after the other; the inputs there
  /// are put at `in`.
  class Blocks {
   public:
    Blocks(const BroadcastLoop& loop, std::size_t begin, std::size_t end, std::size_t most,
           Block* in);
    /// Moves on to the next block. False at the end, or if there is none.
    bool next();

    std::size_t at, n = 0;  // the block's first number in the result, and how many

   private:
    void gather(const StretchedAxes::Axis& inner, const StretchedAxes::Axis& outer);

    const BroadcastLoop& loop_;
    const std::size_t end_, most_;
    Block* const in_;
    std::size_t from_;  // where in the innermost axis the next block begins
    Walk walk_;         // along the others
    Scalar buffers_[StretchedAxes::kMostInputs][kBlock + kLane];
  };

 private:
  const StretchedAxes axes_;
  const Scalar* data_[StretchedAxes::kMostInputs];
  bool walked_[StretchedAxes::kMostInputs];  // neither as large as the result nor a single number
};

ARGTAPE_END
