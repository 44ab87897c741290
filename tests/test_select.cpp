// select() and mixture(): values against plain loops, gradients of both orders, what is on the
// tape.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "models/architecture_search.hpp"
#include "models/measure.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"
#include "tests/vjp_of.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

Tensor hard(const std::vector<std::size_t>& labels, std::size_t k) {
  const Tensor rows = one_hot(labels, k);
  return labels.size() == 1 ? reshaped(rows, {k}) : rows;
}

// Three branches with a parameter each, (3,): they scale, bend and turn around what they get.
std::vector<BranchOf> branches_of(const Vars& w) {
  return {[w](Var x) { return x * w[0]; }, [w](Var x) { return tanh(x + w[1]); },
          [w](Var x) { return square(x) - x * w[2]; }};
}

std::vector<Branch> bound(const std::vector<BranchOf>& branches, Var x) {
  std::vector<Branch> all;
  for (const BranchOf& b : branches) all.push_back([=] { return b(x); });
  return all;
}

// y = D_k o_k + sum_{j != k} D_j as it is written, for one choice of all.
Var as_written(Var d, std::size_t k, Var x, const std::vector<BranchOf>& branches,
               Unchosen others) {
  Var y = branches[k](x) * gather(d, {k}, {});
  for (std::size_t j = 0; j < branches.size(); ++j)
    if (j != k && others == Unchosen::as_scalars) y = y + gather(d, {j}, {});
  return y;
}

std::vector<std::string> names(const Tape& tape) {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < tape.size(); ++i) all.push_back(tape.node(i).op.name);
  return all;
}

}  // namespace

TEST_CASE("select is D_k o_k, with the others as nothing or as scalars, to second order") {
  Rng rng(1);
  const Tensor x0 = rng.normal({4, 3}), g0 = rng.normal({4, 3});
  for (Unchosen others : {Unchosen::nothing, Unchosen::as_scalars})
    for (std::size_t k = 0; k < 3; ++k)
      for (const Shape& shape : {Shape{3}, Shape{1, 3}}) {
        std::vector<Tensor> found[2];
        for (bool written : {false, true}) {
          Tape tape;
          const Var d = tape.parameter(reshaped(hard({k}, 3), shape)), x = tape.parameter(x0);
          const Vars w = {tape.parameter(ones({3})), tape.parameter(full({3}, 0.3)),
                          tape.parameter(full({3}, 0.2))};
          const auto b = branches_of(w);
          const Var y = written ? as_written(d, k, x, b, others) : select(d, x, b, others);
          const Var cost = sum(tape.constant(g0) * square(y));
          const Vars wrt = {d, x, w[0], w[1], w[2]};
          const Vars slopes = differentiate(cost, wrt);
          Var again = tape.constant(0.0);
          for (const Var& s : slopes) again = again + sum(square(s));
          auto& to = found[written];
          to.push_back(y.value());
          const Gradients first = backward(cost), second = backward(again);
          for (const Var& v : wrt) to.push_back(first[v]), to.push_back(second[v]);
          for (const Var& s : slopes) to.push_back(s.value());
        }
        for (std::size_t i = 0; i < found[0].size(); ++i) check_close(found[0][i], found[1][i]);
      }
}

TEST_CASE("the chosen branch gets its inner product, the others what was asked for") {
  Rng rng(2);
  const Tensor x0 = rng.normal({5, 3}), g0 = rng.normal({5, 3});
  const std::vector<std::size_t> labels = {2, 0, 2, 1, 0};
  for (Unchosen others : {Unchosen::nothing, Unchosen::as_scalars}) {
    Tape tape;
    const Var d = tape.parameter(hard(labels, 3)), x = tape.parameter(x0);
    const Var y = select(d, x,
                         {[](Var v) { return 2 * v; }, [](Var v) { return exp(v); },
                          [](Var v) { return v * v * v; }},
                         others);
    const Gradients g = backward(y, {}, tape.constant(g0));
    for (std::size_t r = 0; r < 5; ++r) {
      double product = 0, total = 0;
      for (std::size_t c = 0; c < 3; ++c) {
        const double v = x0(r, c), slope = g0(r, c);
        const double value[] = {2 * v, std::exp(v), v * v * v};
        const double derivative[] = {2, std::exp(v), 3 * v * v};
        CHECK(y.value()(r, c) == doctest::Approx(value[labels[r]]));
        CHECK(g[x](r, c) == doctest::Approx(slope * derivative[labels[r]]));
        product += slope * value[labels[r]];
        total += slope;
      }
      for (std::size_t k = 0; k < 3; ++k)
        CHECK(g[d](r, k) == doctest::Approx(k == labels[r]                ? product
                                            : others == Unchosen::nothing ? 0
                                                                          : total));
    }
  }
}

