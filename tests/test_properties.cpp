// Every op of the menu against its definition in plain loops, in value and gradient, for random
// shapes and numbers; and that none is forgotten. Built for both libraries.
#include <filesystem>
#include <fstream>
#include <set>
#include <variant>

#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/distance.hpp"
#include "ops/distributions.hpp"
#include "ops/expectation.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/hungarian.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/pool.hpp"
#include "ops/relaxed_top_k.hpp"
#include "ops/rules/gumbel_sinkhorn.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/sort.hpp"
#include "ops/temperature.hpp"
#include "ops/top_k.hpp"
#include "tests/menu.hpp"
#include "tests/solvers.hpp"

using plain::Array, plain::Arrays, plain::Defined, plain::Example, plain::Number, plain::Row;
using Indices = std::vector<std::size_t>;
using Tensors = std::vector<Tensor>;

namespace {

// ---- Along one axis, or several.

struct Line {
  Shape shape;
  int axis;
  // `least` numbers at least on the axis.
  explicit Line(Draws& d, std::size_t least = 0) : shape(d.shape(1, 5)), axis(d.axis(shape)) {
    std::size_t& n = shape[plain::axis_from(axis, shape)];
    n = std::max(n, least);
  }
  std::size_t place() const { return plain::axis_from(axis, shape); }
  std::size_t length() const { return shape[place()]; }
};
std::string words(const char* what, std::size_t n) {
  return std::string(", ") + what + " " + std::to_string(n);
}

// f(line) along an axis of one tensor.
template <class Op, class F>
Example along(Draws& d, const Line& line, Op op, F f, const std::string& words = "") {
  return {{d.numbers(line.shape)},
          [op, a = line.axis](const Vars& v) { return op(v[0], a); },
          [f, a = line.axis](const Arrays& x) {
            return plain::lines(x[0], a, [&](const Row& row, std::size_t) { return f(row); });
          },
          "axis " + std::to_string(line.axis) + words};
}
template <class Op, class F>
Example along(Draws& d, Op op, F f) {
  return along(d, Line(d), op, f);
}

// f(row) of what several axes hold, or all.
template <class Op, class F>
Example reduction(Draws& d, Op op, F f, bool of_something = true) {
  Shape shape = d.shape(0, 5);
  if (of_something)
    for (std::size_t& n : shape) n = std::max<std::size_t>(n, 1);
  Axes axes;
  const auto rank = static_cast<int>(shape.size());
  for (int a = 0; a < rank; ++a)
    if (d.below(2)) axes.push_back(d.below(2) ? a : a - rank);
  const bool all = axes.empty() && d.below(2), keep = d.below(2);
  std::vector<int> gone(axes.begin(), axes.end());
  for (int a = 0; all && a < rank; ++a) gone.push_back(a);
  std::string words = "axes";
  for (int a : gone) words += " " + std::to_string(a);
  return {{d.numbers(shape)},
          [=](const Vars& v) { return all ? op(v[0]) : op(v[0], axes, KeepAxes(keep)); },
          [=](const Arrays& x) { return plain::reduced(x[0], gone, keep && !all, f); },
          words + (keep ? ", kept" : "")};
}

Number mean_of(const Row& x) { return plain::total(x) / plain::count(x); }
Number variance_of(const Row& x) {
  const Number mean = mean_of(x);
  Number sum;
  for (Number v : x) sum += square(v - mean);
  return sum / plain::count(x);
}
Number norm_of(const Row& x) {
  Number sum;
  for (Number v : x) sum += square(v);
  return sum.value() == 0 ? Number() : sqrt(sum);
}

#define CALL(f) [](auto... a) { return f(a...); }
const Defined kReductions[] = {
    {"sum", [](Draws& d) { return reduction(d, CALL(sum), plain::total, false); }},
    {"prod",
     [](Draws& d) {
       return reduction(
           d, CALL(prod),
           [](const Row& x) {
             Number y = 1;
             for (Number v : x) y = y * v;
             return y;
           },
           false);
     }},
    {"mean", [](Draws& d) { return reduction(d, CALL(mean), mean_of); }},
    {"max",
     [](Draws& d) {
       return reduction(d, CALL(max), [](const Row& x) { return x[plain::place_of_largest(x)]; });
     }},
    {"min",
     [](Draws& d) {
       return reduction(d, CALL(min),
                        [](const Row& x) { return x[plain::place_of_largest(Number(-1) * x)]; });
     }},
    {"variance", [](Draws& d) { return reduction(d, CALL(variance), variance_of); }},
    {"norm", [](Draws& d) { return reduction(d, CALL(norm), norm_of); }},
    {"logsumexp", [](Draws& d) { return reduction(d, CALL(logsumexp), plain::logsumexp); }},
    {"logmeanexp",
     [](Draws& d) {
       const Line line(d, 1);
       return Example{{d.numbers(line.shape)},
                      [=](const Vars& v) { return logmeanexp(v[0], line.axis); },
                      [=](const Arrays& x) {
                        return plain::reduced(x[0], {line.axis}, false, [](const Row& row) {
                          return plain::logsumexp(row) - log(plain::count(row));
                        });
                      },
                      "axis " + std::to_string(line.axis)};
     }},
};

const Defined kLines[] = {
    {"cumsum",
     [](Draws& d) {
       return along(d, CALL(cumsum), [](Row x) {
         for (std::size_t i = 1; i < x.size(); ++i) x[i] += x[i - 1];
         return x;
       });
     }},
    {"flip",
     [](Draws& d) {
       return along(d, CALL(flip), [](const Row& x) { return Row(x.rbegin(), x.rend()); });
     }},
    {"softmax", [](Draws& d) { return along(d, CALL(softmax), plain::softmax); }},
    {"log_softmax", [](Draws& d) { return along(d, CALL(log_softmax), plain::log_softmax); }},
    {"sort",
     [](Draws& d) {
       const Order order = d.one_of({Order::ascending, Order::descending});
       return along(
           d, [=](Var x, int axis) { return sort(x, axis, order); },
           [=](Row x) {
             std::stable_sort(x.begin(), x.end(), [=](Number a, Number b) {
               return order == Order::ascending ? a.value() < b.value() : b.value() < a.value();
             });
             return x;
           });
     }},
    {"argsort",
     [](Draws& d) {
       return along(
           d,
           [](Var x, int axis) {
             const Indices found = argsort(x.value(), axis);
             Tensor y(x.shape());
             std::copy(found.begin(), found.end(), y.begin());
             return x.tape->constant(y);
           },
           [](const Row& x) {
             Indices order(x.size());
             std::iota(order.begin(), order.end(), std::size_t{0});
             std::stable_sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
               return x[i].value() < x[j].value();
             });
             Row y;
             for (std::size_t i : order) y.emplace_back(static_cast<double>(i));
             return y;
           });
     }},
    {"slice",
     [](Draws& d) {
       const Line line(d);
       const std::size_t n = line.length(), begin = d.below(n + 1),
                         end = begin + d.below(n - begin + 1), step = d.some(3);
       return along(
           d, line, [=](Var x, int axis) { return slice(x, begin, end, axis, step); },
           [=](const Row& x) {
             Row y;
             for (std::size_t i = begin; i < end; i += step) y.push_back(x[i]);
             return y;
           },
           words("from", begin) + words("to", end) + words("by", step));
     }},
    {"pad",
     [](Draws& d) {
       const std::size_t before = d.below(4), after = d.below(4);
       return along(
           d, Line(d), [=](Var x, int axis) { return pad(x, before, after, axis); },
           [=](const Row& x) {
             Row y(before);
             y.insert(y.end(), x.begin(), x.end());
             y.resize(y.size() + after);
             return y;
           },
           words("before", before) + words("after", after));
     }},
    {"take",
     [](Draws& d) {
       const Line line(d, 1);
       const Indices which = d.indices(d.below(5), line.length());
       return along(
           d, line, [=](Var x, int axis) { return take(x, which, axis); },
           [=](const Row& x) {
             Row y;
             for (std::size_t i : which) y.push_back(x[i]);
             return y;
           });
     }},
    {"split",
     [](Draws& d) {
       const Line line(d);
       const std::size_t n = line.length(), first = d.below(n + 1), part = d.below(2);
       return along(
           d, line,
           [=](Var x, int axis) {
             return split(x, Indices{first, n - first}, axis)[part];
           },
           [=](const Row& x) {
             const auto middle = x.begin() + static_cast<std::ptrdiff_t>(first);
             return part == 0 ? Row(x.begin(), middle) : Row(middle, x.end());
           },
           words("after", first) + words("part", part));
     }},
    {"split of one length",
     [](Draws& d) {
       const Line line(d, 1);
       const std::size_t n = line.length(), length = d.some(4),
                         part = d.below((n + length - 1) / length);
       return along(
           d, line, [=](Var x, int axis) { return split(x, length, axis)[part]; },
           [=](const Row& x) {
             Row y;
             for (std::size_t i = part * length; i < std::min(n, (part + 1) * length); ++i)
               y.push_back(x[i]);
             return y;
           },
           words("length", length) + words("part", part));
     }},
    {"take_along_axis",
     [](Draws& d) {
       const Line line(d, 1);
       const std::size_t rows = size_of(line.shape) / line.length(), length = d.below(4);
       Shape to = line.shape;
       to[line.place()] = rows == 0 ? 0 : length;
       const Indices which = d.indices(rows * length, line.length());
       return Example{{d.numbers(line.shape)},
                      [=](const Vars& v) { return take_along_axis(v[0], which, line.axis); },
                      [=](const Arrays& x) {
                        std::size_t i = 0;
                        return plain::made(to, [&](Shape at) {
                          at[line.place()] = which[i++];
                          return x[0].x[plain::number_at(line.shape, at)];
                        });
                      },
                      "axis " + std::to_string(line.axis) + words("length", length)};
     }},
    {"scatter_add",
     [](Draws& d) {
       const Line line(d);
       const std::size_t length = d.some(4);
       Shape to = line.shape;
       to[line.place()] = length;
       const Indices which = d.indices(size_of(line.shape), length);
       return Example{{d.numbers(line.shape)},
                      [=](const Vars& v) { return scatter_add(v[0], which, length, line.axis); },
                      [=](const Arrays& x) {
                        Array y{to, Row(size_of(to))};
                        for (std::size_t i = 0; i < which.size(); ++i) {
                          Shape at = plain::places(line.shape, i);
                          at[line.place()] = which[i];
                          y.x[plain::number_at(to, at)] += x[0].x[i];
                        }
                        return y;
                      },
                      "axis " + std::to_string(line.axis) + words("length", length)};
     }},
};

