// What goes along an axis, or over several.
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

// f(line) along an axis of one tensor.
template <class Op, class F>
Example by_line(Draws& d, const Line& line, Op op, F f, const std::string& words = "") {
  return {{d.numbers(line.shape)},
          [op, a = line.axis](const Vars& v) { return op(v[0], a); },
          [f, a = line.axis](const Arrays& x) {
            return plain::lines(x[0], a, [&](const Row& row, std::size_t) { return f(row); });
          },
          "axis " + std::to_string(line.axis) + words};
}
template <class Op, class F>
Example by_line(Draws& d, Op op, F f) {
  return by_line(d, Line(d), op, f);
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

Number norm_of(const Row& x) {
  Number sum;
  for (Number v : x) sum += square(v);
  return sum.value() == 0 ? Number() : sqrt(sum);
}

}  // namespace

const plain::Table kReductions = {
    {"sum", [](Draws& d) { return reduction(d, CALL(sum), plain::total, false); }},
    {"prod",
     [](Draws& d) {
       return reduction(
           d, CALL(prod),
           [](const Row& x) {
             Number y = 1;
             long double largest = 1;  // that some of the numbers may make
             for (Number v : x) {
               y = y * v;
               largest *= std::max(1.0L, std::abs(v.value()));
             }
             // A part that is below Scalar's range is lost, one beyond it is an infinity.
             using Limits = std::numeric_limits<Scalar>;
             const long double lost =
                 largest > Limits::max() ? INFINITY : largest * Limits::min() / Limits::epsilon();
             y.v.e += lost;
             y.d.e += lost;
             return y;
           },
           false);
     }},
    {"mean", [](Draws& d) { return reduction(d, CALL(mean), average); }},
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

const plain::Table kLines = {
    {"cumsum",
     [](Draws& d) {
       return by_line(d, CALL(cumsum), [](Row x) {
         for (std::size_t i = 1; i < x.size(); ++i) x[i] += x[i - 1];
         return x;
       });
     }},
    {"flip",
     [](Draws& d) {
       return by_line(d, CALL(flip), [](const Row& x) { return Row(x.rbegin(), x.rend()); });
     }},
    {"softmax", [](Draws& d) { return by_line(d, CALL(softmax), plain::softmax); }},
    {"log_softmax", [](Draws& d) { return by_line(d, CALL(log_softmax), plain::log_softmax); }},
    {"sort",
     [](Draws& d) {
       const Order order = d.one_of({Order::ascending, Order::descending});
       return by_line(
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
       const Order order = d.one_of({Order::ascending, Order::descending});
       return by_line(
           d,
           [=](Var x, int axis) {
             const Indices found = argsort(x.value(), axis, order);
             Tensor y(x.shape());
             std::copy(found.begin(), found.end(), y.begin());
             return x.tape->constant(y);
           },
           [=](const Row& x) {
             Indices places(x.size());
             std::iota(places.begin(), places.end(), std::size_t{0});
             std::stable_sort(places.begin(), places.end(), [&](std::size_t i, std::size_t j) {
               return order == Order::ascending ? x[i].value() < x[j].value()
                                                : x[j].value() < x[i].value();
             });
             Row y;
             for (std::size_t i : places) y.emplace_back(static_cast<double>(i));
             return y;
           });
     }},
    {"slice",
     [](Draws& d) {
       const Line line(d);
       const std::size_t n = line.length(), begin = d.below(n + 1),
                         end = begin + d.below(n - begin + 1), step = d.some(3);
       return by_line(
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
       return by_line(
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
       return by_line(
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
       return by_line(
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
       return by_line(
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
