// The choices and their rules: identities that hold exactly, and statistics with fixed seeds.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/broadcast.hpp"
#include "engine/gradcheck.hpp"
#include "engine/report.hpp"
#include "engine/threads.hpp"
#include "models/about.hpp"
#include "models/measure.hpp"
#include "models/methods.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_sinkhorn.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/quadratic.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/solver.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "tests/decisions.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kCategories = 5;

// All rules but these two kinds need a path to the cost.
std::vector<std::string> pathwise() {
  std::vector<std::string> names;
  for (const std::string& name : rule_names())
    if (name != "zero" && name.rfind("score-function", 0) != 0) names.push_back(name);
  return names;
}
const std::vector<std::string> kPathwise = pathwise();

// Costs of polynomial order 1 and 2, and one that is no polynomial, with random coefficients.
Cost linear(std::uint64_t seed) {
  return [b = Rng(seed).normal({kCategories})](Var z) { return sum(z.tape->constant(b) * z, -1); };
}
Cost quadratic(std::uint64_t seed) {
  return [a = Rng(seed).normal({kCategories, kCategories}),
          b = Rng(seed + 1).normal({kCategories})](Var z) {
    return sum(z * (matmul(z, z.tape->constant(a)) + z.tape->constant(b)), -1);
  };
}
Cost wild(std::uint64_t seed) {
  return [f = quadratic(seed)](Var z) { return exp(f(z)); };
}

// Noise that makes category k win, whatever the (modest) logits.
Tensor noise_for(std::size_t k) {
  Tensor noise = zeros({1, kCategories});
  noise.data()[k] = 50;
  return noise;
}

// The gradient one draw gives under a rule.
Tensor gradient(const Rule& rule, const Cost& f, const Tensor& logits, const Tensor& noise) {
  Tape tape;
  const Var l = tape.parameter(logits), z = sample(l, rule, tape.constant(noise));
  return backward(f(z))[l];
}

// The exact mean of a rule that looks at nothing but the logits and D: its gradients summed over D.
Tensor mean_gradient(const Rule& rule, const Cost& f, const Tensor& logits) {
  Tape tape;
  const Tensor p = softmax(tape.constant(logits)).value();
  Tensor mean = zeros({1, kCategories});
  for (std::size_t k = 0; k < kCategories; ++k)
    mean += p.data()[k] * gradient(rule, f, reshaped(logits, {1, kCategories}), noise_for(k));
  return reshaped(mean, {kCategories});
}

}  // namespace

TEST_CASE(
    "polynomial order: straight-through is exact for linear costs, ReinMax for quadratic ones, the "
    "score function for all") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const Tensor l = Rng(100 + seed).normal({kCategories});
    const auto bias = [&](const Rule& rule, const Cost& f) {
      return relative_distance(mean_gradient(rule, f, l), exact_gradient(f, l));
    };
    CHECK(bias(straight_through(), linear(seed)) < 1e-12);
    CHECK(bias(straight_through(), quadratic(seed)) > 1e-3);
    CHECK(bias(reinmax(), linear(seed)) < 1e-12);
    CHECK(bias(reinmax(), quadratic(seed)) < 1e-12);
    CHECK(bias(reinmax(), wild(seed)) > 1e-3);
    CHECK(bias(score_function(), wild(seed)) < 1e-12);
    CHECK(bias(straight_through_identity(), linear(seed)) > 1e-3);
  }
}

TEST_CASE("ReinMax at temperature 1 is ZGR, which is the mean of straight-through and DARN") {
  Rng rng(2);
  for (int i = 0; i < 200; ++i) {
    const Tensor l = rng.normal({1, kCategories}), noise = rng.gumbel({1, kCategories});
    const auto of = [&](const Rule& rule) { return gradient(rule, wild(3), l, noise); };
    CHECK(relative_distance(of(reinmax()), of(zgr())) < 1e-12);
    CHECK(relative_distance((of(straight_through()) + of(darn())) / 2, of(zgr())) < 1e-12);
    // Its matrix is half of diag p + diag D - D p^T - p D^T.
    Tape tape;
    const Var v = tape.parameter(l), z = sample(v, zgr(), tape.constant(noise));
    const Gradients both = backward(wild(3)(z), z);
    const Tensor p = softmax(v).value(), d = z.value(), g = both[z];
    double pg = 0, dg = 0;
    for (std::size_t k = 0; k < kCategories; ++k) {
      pg += p.data()[k] * g.data()[k];
      dg += d.data()[k] * g.data()[k];
    }
    for (std::size_t k = 0; k < kCategories; ++k)
      CHECK(both[v].data()[k] == doctest::Approx(((p.data()[k] + d.data()[k]) * g.data()[k] -
                                                  d.data()[k] * pg - p.data()[k] * dg) /
                                                 2)
                                     .epsilon(1e-11));
  }
}

TEST_CASE("polynomial order of the rules that are exact for quadratic costs") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    const Tensor l = Rng(100 + seed).normal({kCategories});
    const auto bias = [&](const Rule& rule, const Cost& f) {
      return relative_distance(mean_gradient(rule, f, l), exact_gradient(f, l));
    };
    for (const Rule& rule : {zgr(), mve()}) {
      CAPTURE(rule.name);
      CHECK(bias(rule, linear(seed)) < 1e-12);
      CHECK(bias(rule, quadratic(seed)) < 1e-12);
      CHECK(bias(rule, wild(seed)) > 1e-3);
    }
    CHECK(bias(darn(), linear(seed)) < 1e-12);
    CHECK(bias(darn(), quadratic(seed)) > 1e-3);
    CHECK(bias(gapped_straight_through(1), linear(seed)) > 1e-3);
  }
}

TEST_CASE("binary variables: ZGR, ReinMax, MVE and the Bernoulli DARN with baseline 1/2 are one") {
  Rng rng(21);
  for (int i = 0; i < 50; ++i) {
    const Tensor l = rng.normal({1, 2}), noise = rng.gumbel({1, 2}), t = rng.normal({1});
    const Cost f = [&](Var z) {
      return exp(square(sum(slice(z, 1, 2, -1), -1) - z.tape->constant(t)));
    };
    const double p = 1 / (1 + std::exp(l.data()[0] - l.data()[1]));
    const double b = l.data()[1] + noise.data()[1] > l.data()[0] + noise.data()[0] ? 1 : 0;
    const double off = b - t.data()[0], slope = 2 * off * std::exp(off * off);
    const double darn_half = (b - p) * (b - 0.5) * slope;
    for (const Rule& rule : {zgr(), reinmax(), mve()}) {
      CAPTURE(rule.name);
      const Tensor g = gradient(rule, f, l, noise);
      CHECK(g.data()[1] == doctest::Approx(darn_half).epsilon(1e-11));
      CHECK(g.data()[0] == doctest::Approx(-darn_half).epsilon(1e-11));
    }
  }
}