TEST_CASE("each example by itself is as if it were alone") {
  Rng rng(3);
  const Tensor x0 = rng.normal({6, 2, 3}), g0 = rng.normal({6, 2, 3});
  for (const std::vector<std::size_t>& labels :
       {std::vector<std::size_t>{1, 2, 0, 1, 1, 2}, {2, 2, 2, 2, 2, 2}, {0, 0, 1, 1, 0, 0}})
    for (Unchosen others : {Unchosen::nothing, Unchosen::as_scalars}) {
      std::vector<Tensor> found[2];
      for (bool alone : {false, true}) {
        Tape tape;
        const Var d = tape.parameter(hard(labels, 3)), x = tape.parameter(x0);
        const Vars w = {tape.parameter(ones({3})), tape.parameter(full({3}, 0.3)),
                        tape.parameter(full({3}, 0.2))};
        Vars each;
        for (std::size_t r = 0; alone && r < 6; ++r)
          each.push_back(select(slice(d, r, r + 1), slice(x, r, r + 1), branches_of(w), others));
        const Var y = alone ? concatenate(each) : select(d, x, branches_of(w), others);
        const Var cost = sum(tape.constant(g0) * square(y));
        const Vars wrt = {d, x, w[0], w[1], w[2]};
        const Vars slopes = differentiate(cost, wrt);
        Var again = tape.constant(0.0);
        for (const Var& s : slopes) again = again + sum(square(s));
        const Gradients first = backward(cost), second = backward(again);
        found[alone].push_back(y.value());
        for (const Var& v : wrt)
          found[alone].push_back(first[v]), found[alone].push_back(second[v]);
      }
      for (std::size_t i = 0; i < found[0].size(); ++i) check_close(found[0][i], found[1][i]);
    }
}

TEST_CASE("the gradient checker agrees, at both orders") {
  for (const auto& [labels, shape] : {std::pair{std::vector<std::size_t>{1}, Shape{2, 3}},
                                      {{2, 0, 2, 2}, {4, 3}},
                                      {{1, 1, 1}, {3, 3}}}) {
    const Tensor d = hard(labels, 3);
    const CheckResult found = check_gradient(
        [&](const Vars& v) {
          return select(v[0].tape->constant(d), v[0], branches_of({v[1], v[2], v[3]}));
        },
        {Rng(4).normal(shape), Rng(5).normal({3}), Rng(6).normal({3}), Rng(7).normal({3})});
    CHECK_MESSAGE(found, found.report);
  }
  struct Row {
    Shape weights, x;
  };
  for (const Row& row : {Row{{3}, {4, 3}},
                         {{1, 3}, {2, 3}},
                         {{4, 3}, {4, 3}},
                         {{2, 3}, {2, 5, 3}},
                         {{3}, {3}},
                         {{3}, {0, 3}},
                         {{0, 3}, {0, 3}}}) {
    const CheckResult found = check_gradient(
        [](const Vars& v) {
          return mixture(v[0], v[1], branches_of({v[2], v[2], v[2]}));
        },
        {Rng(4).normal(row.weights), Rng(5).normal(row.x), Rng(6).normal({3})});
    CHECK_MESSAGE(found, found.report);
  }
  // The same output twice, a constant, and weights that depend on what they weigh.
  const CheckResult found = check_gradient(
      [](const Vars& v) {
        const Var zero = v[0].tape->constant(zeros({2, 2000}));
        return mixture(softmax(sum(v[0], 1)), {[&] { return v[0]; }, [&] { return v[0]; }}) +
               mixture(v[1],
                       {[&] { return v[0]; }, [&] { return zero; }, [&] { return tanh(v[0]); }});
      },
      {Rng(4).normal({2, 2000}), Rng(5).normal({3})});
  CHECK_MESSAGE(found, found.report);
  const CheckResult handed_back =
      check_gradient(vjp_of([](const Vars& v) {
                       const Var one = v[0].tape->constant(ones({3}));
                       return mixture(v[0], {[&] { return one; }, [&] { return v[1]; }});
                     }),
                     {Rng(4).normal({2}), Rng(5).normal({3}), Rng(6).normal({3})});
  CHECK_MESSAGE(handed_back, handed_back.report);
}

