// Matchings: the solver against exhaustive search, the node's rules against identities and
// statistics.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/report.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/hungarian.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/solver.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/soft_sort.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

using Columns = std::vector<std::size_t>;

double total(const Scalar* x, const std::size_t* columns, std::size_t n, std::size_t m) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i * m + columns[i]];
  return sum;
}

// The best columns for the rows of one matrix, by trying all orders of all columns.
Columns exhaustive(const Scalar* x, std::size_t n, std::size_t m, double sign) {
  Columns order(m), best;
  std::iota(order.begin(), order.end(), std::size_t{0});
  double most = -kInf;
  do {
    const double sum = sign * total(x, order.data(), n, m);
    if (sum > most) {
      most = sum;
      best.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n));
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

// A cost (B,) of permutations (B, n, n) that is no linear function of them.
Var curved(Var p, const Tensor& c) {
  return sum(square(matmul(p, p) - p.tape->constant(c)), {-2, -1}) / 2;
}

// For two items: how likely the Gumbel-matching draw is the identity, given t = X_00 + X_11 - X_01
// - X_10. Two differences of Gumbel numbers are logistic each, so this is how likely the sum of two
// logistic numbers is below t: the integral over u in (0, 1) of (1 - u) / (1 - u + u e^-t).
double identity_probability(double t) {
  const double c = 1 - std::exp(-t);
  return 1 / c + (1 - 1 / c) * t / c;
}

// The gradient of E f(P) for the four logits, where f of the identity is `more` than f of the swap.
Tensor exact_gradient(const Tensor& x, double more) {
  const double t = x(0, 0) + x(1, 1) - x(0, 1) - x(1, 0), h = 1e-4;
  const double d = (identity_probability(t + h) - identity_probability(t - h)) / (2 * h) * more;
  return tensor({2, 2}, {d, -d, -d, d});
}

// Whether the mean over the first axis of (B, 2, 2) is `expected`, within four standard errors.
void check_mean(const Tensor& draws, const Tensor& expected) {
  const std::size_t b = draws.shape()[0];
  for (std::size_t k = 0; k < 4; ++k) {
    double mean = 0, square = 0;
    for (std::size_t i = 0; i < b; ++i) {
      const double v = draws.data()[4 * i + k];
      mean += v / static_cast<double>(b);
      square += v * v / static_cast<double>(b);
    }
    const double error = std::sqrt((square - mean * mean) / static_cast<double>(b));
    CAPTURE(k);
    CAPTURE(error);
    REQUIRE(error < 0.05 * std::abs(expected.data()[k]));
    CHECK(std::abs(mean - expected.data()[k]) < 4 * error);
  }
}

}  // namespace

TEST_CASE("hungarian is exhaustive search") {
  Rng rng(1);
  for (std::size_t n = 1; n <= 6; ++n)
    for (std::size_t m = n; m <= 7; ++m)
      for (Best best : {Best::largest, Best::smallest}) {
        CAPTURE(n);
        CAPTURE(m);
        const double sign = best == Best::largest ? 1 : -1;
        const Tensor x = rng.normal({2, 10, n, m});
        const Columns columns = hungarian(x, best);
        REQUIRE(columns.size() == 20 * n);
        for (std::size_t k = 0; k < 20; ++k) {
          const Columns expected = exhaustive(x.data() + k * n * m, n, m, sign);
          REQUIRE(std::equal(expected.begin(), expected.end(), columns.data() + k * n));
        }
        // Whole numbers tie, and the sum alone is told; some pairs are forbidden, never all.
        Tensor ties = xt::floor(3 * rng.uniform({20, n, m}));
        const Tensor forbid = rng.uniform({20, n, m});
        for (std::size_t i = 0; i < ties.size(); ++i)
          if (forbid.data()[i] < 0.3 && i / m % n != i % m) ties.data()[i] = -sign * kInf;
        const Columns tied = hungarian(ties, best);
        for (std::size_t k = 0; k < 20; ++k) {
          const Scalar* at = ties.data() + k * n * m;
          const Columns expected = exhaustive(at, n, m, sign);
          REQUIRE(total(at, tied.data() + k * n, n, m) == total(at, expected.data(), n, m));
          Columns sorted(tied.data() + k * n, tied.data() + (k + 1) * n);
          std::sort(sorted.begin(), sorted.end());
          REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
        }
      }
}