TEST_CASE("conditional Gumbels: the choice wins, and with it forgotten they are Gumbels again") {
  const std::size_t rows = 200000;
  Rng rng(22);
  Tape tape;
  const Tensor l = rng.normal({3});
  const Var logits = tape.constant(broadcast_to(l, {rows, 3})), d = sample(logits, zero(), rng),
            z = conditional_gumbels(logits, d, tape.constant(rng.gumbel({rows, 3})));
  CHECK(identical(argmax(z, zero()).value(), d.value()));
  // Each is log p_k + a standard Gumbel number: of mean 0.5772 and variance pi^2 / 6.
  const Tensor g = z.value() - log_softmax(logits).value();
  for (std::size_t k = 0; k < 3; ++k) {
    double mean = 0, squares = 0, below = 0;
    for (std::size_t r = 0; r < rows; ++r) {
      mean += g(r, k) / rows;
      squares += g(r, k) * g(r, k) / rows;
      below += (g(r, k) < 0 ? 1.0 : 0.0) / rows;
    }
    CHECK(std::abs(mean - 0.57722) < 4 * 1.2825 / std::sqrt(rows));
    CHECK(std::abs(squares - mean * mean - 1.64493) < 4 * 3.45 / std::sqrt(rows));
    CHECK(std::abs(below - std::exp(-1.0)) < 4 * 0.482 / std::sqrt(rows));
  }
  // The gradient in the logits, against finite differences.
  const Tensor choice{{0, 1, 0}, {1, 0, 0}}, noise = rng.gumbel({2, 2, 3});
  CHECK(check_gradient(
      [&](const std::vector<Var>& v) {
        return conditional_gumbels(v[0], v[0].tape->constant(choice), v[0].tape->constant(noise));
      },
      {rng.normal({2, 3})}));
  CHECK(rng_from(noise, 1).seed() == rng_from(noise, 1).seed());
  CHECK(rng_from(noise, 1).seed() != rng_from(noise, 2).seed());
  CHECK(rng_from(noise, 1).seed() != rng_from(-noise, 1).seed());
  refuses(
      [&] {
        conditional_gumbels(logits, d, tape.constant(zeros({2, 3})));
      },
      "conditional_gumbels: logits are (200000, 3), the choice is (200000, 3), noise is (2, 3); "
      "need (..., K) for all");
  refuses(
      [&] { conditional_gumbels(logits, softmax(logits), noise_of(sample(logits, zero(), rng))); },
      "conditional_gumbels: row 0 of the choice is not one-hot; need a hard choice");
}

TEST_CASE(
    "Gumbel-Rao: with one draw it is ST-Gumbel-softmax, cold it is ZGR, and a replay repeats") {
  Rng rng(23);
  const Tensor l = rng.normal({4, kCategories}), noise = rng.gumbel({4, kCategories});
  CHECK(relative_distance(gradient(gumbel_rao(0.7, 1), wild(3), l, noise),
                          gradient(st_gumbel_softmax(0.7), wild(3), l, noise)) < 1e-14);
  CHECK(identical(gradient(gumbel_rao(0.7, 5), wild(3), l, noise),
                  gradient(gumbel_rao(0.7, 5), wild(3), l, noise)));
  CHECK_FALSE(identical(gradient(gumbel_rao(0.7, 5), wild(3), l, noise),
                        gradient(gumbel_rao(0.7, 5, 1), wild(3), l, noise)));
  // Given the choice, the cold mean over conditional draws.
  const Tensor one = reshaped(rng.normal({kCategories}), {1, kCategories});
  const Tensor cold = gradient(gumbel_rao(0.05, 400000), quadratic(1), one, noise_for(2)),
               limit = gradient(zgr(), quadratic(1), one, noise_for(2));
  CHECK(relative_distance(cold, limit) < 0.1);
  CHECK(relative_distance(gradient(straight_through(), quadratic(1), one, noise_for(2)), limit) >
        0.2);
}

TEST_CASE("Gumbel-Rao: the mean of ST-Gumbel-softmax, and never more variance") {
  MeasureOptions options;
  options.draws = 100000;
  options.batch = 5000;
  for (double tau : {0.2, 1.0})
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      CAPTURE(tau);
      CAPTURE(seed);
      options.seed = seed;
      const Tensor l = Rng(300 + seed).normal({kCategories});
      const std::size_t n = options.draws;
      const Tensor many = broadcast_to(l, {n, kCategories}), noise = Rng(seed).gumbel(many.shape());
      const Tensor a = gradient(st_gumbel_softmax(tau), wild(seed), many, noise),
                   b = gradient(gumbel_rao(tau, 4), wild(seed), many, noise);
      double variance_a = 0, variance_b = 0;
      for (std::size_t k = 0; k < kCategories; ++k) {
        double mean_a = 0, mean_b = 0, a2 = 0, b2 = 0, off = 0, off2 = 0;
        for (std::size_t r = 0; r < n; ++r) {
          const double x = a(r, k), y = b(r, k);
          mean_a += x, mean_b += y, a2 += x * x, b2 += y * y;
          off += x - y, off2 += (x - y) * (x - y);
        }
        const double m = static_cast<double>(n);
        const double se = std::sqrt((off2 / m - off * off / m / m) / m);
        CHECK(std::abs(off / m) < 4 * se);
        variance_a += a2 / m - mean_a * mean_a / m / m;
        variance_b += b2 / m - mean_b * mean_b / m / m;
      }
      CHECK(variance_b < variance_a);
    }
}

TEST_CASE("Gumbel-Rao: its variance falls as 1/K' to that of the full mean") {
  const std::size_t n = 200000;
  const Tensor l = Rng(26).normal({kCategories}), many = broadcast_to(l, {n, kCategories}),
               noise = Rng(27).gumbel({n, kCategories});
  const auto variance = [&](std::size_t draws) {
    const Tensor g = gradient(gumbel_rao(0.4, draws), wild(2), many, noise);
    double total = 0;
    for (std::size_t k = 0; k < kCategories; ++k) {
      double mean = 0, squares = 0;
      for (std::size_t r = 0; r < n; ++r) {
        mean += g(r, k) / n;
        squares += g(r, k) * g(r, k) / n;
      }
      total += squares - mean * mean;
    }
    return total;
  };
  const double v1 = variance(1), v2 = variance(2), v8 = variance(8);
  CHECK((v1 - v2) / (1 - 1.0 / 2) ==
        doctest::Approx((v2 - v8) / (1.0 / 2 - 1.0 / 8)).epsilon(0.05));
  CHECK(v8 < 0.8 * v1);
}

TEST_CASE("each rule's gradient is itself differentiable, twice, for the logits and the slope") {
  const auto check = [](const std::string& name, const Rule& rule, std::size_t k) {
    CAPTURE(name);
    CAPTURE(k);
    Rng rng(28);
    const Tensor l = rng.normal({2, k}), slope = rng.normal({2, k}), noise = rng.gumbel({2, k});
    const CheckResult result = check_gradient(
        [&](const std::vector<Var>& v) {
          Tape& tape = *v[0].tape;
          const bool active = tape.node(v[0].index).wants_gradient;
          const Var x = active ? v[0] : tape.parameter(v[0].value()),
                    z = sample(x, rule, tape.constant(noise));
          // A cost whose slope is the same everywhere, so that no derivative goes through the
          // choice.
          const Var cost =
              name == "gumbel-softmax" ? exp(sum(square(z) * v[1], -1)) : sum(z * v[1], -1);
          return differentiate(cost, x)[0];
        },
        {l, slope});
    CHECK_MESSAGE(result, result.report);
  };
  for (const std::string& name : kPathwise) {
    // No functions of the logits and the slope, or only where the choice changes.
    if (name == "blackbox" || name == "i-mle") continue;
    for (std::size_t k : {std::size_t{5}, std::size_t{20}, std::size_t{1100}})
      // Among many logits some lie at Gapped's kink, and MVE takes K^3 operations.
      if (k == 5 || (name != "gapped-straight-through" && name != "mve"))
        check(name, rule_named(name, 1.5), k);
  }
  // Costs depend on the logits through the choice and its rule again. So this is the gradient that
  // a score function multiplies with its cost, given another weight.
  for (std::size_t k : {std::size_t{5}, std::size_t{20}, std::size_t{1100}})
    check("score",
          pathwise_rule("score", [](const Draw& draw,
                                    Var g) { return draw.decision->score(draw, sum(g, -1)); }),
          k);
}

TEST_CASE("a soft rule, too, can ask what was chosen") {
  Rng rng(29);
  const Tensor l = rng.normal({50, kCategories}), noise = rng.gumbel({50, kCategories});
  for (bool drawn : {true, false}) {
    Tape tape;
    const Var x = tape.parameter(l), n = tape.constant(noise);
    Rule soft = pathwise_rule("soft", [&](const Draw& draw, Var g) {
      CHECK(identical(draw.hard().value(),
                      (drawn ? sample(x, zero(), n) : argmax(x, zero())).value()));
      return g;
    });
    soft.soft_tau = 0.5;
    const Var z = drawn ? sample(x, soft, n) : argmax(x, soft);
    CHECK(identical(z.value(), softmax(drawn ? (x + n) / 0.5 : x / 0.5).value()));
    CHECK(backward(z)[x] == ones(l.shape()));
  }
}