// ---- What moves numbers.

// The numbers one after the other under another shape.
template <class Op>
Example same_numbers(const Tensor& x, const Shape& to, Op op) {
  return {{x},
          [=](const Vars& v) { return op(v[0]); },
          [=](const Arrays& x) { return plain::reshaped(x[0], to); },
          "to " + str(to)};
}

Shape with_axis(Shape shape, std::size_t a, std::size_t n) {
  const Shape one = {n};
  shape.insert(shape.begin() + a, one.begin(), one.end());
  return shape;
}
Shape without_axis(Shape shape, std::size_t a) {
  shape.erase(shape.begin() + a);
  return shape;
}
// Place a of so many, or the same counted from the end.
int either_way(Draws& d, std::size_t a, std::size_t rank) {
  return static_cast<int>(a) - (d.below(2) ? static_cast<int>(rank) : 0);
}
Shape of_something(Shape shape) {
  for (std::size_t& n : shape) n = std::max<std::size_t>(n, 1);
  return shape;
}

const Defined kMoves[] = {
    {"reshape",
     [](Draws& d) {
       const Shape from = d.shape(0, 5);
       Shape to = with_axis(from, d.below(from.size() + 1), 1);
       std::reverse(to.begin(), to.end());
       return same_numbers(d.numbers(from), to, [=](Var x) { return reshape(x, to); });
     }},
    {"reshape with an open length",
     [](Draws& d) {
       const Tensor x = d.numbers(d.shape(0, 5));
       return same_numbers(x, {x.size()}, [](Var x) { return reshape(x, {-1}); });
     }},
    {"expand_dims",
     [](Draws& d) {
       const Shape from = d.shape(0, 4);
       const std::size_t a = d.below(from.size() + 1);
       const int axis = either_way(d, a, from.size() + 1);
       return same_numbers(d.numbers(from), with_axis(from, a, 1),
                           [=](Var x) { return expand_dims(x, axis); });
     }},
    {"squeeze",
     [](Draws& d) {
       Line line(d);
       line.shape[line.place()] = 1;
       return same_numbers(d.numbers(line.shape), without_axis(line.shape, line.place()),
                           [=](Var x) { return squeeze(x, line.axis); });
     }},
    {"transpose",
     [](Draws& d) {
       const Shape from = d.shape(0, 5);
       const bool reverse = d.below(2);
       Indices order = d.permutation(from.size());
       if (reverse)
         for (std::size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;
       Axes axes;
       Shape to = from;
       for (std::size_t i = 0; i < order.size(); ++i) {
         axes.push_back(either_way(d, order[i], from.size()));
         to[i] = from[order[i]];
       }
       return Example{
           {d.numbers(from)},
           [=](const Vars& v) { return reverse ? transpose(v[0]) : transpose(v[0], axes); },
           [=](const Arrays& x) {
             return plain::made(to, [&](const Shape& at) {
               Shape own = at;
               for (std::size_t a = 0; a < at.size(); ++a) own[order[a]] = at[a];
               return x[0].x[plain::number_at(from, own)];
             });
           },
           "to " + str(to)};
     }},
    {"broadcast",
     [](Draws& d) {
       const Shape to = d.shape(0, 5);
       return Example{{d.numbers(d.stretched_to(to))},
                      [=](const Vars& v) { return broadcast(v[0], to); },
                      [=](const Arrays& x) { return plain::stretched(x[0], to); },
                      "to " + str(to)};
     }},
    {"concatenate",
     [](Draws& d) {
       const Line line(d);
       const std::size_t a = line.place();
       Tensors points;
       for (std::size_t parts = d.some(3); parts > 0; --parts)
         points.push_back(d.numbers(with_axis(without_axis(line.shape, a), a, d.below(4))));
       return Example{points, [=](const Vars& v) { return concatenate(v, line.axis); },
                      [=](const Arrays& x) {
                        Shape to = line.shape;
                        to[a] = 0;
                        for (const Array& part : x) to[a] += part.shape[a];
                        return plain::made(to, [&](Shape at) {
                          std::size_t part = 0;
                          while (at[a] >= x[part].shape[a]) at[a] -= x[part++].shape[a];
                          return x[part].x[plain::number_at(x[part].shape, at)];
                        });
                      },
                      "axis " + std::to_string(line.axis)};
     }},
    {"stack",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       const std::size_t a = d.below(shape.size() + 1);
       const int axis = either_way(d, a, shape.size() + 1);
       Tensors points;
       for (std::size_t parts = d.some(3); parts > 0; --parts) points.push_back(d.numbers(shape));
       return Example{points, [=](const Vars& v) { return stack(v, axis); },
                      [=](const Arrays& x) {
                        return plain::made(with_axis(shape, a, x.size()), [&](const Shape& at) {
                          return x[at[a]].x[plain::number_at(shape, without_axis(at, a))];
                        });
                      },
                      "axis " + std::to_string(axis)};
     }},
    {"element",
     [](Draws& d) {
       Shape shape = d.shape(1, 5);
       shape[0] = std::max<std::size_t>(shape[0], 1);
       const std::size_t i = d.below(shape[0]);
       const int place = either_way(d, i, shape[0]);
       return Example{{d.numbers(shape)},
                      [=](const Vars& v) { return element(v[0], place); },
                      [=](const Arrays& x) {
                        return plain::made(without_axis(shape, 0), [&](const Shape& at) {
                          return x[0].x[plain::number_at(shape, with_axis(at, 0, i))];
                        });
                      },
                      "element " + std::to_string(place)};
     }},
    {"gather",
     [](Draws& d) {
       const Shape from = of_something(d.shape(0, 4)), to = d.shape(0, 3);
       const Indices which = d.indices(size_of(to), size_of(from));
       return Example{{d.numbers(from)},
                      [=](const Vars& v) { return gather(v[0], which, to); },
                      [=](const Arrays& x) {
                        Array y{to, {}};
                        for (std::size_t i : which) y.x.push_back(x[0].x[i]);
                        return y;
                      },
                      "to " + str(to)};
     }},
    {"scatter",
     [](Draws& d) {
       const Shape from = d.shape(0, 4), to = of_something(d.shape(0, 3));
       const Indices which = d.indices(size_of(from), size_of(to));
       return Example{{d.numbers(from)},
                      [=](const Vars& v) { return scatter(v[0], which, to); },
                      [=](const Arrays& x) {
                        Array y{to, Row(size_of(to))};
                        for (std::size_t i = 0; i < which.size(); ++i) y.x[which[i]] += x[0].x[i];
                        return y;
                      },
                      "to " + str(to)};
     }},
    {"one_hot",
     [](Draws& d) {
       const std::size_t classes = d.some(5);
       const Indices labels = d.indices(d.below(4), classes);
       return Example{{Tensor(1)},
                      [=](const Vars& v) { return v[0] * one_hot(labels, classes); },
                      [=](const Arrays& x) {
                        return plain::made({labels.size(), classes}, [&](const Shape& at) {
                          return labels[at[0]] == at[1] ? x[0].x[0] : Number(0);
                        });
                      },
                      str(static_cast<double>(classes)) + " classes"};
     }},
};

// ---- Row by row, of one tensor or of several that stretch to one shape.

// f(rows) for each row along the last axis of tensors of one shape, of which the result has one, or
// one number.
template <class F>
Array row_by_row(const Arrays& x, F f) {
  const Shape shape = plain::common(x);
  Arrays all;
  for (const Array& part : x) all.push_back(plain::stretched(part, shape));
  return plain::lines(all[0], -1, [&](const Row& first, std::size_t row) {
    std::vector<Row> rows = {first};
    for (std::size_t i = 1; i < all.size(); ++i) {
      rows.emplace_back(first.size());
      for (std::size_t k = 0; k < first.size() && row * first.size() < all[i].x.size(); ++k)
        rows[i][k] = all[i].x[row * first.size() + k];
    }
    return f(rows);
  });
}
// The same, without the last axis: f gives a number.
template <class F>
Array number_by_row(const Arrays& x, F f) {
  Array y = row_by_row(x, [&](const std::vector<Row>& rows) { return Row{f(rows)}; });
  y.shape = without_axis(y.shape, y.shape.size() - 1);
  return y;
}
using Rows = std::vector<Row>;

// Rows of at least one category.
Shape categories(Draws& d, std::size_t most_axes = 4) {
  Shape shape = d.shape(1, most_axes);
  shape.back() = std::max<std::size_t>(shape.back(), 1);
  return shape;
}
double temperature(Draws& d) { return d.one_of({1.0, 0.5, 2.0, 0.75, 0.125}); }
std::string tau_words(double tau) { return "tau " + str(tau); }
// Probabilities: a softmax of modest numbers.
Tensor probabilities(Draws& d, const Shape& shape) {
  Tape tape;
  return softmax(tape.constant(d.fractions(shape, 4, 3))).value();
}

