// Sorting, and subsets as choices: against plain loops, enumeration and statistics.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "engine/gradcheck.hpp"
#include "engine/report.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "models/measure.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/methods/without_replacement.hpp"
#include "ops/reduce.hpp"
#include "ops/relaxed_top_k.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/quadratic.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/solver.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"
#include "ops/top_k.hpp"
#include "tests/decisions.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

using Places = std::vector<std::size_t>;

// All subsets of k out of n, each by its places in rising order.
std::vector<Places> subsets(std::size_t n, std::size_t k) {
  std::vector<Places> all;
  for (std::size_t bits = 0; bits < std::size_t{1} << n; ++bits) {
    Places places;
    for (std::size_t i = 0; i < n; ++i)
      if (bits >> i & 1) places.push_back(i);
    if (places.size() == k) all.push_back(places);
  }
  return all;
}

// How likely an order is, by its definition: each from what is left.
double order_probability(const Scalar* logits, std::size_t n, const Places& order) {
  std::vector<double> w(logits, logits + n);
  for (double& x : w) x = std::exp(x);
  double p = 1;
  for (std::size_t i : order) {
    p *= w[i] / std::accumulate(w.begin(), w.end(), 0.0);
    w[i] = 0;
  }
  return p;
}

// And a set: the sum over its orders.
double set_probability(const Scalar* logits, std::size_t n, Places set) {
  double p = 0;
  do p += order_probability(logits, n, set);
  while (std::next_permutation(set.begin(), set.end()));
  return p;
}

Tensor hot(std::size_t n, const Places& set) {
  Tensor t = zeros({n});
  for (std::size_t i : set) t.data()[i] = 1;
  return t;
}

// S_k in plain loops.
std::vector<double> relaxed(std::vector<double> a, std::size_t k, double tau) {
  std::vector<double> total(a.size(), 0), p(a.size());
  for (std::size_t j = 0; j < k; ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += p[i] = std::exp(a[i] / tau);
    for (std::size_t i = 0; i < a.size(); ++i) {
      p[i] /= sum;
      total[i] += p[i];
      a[i] += std::log(1 - p[i]);
    }
  }
  return total;
}

constexpr std::size_t kN = 6;

// A cost (...) of choices (..., 6) that is no linear function of them.
Cost curved(std::uint64_t seed) {
  return [a = Rng(seed).normal({kN, kN}), b = Rng(seed + 1).normal({kN})](Var z) {
    return sum(z * (matmul(z, z.tape->constant(a)) + z.tape->constant(b)), -1);
  };
}

// The gradient of E f(D) by central differences of the sum over all sets.
Tensor plain_gradient(const Cost& f, const Tensor& logits, std::size_t k) {
  const auto expected = [&](const Tensor& l) {
    double total = 0;
    for (const Places& set : subsets(kN, k)) {
      Tape tape;
      total += set_probability(l.data(), kN, set) *
               f(tape.constant(reshaped(hot(kN, set), {1, kN}))).item();
    }
    return total;
  };
  Tensor g = zeros({kN});
  for (std::size_t i = 0; i < kN; ++i) {
    Tensor up = logits, down = logits;
    up.data()[i] += 1e-4, down.data()[i] -= 1e-4;
    g.data()[i] = (expected(up) - expected(down)) / 2e-4;
  }
  return g;
}

struct Passed {
  Tensor value, gradient, recorded;
  Counts counts;
};
template <class Draw>
Passed passed(const Tensor& logits, Draw draw, const Cost& f) {
  Tape tape;
  const Var l = tape.parameter(logits), z = draw(l), cost = f(z);
  Passed result{z.value(), backward(cost)[l], {}, tape.counts};
  result.recorded = differentiate(cost, l)[0].value();
  return result;
}

}  // namespace

TEST_CASE("sort and argsort: equal numbers keep their order, rows of nothing, NaN") {
  Rng rng(1);
  // PyTorch's.
  const Tensor y{{3, 1, 3, 2}, {0, -1, 5, -1}};
  CHECK(argsort(y) == Places{1, 3, 0, 2, 1, 3, 0, 2});
  CHECK(argsort(y, 1, Order::descending) == Places{0, 2, 3, 1, 2, 0, 1, 3});
  CHECK(argsort(y, 0) == Places{1, 1, 0, 1, 0, 0, 1, 0});
  CHECK(argsort(zeros({2, 0})).empty());
  Tape tape;
  for (int axis : {0, 1, 2})
    CHECK(sort(tape.constant(zeros({2, 0, 3})), axis).shape() == Shape{2, 0, 3});
  CHECK(argsort(Tensor{kInf, 1, -kInf}) == Places{2, 1, 0});
  for (int axis : {0, 1})
    CHECK(check_gradient(
        [axis](const std::vector<Var>& v) { return square(sort(v[0], axis, Order::descending)); },
        {rng.normal({4, 3})}));
  refuses([&] { argsort(Tensor{{1, 2}, {3, kNan}}); }, "argsort: x has NaN in row 1; need numbers");
  refuses(
      [&] {
        Tape t;
        sort(t.constant(Tensor{kNan}));
      },
      "sort: x has NaN in row 0; need numbers");
  refuses([&] { argsort(y, 2); }, "argsort: axis 2 of (2, 4); need -2..1");
}