TEST_CASE("the temperature does not change what is chosen") {
  Tape tape;
  Rng rng(29);
  const Var l = tape.constant(rng.normal({50, kCategories})),
            noise = tape.constant(rng.gumbel({50, kCategories}));
  const Tensor chosen = sample(l, zero(), noise).value();
  for (double tau : {0.01, 0.5, 3.0, 100.0}) {
    CHECK(identical(sample(l, st_gumbel_softmax(tau), noise).value(), chosen));
    CHECK(identical(argmax(sample(l, gumbel_softmax(tau), noise), zero()).value(), chosen));
  }
}

TEST_CASE("perturbed argmax: given the choice its mean is straight-through's") {
  const std::size_t n = 200000;
  for (double tau : {0.5, 1.0, 2.0}) {
    const Tensor l = Rng(24).normal({1, kCategories});
    const Tensor truth = gradient(straight_through(tau), wild(2), l, noise_for(1)),
                 found = gradient(perturbed(tau, n), wild(2), l, noise_for(1)),
                 again = gradient(perturbed(tau, n, 1), wild(2), l, noise_for(1));
    double size = 0;
    for (double v : truth) size += v * v;
    // The spread of the two halves tells the standard error of either.
    const double spread = relative_distance(found, again) / std::sqrt(2);
    CHECK(relative_distance(found, truth) < 4 * spread);
    CHECK(spread < 0.05);
    Tape tape;  // an argmax has no noise of its own: the logits stand in
    const Var v = tape.parameter(l);
    const Tensor undrawn = backward(wild(2)(argmax(v, perturbed(tau, 10))))[v],
                 replay = backward(wild(2)(argmax(v, perturbed(tau, 10))))[v];
    CHECK(identical(undrawn, replay));
    CHECK(size > 0);
  }
}

TEST_CASE("MVE: of the estimators exact for quadratics it has the smallest mean square") {
  Rng rng(25);
  for (int i = 0; i < 20; ++i) {
    const Tensor l = rng.normal({kCategories});
    Tape tape;
    const Tensor p = softmax(tape.constant(l)).value();
    // Column i of A(D) is what f' = e_i gives.
    const auto matrix = [&](const Rule& rule, std::size_t k) {
      Tensor a = zeros({kCategories, kCategories});
      for (std::size_t c = 0; c < kCategories; ++c) {
        const Tensor g = gradient(
            rule, [&](Var z) { return sum(slice(z, c, c + 1, -1), -1); },
            reshaped(l, {1, kCategories}), noise_for(k));
        for (std::size_t r = 0; r < kCategories; ++r) a(r, c) = g.data()[r];
      }
      return a;
    };
    const auto mean_square = [&](const Rule& rule) {
      double total = 0;
      for (std::size_t k = 0; k < kCategories; ++k) {
        const Tensor a = matrix(rule, k);
        for (double v : a) total += p.data()[k] * v * v;
      }
      return total;
    };
    CHECK(mean_square(mve()) < mean_square(zgr()));
    // No direction that keeps the second order lowers it: M = p A moved antisymmetrically with zero
    // row sums, along three categories, is orthogonal to A.
    for (std::size_t row = 0; row < kCategories; ++row) {
      const std::size_t x = 0, y = 2, w = 3;
      const Tensor ax = matrix(mve(), x), ay = matrix(mve(), y), aw = matrix(mve(), w);
      const double slope =
          ax(row, y) - ay(row, x) + ay(row, w) - aw(row, y) + aw(row, x) - ax(row, w);
      CHECK(std::abs(slope) < 1e-12);
    }
  }
  // A category without probability, and probabilities of very different sizes.
  const Tensor l{{0, -kInf, 40, -40, 1}};
  for (std::size_t k : std::vector<std::size_t>{0, 2, 4})
    for (double v : gradient(mve(), wild(1), l, noise_for(k))) CHECK(std::isfinite(v));
}

TEST_CASE(
    "gradients sum to zero over the categories, and do not change when all logits are shifted") {
  Rng rng(4);
  for (const std::string& name : rule_names()) {
    if (name == "score-function+leave-one-out") continue;  // the same formula with another weight
    CAPTURE(name);
    for (int i = 0; i < 20; ++i) {
      const Tensor l = rng.normal({1, kCategories}), noise = rng.gumbel({1, kCategories}),
                   up = l + 3.0;
      const Tensor g = gradient(rule_named(name), wild(5), l, noise),
                   h = gradient(rule_named(name), wild(5), up, noise);
      double total = 0, size = 0;
      for (double v : g) total += v, size += std::abs(v);
      if (name == "straight-through-identity" || (name == "perturbed" && size > 0))
        CHECK(std::abs(total) > 1e-9 * size);
      else
        CHECK(std::abs(total) <= 1e-12 * size);
      for (std::size_t k = 0; k < kCategories; ++k)
        CHECK(g.data()[k] == doctest::Approx(h.data()[k]).epsilon(1e-11));
    }
  }
}

TEST_CASE("recorded gradients are the ones in numbers, for every rule") {
  Rng rng(6);
  for (const std::string& name : rule_names()) {
    CAPTURE(name);
    Tape tape;
    const Var l = tape.parameter(rng.normal({3, 2, kCategories})),
              noise = tape.constant(rng.gumbel({3, 2, kCategories}));
    const Var cost = evaluate(sample(l, rule_named(name), noise), wild(7));
    const Tensor numbers = backward(cost)[l];
    if (name.rfind("score-function+mean", 0) == 0)
      continue;  // its baseline moves on with each sweep
    const Var recorded = differentiate(cost, l)[0];
    for (std::size_t i = 0; i < numbers.size(); ++i)
      CHECK(recorded.value().data()[i] == doctest::Approx(numbers.data()[i]).epsilon(1e-12));
    // The first passes on what it got, and the last two are piecewise constant.
    if (name != "zero" && name != "straight-through-identity" && name != "blackbox" &&
        name != "i-mle")
      CHECK(tape.node(recorded.index).wants_gradient);
  }
}

TEST_CASE("unbiased rules: the mean of 100,000 draws is within 4 standard errors of enumeration") {
  MeasureOptions options;
  options.draws = 100000;
  options.batch = 500;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    options.seed = seed;
    const Tensor l = Rng(200 + seed).normal({kCategories});
    for (const std::string& name : rule_names()) {
      if (about(name)->gradient != std::string("unbiased")) continue;
      CAPTURE(name);
      const Measure m = measure(rule_named(name), wild(seed), l, options);
      CHECK(m.bias < 4 * m.bias_se);
    }
    const Measure m = measure(reinmax(), quadratic(seed), l, options);
    CHECK(m.bias < 4 * m.bias_se);
    const Measure st = measure(straight_through(), wild(seed), l, options);
    CHECK(st.bias > 4 * st.bias_se);
  }
}

TEST_CASE("there is something to say of every rule and method") {
  for (const auto& names :
       {rule_names(), top_k_rule_names(), matching_rule_names(), method_names()})
    for (const std::string& name : names) {
      CAPTURE(name);
      const About* const found = about(name);
      REQUIRE(found);
      CHECK((*found->formula && *found->cost));
      CHECK((*found->paper || name == "zero" || name == "exact"));
    }
  CHECK(about("") == nullptr);
}

TEST_CASE("baselines lower the variance where costs are far from zero") {
  const Cost far = [](Var z) { return 10 + quadratic(1)(z); };
  const Tensor l = Rng(5).normal({kCategories});
  const double plain = measure(score_function(), far, l).std;
  CHECK(measure(score_function(running_mean()), far, l).std < plain / 2);
  CHECK(measure(score_function(leave_one_out()), far, l).std < plain / 4);
}

