// A tensor beside a larger one that it stretches to, walked through in the larger one's memory
// order.
#pragma once

#include "../tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

// A bundle of rows of the large tensor, one after the other in memory. In the small one a row
// starts `step` numbers after the one before, and runs along with it or, unless `moving`, is one
// number.
struct Bundle {
  std::size_t small, large, step, rows, length;
  bool moving;
};

// Calls inner(bundle) for all of the large tensor, in memory order.
template <class Inner>
void along_rows(const Shape& small, const Shape& large, Inner inner) {
  const std::size_t rank = large.size();
  if (size_of(large) == 0) return;
  if (rank == 0) return inner(Bundle{0, 0, 0, 1, 1, true});
  const std::size_t missing = rank - small.size();
  xt::svector<std::size_t, 4> stride(rank, 0), at(rank, 0);
  std::size_t step = 1;
  for (std::size_t i = small.size(); i-- > 0;) {
    if (small[i] != 1) stride[missing + i] = step;
    step *= small[i];
  }
  // Axes next to each other that the small tensor runs through alike count as one long row.
  std::size_t outer = rank - 1, length = large[outer];
  bool moving = stride[outer] == 1 || length == 1, still = stride[outer] == 0;
  while (outer > 0) {
    const std::size_t d = large[outer - 1];
    const bool joins_moving = moving && (d == 1 || stride[outer - 1] == length);
    const bool joins_still = still && (d == 1 || stride[outer - 1] == 0);
    if (!joins_moving && !joins_still) break;
    moving = joins_moving;
    still = joins_still;
    length *= d;
    --outer;
  }
  const std::size_t rows = outer == 0 ? 1 : large[outer - 1];
  Bundle b{0, 0, outer == 0 ? 0 : stride[outer - 1], rows, length, moving};
  if (outer > 0) --outer;
  std::size_t& s = b.small;
  for (;;) {
    inner(b);
    b.large += rows * length;
    std::size_t axis = outer;
    for (;;) {
      if (axis == 0) return;
      --axis;
      s += stride[axis];
      if (++at[axis] < large[axis]) break;
      s -= stride[axis] * large[axis];
      at[axis] = 0;
    }
  }
}

ARGTAPE_END
