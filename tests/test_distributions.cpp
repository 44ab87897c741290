// Distributions, against PyTorch 1.13's numbers at first and second order, and against plain loops.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/gradcheck.hpp"
#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/distributions.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "tests/distance.hpp"

using namespace argtape;

namespace {

template <class F>
void refuses(F f, const char* message) {
  CHECK_THROWS_WITH_AS(f(), message, std::invalid_argument);
}

void agree(Var found, const Tensor& expected) { CHECK(farthest(found.value(), expected) < 1e-10); }

}  // namespace

TEST_CASE("categorical: PyTorch's numbers") {
  Tape tape;
  const Var l = tape.parameter(Tensor{{0.5, -1, 2}, {1.5, 0.25, -0.75}}),
            m = tape.parameter(Tensor{{-0.3, 0.8, 0.1}, {0, 1, 2}}),
            w = tape.constant(Tensor{0.7, -1.3}),
            u = tape.constant(Tensor{{0.2, -0.4, 1.1}, {0.9, 0.3, -0.6}});
  const Categorical q(l), p(m);
  const Tensor log_p{-0.241311296657, -0.330672609407};
  agree(q.log_prob({2, 0}), log_p);
  agree(q.log_prob(tape.constant(one_hot({2, 0}, 3))), log_p);
  agree(q.entropy(), Tensor{0.621584604679, 0.75834523782});
  agree(q.kl(p), Tensor{0.725171617594, 1.29197801292});
  const Var dh = differentiate(q.entropy(), l, w)[0];
  agree(dh, Tensor{{0.137394131649, 0.0717249765324, -0.209119108181},
                   {0.399434449775, -0.220044595604, -0.17938985417}});
  agree(differentiate(dh, l, u)[0], Tensor{{0.0304923068912, -0.0478769338814, 0.0173846269902},
                                           {0.0279581223276, -0.0998174275629, 0.0718593052353}});
  const std::vector<Var> slopes = differentiate(q.kl(p), {l, m}, w);
  agree(slopes[0], Tensor{{-0.0935568353207, -0.0920602350007, 0.185617070321},
                          {-0.733126658909, 0.39202776221, 0.341098896699}});
  agree(slopes[1], Tensor{{0.00466229714504, 0.355248521661, -0.359910818806},
                          {0.816932698375, -0.0505594271743, -0.766373271201}});
  agree(differentiate(sum(slopes[0] * u) + sum(slopes[1] * u), l)[0],
        Tensor{{0.0249870610519, 0.109471343498, -0.134458404549},
               {0.362763480729, 0.0114600059667, -0.374223486696}});
}

TEST_CASE("categorical: a probability of 0 adds nothing and gets nothing, at either order") {
  Tape tape;
  const Var p = tape.parameter(Tensor{0.5, 0, 0.3, 0.2});
  const Categorical q = Categorical::from_probabilities(p),
                    r = Categorical::from_probabilities(tape.constant(Tensor{0.1, 0.2, 0.3, 0.4}));
  agree(q.entropy(), full({}, 1.02965301406));
  agree(q.kl(r), full({}, 0.666089520105));
  CHECK(r.kl(q).item() == std::numeric_limits<Scalar>::infinity());
  agree(q.log_prob(tape.constant(Tensor{0, 0, 1, 0})), full({}, -1.20397280433));
  CHECK(q.log_prob(tape.constant(Tensor{0, 1, 0, 0})).item() ==
        -std::numeric_limits<Scalar>::infinity());
  const Var g = differentiate(q.entropy() + q.kl(r), p)[0], h = differentiate(sum(square(g)), p)[0];
  for (const Var& v : {g, h}) {
    CHECK(v.value().data()[1] == 0);
    for (Scalar x : v.value()) CHECK(std::isfinite(x));
  }
  // Up to the sum of p, of which nothing depends: H + KL = -sum p log r.
  for (std::size_t i : {2u, 3u}) {
    const auto slope = [](std::size_t j) { return -std::log(0.1 * static_cast<double>(j + 1)); };
    CHECK(g.value().data()[i] - g.value().data()[0] == doctest::Approx(slope(i) - slope(0)));
  }
  Rng rng(1);
  std::vector<double> counts(4, 0);
  for (int draw = 0; draw < 20000; ++draw)
    ++counts[indices_of(expand_dims(q.sample(zero(), rng), 0))[0]];
  CHECK(counts[1] == 0);
  CHECK(std::abs(counts[0] - 10000) < 4 * std::sqrt(5000.0));
  CHECK(std::abs(counts[3] - 4000) < 4 * std::sqrt(3200.0));
}

TEST_CASE("Bernoulli: PyTorch's numbers, probabilities of 0 and 1 among them") {
  Tape tape;
  const Var l = tape.parameter(Tensor{0.4, -1.7, 3});
  const Bernoulli q(l), p(tape.constant(Tensor{-0.2, 0.5, 1}));
  agree(q.log_prob(tape.constant(Tensor{1, 0, 0})),
        Tensor{-0.5130152524, -0.167786029386, -3.04858735157});
  agree(q.entropy(), Tensor{0.673540188355, 0.430376980028, 0.190864971106});
  agree(q.kl(p), Tensor{0.0443362130491, 0.46646737161, 0.169822589589});
  const Var g = differentiate(q.entropy() + 2 * q.kl(p), l)[0];
  agree(g, Tensor{0.192208596593, -0.352635516809, 0.0451766597309});
  agree(differentiate(g, l)[0], Tensor{0.202323512439, -0.113089892679, 0.00428508506997});

  const Var sure = tape.parameter(Tensor{0, 1, 0.25});
  const Bernoulli r = Bernoulli::from_probabilities(sure),
                  s = Bernoulli::from_probabilities(tape.constant(Tensor{0.5, 0.25, 0.75}));
  agree(r.kl(s), Tensor{0.69314718056, 1.38629436112, 0.549306144334});
  agree(r.entropy(), Tensor{0, 0, 0.562335144619});
  agree(r.log_prob(tape.constant(Tensor{0, 1, 1})), Tensor{0, 0, std::log(0.25)});
  const Var slope = differentiate(r.kl(s) + r.entropy(), sure)[0];
  for (Scalar x : slope.value()) CHECK(std::isfinite(x));
  CHECK(slope.value().data()[2] == doctest::Approx(std::log(0.25 / 0.75)));
}