TEST_CASE("top-k along any axis, against plain loops; ties go to the first, -inf forbids") {
  Rng rng(2);
  Tensor x = xt::floor(4 * rng.uniform({3, 5, 4}));
  x.data()[7] = -kInf;
  Tape tape;
  const Var l = tape.parameter(x);
  for (int axis : {0, 1, 2})
    for (std::size_t k = 0; k <= x.shape()[static_cast<std::size_t>(axis)]; ++k) {
      if (k == x.shape()[static_cast<std::size_t>(axis)])
        continue;  // the forbidden one is left out
      CAPTURE(axis);
      CAPTURE(k);
      const Places order = argsort(x, axis, Order::descending);
      Tensor expected = zeros(x.shape());
      const std::size_t n = x.shape()[static_cast<std::size_t>(axis)], apart = axis == 0   ? 20
                                                                               : axis == 1 ? 4
                                                                                           : 1;
      for (std::size_t at = 0; at < x.size(); ++at)
        if (const std::size_t i = at / apart % n; i < k)
          expected.data()[at - i * apart + order[at] * apart] = 1;
      CHECK(identical(top_k(l, k, zero(), axis).value(), expected));
      CHECK(identical(sample_top_k(l, k, zero(), tape.constant(zeros(x.shape())), axis).value(),
                      expected));
    }
  // A large offset swallows no noise that a draw of one would keep, and threads do not count.
  const Tensor far = 1e9 + rng.normal({50, 6});
  const Var g = tape.constant(rng.gumbel({50, 6}));
  const Tensor drawn = sample_top_k(tape.constant(far), 3, zero(), g).value();
  CHECK(identical(drawn, sample_top_k(tape.constant(far - 1e9), 3, zero(), g).value()));
  set_threads(2);
  CHECK(identical(drawn, sample_top_k(tape.constant(far), 3, zero(), g).value()));
  set_threads(1);
  // Several rows of leading axes, none, and one number.
  CHECK(top_k(tape.constant(zeros({0, 3})), 2, zero()).shape() == Shape{0, 3});
  CHECK(top_k(tape.constant(Tensor{3}), 1, zero()).value() == Tensor{1});
}

TEST_CASE("nothing to choose: all or none, and nothing goes back whatever the rule") {
  Rng rng(3);
  for (const std::string& name : top_k_rule_names())
    for (std::size_t k : {0u, 4u}) {
      CAPTURE(name);
      Tape tape;
      const Var l = tape.parameter(rng.normal({3, 4})),
                z = sample_top_k(l, k, top_k_rule_named(name), rng), cost = sum(square(z), -1);
      CHECK(identical(z.value(), full({3, 4}, k == 0 ? 0 : 1)));
      CHECK(norm(backward(cost)[l]) == 0);
      CHECK(str(stop_report(cost, l)).find("It takes none or all: there is nothing to choose.") !=
            std::string::npos);
    }
}

TEST_CASE("noise that wants a gradient: the logits' own, none behind zero, or a refusal") {
  const std::set<std::string> differentiate_noise = {"gumbel-softmax",  "st-gumbel-softmax",
                                                     "gumbel-sinkhorn", "st-gumbel-sinkhorn",
                                                     "blackbox",        "i-mle"};
  Rng rng(31);
  const Tensor logits = rng.normal({2, 4, 4}), noise = rng.gumbel({2, 4, 4}),
               target = 3 * rng.normal({2, 4, 4});
  for (const DecisionNode& node : kDecisionNodes)
    for (const std::string& name : node.names()) {
      CAPTURE(name);
      Tape tape;
      const Var l = tape.parameter(logits), g = tape.parameter(noise);
      const Rule rule = node.named(name, 1);
      const bool differentiates = differentiate_noise.count(name) > 0;
      CHECK(rule.differentiates_noise == differentiates);
      CHECK(noise_of(node.drawn(l, rule, tape.constant(noise))).value() == noise);
      if (!differentiates && name != "zero") {
        CHECK_THROWS_WITH_AS(
            node.drawn(l, rule, g),
            doctest::Contains("]: the noise wants a gradient, and the rule has none for it; need a "
                              "constant, or a rule that differentiates the noise too"),
            std::invalid_argument);
        continue;
      }
      const Var z = node.drawn(l, rule, g), cost = sum(square(z - target), -1);
      CHECK(noise_of(z).index == g.index);
      const Gradients found = backward(cost);
      CHECK(found.reached(g) == differentiates);
      CHECK((norm(found[g]) > 0) == differentiates);
      CHECK(farthest(found[g], found[l]) < 1e-14);
      if (!differentiates) continue;
      CHECK(farthest(differentiate(cost, g)[0].value(), found[g]) < 1e-14);
      if (rule.soft_tau > 0)
        CHECK(check_gradient(
            [&](const std::vector<Var>& v) {
              return sum(square(node.drawn(v[0], rule, v[1]) - target), -1);
            },
            {logits, noise}));
    }
  // Along another axis, and where there is nothing to choose.
  Tape tape;
  const Var l = tape.parameter(logits), g = tape.parameter(noise);
  const Gradients found =
      backward(sum(square(sample(l, gumbel_softmax(0.7), g, 1) - target), {1, 2}));
  CHECK(norm(found[g]) > 0);
  CHECK(farthest(found[g], found[l]) < 1e-14);
  CHECK(noise_of(sample_top_k(l, 4, gumbel_softmax(0.7), g)).index == g.index);
}

TEST_CASE("draws without replacement: frequencies by chi-square against enumeration") {
  // Beyond these a chi-square is once in 10,000 cases: of 14 degrees of freedom, and of 19.
  const double limit[] = {42.58, 50.80};
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    for (std::size_t k : {2u, 3u}) {
      CAPTURE(k);
      const std::size_t draws = 100000;
      Rng rng(seed);
      const Tensor logits = rng.normal({kN});
      Tape tape;
      const Var many = broadcast(tape.constant(logits), {draws, kN});
      const Tensor z = sample_top_k(many, k, zero(), rng).value();
      std::map<Places, double> counts;
      for (std::size_t d = 0; d < draws; ++d) {
        Places set;
        for (std::size_t i = 0; i < kN; ++i)
          if (z(d, i) == 1) set.push_back(i);
        REQUIRE(set.size() == k);
        ++counts[set];
      }
      double chi = 0;
      for (const Places& set : subsets(kN, k)) {
        const double expected =
            static_cast<double>(draws) * set_probability(logits.data(), kN, set);
        REQUIRE(expected > 5);
        chi += (counts[set] - expected) * (counts[set] - expected) / expected;
      }
      CHECK(chi < limit[k - 2]);
    }
}

