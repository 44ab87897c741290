// Sorting along an axis.
#pragma once

#include <vector>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

enum class Order { ascending, descending };

// Both are stable: of equal numbers the first stays first, whatever the order. They throw
// std::invalid_argument for an axis out of range and for NaN, which has no place in an order.

/// For each place of the sorted tensor, in row-major order, where along the axis its number comes
/// from.
std::vector<std::size_t> argsort(const Tensor& x, int axis = -1, Order order = Order::ascending);

/// x sorted; what passes back goes where each number came from. That is the derivative of sorting
/// wherever no two numbers are equal; ops/soft_sort.hpp and ops/matching.hpp have what moves the
/// order itself.
Var sort(Var x, int axis = -1, Order order = Order::ascending);

ARGTAPE_END