TEST_CASE("sinkhorn at a low temperature leads to hungarian's matching") {
  Rng rng(2);
  for (std::size_t n : {std::size_t{2}, std::size_t{8}, std::size_t{30}, std::size_t{120}}) {
    CAPTURE(n);
    const std::size_t count = 50;
    Tape tape;
    const Tensor x = rng.normal({count, n, n});
    const Tensor p = sinkhorn(tape.constant(x), 2e-4, Converge{1e-3}).matrices.value();
    const Columns columns = hungarian(x);
    std::size_t apart = 0;
    for (std::size_t r = 0; r < count * n; ++r) {
      const Scalar* row = p.data() + r * n;
      apart += row[columns[r]] < 0.5;
    }
    CHECK(apart == 0);
  }
}

TEST_CASE("a matching is the same whatever is added to a row or a column, and the thread count") {
  Rng rng(3);
  const std::size_t n = 40;
  const Tensor x = rng.normal({30, n, n}), rows = rng.normal({30, n, 1}),
               columns = rng.normal({30, 1, n});
  const Columns expected = hungarian(x);
  CHECK(hungarian(x + 1000 * rows + 1000 * columns) == expected);
  CHECK(hungarian(-x, Best::smallest) == expected);
  set_threads(2);
  CHECK(hungarian(x) == expected);
  set_threads(1);
  // Where all are equal nothing is exchanged.
  Columns same(n);
  std::iota(same.begin(), same.end(), std::size_t{0});
  CHECK(hungarian(ones({n, n})) == same);
  CHECK(hungarian(zeros({0, 3, 3})).empty());
}

TEST_CASE("hungarian with numbers as large and as small as there are") {
  Rng rng(4);
  const Tensor x = rng.normal({20, 5, 5});
  for (double scale : {1e307, 1e290, 1e-290}) {
    CAPTURE(scale);
    const Tensor scaled = scale * x;
    CHECK(hungarian(scaled) == hungarian(x));
  }
}

TEST_CASE("what hungarian refuses") {
  refuses(
      [] { hungarian(zeros({3})); },
      "hungarian: the weights are (3,); need (..., n, m) with 1 <= n <= m, a column for each row");
  refuses(
      [] {
        hungarian(zeros({2, 3, 2}));
      },
      "hungarian: the weights are (2, 3, 2); need (..., n, m) with 1 <= n <= m, a column for each "
      "row");
  refuses(
      [] {
        hungarian(zeros({0, 2}));
      },
      "hungarian: the weights are (0, 2); need (..., n, m) with 1 <= n <= m, a column for each "
      "row");
  refuses(
      [] {
        hungarian(tensor({1, 2, 2}, {1, 2, kNan, 4}));
      },
      "hungarian: the weight in row 1, column 0 of matrix 0 is NaN; need numbers, or -inf for a "
      "forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 2}, {1, kInf, 3, 4}));
      },
      "hungarian: the weight in row 0, column 1 of matrix 0 is +inf; need numbers, or -inf for "
      "a forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 2}, {1, -kInf, 3, 4}), Best::smallest);
      },
      "hungarian: the weight in row 0, column 1 of matrix 0 is -inf; need numbers, or +inf for "
      "a forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 3}, {-kInf, -kInf, -kInf, 1, 2, 3}));
      },
      "hungarian: the pairs of matrix 0 that are not -inf leave no matching: row 0 has none; "
      "need one");
  refuses(
      [] {
        hungarian(tensor({3, 3}, {1, kInf, kInf, 2, kInf, kInf, 1, 2, 3}), Best::smallest);
      },
      "hungarian: the pairs of matrix 0 that are not +inf leave no matching: rows 0, 1 have only "
      "one column between them; need one");
  for (std::size_t k = 0; k < 12; ++k) {  // wherever it stands
    Tensor x = ones({2, 2, 3});
    x.data()[k] = kNan;
    refuses([&] { hungarian(x); }, "hungarian: the weight in row " + std::to_string(k / 3 % 2) +
                                       ", column " + std::to_string(k % 3) + " of matrix " +
                                       std::to_string(k / 6) +
                                       " is NaN; need numbers, or -inf for a forbidden pair");
  }
}