TEST_CASE("who comes second is drawn as among the rest, however far above the first stands") {
  using Pair = std::pair<double, double>;
  for (const Pair& at : {Pair{0, 0}, Pair{100, 0}, Pair{1e6, 0}, Pair{1e17, 0}, Pair{1e25, 1e17}}) {
    const double far = at.first, all = at.second;
    CAPTURE(far);
    const std::size_t draws = 20000;
    const Tensor rest = all + Tensor{0.5, -0.25, 1.0, 0.0};
    Tensor logits = zeros({5});
    std::copy(rest.begin(), rest.end(), logits.begin() + 1);
    logits.data()[0] = far + 20;
    Rng rng(18);
    Tape tape;
    const Var many = broadcast(tape.constant(logits), {draws, 5});
    const Tensor z = sample_top_k(many, 2, zero(), rng).value(),
                 p = softmax(tape.constant(rest)).value();
    double chi = 0;
    for (std::size_t i = 1; i < 5; ++i) {
      double count = 0;
      for (std::size_t d = 0; d < draws; ++d) count += z(d, i);
      const double expected = static_cast<double>(draws) * p.data()[i - 1];
      chi += (count - expected) * (count - expected) / expected;
    }
    CHECK(chi < 21.11);  // of 3 degrees of freedom: once in 10,000
  }
}

TEST_CASE("log-probabilities of sets and orders, against sums over all orders") {
  Rng rng(4);
  for (double spread : {0.0, 1.0, 8.0})
    for (std::size_t k = 1; k <= kN; ++k) {
      CAPTURE(k);
      const Tensor logits = spread * rng.normal({kN});
      double total = 0;
      for (const Places& set : subsets(kN, k)) {
        Tape tape;
        const Var l = tape.constant(logits), d = tape.constant(hot(kN, set));
        const double p = set_probability(logits.data(), kN, set);
        CHECK(top_k_log_prob(l, d).item() == doctest::Approx(std::log(p)).epsilon(1e-12));
        Places order = set;
        std::reverse(order.begin(), order.end());
        CHECK(plackett_luce_log_prob(l, order).item() ==
              doctest::Approx(std::log(order_probability(logits.data(), kN, order))));
        total += std::exp(top_k_log_prob(l, d).item());
      }
      CHECK(total == doctest::Approx(1).epsilon(1e-12));
    }
}

TEST_CASE("log-probabilities: many chosen, far apart, forbidden, shifted; first and second order") {
  Rng rng(5);
  Tape tape;
  // 12 out of 14.
  const Tensor logits = rng.normal({14});
  std::vector<Places> all = subsets(14, 12);
  Tensor chosen = zeros({all.size(), 14});
  for (std::size_t s = 0; s < all.size(); ++s)
    for (std::size_t i : all[s]) chosen(s, i) = 1;
  const Var log_p =
      top_k_log_prob(tape.constant(broadcast_to(logits, {all.size(), 14})), tape.constant(chosen));
  CHECK(sum(exp(log_p)).item() == doctest::Approx(1).epsilon(1e-12));
  // Where a weight beside another is nothing: the two likeliest, and an unlikely pair.
  const Tensor far{700, 0, -700, -1400};
  const auto of = [&](const Tensor& l, const Tensor& d) {
    return top_k_log_prob(tape.constant(l), tape.constant(d)).item();
  };
  CHECK(of(far, Tensor{1, 1, 0, 0}) == doctest::Approx(0));
  CHECK(of(far, Tensor{0, 0, 1, 1}) == doctest::Approx(-1400 - 2100 + std::log(2.0)));
  CHECK(of(far + 1e6, Tensor{1, 0, 1, 0}) == doctest::Approx(-700));
  const Tensor forbidden{0.5, -kInf, 1, -0.25};
  CHECK(of(forbidden, Tensor{1, 1, 0, 0}) == -kInf);
  CHECK(of(forbidden, Tensor{1, 0, 1, 1}) == doctest::Approx(0));
  CHECK(of(forbidden, Tensor{1, 0, 1, 0}) ==
        doctest::Approx(of(Tensor{0.5, 1, -0.25}, Tensor{1, 1, 0})));
  CHECK(plackett_luce_log_prob(tape.constant(forbidden), {0, 2, 3, 1}).item() == -kInf);
  CHECK(plackett_luce_log_prob(tape.constant(forbidden), {3, 0}).item() ==
        doctest::Approx(std::log(order_probability(forbidden.data(), 4, {3, 0}))));
  for (const Tensor& d : {Tensor{1, 1, 0, 0}, Tensor{1, 0, 1, 1}, Tensor{0, 0, 0, 0}}) {
    const Var l = tape.parameter(forbidden), log_q = top_k_log_prob(l, tape.constant(d)),
              g = differentiate(log_q, l)[0], h = differentiate(sum(square(g)), l)[0];
    for (Scalar x : g.value()) CHECK(std::isfinite(x));
    for (Scalar x : h.value()) CHECK(std::isfinite(x));
    CHECK(g.value().data()[1] == 0);
  }
  for (std::size_t k = 1; k <= 5; ++k) {
    const Tensor d = top_k(tape.constant(rng.normal({2, 3, 7})), k, zero()).value();
    Places order;
    for (std::size_t r = 0; r < 6; ++r) {
      const Places row = rng.permutation(7);
      order.insert(order.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(k));
    }
    for (double spread : {0.0, 1.0}) {  // ties, too
      const Tensor l = spread * rng.normal({2, 3, 7});
      CHECK(check_gradient(
          [&](const std::vector<Var>& v) { return top_k_log_prob(v[0], v[0].tape->constant(d)); },
          {l}));
      CHECK(check_gradient(
          [&](const std::vector<Var>& v) { return plackett_luce_log_prob(v[0], order); }, {l}));
    }
  }
}