TEST_CASE(
    "costs stay per example: B examples are B problems, also for the score function; nothing "
    "averages behind your back") {
  Rng rng(8);
  const Shape three{2, 3, 4, 4};  // leave-one-out needs two samples
  const Tensor logits = broadcast_to(rng.normal({3, 4, 4}), three), noise = rng.gumbel(three),
               target = rng.normal({4, 4});
  for (const DecisionNode& node : kDecisionNodes)
    for (const std::string& name : node.names()) {
      CAPTURE(name);
      // Of costs times these weights, of the first examples, as many as there are weights.
      const auto gradient = [&](const Tensor& weights) {
        Tape tape;
        const Var l = tape.parameter(logits), g = tape.constant(noise);
        const auto first = [&](Var x) { return slice(x, 0, weights.size(), 1); };
        const Var z = node.drawn(first(l), node.named(name, 1.5), first(g));
        return backward(sum(square(z - target), {-2, -1}) * weights)[l];
      };
      const auto of_the_first = [&](const Tensor& g) {
        Tape tape;
        return slice(tape.constant(g), 0, 1, 1).value();
      };
      const Tensor g = gradient({1, 2, 3}), others = gradient({1, -50, 700});
      CHECK(identical(of_the_first(g), of_the_first(others)));
      CHECK(identical(g, others) == (name == "zero"));
      // These draw more noise, from the bits of what the whole batch has.
      if (name != "gumbel-rao" && name != "perturbed" && name != "i-mle")
        check_close(of_the_first(gradient({1})), of_the_first(g));
    }
}

TEST_CASE("the thread count changes no rule's gradient") {
  Rng rng(41);
  const Shape shape{2, 2001, kCategories};  // leave-one-out needs two
  const Tensor l = rng.normal(shape), noise = rng.gumbel(shape);
  for (const std::string& name : rule_names()) {
    CAPTURE(name);
    const auto with_threads = [&](int n) {
      set_threads(n);
      const Tensor g = gradient(rule_named(name), linear(5), l, noise);
      set_threads(1);
      return g;
    };
    const Tensor one = with_threads(1);
    CHECK((xt::amax(xt::abs(one))() > 0) == (name != "zero"));
    CHECK(identical(with_threads(2), one));
    CHECK(identical(with_threads(3), one));
  }
}

TEST_CASE("behind a black box the score function is unchanged, and the pathwise rules refuse") {
  const Tensor l = Rng(10).normal({4, kCategories}), noise = Rng(11).gumbel({4, kCategories});
  const Cost f = quadratic(3);
  const Cost hidden = [&](Var z) {
    return black_box(
        [&](const std::vector<Tensor>& v) {
          Tape outside;
          return f(outside.constant(v[0])).value();
        },
        z);
  };
  CHECK(identical(gradient(score_function(), f, l, noise),
                  gradient(score_function(), hidden, l, noise)));
  CHECK(identical(gradient(zero(), hidden, l, noise), zeros({4, kCategories})));
  for (const std::string& name : kPathwise)
    CHECK_THROWS_WITH_AS(gradient(rule_named(name), hidden, l, noise),
                         ("sample[" + name +
                          "]: no differentiable path from this choice to the cost; use "
                          "score_function(), or make the "
                          "path differentiable")
                             .c_str(),
                         std::invalid_argument);
}

TEST_CASE("decisions in a row: each is credited with the costs it feeds") {
  Tape tape;
  const Tensor first = Rng(1).normal({2, 3}), second = Rng(2).normal({2, 3});
  const Var a = tape.parameter(first), b = tape.parameter(second);
  Rng rng(3);
  const Var za = sample(a, score_function(), rng), zb = sample(b + 0.0 * za, score_function(), rng);
  const Var early = tape.constant(Tensor{1, 2}) * sum(za, -1),
            late = tape.constant(Tensor{10, 20}) * sum(zb, -1);
  const Gradients g = backward({early, late});
  const Tensor pa = softmax(a).value(), pb = softmax(b).value();
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t k = 0; k < 3; ++k) {
      const double row = static_cast<double>(r + 1);
      CHECK(g[a](r, k) == doctest::Approx(11 * row * (za.value()(r, k) - pa(r, k))));
      CHECK(g[b](r, k) == doctest::Approx(10 * row * (zb.value()(r, k) - pb(r, k))));
    }
}

TEST_CASE("choices that share a running mean are judged by what it was before their sweep") {
  // Else the second that a sweep comes to is judged by a mean that its own draw's cost is in.
  const Rule rule = score_function(running_mean(0.5));
  rule.memory->assign(1, 3);
  Tape tape;
  const Var a = tape.parameter(Tensor{0.5, 1}), b = tape.parameter(Tensor{0.2, -1, 0});
  Rng rng(3);
  const Var za = sample(a, rule, rng), zb = sample(b, rule, rng);
  const Gradients g = backward(sum(za) * tape.constant(5) + sum(zb) * tape.constant(6));
  for (auto [x, z] : {std::pair{a, za}, std::pair{b, zb}}) {
    const Tensor p = softmax(x).value();
    for (std::size_t k = 0; k < p.size(); ++k)
      CHECK(g[x](k) == doctest::Approx((11 - 3) * (z.value()(k) - p(k))));
  }
  CHECK(rule.memory->front() == 0.5 * (0.5 * 3 + 0.5 * 11) + 0.5 * 11);
  differentiate(sum(za) * 7, a);  // what is made of that is swept later
  // Nor does a sweep inside a backward, when the outer one throws, or leaves no trace.
  for (const bool throws : {true, false}) {
    const Var outer = tape.record("outer", {a}, a.value(), [&, throws](BackwardContext& ctx) {
      const Var z = sample(ctx.in(0), rule, ctx.out().tape->constant(Tensor{1, 0}));
      ctx.give(0, differentiate(sum(z) * 5, ctx.in(0))[0]);
      if (throws) throw 1;
    });
    if (throws)
      CHECK_THROWS_AS(backward(sum(outer)), int);
    else
      stop_report(sum(outer), a);
    CHECK(rule.memory->front() == 9);
  }
  // A sweep that throws has taught nothing.
  const Var bad = tape.record("bad", {a}, a.value(), [](BackwardContext&) { throw 1; });
  CHECK_THROWS_AS(backward(sum(sample(bad, rule, rng))), int);
  CHECK(rule.memory->front() == 9);
}

TEST_CASE(
    "sample has the softmax's frequencies (chi-square), and every rule makes the same choice on "
    "the same noise") {
  const std::size_t draws = 100000;
  const std::vector<double> p = {0.05, 0.1, 0.15, 0.3, 0.4};
  Tensor l = zeros({draws, kCategories});
  for (std::size_t i = 0; i < l.size(); ++i) l.data()[i] = std::log(p[i % kCategories]);
  Rng rng(12);
  Tape tape;
  const Var v = tape.parameter(l), z = sample(v, zero(), rng);
  double chi = 0;
  const Tensor counts = sum(z, 0).value();
  for (std::size_t k = 0; k < kCategories; ++k)
    chi += std::pow(counts.data()[k] - p[k] * draws, 2) / (p[k] * draws);
  CHECK(chi < 18.47);  // exceeded with probability 0.001
  for (double x : z.value()) REQUIRE((x == 0 || x == 1));
  for (const std::string& name : rule_names()) {
    CAPTURE(name);
    const Var again = sample(v, rule_named(name), noise_of(z));
    if (name == "gumbel-softmax")
      CHECK(identical(argmax(again, zero()).value(), z.value()));
    else
      CHECK(identical(again.value(), z.value()));
  }
}

