// An op beside its definition in plain loops, for cases that are drawn: value and gradients are
// held against each other, within what rounding may make of them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "engine/gradcheck.hpp"
#include "tests/properties/draws.hpp"
#include "tests/properties/rows.hpp"

namespace plain {

using argtape::Scalar, argtape::Shape, argtape::Tensor;

struct Array {
  Shape shape;
  Row x;
};
using Arrays = std::vector<Array>;

/// The places on each axis of number i, in row-major order; and back.
Shape places(const Shape& shape, std::size_t i);
std::size_t number_at(const Shape& shape, const Shape& at);
/// The shape with one more axis, and with one less.
Shape with_axis(const Shape& shape, std::size_t a, std::size_t n);
Shape without_axis(const Shape& shape, std::size_t a);
/// An axis counted from either end, from the first.
std::size_t axis_from(int axis, const Shape& shape);

/// f(places) for each number of the shape.
Array made(const Shape& shape, const std::function<Number(const Shape& at)>& f);
Array reshaped(Array x, const Shape& shape);
/// What x has there, where it is stretched to a shape of which these are places.
Number stretched_at(const Array& x, const Shape& at);
Array stretched(const Array& x, const Shape& shape);
/// The shape to which all stretch.
Shape common(const Arrays& all);
/// f(numbers), number by number.
Array each(const Arrays& all, const std::function<Number(const Row& numbers)>& f);
/// f(line, how many came before) for each line along an axis: a line of another length, or not.
Array lines(const Array& x, int axis, const std::function<Row(const Row& line, std::size_t l)>& f);
/// f(row) of what the axes hold, in row-major order; they stay with length 1, or are gone.
Array reduced(const Array& x, const std::vector<int>& axes, bool keep,
              const std::function<Number(const Row& row)>& f);
/// f(rows) for each row along the last axis of all, stretched: a row, or a number without that
/// axis.
Array row_by_row(const Arrays& x, const std::function<Row(const Rows& rows)>& f);
Array number_by_row(const Arrays& x, const std::function<Number(const Rows& rows)>& f);

/// A tensor's numbers as constants; and n of them, from the r-th n on.
Array array_of(const Tensor& t);
Row row_of(const Tensor& t, std::size_t r, std::size_t n);
Row row_of(const Array& x, std::size_t r, std::size_t n);

/// One case: an op at points, and what it is by definition.
struct Example {
  std::vector<Tensor> points;
  argtape::Function f;
  std::function<Array(const Arrays&)> plain;
  std::string settings;  ///< in words
  long double near = 0;  ///< how far from the definition it may be beside rounding
};

/// "", or how far a number is from the one expected: more than rounding may take it.
std::string apart(Scalar found, const Rounded& expected, long double near = 0);
/// "", or what is wrong with an example: the value, or a gradient, however it is swept. Which
/// points want one, and what arrives, is drawn.
std::string wrong_with(const Example& example, Draws& draws);

/// What an op's name stands for, and how examples of it are drawn.
struct Defined {
  const char* name;  ///< as the header has it, and what of it
  Example (*example)(Draws& draws);
};

}  // namespace plain