// What stretches to `shape`, but for its last axis.
Shape stretched_rows(Draws& d, const Shape& shape) {
  Shape s = d.stretched_to(shape);
  if (s.empty()) return {shape.back()};
  s.back() = shape.back();
  return s;
}
Number divergence(const Rows& logits) {
  const Row q = plain::log_softmax(logits[0]), p = plain::log_softmax(logits[1]);
  Number sum;
  for (std::size_t k = 0; k < q.size(); ++k) sum += exp(q[k]) * (q[k] - p[k]);
  return sum;
}
// Of rows of means and log-variances, of q and of p.
Number kl_of_normals(const Rows& r) {
  Number sum;
  for (std::size_t k = 0; k < r[0].size(); ++k)
    sum +=
        r[3][k] - r[1][k] - Number(1) + (exp(r[1][k]) + square(r[0][k] - r[2][k])) / exp(r[3][k]);
  return sum / Number(2);
}
// log of (K-1)! tau^(K-1) prod softmax(l - tau log y).
Number concrete(const Row& log_y, const Row& logits, Number tau) {
  const auto k = static_cast<double>(log_y.size());
  return Number(std::lgamma(k)) + Number(k - 1) * log(tau) +
         plain::total(plain::log_softmax(logits - tau * log_y));
}
Var first_of_last(Var x) { return squeeze(slice(x, 0, 1, -1), -1); }
Array first_of_last(const Array& x) {
  return plain::reduced(x, {-1}, false, [](const Row& r) { return r[0]; });
}
// P (..., n, n), whose column j is a softmax of score(s, i, j) / tau over the items i.
template <class Op, class Score>
Example soft_order(Draws& d, Op op, Score score) {
  Shape shape = categories(d, 3);
  shape.back() = std::min<std::size_t>(shape.back(), 9);
  const double tau = temperature(d);
  return {{d.fractions(shape, 64, 3)},
          [=](const Vars& v) { return op(v[0], tau); },
          [=](const Arrays& x) {
            const std::size_t n = shape.back();
            return plain::made(with_axis(shape, shape.size(), n), [&](Shape at) {
              const std::size_t j = at.back(), i = at[at.size() - 2];
              const std::size_t row =
                  plain::number_at(x[0].shape, without_axis(at, at.size() - 1)) / n;
              const Row s(x[0].x.begin() + static_cast<std::ptrdiff_t>(row * n),
                          x[0].x.begin() + static_cast<std::ptrdiff_t>((row + 1) * n));
              Row scores;
              for (std::size_t k = 0; k < n; ++k) scores.push_back(score(s, k, j) / Number(tau));
              return plain::softmax(scores)[i];
            });
          },
          tau_words(tau)};
}

const Defined kRowByRow[] = {
    {"softmax_jacobian",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double scale = d.one_of({1.0, 0.5, -3.0});
       return Example{{probabilities(d, shape), d.numbers(shape)},
                      [=](const Vars& v) { return softmax_jacobian(v[0], v[1], scale); },
                      [=](const Arrays& x) {
                        return row_by_row(x, [=](const Rows& r) {
                          return Number(scale) * plain::jacobian(r[0], r[1]);
                        });
                      },
                      "scale " + str(scale)};
     }},
    {"relaxed_jacobian",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double tau = temperature(d);
       const bool noisy = d.below(2);
       Tensors points = {d.fractions(shape, 4, 3), d.numbers(shape)};
       if (noisy) points.push_back(d.fractions(shape, 64, 3));
       return Example{
           points,
           [=](const Vars& v) { return relaxed_jacobian(v[0], v[1], tau, noisy ? v[2] : Var()); },
           [=](const Arrays& x) {
             return row_by_row(x, [=](const Rows& r) {
               const Row p = plain::softmax((noisy ? r[0] + r[2] : r[0]) / tau);
               return plain::jacobian(p, r[1]) / tau;
             });
           },
           tau_words(tau)};
     }},
    {"log_softmax_vjp",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.fractions(shape, 4, 3), d.numbers(shape)},
                      [](const Vars& v) { return log_softmax_vjp(v[0], v[1]); },
                      [](const Arrays& x) {
                        return row_by_row(x, [](const Rows& r) {
                          Row y = r[1];
                          for (std::size_t k = 0; k < y.size(); ++k)
                            y[k] = y[k] - exp(r[0][k]) * plain::total(r[1]);
                          return y;
                        });
                      },
                      ""};
     }},
    {"cross_entropy of labels",
     [](Draws& d) {
       const Shape shape = categories(d);
       const Indices labels = d.indices(size_of(shape) / shape.back(), shape.back());
       return Example{{d.numbers(shape)},
                      [=](const Vars& v) { return cross_entropy(v[0], labels); },
                      [=](const Arrays& x) {
                        std::size_t row = 0;
                        return plain::reduced(x[0], {-1}, false, [&](const Row& l) {
                          return -plain::log_softmax(l)[labels[row++]];
                        });
                      },
                      ""};
     }},
    {"cross_entropy of probabilities",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.numbers(shape), probabilities(d, stretched_rows(d, shape))},
                      [](const Vars& v) { return cross_entropy(v[0], v[1]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          return -plain::dot(r[1], plain::log_softmax(r[0]));
                        });
                      },
                      ""};
     }},
    {"kl_categorical",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.numbers(shape), d.numbers(stretched_rows(d, shape))},
                      [](const Vars& v) { return kl_categorical(v[0], v[1]); },
                      [](const Arrays& x) { return number_by_row(x, divergence); },
                      ""};
     }},
    {"kl_categorical_uniform",
     [](Draws& d) {
       return Example{{d.numbers(categories(d))},
                      [](const Vars& v) { return kl_categorical_uniform(v[0]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          return divergence({r[0], Row(r[0].size())});
                        });
                      },
                      ""};
     }},
    {"kl_gaussian",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.numbers(shape), d.fractions(d.stretched_to(shape), 64, 3)},
                      [](const Vars& v) { return kl_gaussian(v[0], v[1]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          return kl_of_normals({r[0], r[1], Row(r[0].size()), Row(r[0].size())});
                        });
                      },
                      ""};
     }},
    {"kl_gaussian of two",
     [](Draws& d) {
       const Shape shape = categories(d);
       const auto other = [&] { return d.fractions(d.stretched_to(shape), 64, 3); };
       return Example{{d.numbers(shape), d.fractions(shape, 64, 3), other(), other()},
                      [](const Vars& v) { return kl_gaussian(v[0], v[1], v[2], v[3]); },
                      [](const Arrays& x) { return number_by_row(x, kl_of_normals); },
                      ""};
     }},
    {"layer_norm",
     [](Draws& d) {
       const Shape shape = categories(d);
       const Shape one = {}, last = {shape.back()};
       const bool number = d.below(4) == 0;
       return Example{
           {d.numbers(shape), d.numbers(number ? one : last), d.numbers(d.below(4) ? last : one)},
           [](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-3); },
           [](const Arrays& x) {
             return row_by_row(x, [](const Rows& r) {
               const Number mean = mean_of(r[0]), scale = sqrt(variance_of(r[0]) + Number(1e-3));
               Row y = r[0];
               for (std::size_t k = 0; k < y.size(); ++k)
                 y[k] = (y[k] - mean) / scale * r[1][k] + r[2][k];
               return y;
             });
           },
           ""};
     }},
    {"bce_with_logits",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), probabilities(d, with_axis(shape, shape.size(), 2))},
                      [](const Vars& v) { return bce_with_logits(v[0], first_of_last(v[1])); },
                      [](const Arrays& x) {
                        return plain::each({x[0], first_of_last(x[1])}, [](const Row& r) {
                          return softplus(r[0]) - r[1] * r[0];
                        });
                      },
                      ""};
     }},
    {"squared_error",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), d.numbers(d.stretched_to(shape))},
                      [](const Vars& v) { return squared_error(v[0], v[1]); },
                      [](const Arrays& x) {
                        return plain::each(x, [](const Row& r) { return square(r[0] - r[1]); });
                      },
                      ""};
     }},
    {"relaxed_top_k",
     [](Draws& d) {
       Shape shape = categories(d, 2);
       shape.back() = std::min<std::size_t>(shape.back(), 6);
       const std::size_t k = d.some(shape.back());
       const double tau = d.one_of({1.0, 0.5, 2.0, 4.0});
       return Example{{d.fractions(shape, 4, 2)},
                      [=](const Vars& v) { return relaxed_top_k(v[0], k, tau); },
                      [=](const Arrays& x) {
                        return row_by_row(
                            x, [=](const Rows& r) { return plain::relaxed_top_k(r[0], k, tau); });
                      },
                      tau_words(tau) + words("k", k)};
     }},
    {"gumbel_softmax_log_prob",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double tau = temperature(d);
       return Example{{probabilities(d, shape), d.numbers(stretched_rows(d, shape)), full({}, tau)},
                      [](const Vars& v) { return gumbel_softmax_log_prob(v[0], v[1], v[2]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          Row log_y = r[0];
                          for (Number& v : log_y) v = log(v);
                          return concrete(log_y, r[1], r[2][0]) - plain::total(log_y);
                        });
                      },
                      ""};
     }},
    {"exp_concrete_log_prob",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double tau = temperature(d);
       Tape tape;
       const Tensor log_y = log_softmax(tape.constant(d.numbers(shape))).value();
       return Example{{log_y, d.numbers(stretched_rows(d, shape)), full({}, tau)},
                      [](const Vars& v) { return exp_concrete_log_prob(v[0], v[1], v[2]); },
                      [](const Arrays& x) {
                        return number_by_row(
                            x, [](const Rows& r) { return concrete(r[0], r[1], r[2][0]); });
                      },
                      ""};
     }},
    {"conditional_gumbels",
     [](Draws& d) {
       const Shape shape = categories(d, 3);
       Tensor choice = zeros(shape);
       for (std::size_t at = 0; at < choice.size(); at += shape.back())
         choice.data()[at + d.below(shape.back())] = 1;
       const Shape noise = d.below(2) ? with_axis(shape, 0, d.some(2)) : shape;
       return Example{
           {d.fractions(shape, 4, 3), choice, d.fractions(noise, 64, 3)},
           [](const Vars& v) { return conditional_gumbels(v[0], stop_gradient(v[1]), v[2]); },
           [](const Arrays& x) {
             return row_by_row(x, [](const Rows& r) {
               const std::size_t best = plain::place_of_largest(r[1]);
               const Row log_p = plain::log_softmax(r[0]);
               const Number top = r[2][best];
               Row y(r[0].size());
               for (std::size_t k = 0; k < y.size(); ++k)
                 y[k] = k == best ? top : top - softplus(top - (log_p[k] + r[2][k]));
               return y;
             });
           },
           ""};
     }},
    {"neural_sort",
     [](Draws& d) {
       return soft_order(d, CALL(neural_sort), [](const Row& s, std::size_t i, std::size_t j) {
         Number x = Number(2.0 * static_cast<double>(j) + 1 - static_cast<double>(s.size())) * s[i];
         for (const Number& other : s) x = x - abs(s[i] - other);
         return x;
       });
     }},
    {"soft_sort",
     [](Draws& d) {
       return soft_order(d, CALL(soft_sort), [](const Row& s, std::size_t i, std::size_t j) {
         Row sorted = s;
         std::stable_sort(sorted.begin(), sorted.end(),
                          [](Number a, Number b) { return a.value() < b.value(); });
         return -abs(s[i] - sorted[j]);
       });
     }},
};