TEST_CASE("argmax and argmin along any axis against plain loops; ties go to the first index") {
  Rng rng(13);
  const std::size_t n[3] = {3, 4, 5};
  Tensor x = rng.normal({n[0], n[1], n[2]});
  for (Scalar& v : x) v = std::round(2 * v);  // many ties
  Tape tape;
  const Var l = tape.parameter(x);
  for (int axis : {0, 1, 2, -1, -3}) {
    CAPTURE(axis);
    const std::size_t a = static_cast<std::size_t>(axis < 0 ? axis + 3 : axis);
    const Tensor high = argmax(l, zero(), axis).value(), low = argmin(l, zero(), axis).value();
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t at[3] = {i / 20, i / 5 % 4, i % 5};
      const std::size_t stride = a == 0 ? 20 : a == 1 ? 5 : 1;
      bool first_highest = true, first_lowest = true;
      for (std::size_t k = 0; k < n[a]; ++k) {
        const double other = x.data()[i - at[a] * stride + k * stride], own = x.data()[i];
        first_highest = first_highest && (k < at[a] ? other < own : other <= own);
        first_lowest = first_lowest && (k < at[a] ? other > own : other >= own);
      }
      CHECK(high.data()[i] == (first_highest ? 1 : 0));
      CHECK(low.data()[i] == (first_lowest ? 1 : 0));
    }
  }
  CHECK(indices_of(argmax(tape.constant(Tensor{{1, 5, 2}, {7, 0, 7}}), zero())) ==
        std::vector<std::size_t>{1, 0});
  refuses(
      [&] {
        indices_of(tape.constant(Tensor{{1, 0}, {0.5, 0.5}}));
      },
      "indices_of: row 1 of the choice is not one-hot; of a subset of k: indices_of(subset, k)");
  // Rank 1, where xtensor 0.24's own argmax along an axis gives the smallest.
  CHECK(argmax(tape.constant(Tensor{1, 5, 2}), zero(), 0).value() == Tensor{0, 1, 0});
  CHECK(argmax(tape.constant(Tensor{2, 2, 2}), zero()).value() == Tensor{1, 0, 0});
  CHECK(sample(tape.constant(Tensor{-kInf, 0, -kInf}), zero(), rng).value() == Tensor{0, 1, 0});
}

TEST_CASE("rules along another axis give the transposed gradient") {
  Rng rng(14);
  const Tensor x = rng.normal({3, 4}), t = rng.normal({3, 4});
  for (const std::string& name : kPathwise) {
    CAPTURE(name);
    Tape tape;
    const Var a = tape.parameter(x), target = tape.constant(t), b = transpose(a);
    const Tensor noise = Rng(15).gumbel({4, 3});
    const Var over_rows = sample(a, rule_named(name), transpose(tape.constant(noise)), 0),
              over_columns = sample(b, rule_named(name), tape.constant(noise));
    const Tensor g = backward(sum(square(over_rows - target)))[a],
                 h = backward(sum(square(transpose(over_columns) - target)))[a];
    CHECK(identical(g, h));
  }
}

TEST_CASE("argmin passes on what argmax of the negatives does") {
  Tape tape;
  const Var d = tape.parameter(Tensor{3, 1, 2}), t = tape.constant(Tensor{1, 2, 4});
  CHECK(identical(backward(sum(t * argmin(d, straight_through())))[d],
                  backward(sum(t * argmax(-d, straight_through())))[d]));
  CHECK(argmin(d, zero()).value() == Tensor{0, 1, 0});
}

TEST_CASE("costs line up with the leading axes of the choices, for a rule of one's own too") {
  Tensor heard;
  Rule rule;
  rule.name = "listener";
  rule.needs = Needs::costs;
  rule.backward = [&](const Draw& draw, BackwardContext& ctx) {
    Shape rows = draw.logits.shape();
    rows.pop_back();
    heard = costs_of(ctx, rows).value();
    return 0 * draw.logits;
  };
  const auto hear = [&](Shape rows, const Tensor& cost, const Tensor& weight) {
    Tape tape;
    rows.push_back(2);
    Op op("black box", Flow::cut);
    const Var box = tape.record(op, {argmax(tape.parameter(zeros(rows)), rule)}, cost, {});
    backward(box, {}, tape.constant(weight));
    return heard;
  };
  const auto hear_all = [&](const Shape& rows, const Tensor& cost) {
    return hear(rows, cost, ones(cost.shape()));
  };
  CHECK(hear_all({2}, Tensor{1, 2}) == Tensor{1, 2});
  CHECK(hear_all({2, 3}, Tensor{1, 2}) == Tensor{{1, 1, 1}, {2, 2, 2}});
  CHECK(hear_all({2}, Tensor{{1, 2, 3}, {4, 5, 6}}) == Tensor{6, 15});
  CHECK(hear_all({}, Tensor{1, 2}) == full({}, 3));
  CHECK(hear_all({1, 2}, Tensor{{1, 2}, {3, 4}}) == Tensor{{4, 6}});
  CHECK(hear_all({2}, full({}, 7)) == Tensor{7, 7});
  CHECK(hear({2}, Tensor{{1, kInf}, {3, 4}}, Tensor{{2, 0}, {1, -1}}) == Tensor{2, -1});
  CHECK_THROWS_WITH_AS(hear_all({3}, Tensor{1, 2}),
                       "argmax[listener]: a cost is (2,), the choices are (3,); need costs lined "
                       "up with the leading axes of the choices",
                       std::invalid_argument);
}

TEST_CASE(
    "what costs are weighed with reaches a score function; what weighs nothing adds nothing") {
  Rng rng(3);
  Tape tape;
  const Var l = tape.parameter(rng.normal({3, 4}));
  const Var z = sample(l, score_function(), tape.constant(rng.gumbel({3, 4})));
  const Var cost = sum(z * tape.constant(rng.normal({3, 4})), 1);
  const Tensor weights{0.5, 0, 2};
  const Var w = tape.constant(weights), infinite = cost + tape.constant(Tensor{0, kInf, 0});
  const Tensor expected = backward(cost * w)[l];
  CHECK(farthest(backward(cost, {}, w)[l], expected) < 1e-12);
  CHECK(farthest(backward(infinite, {}, w)[l], expected) < 1e-12);
  CHECK(farthest(differentiate(infinite, l, w)[0].value(), expected) < 1e-12);
}

TEST_CASE("baselines: running mean and leave-one-out against their definitions") {
  const Baseline mean = running_mean(0.5);
  const auto next = [](const Baseline& b, const Tensor& costs) {
    const Tensor value = b.value(costs);
    b.learn(costs);
    return value;
  };
  CHECK(next(mean, Tensor{2, 4}) == Tensor{0, 0});
  CHECK(next(mean, Tensor{7, 7}) == Tensor{3, 3});
  CHECK(next(mean, Tensor{0, 0}) == Tensor{5, 5});
  CHECK(next(running_mean(0.5), Tensor{1.0}) == Tensor{0.0});  // a state of its own
  CHECK(leave_one_out().value(Tensor{{1, 10}, {2, 20}, {6, 60}}) ==
        Tensor{{4, 40}, {3.5, 35}, {1.5, 15}});
  refuses(
      [] {
        leave_one_out().value(Tensor{{1, 2}});
      },
      "leave_one_out: the choices are (1, 2); need at least 2 samples along the first axis");
  refuses([] { running_mean(1); }, "running_mean: decay is 1; need 0 <= decay < 1");
  Rule wrong = score_function({"odd", [](const Tensor&) { return zeros({7}); }, {}});
  CHECK_THROWS_WITH_AS(gradient(wrong, linear(1), zeros({1, kCategories}), noise_for(0)),
                       "sample[score-function+odd]: the baseline gave (7,) for costs of shape (1,)",
                       std::logic_error);
}

