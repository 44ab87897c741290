// The density of the Gumbel-softmax distribution: its formula, its integral, the samples it is the
// density of, and its derivatives.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/argtape.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

double log_density(const std::vector<double>& y, const std::vector<double>& l, double tau) {
  const double k = static_cast<double>(y.size());
  double product = std::tgamma(k) * std::pow(tau, k - 1), total = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    product *= std::exp(l[i]) / std::pow(y[i], tau + 1);
    total += std::exp(l[i]) / std::pow(y[i], tau);
  }
  return std::log(product * std::pow(total, -k));
}

// A lattice of log(y_i / y_K), of the given step: points (n, K) of the simplex and what each stands
// for in an integral over the first K-1 numbers of y, step^(K-1) prod_i y_i. Over such a lattice
// the sum of a smooth function that dies away at both ends is its integral to near rounding.
struct Lattice {
  Tensor y, log_y;
  std::vector<double> cell;
};

Lattice lattice(std::size_t k, double reach, double step) {
  const auto side = static_cast<std::size_t>(2 * reach / step) + 1;
  std::size_t n = 1;
  for (std::size_t i = 1; i < k; ++i) n *= side;
  Tensor at = zeros({n, k});
  for (std::size_t r = 0; r < n; ++r)
    for (std::size_t i = 0, digits = r; i + 1 < k; ++i, digits /= side)
      at(r, i) = -reach + step * static_cast<double>(digits % side);
  Tape tape;
  const Var log_y = log_softmax(tape.constant(at));
  Lattice all{exp(log_y).value(), log_y.value(), {}};
  for (std::size_t r = 0; r < n; ++r) {
    double product = std::pow(step, static_cast<double>(k - 1));
    for (std::size_t i = 0; i < k; ++i) product *= all.y(r, i);
    all.cell.push_back(product);
  }
  return all;
}

}  // namespace

TEST_CASE("the log density is its formula, in y and in log y, whatever is added to all logits") {
  Rng rng(1);
  for (std::size_t k : std::vector<std::size_t>{1, 2, 3, 7})
    for (double tau : {0.2, 1.0, 3.0}) {
      Tape tape;
      const Tensor l = rng.normal({k});
      const Var log_y = log_softmax(tape.constant(rng.normal({4, k}))), y = exp(log_y);
      const Var logits = tape.constant(l), p = gumbel_softmax_log_prob(y, logits, tau),
                e = exp_concrete_log_prob(log_y, logits, tau),
                shifted = gumbel_softmax_log_prob(y, logits + 5.0, tau);
      REQUIRE(p.shape() == Shape{4});
      for (std::size_t r = 0; r < 4; ++r) {
        std::vector<double> point(k), weights(l.begin(), l.end());
        double volume = 0;
        for (std::size_t i = 0; i < k; ++i) {
          point[i] = y.value()(r, i);
          volume += std::log(point[i]);
        }
        const double expected = log_density(point, weights, tau);
        CHECK(p.value()(r) == doctest::Approx(expected).epsilon(1e-11));
        CHECK(e.value()(r) == doctest::Approx(expected + volume).epsilon(1e-11));
        CHECK(shifted.value()(r) == doctest::Approx(expected).epsilon(1e-11));
      }
    }
}

