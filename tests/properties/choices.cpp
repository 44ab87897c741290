// Choices and the solvers. What goes back is by the identity, as it arrives: other rules are held
// against their formulas in tests/test_rule_properties.cpp.
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/hungarian.hpp"
#include "ops/matching.hpp"
#include "ops/rules/gumbel_sinkhorn.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/top_k.hpp"
#include "tests/properties/solvers.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

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

}  // namespace

const plain::Table kChoices = {
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