// ---- Products of matrices, windows, distances.

// The last two axes, where a vector has none: of one row, or of one column.
Array as_matrix(const Array& x, bool row) {
  if (x.shape.size() > 1) return x;
  return plain::reshaped(x, row ? Shape{1, x.shape[0]} : Shape{x.shape[0], 1});
}
Array product(const Array& left, const Array& right) {
  const Array a = as_matrix(left, true), b = as_matrix(right, false);
  const auto before = [](const Array& x) {
    return Array{Shape(x.shape.begin(), x.shape.end() - 2), {}};
  };
  const std::size_t k = a.shape.back(), n = a.shape[a.shape.size() - 2], m = b.shape.back();
  Shape shape = plain::common({before(a), before(b)});
  const std::size_t lead = shape.size();
  shape = with_axis(with_axis(shape, lead, m), lead, n);
  Array y = plain::made(shape, [&](const Shape& at) {
    Number sum;
    Shape in_a = at, in_b = at;
    for (std::size_t i = 0; i < k; ++i) {
      in_a[lead + 1] = in_b[lead] = i;
      sum += plain::stretched_at(a, in_a) * plain::stretched_at(b, in_b);
    }
    return sum;
  });
  if (right.shape.size() == 1) y.shape = without_axis(y.shape, lead + 1);
  if (left.shape.size() == 1) y.shape = without_axis(y.shape, lead);
  return y;
}
// With its last two axes the other way round.
Array turned(const Array& x) {
  Shape shape = x.shape;
  std::swap(shape[shape.size() - 2], shape.back());
  return plain::made(shape, [&](Shape at) {
    std::swap(at[at.size() - 2], at.back());
    return x.x[plain::number_at(x.shape, at)];
  });
}
std::size_t few(Draws& d) { return d.one_of<std::size_t>({1, 2, 3, 0, 5, 9}); }
// (..., n, m), with up to two axes before, of which some are 1.
Tensor matrices(Draws& d, const Shape& before, std::size_t n, std::size_t m) {
  const Shape lead = d.stretched_to(before);
  return d.numbers(with_axis(with_axis(lead, lead.size(), m), lead.size(), n));
}
Shape few_axes(Draws& d) {
  Shape shape(d.below(3));
  for (std::size_t& n : shape) n = d.one_of<std::size_t>({1, 2, 3, 0});
  return shape;
}

const Defined kProducts[] = {
    {"matmul",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       const Tensor a = d.rarely() ? d.numbers({k}) : matrices(d, before, n, k),
                    b = d.rarely() ? d.numbers({k}) : matrices(d, before, k, m);
       return Example{{a, b},
                      [](const Vars& v) { return matmul(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], x[1]); },
                      ""};
     }},
    {"matmul_transposed",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       return Example{{matrices(d, before, n, k), matrices(d, before, m, k)},
                      [](const Vars& v) { return matmul_transposed(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], turned(x[1])); },
                      ""};
     }},
    {"dense",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), k = few(d), m = few(d);
       const Shape x = with_axis(with_axis(before, before.size(), k), before.size(), n);
       return Example{{d.numbers(x), d.numbers({k, m}), d.numbers({m})},
                      [](const Vars& v) { return dense(v[0], v[1], v[2]); },
                      [](const Arrays& x) {
                        return plain::each({product(x[0], x[1]), x[2]},
                                           [](const Row& r) { return r[0] + r[1]; });
                      },
                      ""};
     }},
    {"outer",
     [](Draws& d) {
       return Example{{d.numbers({few(d)}), d.numbers({few(d)})},
                      [](const Vars& v) { return outer(v[0], v[1]); },
                      [](const Arrays& x) {
                        return plain::made({x[0].x.size(), x[1].x.size()}, [&](const Shape& at) {
                          return x[0].x[at[0]] * x[1].x[at[1]];
                        });
                      },
                      ""};
     }},
    {"dot",
     [](Draws& d) {
       const Shape shape = {d.length()};
       return Example{{d.numbers(shape), d.numbers(shape)},
                      [](const Vars& v) { return dot(v[0], v[1]); },
                      [](const Arrays& x) {
                        return Array{{}, {plain::dot(x[0].x, x[1].x)}};
                      },
                      ""};
     }},
    {"squared_distances",
     [](Draws& d) {
       const std::size_t n = few(d), k = few(d), dimension = d.length();
       return Example{
           {d.numbers({n, dimension}), d.numbers({k, dimension})},
           [](const Vars& v) { return squared_distances(v[0], v[1]); },
           [=](const Arrays& x) {
             return plain::made({n, k}, [&](const Shape& at) {
               Number sum;
               for (std::size_t i = 0; i < dimension; ++i)
                 sum += square(x[0].x[at[0] * dimension + i] - x[1].x[at[1] * dimension + i]);
               return sum;
             });
           },
           ""};
     }},
    {"permute",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), m = few(d), wide = few(d);
       return Example{{matrices(d, before, n, m), matrices(d, before, n, wide)},
                      [](const Vars& v) { return permute(v[0], v[1]); },
                      [](const Arrays& x) { return product(turned(x[0]), x[1]); },
                      ""};
     }},
    {"unpermute",
     [](Draws& d) {
       const Shape before = few_axes(d);
       const std::size_t n = few(d), m = few(d), wide = few(d);
       return Example{{matrices(d, before, n, m), matrices(d, before, m, wide)},
                      [](const Vars& v) { return unpermute(v[0], v[1]); },
                      [](const Arrays& x) { return product(x[0], x[1]); },
                      ""};
     }},
};

struct Windows {
  std::size_t images, planes, h, w, wide_h, wide_w;
  Pixels stride, padding;
  Windows(Draws& d, bool square)
      : images(d.one_of<std::size_t>({1, 2, 0})),
        planes(d.one_of<std::size_t>({1, 2, 3, 9, 8})),
        h(d.some(5)),
        w(planes > 3 ? d.some(3) : d.one_of<std::size_t>({1, 2, 3, 5, 9, 17})),
        wide_h(d.some(3)),
        wide_w(square ? wide_h : d.some(3)),
        stride(d.some(3), d.some(3)),
        padding(d.below(3), d.below(3)) {
    if (square) stride.w = stride.h, padding.w = padding.h = std::min(padding.h, wide_h - 1);
    h = std::max(h, wide_h);
    w = std::max(w, wide_w);
  }
  Shape shape() const { return {images, planes, h, w}; }
  Shape out(std::size_t to) const {
    return {images, to, (h + 2 * padding.h - wide_h) / stride.h + 1,
            (w + 2 * padding.w - wide_w) / stride.w + 1};
  }
  // f(u, v, where in the image) for the pixels of the window at i, j that are in the image.
  template <class F>
  void at(std::size_t i, std::size_t j, F f) const {
    for (std::size_t u = 0; u < wide_h; ++u)
      for (std::size_t v = 0; v < wide_w; ++v) {
        const std::size_t y = i * stride.h + u, x = j * stride.w + v;
        if (y >= padding.h && x >= padding.w && y < h + padding.h && x < w + padding.w)
          f(u, v, (y - padding.h) * w + x - padding.w);
      }
  }
  std::string words() const {
    return "stride " + str(Shape{stride.h, stride.w}) + ", padding " +
           str(Shape{padding.h, padding.w}) + ", windows " + str(Shape{wide_h, wide_w});
  }
};
// f(the numbers of a window) for each window of each plane.
template <class Op, class F>
Example pooling(Draws& d, Op op, F f) {
  const Windows windows(d, true);
  return {
      {d.numbers(windows.shape())},
      [=](const Vars& v) { return op(v[0], windows.wide_h, windows.stride.h, windows.padding.h); },
      [=](const Arrays& x) {
        return plain::made(windows.out(windows.planes), [&](const Shape& at) {
          Row seen;
          windows.at(at[2], at[3], [&](std::size_t, std::size_t, std::size_t pixel) {
            seen.push_back(
                x[0].x[(at[0] * windows.planes + at[1]) * windows.h * windows.w + pixel]);
          });
          return f(seen);
        });
      },
      windows.words()};
}

