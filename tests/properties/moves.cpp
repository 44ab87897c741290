// What moves numbers.
#include "ops/elementwise.hpp"
#include "ops/shape.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

// The numbers one after the other under another shape.
template <class Op>
Example same_numbers(const Tensor& x, const Shape& to, Op op) {
  return {{x},
          [=](const Vars& v) { return op(v[0]); },
          [=](const Arrays& x) { return plain::reshaped(x[0], to); },
          "to " + str(to)};
}

}  // namespace

const plain::Table kMoves = {
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
