// The engine alone: this program links no op, so what it needs it makes itself.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <sstream>
#include <thread>

#include "engine/broadcast.hpp"
#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/report.hpp"
#include "engine/show.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"
#include "engine/threads.hpp"
#include "tests/recycling.hpp"

using namespace argtape;

namespace {

Tensor product(const Tensor& a, const Tensor& b) {
  Tensor y = a;
  for (std::size_t i = 0; i < y.size(); ++i) y.data()[i] *= b.data()[i];
  return y;
}

// a * b, of equal shapes.
Var times(Var a, Var b) {
  return a.tape->record("times", {a, b}, product(a.value(), b.value()), [](BackwardContext& ctx) {
    if (ctx.wants(0)) ctx.give(0, times(ctx.gradient(), ctx.in(1)));
    if (ctx.wants(1)) ctx.give(1, times(ctx.gradient(), ctx.in(0)));
  });
}

// x^2 with a derivative that is off by the factor `wrong`.
Var squared(Var x, double wrong = 1) {
  return x.tape->record(
      "squared", {x}, product(x.value(), x.value()), [wrong](BackwardContext& ctx) {
        const Var two = ctx.out().tape->constant(full(ctx.in(0).shape(), 2 * wrong));
        ctx.give(0, times(times(two, ctx.in(0)), ctx.gradient()));
      });
}

Var cut(Var x) {
  Op op("cut", Flow::cut);
  op.why_cut = "By request.";
  return x.tape->record(op, {x}, x.value(), {});
}

// A node that notes the sum of the costs it is told of, and how many they are.
Var listener(Var x, Tensor* heard, std::size_t* how_many) {
  Op op("listener", Flow::surrogate);
  op.needs_costs = true;
  return x.tape->record(op, {x}, x.value(), [=](BackwardContext& ctx) {
    *heard = zeros(ctx.in(0).shape());
    for (const DownstreamCost& fed : ctx.downstream_costs()) add_to(*heard, fed.cost.value());
    *how_many = ctx.downstream_costs().size();
    ctx.give(0, ctx.out().tape->constant(zeros(ctx.in(0).shape())));
  });
}

Var pathwise(Var x) {
  Op op("choice[pathwise]", Flow::surrogate);
  op.refuses_no_path = true;
  return x.tape->record(op, {x}, x.value(), [](BackwardContext& ctx) { ctx.pass(0); });
}

double at(const Tensor& t, std::size_t i) { return t.data()[i]; }

}  // namespace

TEST_CASE("a diamond, the same input twice and an unused one each count right") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}), unused = tape.parameter(Tensor{1, 1});
  const Var y = times(x, x), z = add_same(times(y, x), y);  // x^3 + x^2
  const Gradients g = backward(z);
  CHECK(at(g[x], 0) == 3 * 4 + 2 * 2);
  CHECK(at(g[x], 1) == 3 * 9 + 2 * 3);
  CHECK(g.reached(x));
  CHECK(g[unused] == zeros({2}));
  CHECK_FALSE(g.reached(unused));
}

TEST_CASE("a gradient handed on, kept and used again is the same each time") {
  // Both ways of handing on a node's own gradient, in either order, to the same and to other
  // inputs.
  const auto both = [](Var a, Var b, bool var_first) {
    Tensor sum = a.value();
    add_to(sum, b.value());
    return a.tape->record("both", {a, b}, sum, [var_first](BackwardContext& ctx) {
      if (var_first) ctx.give(0, ctx.gradient());
      if (!var_first) ctx.pass(0);
      if (var_first) ctx.pass(1);
      if (!var_first) ctx.give(1, ctx.gradient());
    });
  };
  for (bool var_first : {false, true}) {
    Tape tape;
    const Var x = tape.parameter(Tensor{2, 3}), y = tape.parameter(Tensor{5, 7});
    const Var s = both(times(x, x), y, var_first), d = both(s, s, var_first);
    const Gradients g = backward(times(d, d), {s, d});  // d = 2 (x^2 + y)
    CHECK(at(g[d], 0) == 36);
    CHECK(at(g[s], 0) == 72);
    CHECK(at(g[y], 0) == 72);
    CHECK(at(g[x], 0) == 72 * 4);
    const Gradients h = backward(times(d, d));
    CHECK(identical(h[x], g[x]));
    CHECK(identical(h[y], g[y]));
  }
}

TEST_CASE("gradients are returned: sweeping twice gives the same, and leaves the tape as it was") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}), y = times(times(x, x), x);
  const std::size_t nodes = tape.size();
  const Gradients first = backward(y), second = backward(y);
  CHECK(identical(first[x], second[x]));
  CHECK(tape.size() == nodes);
}

TEST_CASE("derivatives of derivatives, to the fourth order") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2.0});
  Var y = times(times(x, x), times(x, x));
  const double expected[] = {32, 48, 48, 24, 0};
  for (double e : expected) {
    y = differentiate(y, x)[0];
    CHECK(y.item() == e);
  }
}

TEST_CASE(
    "a choice is refused if just one of the costs it feeds has no differentiable path to it") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}), z = pathwise(x);
  CHECK_THROWS_AS(backward({times(z, z), cut(z)}), NoPath);
  CHECK_NOTHROW(backward({times(z, z), add_same(cut(z), z)}));
}

TEST_CASE("looking leaves no trace") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  bool looking = false;
  const Var y = tape.record("noted", {x}, Tensor{1, 2}, [&](BackwardContext& ctx) {
    looking = ctx.dry_run();
    ++ctx.counts().backwards;
    ctx.pass(0);
  });
  dry_run(y);
  CHECK(looking);
  CHECK(tape.counts.backwards == 0);
  backward(y);
  CHECK_FALSE(looking);
  CHECK(tape.counts.backwards == 1);
}

TEST_CASE("a parameter made inside a backward is refused, and the tape survives") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  const Var y = tape.record("nested", {x}, Tensor{1, 2}, [](BackwardContext& ctx) {
    ctx.give(0, ctx.out().tape->parameter(Tensor{1, 1}));
  });
  CHECK_THROWS_WITH_AS(backward(y),
                       "parameter: a sweep is running on this tape; need a tape of its own for a "
                       "gradient inside a backward",
                       std::logic_error);
  CHECK(tape.parameter_indices().size() == 1);
  CHECK(at(backward(times(x, x))[x], 1) == 4);
  Tape other;
  const Var astray = other.constant(Tensor{1, 1});
  const Var wrong =
      tape.record("astray", {x}, Tensor{1, 2}, [=](BackwardContext& ctx) { ctx.give(0, astray); });
  CHECK_THROWS_WITH_AS(backward(wrong),
                       "astray: backward gave a gradient that stands on another tape",
                       std::logic_error);
  CHECK_THROWS_WITH_AS(backward(x, {}, astray),
                       "backward: weight 0 stands on another tape than the costs",
                       std::invalid_argument);
}

TEST_CASE("a backward that knows numbers alone is right once, and found out at second order") {
  const auto plain = [](const std::vector<Var>& v) {
    return v[0].tape->record(
        "plain", {v[0]}, product(v[0].value(), v[0].value()), [](BackwardContext& ctx) {
          const Var slope = ctx.out().tape->constant(product(ctx.in(0).value(), full({2}, 2)));
          ctx.give(0, times(ctx.gradient(), slope));
        });
  };
  CheckOptions first;
  first.order = 1;
  CHECK(check_gradient(plain, {Tensor{1, 2}}, first));
  CHECK_FALSE(check_gradient(plain, {Tensor{1, 2}}));
  CHECK_THROWS_WITH_AS(check_gradient(plain, {}), "check_gradient: no points; need at least one",
                       std::invalid_argument);
}