TEST_CASE("the expectation is the enumerated one, for one and for several variables") {
  const Tensor l = Rng(16).normal({2, 3, 4});  // 2 examples of 3 variables with 4 categories
  const Cost f = [](Var z) { return exp(sum(square(sum(z, -2)), -1) / 5); };
  Tape tape;
  const Var v = tape.parameter(l), e = expectation(v, f);
  REQUIRE(e.shape() == Shape{2});
  CHECK(tape.counts.evaluations == 2 * 64);
  const Tensor p = softmax(v).value();
  for (std::size_t r = 0; r < 2; ++r) {
    double expected = 0;
    for (std::size_t c = 0; c < 64; ++c) {
      const std::size_t pick[3] = {c % 4, c / 4 % 4, c / 16};
      double probability = 1, squares = 0;
      std::size_t count[4] = {0, 0, 0, 0};
      for (std::size_t n = 0; n < 3; ++n) {
        probability *= p(r, n, pick[n]);
        ++count[pick[n]];
      }
      for (std::size_t k : count) squares += static_cast<double>(k * k);
      expected += probability * std::exp(squares / 5);
    }
    CHECK(e.value().data()[r] == doctest::Approx(expected).epsilon(1e-12));
  }
  refuses(
      [&] {
        expectation(tape.constant(zeros({1, 15, 2})), [](Var z) { return sum(z, {-2, -1}); });
      },
      "expectation: 2 categories in 15 variables; need at most 16384 combinations");
  refuses(
      [&] {
        expectation(tape.constant(zeros({3, 0})), linear(1));
      },
      "expectation: logits are (3, 0); need (..., K) with at least one category");
  refuses([&] { evaluate(v, [](Var z) { return z * 2; }); },
          "evaluate: the choices are (2, 3, 4), the cost is (2, 3, 4); need one number an example, "
          "lined up with the leading axes");
}

TEST_CASE("the tape counts evaluations and backward passes") {
  const auto count = [](const Rule& rule) {
    Tape tape;
    Rng rng(1);
    const Var l = tape.parameter(zeros({4, 6, kCategories}));
    backward(evaluate(sample(l, rule, rng), quadratic(1)));
    return tape.counts;
  };
  for (const std::string& name : rule_names()) {
    CAPTURE(name);
    const Counts c = count(rule_named(name));
    CHECK(c.evaluations == 24);
    CHECK(c.backwards ==
          (std::find(kPathwise.begin(), kPathwise.end(), name) == kPathwise.end() ? 0 : 24));
    CHECK(c.solver_calls == (name == "perturbed"                     ? 240
                             : name == "blackbox" || name == "i-mle" ? 24
                                                                     : 0));
  }
}

TEST_CASE("the instrument measures a rule of known bias and spread") {
  const Tensor l = Rng(17).normal({kCategories});
  const Cost f = quadratic(4);
  const Tensor exact = exact_gradient(f, l);
  const double size = std::sqrt(xt::sum(exact * exact)());
  // Always the exact gradient, plus 3 units of its norm on the first logit, plus or minus 2 on the
  // second by the draw.
  const Rule known = pathwise_rule("known", [=](const Draw& draw, Var g) {
    Tensor t = broadcast_to(exact, g.shape());
    for (std::size_t r = 0; r < t.shape()[0]; ++r) {
      t(r, 0) += 3 * size;
      t(r, 1) +=
          draw.noise.value()(r, 0) > -std::log(std::log(2.0)) ? 2 * size : -2 * size;  // the median
    }
    return g.tape->constant(t);
  });
  const Measure m = measure(known, f, l);
  CHECK(m.bias == doctest::Approx(3).epsilon(0.01));
  CHECK(m.std == doctest::Approx(2).epsilon(0.01));
  CHECK(m.mse == doctest::Approx(13).epsilon(1e-9));
  CHECK(m.bias_se == doctest::Approx(0.02).epsilon(0.01));
  CHECK(m.evaluations == 1);
  CHECK(m.backwards == 1);
  CHECK(measure(score_function(leave_one_out()), f, l).evaluations == 4);
  CHECK(measure_exact(f, l).evaluations == kCategories);
  CHECK(measure(zero(), f, l).bias == doctest::Approx(1));
  refuses(
      [&] {
        measure(
            zero(), [](Var z) { return sum(z, -1); }, l);
      },
      "measure: the exact gradient is zero; need one to measure against");
  refuses(
      [&] {
        measure(
            score_function(),
            [](Var z) {
              return sum(square(z) * z.tape->constant(Tensor{1, 2, 3, 4, 5}));
            },
            l);
      },
      "measure: the choices are (100, 5), the cost is (); need one number an example, (100,)");
  refuses(
      [&] { measure(zero(), f, l, {0}); },
      "measure: draws are 0, in batches of 100, repeats 1; need at least one estimate in a batch");
}

TEST_CASE("a stop report teaches no baseline") {
  const Rule rule = score_function(running_mean());
  Tape tape;
  const Var l = tape.parameter(Tensor{0.3, -0.2, 0.1});
  const Var cost = sum(sample(l, rule, tape.constant(Rng(1).gumbel({3}))) * 3);
  stop_report(cost, l);
  const Tensor first = backward(cost)[l], second = backward(cost)[l];
  CHECK(first.data()[0] != 0);
  CHECK(second.data()[0] == doctest::Approx(0).epsilon(1e-12));
}

TEST_CASE("leave-one-out refuses a cost that was averaged over the samples") {
  Tape tape;
  Rng rng(1);
  const Var l = tape.parameter(zeros({4, 3}));
  const Var cost = evaluate(sample(l, score_function(leave_one_out()), rng), [](Var z) {
    return sum(z * z.tape->constant(Tensor{1, 2, 3}), -1);
  });
  CHECK_NOTHROW(backward(cost / 4));
  refuses(
      [&] { backward(mean(cost)); },
      "sample[score-function+leave-one-out]: a cost is (), the choices are (4,); need one cost a "
      "sample, so do not average first");
}

TEST_CASE("the recorded score function is a function of the cost's parameters") {
  // g = f(D, theta) (D - p) with f = sum(D theta): the derivative of <g, v> for theta is D <D - p,
  // v>.
  Tape tape;
  Rng rng(2);
  const Var l = tape.parameter(Tensor{0.3, -0.2, 0.1}), theta = tape.parameter(Tensor{1, 2, 3});
  const Var z = sample(l, score_function(), rng);
  const Var g = differentiate(sum(z * theta), l)[0], v = tape.constant(Tensor{1, -1, 0.5});
  const Tensor slope = backward(sum(g * v))[theta], p = softmax(l).value();
  double along = 0;
  for (std::size_t k = 0; k < 3; ++k) along += (z.value()(k) - p(k)) * v.value()(k);
  for (std::size_t k = 0; k < 3; ++k) CHECK(slope(k) == doctest::Approx(z.value()(k) * along));
}

