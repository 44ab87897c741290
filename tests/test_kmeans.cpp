// k-means by Lloyd, Newton and gradient descent. Built for both libraries.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "engine/gradcheck.hpp"
#include "engine/sweep.hpp"
#include "models/data/points.hpp"
#include "models/kmeans.hpp"
#include "models/kmeans_start.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/shape.hpp"
#include "tests/distance.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

constexpr bool kDouble = sizeof(Scalar) == 8;

// Seeds of the long comparisons; a second one runs the same code.
constexpr std::uint64_t kSeeds = kRecycles ? 4 : 1;

double at(const Tensor& t, std::size_t i, std::size_t j) { return static_cast<double>(t(i, j)); }

double squared(const Tensor& x, std::size_t i, const Tensor& c, std::size_t m) {
  double sum = 0;
  for (std::size_t j = 0; j < x.shape()[1]; ++j) sum += std::pow(at(x, i, j) - at(c, m, j), 2);
  return sum;
}

double largest_size(const Tensor& t) { return farthest(t, zeros(t.shape())); }

// How much farther a point's second centre is than its first, where that is least, in units of
// what rounding the centres and summing the squares may make of it.
double closest_call(const Tensor& x, const Tensor& c) {
  double least = std::numeric_limits<double>::infinity();
  const double dim = static_cast<double>(x.shape()[1]),
               eps = static_cast<double>(std::numeric_limits<Scalar>::epsilon());
  for (std::size_t i = 0; i < x.shape()[0] && c.shape()[0] > 1; ++i) {
    std::vector<double> d(c.shape()[0]);
    for (std::size_t m = 0; m < d.size(); ++m) d[m] = squared(x, i, c, m);
    std::nth_element(d.begin(), d.begin() + 1, d.end());
    const double rounding = eps * (d[1] + largest_size(c) * std::sqrt(dim * d[1]));
    least = std::min(least, (d[1] - d[0]) / rounding);
  }
  return least;
}

// Loss and gradient at some centres.
struct Slope {
  double loss;
  Tensor gradient, diagonal;
};
Slope slope_at(const Tensor& x, const Tensor& centres) {
  Tape tape;
  const Var c = tape.parameter(centres);
  const Var loss = kmeans_loss(tape.borrow_constant(x), c, zero());
  const Var g = differentiate(loss, c)[0];
  double total = 0;
  for (Scalar l : loss.value()) total += static_cast<double>(l);
  return {total, g.value(), differentiate(sum(g), c)[0].value()};
}

struct Problem {
  std::string name;
  Tensor points;
  std::size_t clusters;
};

std::vector<Problem> problems(std::uint64_t seed) {
  Rng rng(seed, 0, 9);
  return {{"uniform", rng.uniform({1000, 200}), 20},
          {"separated", separated_points(600, 50, 12, 0.05, rng), 12},
          {"plane", rng.uniform({300, 2}), 15},
          {"line", rng.normal({200, 1}), 6},
          {"far from 0", rng.uniform({300, 5}, 10, 11), 8}};
}

Tensor documents(std::uint64_t seed) { return Rng(seed, 0, 7).uniform({1000, 200}); }

Tensor start_for(const Tensor& x, std::uint64_t seed) {
  Rng rng(seed, 0, 8);
  return kmeans_start("points", x, 20, rng);
}

}  // namespace

TEST_CASE("k-means: a point's loss is its squared distance to the nearest centre") {
  Rng rng(1);
  const Tensor x = rng.normal({50, 3}), centres = rng.normal({7, 3});
  const KMeansAssignment a = kmeans_assign(x, centres);
  Tape tape;
  const Var c = tape.parameter(centres);
  const KMeansGraph graph = kmeans_graph(tape.constant(x), c, zero());
  CHECK(graph.loss.shape() == Shape{50});
  const Tensor gradient = backward(graph.loss)[c];
  Tensor expected = zeros({7, 3});
  std::vector<std::size_t> sizes(7);
  double total = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    std::size_t nearest = 0;
    for (std::size_t m = 1; m < 7; ++m)
      if (squared(x, i, centres, m) < squared(x, i, centres, nearest)) nearest = m;
    const double distance = squared(x, i, centres, nearest);
    CHECK(static_cast<double>(graph.loss.value()(i)) == doctest::Approx(distance).epsilon(1e-5));
    CHECK(a.nearest[i] == nearest);
    CHECK(a.distance[i] == doctest::Approx(distance).epsilon(1e-14));
    ++sizes[nearest];
    total += distance;
    for (std::size_t j = 0; j < 3; ++j) expected(nearest, j) += 2 * (centres(nearest, j) - x(i, j));
  }
  CHECK(a.size == sizes);
  CHECK(a.loss == doctest::Approx(total));
  CHECK(a.largest() == *std::max_element(sizes.begin(), sizes.end()));
  CHECK(farthest(gradient, expected) < (kDouble ? 1e-13 : 1e-4));
}