TEST_CASE("a gradient inside a backward, in both kinds of sweep") {
  for (const bool numbers : {false, true}) {
    // x^3, whose derivative is taken from x^3 written out on the same tape.
    Tape tape;
    const Var x = tape.parameter(Tensor{2, 3});
    const auto cube = [&](Var v) {
      return tape.record("cube", {v}, product(v.value(), product(v.value(), v.value())),
                         [=](BackwardContext& ctx) {
                           const Var in = ctx.in(0), y = times(times(in, in), in);
                           if (!numbers)
                             return ctx.give(0, differentiate(y, in, ctx.gradient())[0]);
                           const Tensor g = backward(y, in, ctx.gradient())[in];
                           ctx.give(0, ctx.out().tape->constant(g));
                         });
    };
    const Var a = times(x, x), y = cube(a);
    const std::size_t size = tape.size();
    const Gradients g = backward(y, a);
    CHECK(g[a] == Tensor{3 * 16, 3 * 81});
    CHECK(g[x] == Tensor{6 * 32, 6 * 243});
    CHECK(tape.size() == size);
    CHECK(differentiate(y, x)[0].value() == g[x]);
    if (numbers) continue;
    const Var slope = differentiate(y, x)[0];
    CHECK(backward(slope)[x] == Tensor{30 * 16, 30 * 81});
  }
}

TEST_CASE("a last sweep inside a backward is refused, and the tape survives") {
  for (const bool recorded : {false, true}) {
    Tape tape;
    const Var x = tape.parameter(Tensor{1, 2}), a = times(x, x);
    const Var y = tape.record("last", {a}, Tensor{1, 2}, [=](BackwardContext& ctx) {
      backward_and_release(a, [](Var, Tensor&) {});
      ctx.pass(0);
    });
    const std::size_t size = tape.size();
    CHECK_THROWS_WITH_AS(recorded ? void(differentiate(y, x)) : void(backward(y)),
                         "backward_and_release: a sweep is running on this tape; need a tape of "
                         "its own for a last sweep inside a backward",
                         std::logic_error);
    CHECK(tape.size() == size);
    CHECK(backward(a)[x] == Tensor{2, 4});
  }
}

TEST_CASE("inputs beyond the last, and nodes beyond the last, are refused by name") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}), other = tape.parameter(Tensor{5, 6});
  using Use = void (*)(BackwardContext&);
  const Use uses[] = {[](BackwardContext& ctx) { ctx.in(1); },
                      [](BackwardContext& ctx) { ctx.wants(1); },
                      [](BackwardContext& ctx) { ctx.pass(1); },
                      [](BackwardContext& ctx) { ctx.give(1, ctx.gradient()); },
                      [](BackwardContext& ctx) { ctx.give(~std::size_t{0}, ctx.gradient()); }};
  for (const Use use : uses) {
    const Var y = tape.record("short", {x}, Tensor{1, 2}, use);
    CHECK_THROWS_AS(backward(y), std::out_of_range);
    CHECK_THROWS_AS(differentiate(y, x), std::out_of_range);
  }
  CHECK_THROWS_WITH_AS(backward(tape.record("short", {x}, Tensor{1, 2}, uses[0])),
                       "short: backward asked for input 1; need one of 1, counted from 0",
                       std::out_of_range);
  CHECK(tape.var(1).index == other.index);
  CHECK_THROWS_WITH_AS(tape.var(99),
                       "node: 99 of a tape of 8; need one that is there, as long as it is",
                       std::out_of_range);
}

TEST_CASE("a differentiate that throws leaves the tape as it was") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  const Var y = tape.record("bad", {x}, Tensor{1, 2}, [](BackwardContext& ctx) {
    ctx.out().tape->parameter(Tensor{1.0});
    throw std::runtime_error("no");
  });
  const Var z = times(y, y);
  const std::size_t size = tape.size();
  CHECK_THROWS_AS(differentiate(z, x), std::runtime_error);
  CHECK(tape.size() == size);
  CHECK(tape.parameter_indices().size() == 1);
  CHECK_THROWS_AS(backward(z), std::logic_error);
  CHECK(tape.size() == size);
}

TEST_CASE("sizes beyond memory are errors, not crashes") {
  CHECK_THROWS_AS(zeros({std::size_t{1} << 57}), std::exception);
  CHECK_THROWS_AS(zeros({std::size_t{1} << 62}), std::exception);
  CHECK_THROWS_AS(zeros({std::size_t{1} << 40, std::size_t{1} << 40}), std::length_error);
  CHECK_THROWS_AS(zeros({~std::size_t{0}}), std::length_error);
}

TEST_CASE("several costs are summed, or weighted") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}), a = times(x, x), b = times(a, x);
  CHECK(at(backward({a, b})[x], 0) == 4 + 12);
  const Var wa = tape.constant(Tensor{10, 1}), wb = tape.constant(Tensor{1, 0});
  const Gradients g = backward({a, b}, {}, {wa, wb});
  CHECK(at(g[x], 0) == 40 + 12);
  CHECK(at(g[x], 1) == 6);
  CHECK(differentiate({a, b}, x, {wa, wb})[0].value() == g[x]);
}

TEST_CASE("the gradient of a value on the way is there when asked for") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}), a = times(x, x), b = times(a, a);
  const Gradients g = backward(b, a);
  CHECK(at(g[a], 1) == 18);
  CHECK_THROWS_WITH_AS(
      backward(b)[a],
      "gradients: node 1 is neither a parameter of this tape nor among the Vars asked for",
      std::invalid_argument);
  const Var c = tape.constant(Tensor{1, 1});
  CHECK_THROWS_WITH_AS(backward(b, c),
                       "backward: constant (node 3) depends on no parameter; make it one with "
                       "tape.parameter() to get its gradient",
                       std::invalid_argument);
}

TEST_CASE("what nobody wants is not computed") {
  Tape tape;
  const Var c = tape.constant(Tensor{2.0}), x = tape.parameter(Tensor{3.0});
  bool asked = false;
  const Var y = tape.record("noted", {c, x}, Tensor{6.0}, [&](BackwardContext& ctx) {
    asked = true;
    CHECK_FALSE(ctx.wants(0));
    CHECK(ctx.wants(1));
    ctx.give(0, ctx.out().tape->constant(Tensor{99.0}));
    ctx.give(1, ctx.out().tape->constant(Tensor{2.0}));
  });
  CHECK(at(backward(y)[x], 0) == 2);
  CHECK(asked);
  const Var d = tape.record("constant op", {c}, Tensor{1.0},
                            [](BackwardContext&) { FAIL("nobody upstream wants anything"); });
  CHECK_FALSE(static_cast<bool>(tape.node(d.index).backward));
  backward(d);
}

TEST_CASE(
    "a gradient of a shape that broadcasts is summed; any other is an error that names the op") {
  Tape tape;
  const Var x = tape.parameter(zeros({2, 1})),
            wide =
                tape.record("wide", {x}, zeros({2, 3}), [](BackwardContext&ctx) { ctx.pass(0); });
  CHECK(backward(wide)[x] == full({2, 1}, 3));
  CHECK(differentiate(wide, x)[0].value() == full({2, 1}, 3));
  const Var wrong = tape.record("softmax", {x}, zeros({2, 1}), [](BackwardContext& ctx) {
    ctx.give(0, ctx.out().tape->constant(zeros({3})));
  });
  const std::size_t nodes = tape.size();
  CHECK_THROWS_WITH_AS(
      backward(wrong),
      "softmax: backward gave a gradient of shape (3,) for input 0 of shape (2, 1)",
      std::logic_error);
  CHECK(tape.size() == nodes);  // also after an error
}

