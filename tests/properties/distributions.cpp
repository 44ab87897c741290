// Distributions.
#include "ops/distributions.hpp"
#include "ops/elementwise.hpp"
#include "ops/rules/straight_through.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

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

}  // namespace

const plain::Table kDistributions = {
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
                      [](const Arrays& x) { return number_by_row(x, plain::divergence); },
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
                          return plain::divergence({binary(r[0]), binary(r[1])});
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
                          return plain::exp_concrete_log_prob(log_y, r[1], tau) -
                                 plain::total(log_y);
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