TEST_CASE("the tape holds nothing of the branches that were not chosen") {
  const auto run = [](std::size_t k, std::size_t chosen, bool mixed) {
    Tape tape;
    const Var x = tape.parameter(ones({4, 3}));
    std::vector<BranchOf> branches(k, [](Var v) { return exp(tanh(v)); });
    branches[0] = [](Var v) { return square(sigmoid(v)); };
    const Var d = tape.constant(hard({chosen}, k));
    mixed ? mixture(d, x, branches) : select(d, x, branches);
    return names(tape);
  };
  CHECK(run(2, 1, false) ==
        std::vector<std::string>{"parameter", "constant", "tanh", "exp", "select"});
  CHECK(run(8, 5, false) == run(2, 1, false));
  CHECK(run(8, 5, true).size() == 3 + 8 * 2);
  std::size_t calls = 0;
  std::vector<std::size_t> rows;
  Tape tape;
  const Var x = tape.constant(ones({5, 2}));
  const auto never = [&](Var) -> Var { throw std::logic_error("not chosen"); };
  const auto counted = [&](Var v) {
    ++calls;
    rows.push_back(v.shape()[0]);
    return v;
  };
  select(tape.constant(hard({3, 1, 3, 3, 1}, 4)), x, {never, counted, never, counted});
  CHECK(calls == 2);
  CHECK(rows == std::vector<std::size_t>{2, 3});
}

TEST_CASE("expected costs of a selection are those of its branches") {
  Rng rng(8);
  const Tensor x0 = rng.normal({3}), logits = rng.normal({3});
  const auto outputs = [&](Var z) {
    const Vars w(3, z.tape->constant(full({3}, 0.4)));
    return bound(branches_of(w), z.tape->constant(x0));
  };
  const Cost selecting = [&](Var z) {
    if (z.shape().size() == 1) return sum(square(select(z, outputs(z))));
    Vars costs;  // a choice for each row
    for (std::size_t r = 0; r < z.shape()[0]; ++r)
      costs.push_back(sum(square(select(slice(z, r, r + 1), outputs(z)))));
    return stack(costs);
  };
  // By hand: sum_k p_k f_k, and its gradient p_k (f_k - mean).
  Tape tape;
  const Vars w(3, tape.constant(full({3}, 0.4)));
  double f[3], p[3], total = 0, mean = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    f[k] = sum(square(branches_of(w)[k](tape.constant(x0)))).item();
    total += p[k] = std::exp(logits(k));
  }
  for (std::size_t k = 0; k < 3; ++k) mean += (p[k] /= total) * f[k];
  const Tensor exact = exact_gradient(selecting, logits);
  for (std::size_t k = 0; k < 3; ++k) CHECK(exact(k) == doctest::Approx(p[k] * (f[k] - mean)));
  CHECK(expectation(tape.constant(logits), selecting).item() == doctest::Approx(mean));

  // The score function reads costs through it, and is exact on average.
  MeasureOptions all;
  all.enumerate = true;
  CHECK(measure(score_function(), selecting, logits, all).bias < 1e-12);
  // Straight-through through it has the mean J(p) (p * c), c_k = <g_k, o_k>: each operation is
  // credited only as often as it is run. Here g = 2 o, so c = 2 f.
  double credit = 0, off = 0, norm = 0;
  for (std::size_t k = 0; k < 3; ++k) credit += p[k] * p[k] * 2 * f[k];
  for (std::size_t k = 0; k < 3; ++k) {
    const double e = p[k] * (f[k] - mean), g = p[k] * (p[k] * 2 * f[k] - credit);
    off += (g - e) * (g - e);
    norm += e * e;
  }
  CHECK(measure(straight_through(), selecting, logits, all).bias ==
        doctest::Approx(std::sqrt(off / norm)));
}

TEST_CASE("where all examples choose the same, the value is the branch's own, not copied") {
  Tape tape;
  const Var x = tape.parameter(Rng(1).normal({5, 4}));
  for (const Shape& shape : {Shape{3}, Shape{1, 3}}) {
    const Var d = tape.parameter(reshaped(hard({1}, 3), shape));
    Var h;
    const auto branch = [&](Var v) { return h = tanh(v); };
    const Var y = select(d, x, {branch, branch, branch});
    CHECK(&y.value() == &h.value());
    const auto bound = [&] { return h = exp(x); };
    const Var z = select(d, {bound, bound, bound}, Unchosen::as_scalars);
    CHECK(&z.value() == &h.value());
  }
}