TEST_CASE("k-means: soft assignment is softmax(-d / tau), and its gradient is right") {
  Rng rng(2);
  const Tensor x = rng.normal({6, 2}), centres = rng.normal({3, 2});
  for (double tau : {0.3, 2.0}) {
    Tape tape;
    const KMeansGraph graph =
        kmeans_graph(tape.constant(x), tape.parameter(centres), gumbel_softmax(tau));
    for (std::size_t i = 0; i < 6; ++i) {
      double weight = 0, loss = 0;
      for (std::size_t m = 0; m < 3; ++m) weight += std::exp(-squared(x, i, centres, m) / tau);
      for (std::size_t m = 0; m < 3; ++m) {
        const double p = std::exp(-squared(x, i, centres, m) / tau) / weight;
        CHECK(static_cast<double>(graph.assignment.value()(i, m)) ==
              doctest::Approx(p).epsilon(1e-4));
        loss += p * squared(x, i, centres, m);
      }
      CHECK(static_cast<double>(graph.loss.value()(i)) == doctest::Approx(loss).epsilon(1e-4));
    }
    const CheckResult check = check_gradient(
        [tau](const std::vector<Var>& v) { return kmeans_loss(v[0], v[1], gumbel_softmax(tau)); },
        {x, centres});
    CHECK_MESSAGE(check, check.report);
  }
  // Straight-through is hard forward, and passes more than the zero rule back.
  Tape tape;
  const Var c = tape.parameter(centres), p = tape.constant(x);
  const Var hard = kmeans_loss(p, c, zero()), through = kmeans_loss(p, c, straight_through(1.0));
  CHECK(identical(hard.value(), through.value()));
  CHECK(farthest(differentiate(hard, c)[0].value(), differentiate(through, c)[0].value()) > 0.01);
}

TEST_CASE("k-means: inside a cell the full Hessian is diagonal, twice the clusters' sizes") {
  Rng rng(3);
  const Tensor x = rng.normal({12, 2}), centres = rng.normal({3, 2});
  const std::vector<std::size_t> size = kmeans_assign(x, centres).size;
  Tape tape;
  const Var c = tape.parameter(centres);
  const Var g = differentiate(kmeans_loss(tape.constant(x), c, zero()), c)[0];
  const Tensor diagonal = differentiate(sum(g), c)[0].value();
  for (std::size_t i = 0; i < 6; ++i) {
    const Var one = slice(reshape(g, {6}), i, i + 1);
    const Tensor row = differentiate(one, c)[0].value();
    for (std::size_t j = 0; j < 6; ++j) {
      CAPTURE(i);
      CAPTURE(j);
      CHECK(row.data()[j] == (i == j ? static_cast<Scalar>(2 * size[i / 2]) : 0));
    }
    CHECK(diagonal.data()[i] == static_cast<Scalar>(2 * size[i / 2]));
  }
}

TEST_CASE("k-means: inside a cell the loss is its Taylor expansion to second order, to rounding") {
  std::size_t inside = 0, outside = 0;
  double straight_off = 0;  // of the expansion to first order
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Rng rng(seed, 0, 4);
    const Tensor x = rng.uniform({24, 10});
    const Tensor here = kmeans_lloyd(x, kmeans_start("points", x, 3, rng), 1).centres;
    const Slope s = slope_at(x, here);
    const std::vector<std::size_t> cell = kmeans_assign(x, here).nearest;
    const Tensor direction = rng.normal(here.shape());
    for (double t : {1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0}) {
      const Tensor there = here + static_cast<Scalar>(t) * direction;
      double expansion = s.loss, straight = s.loss;
      for (std::size_t i = 0; i < here.size(); ++i) {
        const double step =
            static_cast<double>(there.data()[i]) - static_cast<double>(here.data()[i]);
        straight += step * static_cast<double>(s.gradient.data()[i]);
        expansion += step * static_cast<double>(s.gradient.data()[i]) +
                     step * step * static_cast<double>(s.diagonal.data()[i]) / 2;
      }
      const KMeansAssignment a = kmeans_assign(x, there);
      if (a.nearest == cell) {
        ++inside;
        CHECK(std::abs(a.loss - expansion) < (kDouble ? 1e-13 : 1e-6) * a.loss);
        straight_off = worse(straight_off, std::abs(a.loss - straight) / a.loss);
      } else {
        // A change of cluster only takes away: the expansion is an upper bound.
        ++outside;
        CHECK(a.loss < expansion + (kDouble ? 0 : 1e-6 * a.loss));
      }
    }
  }
  CHECK(inside >= 10);
  CHECK(outside >= 10);
  CHECK(straight_off > 1e-3);
}