TEST_CASE(
    "the set of costs a node feeds crosses edges that carry no gradient, and counts each cost "
    "once") {
  Tape tape;
  Tensor heard;
  std::size_t how_many = 0;
  const Var x = tape.parameter(Tensor{1, 2}), z = listener(x, &heard, &how_many);
  const Var two_ways = add_same(cut(z), cut(z)), other = cut(z);
  const Var unfed = tape.parameter(Tensor{5, 5});
  backward({two_ways, other, unfed});
  CHECK(heard == Tensor{3, 6});
  CHECK(how_many == 2);

  // More costs than bits in a word.
  std::vector<Var> many;
  for (int i = 0; i < 150; ++i) many.push_back(cut(i % 2 ? z : unfed));
  backward(many);
  CHECK(how_many == 75);
  CHECK(heard == Tensor{75, 150});
}

TEST_CASE("a backward that asks for a gradient where none arrived, or for costs, is told so") {
  Tape tape;
  Op op("asker", Flow::surrogate);
  op.needs_costs = true;
  const Var x = tape.parameter(Tensor{1, 2});
  const Var z =
      tape.record(op, {x}, x.value(), [](BackwardContext& ctx) { ctx.give(0, ctx.gradient()); });
  CHECK_THROWS_WITH_AS(
      backward(cut(z)),
      "asker: backward asked for a gradient, but none arrived; ask has_gradient() first",
      std::logic_error);
  const Var y = tape.record("other", {x}, x.value(),
                            [](BackwardContext& ctx) { (void)ctx.downstream_costs(); });
  CHECK_THROWS_WITH_AS(backward(y),
                       "other: backward asked for the costs; need an Op with needs_costs",
                       std::logic_error);
}

TEST_CASE("a pathwise choice without a differentiable path to its cost is refused") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}), z = pathwise(x), cost = cut(z);
  CHECK_THROWS_WITH_AS(backward(cost),
                       "choice[pathwise]: no differentiable path from this choice to the cost; use "
                       "score_function(), or make "
                       "the path differentiable",
                       std::invalid_argument);
  CHECK_NOTHROW(backward(add_same(cut(z), z)));
  CHECK_NOTHROW(backward(x));  // feeds no cost: nothing to refuse
  CHECK(at(backward(z)[x], 0) == 1);
}

TEST_CASE("Vars of two tapes, and empty ones, are refused by name") {
  Tape one, two;
  const Var a = one.parameter(Tensor{1.0}), b = two.parameter(Tensor{1.0});
  CHECK_THROWS_WITH_AS(times(a, b), "times: input 1 stands on another tape; need all on one tape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward({a, b}),
                       "backward: input 1 stands on another tape; need all on one tape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(tape_of("sum", Var{}),
                       "sum: input 0 is an empty Var; need a value on a tape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(tape_of("sum", std::vector<Var>{}), "sum: no input given; need at least one",
                       std::invalid_argument);
  CHECK_THROWS_AS(backward(a)[b], std::invalid_argument);
  CHECK_THROWS_WITH_AS(Var{}.shape(), "value: the Var is empty; need one that an op or a tape gave",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward(a, {}, {a, a}),
                       "backward: 2 weights for 1 costs; need one for each", std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward(a, {}, one.constant(Tensor{1, 2})),
                       "backward: weight 0 is (2,), its cost is (1,); need the same shape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward(a, {}, Var{}),
                       "backward: input 0 is an empty Var; need a value on a tape",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward(a, {}, b),
                       "backward: weight 0 stands on another tape than the costs",
                       std::invalid_argument);
}

TEST_CASE(
    "a short list stands in the object itself, a long one outside, and both keep what they have") {
  using List = SmallVector<std::size_t>;
  for (std::size_t n = 0; n <= 9; ++n)
    for (std::size_t m = 0; m <= 9; ++m) {
      CAPTURE(n);
      CAPTURE(m);
      List list(n, 7), moved(m, 1), copied(m, 1);
      const auto inside = [](const List& l) {
        return l.data() >= static_cast<const void*>(&l) &&
               l.data() < static_cast<const void*>(&l + 1);
      };
      for (std::size_t i = 0; i < n; ++i) list[i] = i + 1;
      const List before = list;
      list.resize(m);
      CHECK(list.size() == m);
      CHECK(inside(list) == (m <= 4));
      for (std::size_t i = 0; i < m; ++i) CHECK(list[i] == (i < n ? i + 1 : 0));
      copied = before;
      CHECK(copied == before);
      moved = std::move(copied);
      CHECK(moved == before);
      CHECK(copied.empty());
      CHECK(inside(moved) == (n <= 4));
      const List& same = moved;
      moved = same;
      CHECK(moved == before);
    }
}

TEST_CASE("leaves keep their tensors, unless they are borrowed") {
  const std::vector<Tensor> w = {Tensor{1, 2}};
  Tape tape;
  const Var borrowed = tape.borrow_parameters(w)[0], kept = tape.parameter(Tensor{3, 4}),
            expression = tape.constant(w[0] + 1.0);
  CHECK(&borrowed.value() == &w[0]);
  CHECK(&tape.borrow_constant(w[0]).value() == &w[0]);
  CHECK(&tape.constant(w[0]).value() != &w[0]);
  CHECK(kept.value() == Tensor{3, 4});
  CHECK(expression.value() == Tensor{2, 3});
  CHECK(tape.constant(5).item() == 5);
  CHECK_THROWS_WITH_AS(borrowed.item(), "item: the value is (2,); need a single number",
                       std::invalid_argument);
}

TEST_CASE("a name that is no literal is kept, however it is given") {
  Tape tape;
  char buffer[8] = "first";
  const std::string text = "text";
  const char* words = text.c_str();
  const Var x = tape.parameter(Tensor{1, 2}, buffer), y = tape.record(buffer, {x}, Tensor{1}, {});
  std::copy_n("later", 6, buffer);
  const Var from_words = tape.constant(Tensor{1}, words), from_text = tape.record(text, {}, {}, {});
  CHECK(tape.node(x.index).op.name == "first");
  CHECK(tape.node(y.index).op.name == "first");
  CHECK(tape.node(from_words.index).op.name == "text");
  CHECK(tape.node(from_text.index).op.name == "text");
}

TEST_CASE("a backward is anything that can be called; one that is empty is none") {
  using Function = std::function<void(BackwardContext&)>;
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  const auto with = [&](Backward b) { return tape.record("op", {x}, Tensor{1, 2}, std::move(b)); };
  void (*const nobody)(BackwardContext&) = nullptr;
  for (const Var y : {with({}), with(nullptr), with(nobody), with(Function())})
    CHECK_FALSE(backward(y).reached(x));
  auto owned = std::make_unique<double>(3);
  const auto factor = [](Var g, double by) { return g.tape->constant(full(g.shape(), by)); };
  void (*const passes)(BackwardContext&) = [](BackwardContext& ctx) { ctx.pass(0); };
  CHECK(backward(with(passes))[x] == Tensor{1, 1});
  CHECK(backward(with(Function(passes)))[x] == Tensor{1, 1});
  CHECK(backward(with([factor, owned = std::move(owned)](BackwardContext& ctx) {
          ctx.give(0, factor(ctx.gradient(), *owned));
        }))[x] == Tensor{3, 3});
}