TEST_CASE("temperatures are numbers and schedules; temperature 0 is an error") {
  const Schedule decay = exponential_decay(1, 0.01, 0.5, 10), line = linear_decay(2, 1, 4);
  CHECK(decay(0) == 1);
  CHECK(decay(9) == 1);
  CHECK(decay(10) == doctest::Approx(std::exp(-0.1)));
  CHECK(decay(10000) == 0.5);
  CHECK(decay(19) == decay(10));  // a pure function of the step
  CHECK(line(0) == 2);
  CHECK(line(1) == 1.75);
  CHECK(line(9) == 1);
  Tape tape;
  const Var l = tape.parameter(Tensor{0.3, -0.2, 0.1}), noise = tape.constant(Rng(1).gumbel({3}));
  const Rule annealed = gumbel_softmax(decay);
  CHECK(identical(sample(l, annealed.at(10), noise).value(),
                  sample(l, gumbel_softmax(std::exp(-0.1)), noise).value()));
  CHECK(straight_through().at(5).name == "straight-through");
  refuses([&] { sample(l, annealed, noise); },
          "sample[gumbel-softmax]: the temperature is a schedule; say at which step, with "
          "rule.at(step)");
  for (const DecisionNode& node : kDecisionNodes)
    for (const std::string& name : node.names())
      if (node.named(name, line).scheduled)  // it takes a temperature
        refuses([&] { node.named(name, 0); },
                name + ": tau is 0; need " + (name == "reinmax" ? "1" : "1e-20") + " to 1e+20");
  refuses([] { gumbel_softmax(1e-25); }, "gumbel-softmax: tau is 1e-25; need 1e-20 to 1e+20");
  refuses([] { straight_through(-1); }, "straight-through: tau is -1; need 1e-20 to 1e+20");
  refuses([] { st_gumbel_softmax(kNan); }, "st-gumbel-softmax: tau is nan; need 1e-20 to 1e+20");
  refuses([] { reinmax(0.5); }, "reinmax: tau is 0.5; need 1 to 1e+20");
  refuses([] { gapped_straight_through(1, -1); },
          "gapped_straight_through: gap is -1; need a finite number of at least 0");
  refuses([] { gumbel_rao(1, 0); }, "gumbel_rao: draws are 0; need at least 1");
  refuses([] { blackbox(0); }, "blackbox: lambda is 0; need 2.22507e-308 to 4.49423e+307");
  refuses([] { perturbed(1, 0); }, "perturbed: draws are 0; need at least 1");
  refuses([] { i_mle(-1); }, "i_mle: lambda is -1; need 2.22507e-308 to 4.49423e+307");
  refuses([] { i_mle(1, 0); }, "i_mle: draws are 0; need at least 1");
  CHECK(annealed_straight_through(exponential_decay(1, 0.1, 0.2)).at(3).name ==
        "annealed-straight-through");
  refuses(
      [] {
        gumbel_softmax(Schedule([](std::size_t step) {
          return 1.0 - static_cast<double>(step);
        })).at(1);
      },
      "gumbel-softmax: tau is 0; need 1e-20 to 1e+20");
  refuses([] { exponential_decay(1, -1, 0.5); }, "exponential_decay: rate is -1; need at least 0");
  refuses([] { exponential_decay(1, 1, 0); },
          "exponential_decay: floor is 0; need a finite number above 0");
  refuses([] { exponential_decay(0, 1, 0.5); },
          "exponential_decay: start is 0; need a finite number above 0");
  refuses([] { exponential_decay(1, 1, 0.5, 0); },
          "exponential_decay: every is 0; need at least 1");
  refuses([] { linear_decay(0, 1, 2); }, "linear_decay: start is 0; need a finite number above 0");
  refuses([] { linear_decay(1, -1, 2); },
          "linear_decay: end is -1; need a finite number of at least 0");
  CHECK(linear_decay(1, 0, 2)(2) == 0);
  refuses([] { linear_decay(1, 0.5, 0); }, "linear_decay: steps is 0; need at least 1");
}

TEST_CASE(
    "NaN among logits, scores or costs is an error that names the row; +inf, and rows of nothing "
    "but -inf, are errors for every choice, as are other things at the call") {
  Tape tape;
  Rng rng(1);
  const Var bad = tape.parameter(Tensor{{1, 2}, {1, kNan}}), none = tape.parameter(zeros({2, 0})),
            l = tape.parameter(zeros({2, 3}));
  refuses([&] { argmax(bad, zero()); }, "argmax[zero]: logits have NaN in row 1; need numbers");
  refuses([&] { argmax(bad, gumbel_softmax(1)); },
          "argmax[gumbel-softmax]: logits have NaN in row 1; need numbers");
  refuses(
      [&] {
        argmax(tape.parameter(Tensor{kInf, 0}), gumbel_softmax(1));
      },
      "argmax[gumbel-softmax]: logits have +inf in row 0; need numbers");
  refuses([&] { argmin(bad, straight_through()); },
          "argmin[straight-through]: logits have NaN in row 1; need numbers");
  refuses([&] { sample(bad, reinmax(), rng); },
          "sample[reinmax]: logits have NaN in row 1; need numbers");
  refuses([&] { argmax(none, zero()); },
          "argmax: logits are (2, 0); need at least one category on axis 1");
  refuses([&] { argmax(l, zero(), 2); }, "argmax: axis 2 of (2, 3); need -2..1");
  refuses([&] { argmax(tape.constant(1), zero()); },
          "argmax: axis -1 of (); a single number has no axes");
  refuses([&] { argmax(l, score_function()); },
          "argmax[score-function]: a choice that is not drawn has no distribution; use sample()");
  refuses([&] { argmax(l, gumbel_rao(1)); },
          "argmax[gumbel-rao]: a choice that is not drawn has no distribution; use sample()");
  refuses([&] { argmax(l, i_mle(1)); },
          "argmax[i-mle]: a choice that is not drawn has no distribution; use sample()");
  refuses(
      [&] { backward(sum(-sqrt(argmax(l, blackbox())))); },
      "argmax[blackbox]: pushed by the gradient that arrives, argmax[zero]: logits have +inf in "
      "row 0; need numbers");
  const Var square = tape.parameter(zeros({3, 3})), no_noise = tape.constant(zeros({3, 3}));
  for (const DecisionNode& node : kDecisionNodes)
    for (const char* name : {"blackbox", "i-mle"})
      for (Scalar slope : {kInf, -kInf, kNan}) {
        const Var chosen = node.drawn(square, node.named(name, 1), no_noise);
        CHECK_THROWS_WITH_AS(backward(sum(slope * chosen)),
                             doctest::Contains("]: pushed by the gradient that arrives, "),
                             std::invalid_argument);
      }
  refuses([&] { sample(l, zero(), tape.constant(zeros({3}))); },
          "sample: logits are (2, 3), noise is (3,); need the same shape");
  refuses(
      [&] {
        sample(tape.parameter(full({2, 2}, -kInf)), zero(), rng);
      },
      "sample[zero]: logits are all -inf in row 0; need at least one possible category");
  refuses(
      [&] {
        argmax(tape.parameter(full({2, 2}, -kInf)), zero());
      },
      "argmax[zero]: logits are all -inf in row 0; need at least one possible category");
  for (const Tensor& row : {Tensor{kInf, 0, 1}, Tensor{kInf, kInf, 1}, Tensor{-kInf, kNan, 0},
                            Tensor{-kInf, -kInf, -kInf}}) {
    Tensor x = zeros({3, 3});
    std::copy(row.begin(), row.end(), &x(1, 0));
    const Var odd = tape.parameter(x), noise = tape.constant(zeros({3, 3}));
    CHECK_THROWS_WITH_AS(expectation(odd, [](Var z) { return sum(z, -1); }),
                         doctest::Contains("expectation: logits"), std::invalid_argument);
    for (const DecisionNode& node : kDecisionNodes)
      for (const std::string& name : node.names()) {
        CAPTURE(name);
        const Rule rule = node.named(name, 1);
        CHECK_THROWS_WITH_AS(node.drawn(odd, rule, noise), doctest::Contains("row 1"),
                             std::invalid_argument);
        if (!rule.needs_draw)
          CHECK_THROWS_WITH_AS(node.best(odd, rule), doctest::Contains("row 1"),
                               std::invalid_argument);
      }
  }
  const Cost no_number = [](Var z) { return z.tape->constant(Tensor{1, kNan}); };
  refuses([&] { expectation(l, no_number); }, "expectation: costs have NaN in row 1; need numbers");
  refuses([&] { evaluate(l, no_number); }, "evaluate: costs have NaN in row 1; need numbers");
  const Var z = sample(l, score_function(), rng);
  refuses(
      [&] {
        backward(sum(z, -1) * tape.constant(Tensor{1, kNan}));
      },
      "sample[score-function]: costs have NaN in row 1; need numbers");
  refuses([&] { noise_of(argmax(l, zero())); },
          "noise_of: the Var is argmax[zero]; need a sample along the last axis, of a subset or a "
          "matching too");
  refuses(
      [] { rule_named("gumble"); },
      "rule_named: 'gumble'; need one of zero, score-function, score-function+mean, "
      "score-function+leave-one-out, straight-through, "
      "straight-through-identity, gumbel-softmax, st-gumbel-softmax, reinmax, "
      "annealed-straight-through, darn, zgr, gapped-straight-through, gumbel-rao, mve, perturbed, "
      "blackbox, i-mle");
  Tape other;
  refuses(
      [&] {
        sample(l, zero(), other.constant(zeros({2, 3})));
      },
      "sample: input 1 stands on another tape; need all on one tape");
  refuses([&] { backward(sum(sample(slice(l, 0, 1), score_function(leave_one_out()), rng), -1)); },
          "leave_one_out: the choices are (1,); need at least 2 samples along the first axis");
}