const Defined kWindows[] = {
    {"conv2d",
     [](Draws& d) {
       const Windows at(d, false);
       const std::size_t kernels = d.one_of<std::size_t>({1, 2, 3, 9, 0});
       const bool biased = d.below(2);
       Tensors points = {d.numbers(at.shape()),
                         d.numbers({kernels, at.planes, at.wide_h, at.wide_w})};
       if (biased) points.push_back(d.numbers({kernels}));
       return Example{points,
                      [=](const Vars& v) {
                        return biased ? conv2d(v[0], v[1], v[2], at.stride, at.padding)
                                      : conv2d(v[0], v[1], at.stride, at.padding);
                      },
                      [=](const Arrays& x) {
                        return plain::made(at.out(kernels), [&](const Shape& y) {
                          Number sum = biased ? x[2].x[y[1]] : Number();
                          for (std::size_t c = 0; c < at.planes; ++c)
                            at.at(y[2], y[3], [&](std::size_t u, std::size_t v, std::size_t pixel) {
                              const std::size_t plane = y[0] * at.planes + c,
                                                kernel = y[1] * at.planes + c;
                              sum += x[0].x[plane * at.h * at.w + pixel] *
                                     x[1].x[(kernel * at.wide_h + u) * at.wide_w + v];
                            });
                          return sum;
                        });
                      },
                      at.words()};
     }},
    // What goes from (h, w) to the windows' places by conv2d goes back from there: `at` are the
    // windows of the result.
    {"conv_transpose2d",
     [](Draws& d) {
       Windows at(d, false);
       at.padding = Pixels(std::min(at.padding.h, (at.wide_h - 1) / 2),
                           std::min(at.padding.w, (at.wide_w - 1) / 2));
       const std::size_t kernels = d.one_of<std::size_t>({1, 2, 3, 9});
       const bool biased = d.below(2);
       const Shape from = at.out(kernels);
       at.h = (from[2] - 1) * at.stride.h + at.wide_h - 2 * at.padding.h;
       at.w = (from[3] - 1) * at.stride.w + at.wide_w - 2 * at.padding.w;
       Tensors points = {d.numbers(from), d.numbers({kernels, at.planes, at.wide_h, at.wide_w})};
       if (biased) points.push_back(d.numbers({at.planes}));
       return Example{
           points,
           [=](const Vars& v) {
             return biased ? conv_transpose2d(v[0], v[1], v[2], at.stride, at.padding)
                           : conv_transpose2d(v[0], v[1], at.stride, at.padding);
           },
           [=](const Arrays& x) {
             Array y{at.shape(), Row(size_of(at.shape()))};
             for (std::size_t k = 0; k < x[0].x.size(); ++k) {
               const Shape place = plain::places(from, k);
               for (std::size_t c = 0; c < at.planes; ++c)
                 at.at(place[2], place[3], [&](std::size_t u, std::size_t v, std::size_t pixel) {
                   const std::size_t kernel = place[1] * at.planes + c;
                   y.x[(place[0] * at.planes + c) * at.h * at.w + pixel] +=
                       x[0].x[k] * x[1].x[(kernel * at.wide_h + u) * at.wide_w + v];
                 });
             }
             for (std::size_t k = 0; biased && k < y.x.size(); ++k)
               y.x[k] += x[2].x[plain::places(y.shape, k)[1]];
             return y;
           },
           at.words()};
     }},
    {"max_pool2d",
     [](Draws& d) {
       return pooling(d, CALL(max_pool2d),
                      [](const Row& seen) { return seen[plain::place_of_largest(seen)]; });
     }},
    {"avg_pool2d", [](Draws& d) { return pooling(d, CALL(avg_pool2d), mean_of); }},
};

// ---- Distributions.

Number entropy_of(const Row& logits) {
  const Row log_p = plain::log_softmax(logits);
  Number sum;
  for (const Number& v : log_p) sum = sum - exp(v) * v;
  return sum;
}
// The two log-probabilities of a binary variable.
Row binary(Number logits) { return {Number(), logits}; }
Number normal_log_prob(Number mean, Number std, Number x) {
  const Number z = (x - mean) / std;
  return Number(-0.5) * square(z) - log(std) - Number(0.5 * std::log(2 * std::acos(-1.0)));
}
// sum_k x_k log(p_k / sum p).
Number log_prob_of(const Row& p, const Row& x) {
  Number sum;
  for (std::size_t k = 0; k < p.size(); ++k) sum += x[k] * log(p[k] / plain::total(p));
  return sum;
}
// The largest of the logits with the noise that a stream of this seed draws first.
Array chosen(const Array& logits, std::uint64_t seed) {
  const Tensor noise = Rng(seed).gumbel(logits.shape);
  return plain::lines(logits, -1, [&](Row l, std::size_t row) {
    for (std::size_t k = 0; k < l.size(); ++k)
      l[k] = l[k] +
             Number(static_cast<double>(noise.size() > 0 ? noise.data()[row * l.size() + k] : 0));
    return plain::one_hot(plain::place_of_largest(l), l.size());
  });
}

const Defined kDistributions[] = {
    {"Categorical::log_prob",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.numbers(shape), d.numbers(stretched_rows(d, shape))},
                      [](const Vars& v) { return Categorical(v[0]).log_prob(v[1]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          return plain::dot(r[1], plain::log_softmax(r[0]));
                        });
                      },
                      ""};
     }},
    {"Categorical::log_prob of labels",
     [](Draws& d) {
       const Shape shape = categories(d);
       const Indices labels = d.indices(size_of(shape) / shape.back(), shape.back());
       return Example{{d.numbers(shape)},
                      [=](const Vars& v) { return Categorical(v[0]).log_prob(labels); },
                      [=](const Arrays& x) {
                        std::size_t row = 0;
                        return plain::reduced(x[0], {-1}, false, [&](const Row& l) {
                          return plain::log_softmax(l)[labels[row++]];
                        });
                      },
                      ""};
     }},
    {"Categorical::entropy",
     [](Draws& d) {
       return Example{{d.numbers(categories(d))},
                      [](const Vars& v) { return Categorical(v[0]).entropy(); },
                      [](const Arrays& x) { return plain::reduced(x[0], {-1}, false, entropy_of); },
                      ""};
     }},
    {"Categorical::kl",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{{d.numbers(shape), d.numbers(stretched_rows(d, shape))},
                      [](const Vars& v) { return Categorical(v[0]).kl(Categorical(v[1])); },
                      [](const Arrays& x) { return number_by_row(x, divergence); },
                      ""};
     }},
    {"Categorical::from_probabilities",
     [](Draws& d) {
       const Shape shape = categories(d);
       return Example{
           {probabilities(d, shape), d.numbers(shape)},
           [](const Vars& v) { return Categorical::from_probabilities(v[0]).log_prob(v[1]); },
           [](const Arrays& x) {
             return number_by_row(x, [](const Rows& r) { return log_prob_of(r[0], r[1]); });
           },
           ""};
     }},
    {"Categorical::logits",
     [](Draws& d) {
       return Example{{d.numbers(categories(d))},
                      [](const Vars& v) { return 1.0 * Categorical(v[0]).logits(); },
                      [](const Arrays& x) { return x[0]; },
                      ""};
     }},
    {"Categorical::sample",
     [](Draws& d) {
       const std::uint64_t seed = d.below(1000);
       return Example{{d.fractions(categories(d), 4, 3)},
                      [=](const Vars& v) {
                        Rng rng(seed);
                        return Categorical(v[0]).sample(zero(), rng);
                      },
                      [=](const Arrays& x) { return chosen(x[0], seed); },
                      ""};
     }},
    {"Bernoulli::log_prob",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), d.numbers(d.stretched_to(shape))},
                      [](const Vars& v) { return Bernoulli(v[0]).log_prob(v[1]); },
                      [](const Arrays& x) {
                        return plain::each(x, [](const Row& r) {
                          return -(r[1] * softplus(-r[0])) - (Number(1) - r[1]) * softplus(r[0]);
                        });
                      },
                      ""};
     }},
    {"Bernoulli::entropy",
     [](Draws& d) {
       return Example{{d.numbers(d.shape(0, 4))},
                      [](const Vars& v) { return Bernoulli(v[0]).entropy(); },
                      [](const Arrays& x) {
                        return plain::each(x,
                                           [](const Row& r) { return entropy_of(binary(r[0])); });
                      },
                      ""};
     }},
    {"Bernoulli::kl",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), d.numbers(d.stretched_to(shape))},
                      [](const Vars& v) { return Bernoulli(v[0]).kl(Bernoulli(v[1])); },
                      [](const Arrays& x) {
                        return plain::each(x, [](const Row& r) {
                          return divergence({binary(r[0]), binary(r[1])});
                        });
                      },
                      ""};
     }},
    {"Bernoulli::from_probabilities",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       const Tensor p =
           d.filled(shape, [&] { return std::abs(d.digits()) * Scalar(0.875) + Scalar(0.0625); });
       return Example{
           {p, d.numbers(shape)},
           [](const Vars& v) { return Bernoulli::from_probabilities(v[0]).log_prob(v[1]); },
           [](const Arrays& x) {
             return plain::each(x, [](const Row& r) {
               return r[1] * log(r[0]) + (Number(1) - r[1]) * log(Number(1) - r[0]);
             });
           },
           ""};
     }},
    {"Bernoulli::sample",
     [](Draws& d) {
       const std::uint64_t seed = d.below(1000);
       return Example{{d.fractions(d.shape(0, 3), 4, 3)},
                      [=](const Vars& v) {
                        Rng rng(seed);
                        return Bernoulli(v[0]).sample(zero(), rng);
                      },
                      [=](const Arrays& x) {
                        Array pairs{with_axis(x[0].shape, x[0].shape.size(), 2), {}};
                        for (const Number& l : x[0].x)
                          for (const Number& v : binary(l)) pairs.x.push_back(v);
                        Array y{x[0].shape, {}};
                        const Array one_hot = chosen(pairs, seed);
                        for (std::size_t i = 1; i < one_hot.x.size(); i += 2)
                          y.x.push_back(one_hot.x[i]);
                        return y;
                      },
                      ""};
     }},
    {"RelaxedCategorical::sample",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double tau = temperature(d);
       const std::uint64_t seed = d.below(1000);
       return Example{{d.fractions(shape, 4, 3)},
                      [=](const Vars& v) {
                        Rng rng(seed);
                        return RelaxedCategorical(v[0], tau).sample(rng);
                      },
                      [=](const Arrays& x) {
                        const Tensor noise = Rng(seed).gumbel(shape);
                        return plain::lines(x[0], -1, [&](Row l, std::size_t row) {
                          for (std::size_t k = 0; k < l.size() && noise.size() > 0; ++k)
                            l[k] = l[k] +
                                   Number(static_cast<double>(noise.data()[row * l.size() + k]));
                          return plain::softmax(l / tau);
                        });
                      },
                      tau_words(tau)};
     }},
    {"RelaxedCategorical::log_prob",
     [](Draws& d) {
       const Shape shape = categories(d);
       const double tau = temperature(d);
       return Example{{probabilities(d, shape), d.numbers(stretched_rows(d, shape))},
                      [=](const Vars& v) { return RelaxedCategorical(v[1], tau).log_prob(v[0]); },
                      [=](const Arrays& x) {
                        return number_by_row(x, [=](const Rows& r) {
                          Row log_y = r[0];
                          for (Number& v : log_y) v = log(v);
                          return concrete(log_y, r[1], tau) - plain::total(log_y);
                        });
                      },
                      tau_words(tau)};
     }},
    {"Normal::log_prob",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(d.stretched_to(shape)), d.positive(d.stretched_to(shape), 0.25),
                       d.numbers(shape)},
                      [](const Vars& v) { return Normal(v[0], v[1]).log_prob(v[2]); },
                      [](const Arrays& x) {
                        return plain::each(
                            x, [](const Row& r) { return normal_log_prob(r[0], r[1], r[2]); });
                      },
                      ""};
     }},
    {"Normal::entropy",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(d.stretched_to(shape)), d.positive(shape, 0.25)},
                      [](const Vars& v) { return Normal(v[0], v[1]).entropy(); },
                      [](const Arrays& x) {
                        return plain::each(x, [](const Row& r) {
                          return log(r[1]) + Number(0.5 + 0.5 * std::log(2 * std::acos(-1.0)));
                        });
                      },
                      ""};
     }},
    {"Normal::kl",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), d.positive(d.stretched_to(shape), 0.25),
                       d.numbers(d.stretched_to(shape)), d.positive(d.stretched_to(shape), 0.25)},
                      [](const Vars& v) { return Normal(v[0], v[1]).kl(Normal(v[2], v[3])); },
                      [](const Arrays& x) {
                        return plain::each(x, [](const Row& r) {
                          return log(r[3] / r[1]) +
                                 (square(r[1]) + square(r[0] - r[2])) / (Number(2) * square(r[3])) -
                                 Number(0.5);
                        });
                      },
                      ""};
     }},
    {"Normal::sample",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       const std::uint64_t seed = d.below(1000);
       return Example{{d.numbers(shape), d.positive(d.stretched_to(shape), 0.25)},
                      [=](const Vars& v) {
                        Rng rng(seed);
                        return Normal(v[0], v[1]).sample(rng);
                      },
                      [=](const Arrays& x) {
                        const Tensor noise = Rng(seed).normal(shape);
                        std::size_t i = 0;
                        return plain::each(x, [&](const Row& r) {
                          return r[0] + r[1] * Number(static_cast<double>(noise.data()[i++]));
                        });
                      },
                      ""};
     }},
};