TEST_CASE("k-means: Newton's step is Lloyd's step, on each path, until both stop") {
  // Where rounding decides, it may decide either way.
  constexpr double same = 4, bound = kDouble ? 1e-10 : 1e-5;
  std::size_t runs = 0, parted = 0, filled = 0;
  double worst = 0, compared = 0;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed)
    for (const Problem& problem : problems(seed))
      for (const std::string how : {"points", "k-means++", "cube"}) {
        CAPTURE(problem.name);
        CAPTURE(how);
        CAPTURE(seed);
        Rng rng(seed, 0, 5);
        const Tensor& x = problem.points;
        const Tensor start = kmeans_start(how, x, problem.clusters, rng);
        Tensor lloyd = start, newton = start;
        std::vector<std::size_t> was;
        KMeansComparison by_hand;
        std::size_t relocated = 0;
        bool apart_at_a_tie = false;
        ++runs;
        for (std::size_t step = 1;; ++step) {
          REQUIRE(step < 100);
          const double call = closest_call(x, lloyd);
          const KMeansStep l = kmeans_lloyd_step(x, lloyd), w = kmeans_newton_step(x, newton);
          const double apart = farthest(l.centres, w.centres) / largest_size(l.centres);
          if (!(apart <= bound)) {
            CHECK(call < same);
            ++parted;
            apart_at_a_tie = true;
            break;
          }
          worst = worse(worst, apart);
          CHECK(l.clusters == w.clusters);
          CHECK(l.relocated == w.relocated);
          relocated += l.relocated;
          by_hand.difference.push_back(farthest(l.centres, w.centres));
          by_hand.relative.push_back(apart);
          std::size_t changed = x.shape()[0];
          for (std::size_t i = 0; i < was.size(); ++i) changed -= was[i] == l.clusters[i];
          by_hand.changed.push_back(changed);
          lloyd = l.centres;
          newton = w.centres;
          if (l.clusters == was) break;
          was = l.clusters;
        }
        filled += relocated;
        const KMeansComparison c = kmeans_compare(x, start);
        CHECK(c.difference.size() == std::max(c.lloyd.iterations, c.newton.iterations));
        CHECK(c.lloyd.stopped);
        CHECK(c.newton.stopped);
        if (apart_at_a_tie) continue;
        CHECK(identical(c.lloyd.centres, lloyd));
        CHECK(identical(c.newton.centres, newton));
        CHECK(c.difference == by_hand.difference);
        CHECK(c.relative == by_hand.relative);
        CHECK(c.changed == by_hand.changed);
        CHECK(c.lloyd.relocated == relocated);
        CHECK(c.newton.relocated == relocated);
        compared = std::max(compared, *std::max_element(c.difference.begin(), c.difference.end()));
      }
  MESSAGE("relative difference ", worst, ", ", parted, " of ", runs, " runs parted at a tie");
  CHECK(runs == 15 * kSeeds);
  CHECK(parted <= (kDouble ? 0 : 1));
  CHECK(filled > 0);
  CHECK(worst < bound);
  CHECK(compared > 0);
}

TEST_CASE("k-means: Lloyd's algorithm ends where each centre is its points' mean") {
  for (const Problem& problem : problems(6)) {
    CAPTURE(problem.name);
    Rng rng(6);
    const Tensor& x = problem.points;
    const KMeansRun run = kmeans_lloyd(x, kmeans_start("points", x, problem.clusters, rng));
    CHECK(run.stopped);
    CHECK(run.step.size() == run.iterations + 1);
    CHECK(run.loss.back() == run.end.loss);
    for (std::size_t i = 1; i < run.loss.size(); ++i)
      CHECK(run.loss[i] <= run.loss[i - 1] * (1 + (kDouble ? 1e-14 : 1e-6)));
    Tensor means = zeros(run.centres.shape());
    for (std::size_t i = 0; i < x.shape()[0]; ++i)
      for (std::size_t j = 0; j < x.shape()[1]; ++j)
        means(run.end.nearest[i], j) +=
            x(i, j) / static_cast<Scalar>(run.end.size[run.end.nearest[i]]);
    CHECK(farthest(means, run.centres) < (kDouble ? 1e-14 : 3e-6) * largest_size(means));
  }
}