TEST_CASE("what P does: item i goes to the place j where P_ij is 1") {
  Tape tape;
  const Var x = tape.constant(Tensor{{{0, 9, 0}, {0, 0, 9}, {9, 0, 0}}});
  const Var p = matching(x, zero());
  CHECK(p.value() == Tensor{{{0, 1, 0}, {0, 0, 1}, {1, 0, 0}}});
  CHECK(indices_of(p) == Columns{1, 2, 0});
  const Var items = tape.constant(Tensor{{10, 1}, {11, 2}, {12, 3}});
  CHECK(permute(p, items).value() == Tensor{{{12, 3}, {10, 1}, {11, 2}}});
  CHECK(unpermute(p, permute(p, items)).value() == Tensor{{{10, 1}, {11, 2}, {12, 3}}});
  CHECK(permute(p, unpermute(p, items)).value() == Tensor{{{10, 1}, {11, 2}, {12, 3}}});
  // More places than items: some stay empty.
  const Var wide = matching(tape.constant(Tensor{{0, 0, 5}, {4, 0, 5}}), zero());
  CHECK(wide.value() == Tensor{{0, 0, 1}, {1, 0, 0}});
  CHECK(permute(wide, tape.constant(tensor({2, 1}, {7, 8}))).value() == tensor({3, 1}, {8, 0, 7}));
}

TEST_CASE("soft and straight-through rules are Sinkhorn's operator") {
  Rng rng(10);
  const Tensor logits = rng.normal({3, 4, 4}), noise = rng.gumbel({3, 4, 4}),
               c = rng.normal({4, 4});
  for (const HowFar& far : {HowFar(std::size_t{7}), HowFar(Converge{1e-12})}) {
    const auto operated = [&](Var x, double tau) {
      return std::visit([&](auto until) { return sinkhorn(x, tau, until).matrices; }, far);
    };
    // The derivative of the operator at x, for the cost's gradient at p.
    const auto through = [&](const Tensor& x, double tau, const Tensor& p) {
      Tape tape;
      const Var at = tape.parameter(p);
      const Tensor slope = backward(curved(at, c))[at];
      const Var l = tape.parameter(x);
      return backward({operated(l, tau)}, {}, {tape.constant(slope)})[l];
    };
    const auto both = [&](const Rule& rule, bool drawn, Tensor& value) {
      Tape tape;
      const Var l = tape.parameter(logits), g = tape.constant(noise);
      const Var p = drawn ? sample_matching(l, rule, g) : matching(l, rule);
      value = p.value();
      const Var f = curved(p, c);
      const Tensor numbers = backward(f)[l];
      CHECK(tape.counts.backwards == 3);
      CHECK(tape.counts.solver_calls == 0);
      CHECK(farthest(differentiate(f, l)[0].value(), numbers) < 1e-12);
      return numbers;
    };
    const Tensor noisy = logits + noise;
    Tape tape;
    const Tensor hard = matching(tape.constant(logits), zero()).value(),
                 drawn = matching(tape.constant(noisy), zero()).value();
    Tensor value;
    CHECK(farthest(both(gumbel_sinkhorn(0.7, far), true, value),
                   through(noisy, 0.7, operated(tape.constant(noisy), 0.7).value())) < 1e-12);
    CHECK(farthest(value, operated(tape.constant(noisy), 0.7).value()) < 1e-12);
    both(gumbel_sinkhorn(0.7, far), false, value);
    CHECK(identical(value, operated(tape.constant(logits), 0.7).value()));
    CHECK(farthest(both(straight_through_sinkhorn(0.7, far), true, value),
                   through(logits, 0.7, drawn)) < 1e-12);
    CHECK(identical(value, drawn));
    CHECK(farthest(both(straight_through_sinkhorn(0.7, far), false, value),
                   through(logits, 0.7, hard)) < 1e-12);
    CHECK(identical(value, hard));
    CHECK(farthest(both(st_gumbel_sinkhorn(0.7, far), true, value), through(noisy, 0.7, drawn)) <
          1e-12);
    CHECK(identical(value, drawn));
    CHECK(farthest(through(logits, 0.7, drawn), through(noisy, 0.7, drawn)) > 1e-3);
  }
  CHECK(check_gradient(
      [&](const std::vector<Var>& v) {
        return sample_matching(v[0], gumbel_sinkhorn(0.7, std::size_t{7}),
                               v[0].tape->constant(noise));
      },
      {logits}));
}

