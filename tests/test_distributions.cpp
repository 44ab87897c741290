// Distributions, against PyTorch 1.13's numbers at first and second order, and against plain loops.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

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
#include "ops/softmax.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

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

namespace {

using Real = long double;

// log(1 + e^x), log sigmoid(x) = -softplus(-x), and sigmoid(x).
Real plus(Real x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
Real logistic(Real x) { return std::exp(-plus(-x)); }

void near(Scalar found, Real expected, double tolerance = 1e-13) {
  CHECK(std::abs(static_cast<Real>(found) - expected) <= tolerance * std::abs(expected) + 1e-320);
}
// Of what is a difference of probabilities near 1.
void close_to(Scalar found, Real expected) {
  CHECK(std::abs(static_cast<Real>(found) - expected) <= 1e-15);
}

// The slope of y for x, and the slope of that.
struct Slopes {
  Scalar first, second;
};
Slopes slopes(Var y, Var x) {
  const Var g = differentiate(y, x)[0];
  return {g.item(), differentiate(g, x)[0].item()};
}

}  // namespace

TEST_CASE("Bernoulli from near 0 to near 1: every digit, at first and second order") {
  for (double at : {0.0, 0.01, 0.3, 3.0, 18.0, 40.0, 300.0, 700.0, 1e5, 1e300})
    for (double logit : {at, -at}) {
      CAPTURE(logit);
      const Real l = logit, p = logistic(l), q = logistic(-l);
      Tape tape;
      const Var x = tape.parameter(full({}, logit));
      const Bernoulli b(x);
      for (bool one : {true, false}) {
        const Var y = b.log_prob(tape.constant(one));
        near(y.item(), -plus(one ? -l : l));
        near(slopes(y, x).first, one ? q : -p);
        close_to(slopes(y, x).second, -p * q);
      }
      near(b.entropy().item(), p * plus(-l) + q * (p > 0 && q > 0 ? plus(l) : 0), 1e-12);
      const Slopes h = slopes(b.entropy(), x);
      near(h.first, -l * p * q, 1e-12);
      close_to(h.second, p * q * (l * (p - q) - 1));
      for (double other : {logit - 2, logit / 2 + 1}) {
        const Real m = other, r = logistic(m);
        const Var y = tape.parameter(full({}, other)), kl = b.kl(Bernoulli(y));
        // The two terms have different signs.
        const Real one = p * (plus(-m) - plus(-l)), zero = q * (plus(m) - plus(l)),
                   size = std::abs(one) + (q > 0 ? std::abs(zero) : 0);
        CHECK(std::abs(kl.item() - (one + (q > 0 ? zero : 0))) <= 1e-13 * size);
        const Real slope = differentiate(kl, x)[0].item(), terms = 1 + std::abs(l) + std::abs(m);
        CHECK(std::abs(slope - (l - m) * p * q) <= 1e-14 * terms * p * q + 1e-320);
        close_to(differentiate(kl, y)[0].item(), r - p);
      }
    }
}

TEST_CASE("categorical entropy and divergence of nearly sure choices, against plain loops") {
  constexpr Real inf = std::numeric_limits<Real>::infinity();
  const auto reference = [&](const Tensor& of, const Tensor& to, bool cross) {
    const auto logs = [](const Tensor& l) {
      std::vector<Real> log_p;
      const Scalar most = *std::max_element(l.begin(), l.end());
      Real others = 0;
      for (Scalar x : l) others += std::exp(static_cast<Real>(x) - most);
      others -= 1;
      if (others < 1e-3L) {  // the largest stands alone
        others = 0;
        for (Scalar x : l)
          if (x != most) others += std::exp(static_cast<Real>(x) - most);
      }
      for (Scalar x : l) log_p.push_back(static_cast<Real>(x) - most - std::log1p(others));
      return log_p;
    };
    const std::vector<Real> q = logs(of), p = logs(to);
    Real total = 0;
    for (std::size_t i = 0; i < q.size(); ++i)
      if (q[i] > -inf) total += std::exp(q[i]) * ((cross ? p[i] : 0) - q[i]);
    return total;
  };
  for (const Tensor& l : {Tensor{0, -40, -45, -kInf}, Tensor{1, 1, 1, 1}, Tensor{-30, 7, -30, -30},
                          Tensor{1e5, 0, 1e5 - 25, 1e5 - 38}, Tensor{-kInf, 3, -kInf, -kInf},
                          Tensor{-500, -530, -600, 200}}) {
    Tape tape;
    const Var x = tape.parameter(l);
    near(Categorical(x).entropy().item(), reference(l, l, false), 1e-11);
    const Tensor m = 0.5 * l + Tensor{1, 2, 3, 4};
    CHECK(Categorical(x).kl(Categorical(x)).item() == 0);
    if (std::isfinite(l(3)))
      near(Categorical(x).kl(Categorical(tape.constant(m))).item(), -reference(l, m, true), 1e-11);
    // dH/dl_i = -p_i (log p_i + H).
    const Tensor h = differentiate(Categorical(x).entropy(), x)[0].value();
    const Tensor p = softmax(x).value();
    const Real entropy = reference(l, l, false);
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(i);
      if (p(i) > 0.1)
        close_to(h(i), -static_cast<Real>(p(i)) * (std::log(static_cast<Real>(p(i))) + entropy));
      else if (p(i) > 0)
        near(h(i), -static_cast<Real>(p(i)) * (std::log(static_cast<Real>(p(i))) + entropy), 1e-10);
    }
  }
  CHECK(check_gradient(
      [](const std::vector<Var>& v) {
        const Categorical q(v[0]), p(v[1]);
        return q.entropy() + q.kl(p);
      },
      {Rng(8).normal({3, 5}), Rng(9).normal({5})}));
}

