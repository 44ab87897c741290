// What a new user writes in the first hour, beside `using namespace std`: printing, literals,
// tensors and numbers beside Vars, places and open lengths. That it compiles is a test too: none of
// the names that are used here, of the library's or of the standard library's headers below, is
// ambiguous.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <sstream>
#include <string>

#include <argtape/argtape.hpp>

using namespace std;
using namespace argtape;

namespace {

template <class T>
string printed(const T& x) {
  ostringstream out;
  out << x;
  return out.str();
}

ptrdiff_t commas(const string& words) { return count(words.begin(), words.end(), ','); }

template <class F>
string refusal(F f) {
  try {
    f();
  } catch (const exception& e) {
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("what a user looks at can be printed") {
  Tape tape;
  Tensor t{{0.5, 2.0}, {-1.0, 0.25}};
  const Var x = tape.parameter(t, "x"), y = sum(x * x);
  CHECK(printed(t) == "{{0.5, 2}, {-1, 0.25}}");
  CHECK(printed(x) == printed(t));
  CHECK(printed(t.shape()) == "(2, 2)");
  CHECK(printed(t + 1.0) == "{{1.5, 3}, {0, 1.25}}");
  CHECK(printed(t > 0.0) == "{{1, 1}, {0, 1}}");
  CHECK(printed(backward(y)[x]) == "{{1, 4}, {-2, 0.5}}");
  CHECK(printed(tape) == to_text(tape));
  CHECK(printed(stop_report(y, x)) == str(stop_report(y, x)));
  CHECK(printed(zero()) == "zero");
  const Cost cost = [](Var z) { return sum(z * Tensor{1, 2, 4}, -1); };
  const string measured = printed(measure(zero(), cost, Tensor{0.0, 0.5, 1.0}));
  CHECK(measured.substr(0, 18) == "zero: bias 1 \u00b1 0,");
  CHECK(printed(check_gradient([](const vector<Var>& v) { return tanh(v[0]); }, {t})) == "right");
}

TEST_CASE("what is printed is a screen, whatever the numbers") {
  CHECK(printed(Tensor{NAN, -NAN, INFINITY, -INFINITY, -0.0}) == "{nan, nan, inf, -inf, 0}");
  CHECK(printed(Tensor{Scalar(1e-40)}) == "{1e-40}");
  CHECK(printed(zeros({0})) == "{}");
  CHECK(printed(zeros({2, 0, 3})) == "{{}, {}}");
  CHECK(printed(Tensor{}) == "0");
  CHECK(printed(Shape{static_cast<size_t>(-1), 2}) == "(-1, 2)");
  CHECK(printed(full({10000000}, 1)) == "{1, 1, 1, ..., 1, 1, 1}");
  CHECK(printed(xt::arange<Scalar>(0, 1001)) == "{0, 1, 2, ..., 998, 999, 1000}");
  CHECK(commas(printed(ones({1000}))) == 999);
  Tensor wide = zeros({7, 200});
  wide(3, 3) = wide(6, 197) = 5;
  const string row = "{0, 0, 0, ..., 0, 0, 0}", rows = row + ", " + row;
  CHECK(printed(wide) == "{" + rows + ", " + row + ", ..., " + rows + ", {0, 0, 0, ..., 5, 0, 0}}");
  CHECK(printed(ones({2, 600})) == "{{1, 1, 1, ..., 1, 1, 1}, {1, 1, 1, ..., 1, 1, 1}}");
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}, "x");
  CHECK(printed(stop_report(sum(x), x)[0]) == "x: a gradient arrives, of norm 1.41.");
}

// What was moved from is a number like any other, wherever the numbers stood.
TEST_CASE("a tensor that was moved from is 0") {
  for (const Tensor& t : {Tensor(3), Tensor{1, 2, 3}, full({5, 6}, 7), zeros({2, 0})}) {
    Tensor from = t, other = std::move(from);
    CHECK(identical(other, t));
    CHECK(identical(from, Tensor{}));
    CHECK(printed(from) == "0");
    CHECK(identical(from + Scalar{1}, Tensor(1)));
    Tape tape;
    CHECK(sum(tape.parameter(from) * Tensor{1, 2}).item() == 0);
    from = std::move(other);
    CHECK(identical(from, t));
    CHECK(identical(other, Tensor{}));
    other = Tensor{4, 5};
    std::swap(from, other);
    CHECK(from == Tensor{4, 5});
    CHECK(identical(other, t));
  }
}

TEST_CASE("a shape of too many numbers is refused, and what was there stays") {
  const size_t half = size_t{1} << 32;
  const string words =
      "size_of: the shape is (4294967296, 4294967296); need fewer elements than "
      "memory holds";
  CHECK(refusal([&] { Tensor t(Shape{half, half}); }) == words);
  CHECK(refusal([&] { Tensor t(Shape{half, half}, 1); }) == words);
  CHECK(refusal([&] { Tensor t = xt::broadcast(Tensor(1), {half, half}); }) == words);
  CHECK_THROWS_AS(Tensor(Shape{static_cast<size_t>(-1)}), length_error);
  for (const Shape& none : {Shape{0, half, half}, Shape{half, 0, half}, Shape{half, half, 0}})
    CHECK_THROWS_AS(zeros(none), length_error);  // one with one axis less would not fit
  CHECK(zeros({half, 0}).size() == 0);
  Tensor t{1, 2};
  CHECK(refusal([&] { t.resize({half, half}); }) == words);
  CHECK_THROWS_AS(t.resize({size_t{1} << 45}), bad_alloc);
  CHECK(t == Tensor{1, 2});
}

TEST_CASE("a literal has as many axes as braces, and lists of equal length") {
  CHECK(Tensor{{1}, {2}}.shape() == Shape{2, 1});
  CHECK(Tensor{{1, 2}}.shape() == Shape{1, 2});
  CHECK(Tensor{{1}}.shape() == Shape{1, 1});
  CHECK(Tensor{{{1}, {2}}, {{3}, {4}}}.shape() == Shape{2, 2, 1});
  CHECK(Tensor{}.shape() == Shape{});
  CHECK(Tensor{{}, {}}.shape() == Shape{2, 0});
  const int n = 3;
  CHECK(Tensor{{1, n}, {n + 1, 2}} == tensor({2, 2}, {1, 3, 4, 2}));
  CHECK(refusal([] {
          Tensor{{1, 2}, {3}};
        }) ==
        "Tensor: in braces for (2, 2) stands a list of 1 on axis 1; need lists of equal length and "
        "depth");
  CHECK(refusal([] {
          Tensor{{1, 2}, 3};
        }) ==
        "Tensor: in braces for (2, 2) stands a number on axis 1; need lists of equal length and "
        "depth");
  CHECK(refusal([] {
          Tensor{1, {2}};
        }) ==
        "Tensor: in braces for (2,) stands a list of 1 on axis 1; need lists of equal length and "
        "depth");
}

// Every op of two operands with a tensor in either place: as with a constant, whatever the tensor
// is.
TEST_CASE("a tensor beside a Var is a constant") {
  Rng rng(1);
  Tape tape;
  const Var x = tape.parameter(rng.uniform({2, 3}, 1, 2));
  Tensor t = rng.uniform({2, 3}, 1, 2);
  const Tensor& kept = t;
  const Var c = tape.constant(t);
  const auto alike = [&](Var a, Var b) {
    CHECK(identical(a.value(), b.value()));
    CHECK(identical(backward(a)[x], backward(b)[x]));
  };
  const auto both = [&](auto f) {
    alike(f(x, t), f(x, c));
    alike(f(t, x), f(c, x));
    alike(f(x, kept), f(x, c));
    alike(f(kept, x), f(c, x));
    alike(f(x, Tensor(t)), f(x, c));
    alike(f(x, t * 1.0), f(x, c));
    alike(f(t * 1.0, x), f(c, x));
  };
  both([](auto&& a, auto&& b) { return a + b; });
  both([](auto&& a, auto&& b) { return a - b; });
  both([](auto&& a, auto&& b) { return a * b; });
  both([](auto&& a, auto&& b) { return a / b; });
  both([](auto&& a, auto&& b) { return a > b; });
  both([](auto&& a, auto&& b) { return a < b; });
  both([](auto&& a, auto&& b) { return a >= b; });
  both([](auto&& a, auto&& b) { return a <= b; });
  both([](auto&& a, auto&& b) { return pow(a, b); });
  both([](auto&& a, auto&& b) { return equal(a, b); });
  both([](auto&& a, auto&& b) { return maximum(a, b); });
  both([](auto&& a, auto&& b) { return minimum(a, b); });
  both([&](auto&& a, auto&& b) { return where(x > 1.5, a, b); });
  both([&](auto&& a, auto&& b) { return where(a, b, x); });
  both([&](auto&& a, auto&& b) { return where(a, x, b); });
  alike(where(t, 0, x), where(c, 0, x));
  alike(where(x > 1.5, t, 0), where(x > 1.5, c, 0));
  alike(where(1.0, t, x) + where(0, x, t), c + c);
  alike(where(true, x, t * 1.0) + where(t - t, 2, x), x + x);
  Var y = x;
  y += t * 1.0;
  y *= kept - 3.0;
  alike(y, (x + c) * (c - 3));

  alike(squared_error(x, t), squared_error(x, c));
  alike(bce_with_logits(t, x), bce_with_logits(c, x));
  alike(cross_entropy(x, t), cross_entropy(x, c));
  alike(kl_categorical(t, x), kl_categorical(c, x));
  alike(kl_gaussian(x, t), kl_gaussian(x, c));
  alike(matmul_transposed(t, x), matmul_transposed(c, x));
  alike(matmul(x, Tensor{{1}, {2}, {3}}), matmul(x, tape.constant(Tensor{{1}, {2}, {3}})));
  alike(squared_distances(t, x), squared_distances(c, x));
  alike(dense(t, reshape(x, {3, 2}), Tensor{1, 2}),
        dense(c, reshape(x, {3, 2}), tape.constant(Tensor{1, 2})));
  alike(dot(x[0], Tensor{1, 2, 3}), sum(x[0] * Tensor{1, 2, 3}));
  alike(outer(Tensor{1, 2}, x[1]), Tensor{{1}, {2}} * x[1]);
  const auto product = [](auto a, auto b) { return a * b; };
  alike(elementwise(product, x, t), x * c);
  alike(sum_of(product, t, x), sum(x * c));
  CHECK(refusal([&] { squared_error(t, t); }) ==
        "squared_error: no operand is a Var; need one at least, as tape.constant(...)");
}

TEST_CASE("a number beside a Var is a constant, whole or not") {
  Tape tape;
  const Var x = tape.parameter(Tensor{-1, 0, 2});
  CHECK((x > 0).value() == Tensor{0, 0, 1});
  CHECK((0.0 > x).value() == Tensor{1, 0, 0});
  CHECK((x < 0).value() == Tensor{1, 0, 0});
  CHECK((x >= 0).value() == Tensor{0, 1, 1});
  CHECK((x <= 0.0f).value() == Tensor{1, 1, 0});
  CHECK(maximum(x, 0.0).value() == Tensor{0, 0, 2});
  CHECK(minimum(1, x).value() == Tensor{-1, 0, 1});
  CHECK(where(x > 0, x, 0).value() == Tensor{0, 0, 2});
  CHECK(where(x > 0, 1.0, x).value() == Tensor{-1, 0, 1});
  CHECK(where(1, x, 0).value() == x.value());
  CHECK(equal(x, 2).value() == Tensor{0, 0, 1});
  CHECK(pow(2, x).value() == Tensor{0.5, 1, 4});
  CHECK(squared_error(x, 1).value() == Tensor{4, 1, 1});
  CHECK(bce_with_logits(x, 1.0).value() == bce_with_logits(x, Tensor{1, 1, 1}).value());
  const Var nan = tape.constant(Tensor{NAN});
  for (const Var& holds : {nan > 0, nan < 0, nan >= 0, nan <= 0}) CHECK(holds.item() == 0);
}

TEST_CASE("x += y makes x the sum, and leaves what it was on the tape") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  Var y = x;
  y += 1;
  y *= x;
  y -= Tensor{1, 1};
  y /= 2.0;
  CHECK(y.value() == Tensor{0.5, 2.5});
  CHECK(x.value() == Tensor{1, 2});
  CHECK(backward(y)[x] == Tensor{1.5, 2.5});
}