TEST_CASE("sum_to and broadcast_to against plain loops, and as each other's derivative") {
  Rng rng(3);
  const std::vector<std::pair<Shape, Shape>> cases = {{{}, {2, 3}},
                                                      {{3}, {2, 3}},
                                                      {{2, 1}, {2, 3}},
                                                      {{1, 3}, {2, 3}},
                                                      {{2, 3}, {2, 3}},
                                                      {{2, 1, 4}, {2, 3, 4}},
                                                      {{1, 3, 1}, {2, 3, 4}},
                                                      {{3, 1}, {2, 3, 4}},
                                                      {{1, 1, 1}, {2, 3, 4}},
                                                      {{2, 1, 1}, {2, 3, 1}},
                                                      {{}, {}},
                                                      {{1}, {1}},
                                                      {{0}, {2, 0}},
                                                      {{1}, {2, 0}},
                                                      {{2, 1}, {2, 0}},
                                                      {{5, 1}, {4, 5, 1}},
                                                      {{4, 1, 1, 2}, {4, 3, 1, 2}}};
  for (const std::pair<Shape, Shape>& shapes : cases) {
    const Shape &small = shapes.first, &large = shapes.second;
    INFO(str(small) << " in " << str(large));
    const Tensor x = rng.normal(large), y = rng.normal(small);
    // Place of each element of the large shape in the small one.
    std::vector<std::size_t> place(size_of(large));
    for (std::size_t i = 0; i < place.size(); ++i) {
      std::size_t rest = i, step = 1;
      for (std::size_t a = 0; a < large.size(); ++a) {
        const std::size_t axis = large.size() - 1 - a, index = rest % large[axis];
        rest /= large[axis];
        if (a >= small.size()) continue;
        const std::size_t d = small[small.size() - 1 - a];
        place[i] += (d == 1 ? 0 : index) * step;
        step *= d;
      }
    }
    Tensor sums = zeros(small);
    for (std::size_t i = 0; i < place.size(); ++i) sums.data()[place[i]] += x.data()[i];
    const Tensor found = sum_to(x, small), wide = broadcast_to(y, large);
    CHECK(found.shape() == small);
    CHECK(wide.shape() == large);
    for (std::size_t i = 0; i < sums.size(); ++i)
      CHECK(found.data()[i] == doctest::Approx(sums.data()[i]));
    for (std::size_t i = 0; i < place.size(); ++i) CHECK(wide.data()[i] == y.data()[place[i]]);
    CHECK(check_gradient([s = small](const auto& v) { return sum_to(v[0], s); }, {x}));
    CHECK(check_gradient([l = large](const auto& v) { return broadcast_to(v[0], l); }, {y}));
  }
  CHECK_THROWS_WITH_AS(sum_to(zeros({2, 3}), {2}), "sum_to: (2,) does not broadcast to (2, 3)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(broadcast_to(zeros({2}), {2, 3}),
                       "broadcast_to: (2,) does not broadcast to (2, 3)", std::invalid_argument);
}

TEST_CASE(
    "in double the checker rejects a derivative that is 0.05 % off, and accepts the right one") {
  Rng rng(5);
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    CheckOptions options;
    options.seed = seed;
    const std::vector<Tensor> x = {rng.normal({3, 4})};
    CHECK(check_gradient([](const auto& v) { return squared(v[0]); }, x, options));
    const CheckResult off =
        check_gradient([](const auto& v) { return squared(v[0], 1.0005); }, x, options);
    CHECK_FALSE(off.ok);
    CHECK(off.report.find("order 1") != std::string::npos);
  }
  // Which inputs were active when it was wrong; and large numbers, which differ by more, are no
  // kink.
  const CheckResult both =
      check_gradient([](const auto& v) { return times(squared(v[0], 1.01), v[1]); },
                     {1e6 * ones({2}), Tensor{1, 2}});
  CHECK(both.report.find("active inputs 0, 1: expected") != std::string::npos);
  CHECK(both.report.find("active inputs 0: expected") != std::string::npos);
  CHECK(both.report.find("kink") == std::string::npos);
}

TEST_CASE(
    "the checker rejects a recorded backward that differs from the one in numbers, and a wrong "
    "second order") {
  const auto split = [](const std::vector<Var>& v) {
    const Var x = v[0];
    return x.tape->record("split", {x}, product(x.value(), x.value()), [](BackwardContext& ctx) {
      const Var two =
          ctx.out().tape->constant(full(ctx.in(0).shape(), SweepDoor::recorded(ctx) ? 2.001 : 2));
      ctx.give(0, times(times(two, ctx.in(0)), ctx.gradient()));
    });
  };
  const CheckResult result = check_gradient(split, {Tensor{1, 2, 3}});
  CHECK_FALSE(result.ok);
  CHECK(result.report.find("recorded") != std::string::npos);
  CHECK(result.report.find("in numbers, active inputs 0: expected") == std::string::npos);

  // Right at first order, but the gradient forgets that it depends on x.
  const auto flat = [](const std::vector<Var>& v) {
    const Var x = v[0];
    return x.tape->record("flat", {x}, product(x.value(), x.value()), [](BackwardContext& ctx) {
      const Var slope = ctx.out().tape->constant(Tensor(ctx.in(0).value() * 2.0));
      ctx.give(0, times(slope, ctx.gradient()));
    });
  };
  CHECK(check_gradient(flat, {Tensor{1, 2, 3}}, {1, 1}));
  const CheckResult second = check_gradient(flat, {Tensor{1, 2, 3}});
  CHECK_FALSE(second.ok);
  CHECK(second.report.find("order 1") == std::string::npos);
  CHECK_THROWS_WITH_AS(check_gradient(flat, {Tensor{1, 2, 3}}, {1, 3}),
                       "check_gradient: order is 3; need 1 or 2", std::invalid_argument);
}

TEST_CASE("a zero gradient where the true one is not zero does not pass") {
  const auto silent = [](const std::vector<Var>& v) {
    return v[0].tape->record("silent", {v[0]}, product(v[0].value(), v[0].value()),
                             [](BackwardContext& ctx) {
                               ctx.give(0, ctx.out().tape->constant(zeros(ctx.in(0).shape())));
                             });
  };
  CHECK_FALSE(check_gradient(silent, {Tensor{1, 2, 3}}, {1, 1}));
  CHECK_FALSE(check_gradient([](const auto& v) { return cut(v[0]); }, {Tensor{1, 2, 3}}, {1, 1}));
}

TEST_CASE("the checker looks at more than four points all together, and at each alone") {
  for (const bool together : {true, false}) {
    // Wrong where both points want a gradient, or just where one alone does.
    const auto sometimes = [together](const std::vector<Var>& v) {
      const Var y =
          v[0].tape->record("sometimes", {v[0], v[4]}, product(v[0].value(), v[4].value()),
                            [together](BackwardContext& ctx) {
                              const bool wrong = (ctx.wants(0) && ctx.wants(1)) == together;
                              for (std::size_t i = 0; i < 2; ++i) {
                                const Var to = times(ctx.gradient(), ctx.in(1 - i));
                                ctx.give(i, wrong ? add_same(to, to) : to);
                              }
                            });
      return add_same(y, add_same(v[1], add_same(v[2], v[3])));
    };
    const std::vector<Tensor> points(5, Tensor{1, 2});
    CHECK_FALSE(check_gradient(sometimes, points, {1, 1}));
  }
}

TEST_CASE("the checker where a function and its gradient vanish: by what they are a step away") {
  // x^2 y, x^2 x y and x^2 x^2 y at x = 0: rounding and the differences' error are all there is.
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    CheckOptions options;
    options.seed = seed;
    for (int power : {2, 3, 4}) {
      CAPTURE(power);
      const auto flat = [power](const std::vector<Var>& v) {
        Var y = v[1];
        for (int i = 0; i < power; ++i) y = times(v[0], times(y, v[1]));
        return y;
      };
      CHECK(check_gradient(flat, {Tensor{0, 0}, Tensor{0.7, -0.3}}, options));
    }
  }
}

TEST_CASE("the checker rejects 1 % beside an offset of 1e9, and nonsense at slopes of 1e160") {
  const Tensor x = Rng(5).normal({10});
  const auto offset = [](const std::vector<Var>& v) {
    return add_same(squared(v[0], 1.01), v[0].tape->constant(full({10}, 1e9)));
  };
  CHECK_FALSE(check_gradient(offset, {x}, {1, 1}));
  for (const double given : {1e160, -3e160, 1.001e160}) {
    const auto steep = [given](const std::vector<Var>& v) {
      const Tensor y = v[0].value() * 1e160;
      return v[0].tape->record("steep", {v[0]}, y, [given](BackwardContext& ctx) {
        const Var slope = ctx.out().tape->constant(full({10}, given));
        ctx.give(0, times(ctx.gradient(), slope));
      });
    };
    CHECK(check_gradient(steep, {x}, {1, 1}).ok == (given == 1e160));
  }
}

