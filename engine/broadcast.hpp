// Undoing and doing broadcasts, adding, and the same numbers under another shape: the linear maps
// that the sweep itself needs. Each is the derivative of one of them, so gradients that went
// through them can be differentiated again.
#pragma once

#include <string>

#include "require.hpp"
#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// x summed over the axes along which a tensor of `shape` is stretched to x's shape.
Tensor sum_to(const Tensor& x, const Shape& shape);
/// x stretched to `shape`, as NumPy broadcasts.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
/// a += b, of equal shapes.
void add_to(Tensor& a, const Tensor& b);

/// The same, recorded. `shape` must broadcast to x's shape, or x's to `shape`; otherwise they throw
/// std::invalid_argument.
Var sum_to(Var x, const Shape& shape);
Var broadcast_to(Var x, const Shape& shape);
/// a + b, of equal shapes.
Var add_same(Var a, Var b);
/// x under another shape of the same size. Throws std::invalid_argument, in the name of reshape,
/// for one of another size.
Var reshaped(Var x, const Shape& shape);

/// A cost, Tensor or Var, as one number for each choice: its axes lined up with the leading ones of
/// `rows`, summed over what the choices do not tell apart, the same for all that it does not tell
/// apart itself (see BackwardContext::costs()). Throws std::invalid_argument, in the name of `op`,
/// if it does not line up.
template <class T>
T line_up(const std::string& op, const T& cost, const Shape& rows) {
  Shape summed = cost.shape(), aligned(rows.size(), 1);
  if (summed == rows) return cost;
  for (std::size_t a = 0; a < summed.size(); ++a) {
    if (a >= rows.size() || rows[a] == 1)
      summed[a] = 1;
    else if (summed[a] != 1 && summed[a] != rows[a])
      refuse(op, ": a cost is ", cost.shape(), ", the choices are ", rows,
             "; need costs lined up with the leading axes of the choices");
    if (a < rows.size()) aligned[a] = summed[a];
  }
  return broadcast_to(reshaped(sum_to(cost, summed), aligned), rows);
}

ARGTAPE_END