TEST_CASE("rules that solve again, in plain loops, and how often they do") {
  Rng rng(11);
  const Tensor logits = rng.normal({3, 4, 5}), noise = rng.gumbel({3, 4, 5}),
               slope = rng.normal({3, 4, 5});
  const auto permutation = [](const Tensor& x) {
    Tensor p = zeros(x.shape());
    const Columns columns = hungarian(x);
    for (std::size_t r = 0; r < columns.size(); ++r) p.data()[5 * r + columns[r]] = 1;
    return p;
  };
  const auto gradient = [&](const Rule& rule, bool drawn, std::size_t calls) {
    Tape tape;
    const Var l = tape.parameter(logits);
    const Var p = drawn ? sample_matching(l, rule, tape.constant(noise)) : matching(l, rule);
    CHECK(identical(p.value(), permutation(drawn ? Tensor(logits + noise) : logits)));
    const Tensor g = backward(sum(p * tape.constant(slope), {-2, -1}))[l];
    CHECK(tape.counts.solver_calls == calls);
    CHECK(tape.counts.backwards == 3);
    return g;
  };
  const Tensor plain = (permutation(logits) - permutation(logits - 2 * slope)) / 2;
  CHECK(identical(gradient(blackbox(2), false, 3), plain));
  const Tensor noisy = (permutation(logits + noise) - permutation(logits + noise - 2 * slope)) / 2;
  CHECK(identical(gradient(blackbox(2), true, 3), noisy));
  CHECK(identical(gradient(i_mle(2), true, 3), noisy));
  CHECK(xt::sum(xt::abs(noisy))() > 1);
  // Each further draw is another pair of matchings, of rows that cancel.
  const Tensor many = gradient(i_mle(2, 5), true, 27);
  for (std::size_t r = 0; r < 12; ++r) {
    double row = 0;
    for (std::size_t j = 0; j < 5; ++j) row += many.data()[5 * r + j];
    CHECK(std::abs(row) < 1e-12);
  }
  gradient(perturbed(1, 7), false, 21);
  gradient(straight_through_identity(), false, 0);
}

TEST_CASE(
    "the Gumbel-matching draw of two items: frequencies, score function, perturbed matching") {
  const std::size_t b = 200000;
  Rng rng(12);
  const Tensor x{{0.4, -0.3}, {0.2, 0.5}};
  const Tensor many = broadcast_to(x, {b, 2, 2});
  const double probability = identity_probability(x(0, 0) + x(1, 1) - x(0, 1) - x(1, 0));
  const Tensor c{{1.0, -2.0}, {0.5, 3.0}};  // the identity costs 4, the swap -1.5
  const Tensor expected = exact_gradient(x, 5.5);
  const auto linear = [&](Var p) { return sum(p * p.tape->constant(c), {-2, -1}); };
  const auto opaque = [&](Var p) {
    return black_box(
        [&](const std::vector<Tensor>& v) {
          Tensor cost = uninitialised({b});
          for (std::size_t i = 0; i < b; ++i) cost.data()[i] = v[0].data()[4 * i] == 1 ? 4 : -1.5;
          return cost;
        },
        {p});
  };
  for (bool hidden : {false, true})
    for (const Rule& rule :
         {score_function(), score_function(running_mean()), score_function(leave_one_out())}) {
      CAPTURE(rule.name);
      Tape tape;
      const Var l = tape.parameter(many), p = sample_matching(l, rule, rng);
      double identities = 0;
      for (std::size_t i = 0; i < b; ++i) identities += p.value().data()[4 * i];
      const double count = static_cast<double>(b);
      CHECK(std::abs(identities / count - probability) <
            4 * std::sqrt(probability * (1 - probability) / count));
      const Var cost = hidden ? opaque(p) : linear(p);
      check_mean(backward(cost)[l], expected);
      CHECK(tape.counts.solver_calls == 0);
      CHECK(tape.counts.backwards == 0);
      // The recorded estimate is the same one.
      if (rule.name == "score-function" && !hidden)
        CHECK(farthest(differentiate(cost, l)[0].value(), backward(cost)[l]) < 1e-12);
    }
  // Of a linear cost f' is the same at both permutations.
  Tape tape;
  const Var l = tape.parameter(many);
  check_mean(backward(linear(matching(l, perturbed(1, 2))))[l], expected);
}

