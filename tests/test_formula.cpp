// elementwise(), sum_of() and mean_of(): each word of a formula against the op of the same name,
// derivatives of first and second order, broadcasting, and what is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "ops/formula.hpp"
#include "ops/reduce.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

// The value and the gradients of sum(weight * y) for random weights.
std::vector<Tensor> results(const Function& f, const std::vector<Tensor>& points) {
  Tape tape;
  Vars x;
  for (const Tensor& p : points) x.push_back(tape.parameter(p));
  const Var y = f(x);
  const Var weight = tape.constant(Rng(5).normal(y.shape()));
  const Gradients g = backward(y, {}, weight);
  std::vector<Tensor> all = {y.value()};
  for (Var v : x) all.push_back(g[v]);
  return all;
}

void check_same(const char* name, const Function& fused, const Function& plain,
                const std::vector<Tensor>& points) {
  const std::vector<Tensor> a = results(fused, points), b = results(plain, points);
  INFO(std::string(name));
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    REQUIRE(a[i].shape() == b[i].shape());
    for (std::size_t k = 0; k < a[i].size(); ++k) {
      const double p = a[i].data()[k], q = b[i].data()[k];
      CAPTURE(k);
      if (std::isnan(q) || std::isinf(q))
        CHECK((std::isnan(q) ? std::isnan(p) : p == q));
      else
        CHECK(std::abs(p - q) <= 1e-13 * (1 + std::abs(q)));
    }
  }
}

struct Word {
  const char* name;
  Function fused, plain;
  double low = -3, high = 3;
};

// One formula, taken by elementwise() and by the ops.
#define WORD(name, ...)                                                                        \
  {                                                                                            \
    name, [](const Vars& v) { return elementwise([](auto x) { return __VA_ARGS__; }, v[0]); }, \
        [](const Vars& v) {                                                                    \
          const Var x = v[0];                                                                  \
          return __VA_ARGS__;                                                                  \
        }                                                                                      \
  }
#define WORD_OF_TWO(name, ...)                                                        \
  {                                                                                   \
    name,                                                                             \
        [](const Vars& v) {                                                           \
          return elementwise([](auto x, auto z) { return __VA_ARGS__; }, v[0], v[1]); \
        },                                                                            \
        [](const Vars& v) {                                                           \
          const Var x = v[0], z = v[1];                                               \
          return __VA_ARGS__;                                                         \
        }                                                                             \
  }

// Points of both signs, among them equal ones, zeros, and the edges of float's and double's range.
Tensor points_for(std::size_t n, std::uint64_t seed) {
  Tensor t = Rng(seed).uniform({n}, -3, 3);
  const double special[] = {0,      -0.0,    1,  -1,  0.5,  2,     700, -700,
                            1e-300, -1e-300, 20, -20, kInf, -kInf, kNan};
  for (std::size_t i = 0; i < std::size(special) && i < n; ++i)
    t.data()[i] = static_cast<Scalar>(special[i]);
  return t;
}

}  // namespace