TEST_CASE("a mixture with a hard choice is the selection, with every slope") {
  Rng rng(9);
  const Tensor x0 = rng.normal({2, 3000}), g0 = rng.normal({2, 3000});
  Tape tape;
  const Var d = tape.parameter(hard({1}, 3)), e = tape.parameter(hard({1, 2}, 3)),
            x = tape.constant(x0);
  const std::vector<BranchOf> branches = {[](Var v) { return 2 * v; }, [](Var v) { return v - 1; },
                                          [](Var v) { return square(v); }};
  const Var together = mixture(d, x, branches), apart = mixture(e, x, branches);
  CHECK(identical(together.value(), select(d, x, branches).value()));
  CHECK(identical(apart.value(), select(e, x, branches).value()));
  const Gradients g = backward({together, apart}, {}, {tape.constant(g0), tape.constant(g0)});
  Tensor sums = zeros({2, 3});
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t c = 0; c < 3000; ++c) {
      const double v = x0(r, c), values[] = {2 * v, v - 1, v * v};
      for (std::size_t k = 0; k < 3; ++k) sums(r, k) += g0(r, c) * values[k];
    }
  for (std::size_t k = 0; k < 3; ++k) {
    CHECK(g[d](k) == doctest::Approx(sums(0, k) + sums(1, k)));
    for (std::size_t r = 0; r < 2; ++r) CHECK(g[e](r, k) == doctest::Approx(sums(r, k)));
  }
}

TEST_CASE("a mixture is the same whatever the thread count") {
  const auto run = [] {
    Tape tape;
    const Var w = tape.parameter(Rng(1).normal({4})), x = tape.parameter(Rng(2).normal({100000}));
    const Var y = mixture(w, x, std::vector<BranchOf>(4, [](Var v) { return tanh(v); }));
    const Gradients g = backward(y * y);
    return std::vector<Tensor>{y.value(), g[w], g[x]};
  };
  const std::vector<Tensor> one = run();
  set_threads(4);
  const std::vector<Tensor> four = run();
  set_threads(1);
  for (std::size_t i = 0; i < 3; ++i) CHECK(identical(one[i], four[i]));
}

TEST_CASE("through a sampled choice the rules get what they ask for") {
  Tape tape;
  Rng rng(3);
  const Var l = tape.parameter(zeros({3})), x = tape.parameter(ones({2, 2}));
  const auto f = [](Var v) { return 3 * v; };
  const Var st = sample(l, st_gumbel_softmax(1.0), rng);
  const Gradients g = backward(select(st, x, {f, f, f}));
  CHECK(g.reached(l));
  CHECK(g[x](0, 0) == 3);
  // Only the costs reach it: nothing of the value's gradient is computed.
  const Var d = sample(l, score_function(), rng);
  const Gradients s = backward(select(d, x, {f, f, f}));
  CHECK(s.reached(l));
  const std::size_t k = indices_of(d)[0];
  CHECK(s[l](k) == doctest::Approx(12 * 2.0 / 3));
  // Each example by itself is credited with its own cost.
  const Var m = tape.parameter(zeros({2, 3}));
  const Var each = sample(m, score_function(), rng);
  const Var costs = sum(select(each, x * tape.constant(tensor({2, 1}, {1, 10})), {f, f, f}), 1);
  const Gradients own = backward(costs);
  const std::vector<std::size_t> chosen = indices_of(each);
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t j = 0; j < 3; ++j)
      CHECK(own[m](r, j) == doctest::Approx((r == 0 ? 6 : 60) * ((j == chosen[r]) - 1 / 3.0)));
  // A rule that needs a path has one.
  const Var cut = select(argmax(l, zero()), x, {f, f, f});
  CHECK_FALSE(backward(cut).reached(l));
}

