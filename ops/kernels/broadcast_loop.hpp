// Inputs that broadcast to one shape, as a kernel sees them: blocks of contiguous numbers.
#pragma once

#include <cstddef>

#include "../../engine/simd/lane.hpp"
#include "../../engine/tensor.hpp"

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

class BroadcastLoop {
 public:
  /// Numbers of a block, so few that a formula's temporaries stay in the nearest cache. (With 256
  /// it takes half as long again; from 320 to 512 no difference can be told from noise.)
  static constexpr std::size_t kBlock = 320;
  static constexpr std::size_t kMostInputs = 8;

  /// Each input must broadcast to `shape`.
  BroadcastLoop(const Shape& shape, const Source* inputs, std::size_t count);

  /// The result's numbers begin..end, a block of at most `most` after the other.
  class Blocks {
   public:
    Blocks(const BroadcastLoop& loop, std::size_t begin, std::size_t end, std::size_t most);
    /// Moves on to the next block. False at the end, or if there is none.
    bool next();

    std::size_t at, n = 0;  // the block's first number in the result, and how many
    Block in[kMostInputs];  // the inputs there

   private:
    void next_stretch();
    void gather();

    const BroadcastLoop& loop_;
    const std::size_t end_, most_;
    std::size_t from_;                    // where in the stretch the next block begins
    const Scalar* stretch_[kMostInputs];  // where walked inputs stand at the stretch's begin
    xt::svector<std::size_t, 4> place_;   // the stretch, by axis
    Scalar buffers_[kMostInputs][kBlock + kLane];
  };

 private:
  struct Axis {
    std::size_t length, steps[kMostInputs];  // of walked inputs
  };

  std::size_t count_, walks_ = 0;
  const Scalar* data_[kMostInputs];
  bool whole_[kMostInputs];          // as large as the result
  std::size_t walked_[kMostInputs];  // neither that nor a single number
  xt::svector<Axis, 4> axes_;        // the innermost first: a stretch
  std::size_t length_ = 1;           // of a stretch
};

ARGTAPE_END