TEST_CASE("forbidden pairs are never matched, and no rule but the identity passes them anything") {
  Rng rng(13);
  const Tensor c = rng.normal({6, 6});
  Tensor x = rng.normal({50, 6, 6});
  for (std::size_t k = 0; k < 50; ++k)
    for (std::size_t i = 0; i < 6; ++i) x(k, i, (i + 1 + k % 3) % 6) = -kInf;
  const auto all_allowed = [&](const Tensor& p) {
    for (std::size_t i = 0; i < x.size(); ++i)
      if (p.data()[i] != 0 && x.data()[i] == -kInf) return false;
    return true;
  };
  for (const std::string& name : matching_rule_names()) {
    CAPTURE(name);
    Tape tape;
    const Var l = tape.parameter(x), p = sample_matching(l, matching_rule_named(name), rng);
    CHECK(all_allowed(p.value()));
    const Tensor g = backward(curved(p, c))[l];
    for (std::size_t i = 0; i < x.size(); ++i) REQUIRE(std::isfinite(g.data()[i]));
    CHECK((xt::sum(xt::abs(g))() > 0) == (name != "zero"));
    if (name != "straight-through-identity") CHECK(all_allowed(g));
  }
}

TEST_CASE("the stop report names the matching that cut") {
  Tape tape;
  const Var l = tape.parameter(Tensor{{1, 2}, {3, 5}}, "X");
  const std::string report = str(stop_report(sum(matching(l, zero())), l));
  CHECK(report.find("X: no gradient. It was cut at matching[zero]") == 0);
}

TEST_CASE("what matching refuses") {
  Tape tape;
  Rng rng(14);
  const Var square_ = tape.parameter(rng.normal({2, 3, 3})),
            wide = tape.parameter(rng.normal({2, 3}));
  refuses(
      [&] {
        matching(tape.constant(zeros({3, 2})), zero());
      },
      "matching[zero]: the logits are (3, 2); need (..., n, m) with 1 <= n <= m, a column for "
      "each row");
  refuses(
      [&] {
        matching(tape.constant(zeros({0, 0})), zero());
      },
      "matching[zero]: the logits are (0, 0); need (..., n, m) with 1 <= n <= m, a column for "
      "each row");
  refuses(
      [&] {
        matching(tape.constant(tensor({2, 2}, {1, kNan, 2, 3})), blackbox());
      },
      "matching[blackbox]: the logit in row 0, column 1 of matrix 0 is NaN; need numbers, or "
      "-inf for a forbidden pair");
  refuses(
      [&] {
        matching(tape.constant(tensor({2, 2}, {1, -kInf, 2, -kInf})), zero());
      },
      "matching[zero]: the pairs of matrix 0 that are not -inf leave no matching: rows 0, 1 "
      "have only one column between them; need one");
  refuses([&] { matching(square_, straight_through()); },
          "matching[straight-through]: the rule is for the choice of one category; need one for "
          "matchings, such as straight_through_sinkhorn()");
  refuses([&] { argmax(square_, gumbel_sinkhorn(1)); },
          "argmax[gumbel-sinkhorn]: the rule is for matchings; need one for the choice of one "
          "category");
  refuses([&] { matching(square_, score_function()); },
          "matching[score-function]: a matching that is not drawn has no distribution; use "
          "sample_matching()");
  refuses([&] { matching(square_, gumbel_sinkhorn(linear_decay(1, 0.1, 10))); },
          "matching[gumbel-sinkhorn]: the temperature is a schedule; say at which step, with "
          "rule.at(step)");
  matching(square_, gumbel_sinkhorn(linear_decay(1, 0.1, 10)).at(3));
  refuses([&] { matching(wide, gumbel_sinkhorn(1)); },
          "sinkhorn: logits are (2, 3); need (..., n, n) with n of at least 1");
  refuses([&] { gumbel_sinkhorn(0); }, "gumbel-sinkhorn: tau is 0; need 1e-20 to 1e+20");
  refuses([&] { matching(square_, gumbel_sinkhorn(1, std::size_t{0})); },
          "sinkhorn: 0 iterations; need 1 to 4294967296");
  refuses([&] { sample_matching(square_, zero(), wide); },
          "sample_matching: logits are (2, 3, 3), noise is (2, 3); need the same shape");
  refuses([&] { permute(square_, wide); },
          "permute: p is (2, 3, 3), the items are (2, 3); need (..., n, m) and (..., n, d)");
  refuses([&] { unpermute(wide, wide); },
          "unpermute: p is (2, 3), the items are (2, 3); need (..., n, m) and (..., m, d)");
  refuses([] { matching_rule_named("reinmax"); },
          "matching_rule_named: 'reinmax'; need one of zero, score-function, score-function+mean, "
          "score-function+leave-one-out, straight-through-identity, straight-through-sinkhorn, "
          "gumbel-sinkhorn, st-gumbel-sinkhorn, perturbed, blackbox, i-mle");
  for (double bad : {kNan, kInf})
    refuses(
        [&] {
          sample_matching(square_, zero(), tape.constant(full({2, 3, 3}, bad)));
        },
        std::string("sample_matching: noise has ") + (bad != bad ? "NaN" : "an infinity") +
            " in row 0; need numbers");
  // Pathwise rules need a path.
  const Var p = matching(square_, straight_through_sinkhorn());
  const Var cost = black_box([](const std::vector<Tensor>&) { return ones({2}); }, {p});
  CHECK_THROWS_AS(backward(cost), NoPath);
}