TEST_CASE("k-means: Lloyd's steps counted by hand") {
  // 0 1 | 10 11 12 on a line; from 0 and 1 the border moves to the gap.
  const Tensor x = tensor({5, 1}, {0, 1, 10, 11, 12});
  const KMeansRun run = kmeans_lloyd(x, tensor({2, 1}, {0, 1}));
  // 0 | 1 10 11 12 gives 0, 8.5; 0 1 | 10 11 12 gives .5, 11; the third changes nothing.
  CHECK(run.iterations == 3);
  CHECK(run.loss[0] == doctest::Approx(81 + 100 + 121));
  CHECK(run.loss[1] == doctest::Approx(0 + 1 + 2.25 + 6.25 + 12.25));
  CHECK(run.loss[2] == doctest::Approx(2.5));
  CHECK(run.loss[3] == doctest::Approx(2.5));
  CHECK(run.end.size == std::vector<std::size_t>{2, 3});
  CHECK(kmeans_steps_to(run, 22) == 1);
  CHECK(kmeans_steps_to(run, 2.5) == 2);
  CHECK(kmeans_steps_to(run, 2.4) == kmeans_never);
  CHECK(kmeans_lloyd(x, tensor({2, 1}, {0, 1}), 1).iterations == 1);
  CHECK_FALSE(kmeans_lloyd(x, tensor({2, 1}, {0, 1}), 1).stopped);
}

TEST_CASE("k-means: an empty cluster goes to the point farthest from its centre") {
  const Tensor x = tensor({5, 1}, {0, 1, 2, 9, 30});
  Tensor centres = tensor({3, 1}, {1, 100, 200});
  // Both 100 and 200 are empty: the first goes to 30, and then 9 is the farthest.
  KMeansAssignment a = kmeans_assign(x, centres);
  CHECK(kmeans_relocate_empty(x, centres, a) == 2);
  CHECK(identical(centres, tensor({3, 1}, {1, 30, 9})));
  CHECK(a.nearest == std::vector<std::size_t>{0, 0, 0, 2, 1});
  CHECK(a.size == std::vector<std::size_t>{3, 1, 1});
  CHECK(a.loss == 2);

  // A centre whose only point another one takes is empty in its turn.
  // 14, of 20 alone, is the farthest.
  const Tensor line = tensor({4, 1}, {0, 1, 2, 14});
  Tensor chain = tensor({3, 1}, {1, 20, -50});
  a = kmeans_assign(line, chain);
  CHECK(kmeans_relocate_empty(line, chain, a) == 2);
  CHECK(identical(chain, tensor({3, 1}, {1, 0, 14})));
  CHECK(a.size == std::vector<std::size_t>{2, 1, 1});

  // The two farthest points are the same: one of them will do.
  Tensor twice = tensor({3, 1}, {0, -70, -80});
  const Tensor pair = tensor({4, 1}, {0, 5, 40, 40});
  a = kmeans_assign(pair, twice);
  kmeans_relocate_empty(pair, twice, a);
  CHECK(identical(twice, tensor({3, 1}, {0, 40, 5})));

  // 3 is as far from 0 as from 6: it belongs to the first of the two, whichever was moved.
  const Tensor even = tensor({3, 1}, {0, 3, 6});
  for (const Tensor& from : {tensor({2, 1}, {0, -90}), tensor({2, 1}, {-90, 0})}) {
    Tensor moved = from;
    a = kmeans_assign(even, moved);
    kmeans_relocate_empty(even, moved, a);
    CHECK(a.nearest[1] == 0);
    CHECK(kmeans_assign(even, moved).nearest == a.nearest);
    Tape tape;
    const Var choice = kmeans_graph(tape.constant(even), tape.constant(moved), zero()).assignment;
    CHECK(indices_of(choice) == a.nearest);
  }

  // Fewer distinct points than centres: the rest stay empty, and where they are.
  const Tensor two = tensor({4, 1}, {3, 3, 4, 4});
  Tensor few = tensor({3, 1}, {3, 50, 60});
  a = kmeans_assign(two, few);
  CHECK(kmeans_relocate_empty(two, few, a) == 1);
  CHECK(a.size == std::vector<std::size_t>{2, 2, 0});
  CHECK(identical(few, tensor({3, 1}, {3, 4, 60})));
  for (const KMeansStep& step : {kmeans_lloyd_step(two, few), kmeans_newton_step(two, few)})
    CHECK(identical(step.centres, few));
  CHECK(kmeans_lloyd(two, few).stopped);
  CHECK(kmeans_newton(two, few).end.empty() == 1);
}

TEST_CASE("k-means: a cluster that empties on the way is filled, by Newton as by Lloyd") {
  std::size_t on_the_way = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    Rng rng(seed, 0, 6);
    const Tensor x = rng.normal({40, 2});
    Tensor lloyd = rng.normal({12, 2}), newton = lloyd;
    std::vector<std::size_t> was;
    for (std::size_t step = 1; step < 60; ++step) {
      const KMeansStep l = kmeans_lloyd_step(x, lloyd), w = kmeans_newton_step(x, newton);
      REQUIRE(farthest(l.centres, w.centres) < (kDouble ? 1e-10 : 1e-5));
      CHECK(l.relocated == w.relocated);
      CHECK(kmeans_assign(x, l.centres).loss <= kmeans_assign(x, lloyd).loss * (1 + 1e-6));
      on_the_way += step > 1 && l.relocated > 0;
      lloyd = l.centres;
      newton = w.centres;
      if (l.clusters == was) break;
      was = l.clusters;
    }
    CHECK(kmeans_assign(x, lloyd).empty() == 0);
  }
  CHECK(on_the_way > 0);
}