TEST_CASE("a Var beyond the tape's end is refused wherever gradients are asked for") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}), cost = times(x, x);
  Var far = x;
  for (const std::uint32_t index : {2u, 999u, 4000000000u}) {
    far.index = index;
    CHECK_THROWS_AS(backward(far), std::out_of_range);
    CHECK_THROWS_AS(backward(cost, far), std::out_of_range);
    CHECK_THROWS_AS(backward(cost, {}, far), std::out_of_range);
    CHECK_THROWS_AS(differentiate(cost, far), std::out_of_range);
    CHECK_THROWS_AS(dry_run(cost, far), std::out_of_range);
    CHECK_THROWS_AS(stop_report(cost, far), std::out_of_range);
    CHECK_THROWS_AS(stop_report(far, x), std::out_of_range);
  }
  CHECK(backward(cost)[x] == Tensor{4, 6});
}

TEST_CASE("gradients of one tape are added node by node, and only to those of the same nodes") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}), y = tape.parameter(Tensor{3, 4});
  Gradients sum = backward(squared(x));
  CHECK_FALSE(sum.reached(y));
  sum += backward(times(x, y));
  CHECK(sum[x] == Tensor{5, 8});
  CHECK(sum[y] == Tensor{1, 2});
  CHECK(sum.reached(y));
  Gradients of_x({x}, {Tensor{1, 1}});
  CHECK_THROWS_WITH_AS(of_x += Gradients({y}, {Tensor{1, 1}}),
                       "Gradients: gradient 0 is (2,) of node 0, what is added (2,) of node 1; "
                       "need those of the same parameters",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(of_x += sum, "Gradients: 1 += 2 of them; need as many of each",
                       std::invalid_argument);
  const std::vector<Tensor> three(3, Tensor{1, 1});
  CHECK_THROWS_WITH_AS(Gradients({x, y, x}, three),
                       "Gradients: node 0 is there twice; need one gradient for each Var",
                       std::invalid_argument);
}

TEST_CASE("gradients as large as double holds are clipped, and not multiplied beyond it") {
  Tape tape;
  const Var x = tape.parameter(zeros({2}));
  const double most = std::numeric_limits<double>::max();
  for (const double size : {1.0, 1e300, most / 1.7})
    for (const double to : {1e-30, 0.5, 1e290}) {
      Gradients g({x}, {Tensor{size, size}});
      const double before = g.clip_norm(to);
      CHECK(before == doctest::Approx(std::sqrt(2) * size));
      CHECK(at(g[x], 0) == doctest::Approx(std::min(size, to / std::sqrt(2))).epsilon(1e-12));
    }
  Gradients largest({x}, {Tensor{-most, most}});
  CHECK(std::isinf(largest.norm()));
  CHECK(std::isinf(largest.clip_norm(3e-5)));
  CHECK(at(largest[x], 0) == doctest::Approx(-3e-5 / std::sqrt(2)).epsilon(1e-12));
  Gradients g({x}, {Tensor{1, 1e300}});
  CHECK_THROWS_WITH_AS(g *= 1e10,
                       "Gradients: *= 1e+10 takes the gradient of node 0 out of Scalar's range; "
                       "need a smaller number",
                       std::invalid_argument);
  CHECK(g[x] == Tensor{1, 1e300});
  for (const double bound : {std::numeric_limits<double>::infinity(), std::nan("")}) {
    CHECK_THROWS_AS(g.clip_norm(bound), std::invalid_argument);
    CHECK_THROWS_AS(g.clip_values(bound), std::invalid_argument);
  }
  Gradients infinite({x}, {Tensor{1, most * 2}});
  infinite *= 2;  // what is not finite already may stay so
  CHECK(at(infinite[x], 0) == 2);
}

TEST_CASE("an empty parameter's report, and what a report is made of, are printed in words") {
  Tape tape;
  const Var x = tape.parameter(zeros({0}), "x"), w = tape.parameter(Tensor{2, 3}, "w");
  CHECK(str(stop_report(times(x, x), x)) == "x: a gradient arrives, as empty as the parameter.\n");
  std::ostringstream out;
  for (const Stop reason :
       {Stop::reached, Stop::zero, Stop::not_finite, Stop::cut, Stop::unconnected, Stop::refused})
    out << reason << ", ";
  out << Worst::nan << ", " << tape.node(w.index).op.name;
  out << "; " << str(w) << "; " << Gradients({w}, {Tensor{1, 2}});
  CHECK(out.str() ==
        "reached, zero, not finite, cut, unconnected, refused, NaN, w; {2, 3}; w {1, 2}\n");
}

TEST_CASE(
    "a gradient that stops does so because somebody said so, and stop_report names the node: cut "
    "by a rule, never connected, merely zero") {
  Tape tape;
  const Var w = tape.parameter(Tensor{2, 3}, "w"), v = tape.parameter(Tensor{1, 1}, "v"),
            u = tape.parameter(Tensor{1, 1}, "u"), c = tape.constant(Tensor{1, 1}, "c"),
            dead = tape.parameter(Tensor{4, 4}, "dead");
  const Var nothing = tape.constant(zeros({2}));
  const Var saturated = times(dead, nothing);
  const Var cost = add_same(add_same(times(cut(times(v, v)), w), saturated), c);
  const std::vector<StopLine> report = stop_report(cost, {w, v, u, c, dead});
  REQUIRE(report.size() == 5);
  CHECK(report[0].reason == Stop::reached);
  CHECK(report[0].norm == doctest::Approx(std::sqrt(2.0)));
  CHECK(report[0].words == "w: a gradient arrives, of norm 1.41.");
  CHECK(report[1].reason == Stop::cut);
  REQUIRE(report[1].nodes.size() == 1);
  CHECK(tape.node(report[1].nodes[0].index).op.name == "cut");
  CHECK(report[1].words ==
        "v: no gradient. It was cut at cut (node 8), which passes nothing back. By request.");
  CHECK(report[2].reason == Stop::unconnected);
  CHECK(report[2].words ==
        "u: no gradient. The cost was not computed from it: no operations lead from one to the "
        "other.");
  CHECK(report[3].words ==
        "c: no gradient. It is a constant on this tape; tape.parameter() makes it one to learn.");
  CHECK(report[4].reason == Stop::zero);
  REQUIRE(report[4].nodes.size() == 1);
  CHECK(report[4].nodes[0].index == saturated.index);
  CHECK(report[4].words ==
        "dead: a gradient arrives, but it is zero: at times (node 6) one came in that is not, and "
        "nothing but zeros went on (saturated, or contributions that cancel).");
  // Two cuts in a row, and a cut beside an open way.
  CHECK(stop_report(cut(times(cut(v), v)), v)[0].words.find("would cut it too") !=
        std::string::npos);
  const Var open_too = add_same(cut(v), v);
  CHECK(stop_report(open_too, v)[0].words ==
        "v: a gradient arrives, of norm 1.41. Another part of it was cut at cut (node " +
            std::to_string(open_too.index - 1) + "), which passes nothing back. By request.");
  CHECK(stop_report(times(cut(v), times(dead, nothing)), dead)[0].reason == Stop::zero);
  // An op that forgets an input is named, and none before it.
  const Var forgetful =
      tape.record("forgetful", {times(v, v)}, Tensor{1, 1}, [](BackwardContext&) {});
  CHECK(stop_report(forgetful, v)[0].words.find("cut at forgetful") != std::string::npos);
  REQUIRE(stop_report(forgetful, v)[0].nodes.size() == 1);
  Tape other;
  CHECK_THROWS_WITH_AS(stop_report(cost, other.parameter(Tensor{1.0})),
                       "stop_report: a parameter stands on another tape than the cost",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(backward(cost, other.parameter(Tensor{1.0})),
                       "backward: a Var asked for stands on another tape than the costs",
                       std::invalid_argument);
  const Var blocked = cut(pathwise(w));
  CHECK(stop_report(blocked, w)[0].reason == Stop::refused);
  CHECK(str(report).find("u: no gradient") != std::string::npos);
  CHECK(str(stop_report(cost, {u, tape.parameter(Tensor{1.0}, "t")})) ==
        "u, t: no gradient. The cost was not computed from it: no operations lead from one to the "
        "other.\n");
}

TEST_CASE("whether a tape is there is known of any address, whichever of them went first") {
  auto first = std::make_unique<Tape>(), second = std::make_unique<Tape>(),
       third = std::make_unique<Tape>();
  const Tape* const places[] = {first.get(), second.get(), third.get()};
  const auto alive = [&] {
    return std::vector<bool>{Tape::alive(places[0]), Tape::alive(places[1]),
                             Tape::alive(places[2])};
  };
  CHECK(alive() == std::vector<bool>{true, true, true});
  second.reset();
  CHECK(alive() == std::vector<bool>{true, false, true});
  third.reset();
  CHECK(alive() == std::vector<bool>{true, false, false});
  first.reset();
  CHECK(alive() == std::vector<bool>{false, false, false});
  CHECK(!Tape::alive(nullptr));
}

TEST_CASE("a tape as text and as a graph tells exact, surrogate and cut apart") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3}, "w \"quoted\"");
  const Var blocked = cut(pathwise(x));
  times(blocked, tape.constant(Tensor{1, 1}));
  const std::string text = to_text(tape), dot = to_dot(tape);
  CHECK(text ==
        "#0 w \"quoted\" (2,)  (parameter)\n#1 choice[pathwise] (2,) <- #0  ~ passes back a "
        "surrogate\n"
        "#2 cut (2,) <- #1  x passes nothing back\n#3 constant (2,)\n#4 times (2,) <- #2, #3\n");
  CHECK(dot.find("n0 [label=\"w \\\"quoted\\\" (2,)\"") != std::string::npos);
  CHECK(dot.find("n0 -> n1 [style=dashed") != std::string::npos);
  CHECK(dot.find("n1 -> n2 [style=dotted") != std::string::npos);
  CHECK(dot.find("n3 -> n4 [color=gray70]") != std::string::npos);
  CHECK(dot.find("n3 [label=\"constant (2,)\", color=gray70]") != std::string::npos);
  CHECK(dot.find("n4 [label=\"times (2,)\"];") != std::string::npos);
  if (std::system("dot -V 2>/dev/null") == 0)
    CHECK(to_svg(tape).find("choice[pathwise]") != std::string::npos);
  else
    MESSAGE("left out, since there is no dot: a tape as SVG");
}