TEST_CASE("NeuralSort and SoftSort as they are defined, and what they tend to") {
  Rng rng(20);
  const std::size_t n = 6;
  const Tensor s = rng.normal({4, n});
  for (double tau : {1.0, 0.3, 1e-6}) {
    CAPTURE(tau);
    Tape tape;
    const Tensor neural = neural_sort(tape.constant(s), tau).value(),
                 soft = soft_sort(tape.constant(s), tau).value();
    for (std::size_t b = 0; b < 4; ++b) {
      const Scalar* row = s.data() + b * n;
      std::vector<double> sorted(row, row + n);
      std::sort(sorted.begin(), sorted.end());
      for (std::size_t j = 0; j < n; ++j) {
        std::vector<double> x(n), y(n);
        double most_x = -kInf, total_x = 0, total_y = 0;
        for (std::size_t i = 0; i < n; ++i) {
          // The paper's row for place r, counted from the largest, r = 1 ... n.
          const double r = static_cast<double>(n - j);
          x[i] = (static_cast<double>(n) + 1 - 2 * r) * row[i];
          for (std::size_t k = 0; k < n; ++k) x[i] -= std::abs(row[i] - row[k]);
          x[i] /= tau;
          most_x = std::max(most_x, x[i]);
          y[i] = std::exp(-std::abs(row[i] - sorted[j]) / tau);
          total_y += y[i];
        }
        for (double& v : x) total_x += v = std::exp(v - most_x);
        for (std::size_t i = 0; i < n; ++i) {
          const std::size_t k = (b * n + i) * n + j;
          REQUIRE(neural.data()[k] == doctest::Approx(x[i] / total_x).epsilon(1e-9));
          REQUIRE(soft.data()[k] == doctest::Approx(y[i] / total_y).epsilon(1e-9));
          if (tau < 1e-3) {
            REQUIRE(neural.data()[k] == doctest::Approx(row[i] == sorted[j]));
            REQUIRE(soft.data()[k] == doctest::Approx(row[i] == sorted[j]));
          }
        }
      }
    }
  }
  CHECK(check_gradient([](const std::vector<Var>& v) { return neural_sort(v[0], 0.7); }, {s}));
  // SoftSort has a kink where an item meets its own place, on the diagonal: |0|.
  CHECK(check_gradient(
      [](const std::vector<Var>& v) {
        const Var p = soft_sort(v[0], 0.7), own = equal(p, max(p, -2, keep_axes));
        return p / max(p, -2, keep_axes) * (1 - own);
      },
      {s}));
  Tape tape;
  refuses(
      [&] {
        neural_sort(tape.constant(zeros({2, 0})), 1);
      },
      "neural_sort: scores are (2, 0); need (..., n) with n of at least 1");
  refuses([&] { soft_sort(tape.constant(s), 0); }, "soft_sort: tau is 0; need 1e-20 to 1e+20");
  refuses(
      [&] {
        soft_sort(tape.constant(tensor({2, 2}, {1, 2, kNan, 3})), 1);
      },
      "soft_sort: scores have NaN in row 1; need numbers");
}

namespace {

// Whole numbers that stand exactly beside 1e16, where doubles are 2 apart.
Tensor even_numbers(Rng& rng, const Shape& shape) { return 2 * xt::floor(2 * rng.normal(shape)); }

struct Permuted {
  std::vector<std::size_t> rows, columns;
  Tensor operator()(const Tensor& x) const {
    Tensor y = x;
    const std::size_t n = rows.size(), m = columns.size();
    for (std::size_t b = 0; b < x.size() / (n * m); ++b)
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < m; ++j)
          y.data()[(b * n + i) * m + j] = x.data()[(b * n + rows[i]) * m + columns[j]];
    return y;
  }
};