// ---- Choices, by the identity: what arrives goes on as it is. Their other rules are held against
// their formulas in tests/test_rule_properties.cpp.

// What goes forward is `hot`, what goes back does so to x.
Row as_chosen(const Row& hot, const Row& x) {
  Row y = hot;
  for (std::size_t i = 0; i < y.size(); ++i) y[i].d = x[i].d;
  return y;
}
template <class Op>
Example choice_along(Draws& d, Op op, bool drawn, double sign = 1) {
  Line line(d, 1);
  const std::size_t k = d.below(line.length() + 1);
  Tensors points = {d.fractions(line.shape, 4, 3)};
  const Tensor noise = drawn ? d.fractions(line.shape, 64, 3) : zeros(line.shape);
  return {points, [=](const Vars& v) { return op(v[0], k, v[0].tape->constant(noise), line.axis); },
          [=](const Arrays& x) {
            Array noisy = x[0];
            for (std::size_t i = 0; i < noisy.x.size(); ++i)
              noisy.x[i] = Number(sign) * noisy.x[i] + Number(static_cast<double>(noise.data()[i]));
            return plain::lines(noisy, line.axis, [&](const Row& row, std::size_t) {
              const std::size_t ones = op.of_k ? k : 1;
              const bool forced = op.of_k && (k == 0 || k == row.size());
              return as_chosen(plain::best_subset(row, ones).hot, forced ? Row(row.size()) : row);
            });
          },
          "axis " + std::to_string(line.axis) + words("k", k) + ", noise " + str(noise, 9)};
}
// An op of a choice, and whether it takes k.
template <class F>
struct ChoiceOp : F {
  bool of_k;
  ChoiceOp(F f, bool of_k) : F(f), of_k(of_k) {}
};
Rule identity() { return straight_through_identity(); }

template <class Op>
Example choice_of_matchings(Draws& d, Op op, bool drawn) {
  const std::size_t batch = d.below(3), n = d.some(3), m = n + d.below(2);
  const Shape shape = {batch, n, m};
  // All digits, so that no two are equally good.
  const Tensor x = d.filled(shape, [&] { return d.digits(); }),
               noise = drawn ? d.fractions(shape, 64, 2) : zeros(shape);
  return {{x},
          [=](const Vars& v) { return op(v[0], v[0].tape->constant(noise)); },
          [=](const Arrays& x) {
            const Array rows = plain::reshaped(x[0], {batch, n * m});
            Array y = plain::lines(rows, -1, [&](const Row& row, std::size_t b) {
              Row noisy = row;
              for (std::size_t i = 0; i < n * m && batch > 0; ++i)
                noisy[i] = noisy[i] + Number(static_cast<double>(noise.data()[b * n * m + i]));
              return as_chosen(plain::best_matching(noisy, n).hot, row);
            });
            return plain::reshaped(y, shape);
          },
          "noise " + str(noise, 9)};
}

// sinkhorn() so far as that, beside so many iterations in plain loops.
Example sinkhorn_example(Draws& d, const HowFar& far, std::size_t iterations, double least_tau,
                         long double near) {
  const std::size_t batch = d.below(3), n = d.some(4);
  const double tau = least_tau * d.one_of({1.0, 2.0, 4.0});
  return {{d.fractions({batch, n, n}, 4, 2)},
          [=](const Vars& v) {
            return std::visit([&](auto until) { return sinkhorn(v[0], tau, until).matrices; }, far);
          },
          [=](const Arrays& x) {
            const Array rows = plain::reshaped(x[0], {batch, n * n});
            return plain::reshaped(plain::lines(rows, -1,
                                                [&](const Row& row, std::size_t) {
                                                  return plain::sinkhorn(row, tau, n, iterations);
                                                }),
                                   {batch, n, n});
          },
          tau_words(tau),
          near};
}

// The sum at the places that hungarian() gives; throws unless they are a matching.
Tensor matched(const Tensor& x, Best best) {
  const std::size_t n = x.shape()[1], m = x.shape()[2];
  const Indices columns = hungarian(x, best);
  Tensor sums = zeros({x.shape()[0]});
  for (std::size_t b = 0; b < x.shape()[0]; ++b) {
    std::vector<bool> taken(m, false);
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t column = columns.at(b * n + i);
      if (taken.at(column)) throw std::logic_error("a column is taken twice");
      taken[column] = true;
      sums(b) += x(b, i, column);
    }
  }
  return sums;
}