TEST_CASE("k-means: the starts") {
  Rng rng(1);
  const Tensor x = rng.uniform({200, 3}, -2, 5);
  for (const std::string how : {"points", "k-means++"}) {
    const Tensor c = kmeans_start(how, x, 200, rng);
    // As many clusters as points: each point once.
    const KMeansAssignment a = kmeans_assign(x, c);
    CHECK(a.loss == 0);
    CHECK(a.largest() == 1);
  }
  // Uniform between the columns' least and largest: their mean, and how often they are in each
  // tenth.
  const Tensor cube = kmeans_start("cube", x, 200, rng);
  for (std::size_t j = 0; j < 3; ++j) {
    double low = at(x, 0, j), high = low, mean = 0;
    for (std::size_t i = 1; i < 200; ++i) {
      low = std::min(low, at(x, i, j));
      high = std::max(high, at(x, i, j));
    }
    std::size_t tenth[10] = {};
    for (std::size_t m = 0; m < 200; ++m) {
      const double part = (at(cube, m, j) - low) / (high - low);
      REQUIRE(part >= 0);
      REQUIRE(part <= 1);
      mean += part / 200;
      ++tenth[std::min<std::size_t>(9, static_cast<std::size_t>(10 * part))];
    }
    CHECK(std::abs(mean - 0.5) < 4 * std::sqrt(1.0 / 12 / 200));
    for (std::size_t seen : tenth)
      CHECK(std::abs(static_cast<double>(seen) - 20) < 4 * std::sqrt(200 * 0.1 * 0.9));
  }

  // Of 0, 1 and 3 the first is drawn evenly, the second by the squares: 1 : 9 after 0, 1 : 4 after
  // 1, 9 : 4 after 3.
  const Tensor three = tensor({3, 1}, {0, 1, 3});
  constexpr std::size_t draws = 20000;
  double seen[4][4] = {};
  for (std::size_t i = 0; i < draws; ++i) {
    const Tensor c = kmeans_start("k-means++", three, 2, rng);
    ++seen[static_cast<std::size_t>(c(0, 0))][static_cast<std::size_t>(c(1, 0))];
  }
  const auto near = [&](std::size_t a, std::size_t b, double expected) {
    CAPTURE(a);
    CAPTURE(b);
    const double se = std::sqrt(expected * (1 - expected) / draws);
    CHECK(std::abs(seen[a][b] / draws - expected) < 4 * se);
  };
  near(0, 1, 0.1 / 3);
  near(0, 3, 0.9 / 3);
  near(1, 0, 0.2 / 3);
  near(1, 3, 0.8 / 3);
  near(3, 0, 9.0 / 13 / 3);
  near(3, 1, 4.0 / 13 / 3);

  // Duplicates are never two centres.
  Tensor doubled = uninitialised({400, 3});
  for (std::size_t i = 0; i < doubled.size(); ++i) doubled.data()[i] = x.data()[i % x.size()];
  for (const std::string how : {"points", "k-means++"})
    CHECK(kmeans_assign(doubled, kmeans_start(how, doubled, 200, rng)).largest() == 2);
}

TEST_CASE("k-means: k-means++ finds points whose distance's square is 0") {
  const double near = kDouble ? 1e-170 : 1e-45;
  Rng rng(7);
  const Tensor x = tensor({4, 1}, {0, 1, near, 0});
  for (int i = 0; i < 20; ++i) {
    const Tensor c = kmeans_start("k-means++", x, 3, rng);
    CHECK(c(0, 0) != c(1, 0));
    CHECK(c(1, 0) != c(2, 0));
    CHECK(c(2, 0) != c(0, 0));
  }
}

TEST_CASE("k-means: k-means++ starts lower than random points where there are clusters") {
  Rng rng(5);
  const Tensor x = separated_points(500, 10, 15, 0.02, rng);
  double at_random = 0, careful = 0;
  for (int i = 0; i < 20; ++i) {
    at_random += kmeans_assign(x, kmeans_start("points", x, 15, rng)).loss;
    careful += kmeans_assign(x, kmeans_start("k-means++", x, 15, rng)).loss;
  }
  CHECK(careful < at_random / 3);
  double last = std::numeric_limits<double>::infinity();
  for (std::size_t tries : std::vector<std::size_t>{1, 4, 20}) {
    Rng same(8);
    const double loss = kmeans_assign(x, kmeans_start("k-means++", x, 15, same, tries)).loss;
    CHECK(loss <= last);
    last = loss;
  }
}