Tensor matrix_of(const Tensor& x, std::size_t b) {
  const std::size_t n = x.shape()[1], m = x.shape()[2];
  Tensor y = uninitialised({1, n, m});
  std::copy_n(x.data() + b * n * m, n * m, y.data());
  return y;
}

}  // namespace

TEST_CASE("a common offset: what sorts softly does not see it, in value and gradient") {
  Rng rng(21);
  const Tensor s = even_numbers(rng, {3, 5}), g = rng.normal({3, 5, 5});
  for (bool neural : {false, true})
    for (double tau : {1.0, 7.0}) {
      const auto found = [&](double offset) {
        Tape tape;
        const Var v = tape.parameter(s + offset);
        const Var p = neural ? neural_sort(v, tau) : soft_sort(v, tau);
        return std::pair{p.value(), backward(p * tape.constant(g))[v]};
      };
      const auto expected = found(0);
      for (double offset : {1e16, -1e16, 4096.0}) {
        CAPTURE(neural);
        CAPTURE(offset);
        CHECK(farthest(found(offset).first, expected.first) < 1e-12);
        CHECK(farthest(found(offset).second, expected.second) < 1e-12);
      }
    }
}

TEST_CASE("order and batch: what sorts softly knows items by their scores alone") {
  Rng rng(22);
  const std::size_t n = 6;
  const Tensor s = rng.normal({4, n});
  const std::vector<std::size_t> order = {3, 0, 5, 1, 4, 2};
  for (bool neural : {false, true}) {
    const auto sorted = [&](const Tensor& x) {
      Tape tape;
      const Var v = tape.constant(x);
      return (neural ? neural_sort(v, 0.5) : soft_sort(v, 0.5)).value();
    };
    const Tensor p = sorted(s);
    Tensor permuted = s;
    for (std::size_t b = 0; b < 4; ++b) {
      Tensor row = uninitialised({n});
      for (std::size_t i = 0; i < n; ++i) {
        row(i) = s(b, i);
        permuted(b, i) = s(b, order[i]);
      }
      CHECK(farthest(sorted(row), reshaped(matrix_of(p, b), {n, n})) < 1e-14);
    }
    const Tensor q = sorted(permuted);
    for (std::size_t b = 0; b < 4; ++b)
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          CHECK(q(b, i, j) == doctest::Approx(p(b, order[i], j)).epsilon(1e-12));
  }
}

TEST_CASE("not finite: scores are refused, and the row is named") {
  Tape tape;
  for (double bad : {kNan, kInf, -kInf}) {
    const Var s = tape.constant(tensor({2, 3}, {1, 2, 3, 4, bad, 6}));
    const std::string message = std::string(": scores have ") +
                                (bad != bad ? "NaN" : "an infinity") + " in row 1; need numbers";
    refuses([&] { neural_sort(s, 1); }, "neural_sort" + message);
    refuses([&] { soft_sort(s, 1); }, "soft_sort" + message);
  }
  refuses(
      [&] {
        neural_sort(tape.constant(Tensor{1e300, 2e300, 3e300}), 1e-20);
      },
      "neural_sort: scores / tau leave the range of numbers, with tau 1e-20; need scores "
      "closer together, or a larger tau");
}

TEST_CASE("a common offset of a row: no matching sees it, drawn or not, and no rule for one") {
  Rng rng(23);
  const std::size_t n = 5;
  const Tensor x = even_numbers(rng, {20, n, n}), g = rng.normal({20, n, n}),
               noise = rng.gumbel({20, n, n});
  const std::vector<Rule> rules = {zero(),
                                   score_function(),
                                   blackbox(3),
                                   perturbed(2, 4),
                                   i_mle(3, 3),
                                   gumbel_sinkhorn(1),
                                   gumbel_sinkhorn(1, std::size_t{10}),
                                   straight_through_sinkhorn(1),
                                   st_gumbel_sinkhorn(1)};
  const auto found = [&](const Rule& rule, const Tensor& offset) {
    Tape tape;
    const Var l = tape.parameter(x + offset);
    const Var p = sample_matching(l, rule, tape.constant(noise));
    return std::pair{p.value(), backward(sum(p * tape.constant(g), {-2, -1}))[l]};
  };
  for (const Rule& rule : rules) {
    CAPTURE(rule.name);
    const auto expected = found(rule, zeros({1}));
    for (const Tensor& offset :
         {full({1}, 1e16), full({1}, -1e16), tensor({n, 1}, {1e16, 0, -1e16, 1e10, 1e15})}) {
      CHECK(farthest(found(rule, offset).first, expected.first) < 1e-9);
      CHECK(farthest(found(rule, offset).second, expected.second) < 1e-9);
    }
  }
  // The choice of one category is solved again by the same rules.
  const auto chosen = [&](double offset) {
    Tape tape;
    const Var l = tape.parameter(x + offset);
    return backward(argmax(l, blackbox(3)) * tape.constant(g))[l];
  };
  CHECK(xt::sum(xt::abs(chosen(0)))() > 0);
  CHECK(identical(chosen(1e16), chosen(0)));
}