TEST_CASE("a tape of a million nodes is swept in a loop, and its memory is not kept") {
  const auto run = [] {
    Tape tape;
    const Tensor one{1.0};
    const Var x = tape.parameter(one);
    Var y = x;
    for (int i = 0; i < 1000000; ++i) y = add_same(y, x);
    return at(backward(y)[x], 0);
  };
  release_cached_memory();
  CHECK(run() == 1000001);
  CHECK(memory_use().cached_bytes < std::size_t{64} << 20);  // of about 600 MB
}

TEST_CASE("memory: blocks are used again, on 64-byte boundaries") {
  for (std::size_t bytes :
       {std::size_t{1}, std::size_t{64}, std::size_t{1024}, std::size_t{1025}, std::size_t{1280},
        std::size_t{1281}, std::size_t{5000}, std::size_t{1} << 20, (std::size_t{1} << 20) + 1}) {
    void* block = take_block(bytes);
    CHECK(reinterpret_cast<std::uintptr_t>(block) % 64 == 0);
    std::fill_n(static_cast<char*>(block), bytes, 'x');
    give_block(block, bytes);
  }
  // Every multiple of 64 up to 1024, then four steps to each doubling.
  for (const auto& [bytes, taken] :
       std::vector<std::pair<std::size_t, std::ptrdiff_t>>{{0, 64},
                                                           {1, 64},
                                                           {64, 64},
                                                           {65, 128},
                                                           {1024, 1024},
                                                           {1025, 1280},
                                                           {1280, 1280},
                                                           {1281, 1536},
                                                           {2049, 2560}}) {
    const std::ptrdiff_t held = memory_use().held_bytes;
    void* block = take_block(bytes);
    CHECK(memory_use().held_bytes - held == taken);
    give_block(block, bytes);
    CHECK(memory_use().held_bytes == held);
  }
  // A tensor that outlives what its thread keeps.
  std::thread([] {
    static thread_local Tensor late;
    late = zeros({1000});
  }).join();
  const std::size_t before = memory_use().system_requests;
  for (int i = 0; i < 100; ++i) Tensor t = zeros({1000});
  if (kRecycles) CHECK(memory_use().system_requests - before <= 1);
  release_cached_memory();
  CHECK(memory_use().cached_bytes == 0);

  const std::ptrdiff_t held = memory_use().held_bytes;
  reset_peak_memory();
  CHECK(memory_use().peak_bytes == held);
  const std::ptrdiff_t bytes = 1024 * sizeof(Scalar);
  {
    const Tensor a = zeros({1024});
    { const Tensor b = zeros({1024}); }
    CHECK(memory_use().held_bytes == held + bytes);
  }
  CHECK(memory_use().held_bytes == held);
  CHECK(memory_use().peak_bytes == held + 2 * bytes);
}

TEST_CASE("parallel_for covers every place once, and the first failure is the one reported") {
  for (int n : {1, 2, 3, 8}) {
    set_threads(n);
    for (std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{99}, std::size_t{100},
                             std::size_t{101}, std::size_t{12345}})
      for (int round = 0; round < 20; ++round) {
        std::vector<std::atomic<int>> seen(size);
        parallel_for(size, 10, [&](std::size_t begin, std::size_t end) {
          CHECK(begin % 10 == 0);
          parallel_for(end - begin, 1, [&](std::size_t b, std::size_t e) {
            for (std::size_t i = b; i < e; ++i) ++seen[begin + i];
          });
        });
        CHECK(std::all_of(seen.begin(), seen.end(), [](const auto& s) { return s == 1; }));
      }
    const auto failing = [] {
      parallel_for(1000, 1, [](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
          if (i >= 300) throw std::runtime_error("place " + std::to_string(i));
      });
    };
    for (int round = 0; round < 20; ++round)
      CHECK_THROWS_WITH_AS(failing(), "place 300", std::runtime_error);
  }
  // From several threads of the caller's at once: one has the pool, the others work on their own.
  set_threads(2);
  std::vector<std::size_t> sums(4, 0);
  std::vector<std::thread> callers;
  for (std::size_t& sum : sums)
    callers.emplace_back([&sum] {
      for (int round = 0; round < 200; ++round) {
        std::atomic<std::size_t> total{0};
        parallel_for(1000, 10, [&](std::size_t begin, std::size_t end) { total += end - begin; });
        sum += total;
      }
    });
  for (std::thread& t : callers) t.join();
  for (std::size_t sum : sums) CHECK(sum == 200000);
  set_threads(1);
}

TEST_CASE("a tape that is recorded by two threads at once refuses the second") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2});
  std::string words;
  const auto value = [&] {  // computed where it will stand, when the node has begun
    std::thread([&] {
      try {
        times(x, x);
      } catch (const std::logic_error& e) {
        words = e.what();
      }
    }).join();
    return x.value();
  };
  const Var y =
      SweepDoor::record(tape, Op("same"), x, value, [](BackwardContext& ctx) { ctx.pass(0); });
  CHECK(
      words ==
      "tape: two threads use it at once; need one for each thread, or one thread after the other");
  CHECK(tape.size() == 2);
  CHECK(identical(backward(y)[x], Tensor{1, 1}));
}