TEST_CASE("every word of a formula is the op of the same name, value and gradient") {
  const std::vector<Word> words = {
      WORD("arithmetic with numbers", 1 - (2.0 * x + 3 - 1.5) / 4 * 0.5 + 1 / (x * x + 2) - 2 - x),
      WORD("negative", -x),
      WORD("exp", exp(x / 8)),
      WORD("log", log(x * x + 1e-3)),
      WORD("tanh", tanh(x)),
      WORD("sigmoid", sigmoid(x)),
      WORD("softplus", softplus(x)),
      WORD("relu", relu(x)),
      WORD("sqrt", sqrt(x * x + 1)),
      WORD("sin", sin(x)),
      WORD("cos", cos(x)),
      WORD("erf", erf(x)),
      WORD("log1p", log1p(x)),
      WORD("expm1", expm1(x / 8)),
      WORD("gelu", gelu(x)),
      WORD("silu", silu(x)),
      WORD("elu", elu(x, 0.7)),
      WORD("leaky_relu", leaky_relu(x)),
      WORD("square", square(x)),
      WORD("pow 3", pow(x, 3)),
      WORD("pow 0", pow(x, 0)),
      WORD("abs", abs(x)),
      WORD("clip", clip(x, -1, 1)),
      WORD("stop_gradient", x * stop_gradient(x))};
  const std::vector<Word> of_two = {WORD_OF_TWO("add", x + z),
                                    WORD_OF_TWO("subtract", x - z),
                                    WORD_OF_TWO("multiply", x * z),
                                    WORD_OF_TWO("divide", x / (z * z + 1)),
                                    WORD_OF_TWO("pow", pow(x * x + 1, z / 100)),
                                    WORD_OF_TWO("maximum", maximum(x, z)),
                                    WORD_OF_TWO("minimum", minimum(x, z)),
                                    WORD_OF_TWO("where greater", where(x > z, x * x, z)),
                                    WORD_OF_TWO("where less", where(x < z, x, z * x)),
                                    WORD_OF_TWO("where equal", where(equal(x, z), x * 3, z))};
  for (std::size_t n : {std::size_t{1}, std::size_t{7}, std::size_t{8}, std::size_t{41}}) {
    const Tensor a = points_for(n, 1);
    Tensor b = points_for(n, 2);
    for (std::size_t i = 0; i < n; i += 2) b.data()[i] = a.data()[n - 1 - i];
    for (const Word& w : words) check_same(w.name, w.fused, w.plain, {a});
    for (const Word& w : of_two) check_same(w.name, w.fused, w.plain, {a, b});
  }
}

TEST_CASE("derivatives of fused formulas, at first and second order") {
  struct Row {
    const char* name;
    Function f;
    std::vector<Shape> shapes;
  };
  const auto gate = [](auto x, auto w, auto b) { return tanh(x * w + b) * sigmoid(x); };
  const std::vector<Row> rows = {
      {"one shape",
       [=](const Vars& v) { return elementwise(gate, v[0], v[1], v[2]); },
       {{19}, {19}, {19}}},
      {"row and number",
       [=](const Vars& v) { return elementwise(gate, v[0], v[1], v[2]); },
       {{3, 5}, {5}, {}}},
      {"both ways",
       [=](const Vars& v) { return elementwise(gate, v[0], v[1], v[2]); },
       {{2, 1, 4}, {3, 1}, {1}}},
      {"empty",
       [=](const Vars& v) { return elementwise(gate, v[0], v[1], v[2]); },
       {{0, 4}, {4}, {}}},
      {"an input twice",
       [](const Vars& v) {
         return elementwise([](auto x, auto y) { return x * x * y; }, v[0], v[0]);
       },
       {{11}}},
      {"a larger input ignored",
       [](const Vars& v) { return elementwise([](auto x, auto) { return x * x; }, v[0], v[1]); },
       {{2}, {3, 2}}},
      {"sum_of, a larger input ignored",
       [](const Vars& v) { return sum_of([](auto x, auto) { return x * x; }, v[0], v[1]); },
       {{2}, {3, 2}}},
      {"an input ignored",
       [](const Vars& v) { return elementwise([](auto x, auto) { return x * x; }, v[0], v[1]); },
       {{3, 2}, {2}}},
      {"a step passed on to, beside another use of it",
       [](const Vars& v) {
         return elementwise(
             [](auto x) {
               const auto y = exp(x);
               return (y + x) * y;
             },
             v[0]);
       },
       {{11}}},
      {"below a sum",
       [](const Vars& v) {
         return sum(elementwise([](auto x, auto y) { return x * exp(y); }, v[0], v[1]), 1);
       },
       {{3, 5}, {3, 1}}},
      {"sum_of", [=](const Vars& v) { return sum_of(gate, v[0], v[1], v[2]); }, {{3, 5}, {5}, {}}},
      {"sum_of few numbers",
       [=](const Vars& v) { return sum_of(gate, v[0], v[1], v[2]); },
       {{2, 3}, {3}, {}}},
      {"mean_of, times 3",
       [=](const Vars& v) { return 3 * mean_of(gate, v[0], v[1], v[2]); },
       {{2, 1, 4}, {3, 1}, {}}},
      {"sum_of nothing",
       [=](const Vars& v) { return sum_of(gate, v[0], v[1], v[2]); },
       {{0, 5}, {5}, {}}},
      {"sum_of an input twice",
       [](const Vars& v) { return sum_of([](auto x, auto y) { return x * x * y; }, v[0], v[0]); },
       {{11}}},
      {"sum_of two uses",
       [](const Vars& v) {
         return sum_of([](auto x) { return x * x; }, v[0]) *
                sum_of([](auto x) { return tanh(x); }, v[0]);
       },
       {{9}}}};
  for (const Row& row : rows) {
    CAPTURE(row.name);
    Rng rng(11);
    std::vector<Tensor> points;
    for (const Shape& s : row.shapes) points.push_back(rng.uniform(s, -2, 2));
    const CheckResult result = check_gradient(row.f, points);
    INFO(result.report);
    CHECK(result.ok);
  }
}