TEST_CASE("k-means: what descent does on the document's problem") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CAPTURE(seed);
    const Tensor x = documents(seed), start = start_for(x, seed);
    const double lloyd = kmeans_lloyd(x, start).end.loss;
    const double one = kmeans_assign(x, kmeans_lloyd(x, zeros({1, 200})).centres).loss;
    CHECK(one > 1.045 * lloyd);
    CHECK(one < 1.055 * lloyd);

    KMeansDescent adam;
    adam.by = KMeansDescent::By::adam;
    adam.rate = 0.01;
    adam.steps = kRecycles ? 500 : 100;
    const KMeansRun a = kmeans_descent(x, start, adam);
    CHECK(a.iterations == adam.steps);
    CHECK(kmeans_steps_to(a, 1.01 * lloyd) <= 80);
    CHECK(a.end.loss < 1.005 * lloyd);
    MESSAGE("Adam: ", kmeans_steps_to(a, 1.01 * lloyd), " steps, ", 100 * (a.end.loss / lloyd - 1),
            " % over Lloyd, largest cluster ", a.end.largest());

    KMeansDescent plain;
    plain.rate = 1;
    plain.steps = 2 * adam.steps;
    KMeansDescent batches;
    batches.batch = 100;
    batches.steps = kRecycles ? 5000 : 500;
    batches.rate = linear_decay(0.5, 0, batches.steps);
    batches.seed = seed;
    for (const KMeansDescent& settings : {plain, batches}) {
      CAPTURE(settings.batch);
      const KMeansRun run = kmeans_descent(x, start, settings);
      MESSAGE("descent, batch ", settings.batch, ": ", 100 * (run.end.loss / lloyd - 1),
              " % over Lloyd, largest cluster ", run.end.largest());
      CHECK(run.end.largest() > 400);
      CHECK(run.end.loss > 1.015 * lloyd);
      CHECK(run.end.loss < (settings.batch ? 1.06 : 1.04) * lloyd);
      CHECK(run.end.loss < one);
      CHECK(kmeans_steps_to(run, 1.01 * lloyd) == kmeans_never);
    }
  }
}

TEST_CASE("k-means: on separated clusters SGD reaches Lloyd's loss from a centre in each") {
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    CAPTURE(seed);
    Rng rng(seed, 0, 3);
    const Tensor x = separated_points(1000, 200, 20, 0.05, rng);
    const Tensor start = kmeans_start("k-means++", x, 20, rng, 20);
    const KMeansRun lloyd = kmeans_lloyd(x, start);
    KMeansDescent sgd;
    sgd.batch = 100;
    sgd.steps = 2000;
    sgd.rate = linear_decay(1, 0, sgd.steps);
    sgd.seed = seed;
    const KMeansRun run = kmeans_descent(x, start, sgd);
    MESSAGE("SGD: ", 100 * (run.end.loss / lloyd.end.loss - 1), " % over Lloyd");
    CHECK(run.end.loss < 1.001 * lloyd.end.loss);
    CHECK(run.end.nearest == lloyd.end.nearest);
    std::vector<std::size_t> started(20);
    for (std::size_t i : kmeans_assign(start, lloyd.centres).nearest) ++started[i];
    CHECK(started == std::vector<std::size_t>(20, 1));
    const Tensor random = kmeans_start("points", x, 20, rng);
    // Of random points some share a cluster, and others have none.
    const double over =
        kmeans_descent(x, random, sgd).end.loss / kmeans_lloyd(x, random).end.loss - 1;
    MESSAGE("from random points: ", 100 * over, " %");
    CHECK(over > 0.1);
  }
}

TEST_CASE("k-means: descent by hand, and what it notes") {
  const Tensor x = tensor({4, 1}, {0, 2, 10, 12}), start = tensor({2, 1}, {0, 10});
  KMeansDescent settings;
  settings.rate = 0.25;
  settings.steps = 3;
  // Each centre's gradient is 2 (2 / 4) (c - mean): a quarter of the way each step.
  const KMeansRun run = kmeans_descent(x, start, settings);
  CHECK(static_cast<double>(run.centres(0, 0)) == doctest::Approx(1 - std::pow(0.75, 3)));
  CHECK(run.step == std::vector<std::size_t>{0, 1, 2, 3});
  CHECK(run.loss[0] == 8);
  CHECK(run.loss[3] == doctest::Approx(4 * (1 + std::pow(0.75, 6))));
  // The sum in place of the mean, at a quarter of the rate, is the same.
  settings.summed = true;
  settings.rate = 0.25 / 4;
  CHECK(farthest(kmeans_descent(x, start, settings).centres, run.centres) < 1e-6);

  settings.batch = 2;
  settings.steps = 12;
  std::size_t calls = 0;
  const KMeansRun batches = kmeans_descent(x, start, settings, [&] { ++calls; });
  CHECK(calls == 12);
  CHECK(batches.step == std::vector<std::size_t>{0, 5, 10, 12});
  CHECK(batches.loss.back() == batches.end.loss);
  CHECK(identical(kmeans_descent(x, start, settings).centres, batches.centres));
  settings.seed = 2;
  CHECK_FALSE(identical(kmeans_descent(x, start, settings).centres, batches.centres));

  // An empty cluster gets no gradient.
  settings.batch = 0;
  const KMeansRun with_empty = kmeans_descent(x, tensor({2, 1}, {0, -100}), settings);
  CHECK(with_empty.centres(1, 0) == -100);
  CHECK(with_empty.end.empty() == 1);
}