TEST_CASE(
    "backward_and_release: the same gradients, each as soon as it is complete; then values are "
    "gone") {
  Tape tape;
  const Var a = tape.parameter(Tensor{1, 2}), unused = tape.parameter(Tensor{3}),
            b = tape.parameter(Tensor{4, 5});
  const Var first = squared(a), second = add_same(first, b), third = add_same(second, a),
            cost = sum_to(third, {1}), late = tape.parameter(Tensor{6});
  const Gradients expected = backward(cost);
  std::vector<std::uint32_t> order;
  backward_and_release(cost, [&](Var p, Tensor& g) {
    order.push_back(p.index);
    CHECK(identical(g, expected[p]));
  });
  // b's last use is the second sum, a's the first op. Nothing arrives at the others.
  CHECK(order == std::vector<std::uint32_t>{b.index, a.index});
  CHECK(!expected.reached(unused));
  CHECK(late.item() == 6);
  CHECK(cost.item() == (1 + 4) + (1 + 2) + (4 + 5));
  CHECK(a.value()(1) == 2);
  CHECK_THROWS_WITH_AS(
      first.value(),
      "value: backward_and_release() has given back the value of squared (node 3); read it "
      "before, or sweep with backward()",
      std::logic_error);
  CHECK_THROWS_WITH_AS(backward(cost),
                       "backward: backward_and_release() has swept this tape; need a new one",
                       std::logic_error);
}

TEST_CASE("backward_and_release: a tensor borrowed twice is handed over after its last use") {
  const std::vector<Tensor> parameters = {Tensor{2.0}, Tensor{3.0}};
  Tape tape;
  const std::vector<Var> p = tape.borrow_parameters(parameters);
  const Var fixed = tape.borrow_constant(parameters[1]);
  // 3 is used by the cost itself and, as a constant, by what the cost was computed from.
  const Var inner = times(p[0], fixed), cost = times(inner, p[1]);
  std::vector<std::uint32_t> order;
  backward_and_release(cost, [&](Var v, Tensor&) { order.push_back(v.index); });
  REQUIRE(order.size() == 2);
  Tape again;
  const std::vector<Var> q = again.borrow_parameters(parameters);
  bool passed = false;
  const Var watched =
      again.record("watched", {again.borrow_constant(parameters[1])}, Tensor{1.0}, {});
  const Var late = again.record("late", {q[0], watched}, Tensor{1.0}, [&](BackwardContext& ctx) {
    passed = true;
    ctx.pass(0);
  });
  const Var top = times(late, q[1]);
  backward_and_release(top, [&](Var v, Tensor&) {
    if (v.index == q[1].index) CHECK(passed);
  });
  CHECK(to_text(again).find("#3 watched (given back)") != std::string::npos);
}

TEST_CASE("a node may have its input's value: not copied, and gone when that is gone") {
  const auto same = [](Var x) {
    return x.tape->record_same("same", {x}, 0, [](BackwardContext& ctx) { ctx.pass(0); });
  };
  const std::vector<Tensor> borrowed = {Tensor{2.0, 3.0}};
  for (bool lent : {false, true}) {
    Tape tape;
    const Var p = lent ? tape.borrow_parameters(borrowed)[0] : tape.parameter(Tensor{2.0, 3.0});
    const Var first = same(p), y = squared(first), seen = same(y), twice = same(seen),
              cost = same(times(twice, p));
    CHECK(&first.value() == &p.value());
    CHECK(&twice.value() == &y.value());
    CHECK(backward(cost)[p] == Tensor{12, 27});
    CHECK(backward(differentiate(cost, p))[p] == Tensor{12, 18});
    bool done = false;
    backward_and_release({cost, twice}, [&](Var, Tensor& g) {
      done = true;
      CHECK(g == Tensor{16, 33});
    });
    CHECK(done);
    CHECK(cost.value() == Tensor{8, 27});
    CHECK(twice.value() == Tensor{4, 9});
    CHECK_THROWS_AS(seen.value(), std::logic_error);
    CHECK_THROWS_AS(y.value(), std::logic_error);
    CHECK_THROWS_AS(first.value(), std::logic_error);
  }
  {  // A cost stays, what it is the same as goes.
    Tape tape;
    const Var nine = squared(tape.parameter(full({2000}, 3))), cost = same(same(nine));
    CHECK(&cost.value() == &nine.value());
    backward_and_release(cost, [](Var, Tensor& g) { CHECK(g == full({2000}, 6)); });
    CHECK(cost.value() == full({2000}, 9));
    CHECK_THROWS_AS(nine.value(), std::logic_error);
  }
  {  // Behind the cost: gone with what it has its value from, however large.
    Tape tape;
    const Var y = squared(tape.parameter(full({2000}, 1))), cost = squared(y), behind = same(y);
    CHECK(behind.value().size() == 2000);
    backward_and_release(cost, [](Var, Tensor&) {});
    CHECK_THROWS_AS(behind.value(), std::logic_error);
  }
  // In a backward that gives both: neither may be moved from under the other.
  Tape tape;
  const Var x = tape.parameter(Tensor{2.0}), z = tape.parameter(Tensor{5.0});
  const Var y = tape.record("both", {x, z}, Tensor{1.0}, [&](BackwardContext& ctx) {
    const Var g = times(ctx.in(0), ctx.gradient());
    ctx.give(0, g);
    ctx.give(1, same(g));
  });
  const Gradients g = backward(y);
  CHECK(g[x] == Tensor{2});
  CHECK(g[z] == Tensor{2});
}

TEST_CASE("gradients passed on in another shape are checked like any others") {
  const auto sweep = [](const Shape& from, const Shape& to, auto way) {
    Tape tape;
    const Var x = tape.parameter(ones(to));
    const Var y = tape.record("odd", {x}, ones(from), [way](BackwardContext& ctx) { way(ctx); });
    const bool same = backward(add_same(y, y))[x] == differentiate(add_same(y, y), x)[0].value();
    CHECK(same);
  };
  const auto moved = [](BackwardContext& ctx) { SweepDoor::pass(ctx, 0); };
  const auto passed = [](BackwardContext& ctx) { ctx.pass(0); };
  CHECK_THROWS_WITH_AS(sweep({3, 2}, {2, 4}, moved),
                       "odd: backward gave a gradient of shape (3, 2) for input 0 of shape (2, 4)",
                       std::logic_error);
  // What anybody may pass is summed, neither stretched nor put in another order.
  CHECK_THROWS_WITH_AS(sweep({3, 2}, {2, 3}, passed),
                       "odd: backward gave a gradient of shape (3, 2) for input 0 of shape (2, 3)",
                       std::logic_error);
  CHECK_THROWS_WITH_AS(sweep({3}, {2, 3}, passed),
                       "odd: backward gave a gradient of shape (3,) for input 0 of shape (2, 3)",
                       std::logic_error);
  sweep({1, 3}, {2, 3}, moved);
  sweep({3, 2}, {2, 3}, moved);
  sweep({1, 3}, {0, 3}, moved);
  sweep({2, 3}, {3}, passed);
  sweep({2, 3}, {1, 2, 3}, moved);
}