TEST_CASE("the density integrates to 1, and over the points nearest a corner to its probability") {
  for (std::size_t k : std::vector<std::size_t>{2, 3})
    for (double tau : {0.3, 1.0, 2.0}) {
      CAPTURE(k);
      CAPTURE(tau);
      Tape tape;
      const Tensor l = k == 2 ? Tensor{0.4, -0.7} : Tensor{0.4, -0.7, 1.1};
      // The tails in the log-odds fall like e^(-tau |u|).
      const Lattice grid = lattice(k, 36 / tau, 0.2 / tau);
      const Var logits = tape.constant(l);
      const Tensor p = softmax(logits).value(),
                   log_volume =
                       exp_concrete_log_prob(tape.constant(grid.log_y), logits, tau).value();
      double total = 0, volume = 0;
      std::vector<double> nearest(k, 0.0);
      for (std::size_t r = 0; r < grid.cell.size(); ++r) {
        const Scalar* row = grid.log_y.data() + r * k;
        const double share =
            std::exp(log_volume.data()[r]) * std::pow(0.2 / tau, static_cast<double>(k - 1));
        volume += share;
        // The border runs through points of the lattice: each corner gets its part of them.
        const Scalar top = *std::max_element(row, row + k) - 1e-9;
        const auto ties = std::count_if(row, row + k, [=](Scalar x) { return x > top; });
        for (std::size_t i = 0; i < k; ++i)
          if (row[i] > top) nearest[i] += share / static_cast<double>(ties);
      }
      CHECK(volume == doctest::Approx(1).epsilon(1e-8));
      for (std::size_t i = 0; i < k; ++i) CHECK(std::abs(nearest[i] - p.data()[i]) < 2e-3);
      // The form for y, where y does not round to 0: the same integral.
      const Lattice middle = lattice(k, 16 / std::max(tau, 1.0), 0.2 / tau);
      const Tensor density = gumbel_softmax_log_prob(tape.constant(middle.y), logits, tau).value();
      for (std::size_t r = 0; r < middle.cell.size(); ++r)
        total += std::exp(density.data()[r]) * middle.cell[r];
      if (tau >= 1) CHECK(total == doctest::Approx(1).epsilon(1e-5));
    }
}

TEST_CASE("it is the density of what gumbel_softmax() sends forward") {
  // The mean of a test function under the density, by the lattice, against 200,000 samples.
  const std::size_t n = 200000;
  for (std::size_t k : std::vector<std::size_t>{2, 3})
    for (double tau : {0.5, 1.5}) {
      CAPTURE(k);
      CAPTURE(tau);
      const Tensor l = k == 2 ? Tensor{0.9, -0.3} : Tensor{0.9, -0.3, 0.2};
      Tape tape;
      Rng rng(7);
      const Tensor drawn =
          sample(tape.constant(broadcast_to(l, Shape{n, k})), gumbel_softmax(tau), rng).value();
      const Lattice grid = lattice(k, 36 / tau, 0.2 / tau);
      const Tensor log_p =
          exp_concrete_log_prob(tape.constant(grid.log_y), tape.constant(l), tau).value();
      for (std::size_t i = 0; i < k; ++i)
        for (double power : {1.0, 2.0}) {
          double expected = 0, mean = 0, squares = 0;
          for (std::size_t r = 0; r < grid.cell.size(); ++r)
            expected += std::exp(log_p.data()[r]) * std::pow(grid.y(r, i), power) *
                        std::pow(0.2 / tau, static_cast<double>(k - 1));
          for (std::size_t r = 0; r < n; ++r) {
            const double x = std::pow(drawn(r, i), power);
            mean += x / n;
            squares += x * x / n;
          }
          CHECK(std::abs(mean - expected) < 4 * std::sqrt((squares - mean * mean) / n));
        }
    }
}

TEST_CASE("the log density's derivatives: logits, tau, and the point") {
  for (std::size_t k : std::vector<std::size_t>{1, 2, 5}) {
    const Tensor free = Rng(3).normal({3, k}), l = Rng(4).normal({3, k});
    for (double tau : {0.4, 1.0, 2.5}) {
      CAPTURE(k);
      CAPTURE(tau);
      Tape tape;
      // Far enough from the edge for finite differences.
      const Tensor y = softmax(tape.constant(free) * 0.2).value();
      CHECK(check_gradient(
          [](const std::vector<Var>& v) { return gumbel_softmax_log_prob(v[0], v[1], v[2]); },
          {y, l, full({}, tau)}));
      CHECK(check_gradient(
          [](const std::vector<Var>& v) {
            return exp_concrete_log_prob(log_softmax(v[0]), v[1], v[2]);
          },
          {free, l, full({}, tau)}));
      // Logits that many points share.
      CHECK(check_gradient(
          [](const std::vector<Var>& v) {
            return exp_concrete_log_prob(log_softmax(v[0]), v[1], v[2]);
          },
          {free, Rng(5).normal({k}), full({}, tau)}));
    }
  }
}

