// What goes row by row, over one tensor or several that stretch to one shape.
#include "ops/elementwise.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/gumbel_softmax_density.hpp"
#include "ops/layer_norm.hpp"
#include "ops/loss.hpp"
#include "ops/relaxed_top_k.hpp"
#include "ops/shape.hpp"
#include "ops/soft_sort.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

// Of rows of means and log-variances, of q and of p.
Number kl_of_normals(const Rows& r) {
  Number sum;
  for (std::size_t k = 0; k < r[0].size(); ++k)
    sum +=
        r[3][k] - r[1][k] - Number(1) + (exp(r[1][k]) + square(r[0][k] - r[2][k])) / exp(r[3][k]);
  return sum / Number(2);
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

}  // namespace

const plain::Table kRowByRow = {
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
                      [](const Arrays& x) { return number_by_row(x, plain::divergence); },
                      ""};
     }},
    {"kl_categorical_uniform",
     [](Draws& d) {
       return Example{{d.numbers(categories(d))},
                      [](const Vars& v) { return kl_categorical_uniform(v[0]); },
                      [](const Arrays& x) {
                        return number_by_row(x, [](const Rows& r) {
                          return plain::divergence({r[0], Row(r[0].size())});
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
               const Number mean = average(r[0]), scale = sqrt(variance_of(r[0]) + Number(1e-3));
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
                          return plain::exp_concrete_log_prob(log_y, r[1], r[2][0]) -
                                 plain::total(log_y);
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
                        return number_by_row(x, [](const Rows& r) {
                          return plain::exp_concrete_log_prob(r[0], r[1], r[2][0]);
                        });
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
               return plain::conditional_gumbels(r[0], plain::place_of_largest(r[1]), r[2]);
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