TEST_CASE(
    "the first node that makes a NaN or an infinity is named, forward or backward, and "
    "tape.detect_anomaly refuses it on the spot") {
  const auto op = [](Name name, Var x, double value, double slope) {
    return x.tape->record(name, {x}, full(x.shape(), value), [slope](BackwardContext& ctx) {
      ctx.give(0, ctx.out().tape->constant(full(ctx.in(0).shape(), slope)));
    });
  };
  constexpr double inf = std::numeric_limits<double>::infinity(),
                   nan = std::numeric_limits<double>::quiet_NaN();
  {
    Tape tape;
    const Var x = tape.parameter(Tensor{1, 2}, "x"), log = op("log", x, -inf, inf),
              cost = op("cost", op("minus", log, nan, nan), nan, nan);
    const StopLine line = stop_report(cost, x)[0];
    CHECK(line.words ==
          "x: a gradient arrives that is not finite. log: node 1 is infinite, its inputs are not.");
    CHECK(line.reason == Stop::not_finite);
    REQUIRE(line.nodes.size() == 1);
    CHECK(line.nodes[0].index == log.index);
    CHECK_FALSE(tape.detect_anomaly);
  }
  {  // The cost itself.
    Tape tape;
    const Var x = tape.parameter(Tensor{1}, "x"), cost = op("log", x, nan, 1);
    CHECK(stop_report(cost, x)[0].words ==
          "x: a gradient arrives, of norm 1. log: node 1 is NaN, its inputs are not.");
  }
  {  // NaN of an infinity is made, too; an infinity that was given is not.
    Tape tape;
    tape.detect_anomaly = true;
    const Var mask = tape.constant(Tensor{-inf, 0});
    const Var still = op("same", mask, -inf, 0);
    CHECK_THROWS_WITH_AS(op("product", still, nan, 0), "product: node 2 is NaN, its inputs are not",
                         NotFinite);
  }
  Tape tape;
  const Var x = tape.parameter(Tensor{0, 1}, "x"), root = op("root", x, 0, inf),
            cost = op("cost", op("scale", root, 1, 2), 1, 1);
  CHECK(stop_report(cost, x)[0].words ==
        "x: a gradient arrives that is not finite. root: the gradient that node 1 hands back is "
        "infinite, the one that arrived is not.");
  CHECK(backward(cost)[x] == Tensor{inf, inf});
  // Made by a backward among what it records: the node whose backward it is, which stays there.
  const Var made = tape.record("maker", {x}, Tensor{1, 1}, [&](BackwardContext& ctx) {
    ctx.give(0, op("inner", ctx.gradient(), nan, 0));
  });
  tape.detect_anomaly = true;
  const std::string maker = "maker: the gradient that node " + std::to_string(made.index) +
                            " hands back is NaN, the one that arrived is not";
  CHECK_THROWS_WITH_AS(backward(made), maker.c_str(), NotFinite);
  const std::string words =
      "root: the gradient that node 1 hands back is infinite, the one that arrived is not";
  CHECK_THROWS_WITH_AS(backward(cost), words.c_str(), NotFinite);
  CHECK_THROWS_WITH_AS(differentiate(cost, x), words.c_str(), NotFinite);
  tape.detect_anomaly = false;
  CHECK(backward(cost)[x] == Tensor{inf, inf});
}

TEST_CASE("lifetimes: gradients of a call are kept, a borrowed tensor that changed is noticed") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2, 3, 4}), y = times(x, x);
  // `Inputs costs{y, y}; backward(costs)` would read what the braces left behind.
  static_assert(!std::is_convertible_v<Inputs&, Inputs> && !std::is_convertible_v<Inputs, Inputs>);
  const Tensor& g = backward(y)[x];
  const auto half = backward(y)[x] / 2;
  Tensor other = full({4}, 99);  // would take the place of what had been given back
  CHECK(g == Tensor{2, 4, 6, 8});
  CHECK(Tensor(half) == Tensor{1, 2, 3, 4});

  for (std::size_t n : {1u, 16u, 17u, 1000u}) {
    Tape lent;
    std::vector<Tensor> w = {full({n}, 2)};
    Tensor batch = full({n}, 3);
    const Var p = lent.borrow_parameters(w)[0], z = times(p, lent.borrow_constant(batch));
    CHECK(backward(z)[p] == full({n}, 3));
    w[0] -= Scalar(0.1) * backward(z)[p];
    CHECK_THROWS_WITH_AS(backward(z),
                         "backward: parameter 0 (node 0) is borrowed, and has changed since it was "
                         "recorded; need a new tape after each update",
                         std::logic_error);
    w[0] = full({n, 1}, 2);
    CHECK_THROWS_WITH_AS(backward(z), doctest::Contains("has changed"), std::logic_error);
    w[0] = full({n}, 2);
    CHECK(differentiate(z, p)[0].value() == full({n}, 3));
    batch += Scalar(1);
    CHECK_THROWS_AS(differentiate(z, p), std::logic_error);
  }
}

TEST_CASE("a tensor resized to its own shape keeps its numbers, whatever its rank") {
  for (const Shape& shape : {Shape{6}, Shape{1, 2, 3}, Shape{1, 2, 1, 3, 1, 1}}) {
    Tensor t(shape);
    std::iota(t.begin(), t.end(), Scalar{1});
    t.resize(shape);  // as xtensor does before it assigns in place
    for (std::size_t i = 0; i < 6; ++i) CHECK(t.data()[i] == static_cast<Scalar>(i + 1));
  }
}

TEST_CASE("nodes that are not there are refused, wherever they are asked for") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2.0});
  Var stashed;
  const Var y = tape.record("leaky", {x}, Tensor{1.0}, [&](BackwardContext& ctx) {
    stashed = times(ctx.gradient(), ctx.gradient());
    ctx.give(0, stashed);
  });
  backward(y);
  CHECK_THROWS_AS(stashed.value(), std::out_of_range);  // it was the backward's own
  CHECK_THROWS_AS(tape.node(2), std::out_of_range);
  CHECK_THROWS_AS(tape.check_finite(70), std::out_of_range);
}

TEST_CASE("a node takes at most 260 bytes beyond its value") {
  CHECK(sizeof(Node) - kNumbersInside * sizeof(Scalar) <= 260);
}

TEST_CASE("the range of double: a norm's squares neither vanish nor overflow") {
  CHECK(norm(Tensor{3e-170, 4e-170}) == doctest::Approx(5e-170));
  CHECK(norm(Tensor{3e200, 4e200}) == doctest::Approx(5e200));
  CHECK(std::isnan(norm(Tensor{0, std::numeric_limits<double>::quiet_NaN(), 0})));
  Tape tape;
  const Var x = tape.parameter(Tensor{1.0}, "x");
  CHECK(stop_report(times(x, tape.constant(Tensor{2e-170})), x)[0].words ==
        "x: a gradient arrives, of norm 2e-170.");
}

TEST_CASE("shapes: printing, axes, broadcasting, and their errors") {
  CHECK(str(Shape{}) == "()");
  CHECK(str(Shape{4}) == "(4,)");
  CHECK(str(Shape{2, 3}) == "(2, 3)");
  CHECK(str(Tensor{{1, 0.25}, {-0.0, 1.0 / 3}}) == "{{1, 0.25}, {0, 0.3333}}");
  CHECK(str(full({}, 2)) == "2");
  CHECK(axis_of("sum", -1, {2, 3}) == 1);
  CHECK_THROWS_WITH_AS(axis_of("sum", 2, {2, 3}), "sum: axis 2 of (2, 3); need -2..1",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(axis_of("sum", 0, {}), "sum: axis 0 of (); a single number has no axes",
                       std::invalid_argument);
  CHECK(broadcast_shape("add", {2, 1, 4}, {3, 1}) == Shape{2, 3, 4});
  const Tensor row = ones({3}), column = ones({2, 1});  // shapes of expressions are shapes too
  CHECK(zeros((row + column).shape()) == zeros({2, 3}));
  CHECK(zeros(xt::xarray<Scalar>(row + column).shape()) == zeros({2, 3}));
  CHECK_THROWS_WITH_AS(
      broadcast_shape("add", {2, 3}, {2}),
      "add: a is (2, 3), b is (2,); need equal lengths, or 1, on each axis, counted from the last",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(tensor({2, 2}, {1, 2, 3}), "tensor: 3 values for shape (2, 2); need 4",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(reshaped(zeros({2, 3}), {5}), "reshape: x is (2, 3); cannot become (5,)",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(set_threads(0), "set_threads: n is 0; need at least 1",
                       std::invalid_argument);
}