TEST_CASE("sum_of: its derivatives are there for every sweep, and scaled by what arrives") {
  Tape tape;
  const Var x = tape.parameter(Rng(1).normal({2, 3})), w = tape.constant(Rng(2).normal({3}));
  const Var s = sum_of([](auto a, auto b) { return a * a * b; }, x, w);
  const Var scaled = s * 4.0;
  const Tensor first = backward(s)[x], again = backward(s)[x], four = backward(scaled)[x];
  for (std::size_t i = 0; i < 6; ++i) {
    const double expected = 2 * x.value().data()[i] * w.value().data()[i % 3];
    CHECK(first.data()[i] == doctest::Approx(expected).epsilon(1e-14));
    CHECK(four.data()[i] == doctest::Approx(4 * expected).epsilon(1e-14));
  }
  CHECK(identical(first, again));
}

TEST_CASE("fused formulas: the same numbers for any number of threads") {
  const auto run = [](int n) {
    set_threads(n);
    Tape tape;
    const Var x = tape.parameter(Rng(1).normal({300, 401})),
              w = tape.parameter(Rng(2).normal({401}));
    const auto f = [](auto a, auto b) { return tanh(a * b) + a; };
    const Var s = sum_of(f, x, w), y = elementwise(f, x, w);
    const Gradients g = backward({s, sum(y, 0)});
    const std::vector<Tensor> all = {s.value(), y.value(), g[x], g[w]};
    set_threads(1);
    return all;
  };
  const std::vector<Tensor> one = run(1);
  for (int n : {2, 3, 5}) {
    const std::vector<Tensor> many = run(n);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(identical(one[i], many[i]));
  }
}

