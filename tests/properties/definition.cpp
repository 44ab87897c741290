#include "tests/properties/definition.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/sweep.hpp"

namespace plain {
namespace {

using namespace argtape;
using Limits = std::numeric_limits<Scalar>;

// Errors add up in another order than the definition's, and a few functions are not rounded right.
constexpr long double kSlack = 8;

std::string in_words(const Example& example, const Tensor& weight) {
  std::string text = example.settings.empty() ? "" : "\n  with " + example.settings;
  for (std::size_t i = 0; i < example.points.size(); ++i)
    text += "\n  x" + std::to_string(i) + " " + str(example.points[i].shape()) + ": " +
            str(example.points[i], 9);
  return text + "\n  arriving " + str(weight.shape()) + ": " + str(weight, 9);
}

// The definition is gone through once for each number that a slope is looked at for: of many, for
// some.
constexpr std::size_t kMostSlopes = 12;

// "", or which number of a gradient for point i of sum(weight y) is not what it is by definition.
std::string wrong_slope(const Example& example, Arrays inputs, std::size_t i, const Tensor& weight,
                        const Tensor& found, const Tensor& recorded, std::size_t first) {
  const std::size_t n = found.size(), step = n / kMostSlopes + 1;
  for (std::size_t k = first % step; k < n; k += step) {
    inputs[i].x[k].d.v = 1;
    const Array y = example.plain(inputs);
    inputs[i].x[k].d.v = 0;
    Rounded total;
    for (std::size_t j = 0; j < y.x.size(); ++j)
      if (const Scalar w = weight.data()[j]; w != 0)
        if (const Rounded d = y.x[j].d; d.v != 0 || d.e != 0) total = total + constant(w) * d;
    for (const Tensor* gradient : {&found, &recorded})
      if (const std::string wrong = apart(gradient->data()[k], total, example.near); !wrong.empty())
        return (gradient == &found ? "gradient for x" : "recorded gradient for x") +
               std::to_string(i) + ": number " + std::to_string(k) + wrong;
  }
  return "";
}

}  // namespace

Shape places(const Shape& shape, std::size_t i) {
  Shape at = shape;
  for (std::size_t a = shape.size(); a-- > 0; i /= shape[a]) at[a] = i % shape[a];
  return at;
}
std::size_t number_at(const Shape& shape, const Shape& at) {
  std::size_t i = 0;
  for (std::size_t a = 0; a < shape.size(); ++a) i = i * shape[a] + at[a];
  return i;
}
Shape with_axis(const Shape& shape, std::size_t a, std::size_t n) {
  Shape longer;
  for (std::size_t i = 0; i <= shape.size(); ++i) {
    if (i == a) longer.push_back(n);
    if (i < shape.size()) longer.push_back(shape[i]);
  }
  return longer;
}
Shape without_axis(const Shape& shape, std::size_t a) {
  Shape shorter = shape;
  shorter.erase(shorter.begin() + a);
  return shorter;
}
std::size_t axis_from(int axis, const Shape& shape) {
  return static_cast<std::size_t>(axis < 0 ? axis + static_cast<int>(shape.size()) : axis);
}

Array made(const Shape& shape, const std::function<Number(const Shape&)>& f) {
  Array y{shape, {}};
  for (std::size_t i = 0; i < size_of(shape); ++i) y.x.push_back(f(places(shape, i)));
  return y;
}
Array reshaped(Array x, const Shape& shape) { return {shape, std::move(x.x)}; }
Number stretched_at(const Array& x, const Shape& at) {
  Shape own(at.end() - static_cast<std::ptrdiff_t>(x.shape.size()), at.end());
  for (std::size_t a = 0; a < own.size(); ++a)
    if (x.shape[a] == 1) own[a] = 0;
  return x.x[number_at(x.shape, own)];
}
Array stretched(const Array& x, const Shape& shape) {
  return made(shape, [&](const Shape& at) { return stretched_at(x, at); });
}
Shape common(const Arrays& all) {
  Shape shape;
  for (const Array& x : all) {
    while (shape.size() < x.shape.size()) shape = with_axis(shape, 0, 1);
    for (std::size_t a = 0; a < x.shape.size(); ++a) {
      std::size_t& n = shape[shape.size() - x.shape.size() + a];
      if (n == 1) n = x.shape[a];
    }
  }
  return shape;
}
Array each(const Arrays& all, const std::function<Number(const Row&)>& f) {
  return made(common(all), [&](const Shape& at) {
    Row row;
    for (const Array& x : all) row.push_back(stretched_at(x, at));
    return f(row);
  });
}
Array lines(const Array& x, int axis, const std::function<Row(const Row&, std::size_t)>& f) {
  const std::size_t a = axis_from(axis, x.shape), n = x.shape[a];
  Shape one = x.shape, shape = x.shape;
  one[a] = 1;
  shape[a] = f(Row(n), 0).size();
  Array y{shape, Row(size_of(shape))};
  for (std::size_t l = 0; l < size_of(one); ++l) {
    Shape at = places(one, l);
    Row line(n);
    for (std::size_t i = 0; i < n; ++i) at[a] = i, line[i] = x.x[number_at(x.shape, at)];
    line = f(line, l);
    for (std::size_t i = 0; i < line.size(); ++i) at[a] = i, y.x[number_at(shape, at)] = line[i];
  }
  return y;
}
Array reduced(const Array& x, const std::vector<int>& axes, bool keep,
              const std::function<Number(const Row&)>& f) {
  std::vector<bool> goes(x.shape.size(), false);
  for (int axis : axes) goes[axis_from(axis, x.shape)] = true;
  Shape kept, shape;
  for (std::size_t a = 0; a < x.shape.size(); ++a) {
    kept.push_back(goes[a] ? 1 : x.shape[a]);
    if (keep || !goes[a]) shape.push_back(kept.back());
  }
  std::vector<Row> rows(size_of(kept));
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
Array row_by_row(const Arrays& x, const std::function<Row(const Rows&)>& f) {
  const Shape shape = common(x);
  Arrays all;
  for (const Array& part : x) all.push_back(stretched(part, shape));
  return lines(all[0], -1, [&](const Row& first, std::size_t row) {
    Rows rows = {first};
    for (std::size_t i = 1; i < all.size(); ++i)
      rows.push_back(all[i].x.empty() ? first : row_of(all[i], row, first.size()));
    return f(rows);
  });
}
Array number_by_row(const Arrays& x, const std::function<Number(const Rows&)>& f) {
  Array y = row_by_row(x, [&](const Rows& rows) { return Row{f(rows)}; });
  y.shape = without_axis(y.shape, y.shape.size() - 1);
  return y;
}

Array array_of(const Tensor& t) { return {t.shape(), row_of(t, 0, t.size())}; }
Row row_of(const Tensor& t, std::size_t r, std::size_t n) {
  Row row;
  for (std::size_t i = 0; i < n; ++i)
    row.push_back({{static_cast<long double>(t.data()[r * n + i]), 0}, {}});
  return row;
}
Row row_of(const Array& x, std::size_t r, std::size_t n) {
  const auto at = x.x.begin() + static_cast<std::ptrdiff_t>(r * n);
  return Row(at, at + static_cast<std::ptrdiff_t>(n));
}

std::string apart(Scalar number, const Rounded& expected, long double near) {
  const auto found = static_cast<long double>(number);
  if (std::isnan(expected.v) && std::isnan(found)) return "";
  if (found == expected.v || number == static_cast<Scalar>(expected.v)) return "";
  const long double bound = kSlack * (expected.e * Limits::epsilon() + Limits::min()) + near;
  // What is added up may be beyond the range on the way.
  if (std::abs(expected.v) + expected.e > Limits::max() / 4 && !std::isfinite(found)) return "";
  if (!std::isnan(expected.v) && (std::isnan(bound) || std::abs(found - expected.v) <= bound))
    return "";
  return " is " + str(static_cast<double>(found), 17) + ", by definition " +
         str(static_cast<double>(expected.v), 17) + " +- " + str(static_cast<double>(bound), 3);
}

std::string wrong_with(const Example& example, Draws& draws) {
  Tape tape;
  std::vector<Var> x, wanted;
  Arrays inputs;
  std::vector<std::size_t> which;
  for (const Tensor& point : example.points) {
    inputs.push_back(array_of(point));
    if (draws.rarely()) {
      x.push_back(tape.constant(point));
      continue;
    }
    which.push_back(x.size());
    x.push_back(tape.parameter(point));
    wanted.push_back(x.back());
  }
  const Var y = example.f(x);
  const Array expected = example.plain(inputs);
  const Tensor weight = draws.weights(y.shape());
  const std::size_t first = draws.below(100);
  std::string wrong;
  if (y.shape() != expected.shape)
    wrong = "value: " + str(y.shape()) + ", by definition " + str(expected.shape);
  for (std::size_t k = 0; k < expected.x.size() && wrong.empty(); ++k)
    if (wrong = apart(y.value().data()[k], expected.x[k].v, example.near); !wrong.empty())
      wrong = "value: number " + std::to_string(k) + wrong;
  if (wrong.empty() && !wanted.empty()) {
    const Var w = tape.constant(weight);
    const Gradients found = backward(y, {}, w);
    const std::vector<Var> recorded = differentiate(y, wanted, w);
    for (std::size_t i = 0; i < wanted.size() && wrong.empty(); ++i)
      wrong = wrong_slope(example, inputs, which[i], weight, found[wanted[i]], recorded[i].value(),
                          first);
  }
  return wrong.empty() ? "" : wrong + in_words(example, weight);
}

}  // namespace plain