TEST_CASE("places on axes") {
  Tape tape;
  const Var x = tape.parameter(tensor({2, 3}, {1, 2, 3, 4, 5, 6}));
  CHECK(x[0].value() == Tensor{1, 2, 3});
  CHECK(x[-1].value() == Tensor{4, 5, 6});
  CHECK(x[1][-3].item() == 4);
  const size_t i = 1;
  CHECK(backward(x[i])[x] == tensor({2, 3}, {0, 0, 0, 1, 1, 1}));
  CHECK(refusal([&] { x[2]; }) == "element: 2 of (2, 3); need -2..1");
  CHECK(refusal([&] { x[-3]; }) == "element: -3 of (2, 3); need -2..1");
  CHECK(refusal([&] { x[0][0][0]; }) == "element: x is (); a single number has no axes");
  CHECK(argtape::slice(x, 0, 3, 1, 2).value() == tensor({2, 2}, {1, 3, 4, 6}));
  CHECK(argtape::slice(x, 1, -1, 1).value() == tensor({2, 1}, {2, 5}));
  CHECK(argtape::slice(x, -2, 3, 1).value() == tensor({2, 2}, {2, 3, 5, 6}));
  CHECK(refusal([&] { argtape::slice(x, 0, -4, 1); }) ==
        "slice: 0..-4 of axis 1 of (2, 3); need begin <= end <= 3");
  CHECK(refusal([&] { argtape::slice(x, 0, 3, 1, 0); }) == "slice: step is 0; need at least 1");
  CHECK(refusal([&] { argtape::slice(x, 0, 3, 1, -1); }) == "slice: step is -1; need at least 1");
  CHECK(argtape::slice(x, 0, 3, 1, numeric_limits<size_t>::max()).value() == Tensor{{1}, {4}});
  const Var none = tape.constant(zeros({0, 3}));
  CHECK(refusal([&] { none[0]; }) == "element: 0 of (0, 3); an axis of length 0 has none");
  CHECK(check_gradient(
      [](const vector<Var>& v) { return exp(argtape::slice(v[0], 0, 5, 1, 2)) * v[0][-1][0]; },
      {Rng(1).normal({3, 5})}));
}