TEST_CASE("categorical log-probability and divergence of a choice that rounds to sure") {
  for (double l : {15.0, 20.0, 40.0, 300.0}) {
    CAPTURE(l);
    Tape tape;
    const Var x = tape.parameter(Tensor{0, l, 0});
    const Real rest = 2 * std::exp(-static_cast<Real>(l)), p = 1 / (1 + rest), q = rest / 2 * p;
    const Categorical c(x);
    for (const Var& y : {c.log_prob({1}), c.log_prob(tape.constant(Tensor{0, 1, 0}))}) {
      near(y.item(), -std::log1p(rest));
      const Tensor g = differentiate(y, x)[0].value();
      near(g(0), -q), near(g(1), 2 * q), near(g(2), -q);
    }
    // dKL/dl_i = q_i (log q_i/p_i - KL), for p uniform but for its first.
    for (double m : {-3.0, 2.0}) {
      const Var g = differentiate(c.kl(Categorical(tape.constant(Tensor{m, 0, 0}))), x)[0];
      const Real to_first = p * q * (-l - m) + q * q * -m, to_third = p * q * -l + q * q * m;
      near(g.value()(0), to_first), near(g.value()(2), to_third);
      near(g.value()(1), -to_first - to_third);
    }
  }
}

TEST_CASE("probabilities of 0 and 1: gradients that are finite arrive, at either order") {
  Tape tape;
  const auto both = [&](Var y, Var p, const Tensor& first, const Tensor& second) {
    const Var g = differentiate(y, p)[0];
    agree(g, first);
    agree(differentiate(sum(g), p)[0], second);
  };
  // log p_1 - log sum(p), whatever p_0 and p_2 are.
  for (double least : {0.0, 1e-30}) {
    const Var p = tape.parameter(Tensor{least, 1, least});
    const Categorical c = Categorical::from_probabilities(p);
    both(c.log_prob({1}), p, Tensor{-1, 0, -1}, Tensor{3, 2, 3});
    both(c.log_prob(tape.constant(Tensor{0, 1, 0})), p, Tensor{-1, 0, -1}, Tensor{3, 2, 3});
  }
  // KL(q || p) = sum q log q - sum q log p + log sum p.
  for (double least : {0.0, 1e-30}) {
    const Var p = tape.parameter(Tensor{least, 0.25, 0.75});
    const Categorical q(tape.constant(Tensor{-kInf, 0, 0}));
    both(q.kl(Categorical::from_probabilities(p)), p, Tensor{1, -1, 1 - 0.5 / 0.75},
         Tensor{-3, 8 - 3, 0.5 / 0.5625 - 3});
  }
  const Categorical rows =
      Categorical::from_probabilities(tape.parameter(Tensor{{0.2, 0, 0.8}, {0.5, 0.25, 0.25}}));
  agree(rows.log_prob({2, 1}), Tensor{std::log(0.8), std::log(0.25)});
  refuses([&] { rows.log_prob({2}); },
          "log_prob: labels are 1, logits are (2, 3); need one label for each row");
  refuses([&] { rows.log_prob({2, 3}); }, "log_prob: label 3 in row 1; need less than 3");

  // log p and log(1 - p).
  for (double least : {0.0, 1e-30}) {
    const Var p = tape.parameter(Tensor{least, 1 - least, 0.25});
    const Bernoulli b = Bernoulli::from_probabilities(p);
    both(b.log_prob(tape.constant(Tensor{0, 1, 1})), p, Tensor{-1, 1, 4}, Tensor{-1, -1, -16});
    const Bernoulli half(tape.constant(zeros({3})));
    const Bernoulli sure = Bernoulli::from_probabilities(tape.constant(Tensor{0, 1, 0.5}));
    both(sure.kl(b), p, Tensor{1, -1, 0.5 / 0.75 - 0.5 / 0.25},
         Tensor{1, 1, 0.5 / 0.5625 + 0.5 / 0.0625});
    if (least > 0) CHECK(half.kl(b).value()(0) == doctest::Approx(33.8456));
  }
  const Var tiny = tape.parameter(Tensor{1e-20});
  CHECK(Bernoulli::from_probabilities(tiny).log_prob(tape.constant(Tensor{0})).item() == -1e-20);
  // Infinite slopes are left out.
  const Var p = tape.parameter(Tensor{0, 1, 0.5}), half = tape.parameter(Tensor{0, 0.5, 0.5});
  both(Bernoulli::from_probabilities(p).entropy(), p, zeros({3}), Tensor{0, 0, -4});
  both(Categorical::from_probabilities(half).entropy(), half, zeros({3}), zeros({3}));
}