TEST_CASE("the unrolled loss of a cell is differentiated through the step of its weights") {
  Dataset digits;
  digits.height = digits.width = 4;
  digits.classes = 3;
  digits.labels = {2, 0};
  digits.images = Rng(1).uniform({2, 16});
  Dataset unseen = digits;
  unseen.images = Rng(2).uniform({2, 16});
  unseen.labels = {1, 2};
  Rng rng(3);
  const CellNetwork network(digits, 2, {3, {"conv3x3", "max3x3", "avg3x3"}}, rng);
  const auto loss = [&](Var logits, double xi) {
    return unrolled_cell_loss(
        network, logits, [](Var l) { return softmax(l); }, digits, unseen, xi);
  };
  const Tensor logits = Rng(4).normal({3, 3});
  CheckOptions options;
  options.order = 1;
  options.step = 1e-5;  // short of the next kink
  const CheckResult found =
      check_gradient([&](const Vars& v) { return loss(v[0], 0.5); }, {logits}, options);
  CHECK_MESSAGE(found, found.report);
  // It is not the gradient at w', taken as a constant: the first order.
  Tape tape;
  const Var l = tape.parameter(logits);
  const Var unrolled = loss(l, 0.5);
  CellNetwork moved = network;
  {
    Tape own;
    const Vars w = own.borrow_parameters(network.parameters);
    const Var images = own.constant(digits.images), choice = softmax(own.constant(logits));
    const Var before =
        mean(cross_entropy(network(w, images,
                                   [&](const CellNetwork::Into& into) {
                                     std::vector<Branch> all;
                                     for (const auto& e : into.edges)
                                       all.insert(all.end(), e.begin(), e.end());
                                     const Var part =
                                         slice(choice, into.first, into.first + into.edges.size());
                                     return mixture(reshape(part, {all.size()}), all);
                                   }),
                           digits.labels));
    const Gradients g = backward(before);
    for (std::size_t i = 0; i < w.size(); ++i) moved.parameters[i] -= 0.5 * g[w[i]];
  }
  const Var first = cell_cost(moved, unseen, CellRuns::all)(softmax(l));
  CHECK(unrolled.item() == doctest::Approx(first.item()));
  const Tensor both = backward(unrolled)[l], alone = backward(first)[l];
  double off = 0, norm = 0;
  for (std::size_t i = 0; i < 9; ++i) {
    off += std::pow(both.data()[i] - alone.data()[i], 2);
    norm += std::pow(both.data()[i], 2);
  }
  CHECK(off > 1e-4 * norm);
}

TEST_CASE("not finite: weights are refused, and what weighs nothing adds nothing") {
  const double inf = std::numeric_limits<double>::infinity(),
               nan = std::numeric_limits<double>::quiet_NaN();
  for (double bad : {nan, inf, -inf}) {
    Tape tape;
    const Var x = tape.parameter(Tensor{{1, 2}, {3, 4}}), none = tape.parameter(full({2, 2}, bad));
    const std::vector<Branch> both = {[&] { return x; }, [&] { return none; }};
    refuses(
        [&] {
          mixture(tape.constant(Tensor{1, bad}), both);
        },
        "mixture: the weights are not finite in row 0; need numbers");
    refuses(
        [&] {
          mixture(tape.constant(tensor({2, 2}, {1, 0, bad, 1})), both);
        },
        "mixture: the weights are not finite in row 1; need numbers");
    const Var w = tape.parameter(Tensor{2, 0}), y = mixture(w, both);
    CHECK(y.value() == 2 * x.value());
    const Gradients g = backward(y);
    CHECK(g[x] == full({2, 2}, 2));
    CHECK(g[none] == zeros({2, 2}));
    CHECK(g[w](0) == 10);
    const Var each = mixture(tape.constant(tensor({2, 2}, {1, 0, 0, 0})), both);
    CHECK(each.value() == Tensor{{1, 2}, {0, 0}});
  }
}

TEST_CASE("order and batch: branches in another order, and each example alone") {
  Rng rng(10);
  const std::size_t rows = 5;
  const Tensor x0 = rng.normal({rows, 3}), w0 = rng.uniform({rows, 3}), g0 = rng.normal({rows, 3});
  const std::vector<std::size_t> order = {2, 0, 1}, labels = {1, 2, 0, 1, 1};
  for (bool chosen : {false, true}) {
    const auto found = [&](const Tensor& w, const Tensor& x, const Tensor& g,
                           const std::vector<std::size_t>& order) {
      Tape tape;
      const Vars p = {tape.constant(2.0), tape.constant(0.3), tape.constant(0.2)};
      const std::vector<BranchOf> all = branches_of(p);
      const std::vector<BranchOf> branches = {all[order[0]], all[order[1]], all[order[2]]};
      const Var weights = tape.parameter(w), v = tape.parameter(x);
      const Var picked = take(weights, order, 1);
      const Var y = chosen ? select(picked, v, branches) : mixture(picked, v, branches);
      const Gradients back = backward(y, {}, tape.constant(g));
      return std::vector<Tensor>{y.value(), back[weights], back[v]};
    };
    const Tensor w = chosen ? hard(labels, 3) : w0;
    const std::vector<Tensor> all = found(w, x0, g0, {0, 1, 2}), other = found(w, x0, g0, order);
    for (std::size_t k = 0; k < 3; ++k) check_close(other[k], all[k]);
    for (std::size_t r = 0; r < rows; ++r) {
      Tape tape;
      const auto one = [&](const Tensor& t) { return slice(tape.constant(t), r, r + 1).value(); };
      const std::vector<Tensor> alone = found(one(w), one(x0), one(g0), order);
      for (std::size_t k = 0; k < 3; ++k) check_close(alone[k], one(all[k]));
    }
  }
}