TEST_CASE("a set's score is the mean of its orders' scores") {
  Rng rng(6);
  const Tensor logits = rng.normal({kN});
  Places set = {1, 3, 4};
  Tape tape;
  const Var l = tape.parameter(logits);
  const Tensor score = differentiate(top_k_log_prob(l, tape.constant(hot(kN, set))), l)[0].value();
  const double p = set_probability(logits.data(), kN, set);
  Tensor mean = zeros({kN});
  do {
    const double share = order_probability(logits.data(), kN, set) / p;
    mean += share * differentiate(plackett_luce_log_prob(l, set), l)[0].value();
  } while (std::next_permutation(set.begin(), set.end()));
  CHECK(farthest(score, mean) < 1e-12);
}

TEST_CASE("one out of n is argmax, or sample, under the same rule") {
  Rng rng(7);
  const Tensor logits = 3 * rng.normal({4, kN}), noise = rng.gumbel({4, kN});
  Tensor some = logits;
  some(1, 2) = -kInf;
  const std::vector<std::string>& names = top_k_rule_names();
  CHECK(names == std::vector<std::string>{"zero", "score-function", "score-function+mean",
                                          "score-function+leave-one-out", "straight-through",
                                          "straight-through-identity", "gumbel-softmax",
                                          "st-gumbel-softmax", "annealed-straight-through",
                                          "perturbed", "blackbox", "i-mle"});
  for (const std::string& name : names)
    for (double tau : {0.3, 1.0})
      for (const Tensor& l : {logits, some})
        for (bool drawn : {true, false}) {
          CAPTURE(name);
          CAPTURE(drawn);
          const auto rule = [&] { return top_k_rule_named(name, tau); };  // a state of its own
          if (!drawn && rule().needs_draw) continue;
          const auto g = [&](Var v) { return v.tape->constant(noise); };
          const Passed one = passed(
              l, [&](Var v) { return drawn ? sample(v, rule(), g(v)) : argmax(v, rule()); },
              curved(1));
          const Passed top = passed(
              l,
              [&](Var v) { return drawn ? sample_top_k(v, 1, rule(), g(v)) : top_k(v, 1, rule()); },
              curved(1));
          if (name == "gumbel-softmax")
            CHECK(farthest(top.value, one.value) < 1e-14);
          else
            CHECK(identical(top.value, one.value));
          CHECK(farthest(top.gradient, one.gradient) < 1e-12 * (1 + norm(one.gradient)));
          // The second sweep is later than the first: a mean has learned by then.
          CHECK(farthest(top.recorded, one.recorded) < 1e-12 * (1 + norm(one.gradient)));
          CHECK(top.counts.backwards == one.counts.backwards);
          CHECK(top.counts.solver_calls == one.counts.solver_calls);
        }
}

TEST_CASE("the expectation over subsets, against plain loops") {
  const Tensor logits = Rng(8).normal({kN});
  for (std::size_t k : {1u, 2u, 3u, 5u}) {
    const Cost f = curved(3);
    double expected = 0;
    for (const Places& set : subsets(kN, k)) {
      Tape tape;
      expected += set_probability(logits.data(), kN, set) *
                  f(tape.constant(reshaped(hot(kN, set), {1, kN}))).item();
    }
    Tape tape;
    const Var l = tape.parameter(reshaped(logits, {1, kN})), e = expectation(l, k, f);
    CHECK(e.item() == doctest::Approx(expected));
    CHECK(tape.counts.evaluations == subsets(kN, k).size());
    CHECK(farthest(reshaped(backward(e)[l], {kN}), plain_gradient(f, logits, k)) < 1e-6);
  }
  // Two subsets made together, and a forbidden category whose cost is infinite.
  Tape tape;
  Tensor two = Rng(9).normal({2, 4});
  const Cost joint = [](Var z) {
    return square(sum(z * z.tape->constant(Tensor{{1, 2, 3, 4}, {2, 0, 1, 5}}), Axes{-2, -1}));
  };
  double expected = 0;
  for (const Places& a : subsets(4, 2))
    for (const Places& b : subsets(4, 2)) {
      const double x = 1.0 + static_cast<double>(a[0] + 1 + a[1]);
      const double second[] = {2, 0, 1, 5};
      const double s = x + second[b[0]] + second[b[1]];
      expected += set_probability(two.data(), 4, a) * set_probability(two.data() + 4, 4, b) * s * s;
    }
  CHECK(expectation(tape.constant(reshaped(two, {1, 2, 4})), 2, joint).item() ==
        doctest::Approx(expected));
  const Var l = tape.parameter(Tensor{{0.5, -kInf, 1, -0.25}});
  const Cost steep = [](Var z) {
    return sum(where(z, z.tape->constant(Tensor{1, kInf, 2, 4}), 0.0), -1);
  };
  const Var e = expectation(l, 2, steep);
  CHECK(std::isfinite(e.item()));
  for (Scalar g : backward(e)[l]) CHECK(std::isfinite(g));
  refuses([&] { expectation(l, 4, steep); },
          "expectation: 3 categories are possible in row 0; need at least k = 4");
  refuses([&] { expectation(l, 5, steep); },
          "expectation: k is 5, logits are (1, 4); need 1 <= k <= K");
  refuses(
      [&] {
        expectation(tape.constant(zeros({1, 30})), 8, [](Var z) { return sum(z, -1); });
      },
      "expectation: 8 out of 30 in 1 variables; need at most 16384 combinations");
}