TEST_CASE("where y would round to 0, log y does not") {
  Tape tape;
  Rng rng(2);
  const double tau = 0.01;
  const Var l = tape.constant(Tensor{1.0, -2.0, 0.5});
  const Var cold = (l + tape.constant(rng.gumbel({2000, 3}))) / tau;
  const Tensor log_p = exp_concrete_log_prob(log_softmax(cold), l, tau).value();
  for (double x : log_p) CHECK(std::isfinite(x));
  CHECK_THROWS_WITH_AS(gumbel_softmax_log_prob(softmax(cold), l, tau),
                       doctest::Contains("need more than 0, or log y and exp_concrete_log_prob()"),
                       std::invalid_argument);
}

TEST_CASE("wrong points, logits and temperatures are refused in words") {
  Tape tape;
  const Var y = tape.constant(Tensor{0.25, 0.75}), l = tape.constant(Tensor{0, 1});
  refuses([&] { gumbel_softmax_log_prob(y, l, 0.0); },
          "gumbel_softmax_log_prob: tau is 0; need a finite number above 0");
  refuses([&] { exp_concrete_log_prob(log(y), l, -1.0); },
          "exp_concrete_log_prob: tau is -1; need a finite number above 0");
  refuses([&] { exp_concrete_log_prob(log(y), l, std::numeric_limits<double>::infinity()); },
          "exp_concrete_log_prob: tau is inf; need a finite number above 0");
  refuses([&] { gumbel_softmax_log_prob(tape.constant(1.0), l, 1.0); },
          "gumbel_softmax_log_prob: the points are (), the logits (2,); need (..., K) for both");
  refuses([&] { gumbel_softmax_log_prob(y, tape.constant(1.0), 1.0); },
          "gumbel_softmax_log_prob: the points are (2,), the logits (); need (..., K) for both");
  refuses([&] { gumbel_softmax_log_prob(y, l, l); },
          "gumbel_softmax_log_prob: tau is (2,); need one number");
  refuses(
      [&] {
        gumbel_softmax_log_prob(tape.constant(Tensor{0, 1}), l, 1.0);
      },
      "gumbel_softmax_log_prob: y has 0 in row 0; need more than 0, or log y and "
      "exp_concrete_log_prob()");
  refuses(
      [&] {
        gumbel_softmax_log_prob(tape.constant(Tensor{0.5, 0.75}), l, 1.0);
      },
      "gumbel_softmax_log_prob: y sums to 1.25 in row 0; need 1");
  refuses([&] { exp_concrete_log_prob(y, l, 1.0); },
          "exp_concrete_log_prob: e^(log y) sums to 3.40103 in row 0; need 1");
  const Scalar lowest = -std::numeric_limits<Scalar>::infinity();
  refuses(
      [&] {
        exp_concrete_log_prob(tape.constant(Tensor{0, lowest}), l, 1.0);
      },
      "exp_concrete_log_prob: log y has -inf in row 0; need finite numbers");
  refuses(
      [&] {
        gumbel_softmax_log_prob(y, tape.constant(Tensor{0, lowest}), 1.0);
      },
      "gumbel_softmax_log_prob: the logits have -inf; need finite numbers");
  refuses(
      [&] {
        gumbel_softmax_log_prob(y, tape.constant(zeros({2, 1})), 1.0);
      },
      "gumbel_softmax_log_prob: the points are (2,), the logits (2, 1); need (..., K) for both");
}