TEST_CASE("fused formulas: names and errors") {
  Tape tape, other;
  const Var x = tape.parameter(zeros({2, 3}));
  const auto add = [](auto a, auto b) { return a + b; };
  CHECK(tape.node(elementwise(
                      "swish", [](auto a) { return a * sigmoid(a); }, x)
                      .index)
            .op.name == "swish");
  CHECK_THROWS_WITH_AS(
      elementwise(add, x, tape.constant(zeros({2}))),
      "elementwise: a is (2, 3), b is (2,); need equal lengths, or 1, on each axis, counted from "
      "the last",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(sum_of(add, x, other.constant(1.0)),
                       "sum_of: input 1 stands on another tape; need all on one tape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(mean_of(add, tape.constant(zeros({0})), tape.constant(1.0)),
                       "mean_of: the inputs are (0,); need at least one number",
                       std::invalid_argument);
  // NaN and infinity come through.
  const Tensor y = elementwise([](auto a) { return exp(a) + 0 * tanh(a); },
                               tape.constant(Tensor{kInf, -kInf, kNan}))
                       .value();
  CHECK(std::isinf(y(0)));
  CHECK(y(1) == 0);
  CHECK(std::isnan(y(2)));
}

TEST_CASE(
    "a function takes a number for either operand, and derives for the other at both orders") {
  using Two = std::function<Var(Operand, Operand)>;
  const std::pair<const char*, Two> functions[] = {
      {"add", [](Operand a, Operand b) { return a + b; }},
      {"subtract", [](Operand a, Operand b) { return a - b; }},
      {"multiply", [](Operand a, Operand b) { return a * b; }},
      {"divide", [](Operand a, Operand b) { return a / b; }},
      {"pow", [](Operand a, Operand b) { return pow(a, b); }},
      {"maximum", [](Operand a, Operand b) { return maximum(a, b); }},
      {"minimum", [](Operand a, Operand b) { return minimum(a, b); }}};
  const Tensor x = Rng(3).uniform({2, 3}, 0.5, 3);
  for (const auto& function : functions) {
    const std::string name = function.first;
    const Two& f = function.second;
    CAPTURE(name);
    for (const bool first : {false, true}) {
      const Function with_number = [&](const Vars& v) {
        return first ? f(1.3, v[0]) : f(v[0], 1.3);
      };
      const Function with_var = [&](const Vars& v) {
        const Var c = v[0].tape->constant(1.3);
        return first ? f(c, v[0]) : f(v[0], c);
      };
      const CheckResult checked = check_gradient(with_number, {x});
      INFO(checked.report);
      CHECK(checked);
      check_same(name.c_str(), with_number, with_var, {x});
      Tape tape;
      CHECK(tape.node(with_number({tape.parameter(x)}).index).inputs.size() == 1);
    }
  }
  Tape tape;
  const Var v = tape.parameter(Tensor{-1.0, 2.0});
  CHECK(where(v > 0, v, 0).value() == Tensor{0, 2});
  CHECK(where(v, 1, v).value() == Tensor{1, 1});
}

TEST_CASE("x^p is right where x is 0, at both orders, and so is a^b for b") {
  const auto at_zero = [](double p) {
    Tape tape;
    const Var x = tape.parameter(Tensor{0.0});
    const Var slope = differentiate(pow(x, p), x)[0];
    return std::pair{slope.value()(0), backward(slope)[x](0)};
  };
  CHECK(at_zero(0) == std::pair{0.0, 0.0});
  CHECK(at_zero(1) == std::pair{1.0, 0.0});
  CHECK(at_zero(2) == std::pair{0.0, 2.0});
  CHECK(at_zero(3) == std::pair{0.0, 0.0});
  CHECK(at_zero(0.5).first == kInf);
  CHECK(at_zero(-1).first == -kInf);
  Tape tape;
  const Var a = tape.parameter(Tensor{0.0, 0.0}), b = tape.parameter(Tensor{2.0, 0.5});
  CHECK(backward(pow(a, b))[b] == Tensor{0, 0});
}

TEST_CASE("a formula of millions of numbers, which go past the caches, is the ops one by one") {
  const Tensor x = Rng(31).normal({1234, 1111}), w = Rng(32).normal({1111});
  const auto f = [](auto a, auto b) { return tanh(a * b) + a; };
  Tape tape;
  const Var p = tape.parameter(x), q = tape.parameter(w), fused = elementwise(f, p, q),
            plain = tanh(p * q) + p;
  CHECK(identical(fused.value(), plain.value()));
  CHECK(identical(backward(fused)[p], backward(plain)[p]));
}

TEST_CASE("a formula is run once, on Vars without a value") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1.0, 2.0, 3.0});
  int runs = 0;
  const auto square_of = [&](Var v) {
    ++runs;
    return v * v;
  };
  const Var y = elementwise("squares", square_of, x);
  CHECK(backward(y)[x] == Tensor{2, 4, 6});
  CHECK(backward(differentiate(y, x)[0])[x] == Tensor{2, 2, 2});
  CHECK(runs == 1);
  // An input itself, a number, one input twice, one ignored, a constant.
  CHECK(elementwise([](Var v) { return v; }, x).value() == x.value());
  CHECK(elementwise([](Var) { return 4.0; }, x).value() == Tensor{4, 4, 4});
  const auto idle = [](Var a, Var b) {
    exp(a), tanh(a);
    return b;
  };
  CHECK(elementwise(idle, x, tape.constant(2.0)).value() == Tensor{2, 2, 2});
  // A formula in a formula is part of it, be it just a number.
  const auto plus_four = [](Var v) { return v + elementwise([](Var) { return 4.0; }, v); };
  CHECK(elementwise(plus_four, x).value() == Tensor{5, 6, 7});
  CHECK(elementwise([&](Var v) { return v * elementwise(plus_four, v); }, x).value() ==
        Tensor{5, 12, 21});
  CHECK(backward(elementwise([](Var a, Var b) { return a * b; }, x, x))[x] == Tensor{2, 4, 6});
  CHECK(elementwise([](Var a, Var) { return a; }, tape.constant(2.0), x).value() ==
        Tensor{2, 2, 2});
  CHECK(elementwise([](Var v) { return v + v.tape->constant(1.0); }, x).value() == Tensor{2, 3, 4});
  const std::size_t size = tape.size();
  const auto refuses = [&](auto f, const char* word) {
    std::string what;
    try {
      elementwise("mine", f, x);
    } catch (const std::exception& e) {
      what = e.what();
    }
    CAPTURE(what);
    CHECK(what.find(word) != std::string::npos);
    CHECK(tape.size() == size);
  };
  refuses([](Var v) { return sum(v); }, "mine: the formula uses sum; need functions of");
  refuses([](Var v) { return v * static_cast<double>(v.item()); }, "value");
  refuses([&](Var) { return x; }, "mine: ");
  refuses([&](Var v) { return v * x; }, "");
}