TEST_CASE("k-means: the rule of a descent, its schedule and its rate's decay, by hand") {
  Rng rng(6);
  const Tensor x = rng.normal({30, 2}), start = kmeans_start("points", x, 4, rng);
  const auto by_hand = [&](const Rule& rule, const Tensor& from, double rate) {
    Tape tape;
    const Var c = tape.parameter(from);
    const Tensor gradient = backward(sum(kmeans_loss(tape.borrow_constant(x), c, rule)) / 30.0)[c];
    return Tensor(from - static_cast<Scalar>(rate) * gradient);
  };
  const double near = kDouble ? 1e-13 : 1e-5;
  KMeansDescent settings;
  settings.rate = 0.3;
  settings.steps = 1;
  std::vector<Tensor> ends;
  for (const Rule& rule : {zero(), straight_through(0.7), gumbel_softmax(0.7)}) {
    CAPTURE(rule.name);
    settings.rule = rule;
    ends.push_back(kmeans_descent(x, start, settings).centres);
    CHECK(farthest(ends.back(), by_hand(rule, start, 0.3)) < near);
    for (std::size_t other = 0; other + 1 < ends.size(); ++other)
      CHECK(farthest(ends.back(), ends[other]) > 0.01);
  }

  // A temperature on a schedule is the one of the step.
  settings.rule = gumbel_softmax(linear_decay(2, 0.5, 3));
  settings.steps = 3;
  Tensor centres = start;
  for (double tau : {2.0, 1.5, 1.0}) centres = by_hand(gumbel_softmax(tau), centres, 0.3);
  CHECK(farthest(kmeans_descent(x, start, settings).centres, centres) < near);

  // So is a rate, SGD's and Adam's.
  settings.rule = zero();
  settings.rate = linear_decay(0.3, 0, 3);
  centres = start;
  for (double part : {1.0, 2.0 / 3, 1.0 / 3}) centres = by_hand(zero(), centres, 0.3 * part);
  CHECK(farthest(kmeans_descent(x, start, settings).centres, centres) < near);
  settings.by = KMeansDescent::By::adam;
  settings.rate = linear_decay(0.1, 0, 3);
  centres = start;
  std::vector<double> m(8), v(8);
  for (int step = 0; step < 3; ++step) {
    const Tensor moved = by_hand(zero(), centres, 1);
    for (std::size_t i = 0; i < 8; ++i) {
      const double g =
          static_cast<double>(centres.data()[i]) - static_cast<double>(moved.data()[i]);
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const double rate = 0.1 * (3 - step) / 3;
      centres.data()[i] -=
          static_cast<Scalar>(rate * m[i] / (1 - std::pow(0.9, step + 1)) /
                              (std::sqrt(v[i] / (1 - std::pow(0.999, step + 1))) + 1e-8));
    }
  }
  // In float, what the difference above leaves of a small gradient.
  CHECK(farthest(kmeans_descent(x, start, settings).centres, centres) < (kDouble ? 1e-12 : 1e-4));
}