TEST_CASE("unbiased rules for subsets: within 4 standard errors of enumeration") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed)
    for (std::size_t k : {2u, 3u}) {
      const Tensor logits = Rng(20 + seed).normal({kN});
      const Cost f = curved(seed);
      const Cost hidden = [f](Var z) {
        return black_box(
            [f](const std::vector<Tensor>& v) {
              Tape tape;
              return f(tape.constant(v[0])).value();
            },
            {z});
      };
      MeasureOptions options;
      options.draws = 50000;
      options.batch = 500;
      options.seed = seed;
      options.k = k;
      options.exact = plain_gradient(f, logits, k);
      for (const char* name :
           {"score-function", "score-function+mean", "score-function+leave-one-out"}) {
        CAPTURE(name);
        const Measure m = measure(top_k_rule_named(name), f, logits, options);
        CHECK(m.bias < 4 * m.bias_se);
        CHECK(measure(top_k_rule_named(name), hidden, logits, options).bias == m.bias);
      }
      CHECK(measure(straight_through(), f, logits, options).bias >
            4 * measure(straight_through(), f, logits, options).bias_se);
      CHECK(measure(enumeration(k), f, logits, options).bias < 1e-7);
      // Enumerated, bias and spread are sums over all subsets, and the score function's bias is 0.
      options.exact = std::nullopt;
      const Measure drawn = measure(straight_through(), f, logits, options);
      options.enumerate = true;
      const Measure summed = measure(straight_through(), f, logits, options);
      CHECK(summed.bias_se == 0);
      CHECK(std::abs(summed.bias - drawn.bias) < 4 * drawn.bias_se);
      CHECK(std::abs(summed.std - drawn.std) < 4 * drawn.std_se);
      CHECK(measure(score_function(), f, logits, options).bias < 1e-12);
      CHECK(measure(score_function(leave_one_out()), f, logits, options).std <
            measure(score_function(), f, logits, options).std);
    }
}

TEST_CASE("more than kMostUnordered: the drawn order's score, unbiased too") {
  const std::size_t n = 14, k = 13;
  const Tensor logits = Rng(31).normal({n}), cost = Rng(32).normal({n});
  const std::vector<double> costs(cost.begin(), cost.end());
  // All but one: the one left out is the last of a whole order.
  const auto expected = [&](const Tensor& l) {
    std::vector<double> w(l.begin(), l.end());
    for (double& x : w) x = std::exp(x);
    std::vector<double> first(std::size_t{1} << n, 0);  // that these are drawn first, in any order
    first[0] = 1;
    for (std::size_t drawn = 0; drawn < first.size(); ++drawn) {
      double left = 0;
      for (std::size_t i = 0; i < n; ++i) left += drawn >> i & 1 ? 0 : w[i];
      for (std::size_t i = 0; i < n; ++i)
        if (!(drawn >> i & 1)) first[drawn | std::size_t{1} << i] += first[drawn] * w[i] / left;
    }
    double total = 0;
    for (std::size_t i = 0; i < n; ++i)
      total += first[(first.size() - 1) ^ std::size_t{1} << i] * -costs[i];
    return total;
  };
  MeasureOptions options;
  options.exact = zeros({n});
  for (std::size_t i = 0; i < n; ++i) {
    Tensor up = logits, down = logits;
    up.data()[i] += 1e-4, down.data()[i] -= 1e-4;
    options.exact->data()[i] = (expected(up) - expected(down)) / 2e-4;
  }
  options.k = k;
  options.draws = 100000;
  options.batch = 500;
  const Measure m = measure(
      score_function(),
      [&](Var z) { return sum(z * z.tape->constant(cost), -1) - Tensor(xt::sum(cost))(); }, logits,
      options);
  CHECK(m.bias < 4 * m.bias_se);
  CHECK(m.bias_se < 0.1);
}

TEST_CASE("the relaxed subset: plain loops, its sum, its limit, and derivatives at every tau") {
  Rng rng(10);
  const Tensor x = rng.normal({3, kN});
  for (std::size_t k : {1u, 2u, 4u, 6u})
    for (double tau : {0.2, 1.0, 5.0}) {
      CAPTURE(k);
      CAPTURE(tau);
      Tape tape;
      const Tensor y = relaxed_top_k(tape.constant(x), k, tau).value();
      for (std::size_t r = 0; r < 3; ++r) {
        const std::vector<double> row(x.data() + r * kN, x.data() + (r + 1) * kN),
            expected = relaxed(row, k, tau);
        for (std::size_t i = 0; i < kN; ++i) CHECK(y(r, i) == doctest::Approx(expected[i]));
        CHECK(std::accumulate(y.data() + r * kN, y.data() + (r + 1) * kN, 0.0) ==
              doctest::Approx(static_cast<double>(k)));
      }
      CHECK(farthest(y, relaxed_top_k(tape.constant(x + 1000), k, tau).value()) < 1e-10);
      CHECK(check_gradient([&](const std::vector<Var>& v) { return relaxed_top_k(v[0], k, tau); },
                           {x}));
    }
  // Equal numbers; one that is forbidden; and so cold that 1 - p is 0.
  CHECK(check_gradient([](const std::vector<Var>& v) { return relaxed_top_k(v[0], 2, 0.7); },
                       {zeros({kN})}));
  Tensor some = x;
  some(1, 2) = -kInf;
  for (double tau : {1e-20, 1e-3, 0.05, 1.0, 1e20}) {
    CAPTURE(tau);
    Tape tape;
    const Var l = tape.parameter(some), y = relaxed_top_k(l, 5, tau);
    if (tau < 0.01) CHECK(farthest(y.value(), top_k(l, 5, zero()).value()) < 1e-12);
    const Var g = differentiate(sum(square(y - 0.3) * l.tape->constant(rng.normal({3, kN}))), l)[0];
    CHECK(y.value()(1, 2) == 0);
    CHECK(g.value()(1, 2) == 0);
    for (Scalar v : g.value()) CHECK(std::isfinite(v));
    const Var h = differentiate(g, l)[0];
    for (Scalar v : h.value()) CHECK(std::isfinite(v));
  }
}