TEST_CASE("forbidden categories: no rule passes anything to them, or NaN, at either order") {
  const Tensor logits{{0, -kInf, 1, -kInf}, {-kInf, 2, -kInf, -kInf}},
      noise = Rng(2).gumbel({2, 4});
  for (const std::string& name : rule_names()) {
    if (name == "straight-through-identity" || name == "score-function+leave-one-out") continue;
    CAPTURE(name);
    Tape tape;
    const Var l = tape.parameter(logits), w = tape.constant(Rng(3).normal({4}));
    const Var cost = square(sum(sample(l, rule_named(name), tape.constant(noise)) * w, -1));
    const Tensor g = backward(cost)[l];
    const Var recorded = differentiate(cost, l)[0];
    // What a solver finds is flat: these two have no second order.
    const bool flat = name == "blackbox" || name == "i-mle";
    const Tensor again = flat ? zeros({2, 4}) : backward(square(recorded))[l];
    for (std::size_t i = 0; i < 8; ++i) {
      CHECK(std::isfinite(g.data()[i]));
      if (std::isinf(logits.data()[i])) CHECK(g.data()[i] == 0);
      if (name != "score-function+mean")  // which has learned in between
        CHECK(recorded.value().data()[i] == doctest::Approx(g.data()[i]));
      CHECK(std::isfinite(again.data()[i]));
    }
  }
}

TEST_CASE("-inf forbids a category, which adds nothing to any expectation, whatever it costs") {
  Tape tape;
  const Var l = tape.parameter(Tensor{{0, -kInf, 1}, {2, -kInf, 0.5}});
  for (double never : {kInf, -kInf, kNan, 7.0}) {
    CAPTURE(never);
    const Tensor costs{3, never, 1};
    const Cost f = [&](Var z) { return take(z.tape->constant(costs), indices_of(z)); };
    const Var e = expectation(l, f);
    const double p = 1 / (1 + std::exp(1.0));
    CHECK(e.value()(0) == doctest::Approx(3 * p + 1 - p));
    const Tensor g = backward(e)[l];
    CHECK(g(0, 0) == doctest::Approx(2 * p * (1 - p)));
    CHECK(g(0, 1) == 0);
    CHECK(g(1, 1) == 0);
    CHECK(differentiate(e, l)[0].value() == g);
  }
}

TEST_CASE("what learns takes in no such number: a running mean, of costs that are not finite") {
  const Baseline baseline = running_mean(0.5);
  baseline.learn(Tensor{4, 6});
  for (double odd : {kInf, -kInf, kNan}) baseline.learn(Tensor{1, odd});
  baseline.learn(zeros({0}));
  CHECK(baseline.value(zeros({1})) == Tensor{5});
  baseline.learn(Tensor{7, 7});
  CHECK(baseline.value(zeros({1})) == Tensor{6});
}

TEST_CASE("costs that agree: leave-one-out subtracts them to exactly nothing") {
  Rng rng(1);
  for (std::size_t samples : {std::size_t{2}, std::size_t{3}, std::size_t{4}, std::size_t{7}}) {
    const Tensor same = broadcast_to(rng.uniform({1, 50}, -3, 3), {samples, 50});
    CHECK(leave_one_out().value(same) == same);
  }
}

TEST_CASE("the stop report names the argmax that cut a gradient, and what to do") {
  Tape tape;
  const Var w = tape.parameter(Tensor{1, 2, 3}, "w");
  const std::vector<StopLine> report = stop_report(sum(argmax(w * 2, zero()) * 3), w);
  CHECK(report[0].reason == Stop::cut);
  CHECK(report[0].words ==
        "w: no gradient. It was cut at argmax[zero] (node 2), which passes nothing back. Its rule "
        "is the zero gradient; another rule "
        "passes something on.");
  Rng rng(1);
  CHECK(stop_report(sum(sample(w, score_function(), rng) * 3), w)[0].reason == Stop::reached);
  CHECK(stop_report(
            black_box([](const std::vector<Tensor>& v) { return v[0]; }, sample(w, reinmax(), rng)),
            w)[0]
            .reason == Stop::refused);
  const Var saturated = relu(w * -1);
  const StopLine line = stop_report(sum(saturated), w)[0];
  CHECK(line.reason == Stop::zero);
  CHECK(line.words.find("at relu (node") != std::string::npos);
}

TEST_CASE("a rule may differentiate inside its formula, in numbers as in Vars") {
  const Rule inner = pathwise_rule("inner", [](const Draw& d, Var g) {
    return differentiate(sum(softmax(d.logits) * g), d.logits)[0];
  });
  Tape tape;
  const Var l = tape.parameter(Tensor{0.5, 2.0, -1.0}), w = tape.constant(Tensor{3.0, 1.0, 2.0});
  const auto cost = [&](const Rule& rule) { return sum(w * argmax(l * l, rule)); };
  const Var own = cost(inner);
  const Tensor numbers = backward(own)[l], vars = differentiate(own, l)[0].value();
  const Tensor right = backward(cost(straight_through()))[l];
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(numbers(i) == doctest::Approx(right(i)));
    CHECK(vars(i) == doctest::Approx(right(i)));
    CHECK(numbers(i) != 0);
  }
  // In a last sweep too, where parameters have moved on already; but not for what it gave back.
  std::vector<Tensor> moving = {Tensor{0.5, 2.0, -1.0}, Tensor{3.0, 1.0, 2.0}};
  const auto last_sweep = [&](const Rule& rule, Var* cost) {
    Tape tape;
    Tensor taken;
    const std::vector<Var> p = tape.borrow_parameters(moving);
    *cost = sum(p[1] * argmax(p[0] * p[0], rule));
    backward_and_release(*cost, [&](Var v, Tensor& g) {
      if (v.index == p[1].index) moving[1] += 1;
      if (v.index == p[0].index) taken = g;
    });
    return taken;
  };
  Var cost_there;
  const Tensor taken = last_sweep(inner, &cost_there);
  for (std::size_t i = 0; i < 3; ++i) CHECK(taken(i) == doctest::Approx(right(i)));
  const Rule outer = pathwise_rule(
      "outer", [&](const Draw& d, Var) { return differentiate(cost_there, d.logits)[0]; });
  CHECK_THROWS_WITH_AS(
      last_sweep(outer, &cost_there),
      doctest::Contains("the last sweep has passed this node, and its backward is gone"),
      std::logic_error);
}

TEST_CASE("a weight of 0 takes an infinite cost out, and only that") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  Tape tape;
  Rng rng(3);
  const Var x = tape.parameter(Tensor{{0.3, -0.2}, {0.1, 0.5}}),
            z = sample(x, score_function(), rng);
  const Var cost = sum(z, -1) * tape.constant(Tensor{1, inf}), weight = tape.constant(Tensor{1, 0});
  const Tensor g = backward(cost, {}, weight)[x];
  CHECK(g(1, 0) == 0);
  CHECK(g(1, 1) == 0);
  CHECK(std::abs(g(0, 0)) > 0.1);
  CHECK(g == differentiate(cost, x, weight)[0].value());
}

TEST_CASE(
    "leave-one-out with an infinite cost: it is the others' mean, and not its own, in any order") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  CHECK(leave_one_out().value(Tensor{1, inf, 2, 3}) == Tensor{inf, 2, inf, inf});
  CHECK(leave_one_out().value(Tensor{inf, 1, 2, 3}) == Tensor{2, inf, inf, inf});
  CHECK(leave_one_out().value(Tensor{inf, 1, inf, 3}) == Tensor{inf, inf, inf, inf});
}
