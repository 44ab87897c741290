// Undoing and doing broadcasts, adding, and the same numbers under another shape: the linear maps
// that the sweep itself needs. Each is the derivative of one of them, so gradients that went
// through them can be differentiated again.
#pragma once

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

ARGTAPE_END