TEST_CASE("k-means: wrong calls are refused") {
  Rng rng(1);
  const Tensor x = zeros({3, 2});
  refuses(
      [&] {
        kmeans_assign(x, zeros({2, 3}));
      },
      "kmeans: points are (3, 2), centres (2, 3); need (n, d) and (k, d), at least 1 of each");
  refuses(
      [&] {
        kmeans_lloyd(x, zeros({0, 2}));
      },
      "kmeans: points are (3, 2), centres (0, 2); need (n, d) and (k, d), at least 1 of each");
  refuses(
      [&] {
        Tape tape;
        kmeans_loss(tape.constant(x), tape.constant(zeros({3})), zero());
      },
      "kmeans: points are (3, 2), centres (3,); need (n, d) and (k, d), at least 1 of each");
  const std::string many = "kmeans: 4 clusters for 3 points; need at most one cluster a point";
  refuses([&] { kmeans_lloyd(x, zeros({4, 2})); }, many);
  refuses([&] { kmeans_newton(x, zeros({4, 2})); }, many);
  refuses([&] { kmeans_descent(x, zeros({4, 2}), {}); }, many);
  refuses([&] { kmeans_start("points", x, 4, rng); }, many);
  const std::string equal =
      "kmeans: 2 clusters for 3 points of which 1 is distinct; need at most one cluster a distinct "
      "point";
  for (const std::string how : {"points", "k-means++", "cube"})
    refuses([&] { kmeans_start(how, x, 2, rng); }, equal);
  refuses(
      [&] {
        kmeans_start("points", tensor({4, 1}, {1, 2, 2, 1}), 3, rng);
      },
      "kmeans: 3 clusters for 4 points of which 2 are distinct; need at most one cluster a "
      "distinct point");
  CHECK(identical(kmeans_start("points", x, 1, rng), zeros({1, 2})));
  refuses([&] { kmeans_start("middle", x, 1, rng); },
          "kmeans: start 'middle'; need points, k-means++ or cube");
  refuses([&] { kmeans_start("points", x, 0, rng); },
          "kmeans: points are (3, 2), for 0 clusters, in 1 try; need (n, d), at least 1 of each");
  refuses(
      [&] {
        Tensor c = zeros({2, 2});
        KMeansAssignment other = kmeans_assign(x, zeros({1, 2}));
        kmeans_relocate_empty(x, c, other);
      },
      "kmeans: an assignment of 3 points to 1 centre; need the one of these points to these "
      "centres");

  Tensor broken = zeros({3, 2});
  broken(2, 1) = std::numeric_limits<Scalar>::quiet_NaN();
  refuses(
      [&] {
        kmeans_lloyd(broken, zeros({1, 2}));
      },
      "kmeans: point 2 has NaN in column 1; need finite numbers");
  refuses([&] { kmeans_start("points", broken, 1, rng); },
          "kmeans: point 2 has NaN in column 1; need finite numbers");
  refuses([&] { kmeans_lloyd(x, broken); },
          "kmeans: centre 2 has NaN in column 1; need finite numbers");
  refuses(
      [&] {
        kmeans_assign(broken, zeros({1, 2}));
      },
      "kmeans: point 2 has no distance from centre 0; need finite numbers");
  broken(2, 1) = std::numeric_limits<Scalar>::infinity();
  refuses(
      [&] {
        kmeans_newton(broken, zeros({1, 2}));
      },
      "kmeans: point 2 has an infinite number in column 1; need finite numbers");

  // Squares that overflow, or vanish.
  Tensor spread = tensor({2, 1}, {0, 1});
  const Scalar huge = std::numeric_limits<Scalar>::max() / 8,
               tiny = std::numeric_limits<Scalar>::min() * 8;
  CHECK_THROWS_WITH_AS(kmeans_lloyd(spread * huge, zeros({1, 1})),
                       doctest::Contains("for a sum of squares: scale the points"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(kmeans_lloyd(spread * tiny, zeros({1, 1})),
                       doctest::Contains("for a sum of squares: scale the points"),
                       std::invalid_argument);

  for (const std::string how : {"points", "k-means++", "cube"})
    CHECK_THROWS_WITH_AS(kmeans_start(how, spread * huge, 1, rng),
                         doctest::Contains("for a sum of squares: scale the points"),
                         std::invalid_argument);

  KMeansDescent wild;
  wild.rate = 1e10;
  CHECK_THROWS_WITH_AS(kmeans_descent(tensor({2, 1}, {0, 1}), tensor({1, 1}, {3}), wild),
                       doctest::Contains("training diverged at step"), std::invalid_argument);
  // Not the rate alone, where there is a temperature.
  wild.rule = straight_through(0.1);
  CHECK_THROWS_WITH_AS(kmeans_descent(tensor({2, 1}, {0, 1}), tensor({1, 1}, {3}), wild),
                       doctest::Contains("need a lower rate or another temperature"),
                       std::invalid_argument);
}

TEST_CASE("k-means: duplicate points") {
  // Five places with ten points each.
  Rng rng(4);
  const Tensor places = rng.normal({5, 3});
  Tensor x = uninitialised({50, 3});
  for (std::size_t i = 0; i < x.size(); ++i) x.data()[i] = places.data()[i % 15];
  for (const std::string how : {"points", "k-means++", "cube"}) {
    const KMeansComparison c = kmeans_compare(x, kmeans_start(how, x, 5, rng));
    CHECK(c.lloyd.stopped);
    CHECK(c.newton.stopped);
    CHECK(c.lloyd.end.empty() == 0);
    CHECK(*std::max_element(c.relative.begin(), c.relative.end()) < (kDouble ? 1e-14 : 1e-6));
    if (how != "cube") CHECK(c.lloyd.end.loss < 1e-10);
  }
}