TEST_CASE("what does not fit is refused") {
  Tape tape;
  const auto f = [](Var v) { return v; };
  const Var x = tape.constant(ones({2, 3})), d = tape.constant(hard({1}, 2)),
            each = tape.constant(hard({1, 0}, 2));
  const auto g = [&] { return x; };
  refuses(
      [&] {
        select(tape.constant(Tensor{0.5, 0.5}), {g, g});
      },
      "select: row 0 of the choice is not one-hot; need a hard choice, or mixture() for a soft "
      "one");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  refuses(
      [&] {
        select(tape.constant(tensor({2, 2}, {1, 0, nan, 1})), x, {f, f});
      },
      "select: row 1 of the choice is not one-hot; need a hard choice, or mixture() for a soft "
      "one");
  refuses(
      [&] {
        select(d, {g, g, g});
      },
      "select: the choice is (2,), with 3 branches; need one branch for each of at least one "
      "category");
  refuses([&] { select(d, std::vector<Branch>{}); },
          "select: the choice is (2,), with 0 branches; need one branch for each of at least one "
          "category");
  refuses(
      [&] {
        select(each, {g, g});
      },
      "select: the choice is (2, 2), one for each example; need their x, to hand out its rows: "
      "select(choice, x, branches)");
  refuses([&] { select(tape.constant(1.0), {g}); },
          "select: the choice is (); need (K,), (1, K) or (B, K)");
  refuses(
      [&] {
        select(tape.constant(ones({1, 1, 1})), {g});
      },
      "select: the choice is (1, 1, 1); need (K,), (1, K) or (B, K)");
  refuses(
      [&] {
        select(each, tape.constant(ones({3, 3})), {f, f});
      },
      "select: the choice is (2, 2), x is (3, 3); need a row of x for each of at least one "
      "example");
  refuses(
      [&] {
        select(tape.constant(zeros({0, 2})), tape.constant(zeros({0, 3})), {f, f});
      },
      "select: the choice is (0, 2), x is (0, 3); need a row of x for each of at least one "
      "example");
  refuses(
      [&] {
        select(each, x, {f, [](Var v) { return sum(v); }});
      },
      "select: branch 1 gave () for 1 row; need (1, 3), as the other branches");
  refuses(
      [&] {
        select(each, x, {f, [](Var v) { return sum(v, 1); }});
      },
      "select: branch 1 gave (1,) for 1 row; need (1, 3), as the other branches");
  refuses(
      [&] {
        select(each, x, {[](Var v) { return sum(v); }, f});
      },
      "select: branch 0 gave () for 1 row; need a row for each");
  refuses([&] { select(d, x, {f, BranchOf()}); }, "select: branch 1 is empty; need a function");
  refuses([&] { mixture(d, x, {f, BranchOf()}); }, "mixture: branch 1 is empty; need a function");
  refuses([&] { mixture(d, {g}); },
          "mixture: the weights are (2,), with 1 branch; need one branch for each of at least one "
          "category");
  refuses(
      [&] {
        mixture(d, x, {f, [](Var v) { return sum(v); }});
      },
      "mixture: branch 1 gave (), branch 0 (2, 3); need the same shape of all");
  refuses(
      [&] {
        mixture(tape.constant(ones({3, 2})), x, {f, f});
      },
      "mixture: the weights are (3, 2), branch 0 gave (2, 3); need a row for each example");
  Tape other;
  refuses(
      [&] {
        select(d, {g, [&] { return other.constant(1.0); }});
      },
      "select: input 1 stands on another tape; need all on one tape");
}