TEST_CASE("one length may be left open") {
  Tape tape;
  const Var x = tape.parameter(zeros({4, 6}));
  const size_t n = 8;
  CHECK(reshape(x, {-1}).shape() == Shape{24});
  CHECK(reshape(x, {n, -1}).shape() == Shape{8, 3});
  CHECK(reshape(x, {2, -1, 3}).shape() == Shape{2, 4, 3});
  CHECK(reshape(x[0][0], {}).shape() == Shape{});
  CHECK(reshape(x, Shape{3, 8}).shape() == Shape{3, 8});
  CHECK(refusal([&] {
          reshape(x, {-1, -1});
        }) == "reshape: length -1 on axis 1; need lengths, and -1 at most once");
  CHECK(refusal([&] {
          reshape(x, {-2, 3});
        }) == "reshape: length -2 on axis 0; need lengths, and -1 at most once");
  CHECK(refusal([&] {
          reshape(x, {5, -1});
        }) == "reshape: x is (4, 6), axis 1 is open beside 5 numbers; need a divisor of 24");
  CHECK(refusal([&] {
          reshape(x, {0, -1});
        }) == "reshape: x is (4, 6), axis 1 is open beside 0 numbers; need a divisor of 24");
  CHECK(refusal([&] { reshape(x, {5, 5}); }) == "reshape: x is (4, 6); cannot become (5, 5)");
  const Var none = tape.constant(zeros({0, 3}));
  CHECK(reshape(none, {-1, 5}).shape() == Shape{0, 5});
  CHECK(refusal([&] {
          reshape(none, {0, -1});
        }) ==
        "reshape: x is (0, 3), axis 1 is open beside 0 numbers; need its length, which could "
        "be any");
}

