// Shapes and settings that several tables of ops draw.
#pragma once

#include <string>

#include "ops/softmax.hpp"
#include "tests/properties/definition.hpp"

namespace plain {

/// An op's name, whatever its overloads, as something to call.
#define CALL(f) [](auto... a) { return f(a...); }

/// An axis of a tensor, with so many numbers at least on it.
struct Line {
  Shape shape;
  int axis;
  explicit Line(Draws& d, std::size_t least = 0) : shape(d.shape(1, 5)), axis(d.axis(shape)) {
    std::size_t& n = shape[axis_from(axis, shape)];
    n = std::max(n, least);
  }
  std::size_t place() const { return axis_from(axis, shape); }
  std::size_t length() const { return shape[place()]; }
};
inline std::string words(const char* what, std::size_t n) {
  return std::string(", ") + what + " " + std::to_string(n);
}

/// Place a of so many, or the same counted from the end.
inline int either_way(Draws& d, std::size_t a, std::size_t rank) {
  return static_cast<int>(a) - (d.below(2) ? static_cast<int>(rank) : 0);
}
/// Without axes of length 0.
inline Shape of_something(Shape shape) {
  for (std::size_t& n : shape) n = std::max<std::size_t>(n, 1);
  return shape;
}
/// Rows of at least one category.
inline Shape categories(Draws& d, std::size_t most_axes = 4) {
  Shape shape = d.shape(1, most_axes);
  shape.back() = std::max<std::size_t>(shape.back(), 1);
  return shape;
}
inline double temperature(Draws& d) { return d.one_of({1.0, 0.5, 2.0, 0.75, 0.125}); }
inline std::string tau_words(double tau) { return "tau " + argtape::str(tau); }
/// A softmax of modest numbers.
inline Tensor probabilities(Draws& d, const Shape& shape) {
  argtape::Tape tape;
  return argtape::softmax(tape.constant(d.fractions(shape, 4, 3))).value();
}

/// What stretches to `shape`, but for its last axis.
inline Shape stretched_rows(Draws& d, const Shape& shape) {
  Shape s = d.stretched_to(shape);
  if (s.empty()) return {shape.back()};
  s.back() = shape.back();
  return s;
}

}  // namespace plain
