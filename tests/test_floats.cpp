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

TEST_CASE("the vector functions, to a few units in the last place, and where there is no number") {
  struct Row {
    const char* name;
    Var (*f)(Var);
    Var (*fused)(Var);
    double (*expected)(double);
    double units;  // of the last place of the result, as measured with room to spare
    std::vector<double> points;
  };
  const double least = 1e-45, tiny = 1e-40, largest = 3.4e38;
  const std::vector<Row> rows = {
      {"exp",
       exp,
       [](Var x) { return elementwise([](auto v) { return exp(v); }, x); },
       [](double x) { return std::exp(x); },
       3,
       {0, -0.0, 1, -87.3, -90, -103, -104, -1e4, 88.7, 89, 1e4, tiny, kInf, -kInf}},
      {"log",
       log,
       [](Var x) { return elementwise([](auto v) { return log(v); }, x); },
       [](double x) { return std::log(x); },
       3,
       {1, 0.75, 0.7499, 1.5, 1.4999, 1.0000001, 0.9999999, least, tiny, 1e-38, largest, 0, -1,
        kInf}},
      {"tanh",
       tanh,
       [](Var x) { return elementwise([](auto v) { return tanh(v); }, x); },
       [](double x) { return std::tanh(x); },
       3,
       {0, 1e-30, 1e-4, 0.6249, 0.6251, -0.5, -3, 9, -9, 100, -1e30, kInf, -kInf}},
      {"sigmoid",
       sigmoid,
       [](Var x) { return elementwise([](auto v) { return sigmoid(v); }, x); },
       [](double x) { return 1 / (1 + std::exp(-x)); },
       4,
       {0, 1, -1, 20, -20, -87, 88, 200, kInf, -kInf}},
      {"softplus",
       softplus,
       [](Var x) { return elementwise([](auto v) { return softplus(v); }, x); },
       [](double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); },
       4,
       {0, 0.69, 0.7, -0.69, -0.7, 1, -1, 20, -20, -87, 1e30, -1e30, kInf, -kInf}}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const Row& row : rows) {
    std::vector<double> points = row.points;
    Rng rng(1);
    for (Scalar v : rng.uniform({4000}, -20, 20)) points.push_back(static_cast<double>(v));
    for (Scalar v : rng.uniform({4000}, -1, 1)) points.push_back(static_cast<double>(v) * 0.9);
    points.push_back(nan);
    Tape tape;
    const Var x = tape.constant(tensor({points.size()}, points));
    const std::vector<Tensor> both = {row.f(x).value(), row.fused(x).value()};
    for (const Tensor& y : both)
      for (std::size_t i = 0; i < points.size(); ++i) {
        const double e = row.expected(static_cast<double>(x.value().data()[i]));
        const float found = y.data()[i], expected = static_cast<float>(e);
        CAPTURE(row.name);
        CAPTURE(points[i]);
        if (std::isnan(expected) || std::isinf(expected)) {
          CHECK((std::isnan(expected) ? std::isnan(found) : found == expected));
          continue;
        }
        const float above = std::nextafter(std::abs(expected), std::numeric_limits<float>::max());
        const double unit = static_cast<double>(above) - std::abs(static_cast<double>(expected));
        CHECK(std::abs(static_cast<double>(found) - e) <= row.units * unit);
      }
  }
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

TEST_CASE("rows of a million keep their digits") {
  Tape tape;
  const std::size_t n = 1000000;
  Tensor x = Rng(4).uniform({n}, 0, 1);
  double total = 0, squares = 0, logs = 0;
  for (Scalar v : x) total += static_cast<double>(v), logs += std::exp(static_cast<double>(v));
  for (Scalar v : x) squares += std::pow(static_cast<double>(v) - total / 1e6, 2);
  const Var v = tape.parameter(x);
  CHECK(static_cast<double>(logsumexp(v).item()) == doctest::Approx(std::log(logs)).epsilon(1e-6));
  CHECK(static_cast<double>(variance(v).item()) == doctest::Approx(squares / 1e6).epsilon(1e-5));
  CHECK(static_cast<double>(variance(v + 100.0).item()) ==
        doctest::Approx(squares / 1e6).epsilon(1e-4));
  // Of two numbers the larger becomes 1, the smaller -1.
  double gained = 0;
  for (std::size_t i = 0; i < n; i += 2) gained += x.data()[i] > x.data()[i + 1] ? 0.1 : -0.1;
  const Var gain = tape.parameter(Tensor{1, 1}), bias = tape.parameter(Tensor{0, 0});
  const Gradients g =
      backward(layer_norm(tape.constant(reshaped(x, {n / 2, 2})), gain, bias, 1e-12) * 0.1);
  CHECK(static_cast<double>(g[bias].data()[0]) == doctest::Approx(5e4).epsilon(1e-5));
  CHECK(std::abs(static_cast<double>(g[gain].data()[0]) - gained) <= 0.5);
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