TEST_CASE("one number in braces is a list of one") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2, 3, 4});
  CHECK(tape.constant({1.0}).shape() == Shape{1});
  CHECK(tape.constant({1}).shape() == tape.parameter({1}).shape());
  CHECK(tape.constant(1).shape() == Shape{});
  CHECK(split(x, {4}).size() == 1);
  CHECK(split(x, 3).size() == 2);
  const size_t n = 1;
  const int k = 3;
  CHECK(split(x, {n, k})[1].value() == Tensor{2, 3, 4});
  CHECK(split(tape.constant(zeros({0, 3})), {}).empty());
  CHECK(refusal([&] { split(x, {2}); }) ==
        "split: lengths (2,) for axis 0 of (4,); need a sum of 4");
  CHECK(refusal([&] { split(x, {}); }) == "split: lengths () for axis 0 of (4,); need a sum of 4");
  CHECK(refusal([&] {
          split(x, {-1, 5});
        }) == "split: lengths (-1, 5) for axis 0 of (4,); need a sum of 4");
  CHECK(refusal([&] { split(x, -1); }) == "split: length is -1; need at least 1");
  const Var images = tape.constant(ones({1, 1, 5, 5})), w = tape.constant(ones({1, 1, 3, 3}));
  CHECK(conv2d(images, w, {2}).shape() == Shape{1, 1, 2, 2});
  CHECK(conv2d(images, w, {x[0] * Tensor{1}}, {2}, {1}).shape() == Shape{1, 1, 3, 3});
  CHECK(conv_transpose2d(images, w, {2}).shape() == Shape{1, 1, 11, 11});
}