TEST_CASE("Bernoulli draws: their frequencies, and every rule for choices behind them") {
  Rng rng(2);
  Tape tape;
  const Tensor p{0, 1, 0.3};
  const Var many = tape.constant(Tensor(xt::broadcast(p, std::vector<std::size_t>{20000, 3})));
  const Tensor mean =
      argtape::mean(Bernoulli::from_probabilities(many).sample(zero(), rng), 0).value();
  CHECK(mean.data()[0] == 0);
  CHECK(mean.data()[1] == 1);
  CHECK(std::abs(mean.data()[2] - 0.3) < 4 * std::sqrt(0.21 / 20000));
  for (const std::string& name : rule_names()) {
    CAPTURE(name);
    const Var l = tape.parameter(Tensor{{0.3, -1, 0.2}, {0.3, -1, 0.2}});
    const Var b = Bernoulli(l).sample(rule_named(name), rng);
    CHECK(b.shape() == Shape{2, 3});
    const Tensor g = backward(square(b - 0.4))[l];
    if (name == "zero") CHECK(norm(g) == 0);
    if (name == "straight-through" || name.rfind("score", 0) == 0) CHECK(norm(g) > 0);
    for (Scalar x : g) CHECK(std::isfinite(x));
  }
  // The binary concrete: a sigmoid of the logit and logistic noise.
  Rng one(3), two(3);
  const Var l = tape.constant(Tensor{0.3, -1});
  const Tensor g = one.gumbel({2, 2}), b = Bernoulli(l).sample(gumbel_softmax(0.5), two).value();
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(b.data()[i] ==
          doctest::Approx(1 / (1 + std::exp(-(l.value().data()[i] + g(i, 1) - g(i, 0)) / 0.5))));
}

TEST_CASE("relaxed categorical: PyTorch's density, and its draws are Gumbel-softmax") {
  Tape tape;
  const Var l = tape.parameter(Tensor{0.5, -1, 2});
  const RelaxedCategorical r(l, 0.7);
  agree(r.log_prob(tape.constant(Tensor{{0.2, 0.1, 0.7}, {0.6, 0.3, 0.1}})),
        Tensor{0.342001210144, -2.77560555053});
  Rng one(4), two(4);
  CHECK(identical(r.sample(one).value(), argtape::sample(l, gumbel_softmax(0.7), two).value()));
}

TEST_CASE("normal: PyTorch's numbers, and draws that move with mean and standard deviation") {
  Tape tape;
  const Var mu = tape.parameter(Tensor{0.3, -1.2}), s = tape.parameter(Tensor{0.5, 2}),
            x = tape.constant(Tensor{1, -2});
  const Normal n(mu, s), m(tape.constant(Tensor{-0.4, 0.1}), tape.constant(Tensor{1.5, 0.8}));
  agree(n.log_prob(x), Tensor{-1.20579135264, -1.69208571376});
  agree(n.entropy(), Tensor{0.725791352645, 2.11208571376});
  agree(n.kl(m), Tensor{0.763056733113, 3.02902176813});
  const Var f = n.log_prob(x) * tape.constant(Tensor{1, 2}) + n.kl(m) - n.entropy();
  const std::vector<Var> g = differentiate(f, {mu, s});
  agree(g[0], Tensor{3.11111111111, -2.43125});
  agree(g[1], Tensor{-1.85777777778, 1.285});
  const Var along =
      sum(g[0] * tape.constant(Tensor{0.5, 1})) + sum(g[1] * tape.constant(Tensor{1, -1}));
  const std::vector<Var> h = differentiate(along, {mu, s});
  agree(h[0], Tensor{-12.9777777778, 0.6625});
  agree(h[1], Tensor{-16.6755555556, -1.9225});

  Rng one(5), two(5);
  const Tensor e = one.normal({3, 2});
  const Normal wide(tape.constant(zeros({3, 1})), s);
  const Var y = wide.sample(two);
  CHECK(y.shape() == Shape{3, 2});
  CHECK(wide.entropy().shape() == Shape{3, 2});
  agree(y, e * s.value());
  agree(differentiate(y, s)[0], Tensor(xt::sum(e, 0)));
}

TEST_CASE("what distributions refuse") {
  Tape tape;
  const auto c = [&](const Tensor& t) { return tape.constant(t); };
  refuses([&] { Categorical(c(full({}, 1))); },
          "Categorical: logits are (); need (..., K) with at least one category");
  refuses(
      [&] {
        Categorical::from_probabilities(c(Tensor{{0.5, 0.5}, {2, -1}}));
      },
      "Categorical: probabilities have -1 in row 1; need at least 0");
  refuses(
      [&] {
        Categorical::from_probabilities(c(Tensor{2, 3}));
      },
      "Categorical: probabilities sum to 5 in row 0; need 1, or logits");
  refuses(
      [&] {
        Bernoulli::from_probabilities(c(Tensor{0.5, 1.5}));
      },
      "Bernoulli: probabilities have 1.5; need 0 to 1");
  refuses([&] { Normal(c(Tensor{0}), c(Tensor{0})); },
          "Normal: std has 0; need finite numbers above 0");
}
