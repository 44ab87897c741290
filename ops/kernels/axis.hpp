// Axes moved to the end and back, and axes added. For the library's own .cpp files.
#pragma once

#include <algorithm>

#include "../shape.hpp"

ARGTAPE_PRIVATE_BEGIN

/// A tensor seen as (outer, length, inner) around one axis.
struct Around {
  std::size_t outer = 1, length, inner = 1;
  Around(const Shape& shape, std::size_t axis) : length(shape[axis]) {
    for (std::size_t i = 0; i < axis; ++i) outer *= shape[i];
    for (std::size_t i = axis + 1; i < shape.size(); ++i) inner *= shape[i];
  }
};

/// The order of axes that puts `axis` last; empty if it is already.
inline Axes axis_last(std::size_t axis, std::size_t rank) {
  Axes order;
  if (axis + 1 == rank) return order;
  for (std::size_t i = 0; i < rank; ++i)
    if (i != axis) order.push_back(static_cast<int>(i));
  order.push_back(static_cast<int>(axis));
  return order;
}

/// f(x) along an axis, for an f that works along the last one. Throws std::invalid_argument, in the
/// name of `op`, for an axis out of range.
template <class F>
Var along_axis(const char* op, Var x, int axis, F f) {
  const Axes order = axis_last(axis_of(op, axis, x.shape()), x.shape().size());
  if (order.empty()) return f(x);
  Axes back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i)
    back[static_cast<std::size_t>(order[i])] = static_cast<int>(i);
  return transpose(f(transpose(x, order)), back);
}

/// `shape` with one more axis, at position `axis`.
inline Shape with_axis(Shape shape, std::size_t axis, std::size_t length) {
  shape.push_back(length);
  std::rotate(shape.begin() + static_cast<std::ptrdiff_t>(axis), shape.end() - 1, shape.end());
  return shape;
}

/// x with axes of length 1 behind its own, up to the rank: a number a row, to stand beside the row.
inline Var beside(Var x, std::size_t rank) {
  Shape shape = x.shape();
  while (shape.size() < rank) shape.push_back(1);
  return reshape(x, shape);
}

ARGTAPE_END