const Defined kChoices[] = {
    {"argmax",
     [](Draws& d) {
       return choice_along(
           d,
           ChoiceOp([](Var x, std::size_t, Var, int axis) { return argmax(x, identity(), axis); },
                    false),
           false);
     }},
    {"argmin",
     [](Draws& d) {
       return choice_along(
           d,
           ChoiceOp([](Var x, std::size_t, Var, int axis) { return argmin(x, identity(), axis); },
                    false),
           false, -1);
     }},
    {"sample",
     [](Draws& d) {
       return choice_along(d,
                           ChoiceOp([](Var x, std::size_t, Var g,
                                       int axis) { return sample(x, identity(), g, axis); },
                                    false),
                           true);
     }},
    {"top_k",
     [](Draws& d) {
       return choice_along(d,
                           ChoiceOp([](Var x, std::size_t k, Var,
                                       int axis) { return top_k(x, k, identity(), axis); },
                                    true),
                           false);
     }},
    {"sample_top_k",
     [](Draws& d) {
       return choice_along(
           d,
           ChoiceOp([](Var x, std::size_t k, Var g,
                       int axis) { return sample_top_k(x, k, identity(), g, axis); },
                    true),
           true);
     }},
    {"matching",
     [](Draws& d) {
       return choice_of_matchings(
           d, [](Var x, Var) { return matching(x, identity()); }, false);
     }},
    {"sample_matching",
     [](Draws& d) {
       return choice_of_matchings(
           d, [](Var x, Var g) { return sample_matching(x, identity(), g); }, true);
     }},
    {"hungarian",
     [](Draws& d) {
       const std::size_t batch = d.some(2), n = d.some(4), m = n + d.below(3);
       const Best best = d.one_of({Best::largest, Best::smallest});
       return Example{
           {d.below(2) ? d.numbers({batch, n, m}) : d.fractions({batch, n, m}, 1, 1)},
           [=](const Vars& v) { return v[0].tape->constant(matched(v[0].value(), best)); },
           [=](const Arrays& x) {
             const Number sign = best == Best::largest ? 1 : -1;
             const Array rows = plain::reshaped(x[0], {batch, n * m});
             return plain::reduced(rows, {-1}, false, [&](const Row& row) {
               const Row hot = plain::best_matching(sign * row, n).hot;
               return stop_gradient(plain::dot(row, hot));
             });
           },
           ""};
     }},
    {"sinkhorn, 1 iteration",
     [](Draws& d) { return sinkhorn_example(d, std::size_t{1}, 1, 0.5, 0); }},
    {"sinkhorn, 4 iterations",
     [](Draws& d) { return sinkhorn_example(d, std::size_t{4}, 4, 0.5, 0); }},
    {"sinkhorn to a tolerance",
     [](Draws& d) {
       const double tolerance = sizeof(Scalar) == 8 ? 1e-12 : 1e-5;
       return sinkhorn_example(d, Converge{tolerance}, 60, 2, 1000 * tolerance);
     }},
    {"residual",
     [](Draws& d) {
       const std::size_t n = d.some(4), m = d.some(4);
       return Example{
           {d.numbers({n, m})},
           [](const Vars& v) { return v[0].tape->constant(residual(v[0].value())); },
           [=](const Arrays& x) {
             Number most;
             for (int axis : {0, 1})
               for (const Number& sum : plain::reduced(x[0], {axis}, false, plain::total).x)
                 most = maximum(most, abs(sum - Number(1)));
             return Array{{}, {stop_gradient(most)}};
           },
           ""};
     }},
    {"top_k_log_prob",
     [](Draws& d) {
       const std::size_t rows = d.below(3), n = d.some(5), k = d.some(std::min<std::size_t>(n, 4));
       Tensor subset = zeros({rows, n});
       for (std::size_t r = 0; r < rows; ++r) {
         const Indices order = d.permutation(n);
         for (std::size_t i = 0; i < k; ++i) subset(r, order[i]) = 1;
       }
       return Example{
           {d.fractions({rows, n}, 4, 3)},
           [=](const Vars& v) { return top_k_log_prob(v[0], v[0].tape->constant(subset)); },
           [=](const Arrays& x) {
             std::size_t r = 0;
             return plain::reduced(x[0], {-1}, false, [&](const Row& row) {
               Indices set;
               for (std::size_t i = 0; i < n; ++i)
                 if (subset(r, i) == 1) set.push_back(i);
               ++r;
               return log(plain::set_probability(row, set));
             });
           },
           "subset " + str(subset)};
     }},
    {"plackett_luce_log_prob",
     [](Draws& d) {
       const std::size_t rows = d.some(3), n = d.some(6), k = d.some(n);
       Indices orders;
       for (std::size_t r = 0; r < rows; ++r) {
         const Indices order = d.permutation(n);
         orders.insert(orders.end(), order.begin(), order.begin() + static_cast<std::ptrdiff_t>(k));
       }
       return Example{{d.fractions({rows, n}, 4, 3)},
                      [=](const Vars& v) { return plackett_luce_log_prob(v[0], orders); },
                      [=](const Arrays& x) {
                        auto at = orders.begin();
                        return plain::reduced(x[0], {-1}, false, [&](const Row& row) {
                          const Indices order(at, at + static_cast<std::ptrdiff_t>(k));
                          at += static_cast<std::ptrdiff_t>(k);
                          return log(plain::order_probability(row, order));
                        });
                      },
                      ""};
     }},
    {"indices_of",
     [](Draws& d) {
       const std::size_t rows = d.below(4), n = d.some(5), k = d.some(n);
       Tensor places = zeros({rows, k}), hot = zeros({rows, n});
       for (std::size_t r = 0; r < rows; ++r) {
         Indices order = d.permutation(n);
         order.resize(k);
         std::sort(order.begin(), order.end());
         for (std::size_t i = 0; i < k; ++i) {
           places(r, i) = static_cast<Scalar>(order[i]);
           hot(r, order[i]) = 1;
         }
       }
       return Example{{hot},
                      [=](const Vars& v) {
                        const Indices found = indices_of(v[0], k);
                        Tensor y(Shape{rows, k});
                        std::copy(found.begin(), found.end(), y.begin());
                        return v[0].tape->constant(y);
                      },
                      [=](const Arrays&) {
                        Array y{{rows, k}, {}};
                        for (Scalar place : places) y.x.emplace_back(static_cast<double>(place));
                        return y;
                      },
                      words("k", k)};
     }},
    {"noise_of",
     [](Draws& d) {
       const Shape shape = categories(d);
       const Tensor noise = d.numbers(shape);
       return Example{{d.numbers(shape)},
                      [=](const Vars& v) {
                        return 1.0 * noise_of(sample(v[0], zero(), v[0].tape->constant(noise)));
                      },
                      [=](const Arrays&) {
                        Array y{shape, {}};
                        for (Scalar g : noise) y.x.emplace_back(static_cast<double>(g));
                        return y;
                      },
                      ""};
     }},
};

// ---- Branches, and costs of a choice.

// A few different functions of a number, and of a weight that is an input too.
std::vector<BranchOf> branches_with(Var w) {
  return {[](Var x) { return square(x); }, [=](Var x) { return x * w; },
          [](Var x) { return tanh(x); }};
}
Number branch(std::size_t k, Number x, Number w) {
  return k == 0 ? square(x) : k == 1 ? x * w : tanh(x);
}

// x (B, n), choices or weights (B, 3) or (3,), and w.
template <class Op, class F>
Example branching(Draws& d, Op op, F weights_of, const std::string& settings) {
  const std::size_t b = d.some(4), n = d.below(4);
  const bool own = d.below(2);
  return {{d.numbers({b, n}), d.fractions(own ? Shape{b, 3} : Shape{3}, 4, 3), d.numbers({})},
          [=](const Vars& v) { return op(v[1], v[0], branches_with(v[2])); },
          [=](const Arrays& x) {
            const Array weights = plain::lines(x[1], -1, weights_of);
            return plain::made({b, n}, [&](const Shape& at) {
              const Number here = x[0].x[at[0] * n + at[1]];
              const std::size_t row = own ? at[0] : 0;
              const Row w(weights.x.begin() + static_cast<std::ptrdiff_t>(3 * row),
                          weights.x.begin() + static_cast<std::ptrdiff_t>(3 * row + 3));
              return op.of(w, [&](std::size_t k) { return branch(k, here, x[2].x[0]); });
            });
          },
          settings};
}
Row hard_by_identity(const Row& row, std::size_t) {
  return as_chosen(plain::best_subset(row, 1).hot, row);
}
struct Selecting {
  Unchosen others;
  Var operator()(Var logits, Var x, const std::vector<BranchOf>& branches) const {
    return select(argmax(logits, identity()), x, branches, others);
  }
  template <class F>
  Number of(const Row& choice, F output) const {
    const std::size_t k = plain::place_of_largest(choice);
    Number y = choice[k] * output(k);
    for (std::size_t j = 0; j < 3; ++j)
      if (j != k && others == Unchosen::as_scalars) y += choice[j];
    return y;
  }
};
struct Mixing {
  Var operator()(Var weights, Var x, const std::vector<BranchOf>& branches) const {
    return mixture(weights, x, branches);
  }
  template <class F>
  Number of(const Row& w, F output) const {
    return w[0] * output(0) + w[1] * output(1) + w[2] * output(2);
  }
};

// Choices (B, v, K) of which each example makes v: what is expected of |sum_v z_v - t|^2, over all
// ways to choose k each.
Example expectation_example(Draws& d, std::size_t k, std::size_t variables) {
  const std::size_t b = d.some(2), n = std::max<std::size_t>(k, d.some(4));
  const Shape shape = variables == 1 ? Shape{b, n} : Shape{b, variables, n};
  const std::vector<Indices> sets = plain::subsets(n, k);
  return {{d.fractions(shape, 4, 3), d.numbers({n})},
          [=](const Vars& v) {
            const auto cost = [=](Var z) {
              return sum(square((variables == 1 ? z : sum(z, -2)) - v[1]), -1);
            };
            return k == 1 ? expectation(v[0], cost) : expectation(v[0], k, cost);
          },
          [=](const Arrays& x) {
            Array y{{b}, Row(b)};
            std::size_t all = 1;
            for (std::size_t v = 0; v < variables; ++v) all *= sets.size();
            for (std::size_t e = 0; e < b; ++e)
              for (std::size_t way = 0; way < all; ++way) {
                Number p = 1;
                Row z = Number(-1) * x[1].x;
                std::size_t rest = way;
                for (std::size_t v = 0; v < variables; ++v, rest /= sets.size()) {
                  const auto at =
                      x[0].x.begin() + static_cast<std::ptrdiff_t>((e * variables + v) * n);
                  const Indices& set = sets[rest % sets.size()];
                  p = p * plain::set_probability(Row(at, at + static_cast<std::ptrdiff_t>(n)), set);
                  for (std::size_t i : set) z[i] = z[i] + Number(1);
                }
                y.x[e] += p * plain::dot(z, z);
              }
            return y;
          },
          words("k", k) + words("variables", variables)};
}