TEST_CASE("relaxations behind the node: at frozen noise, against finite differences") {
  Rng rng(11);
  const Tensor logits = rng.normal({3, kN}), noise = rng.gumbel({3, kN});
  const Cost f = curved(5);
  for (std::size_t k : {2u, 3u})
    for (double tau : {0.4, 1.0}) {
      CAPTURE(k);
      CAPTURE(tau);
      const Rule soft = gumbel_softmax(tau);
      CHECK(check_gradient(
          [&](const std::vector<Var>& v) {
            return f(sample_top_k(v[0], k, soft, v[0].tape->constant(noise)));
          },
          {logits}));
      CHECK(check_gradient([&](const std::vector<Var>& v) { return f(top_k(v[0], k, soft)); },
                           {logits}));
      // The relaxation's derivative at x for the cost's gradient at the hard choice.
      const auto through = [&](const Tensor& x, const Tensor& hard) {
        Tape tape;
        const Var at = tape.parameter(hard), l = tape.parameter(x);
        const Tensor slope = backward(f(at))[at];
        return backward({relaxed_top_k(l, k, tau)}, {}, {tape.constant(slope)})[l];
      };
      const Tensor noisy = logits + noise;
      Tape tape;
      const Tensor hard = top_k(tape.constant(noisy), k, zero()).value(),
                   best = top_k(tape.constant(logits), k, zero()).value();
      const auto draw = [&](const Rule& rule) {
        return [&](Var v) { return sample_top_k(v, k, rule, v.tape->constant(noise)); };
      };
      const Rule st = straight_through(tau), gumbel = st_gumbel_softmax(tau);
      const Passed a = passed(logits, draw(st), f), b = passed(logits, draw(gumbel), f),
                   c = passed(
                       logits, [&](Var v) { return top_k(v, k, st); }, f);
      CHECK(identical(a.value, hard));
      CHECK(identical(b.value, hard));
      CHECK(identical(c.value, best));
      CHECK(farthest(a.gradient, through(logits, hard)) < 1e-12);
      CHECK(farthest(b.gradient, through(noisy, hard)) < 1e-12);
      CHECK(farthest(c.gradient, through(logits, best)) < 1e-12);
      CHECK(farthest(a.recorded, a.gradient) < 1e-12);
      CHECK(farthest(b.recorded, b.gradient) < 1e-12);
      CHECK(a.counts.backwards == 3);
    }
}

TEST_CASE("rules that solve again, in plain loops, and how often they do") {
  Rng rng(12);
  const std::size_t k = 3;
  const Tensor logits = rng.normal({2, kN}), noise = rng.gumbel({2, kN}),
               slope = rng.normal({2, kN});
  const Cost f = [&](Var z) { return sum(z * z.tape->constant(slope), -1); };
  const auto solve = [&](const Tensor& x) {
    Tape tape;
    return top_k(tape.constant(x), k, zero()).value();
  };
  const Tensor noisy = logits + noise, d = solve(noisy);
  const auto gradient = [&](const Rule& rule, std::size_t calls) {
    const Passed p = passed(
        logits, [&](Var v) { return sample_top_k(v, k, rule, v.tape->constant(noise)); }, f);
    CHECK(p.counts.solver_calls == calls);
    CHECK(p.counts.backwards == 2);
    CHECK(farthest(p.recorded, p.gradient) < 1e-12);
    return p.gradient;
  };
  const Tensor expected = (d - solve(noisy - 0.7 * slope)) / 0.7;
  CHECK(norm(expected) > 0);
  CHECK(farthest(gradient(blackbox(0.7), 2), expected) < 1e-12);
  CHECK(farthest(gradient(i_mle(0.7), 2), expected) < 1e-12);
  CHECK(farthest(gradient(straight_through_identity(), 0), slope) < 1e-15);
  gradient(i_mle(0.7, 5), 2 * 9);
  gradient(perturbed(0.5, 7), 2 * 7);
  // The mean over many noises is the derivative of the mean choice: exact for a linear cost.
  MeasureOptions options;
  options.k = 2;
  options.draws = 20000;
  const Tensor b = rng.normal({kN}), l = rng.normal({kN});
  const Measure m = measure(
      perturbed(1.0, 10), [&](Var z) { return sum(z * z.tape->constant(b), -1); }, l, options);
  CHECK(m.bias < 4 * m.bias_se);
  CHECK(m.bias_se < 0.05);
}

TEST_CASE("two subsets in a row, in every way of sweeping") {
  Rng rng(17);
  const Tensor logits = rng.normal({4, kN}), w = rng.normal({kN, kN}), noise = rng.gumbel({4, kN}),
               more = rng.gumbel({4, kN});
  for (const std::string& name : top_k_rule_names()) {
    if (name == "score-function+mean") continue;  // learns from one sweep to the next
    CAPTURE(name);
    const Rule rule = top_k_rule_named(name, 0.7);
    const auto cost = [&](Var l, Var weights) {
      const Var z = sample_top_k(l, 3, rule, l.tape->constant(noise)),
                y = sample_top_k(matmul(z, weights), 2, rule, l.tape->constant(more));
      return curved(4)(z) + square(sum(y * l.tape->constant(Tensor{3, 1, 4, 1, 5, 9}), -1));
    };
    Tape tape, last;
    const Var l = tape.parameter(logits), v = tape.parameter(w), f = cost(l, v);
    const Gradients g = backward(f);
    CHECK((norm(g[v]) > 0) == (name != "zero"));
    const std::vector<Var> recorded = differentiate(f, {l, v});
    CHECK(farthest(recorded[0].value(), g[l]) < 1e-12);
    CHECK(farthest(recorded[1].value(), g[v]) < 1e-12);
    const Var a = last.parameter(logits), b = last.parameter(w);
    backward_and_release(cost(a, b), [&](Var p, Tensor& gradient) {
      CHECK(farthest(gradient, p.index == a.index ? g[l] : g[v]) < 1e-12);
    });
  }
}

TEST_CASE("a batch of nobody") {
  for (const std::string& name : top_k_rule_names()) {
    if (name == "score-function+leave-one-out") continue;  // has no samples
    CAPTURE(name);
    Rng rng(18);
    Tape tape;
    const Var l = tape.parameter(zeros({0, 3}));
    const Var cost = sum(square(sample_top_k(l, 2, top_k_rule_named(name), rng)), -1);
    CHECK(backward(cost)[l].shape() == Shape{0, 3});
  }
}