TEST_CASE("order and batch: matchings are those of the permuted, and of each matrix alone") {
  Rng rng(24);
  const std::size_t n = 4, m = 6;
  const Tensor x = rng.normal({10, n, m}), noise = rng.gumbel({10, n, m}),
               g = rng.normal({10, n, m});
  const Permuted permuted{{2, 0, 3, 1}, {5, 2, 0, 1, 4, 3}};
  for (const Rule& rule : {zero(), score_function(), blackbox(2), i_mle(2)}) {
    CAPTURE(rule.name);
    const auto found = [&](const Tensor& x, const Tensor& noise, const Tensor& g) {
      Tape tape;
      const Var l = tape.parameter(x);
      const Var p = sample_matching(l, rule, tape.constant(noise));
      return std::pair{p.value(), backward(sum(p * tape.constant(g), {-2, -1}))[l]};
    };
    const auto all = found(x, noise, g), other = found(permuted(x), permuted(noise), permuted(g));
    CHECK(identical(other.first, permuted(all.first)));
    CHECK(farthest(other.second, permuted(all.second)) < 1e-12);
    for (std::size_t b = 0; b < 10; ++b) {
      const auto one = found(matrix_of(x, b), matrix_of(noise, b), matrix_of(g, b));
      CHECK(identical(one.first, matrix_of(all.first, b)));
      CHECK(identical(one.second, matrix_of(all.second, b)));
    }
  }
}

TEST_CASE("the range of numbers: a step that they cannot hold is refused") {
  for (double lambda : {0.0, -1.0, kInf, kNan, 1e-310, 1e308}) {
    const std::string message = "lambda is " + str(lambda) + "; need 2.22507e-308 to 4.49423e+307";
    refuses([&] { blackbox(lambda); }, "blackbox: " + message);
    refuses([&] { i_mle(lambda); }, "i_mle: " + message);
  }
  blackbox(3e-308);
  // Logits so far apart that their difference is infinite are still numbers, and all pairs allowed.
  Tape tape;
  const Var l = tape.parameter(tensor({2, 2}, {1.7e308, -1.7e308, 1.7e308, -1.7e308}));
  const Var p = sample_matching(l, blackbox(), tape.constant(tensor({2, 2}, {0, 0, 1, 0})));
  CHECK(backward(sum(p * tape.constant(Tensor{{1, 2}, {3, 4}})))[l].size() == 4);
}

TEST_CASE("the residual of any matrices") {
  for (double bad : {kNan, kInf, -kInf})
    for (std::size_t at : {std::size_t{0}, std::size_t{3}, std::size_t{7}}) {
      Tensor p = full({2, 2, 2}, 0.5);
      p.data()[at] = bad;
      CHECK_FALSE(std::isfinite(residual(p)));
    }
  CHECK(residual(Tensor{{{1, 0}, {0, 1}}}) == 0);
  CHECK(residual(Tensor{{{1, 0}, {0, 1}}, {{0.5, 0.25}, {0.5, 0.75}}}) == 0.25);
  CHECK(residual(Tensor{{0.5, 0.5}, {0.75, 0.25}}) == 0.25);
  refuses([] { residual(zeros({3})); }, "residual: matrices are (3,); need (..., n, m)");
}

TEST_CASE("matching: a number or a row is no matrix, behind a soft rule either") {
  Tape tape;
  for (const Shape& shape : {Shape{}, Shape{3}}) {
    const Var x = tape.parameter(zeros(shape));
    for (const std::string& name : matching_rule_names())
      CHECK_THROWS_AS(sample_matching(x, matching_rule_named(name), x), std::invalid_argument);
    CHECK_THROWS_WITH_AS(matching(x, gumbel_sinkhorn(1)),
                         doctest::Contains("a column for each row"), std::invalid_argument);
  }
}