TEST_CASE("normal divergence: every way to broadcast, and scales far apart or nearly the same") {
  Tape tape;
  const auto c = [&](const Tensor& t) { return tape.constant(t); };
  const auto kl = [](Real m, Real s, Real n, Real t) {
    const Real d = std::log(s) - std::log(t), away = (m - n) / t;
    return (std::expm1(2 * d) + away * away) / 2 - d;
  };
  const Normal n(c(Tensor{1, -2}), c(Tensor{{0.5}, {2}})), one(c(zeros({})), c(ones({}))),
      three(c(zeros({3, 1, 1})), c(ones({})));
  for (const Normal& p : {n, one, three}) {
    const Tensor found = n.kl(p).value();
    CHECK(found.shape() == (&p == &three ? Shape{3, 2, 2} : found.shape()));
    CHECK(found.size() == (found.dimension() == 3 ? 12 : 4));
  }
  const Tensor found = n.kl(one).value(), back = one.kl(n).value();
  REQUIRE(found.shape() == Shape{2, 2});
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 2; ++j) {
      near(found(i, j), kl(j ? -2 : 1, i ? 2 : 0.5, 0, 1));
      near(back(i, j), kl(0, 1, j ? -2 : 1, i ? 2 : 0.5));
    }
  for (const auto& pair : std::vector<std::pair<double, double>>{
           {1, 1 + 1e-7}, {1e-150, 1e-150 * (1 + 1e-5)}, {1e-200, 1e200}, {1e150, 1}, {3, 2}}) {
    const double s = pair.first, t = pair.second;
    CAPTURE(s);
    near(Normal(c(Tensor{0}), c(Tensor{s})).kl(Normal(c(Tensor{0}), c(Tensor{t}))).item(),
         kl(0, s, 0, t), 1e-7);
    // Of the mean, where the scale is that of all numbers.
    near(Normal(c(Tensor{2 * t}), c(Tensor{t})).kl(Normal(c(Tensor{0}), c(Tensor{t}))).item(), 2);
  }
  CHECK(check_gradient(
      [](const std::vector<Var>& v) { return Normal(v[0], exp(v[1])).kl(Normal(v[2], exp(v[3]))); },
      {Rng(1).normal({2}), Rng(2).normal({2, 1}), Rng(3).normal({}), Rng(4).normal({3, 1, 1})}));
}