TEST_CASE("a rule of one's own stands behind a subset") {
  // DARN, with all that was chosen counted together.
  Rule own = pathwise_rule("own", [](const Draw& draw, Var g) {
    CHECK(sum(draw.hard(), -1).value() == full({4}, static_cast<double>(draw.decision->k)));
    return (draw.hard() - softmax(draw.logits)) * sum(draw.hard() * g, -1, keep_axes);
  });
  Rng rng(16);
  const Tensor logits = rng.normal({4, kN});
  Tape tape;
  const Var l = tape.parameter(logits);
  refuses([&] { sample_top_k(l, 2, own, rng); },
          "sample_top_k[own]: the rule is for the choice of one category; need one for subsets, "
          "such as straight_through()");
  own.applies_to = AppliesTo::choice_and_subset;
  for (std::size_t k : {1u, 3u})
    CHECK(norm(backward(curved(2)(sample_top_k(l, k, own, rng)))[l]) > 0);
  own.soft_tau = 1;
  refuses([&] { sample_top_k(l, 2, own, rng); },
          "sample_top_k[own]: the rule is soft; need its relaxation");
}

TEST_CASE("costs stay per example, along any axis, whatever the order of categories") {
  Rng rng(13);
  const std::size_t k = 2;
  const Tensor logits = rng.normal({4, kN}), noise = rng.gumbel({4, kN}), b = rng.normal({kN});
  const Places order = rng.permutation(kN);
  for (const std::string& name : top_k_rule_names()) {
    // Their state, or further noise, is the batch's.
    if (name == "score-function+mean" || name == "score-function+leave-one-out" ||
        name == "perturbed")
      continue;
    CAPTURE(name);
    const Rule rule = top_k_rule_named(name, 0.6);
    const auto run = [&](const Tensor& l, const Tensor& g, const Tensor& c) {
      return passed(
                 l, [&](Var v) { return sample_top_k(v, k, rule, v.tape->constant(g)); },
                 [&](Var z) { return square(sum(z * z.tape->constant(c), -1)); })
          .gradient;
    };
    const Tensor all = run(logits, noise, b);
    for (std::size_t r = 0; r < 4; ++r) {
      Tensor l = zeros({1, kN}), g = l, expected = l;
      std::copy_n(logits.data() + r * kN, kN, l.data());
      std::copy_n(noise.data() + r * kN, kN, g.data());
      std::copy_n(all.data() + r * kN, kN, expected.data());
      CHECK(farthest(run(l, g, b), expected) < 1e-12);
      CHECK(farthest(run(l + 300, g, b), expected) < 1e-9);
    }
    Tape tape;
    const auto shuffled = [&](const Tensor& t) {
      return take(tape.constant(t), order, -1).value();
    };
    CHECK(farthest(run(shuffled(logits), shuffled(noise), shuffled(b)), shuffled(all)) < 1e-12);
    const Var l = tape.parameter(Tensor(xt::transpose(logits)));
    const Var z = sample_top_k(l, k, rule, tape.constant(Tensor(xt::transpose(noise))), 0);
    const Var cost = square(sum(transpose(z) * tape.constant(b), -1));
    CHECK(farthest(backward(cost)[l], Tensor(xt::transpose(all))) < 1e-12);
  }
}

TEST_CASE("forbidden categories: no rule passes anything to them, or NaN, at either order") {
  Rng rng(14);
  Tensor logits = rng.normal({2, 2, 5}), noise = rng.gumbel({2, 2, 5});
  for (std::size_t r = 0; r < 4; ++r) logits.data()[r * 5 + r] = -kInf;
  for (const std::string& name : top_k_rule_names())
    for (std::size_t k : {2u, 4u}) {  // 4 are all that there are
      CAPTURE(name);
      Tape tape;
      const Var l = tape.parameter(logits), w = tape.parameter(rng.normal({5}));
      const Var cost =
          square(sum(sample_top_k(l, k, top_k_rule_named(name), tape.constant(noise)) * w, -1));
      const Var g = differentiate(cost, l)[0], h = differentiate(sum(square(g)), w)[0];
      for (std::size_t r = 0; r < 4; ++r)
        if (name != "straight-through-identity") CHECK(g.value().data()[r * 5 + r] == 0);
      for (Scalar x : g.value()) CHECK(std::isfinite(x));
      for (Scalar x : h.value()) CHECK(std::isfinite(x));
    }
}

