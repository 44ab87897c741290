// The float library: its kernels against double arithmetic, and its gradients.
#include <doctest/doctest.h>

#include <cmath>

#include "engine/gradcheck.hpp"
#include "models/argtape.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

static_assert(std::is_same_v<Scalar, float>);

namespace {
constexpr double kInf = std::numeric_limits<double>::infinity();

void check_against(const char* name, Var (*f)(Var), double (*expected)(double), double low,
                   double high) {
  for (std::size_t n : {std::size_t{1}, std::size_t{10}, std::size_t{16}, std::size_t{1000}}) {
    CAPTURE(name);
    CAPTURE(n);
    Tape tape;
    const Tensor x = Rng(n).uniform({n}, low, high), y = f(tape.constant(x)).value();
    for (std::size_t i = 0; i < n; ++i) {
      const double e = expected(static_cast<double>(x.data()[i]));
      CHECK(std::abs(static_cast<double>(y.data()[i]) - e) <= 1e-5 * std::abs(e) + 1e-37);
    }
  }
}
}  // namespace

TEST_CASE("functions are within 1e-5 of double arithmetic, over the whole range") {
  check_against(
      "exp", exp, [](double x) { return std::exp(x); }, -80, 80);
  check_against(
      "log", log, [](double x) { return std::log(x); }, 1e-30, 1e30);
  check_against(
      "tanh", tanh, [](double x) { return std::tanh(x); }, -20, 20);
  check_against(
      "sigmoid", sigmoid, [](double x) { return 1 / (1 + std::exp(-x)); }, -80, 80);
  check_against(
      "softplus", softplus, [](double x) { return std::log1p(std::exp(x)); }, -80, 80);
  check_against(
      "sqrt", sqrt, [](double x) { return std::sqrt(x); }, 0, 1e10);
}

TEST_CASE("softmax and log_softmax, also of extreme logits") {
  Rng rng(1);
  for (std::size_t k : {std::size_t{1}, std::size_t{2}, std::size_t{10}, std::size_t{16},
                        std::size_t{100}, std::size_t{1000}}) {
    CAPTURE(k);
    Tape tape;
    Tensor x = rng.uniform({3, k}, -5, 5);
    if (k > 2)
      x.data()[1] = 90, x.data()[k + 1] = -1e30f, x.data()[2 * k] = static_cast<Scalar>(-kInf);
    const Tensor p = softmax(tape.constant(x)).value(), l = log_softmax(tape.constant(x)).value();
    for (std::size_t r = 0; r < 3; ++r) {
      double largest = -kInf, total = 0;
      for (std::size_t i = 0; i < k; ++i) largest = std::max(largest, static_cast<double>(x(r, i)));
      for (std::size_t i = 0; i < k; ++i) total += std::exp(static_cast<double>(x(r, i)) - largest);
      for (std::size_t i = 0; i < k; ++i) {
        const double e = static_cast<double>(x(r, i)) - largest - std::log(total);
        CHECK(std::abs(static_cast<double>(p(r, i)) - std::exp(e)) <= 1e-5 * std::exp(e) + 1e-37);
        if (std::isfinite(e))
          CHECK(static_cast<double>(l(r, i)) == doctest::Approx(e).epsilon(1e-5));
      }
    }
  }
}

TEST_CASE("sums of millions keep their digits, along every axis") {
  Tape tape;
  const Var x = tape.constant(full({4000000, 2}, 0.1)), y = tape.constant(full({2, 4000000}, 0.1));
  for (const Var& m : {mean(x, {0}), mean(y, {1}), mean(x), mean(y)})
    for (Scalar v : m.value()) CHECK(static_cast<double>(v) == doctest::Approx(0.1).epsilon(1e-5));
}

TEST_CASE("gradients in float, to float's own precision") {
  const std::vector<std::pair<Function, std::vector<Shape>>> cases = {
      {[](const Vars& v) { return tanh(matmul(v[0], v[1]) + v[2]); }, {{3, 4}, {4, 5}, {5}}},
      {[](const Vars& v) {
         return cross_entropy(v[0], {1, 0});
       },
       {{2, 20}}},
      {[](const Vars& v) { return softmax(v[0]) * v[0]; }, {{2, 20}}},
      {[](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{2, 5}, {5}, {5}}},
      {[](const Vars& v) { return conv2d(v[0], v[1], 1, 1); }, {{2, 2, 4, 4}, {3, 2, 3, 3}}}};
  for (const auto& [f, shapes] : cases) {
    Rng rng(2);
    std::vector<Tensor> points;
    for (const Shape& s : shapes) points.push_back(rng.normal(s));
    const CheckResult result = check_gradient(f, points);
    INFO(result.report);
    CHECK(result.ok);
  }
}

TEST_CASE("hard choices are exactly one-hot in float, whatever the logits") {
  Rng rng(3);
  Tape tape;
  const Var l = tape.parameter(rng.normal({1000, 7}) * 30.0f);
  for (const char* name : {"zero", "straight-through", "st-gumbel-softmax", "reinmax"}) {
    const Tensor z = sample(l, rule_named(name), rng).value();
    for (std::size_t r = 0; r < 1000; ++r) {
      float total = 0;
      for (std::size_t k = 0; k < 7; ++k) {
        REQUIRE((z(r, k) == 0 || z(r, k) == 1));
        total += z(r, k);
      }
      REQUIRE(total == 1);
    }
  }
}
