// The float library: its kernels against double arithmetic, and its gradients.
#include <doctest/doctest.h>

#include <cmath>
#include <thread>

#include "engine/gradcheck.hpp"
#include "models/argtape.hpp"
#include "tests/decisions.hpp"
#include "tests/distance.hpp"

// OpenBLAS's own.
extern "C" void openblas_set_num_threads(int);
extern "C" int openblas_get_num_threads();

using namespace argtape;
using Vars = std::vector<Var>;

static_assert(std::is_same_v<Scalar, float>);

namespace {
constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kEpsilon = std::numeric_limits<float>::epsilon();

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

TEST_CASE("cross-entropy of a label that could hardly be less likely") {
  for (double unlikely : {-1e3, -1e4, -1e8, -kInf}) {
    CAPTURE(unlikely);
    Tape tape;
    const Var x = tape.parameter(tensor({1, 3}, {0, 0, unlikely}));
    const Tensor g = backward(cross_entropy(x, std::vector<std::size_t>{2}))[x];
    CHECK(g(0, 0) == doctest::Approx(0.5).epsilon(1e-6));
    CHECK(g(0, 1) == doctest::Approx(0.5).epsilon(1e-6));
    CHECK(g(0, 2) == doctest::Approx(-1).epsilon(1e-6));
  }
}

TEST_CASE("a softmax of millions sums to one, and its derivatives to zero") {
  const std::size_t n = 1 << 24;
  Tape tape;
  const Var x = tape.parameter(zeros({1, n}));
  const Var p = softmax(x), l = log_softmax(x);
  double total = 0, slope = 0;
  for (Scalar v : p.value()) total += static_cast<double>(v);
  CHECK(total == doctest::Approx(1).epsilon(1e-6));
  const Gradients g = backward(l);
  for (Scalar v : g[x]) slope += static_cast<double>(v);
  CHECK(std::abs(slope) < 1e-5 * static_cast<double>(n));
}

TEST_CASE("sums of millions keep their digits, along every axis") {
  Tape tape;
  const Var x = tape.constant(full({4000000, 2}, 0.1)), y = tape.constant(full({2, 4000000}, 0.1));
  for (Var m : std::vector<Var>{mean(x, 0), mean(y, 1), mean(x), mean(y)})
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

TEST_CASE("a common offset costs no digits, at either order") {
  // Multiples of 1/64 and means of powers of two of them: the offset itself rounds nothing.
  const auto points = [](std::uint64_t seed, const Shape& shape, float offset) {
    Tensor x = Rng(seed).uniform(shape, -128, 128);
    for (Scalar& v : x) v = std::round(v) / 64 + offset;
    return x;
  };
  struct Row {
    std::string name;
    std::function<Var(Var, Var)> f;  // of two matrices, both moved
    double error = 2e-6;
  };
  const double rounded = 4096 * kEpsilon;  // of a logsumexp
  const std::vector<Row> rows = {
      {"variance", [](Var x, Var) { return variance(x, {1}); }},
      {"variance of columns", [](Var x, Var) { return variance(x, {0}); }},
      {"layer_norm",
       [](Var x, Var) {
         const Var gain = x.tape->constant(Rng(3).normal({16})), bias = x.tape->constant(0.5);
         return layer_norm(x, gain, broadcast(bias, {16}));
       }},
      {"squared_distances", [](Var x, Var c) { return squared_distances(x, c); }},
      {"logsumexp", [](Var x, Var) { return logsumexp(x, {1}) - mean(x, {1}); }, rounded},
      {"cross_entropy",
       [](Var x, Var) {
         return cross_entropy(x, {1, 0, 3, 2, 15, 7, 7, 9});
       },
       rounded},
      {"kl_categorical_uniform", [](Var x, Var) { return kl_categorical_uniform(x); }, rounded}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    std::vector<Tensor> found[2];
    for (bool far : {false, true}) {
      Tape tape;
      const float offset = far ? 4096.0f : 0.0f;
      const Var x = tape.parameter(points(1, {8, 16}, offset)),
                c = tape.parameter(points(2, {4, 16}, offset)), y = row.f(x, c);
      const Var g = tape.constant(Rng(4).normal(y.shape()));
      const std::vector<Var> slopes = differentiate(y, {x, c}, g);
      const Gradients again = backward({square(slopes[0]), square(slopes[1])});
      found[far] = {slopes[0].value(), slopes[1].value(), again[x], again[c]};
    }
    for (std::size_t i = 0; i < 4; ++i) {
      double size = 0, worst = 0;
      for (std::size_t k = 0; k < found[0][i].size(); ++k) {
        const auto near = static_cast<double>(found[0][i].data()[k]);
        size = worse(size, std::abs(near));
        worst = worse(worst, std::abs(static_cast<double>(found[1][i].data()[k]) - near));
      }
      CAPTURE(i);
      CHECK(worst <= row.error * size);
    }
  }
}

TEST_CASE("a common offset: the gradient of logsumexp is the softmax, wherever the logits are") {
  const double total = 1 + std::exp(-1.0) + std::exp(-2.0);
  for (double offset : {0.0, 1e3, 1e7, -1e7, -16777216.0 + 2}) {
    CAPTURE(offset);
    Tape tape;
    const Var x = tape.parameter(Tensor{static_cast<float>(offset), static_cast<float>(offset - 1),
                                        static_cast<float>(offset - 2)});
    const Var slope = differentiate(logsumexp(x), x)[0];
    const Tensor second = backward(slope, {}, tape.constant(Tensor{1, 0, 0}))[x];
    for (std::size_t k = 0; k < 3; ++k) {
      const double p = std::exp(-static_cast<double>(k)) / total;
      CHECK(static_cast<double>(slope.value()(k)) == doctest::Approx(p).epsilon(1e-6));
      CHECK(static_cast<double>(second(k)) ==
            doctest::Approx((k == 0 ? p : 0) - p / total).epsilon(1e-6));
    }
  }
  Tape tape;
  const Var x = tape.parameter(full({2, 3}, -1e30));
  const Gradients g = backward(logsumexp(x, 1));
  for (Scalar v : g[x]) CHECK(static_cast<double>(v) == doctest::Approx(1.0 / 3));
}

TEST_CASE("the range of float: squares that overflow or vanish") {
  Tape tape;
  const auto close = [](const Tensor& found, const std::vector<double>& expected) {
    REQUIRE(found.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(static_cast<double>(found.data()[i]) == doctest::Approx(expected[i]).epsilon(1e-5));
  };
  const Var one = tape.parameter(Tensor{1, 1}), none = tape.parameter(Tensor{0, 0});
  for (float size : {1e3f, 1e18f, 1e19f, 1e20f, 1e30f, 3e38f}) {
    CAPTURE(size);
    // A row of ordinary numbers beside it keeps its own scale.
    const Var x = tape.parameter(Tensor{{-size, size}, {1, 3}}), y = layer_norm(x, one, none);
    const double near = 1 / std::sqrt(1 + 1e-5);
    close(y.value(), {-1, 1, -near, near});
    const Gradients g = backward(y, {}, tape.constant(Tensor{{1, 0}, {1, 0}}));
    close(g[one], {-1 - near, 0});
    CHECK(std::abs(g[x](0, 0) * size) <= 1e-4f);  // the derivative of a sign
    CHECK(static_cast<double>(g[x](1, 0)) == doctest::Approx(0.5e-5).epsilon(0.05));
    close(norm(tape.constant(Tensor{0.6f * size, -0.8f * size})).value(),
          {static_cast<double>(size)});
    const Var v = tape.parameter(Tensor{0.6f * size, -0.8f * size});
    close(backward(norm(v))[v], {0.6, -0.8});
  }
  close(layer_norm(tape.constant(Tensor{2e38f, -1e38f, -1e38f}), tape.constant(1.0),
                   tape.constant(0.0))
            .value(),
        {std::sqrt(2.0), -std::sqrt(0.5), -std::sqrt(0.5)});
  close(layer_norm(tape.constant(Tensor{3e38f, 3e38f}), one, none).value(), {0, 0});
  close(variance(tape.constant(Tensor{-1e19f, 1e19f, -1e19f, 1e19f})).value(), {1e38});
  const Var level = tape.parameter(Tensor{3e38f, 3e38f});
  close(variance(level).value(), {0});
  close(backward(variance(level))[level], {0, 0});
  for (float size : {1e-15f, 1e-25f, 1e-30f, 1e-38f}) {
    const Var v = tape.parameter(Tensor{3 * size, -4 * size});
    close(norm(v).value(), {5 * static_cast<double>(size)});
    close(backward(norm(v))[v], {0.6, -0.8});
  }
  for (double epsilon : {1e-60, 1e39, static_cast<double>(NAN)})
    CHECK_THROWS_AS(layer_norm(level, one, none, epsilon), std::invalid_argument);
}

TEST_CASE("a common offset: log-probabilities and what is made of them") {
  const Tensor targets = tensor({1, 3}, {0.2, 0.5, 0.3}), cost = tensor({3}, {1, 2, 3}),
               noise = Rng(7).gumbel({1, 3});
  const auto f = [&](Var z) { return sum(z * z.tape->constant(cost), -1); };
  const std::vector<std::pair<const char*, std::function<Var(Var)>>> all = {
      {"log_softmax", [](Var l) { return log_softmax(l); }},
      {"cross_entropy", [](Var l) { return cross_entropy(l, {0}); }},
      {"cross_entropy soft", [&](Var l) { return cross_entropy(l, l.tape->constant(targets)); }},
      {"kl_categorical", [&](Var l) { return kl_categorical(l, l.tape->constant(targets)); }},
      {"kl_categorical of the second",
       [&](Var l) { return kl_categorical(l.tape->constant(targets), l); }},
      {"kl_categorical_uniform", [](Var l) { return kl_categorical_uniform(l); }},
      {"expectation", [&](Var l) { return expectation(l, f); }},
      {"conditional_gumbels",
       [&](Var l) {
         return conditional_gumbels(l, l.tape->constant(tensor({1, 3}, {0, 1, 0})),
                                    l.tape->constant(noise));
       }},
      {"gumbel_softmax_log_prob",
       [&](Var l) { return gumbel_softmax_log_prob(l.tape->constant(targets), l, 0.7); }},
      {"exp_concrete_log_prob",
       [&](Var l) { return exp_concrete_log_prob(log(l.tape->constant(targets)), l, 0.7); }},
      {"gumbel_softmax",
       [&](Var l) { return sample(l, gumbel_softmax(1), l.tape->constant(noise)); }}};
  for (const auto& row : all) {
    const auto& op = row.second;
    CAPTURE(std::string(row.first));
    Tensor value, slope;
    for (double offset : {0.0, 100.0, 4096.0, 1e6, 1e7, -1e7}) {
      CAPTURE(offset);
      Tape tape;
      const Var l = tape.parameter(tensor({1, 3}, {offset, offset - 1, offset - 2})), y = op(l);
      const Tensor w = Rng(8).normal(y.shape());
      const Tensor g = backward(y, {}, tape.constant(w))[l],
                   again = differentiate(y, {l}, tape.constant(w))[0].value();
      CHECK(g == again);
      if (offset == 0) value = y.value(), slope = g;
      for (std::size_t i = 0; i < value.size(); ++i)
        CHECK(std::abs(y.value().data()[i] - value.data()[i]) <= 2e-6f);
      for (std::size_t i = 0; i < slope.size(); ++i)
        CHECK(std::abs(g.data()[i] - slope.data()[i]) <= 2e-6f);
    }
  }
  Tape tape;
  const Var far = tape.constant(tensor({1, 3}, {1e7, 1e7 - 1, 1e7 - 2}));
  CHECK(log_softmax(far).value()(0, 0) == doctest::Approx(-0.407606).epsilon(1e-6));
  CHECK(cross_entropy(far, {0}).item() == doctest::Approx(0.407606).epsilon(1e-6));
  CHECK(expectation(far, f).value()(0) == doctest::Approx(1.42479).epsilon(1e-5));
}

TEST_CASE("a common offset: every rule's choice and gradient of the same draw") {
  for (const std::string& name : rule_names()) {
    if (name == "perturbed" || name == "blackbox" || name == "i-mle") continue;  // other rows
    CAPTURE(name);
    for (std::size_t k : {std::size_t{4}, std::size_t{40}, std::size_t{600}}) {
      Tensor values[2], slopes[2];
      for (int far : {0, 1}) {
        Tape tape;
        // Eighths, so that the offset rounds nothing.
        Tensor x = Rng(k).uniform({20, k}, -16, 16);
        for (Scalar& v : x) v = std::round(v) / 8 + (far ? 1e6f : 0);
        const Var l = tape.parameter(x), c = tape.constant(Rng(5).normal({k}));
        const Var z = sample(l, rule_named(name), tape.constant(Rng(6).gumbel({20, k})));
        values[far] = z.value();
        slopes[far] = backward(square(sum(z * c, -1)))[l];
      }
      for (std::size_t i = 0; i < values[0].size(); ++i) {
        CHECK(std::abs(values[0].data()[i] - values[1].data()[i]) <= 1e-5f);
        CHECK(std::abs(slopes[0].data()[i] - slopes[1].data()[i]) <= 1e-4f);
      }
    }
  }
}

TEST_CASE("a common offset: categorical draws") {
  const auto drawn = [](double offset) { return Rng(1).categorical(full({10000, 2}, offset)); };
  CHECK(drawn(1e8) == drawn(0));
  CHECK(drawn(-1e30) == drawn(0));
}

TEST_CASE("a common offset: rules with temperatures and steps of any size, at both orders") {
  const Rule rules[] = {straight_through(3),
                        annealed_straight_through(3),
                        gapped_straight_through(3, 10),
                        reinmax(3),
                        st_gumbel_softmax(3),
                        gumbel_softmax(3),
                        gumbel_rao(3, 4),
                        darn(),
                        zgr(),
                        mve(),
                        perturbed(3),
                        blackbox(3),
                        i_mle(3, 2)};
  for (const Rule& rule : rules) {
    CAPTURE(rule.name);
    Tensor slopes[2], seconds[2];
    for (int far : {0, 1}) {
      Tape tape;
      // Multiples of 8, as far apart as floats are at the offset.
      Tensor x = Rng(1).uniform({20, 4}, -2, 2);
      for (Scalar& v : x) v = std::round(v) * 8 + (far ? 8e7f : 0);
      const Var l = tape.parameter(x), c = tape.constant(Rng(2).normal({4})),
                z = sample(l, rule, tape.constant(8.0f * Rng(3).gumbel({20, 4}))),
                slope = differentiate(square(sum(z * c, -1)), l)[0];
      slopes[far] = slope.value();
      // What a solver finds is flat: these two have no second order.
      const bool flat = rule.name == "blackbox" || rule.name == "i-mle";
      seconds[far] = flat ? zeros({20, 4}) : backward(square(slope))[l];
    }
    for (const Tensor* pair : {slopes, seconds})
      for (std::size_t i = 0; i < 80; ++i)
        CHECK(pair[1].data()[i] ==
              doctest::Approx(static_cast<double>(pair[0].data()[i])).epsilon(1e-5));
  }
}

TEST_CASE("temperatures that float cannot hold are refused, and logits that it can are taken") {
  Tape small;
  const Var pair = small.constant(Tensor{0, 1});
  for (double t : {0.0, -1.0, 1e-46, 1e39, kInf, std::nan("")})
    CHECK_THROWS_WITH_AS(relaxed_jacobian(pair, pair, t), doctest::Contains("need 1e-20 to 1e+20"),
                         std::invalid_argument);
  for (double t : {1e39, 1e25})
    CHECK_THROWS_WITH_AS(straight_through(t), doctest::Contains("need 1e-20 to 1e+20"),
                         std::invalid_argument);
  for (const std::string& name : rule_names())
    for (double tau : {1e-20, 1e-10, 1e20}) {
      if (name == "reinmax" && tau < 1) continue;
      if (name == "perturbed" || name == "blackbox" || name == "i-mle") continue;
      CAPTURE(name);
      CAPTURE(tau);
      Tape tape;
      Rng rng(1);
      const Var l = tape.parameter(tensor({2, 3}, {1e30, 0, 3, -1e30, 1e30, 1e30})),
                z = sample(l, rule_named(name, tau), rng);
      const Tensor g = backward(sum(z * tape.constant(tensor({3}, {1, 2, 3})), -1))[l];
      for (Scalar x : g) CHECK(std::isfinite(x));
    }
}

TEST_CASE("subsets in float: a common offset, temperatures of any size, and log-probabilities") {
  for (const std::string& name : top_k_rule_names()) {
    if (name == "perturbed") continue;  // other rows, and so other noise
    CAPTURE(name);
    Tensor values[2], slopes[2];
    for (int far : {0, 1}) {
      Tape tape;
      Tensor x = Rng(3).uniform({20, 9}, -16, 16);
      for (Scalar& v : x) v = std::round(v) / 8 + (far ? 1e6f : 0);
      const Var l = tape.parameter(x), c = tape.constant(Rng(5).normal({9})),
                z = sample_top_k(l, 3, top_k_rule_named(name),
                                 tape.constant(Rng(6).gumbel({20, 9})));
      values[far] = z.value();
      slopes[far] = backward(square(sum(z * c, -1)))[l];
    }
    CHECK(farthest(values[0], values[1]) <= 1e-5);
    CHECK(farthest(slopes[0], slopes[1]) <= 1e-4);
    for (double tau : {1e-20, 1e-10, 1e-3, 1e20}) {
      if (name == "perturbed" || name == "blackbox" || name == "i-mle") continue;
      CAPTURE(tau);
      Tape tape;
      Rng rng(1);
      const Var l = tape.parameter(
                    tensor({3, 4}, {1e30, 0, 3, -1e30, 1e30, 2e30, -1e30, 1, 5, 3, 4, 2})),
                z = sample_top_k(l, 2, top_k_rule_named(name, tau), rng);
      const Tensor g = backward(sum(z * tape.constant(tensor({4}, {1, 2, 3, 4})), -1))[l];
      for (Scalar x : g) CHECK(std::isfinite(x));
    }
  }
  // 1e-6 of the sum: 56 sets of 3 out of 8.
  Tape tape;
  const Var one = expectation(tape.constant(3.0f * Rng(2).normal({1, 8})), 3,
                              [](Var z) { return 0 * sum(z, -1) + 1; });
  CHECK(one.item() == doctest::Approx(1).epsilon(1e-6));
}

TEST_CASE("gradients in float, to float's own precision") {
  const std::vector<std::pair<Function, std::vector<Shape>>> cases = {
      {[](const Vars& v) { return tanh(matmul(v[0], v[1]) + v[2]); }, {{3, 4}, {4, 5}, {5}}},
      {[](const Vars& v) {
         return cross_entropy(v[0], {1, 0});
       },
       {{2, 20}}},
      {[](const Vars& v) { return softmax(v[0]) * v[0]; }, {{2, 20}}},
      {[](const Vars& v) { return sinkhorn(v[0], 0.8, 4).matrices * v[0]; }, {{2, 5, 5}}},
      {[](const Vars& v) { return sinkhorn(v[0], 1, Converge{4e-6}).matrices * v[0]; },
       {{2, 5, 5}}},
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

namespace {

// Sinkhorn's iterations by definition, in double: the matrix, and the gradient for the logits.
struct Exact {
  std::vector<double> p, gradient;
  Exact(const Scalar* x, const Scalar* g, std::size_t n, double tau, std::size_t iterations) {
    std::vector<double> y(x, x + n * n);
    for (double& v : y) v /= tau;
    std::vector<std::vector<double>> stages;
    for (std::size_t k = 0; k < 2 * iterations; ++k) {
      const std::size_t along = k % 2 == 0 ? 1 : n, across = k % 2 == 0 ? n : 1;
      for (std::size_t i = 0; i < n; ++i) {
        double largest = -kInf, total = 0;
        for (std::size_t j = 0; j < n; ++j) largest = std::max(largest, y[i * across + j * along]);
        for (std::size_t j = 0; j < n; ++j) total += std::exp(y[i * across + j * along] - largest);
        for (std::size_t j = 0; j < n; ++j) y[i * across + j * along] -= largest + std::log(total);
      }
      stages.push_back(y);
    }
    for (std::size_t k = 0; k < n * n; ++k) {
      p.push_back(std::exp(y[k]));
      gradient.push_back(p[k] * static_cast<double>(g[k]));
    }
    for (std::size_t k = 2 * iterations; k-- > 0;) {
      const std::size_t along = k % 2 == 0 ? 1 : n, across = k % 2 == 0 ? n : 1;
      for (std::size_t i = 0; i < n; ++i) {
        double total = 0;
        for (std::size_t j = 0; j < n; ++j) total += gradient[i * across + j * along];
        for (std::size_t j = 0; j < n; ++j)
          gradient[i * across + j * along] -= std::exp(stages[k][i * across + j * along]) * total;
      }
    }
    for (double& v : gradient) v /= tau;
  }
};

}  // namespace

TEST_CASE("sinkhorn is within 1e-5 of double arithmetic, at any tau and of extreme logits") {
  Rng rng(4);
  for (double tau : {1.0, 0.3, 0.1, 0.03, 0.01, 0.001})
    for (std::size_t n : {std::size_t{3}, std::size_t{16}, std::size_t{50}, std::size_t{120}})
      for (std::size_t iterations : {std::size_t{1}, std::size_t{20}, std::size_t{100}})
        for (double scale : {1.0, 1e4}) {
          if (n == 120 && iterations == 100) continue;
          CAPTURE(tau);
          CAPTURE(n);
          CAPTURE(iterations);
          CAPTURE(scale);
          Tensor x = rng.normal({n, n}) + rng.gumbel({n, n}), g = rng.normal({n, n});
          x *= static_cast<Scalar>(scale);
          if (n > 3) x(0, 1) = x(2, 2) = x(2, 3) = static_cast<Scalar>(-kInf);
          Tape tape;
          const Var l = tape.parameter(x);
          const Var y = sinkhorn(l, tau, iterations);
          const Tensor found = backward({y}, {}, {tape.constant(g)})[l];
          const Exact exact(x.data(), g.data(), n, tau, iterations);
          double size = 0, rounding = 0;
          for (double e : exact.gradient) size = std::max(size, std::abs(e));
          for (Scalar v : g)
            rounding = std::max(rounding, 2 * std::abs(static_cast<double>(v)) * kEpsilon / tau);
          for (std::size_t k = 0; k < n * n; ++k) {
            const double e = exact.p[k], d = exact.gradient[k];
            CHECK(std::abs(static_cast<double>(y.value().data()[k]) - e) <= 1e-5 * e + 1e-25);
            // A matrix that is all but decided has next to no gradient, and cancels g / tau for it.
            CHECK(std::abs(static_cast<double>(found.data()[k]) - d) <= 1e-5 * size + rounding);
          }
        }
}

TEST_CASE("sinkhorn reaches a tolerance in float, and its limit's gradient") {
  Rng rng(5);
  for (double tau : {1.0, 0.3, 0.1, 0.03, 0.01})
    for (std::size_t n : {std::size_t{2}, std::size_t{20}, std::size_t{120}})
      for (double tolerance : {1e-3, 4e-6}) {
        CAPTURE(tau);
        CAPTURE(n);
        CAPTURE(tolerance);
        const Tensor x = rng.normal({3, n, n}) + rng.gumbel({3, n, n}), g = rng.normal({3, n, n});
        Tape tape;
        const Sinkhorn s = sinkhorn(tape.constant(x), tau, Converge{tolerance});
        CHECK(s.residual <= tolerance);
        CHECK(s.warning().empty());
      }
  const Tensor x = rng.normal({30, 30}), g = rng.normal({30, 30});
  Tape tape;
  const Var l = tape.parameter(x);
  const Tensor found = backward({sinkhorn(l, 0.7, Converge{4e-6})}, {}, {tape.constant(g)})[l];
  const Exact exact(x.data(), g.data(), 30, 0.7, 300);
  for (std::size_t k = 0; k < 900; ++k)
    CHECK(std::abs(static_cast<double>(found.data()[k]) - exact.gradient[k]) <= 4e-6);
}

TEST_CASE("a common offset of 1e7, where floats are 1 apart: sorts, matchings and Sinkhorn") {
  Tape tape;
  const Tensor scores{1, 3, 0, 2};
  for (float offset : {0.0f, 1e7f, -1e7f}) {
    CHECK(neural_sort(tape.constant(scores + offset), 1).value()(0, 0) ==
          doctest::Approx(0.26539).epsilon(1e-4));
    CHECK(soft_sort(tape.constant(scores + offset), 1).value()(0, 0) ==
          doctest::Approx(0.23688).epsilon(1e-4));
  }
  Rng rng(6);
  const Tensor x = xt::floor(3.0f * rng.normal({20, 5, 5})), g = rng.normal({20, 5, 5}),
               noise = rng.gumbel({20, 5, 5});
  for (const Rule& rule : {blackbox(3), perturbed(1), i_mle(3, 2), gumbel_sinkhorn(1),
                           st_gumbel_sinkhorn(1), straight_through_sinkhorn(1)}) {
    CAPTURE(rule.name);
    const auto found = [&](float offset) {
      Tape tape;
      const Var l = tape.parameter(x + offset);
      const Var p = sample_matching(l, rule, tape.constant(noise));
      return std::pair{p.value(), backward(sum(p * tape.constant(g), {-2, -1}))[l]};
    };
    const auto near = found(0), far = found(1e7f);
    for (std::size_t k = 0; k < x.size(); ++k) {
      CHECK(std::abs(near.first.data()[k] - far.first.data()[k]) < 1e-5f);
      CHECK(std::abs(near.second.data()[k] - far.second.data()[k]) < 1e-5f);
    }
  }
  // As many places as items: what a column has in common does not matter to a matching either.
  for (const Rule& rule : {blackbox(3), perturbed(1), i_mle(3, 2)}) {
    CAPTURE(rule.name);
    const auto found = [&](const Tensor& offset) {
      Tape tape;
      const Var l = tape.parameter(x + offset);
      const Var p = sample_matching(l, rule, tape.constant(noise));
      return backward(sum(p * tape.constant(g), {-2, -1}))[l];
    };
    const Tensor near = found(zeros({5})), far = found(Tensor{0, 8e6f, -8e6f, 3e6f, 1});
    for (std::size_t k = 0; k < x.size(); ++k)
      CHECK(std::abs(near.data()[k] - far.data()[k]) < 1e-5f);
  }
  const auto drawn = [&](const Tensor& offset) {
    Tape tape;
    return sample_matching(tape.constant(x + offset), zero(), tape.constant(noise)).value();
  };
  CHECK(identical(drawn(Tensor{0, 1e7f, -1e7f, 3e6f, 1}), drawn(zeros({5}))));
  // Beyond a hundred or so one of a column is the same for the derivatives of Sinkhorn's
  // iterations.
  const auto slopes = [&](float offset) {
    Tape tape;
    const Var l = tape.parameter(x + offset * Tensor{0, 1, 0, 1, 0});
    const Var slope = differentiate({square(sinkhorn(l, 0.7, 6))}, {l}, {tape.constant(g)})[0];
    return std::pair{slope.value(), backward(slope, {}, tape.constant(noise))[l]};
  };
  const auto near = slopes(1e3f), far = slopes(1e7f);
  for (std::size_t k = 0; k < x.size(); ++k) {
    CHECK(std::abs(near.first.data()[k] - far.first.data()[k]) < 1e-4f);
    CHECK(std::abs(near.second.data()[k] - far.second.data()[k]) < 1e-4f);
  }
  // What float cannot hold at all is refused.
  CHECK_THROWS_WITH_AS(blackbox(1e-46),
                       "blackbox: lambda is 1e-46; need 1.17549e-38 to 8.50706e+37",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(i_mle(1e39), "i_mle: lambda is 1e+39; need 1.17549e-38 to 8.50706e+37",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(sinkhorn(tape.constant(zeros({2, 2})), 1e39, 5),
                       "sinkhorn: tau is 1e+39; need 1e-20 to 1e+20", std::invalid_argument);
}

TEST_CASE(
    "subsets of logits that lie far apart: the draw, its log-probabilities, their gradients") {
  // What is left when the large ones are taken, of {0, 1, 2}: -log(1 + e + e^2) and J's first row.
  const double z = 1 + std::exp(1.0) + std::exp(2.0), p[] = {1 / z, std::exp(1.0) / z};
  for (const float big : {1e3f, 1e6f, 1e9f, 1e30f})
    for (const float offset : {0.0f, -16.0f}) {
      CAPTURE(big);
      Tape tape;
      const Var l = tape.parameter(Tensor{big, 0, 1, -big, 2, big / 2} + offset);
      const Var set = top_k_log_prob(l, tape.constant(Tensor{1, 1, 0, 0, 0, 1})),
                order = plackett_luce_log_prob(l, {0, 5, 1});
      const Tensor expected{0, 1 - p[0], -p[1], 0, p[0] + p[1] - 1, 0};
      for (const Var& y : {set, order}) {
        CHECK(std::abs(y.item() + std::log(z)) < 1e-6);
        const Var g = differentiate(y, l)[0];
        CHECK(farthest(g.value(), expected) < 1e-6);
        const double h = differentiate(element(g, 1), l)[0].value()(2);
        CHECK(std::abs(h - p[0] * p[1]) < 1e-6);
      }
      Rng rng(1);
      const std::size_t draws = 4000;
      const Tensor drawn = sample_top_k(broadcast(l, {draws, 6}), 3, zero(), rng).value();
      const Tensor mean = xt::mean(drawn, 0);
      CHECK((mean(0) == 1 && mean(5) == 1 && mean(3) == 0));
      for (std::size_t i : {1u, 2u}) {
        const double q = p[i - 1];
        CHECK(std::abs(mean(i) - q) < 4 * std::sqrt(q * (1 - q) / draws));
      }
    }
}

TEST_CASE("hard choices are 0 and 1 in float, whatever the logits") {
  Rng rng(3);
  const Tensor logits = rng.normal({200, 7, 7}) * 30.0f, noise = rng.gumbel(logits.shape());
  for (const DecisionNode& node : kDecisionNodes)
    for (const std::string& name : node.names()) {
      const Rule rule = node.named(name, 1.5);
      if (rule.soft_tau > 0) continue;
      CAPTURE(name);
      Tape tape;
      const Var l = tape.parameter(logits), z = node.drawn(l, rule, tape.constant(noise));
      const Tensor ones = sum(z, -1).value();
      for (const Scalar x : z.value()) REQUIRE((x == 0 || x == 1));
      for (const Scalar n : ones) REQUIRE(n == (node.names == top_k_rule_names ? 2 : 1));
      if (!rule.needs_draw)
        REQUIRE(identical(z.value(), node.best(tape.constant(logits + noise), rule).value()));
    }
}

TEST_CASE("the checker rejects 5 % in a long chain and among many numbers as among few") {
  const auto wrong = [](Var x) {
    const Tensor y = x.value() * x.value();
    return x.tape->record("wrong", {x}, y, [](BackwardContext& ctx) {
      ctx.give(0, 2.1 * ctx.gradient() * ctx.in(0));
    });
  };
  const auto passed = [](const Function& f, std::size_t numbers) {
    int passed = 0;
    for (std::uint64_t seed = 1; seed <= 10; ++seed) {
      CheckOptions options;
      options.seed = seed;
      options.order = 1;
      passed += check_gradient(f, {Rng(seed).normal({numbers})}, options).ok;
    }
    return passed;
  };
  const auto chain = [](Var x) {
    for (int i = 0; i < 1000; ++i) x = x + 0.001;
    return x;
  };
  // Across a random direction 5 % is below the tolerance one time in 12.
  CHECK(passed([&](const std::vector<Var>& v) { return wrong(v[0]); }, 10) <= 4);
  CHECK(passed([&](const std::vector<Var>& v) { return wrong(v[0]); }, 100000) <= 4);
  CHECK(passed([&](const std::vector<Var>& v) { return chain(wrong(v[0])); }, 100) <= 4);
  // And what is right it accepts, whatever rounds.
  CHECK(passed([&](const std::vector<Var>& v) { return square(v[0]); }, 100000) == 10);
  CHECK(passed([&](const std::vector<Var>& v) { return chain(square(v[0])); }, 100) == 10);
  CHECK(passed([&](const std::vector<Var>& v) { return square(v[0] + 1000 - 1000); }, 100) == 10);
}

TEST_CASE("the checker near kinks: a right derivative passes, a wrong one does not") {
  int refused = 0, passed = 0;
  const auto kinked = [](const std::vector<Var>& v) { return relu(v[0]) * v[0]; };
  const auto larger = [&](const std::vector<Var>& v) { return 1000 * kinked(v); };
  // Nine tenths of relu's derivative.
  const auto wrong = [](const std::vector<Var>& v) {
    return v[0].tape->record("wrong", {v[0]}, relu(v[0]).value(), [](BackwardContext& ctx) {
      ctx.give(0, 0.9 * ctx.gradient() * (ctx.in(0) > 0.0));
    });
  };
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    CheckOptions options;
    options.seed = seed;
    options.order = 1;
    Rng rng(seed + 1000);
    const Tensor x = rng.normal({8});
    refused += !check_gradient(kinked, {x}, options) + !check_gradient(larger, {x}, options);
    passed += static_cast<bool>(check_gradient(wrong, {x + Scalar(0.5)}, options));
  }
  CHECK(refused <= 4);  // 52 with a step that is not halved
  // Across a random direction a tenth of the gradient is below the tolerance one time in 25.
  CHECK(passed <= 10);
  // A kink at the point itself has no derivative to agree with, and is named as what it may be.
  const CheckResult at_kink =
      check_gradient([](const std::vector<Var>& v) { return abs(v[0]); }, {Tensor{0, 0}});
  CHECK_FALSE(at_kink);
}

TEST_CASE("a product leaves the host program's OpenBLAS with as many threads as it had") {
  Rng rng(1);
  const Tensor x = rng.normal({100, 100}), v = rng.normal({100, 1});
  const auto products = [&] {
    for (int round = 0; round < 20; ++round) {
      Tape tape;
      matmul(tape.constant(x), tape.constant(x));
      matmul(tape.constant(x), tape.constant(v));
    }
  };
  const int before = openblas_get_num_threads();
  openblas_set_num_threads(2);
  const int had = openblas_get_num_threads();  // 1 where OpenBLAS was built without threads
  for (int n : {1, 2}) {
    set_threads(n);
    products();
    CHECK(openblas_get_num_threads() == had);
    std::thread other(products);
    products();
    other.join();
    CHECK(openblas_get_num_threads() == had);
  }
  set_threads(1);
  openblas_set_num_threads(before);
}