TEST_CASE("what subsets refuse, in words") {
  Rng rng(15);
  Tape tape;
  const Var l = tape.parameter(rng.normal({2, 4}));
  const auto at = [&](const Tensor& t) { return tape.constant(t); };
  refuses([&] { top_k(l, 5, zero()); }, "top_k: k is 5, logits are (2, 4); need at most 4");
  refuses([&] { top_k(l, 3, zero(), 0); }, "top_k: k is 3, logits are (2, 4); need at most 2");
  refuses(
      [&] {
        sample_top_k(at(zeros({2, 0})), 0, zero(), rng);
      },
      "sample_top_k: logits are (2, 0); need at least one category on axis 1");
  refuses(
      [&] {
        top_k(at(Tensor{{1, 2, 3}, {1, -kInf, -kInf}}), 2, zero());
      },
      "top_k[zero]: 1 categories are possible in row 1; need at least k = 2");
  refuses(
      [&] {
        top_k(at(Tensor{{1, 2, 3}, {1, kNan, 0}}), 2, zero());
      },
      "top_k[zero]: logits have NaN in row 1; need numbers");
  const Var nan = at(Tensor{kNan, 0, 1});  // a density hides it no more than others do
  CHECK(std::isnan(top_k_log_prob(nan, at(Tensor{1, 0, 0})).item()));
  CHECK(std::isnan(plackett_luce_log_prob(nan, {0, 1}).item()));
  refuses(
      [&] {
        top_k(at(Tensor{1, kInf, 0}), 2, gumbel_softmax(1));
      },
      "top_k[gumbel-softmax]: logits have +inf in row 0; need numbers");
  refuses(
      [&] {
        top_k(at(Tensor{-kInf, -kInf}), 0, zero());
      },
      "top_k[zero]: logits are all -inf in row 0; need at least one possible category");
  refuses([&] { top_k(l, 2, score_function()); },
          "top_k[score-function]: a subset that is not drawn has no distribution; use "
          "sample_top_k()");
  refuses([&] { sample_top_k(l, 2, reinmax(), rng); },
          "sample_top_k[reinmax]: the rule is for the choice of one category; need one for "
          "subsets, such as straight_through()");
  refuses([&] { sample_top_k(l, 2, gumbel_sinkhorn(1), rng); },
          "sample_top_k[gumbel-sinkhorn]: the rule is for matchings; need one for subsets, such as "
          "straight_through()");
  refuses([&] { top_k(l, 2, straight_through(linear_decay(1, 0.5, 10))); },
          "top_k[straight-through]: the temperature is a schedule; say at which step, with "
          "rule.at(step)");
  refuses([&] { sample_top_k(l, 2, zero(), at(zeros({4}))); },
          "sample_top_k: logits are (2, 4), noise is (4,); need the same shape");
  for (const double v : {kNan, kInf, -kInf})
    for (const Rule& rule : {zero(), gumbel_softmax(1)}) {
      Tensor noise = zeros({2, 4});
      noise(1, 2) = v;
      const std::string rest = std::string(": noise has ") + (v != v ? "NaN" : "an infinity") +
                               " in row 1; need numbers";
      refuses([&] { sample_top_k(l, 2, rule, at(noise)); }, "sample_top_k" + rest);
      refuses([&] { sample(transpose(l), rule, at(Tensor(xt::transpose(noise))), 0); },
              "sample" + rest);
    }
  refuses(
      [&] {
        sample_matching(l, zero(), at(Tensor{{0, 0, 0, 0}, {0, kNan, 0, 0}}));
      },
      "sample_matching: noise has NaN in row 1; need numbers");
  refuses(
      [] { top_k_rule_named("darn"); },
      "top_k_rule_named: 'darn'; need one of zero, score-function, score-function+mean, "
      "score-function+leave-one-out, straight-through, straight-through-identity, "
      "gumbel-softmax, st-gumbel-softmax, annealed-straight-through, perturbed, blackbox, i-mle");
  refuses([&] { top_k_log_prob(l, at(zeros({4}))); },
          "top_k_log_prob: logits are (2, 4), the subset is (4,); need the same shape, (..., n)");
  refuses(
      [&] {
        top_k_log_prob(l, at(Tensor{{0, 1, 1, 0}, {0, 1, 0.5, 0}}));
      },
      "top_k_log_prob: row 1 of the subset has 0.5; need 0 and 1");
  refuses(
      [&] {
        top_k_log_prob(l, at(Tensor{{0, 1, 1, 0}, {0, 1, 0, 0}}));
      },
      "top_k_log_prob: rows 0 and 1 of the subset differ in how many ones they have; need as "
      "many");
  refuses([&] { top_k_log_prob(at(zeros({20})), at(ones({20}))); },
          "top_k_log_prob: k is 20; need at most 12, or an order and plackett_luce_log_prob()");
  refuses(
      [&] {
        plackett_luce_log_prob(l, {0, 1, 2});
      },
      "plackett_luce_log_prob: logits are (2, 4), places are 3; need the same number for each "
      "row, n at most");
  refuses([&] { plackett_luce_log_prob(at(zeros({})), {}); },
          "plackett_luce_log_prob: logits are (), places are 0; need the same number for each row, "
          "n at most");
  refuses(
      [&] {
        plackett_luce_log_prob(l, {0, 1, 2, 4});
      },
      "plackett_luce_log_prob: place 4 in row 1; need less than 4");
  refuses(
      [&] {
        plackett_luce_log_prob(l, {0, 1, 2, 2});
      },
      "plackett_luce_log_prob: place 2 twice in row 1; need each once");
  refuses([&] { relaxed_top_k(l, 0, 1); },
          "relaxed_top_k: k is 0, x is (2, 4); need (..., n) with 1 <= k <= n");
  refuses([&] { relaxed_top_k(l, 2, 0); }, "relaxed_top_k: tau is 0; need 1e-20 to 1e+20");
  const Cost hidden = [](Var z) {
    return black_box([](const std::vector<Tensor>& v) { return Tensor(xt::sum(v[0], {-1})); }, {z});
  };
  for (const std::string& name : top_k_rule_names()) {
    if (name == "zero" || name.rfind("score", 0) == 0) continue;
    const Var cost = hidden(sample_top_k(l, 2, top_k_rule_named(name), rng));
    CHECK_THROWS_AS(backward(cost), NoPath);
  }
}

TEST_CASE(
    "measure_all: each as measure() has it; a rule takes the options' k unless it has its own") {
  const Tensor logits{0.5, 1.0, -0.5, 0.0}, prices{1.0, 2.0, -1.0, 0.5};
  const Cost f = [&](Var z) { return square(sum(prices * z, -1)); };
  MeasureOptions options;
  options.draws = 400;
  options.k = 2;
  const std::vector<Measure> all =
      measure_all({zero(), Method(score_function(), 4, 3), enumeration(2)}, f, logits, options);
  REQUIRE(all.size() == 3);
  CHECK(all[0].bias == measure(zero(), f, logits, options).bias);
  CHECK(all[1].std == measure(Method(score_function(), 4, 3), f, logits, options).std);
  CHECK(all[1].std != measure(score_function(), f, logits, options).std);
  CHECK(all[2].bias < 1e-7);
}

TEST_CASE("indices_of: the places of a subset, row by row, rising") {
  Tape tape;
  const Var chosen = top_k(tape.parameter(Tensor{{3, 1, 2, 0}, {-1, 5, 4, 9}}), 2, zero());
  CHECK(indices_of(chosen, 2) == std::vector<std::size_t>{0, 2, 1, 3});
  refuses(
      [&] { indices_of(chosen); },
      "indices_of: row 0 of the choice is not one-hot; of a subset of k: indices_of(subset, k)");
  refuses([&] { indices_of(chosen, 3); },
          "indices_of: row 0 of the choice is not 3 ones among zeros");
  refuses(
      [&] {
        indices_of(tape.constant(Tensor{0.5, 1.0, 1.0}), 2);
      },
      "indices_of: row 0 of the choice is not 2 ones among zeros");
}
