// Distances between rows.
#pragma once

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

/// |x_i - c_j|^2, without a root, of every row of x (n, d) to every row of `centres` (k, d): (n,
/// k), with gradients for both. The differences themselves are squared, so that points far from the
/// origin lose no digits. Where a distance is 0 its root has no derivative (NaN comes back): norm()
/// of a difference (ops/reduce.hpp) has the subgradient 0 there. Zeros in the gradient that arrives
/// cost nothing: behind a hard choice, as argmin(squared_distances(x, centres), zero()), the
/// backward takes n d steps instead of n k d. Throws std::invalid_argument for other shapes.
Var squared_distances(const Operand& x, const Operand& centres);

ARGTAPE_END