TEST_CASE("a branch that where did not take passes back exactly 0, in every way of computing") {
  const auto safe_root = [](auto v) { return where(v > 0, sqrt(v), 0); };
  const auto safe_log = [](auto v) { return where(v > 0, log(v), 0); };
  const auto safe_power = [](auto v) { return where(v > 0, pow(v, -0.5), 0); };
  const auto safe_ratio = [](auto v) { return where(v > 0, 1 / v, v); };
  const Tensor point{0.0, 4.0, -1.0, -kInf, kNan};
  const auto check = [&](const char* name, auto f, const Tensor& slope) {
    CAPTURE(std::string(name));
    const Function ways[] = {[&](const Vars& v) { return f(v[0]); },
                             [&](const Vars& v) { return elementwise(f, v[0]); },
                             [&](const Vars& v) { return sum_of(f, v[0]); },
                             [&](const Vars& v) { return 1 * mean_of(f, v[0]) * 5; }};
    for (const Function& way : ways) {
      Tape tape;
      const Var x = tape.parameter(point);
      const Var y = way({x});
      CHECK(backward(y)[x] == slope);
      const Var recorded = differentiate(y, x)[0];
      CHECK(recorded.value() == slope);
      const Tensor second = backward(recorded)[x];
      for (std::size_t i : {0u, 2u, 3u, 4u}) CHECK(second(i) == 0);
      CHECK(std::isfinite(second(1)));
      backward_and_release(y, [&](Var, Tensor& g) { CHECK(g == slope); });
    }
  };
  check("sqrt", safe_root, Tensor{0, 0.25, 0, 0, 0});
  check("log", safe_log, Tensor{0, 0.25, 0, 0, 0});
  check("pow", safe_power, Tensor{0, -0.0625, 0, 0, 0});
  Tape tape;
  const Var x = tape.parameter(Tensor{0.0, 4.0});
  CHECK(backward(elementwise(safe_ratio, x))[x] == Tensor{1, -0.0625});
  CHECK(differentiate(elementwise(safe_ratio, x), x)[0].value() == Tensor{1, -0.0625});
  // 0 times infinity: what is weighted by 0 passes nothing back.
  const Var s = sum_of([](auto v) { return sqrt(v); }, x) * 0;
  CHECK(backward(s)[x] == Tensor{0, 0});
  CHECK(differentiate(s, x)[0].value() == Tensor{0, 0});
  // What is not 0 is not hidden.
  CHECK(backward(sqrt(x))[x](0) == kInf);
}

TEST_CASE("a zero that arrives is no constant: the gradient's own derivative for it is the slope") {
  Tape tape;
  const Var w = tape.parameter(Tensor{0.0, 0.0}), x = tape.parameter(Tensor{1.0, 2.0});
  for (const Var y : {w * exp(x), elementwise([](auto w, auto x) { return w * exp(x); }, w, x)}) {
    const Var slope = differentiate(y, x)[0];
    CHECK(slope.value() == Tensor{0, 0});
    CHECK(backward(slope)[w] == exp(x).value());
  }
  const Var ratio = differentiate(w * log(x), x)[0];
  CHECK(backward(ratio)[w] == Tensor{1, 0.5});
}

TEST_CASE("the larger of two equal numbers is finite as they are") {
  const double large = std::numeric_limits<double>::max();
  Tape tape;
  const Var x = tape.parameter(Tensor{large, -large, kInf}), z = tape.parameter(x.value());
  for (const Var y : {maximum(x, z), minimum(x, z)}) {
    CHECK(y.value() == x.value());
    CHECK(backward(y)[x] == Tensor{0.5, 0.5, 0.5});
  }
}
