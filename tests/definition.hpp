// An op beside its definition in plain loops, for cases that are drawn: value and gradients are
// held against each other, within what rounding may make of them.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "engine/gradcheck.hpp"
#include "engine/sweep.hpp"
#include "tests/number.hpp"
#include "tests/property.hpp"

namespace plain {

using argtape::Shape, argtape::Tensor;
using Row = std::vector<Number>;

struct Array {
  Shape shape;
  Row x;
};
using Arrays = std::vector<Array>;

/// The places on each axis of number i, in row-major order; and back.
inline Shape places(const Shape& shape, std::size_t i) {
  Shape at = shape;
  for (std::size_t a = shape.size(); a-- > 0; i /= shape[a]) at[a] = i % shape[a];
  return at;
}
inline std::size_t number_at(const Shape& shape, const Shape& at) {
  std::size_t i = 0;
  for (std::size_t a = 0; a < shape.size(); ++a) i = i * shape[a] + at[a];
  return i;
}

/// f(places) for each number of the shape.
template <class F>
Array made(const Shape& shape, F f) {
  Array y{shape, {}};
  for (std::size_t i = 0; i < argtape::size_of(shape); ++i) y.x.push_back(f(places(shape, i)));
  return y;
}
/// What x has there, where it is stretched to a shape of which these are places.
inline Number stretched_at(const Array& x, const Shape& at) {
  Shape own(at.end() - static_cast<std::ptrdiff_t>(x.shape.size()), at.end());
  for (std::size_t a = 0; a < own.size(); ++a)
    if (x.shape[a] == 1) own[a] = 0;
  return x.x[number_at(x.shape, own)];
}
inline Array stretched(const Array& x, const Shape& shape) {
  return made(shape, [&](const Shape& at) { return stretched_at(x, at); });
}
/// The shape to which all stretch.
inline Shape common(const Arrays& all) {
  Shape shape;
  for (const Array& x : all) {
    const std::size_t more = x.shape.size() > shape.size() ? x.shape.size() - shape.size() : 0;
    Shape longer(shape.size() + more, 1);
    std::copy(shape.begin(), shape.end(), longer.begin() + static_cast<std::ptrdiff_t>(more));
    for (std::size_t a = 0; a < x.shape.size(); ++a) {
      std::size_t& n = longer[longer.size() - x.shape.size() + a];
      if (n == 1) n = x.shape[a];
    }
    shape = longer;
  }
  return shape;
}
/// f(numbers), number by number.
template <class F>
Array each(const Arrays& all, F f) {
  return made(common(all), [&](const Shape& at) {
    Row row;
    for (const Array& x : all) row.push_back(stretched_at(x, at));
    return Number(f(row));
  });
}

inline std::size_t axis_from(int axis, const Shape& shape) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(shape.size()) : axis);
}
/// f(line, how many lines came before) for each line along an axis: a line of another length, or
/// not.
template <class F>
Array lines(const Array& x, int axis, F f) {
  const std::size_t a = axis_from(axis, x.shape), n = x.shape[a];
  Shape one = x.shape, shape = x.shape;
  one[a] = 1;
  shape[a] = f(Row(n), 0).size();
  Array y{shape, Row(argtape::size_of(shape))};
  for (std::size_t l = 0; l < argtape::size_of(one); ++l) {
    Shape at = places(one, l);
    Row line(n);
    for (std::size_t i = 0; i < n; ++i) at[a] = i, line[i] = x.x[number_at(x.shape, at)];
    line = f(line, l);
    for (std::size_t i = 0; i < line.size(); ++i) at[a] = i, y.x[number_at(shape, at)] = line[i];
  }
  return y;
}
/// f(row) of what the axes hold, in row-major order; they stay with length 1, or are gone.
template <class F>
Array reduced(const Array& x, const std::vector<int>& axes, bool keep, F f) {
  std::vector<bool> goes(x.shape.size(), false);
  for (int axis : axes) goes[axis_from(axis, x.shape)] = true;
  Shape kept, shape;
  for (std::size_t a = 0; a < x.shape.size(); ++a) {
    kept.push_back(goes[a] ? 1 : x.shape[a]);
    if (keep || !goes[a]) shape.push_back(kept.back());
  }
  std::vector<Row> rows(argtape::size_of(kept));
  for (std::size_t i = 0; i < x.x.size(); ++i) {
    Shape at = places(x.shape, i);
    for (std::size_t a = 0; a < at.size(); ++a)
      if (goes[a]) at[a] = 0;
    rows[number_at(kept, at)].push_back(x.x[i]);
  }
  Array y{shape, {}};
  for (const Row& row : rows) y.x.push_back(f(row));
  return y;
}
inline Array reshaped(Array x, const Shape& shape) { return {shape, std::move(x.x)}; }

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