TEST_CASE("two distributions, or one and x, broadcast both ways, but for the categories") {
  Rng rng(11);
  const Tensor l = rng.normal({2, 1}), x = rng.uniform({1, 4}), m = rng.normal({2, 1, 3}),
               y = rng.uniform({4, 3});
  Tape tape;
  const auto c = [&](const Tensor& t) { return tape.constant(t); };
  const auto at = [&](const Tensor& t, std::size_t i) { return take(c(t), {i}); };
  const Var found[] = {Bernoulli(c(l)).log_prob(c(x)), Bernoulli(c(l)).kl(Bernoulli(c(x))),
                       Categorical(c(m)).log_prob(c(y)), Categorical(c(m)).kl(Categorical(c(y)))};
  for (std::size_t i = 0; i < 2; ++i) {
    const Bernoulli b(at(l, i));
    const Categorical d(at(m, i));
    const Var row[] = {b.log_prob(c(x)), b.kl(Bernoulli(c(x))), d.log_prob(c(y)),
                       d.kl(Categorical(c(y)))};
    for (std::size_t k = 0; k < 4; ++k)
      agree(take(found[k], {i}), reshaped(row[k].value(), {1, 4}));
  }
}

TEST_CASE("what distributions refuse") {
  Tape tape;
  const auto c = [&](const Tensor& t) { return tape.constant(t); };
  const Categorical three(c(Tensor{{0, 1, 2}, {2, 1, 0}}));
  refuses([&] { three.kl(Categorical(c(Tensor{0.3}))); },
          "kl: categories are (2, 3) and (1,); need (..., K), with the same K");
  for (const Tensor& x : {zeros({2, 1}), zeros({1}), zeros({})})
    refuses([&] { three.log_prob(c(x)); }, ("log_prob: categories are " + str(x.shape()) +
                                            " and (2, 3); need (..., K), with the same K")
                                               .c_str());
  refuses(
      [&] { Bernoulli(c(zeros({3}))).kl(Bernoulli(c(zeros({2})))); },
      "kl: a is (3,), b is (2,); need equal lengths, or 1, on each axis, counted from the last");
  refuses([&] { Bernoulli::from_probabilities(c(Tensor{1.0000001})); },
          "Bernoulli: probabilities have 1.0000001000000001; need 0 to 1");
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
  refuses(
      [&] {
        Bernoulli(c(Tensor{0, kInf}));
      },
      "Bernoulli: logits have +inf in row 1; need numbers");
  refuses([&] { Bernoulli(c(Tensor{std::nan("")})); },
          "Bernoulli: logits have NaN in row 0; need numbers");
  refuses(
      [&] {
        Categorical(c(Tensor{{0, 1}, {0, kInf}}));
      },
      "Categorical: logits have +inf in row 1; need numbers");
  refuses(
      [&] {
        Categorical(c(Tensor{-kInf, -kInf}));
      },
      "Categorical: logits are all -inf in row 0; need at least one possible category");
  refuses([&] { Normal(c(Tensor{0}), c(Tensor{0})); },
          "Normal: std has 0; need finite numbers above 0");
}

TEST_CASE("distributions: a number or a tensor beside a Var is a constant") {
  Tape tape;
  const Var m = tape.parameter(Tensor{0.5, -1.0});
  const Var same =
      Normal(m, tape.constant(Tensor{1.0, 1.0})).log_prob(tape.constant(Tensor{0.25, 0.25}));
  CHECK(Normal(m, 1.0).log_prob(0.25).value() == same.value());
  CHECK(Normal(m, Tensor{1.0, 1.0}).log_prob(Tensor{0.25, 0.25}).value() == same.value());
  CHECK(Normal(0.0, exp(m)).entropy().shape() == Shape{2});
  CHECK(Bernoulli(m).log_prob(Tensor{1.0, 0.0}).value() ==
        Bernoulli(m).log_prob(tape.constant(Tensor{1.0, 0.0})).value());
  CHECK(Categorical(m).log_prob(Tensor{0.0, 1.0}).value() == Categorical(m).log_prob({1}).value());
  CHECK_THROWS_WITH_AS(Categorical(m).log_prob(1.0), doctest::Contains("log_prob: "),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(Normal(0.0, 1.0), doctest::Contains("Normal: "), std::invalid_argument);
}