const Defined kBranches[] = {
    {"select",
     [](Draws& d) {
       const Selecting op{d.one_of({Unchosen::nothing, Unchosen::as_scalars})};
       return branching(d, op, hard_by_identity,
                        op.others == Unchosen::nothing ? "" : "as scalars");
     }},
    {"mixture",
     [](Draws& d) {
       return branching(
           d, Mixing(), [](const Row& row, std::size_t) { return row; }, "");
     }},
    {"expectation", [](Draws& d) { return expectation_example(d, 1, 1); }},
    {"expectation of two", [](Draws& d) { return expectation_example(d, 1, 2); }},
    {"expectation of subsets", [](Draws& d) { return expectation_example(d, 2, 1); }},
    {"expectation of several nodes",
     [](Draws& d) {
       const std::size_t b = d.some(2), n = d.some(3), m = d.some(3);
       return Example{{d.fractions({b, n}, 4, 3), d.fractions({b, m}, 4, 3), d.numbers({n, m})},
                      [](const Vars& v) {
                        return expectation({v[0], v[1]}, [w = v[2]](const Vars& z) {
                          return square(sum(matmul(z[0], w) * z[1], -1));
                        });
                      },
                      [=](const Arrays& x) {
                        Array y{{b}, Row(b)};
                        for (std::size_t e = 0; e < b; ++e) {
                          const auto row = [&](const Array& l, std::size_t k) {
                            const auto at = l.x.begin() + static_cast<std::ptrdiff_t>(e * k);
                            return plain::softmax(Row(at, at + static_cast<std::ptrdiff_t>(k)));
                          };
                          const Row p = row(x[0], n), q = row(x[1], m);
                          for (std::size_t i = 0; i < n; ++i)
                            for (std::size_t j = 0; j < m; ++j)
                              y.x[e] += p[i] * q[j] * square(x[2].x[i * m + j]);
                        }
                        return y;
                      },
                      ""};
     }},
    {"evaluate",
     [](Draws& d) {
       const Shape shape = categories(d, 3);
       return Example{
           {d.numbers(shape)},
           [](const Vars& v) { return evaluate(v[0], [](Var z) { return sum(square(z), -1); }); },
           [](const Arrays& x) {
             return plain::reduced(x[0], {-1}, false,
                                   [](const Row& r) { return plain::dot(r, r); });
           },
           ""};
     }},
    {"black_box",
     [](Draws& d) {
       const Shape shape = d.shape(0, 4);
       return Example{{d.numbers(shape), d.numbers(shape)},
                      [](const Vars& v) {
                        return black_box(
                            [](const Tensors& t) { return Tensor(t[0] - t[1] * Scalar(2)); }, v);
                      },
                      [](const Arrays& x) {
                        return plain::each(
                            x, [](const Row& r) { return stop_gradient(r[0] - Number(2) * r[1]); });
                      },
                      ""};
     }},
    {"combinations",
     [](Draws& d) {
       const std::size_t count = d.below(9), categories = d.below(9), variables = d.below(9);
       return Example{
           {Tensor(1)},
           [=](const Vars& v) {
             return v[0].tape->constant(
                 static_cast<double>(combinations(count, categories, variables)));
           },
           [=](const Arrays&) {
             double all = static_cast<double>(count);
             for (std::size_t v = 0; v < variables; ++v) all *= static_cast<double>(categories);
             return Array{{}, {all > static_cast<double>(kMostCombinations) ? 0 : all}};
           },
           words("count", count) + words("categories", categories) + words("variables", variables)};
     }},
};

// ---- Formulas of several inputs.

constexpr auto kGate = [](auto x, auto w, auto b) {
  return tanh(x * w + b) * sigmoid(x - w) + maximum(x, b);
};

template <class Op>
Example formula(Draws& d, Op op, bool of_something, Number (*of_all)(const Row&)) {
  Shape shape = d.shape(0, 4);
  if (of_something)
    for (std::size_t& n : shape) n = std::max<std::size_t>(n, 1);
  return {{d.numbers(shape), d.numbers(d.stretched_to(shape)), d.numbers(d.stretched_to(shape))},
          [=](const Vars& v) { return op(kGate, v[0], v[1], v[2]); },
          [=](const Arrays& x) {
            const Array all = plain::each(x, [](const Row& r) { return kGate(r[0], r[1], r[2]); });
            return of_all ? Array{{}, {of_all(all.x)}} : all;
          },
          ""};
}
Example schedule(Draws& d, Schedule (*make)(double start, double end),
                 double (*at)(double start, double end, double step)) {
  const double start = 1 + static_cast<double>(d.below(4)),
               end = 0.25 * static_cast<double>(d.some(4));
  const std::size_t step = d.below(20);
  return {{Tensor(1)},
          [=](const Vars& v) { return v[0] * Scheduled(make(start, end)).at(step); },
          [=](const Arrays& x) {
            return Array{{}, {x[0].x[0] * Number(at(start, end, static_cast<double>(step)))}};
          },
          "from " + str(start) + " to " + str(end) + words("step", step)};
}

const Defined kFormulas[] = {
    {"elementwise", [](Draws& d) { return formula(d, CALL(elementwise), false, nullptr); }},
    {"sum_of", [](Draws& d) { return formula(d, CALL(sum_of), false, plain::total); }},
    {"mean_of", [](Draws& d) { return formula(d, CALL(mean_of), true, mean_of); }},
    {"exponential_decay",
     [](Draws& d) {
       return schedule(
           d, [](double start, double floor) { return exponential_decay(start, 0.25, floor, 3); },
           [](double start, double floor, double step) {
             return std::max(floor, start * std::exp(-0.25 * 3 * std::floor(step / 3)));
           });
     }},
    {"linear_decay",
     [](Draws& d) {
       return schedule(
           d, [](double start, double end) { return linear_decay(start, end, 8); },
           [](double start, double end, double step) {
             return start + (end - start) * std::min(step / 8, 1.0);
           });
     }},
};

// ---- Number by number.

template <bool fused>
std::string word_is_its_definition(const Word& word, Draws& d) {
  const Shape shape = d.shape(0, 5);
  Tensors points = {d.any_numbers(shape)};
  if (word.inputs == 2) points.push_back(d.any_numbers(d.stretched_to(shape)));
  if (d.below(2)) std::reverse(points.begin(), points.end());
  return plain::wrong_with({points, fused ? word.fused : word.plain,
                            [&](const Arrays& x) {
                              return plain::each(
                                  x, [&](const Row& row) { return word.defined(row.data()); });
                            },
                            ""},
                           d);
}

}  // namespace

TEST_CASE("number by number, every op is what it is by definition, alone and in a formula") {
  for (const Word& word : kOps) {
    for_all(word.name, [&](Draws& d) { return word_is_its_definition<false>(word, d); });
    for_all(word.name + std::string(" in a formula"),
            [&](Draws& d) { return word_is_its_definition<true>(word, d); });
  }
}

namespace {
template <std::size_t n>
void check_all(const Defined (&ops)[n]) {
  for (const Defined& op : ops)
    for_all(op.name, [&](Draws& d) { return plain::wrong_with(op.example(d), d); });
}
}  // namespace

TEST_CASE("along axes, every op is what it is by definition") {
  check_all(kReductions);
  check_all(kLines);
}

TEST_CASE("what moves numbers is what it is by definition") { check_all(kMoves); }

TEST_CASE("row by row, every op is what it is by definition") { check_all(kRowByRow); }

TEST_CASE("products, windows and distances are what they are by definition") {
  check_all(kProducts);
  check_all(kWindows);
}

TEST_CASE("distributions are what they are by definition") { check_all(kDistributions); }

TEST_CASE("choices and solvers are what they are by definition") { check_all(kChoices); }

TEST_CASE("branches, expectations and formulas are what they are by definition") {
  check_all(kBranches);
  check_all(kFormulas);
}

namespace {

bool is_part_of_a_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
// The function that a line of a header declares, or "": what stands before the first bracket,
// behind a type. The others are types' own, in the class that is open.
std::string declared(const std::string& line, const std::string& type) {
  const std::size_t indent = line.find_first_not_of(' '), bracket = line.find('(');
  if (indent != (type.empty() ? 0U : 2U) || bracket == std::string::npos) return "";
  if (line.find(" = delete") != std::string::npos || !is_part_of_a_name(line[indent])) return "";
  std::size_t begin = bracket;
  const std::size_t sign = line.find("operator");
  if (sign < bracket) begin = sign;
  while (begin > indent && is_part_of_a_name(line[begin - 1])) --begin;
  if (begin == indent || line[begin - 1] != ' ') return "";
  const std::string before = line.substr(indent, begin - indent);
  for (const char* other :
       {"template", "using ", "class ", "struct ", "return ", "=", "constexpr", "explicit"})
    if (before.find(other) != std::string::npos) return "";
  return (type.empty() ? "" : type + "::") + line.substr(begin, bracket - begin);
}
// All functions that a header's namespace, and its classes, have for everybody.
std::set<std::string> functions_of(const std::filesystem::path& header) {
  std::ifstream file(header);
  std::set<std::string> all;
  std::string type;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("class ", 0) == 0 && line.back() == '{')
      type = line.substr(6, line.find(' ', 6) - 6);
    if (line == " private:" || line == "};") type.clear();
    if (const std::string name = declared(line, type); !name.empty()) all.insert(name);
  }
  return all;
}

}  // namespace

TEST_CASE("no op is forgotten") {
  std::set<std::string> defined;
  const auto add = [&](const auto& table) {
    for (const auto& op : table) {
      const std::string name = op.name;
      defined.insert(name.substr(0, name.find_first_of(" ,")));
    }
  };
  add(kOps);
  add(kReductions), add(kLines), add(kMoves), add(kRowByRow), add(kProducts), add(kWindows);
  add(kDistributions), add(kChoices), add(kBranches), add(kFormulas);
  // What is no op: what ops take (operand.hpp), what is under the formulas, a stream of its own,
  // and what a schedule is asked with.
  const std::set<std::string> helpers = {"gives",    "lambda",        "fits",
                                         "misfits",  "sum",           "elementwise",
                                         "rng_from", "Scheduled::at", "Scheduled::scheduled"};
  std::size_t headers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ARGTAPE_SOURCE_DIR "/ops")) {
    if (entry.path().extension() != ".hpp" || entry.path().filename() == "operand.hpp") continue;
    ++headers;
    for (const std::string& name : functions_of(entry.path()))
      CHECK_MESSAGE((defined.count(name) || helpers.count(name)),
                    name << " of " << entry.path().filename().string()
                         << " has no definition here; write one");
  }
  CHECK(headers > 20);
}