TEST_CASE("a size that was given as a negative number is shown as one") {
  Tape tape;
  const Var x = tape.parameter(ones({1, 1, 4, 4}));
  const auto minus_one = static_cast<size_t>(-1);
  CHECK(refusal([&] { pad(x, minus_one, 0); }) ==
        "pad: before is -1, after is 0; need numbers of elements");
  CHECK(refusal([&] { conv2d(x, x, 1, minus_one); }) ==
        "conv2d: padding is -1; need a number of pixels");
  CHECK(refusal([&] { one_hot({0}, minus_one); }) ==
        "size_of: the shape is (1, -1); need fewer elements than memory holds");
}

TEST_CASE("a distribution refuses in its own words") {
  Tape tape;
  const Var x = tape.parameter(ones({2, 2})), other = tape.constant(ones({3}));
  const string words =
      "log_prob: a is (3,), b is (2, 2); need equal lengths, or 1, on each axis, "
      "counted from the last";
  CHECK(refusal([&] { Categorical(x).log_prob(other); }) == words);
  CHECK(refusal([&] { Bernoulli(x).log_prob(other); }) == words);
  CHECK(refusal([&] { Normal(x, x).log_prob(other); }) == words);
}

TEST_CASE("a cost of each of several choices is refused in the instrument's name") {
  const Cost each = [](Var z) { return sum(square(z) * Tensor{1, 2}, -1); };
  CHECK(refusal([&] {
          measure(score_function(), each, Tensor{{1, 2}, {3, 4}});
        }) ==
        "measure: the choices are (100, 2, 2), the cost is (100, 2); need one number an example, "
        "(100,)");
}

TEST_CASE("the checker takes a right gradient where value and gradient are 0 to rounding") {
  using Vars = vector<Var>;
  const Function zeros[] = {
      [](const Vars& v) { return log(sum(softmax(v[0]), -1)); },
      [](const Vars& v) { return logsumexp(log_softmax(v[0]), -1); },
      [](const Vars& v) { return sum(softmax(v[0]) - 1.0 / 5); },
      [](const Vars& v) { return mean(v[0] - mean(v[0])); },
      [](const Vars& v) { return square(sin(v[0])) + square(cos(v[0])) - 1; },
      [](const Vars& v) { return exp(v[0]) * exp(-v[0]) - 1; },
  };
  const Function wrong[] = {
      [](const Vars& v) { return 100 + 0.1 * stop_gradient(v[0]); },
      [](const Vars& v) { return exp(v[0]) * exp(-1.01 * stop_gradient(v[0])); },
      [](const Vars& v) { return log(sum(softmax(v[0]), -1)) + 0.01 * sum(stop_gradient(v[0])); },
  };
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CheckOptions options;
    options.seed = seed;
    const Tensor x = Rng(seed).normal({5});
    for (const Function& f : zeros) CHECK(printed(check_gradient(f, {x}, options)) == "right");
    for (const Function& f : wrong) CHECK_FALSE(check_gradient(f, {x}, options));
  }
}

// The names that the standard library has too, of functions and of function objects.
TEST_CASE("an ordinary program beside using namespace std") {
  Rng rng(2);
  Tape tape;
  const Var x = tape.parameter(rng.uniform({3}, 0.5, 1)), w = tape.parameter(rng.uniform({3}));
  const Var y = exp(x) + log(x) + tanh(x) + sqrt(x) + abs(x) + pow(x, 2) + pow(2.0, x) + min(x) +
                max(x) + min(x, 0) + max(x, {0}) + norm(x) + equal(x, w) + clip(x, 0, 1) +
                sample(x, straight_through(), rng) + argmax(x, zero()) + (x > 0) * (w < 1) + x[0];
  CHECK(y.shape() == Shape{3});
  const vector<double> plain{exp(0.0), log(1.0), pow(2.0, 2), abs(-1.5), max(1.0, 2.0), min(1, 2)};
  CHECK(accumulate(plain.begin(), plain.end(), 0.0) == 1 + 0 + 4 + 1.5 + 2 + 1);
  CHECK(greater<double>()(2, 1));
}
