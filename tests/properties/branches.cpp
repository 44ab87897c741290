// Branches, costs of a choice, formulas and schedules.
#include "ops/choice.hpp"
#include "ops/expectation.hpp"
#include "ops/formula.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/shape.hpp"
#include "ops/temperature.hpp"
#include "tests/properties/solvers.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

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
    return select(argmax(logits, straight_through_identity()), x, branches, others);
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

}  // namespace

const plain::Table kBranches = {
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

namespace {

// Formulas of several inputs.

constexpr auto kGate = [](auto x, auto w, auto b) {
  return tanh(x * w + b) * sigmoid(x - w) + maximum(x, b);
};

template <class Op>
Example gated(Draws& d, Op op, bool of_something, Number (*of_all)(const Row&)) {
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

}  // namespace

const plain::Table kFormulas = {
    {"elementwise", [](Draws& d) { return gated(d, CALL(elementwise), false, nullptr); }},
    {"sum_of", [](Draws& d) { return gated(d, CALL(sum_of), false, plain::total); }},
    {"mean_of", [](Draws& d) { return gated(d, CALL(mean_of), true, average); }},
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
