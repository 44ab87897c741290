// The methods around a cost and the instrument: identities that hold exactly, enumeration, and
// statistics with fixed seeds.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <sstream>

#include "models/argtape.hpp"
#include "tests/distance.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

// N choices among K categories each, and a cost of all of them together. Choices are (..., N, K),
// or
// (..., K) for one.
struct Problem {
  std::size_t n, k;
  Tensor logits;
  Cost f;
};

Var flat(Var z, std::size_t n, std::size_t k) {
  Shape shape = z.shape();
  if (n > 1) shape.pop_back();
  shape[shape.size() - 1] = n * k;
  return n > 1 ? reshape(z, shape) : z;
}

Cost polynomial(std::uint64_t seed, std::size_t n, std::size_t k, bool second) {
  const Tensor b = Rng(seed).normal({n * k}), a = Rng(seed + 1000).normal({n * k, n * k});
  return [=](Var z) {
    const Var x = flat(z, n, k);
    const Var first = sum(x * z.tape->constant(b), -1);
    return second ? first + sum(x * matmul(x, z.tape->constant(a)), -1) : first;
  };
}

Cost wild(std::uint64_t seed, std::size_t n, std::size_t k) {
  return [f = polynomial(seed, n, k, true)](Var z) { return exp(0.3 * f(z)); };
}

Problem problem(std::uint64_t seed, std::size_t n, std::size_t k) {
  const Shape shape = n > 1 ? Shape{n, k} : Shape{k};
  return {n, k, Rng(400 + seed).normal(shape), wild(seed, n, k)};
}

// Ten problems of many shapes; the last four are binary.
std::vector<Problem> ten_problems() {
  const std::size_t shapes[10][2] = {{1, 4}, {1, 5}, {1, 8}, {2, 3}, {3, 2},
                                     {1, 6}, {1, 2}, {2, 2}, {3, 2}, {3, 2}};
  std::vector<Problem> all;
  for (std::uint64_t i = 0; i < 10; ++i) all.push_back(problem(i + 1, shapes[i][0], shapes[i][1]));
  return all;
}

// f, hidden from the tape.
Cost hidden(const Cost& f) {
  return [f](Var z) {
    return black_box(
        [&](const std::vector<Tensor>& v) {
          Tape outside;
          return Tensor(f(outside.constant(v[0])).value());
        },
        z);
  };
}

// (z - t)^2 of a binary variable, REBAR's toy.
Cost toy(double t) {
  return [t](Var z) { return square(sum(slice(z, 1, 2, -1), -1) - t); };
}

Tensor repeated(const Tensor& logits, std::size_t rows) {
  Shape shape(logits.dimension() + 1);
  shape[0] = rows;
  std::copy(logits.shape().begin(), logits.shape().end(), shape.begin() + 1);
  return broadcast_to(logits, shape);
}

MeasureOptions draws(std::size_t n, std::uint64_t seed = 1) {
  MeasureOptions options;
  options.draws = n;
  options.batch = std::min<std::size_t>(n, 5000);
  options.seed = seed;
  return options;
}

// The methods that are not a rule's.
std::vector<std::string> around() {
  std::vector<std::string> names;
  for (const std::string& name : method_names())
    if (name != "exact" && !method_named(name).rule) names.push_back(name);
  return names;
}
const std::vector<std::string> kAround = around();
bool binary_only(const std::string& name) { return name == "arm" || name == "disarm"; }

}  // namespace

TEST_CASE(
    "unbiased methods: the mean of 100,000 draws is within 4 standard errors of enumeration") {
  const std::vector<Problem> problems = ten_problems();
  for (std::size_t i = 0; i < problems.size(); ++i) {
    const Problem& p = problems[i];
    CAPTURE(i);
    MeasureOptions options = draws(kRecycles ? 100000 : 10000, i + 1);
    options.tuning = 10;
    for (const std::string& name : kAround) {
      if (binary_only(name) && p.k != 2) continue;
      CAPTURE(name);
      Method method = method_named(name, 0.5);
      if (name == "nvil") {
        NvilSettings settings;
        settings.normalise = false;
        method = nvil(std::make_shared<NvilBaseline>(settings));
      }
      const Measure m = measure(method, p.f, p.logits, options);
      CHECK(m.refusal == "");
      CHECK(m.bias < 4 * m.bias_se + 1e-10);  // some are exact on the smallest
      CHECK(m.bias_se < 0.1 * std::sqrt(1e5 / static_cast<double>(options.draws)));
    }
  }
}

TEST_CASE("ARM and DisARM on ten binary problems") {
  for (std::uint64_t seed = 11; seed <= 20; ++seed) {
    CAPTURE(seed);
    const Problem p = problem(seed, 1 + seed % 4, 2);
    const Measure a = measure(arm(), p.f, p.logits, draws(200000, seed)),
                  b = measure(disarm(), p.f, p.logits, draws(200000, seed));
    CHECK(a.bias < 4 * a.bias_se);
    CHECK(b.bias < 4 * b.bias_se);
    CHECK(b.std < a.std);
  }
}

TEST_CASE("NVIL's normalised signal is the plain one over its scale") {
  const Problem p = problem(3, 1, 5);
  const Cost f = [&](Var z) { return 30 * p.f(z) + 7; };
  const auto state = std::make_shared<NvilBaseline>();
  const Method method = nvil(state);
  MeasureOptions options = draws(100000);
  options.tuning = 20;
  const Measure with_scale = measure(method, f, p.logits, options);
  CHECK(state->scale() > 2);
  options.exact = exact_gradient(f, p.logits) / state->scale();
  options.tuning = 0;
  const Measure m = measure(method, f, p.logits, options);
  CHECK(m.bias < 4 * m.bias_se);
  CHECK(with_scale.bias > 0.5);
  CHECK(m.std < measure(score_function(), f, p.logits, draws(100000)).std / 2);
}

TEST_CASE("leave-one-out as a method and as a rule are one estimate") {
  const Problem p = problem(1, 2, 3);
  Tape tape;
  const Var l = tape.parameter(repeated(p.logits, 50));
  Rng a(5), b(5);
  const Var x = rloo(4)(l, p.f, a), y = Method(score_function(leave_one_out()), 4)(l, p.f, b);
  CHECK(x.shape() == Shape{50});
  CHECK(y.shape() == Shape{4, 50});
  CHECK(relative_distance(backward(x)[l], backward(y)[l]) < 1e-13);
}

TEST_CASE("without replacement: with as many as there are, the exact gradient") {
  for (const Problem& p : {problem(1, 1, 5), problem(2, 2, 3), problem(3, 3, 2)}) {
    Tape tape;
    const Var l = tape.parameter(repeated(p.logits, 7));
    const Var exact_value = expectation(l, p.f);
    const Tensor truth = backward(exact_value)[l];
    for (const Method& method : {sum_and_sample(9), unordered_set(9)}) {
      CAPTURE(method.name);
      Rng rng(1);
      const Var e = method(l, p.f, rng);
      CHECK(relative_distance(e.value(), exact_value.value()) < 1e-12);
      CHECK(relative_distance(backward(e)[l], truth) < 1e-11);
    }
    double last = 1e9;
    for (std::size_t k : std::vector<std::size_t>{1, 2, 4, 6}) {
      const double std = measure(unordered_set(k), p.f, p.logits, draws(20000)).std;
      CHECK(std <= last);
      last = std;
    }
    last = 1e9;
    for (std::size_t k : std::vector<std::size_t>{1, 2, 4}) {
      const double std = measure(sum_and_sample(k), p.f, p.logits, draws(20000)).std;
      CHECK(std <= last);
      last = std;
    }
  }
  // A category that cannot be chosen.
  Tape tape;
  const Var l =
      tape.parameter(repeated(Tensor{0.5, -std::numeric_limits<double>::infinity(), 1.0}, 4));
  Rng rng(1);
  for (const Method& method : {sum_and_sample(2), unordered_set(3)}) {
    const Var e = method(l, polynomial(1, 1, 3, true), rng);
    const Var truth = expectation(l, polynomial(1, 1, 3, true));
    for (std::size_t i = 0; i < 4; ++i)
      CHECK(e.value()(i) == doctest::Approx(truth.value()(i)).epsilon(1e-12));
    const Tensor gradient = backward(e)[l];
    for (double g : gradient) CHECK(std::isfinite(g));
  }
}

TEST_CASE("VIMCO's objective is the mean of the bound over all tuples") {
  const Problem p = problem(2, 1, 3);
  Tape tape;
  const Var l = tape.parameter(repeated(p.logits, 1));
  const Var e = vimco(3).objective(l, p.f);
  const Tensor prob = softmax(l).value(), costs = p.f(tape.constant(one_hot({0, 1, 2}, 3))).value();
  double expected = 0;
  for (std::size_t c = 0; c < 27; ++c) {
    const std::size_t d[3] = {c % 3, c / 3 % 3, c / 9};
    double probability = 1, total = 0;
    for (std::size_t i : d) {
      probability *= prob.data()[i];
      total += std::exp(-costs.data()[i]) / 3;
    }
    expected -= probability * std::log(total);
  }
  CHECK(e.item() == doctest::Approx(expected).epsilon(1e-12));
}

TEST_CASE("what f depends on gets its gradient too, and the estimate is one of the expectation") {
  // f(D, theta) = sum theta_D: d E f / d theta = p, and E f = <p, theta>.
  const std::size_t rows = 100000;
  const Tensor l = Rng(31).normal({2}), theta = Tensor{1, 3};
  for (const std::string& name : kAround) {
    if (name == "vimco") continue;
    CAPTURE(name);
    Tape tape;
    const Var v = tape.parameter(repeated(l, rows)), t = tape.parameter(theta, "theta");
    Rng rng(2);
    const Var e = method_named(name, 0.5)(
        v, [&](Var z) { return sum(z * t, -1); }, rng);
    REQUIRE(e.shape() == Shape{rows});
    const Tensor p = softmax(tape.constant(l)).value(), g = backward(e)[t];
    double value = 0;
    for (double x : e.value()) value += x / rows;
    const double se = 1 / std::sqrt(rows);  // a share is at most 1/2 off, a cost at most 2
    CHECK(std::abs(g(0) / rows - p(0)) < 4 * 0.5 * se);
    CHECK(std::abs(g(1) / rows - p(1)) < 4 * 0.5 * se);
    CHECK(std::abs(value - p(0) * 1 - p(1) * 3) < 4 * 1.0 * se);
  }
}

TEST_CASE("rules that depend on the choice alone: exact bias, spread and cosine by plain loops") {
  constexpr std::size_t k = 4;
  const double tau = 1.3;
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    const Tensor l = Rng(500 + seed).normal({k}), b = Rng(600 + seed).normal({k});
    const Cost f = [&](Var z) { return exp(sum(z * square(z - z.tape->constant(b)), -1) / 2); };
    using Row = std::array<double, k>;
    const auto softmax_of = [&](const Row& x) {
      Row p;
      double total = 0;
      for (std::size_t i = 0; i < k; ++i) total += p[i] = std::exp(x[i]);
      for (double& v : p) v /= total;
      return p;
    };
    Row logits, cold, p, p_cold;
    for (std::size_t i = 0; i < k; ++i) {
      logits[i] = l.data()[i];
      cold[i] = logits[i] / tau;
    }
    p = softmax_of(logits);
    p_cold = softmax_of(cold);
    const auto jacobian = [](const Row& q, const Row& g) {
      Row y;
      double mean = 0;
      for (std::size_t i = 0; i < k; ++i) mean += q[i] * g[i];
      for (std::size_t i = 0; i < k; ++i) y[i] = q[i] * (g[i] - mean);
      return y;
    };
    // f = exp(h), h = sum_i z_i (z_i - b_i)^2 / 2, at D = e_d.
    const auto cost = [&](std::size_t d) {
      return std::exp((1 - b.data()[d]) * (1 - b.data()[d]) / 2);
    };
    const auto slope = [&](std::size_t d) {
      Row g;
      for (std::size_t i = 0; i < k; ++i) {
        const double z = i == d ? 1 : 0, off = z - b.data()[i];
        g[i] = cost(d) * (off * off + 2 * z * off) / 2;
      }
      return g;
    };
    const auto around = [&](std::size_t d, const Row& g) {
      Row off, y;
      double along = 0;
      for (std::size_t i = 0; i < k; ++i) off[i] = (i == d ? 1 : 0) - p[i];
      for (std::size_t i = 0; i < k; ++i) along += off[i] * g[i];
      for (std::size_t i = 0; i < k; ++i) y[i] = off[i] * along;
      return y;
    };
    const std::vector<std::pair<Rule, std::function<Row(std::size_t)>>> rules = {
        {zero(), [&](std::size_t) { return Row{}; }},
        {score_function(),
         [&](std::size_t d) {
           Row y;
           for (std::size_t i = 0; i < k; ++i) y[i] = cost(d) * ((i == d ? 1 : 0) - p[i]);
           return y;
         }},
        {straight_through(), [&](std::size_t d) { return jacobian(p, slope(d)); }},
        {straight_through(tau),
         [&](std::size_t d) {
           Row y = jacobian(p_cold, slope(d));
           for (double& v : y) v /= tau;
           return y;
         }},
        {straight_through_identity(), slope},
        {darn(), [&](std::size_t d) { return around(d, slope(d)); }},
        {zgr(),
         [&](std::size_t d) {
           Row y = around(d, slope(d)), st = jacobian(p, slope(d));
           for (std::size_t i = 0; i < k; ++i) y[i] = (y[i] + st[i]) / 2;
           return y;
         }},
        {reinmax(tau),
         [&](std::size_t d) {
           Row middle;
           for (std::size_t i = 0; i < k; ++i) middle[i] = (p_cold[i] + (i == d ? 1 : 0)) / 2;
           Row y = jacobian(middle, slope(d)), st = jacobian(p, slope(d));
           for (std::size_t i = 0; i < k; ++i) y[i] = 2 * y[i] - st[i] / 2;
           return y;
         }},
        {gapped_straight_through(tau, 0.5),
         [&](std::size_t d) {
           const double top = *std::max_element(logits.begin(), logits.end());
           Row x;
           for (std::size_t i = 0; i < k; ++i)
             x[i] = (i == d ? top : std::min(logits[i], top - 0.5)) / tau;
           Row y = jacobian(softmax_of(x), slope(d));
           for (double& v : y) v /= tau;
           return y;
         }},
        {mve(),
         [&](std::size_t d) {
           // The potentials by relaxation: each x_i the weighted mean of the others plus its
           // source.
           const Row g = slope(d);
           Row c{}, x{};
           for (std::size_t i = 0; i < k; ++i)
             if (i != d) {
               c[i] = g[i] * p[i] / (p[i] + p[d]);
               c[d] -= c[i];
             }
           for (int round = 0; round < 20000; ++round)
             for (std::size_t i = 0; i < k; ++i) {
               double weight = 0, sum = c[i];
               for (std::size_t j = 0; j < k; ++j)
                 if (j != i) {
                   const double w = p[i] * p[j] / (p[i] + p[j]);
                   weight += w;
                   sum += w * x[j];
                 }
               x[i] = sum / weight;
             }
           Row y = jacobian(p, x);
           for (std::size_t i = 0; i < k; ++i) y[i] = (y[i] + ((i == d ? 1 : 0) - p[i]) * g[d]) / 2;
           return y;
         }},
    };
    Row truth{};
    for (std::size_t d = 0; d < k; ++d)
      for (std::size_t i = 0; i < k; ++i) truth[i] += p[d] * cost(d) * ((i == d ? 1 : 0) - p[i]);
    const auto norm = [](const Row& y) {
      double s = 0;
      for (double v : y) s += v * v;
      return std::sqrt(s);
    };
    MeasureOptions options;
    options.enumerate = true;
    options.batch = 3;
    for (const auto& entry : rules) {
      const Rule& rule = entry.first;
      const auto& formula = entry.second;
      CAPTURE(rule.name);
      Row mean{}, off{};
      double spread = 0, error = 0, cosine = 0;
      for (std::size_t d = 0; d < k; ++d)
        for (std::size_t i = 0; i < k; ++i) mean[i] += p[d] * formula(d)[i];
      for (std::size_t i = 0; i < k; ++i) off[i] = mean[i] - truth[i];
      for (std::size_t d = 0; d < k; ++d) {
        const Row y = formula(d);
        Row a, e;
        double along = 0;
        for (std::size_t i = 0; i < k; ++i) {
          a[i] = y[i] - mean[i];
          e[i] = y[i] - truth[i];
          along += y[i] * truth[i];
        }
        spread += p[d] * norm(a) * norm(a);
        error += p[d] * norm(e) * norm(e);
        if (norm(y) > 0) cosine += p[d] * along / norm(y) / norm(truth);
      }
      const Measure m = measure(rule, f, l, options);
      CHECK(std::abs(m.bias - norm(off) / norm(truth)) < 1e-10);
      CHECK(std::abs(m.std - std::sqrt(spread) / norm(truth)) < 1e-10);
      CHECK(std::abs(m.mse - error / norm(truth) / norm(truth)) < 1e-10);
      CHECK(std::abs(m.cosine - cosine) < 1e-10);
      CHECK(m.bias_se == 0);
      CHECK(m.evaluations == 1);
    }
  }
}

TEST_CASE("polynomial order, by the instrument: straight-through 1, ZGR, ReinMax and MVE 2") {
  MeasureOptions options;
  options.enumerate = true;
  for (std::uint64_t seed = 1; seed <= 10; ++seed)
    for (std::size_t k : std::vector<std::size_t>{2, 3, 10}) {
      CAPTURE(seed);
      CAPTURE(k);
      const Tensor l = Rng(seed).normal({k});
      const Cost first = polynomial(seed, 1, k, false), second = polynomial(seed, 1, k, true);
      CHECK(measure(straight_through(), first, l, options).bias < 1e-12);
      for (const Rule& rule : {zgr(), reinmax(), mve()})
        CHECK(measure(rule, second, l, options).bias < 1e-12);
      CHECK(measure(score_function(), wild(seed, 1, k), l, options).bias < 1e-12);
    }
}

TEST_CASE("the instrument: enumeration and draws agree, also for several choices made together") {
  for (const Problem& p : {problem(1, 1, 6), problem(2, 3, 3)}) {
    MeasureOptions options = draws(100000);
    for (const Rule& rule : {score_function(), straight_through(), zgr(), mve(), darn()}) {
      CAPTURE(rule.name);
      options.enumerate = true;
      const Measure exactly = measure(rule, p.f, p.logits, options);
      options.enumerate = false;
      const Measure m = measure(rule, p.f, p.logits, options);
      CHECK(exactly.bias_se == 0);
      CHECK(std::abs(m.bias - exactly.bias) < 4 * m.bias_se);
      CHECK(std::abs(m.std - exactly.std) < 4 * m.std_se);
      CHECK(std::abs(m.mse - exactly.mse) < 4 * m.mse_se);
      CHECK(std::abs(m.cosine - exactly.cosine) < 4 * m.cosine_se);
    }
    // A rule that reads the noise is drawn whatever was asked for.
    options.enumerate = true;
    CHECK(measure(st_gumbel_softmax(1), p.f, p.logits, options).bias_se > 0);
    const Measure none = measure(enumeration(), p.f, p.logits, options);
    CHECK(none.bias < 1e-12);
    CHECK(none.std == 0);
    CHECK(none.evaluations == measure_exact(p.f, p.logits).evaluations);
  }
}

TEST_CASE("the tape's counts are the methods' costs") {
  const Problem p = problem(1, 3, 2);
  const auto costs = [&](const Method& method) {
    const Measure m = measure(method, p.f, p.logits, draws(1000));
    return std::array<double, 3>{m.evaluations, m.backwards, m.solver_calls};
  };
  using Costs = std::array<double, 3>;
  CHECK(costs(enumeration()) == Costs{8, 0, 0});
  CHECK(costs(score_function()) == Costs{1, 0, 0});
  CHECK(costs(zgr()) == Costs{1, 1, 0});
  CHECK(costs(perturbed(1, 7)) == Costs{1, 1, 7});
  CHECK(costs(i_mle(1, 3)) == Costs{1, 1, 5});
  CHECK(costs(rloo(5)) == Costs{5, 0, 0});
  CHECK(costs(vimco(4)) == Costs{4, 0, 0});
  CHECK(costs(muprop()) == Costs{2, 1, 0});
  CHECK(costs(nvil()) == Costs{1, 0, 0});
  CHECK(costs(rebar()) == Costs{3, 2, 0});
  CHECK(costs(relax()) == Costs{3, 2, 0});
  CHECK(costs(sum_and_sample(2)) == Costs{3, 0, 0});
  for (const Method& method : {arm(), disarm()}) CHECK(method.samples == 2);
  CHECK(costs(unordered_set(3)) == Costs{3, 0, 0});
  CHECK(costs(arm()) == Costs{2, 0, 0});
  CHECK(costs(disarm()) == Costs{2, 0, 0});
  MeasureOptions options = draws(1000);
  options.tuning = 3;
  CHECK(measure(rebar(), p.f, p.logits, options).tuning_evaluations == 3 * 3 * 1000);
}

TEST_CASE("one stream gives all rules and methods the same first choice") {
  const Problem p = problem(1, 1, 2);
  std::vector<Scalar> expected;
  for (const std::string& name : method_names()) {
    // These evaluate something else first, or what is not a choice.
    if (name == "exact" || name == "gumbel-softmax" || name == "sum-and-sample") continue;
    CAPTURE(name);
    std::vector<Scalar> first;
    const Cost f = [&](Var z) {
      if (first.empty()) first.assign(z.value().data(), z.value().data() + 20);
      return p.f(z);
    };
    Tape tape;
    Rng rng(9);
    method_named(name)(tape.parameter(repeated(p.logits, 10)), f, rng);
    if (expected.empty()) expected = first;
    CHECK(first == expected);
  }
}

TEST_CASE("behind a black box: costs alone will do, or the method refuses") {
  const Problem p = problem(1, 2, 2);
  const Cost dark = hidden(p.f);
  for (const std::string& name : kAround) {
    CAPTURE(name);
    const Measure m = measure(method_named(name), dark, p.logits, draws(2000));
    if (name == "muprop" || name == "rebar" || name == "relax") {
      CHECK(m.refusal == name +
                             ": no differentiable path from the choice to the cost; use a method "
                             "that needs none, such as rloo(), or make the path differentiable");
      continue;
    }
    const Measure open = measure(method_named(name), p.f, p.logits, draws(2000));
    CHECK(m.refusal == "");
    CHECK(m.bias == open.bias);
    CHECK(m.std == open.std);
  }
  ControlVariateSettings settings;
  settings.hidden = 8;
  settings.relaxed_cost = false;
  MeasureOptions options = draws(100000);
  options.tuning = 200;
  const Measure m =
      measure(relax(std::make_shared<ControlVariate>(settings)), dark, p.logits, options);
  CHECK(m.evaluations == 1);
  CHECK(m.bias < 4 * m.bias_se);
  CHECK(m.std < measure(score_function(), dark, p.logits, options).std);
}

TEST_CASE("recorded gradients of methods are the ones in numbers") {
  const Problem p = problem(2, 2, 2);
  for (const std::string& name : kAround) {
    CAPTURE(name);
    Tape tape;
    const Var l = tape.parameter(repeated(p.logits, 3));
    Rng rng(1);
    const Var e = method_named(name, 0.5)(l * 2, p.f, rng);
    const Tensor numbers = backward(e)[l];
    const Var recorded = differentiate(e, l)[0];
    CHECK(relative_distance(recorded.value(), numbers) < 1e-13);
    if (name != "arm") CHECK(tape.node(recorded.index).wants_gradient);
  }
}

TEST_CASE("an estimate's gradient has the derivative of its formula, for the draw as it stands") {
  const Problem p = problem(2, 2, 2);
  const Tensor start = repeated(p.logits, 3), w = Rng(5).normal(start.shape()),
               v = Rng(6).normal(start.shape());
  for (const std::string& name : around()) {
    // Their weights are constants, and ARM's gradient is made of its noise alone.
    if (name == "sum-and-sample" || name == "unordered-set" || name == "arm") continue;
    CAPTURE(name);
    const auto run = [&](const Tensor& logits, bool again) {
      Tape tape;
      Rng rng(1);
      const Var l = tape.parameter(logits),
                g = sum(differentiate(method_named(name, 0.5)(l, p.f, rng), l)[0] * w);
      return again ? sum(differentiate(g, l)[0] * v).item() : g.item();
    };
    constexpr double h = 1e-5;
    const double difference = (run(start + h * v, false) - run(start - h * v, false)) / (2 * h);
    CHECK(std::abs(run(start, true) - difference) < 1e-7 * (1 + std::abs(difference)));
  }
}

TEST_CASE("a choice in the cost that reads costs: of an example, or refused for each sample") {
  // As many samples as examples, so that the shapes alone would not tell.
  const std::pair<Method, std::size_t> methods[] = {
      {rloo(4), 4}, {vimco(4), 4}, {sum_and_sample(2), 2}, {unordered_set(3), 2}};
  for (const auto& of : methods) {
    const Method& method = of.first;
    const std::size_t examples = of.second;
    CAPTURE(method.name);
    Tape tape;
    Rng rng(3);
    const Var l = tape.parameter(rng.normal({examples, 4})),
              w = tape.parameter(rng.normal({examples, 4}));
    const Tensor prices = rng.normal({4});
    Var drawn;
    const auto cost = [&](bool each) {
      return [&, each](Var z) {
        if (each || !drawn.tape)
          drawn = sample(each ? broadcast(w, z.shape()) : w, score_function(), rng);
        return sum(z * prices, -1) * sum(drawn * prices, -1);
      };
    };
    CHECK_THROWS_WITH_AS(method(l, cost(true), rng),
                         doctest::Contains("need a rule or a method there that reads no costs"),
                         std::invalid_argument);
    drawn = sample(w, score_function(), rng);
    const Var e = method(l, cost(false), rng);
    const Tensor expected =
        reshaped(e.value(), {examples, 1}) * (drawn.value() - softmax(w).value());
    CHECK(farthest(backward(e)[w], expected) < 1e-13);
  }
  // Where there is one example alone, the estimate is a cost of each sample's choice.
  Tape tape;
  Rng rng(3);
  const Var l = tape.parameter(rng.normal({4})), w = tape.parameter(rng.normal({4}));
  Var drawn;
  const Cost each = [&](Var z) {
    drawn = sample(broadcast(w, z.shape()), score_function(), rng);
    return sum(z * drawn, -1);
  };
  const Var e = rloo(4)(l, each, rng);
  CHECK(tape.node(e.index).op.name == "estimate[rloo]");
  CHECK(farthest(backward(e)[w], e.item() * sum(drawn - softmax(w), 0).value()) < 1e-13);
}

TEST_CASE("what learns in a cost learns from the sweep, not from a method's own derivatives") {
  for (const std::string name : {"muprop", "rebar", "relax"}) {
    CAPTURE(name);
    const Method method = method_named(name, 0.5);
    const Rule inner = score_function(running_mean(0.5));
    inner.memory->assign(1, 3);
    Tape tape;
    Rng rng(3);
    const Var l = tape.parameter(Tensor{{0.3, -0.4, 0.1}}), w = tape.parameter(Tensor{{0.5, 1}});
    const Cost f = [&](Var z) {
      return sum(z * Tensor{1, 2, 4}, -1) + sum(sample(w, inner, rng) * Tensor{1.5, 3.5}, -1);
    };
    const Var e = method(l, f, rng);
    if (method.learn) method.learn(e, l);
    CHECK(*inner.memory == std::vector<double>{3});
    backward(e);
    CHECK(*inner.memory != std::vector<double>{3});
  }
}

TEST_CASE("methods' gradients sum to zero over the categories") {
  for (const Problem& p : {problem(2, 2, 2), problem(3, 1, 6)})
    for (const std::string& name : method_names()) {
      if (name == "straight-through-identity" || name == "perturbed") continue;
      if (binary_only(name) && p.k != 2) continue;
      CAPTURE(name);
      Tape tape;
      const Var l = tape.parameter(repeated(p.logits, 50));
      Rng rng(1);
      const Tensor g = backward(method_named(name, 1.0)(l, p.f, rng))[l];
      for (std::size_t i = 0; i < g.size(); i += p.k) {
        double total = 0, size = 0;
        for (std::size_t k = 0; k < p.k; ++k) {
          total += g.data()[i + k];
          size += std::abs(g.data()[i + k]);
        }
        CHECK(std::abs(total) <= 1e-12 * (1 + size));
      }
    }
}

TEST_CASE("REBAR learns by the gradient of its mean square, against finite differences") {
  for (std::size_t hidden_units : std::vector<std::size_t>{0, 4}) {
    const Problem p = problem(4, 1, 3);
    const double step = 1e-4;
    // The mean square of the estimate on one fixed draw, and its gradient for log tau and eta.
    const auto run = [&](double log_tau, double eta, Tensor* slopes) {
      ControlVariateSettings settings;
      settings.tau = std::exp(log_tau);
      settings.eta = eta;
      settings.hidden = hidden_units;
      const auto state = std::make_shared<ControlVariate>(settings);
      Tape tape;
      const Var l = tape.parameter(repeated(p.logits, 20));
      Rng rng(3);
      const Var e = rebar(state)(l, p.f, rng), loss = sum(square(differentiate(e, l)[0]));
      if (slopes) {
        std::vector<Var> own;
        for (std::uint32_t i : tape.parameter_indices())
          if (tape.var(i).shape().empty()) own.push_back(tape.var(i));
        REQUIRE(own.size() == 3);  // and the constant
        const Gradients g = backward(loss);
        *slopes = Tensor{*g[own[0]].data(), *g[own[1]].data()};
      }
      return static_cast<double>(loss.item());
    };
    Tensor slopes;
    const double x = std::log(0.6), y = 0.8;
    run(x, y, &slopes);
    CHECK(slopes(0) ==
          doctest::Approx((run(x + step, y, nullptr) - run(x - step, y, nullptr)) / (2 * step))
              .epsilon(1e-5));
    CHECK(slopes(1) ==
          doctest::Approx((run(x, y + step, nullptr) - run(x, y - step, nullptr)) / (2 * step))
              .epsilon(1e-5));
  }
}

TEST_CASE("tuning lowers the variance of REBAR and RELAX, below that of leave-one-out") {
  // Three evaluations each: leave-one-out may take three samples.
  const auto check = [](const Problem& p, const char* name, double tau, std::size_t steps) {
    CAPTURE(name);
    const Method method = method_named(name, tau);
    MeasureOptions options = draws(20000);
    options.batch = 1000;
    const double before = measure(method, p.f, p.logits, options).std;
    options.tuning = steps;
    const double after = measure(method, p.f, p.logits, options).std;
    CHECK(after < 0.95 * before);
    if (kRecycles) CHECK(after < measure(rloo(3), p.f, p.logits, draws(20000)).std);
  };
  for (const char* name : {"rebar", "relax"}) {
    check(problem(5, 1, 4), name, 2.0, 200);
    // At t = .499 the two costs differ by .002, and what lies between them by .25.
    const std::size_t steps = kRecycles ? 2000 : 300;
    check({1, 2, zeros({2}), toy(0.499)}, name, 0.5, steps);
    check({1, 2, Tensor{0, 1}, toy(0.499)}, name, 0.5, steps);
  }
}

TEST_CASE("the expectation over several nodes, each with its own categories") {
  const Tensor la = Rng(41).normal({2, 3}), lb = Rng(42).normal({2, 2, 4});
  const JointCost f = [](const std::vector<Var>& z) {
    const Var a = sum(z[0] * z[0].tape->constant(Tensor{1, -2, 0.5}), -1);
    const Var b = sum(z[1] * z[1].tape->constant(Tensor{{1, 2, 3, 4}, {-1, 1, -1, 2}}), {-2, -1});
    return exp(a * b / 4);
  };
  Tape tape;
  const Var a = tape.parameter(la), b = tape.parameter(lb), e = expectation({a, b}, f);
  REQUIRE(e.shape() == Shape{2});
  CHECK(tape.counts.evaluations == 2 * 3 * 16);
  const Tensor pa = softmax(a).value(), pb = softmax(b).value();
  const double wa[3] = {1, -2, 0.5}, wb[2][4] = {{1, 2, 3, 4}, {-1, 1, -1, 2}};
  for (std::size_t r = 0; r < 2; ++r) {
    double expected = 0;
    for (std::size_t i = 0; i < 3; ++i)
      for (std::size_t j = 0; j < 4; ++j)
        for (std::size_t k = 0; k < 4; ++k)
          expected +=
              pa(r, i) * pb(r, 0, j) * pb(r, 1, k) * std::exp(wa[i] * (wb[0][j] + wb[1][k]) / 4);
    CHECK(e.value()(r) == doctest::Approx(expected).epsilon(1e-12));
  }
  CHECK(check_gradient(
      [&](const std::vector<Var>& v) {
        return expectation({v[0], v[1]}, f);
      },
      {la, lb}));
  refuses(
      [&] {
        expectation({tape.constant(zeros({1, 3})), tape.constant(zeros({1, 13, 2}))},
                    [](const std::vector<Var>& z) {
                      return sum(z[0], -1) + sum(z[1], {-2, -1});
                    });
      },
      "expectation: 3 categories in 1 variables, 2 categories in 13 variables; need at most 16384 "
      "combinations");
  const JointCost half = [](const std::vector<Var>& z) { return sum(z[0], -1); };
  refuses(
      [&] {
        evaluate({a, tape.constant(zeros({3, 2, 4}))}, half);
      },
      "evaluate: the choices are (3, 2, 4), the cost is (2,); need one number an example, lined "
      "up with the leading axes");
}

TEST_CASE("RLOO has less variance than the plain score function, on every problem of the table") {
  std::vector<Problem> problems = ten_problems();
  Rng rng(50);
  for (double t : {0.45, 0.499}) problems.push_back({1, 2, zeros({2}), toy(t)});
  for (std::size_t k : std::vector<std::size_t>{2, 8, 64}) {
    problems.push_back({1, k, rng.normal({k}), polynomial(k, 1, k, false)});
    problems.push_back({1, k, rng.normal({k}), polynomial(k, 1, k, true)});
  }
  for (const Problem& p : problems)
    CHECK(measure(rloo(4), p.f, p.logits, draws(20000)).std <
          measure(score_function(), p.f, p.logits, draws(20000)).std);
}

TEST_CASE("above the cap the exact gradient may be given: ReinMax's toy of 128 binary variables") {
  const std::size_t n = 128;
  const Tensor l = Rng(51).normal({n, 2});
  for (double power : {1.5, 2.0, 3.0}) {
    CAPTURE(power);
    const Cost f = [=](Var z) {
      return mean(
          pow(abs(reshape(slice(z, 1, 2, -1), Shape(z.shape().begin(), z.shape().end() - 1)) -
                  0.45),
              power),
          -1);
    };
    // The variables do not meet in f, so the exact gradient is one variable's at a time.
    Tensor truth = uninitialised({n, 2});
    for (std::size_t v = 0; v < n; ++v) {
      const double p = 1 / (1 + std::exp(l(v, 0) - l(v, 1)));
      const double rise = (std::pow(0.55, power) - std::pow(0.45, power)) / static_cast<double>(n);
      truth(v, 1) = p * (1 - p) * rise;
      truth(v, 0) = -truth(v, 1);
    }
    MeasureOptions options = draws(4000);
    options.batch = 1000;
    refuses([&] { measure(zgr(), f, l, options); },
            "expectation: 2 categories in 128 variables; need at most 16384 combinations");
    options.exact = truth;
    const Measure second = measure(zgr(), f, l, options),
                  plain = measure(score_function(), f, l, options);
    const Measure loo = measure(rloo(4), f, l, options), pair = measure(disarm(), f, l, options);
    if (power == 2) CHECK(second.bias < 4 * second.bias_se);
    CHECK(plain.bias < 4 * plain.bias_se);
    CHECK(loo.bias < 4 * loo.bias_se);
    CHECK(pair.bias < 4 * pair.bias_se);
    CHECK(loo.std < plain.std);
  }
}

TEST_CASE("wrong uses are refused in words") {
  Tape tape;
  Rng rng(1);
  const Var three = tape.parameter(zeros({4, 3})), many = tape.parameter(zeros({1, 15, 2}));
  const Cost f = polynomial(1, 1, 3, true);
  refuses([&] { arm()(three, f, rng); }, "arm: logits are (4, 3); need (..., 2), binary variables");
  refuses([&] { disarm()(three, f, rng); },
          "disarm: logits are (4, 3); need (..., 2), binary variables");
  CHECK_NOTHROW(rloo(2));
  CHECK_NOTHROW(vimco(2));
  refuses([] { rloo(1); }, "rloo: samples are 1; need at least 2");
  refuses([] { vimco(1); }, "vimco: samples are 1; need at least 2");
  refuses([] { sum_and_sample(0); }, "sum_and_sample: k is 0; need at least 1");
  refuses([] { unordered_set(0); }, "unordered_set: k is 0; need 1 to 12");
  CHECK_NOTHROW(unordered_set(12));
  refuses([] { unordered_set(13); }, "unordered_set: k is 13; need 1 to 12");
  const Cost together = [](Var z) { return sum(z, {-2, -1}); };
  refuses([&] { enumeration()(many, together, rng); },
          "expectation: 2 categories in 15 variables; need at most 16384 combinations");
  refuses([&] { sum_and_sample()(many, together, rng); },
          "sum_and_sample: 2 categories in 15 variables; need at most 16384 combinations");
  refuses([&] { unordered_set()(many, together, rng); },
          "unordered_set: 2 categories in 15 variables; need at most 16384 combinations");
  for (const std::string& name : kAround) {
    CAPTURE(name);
    const Var two = tape.parameter(zeros({4, 2}));
    CHECK_THROWS_WITH_AS(
        method_named(name)(
            two, [](Var z) { return z * 2; }, rng),
        doctest::Contains("need one number an example, lined up with the leading axes"),
        std::invalid_argument);
  }
  CHECK_THROWS_AS(muprop()(three, hidden(f), rng), NoPath);
  CHECK_THROWS_AS(rebar()(three, hidden(f), rng), NoPath);
  refuses([] { method_named("gumble"); },
          "method_named: 'gumble'; need one of zero, score-function, score-function+mean, "
          "score-function+leave-one-out, straight-through, straight-through-identity, "
          "gumbel-softmax, st-gumbel-softmax, reinmax, annealed-straight-through, darn, zgr, "
          "gapped-straight-through, gumbel-rao, mve, perturbed, blackbox, i-mle, exact, muprop, "
          "nvil, vimco, rebar, relax, sum-and-sample, unordered-set, arm, disarm");
  refuses(
      [&] {
        with_gradient("mine", tape.constant(zeros({3})), three, tape.constant(zeros({4, 3})));
      },
      "mine: the estimate is (3,), its gradient (4, 3), the logits are (4, 3); need one number an "
      "example and a gradient of the logits' shape");
  ControlVariateSettings settings;
  settings.tau = 0;
  refuses([&] { ControlVariate{settings}; }, "ControlVariate: tau is 0; need 1e-20 to 1e+20");
  settings.tau = 1;
  settings.relaxed_cost = false;
  refuses([&] { ControlVariate{settings}; },
          "ControlVariate: no relaxed cost and no hidden units; need one of them");
  refuses([] { relax(std::make_shared<ControlVariate>()); },
          "relax: hidden units are 0; need at least 1, or use rebar()");
  const Method method = rebar();
  const Var e = method(three, f, rng);
  Tape other;
  const Var elsewhere = other.parameter(zeros({4, 3}));
  refuses([&] { method.learn(sum(elsewhere, -1), elsewhere); },
          "rebar: learn() got an estimate of another tape; need the last one that was made");
  CHECK_NOTHROW(method.learn(e, three));
  for (bool again : {false, true}) {  // the next tape stands where the last one did
    Tape here;
    const Var l = here.parameter(zeros({4, 3}));
    if (!again) method(l, f, rng);
    const Var estimate = again ? sum(l, -1) : Var();
    if (again)
      refuses([&] { method.learn(estimate, l); },
              "rebar: learn() got an estimate of another tape; need the last one that was made");
  }
  refuses([] { rebar(nullptr); }, "rebar: the state is empty; need one");
  refuses([] { nvil(nullptr); }, "nvil: the state is empty; need one");
  refuses([] { pathwise_rule("mine", nullptr); },
          "mine: the formula is empty; need one for the gradient");
  refuses([&] { rloo()(tape.parameter(1.0), f, rng); },
          "sample: logits are (); need (..., K) with at least one category");
  refuses([&] { evaluate(three, [&](Var) { return elsewhere; }); },
          "evaluate: input 1 stands on another tape; need all on one tape");
  for (const std::string name : {"nvil", "relax"}) {
    const Method learned = method_named(name, 0.5);
    const Var wide = tape.parameter(zeros({2, 4}));
    const auto first = [](Var z) { return sum(slice(z, 0, 1, -1), -1); };
    learned.learn(learned(three, first, rng), three);
    CHECK_THROWS_WITH_AS(
        learned(wide, first, rng),
        doctest::Contains("an example has 4 logits, it had 3 before; need as many"),
        std::invalid_argument);
  }
  NvilSettings nvil_settings;
  nvil_settings.decay = 1;
  refuses([&] { NvilBaseline{nvil_settings}; }, "NvilBaseline: decay is 1; need 0 <= decay < 1");
  MeasureOptions options;
  options.exact = zeros({2});
  refuses([&] { measure(zero(), f, zeros({3}), options); },
          "measure: logits are (3,), the exact gradient is (2,); need the same shape");
}

TEST_CASE("samples that agree give a gradient of exactly zero") {
  // Nearly all tuples of so likely a category agree.
  Tape tape;
  const Tensor costs{0.1, 0.7};
  const Var l = tape.parameter(repeated(Tensor{2.2, 0}, 500)), c = tape.constant(costs);
  const Cost f = [&](Var z) { return sum(z * c, -1); };
  for (std::size_t samples : {std::size_t{3}, std::size_t{4}, std::size_t{7}})
    for (const Method& method : {rloo(samples), vimco(samples)}) {
      CAPTURE(method.name);
      CAPTURE(samples);
      Rng rng(3), same(3);
      const Tensor g = backward(method(l, f, rng))[l];
      const Var z = drawn_choice(l, same, samples);
      std::size_t agreed = 0;
      for (std::size_t e = 0; e < 500; ++e) {
        std::size_t chosen = 0;
        for (std::size_t s = 0; s < samples; ++s) chosen += z.value()(s, e, 0) > 0;
        if (chosen != 0 && chosen != samples) continue;
        ++agreed;
        CHECK(g(e, 0) == 0);
        CHECK(g(e, 1) == 0);
      }
      CHECK(agreed > 100);
    }
}

TEST_CASE("the instrument: a gradient of rounding alone has no direction") {
  const Tensor costs{0.1, 0.7};
  const Cost f = [costs](Var z) { return sum(z * z.tape->constant(costs), -1); };
  const Measure m = measure(rloo(4), f, Tensor{2.2, 0}, draws(20000));
  // 1 but where all four samples agree.
  const double p = 1 / (1 + std::exp(-2.2)), agree = std::pow(p, 4) + std::pow(1 - p, 4);
  CHECK(std::abs(m.cosine - (1 - agree)) < 4 * m.cosine_se);
  std::ostringstream out;
  out << rebar();
  CHECK(out.str() == "rebar");
  const Method noise("noise", 1, [](Var logits, const Cost& f, Rng& rng) {
    const Var cost = evaluate(drawn_choice(logits, rng), f);
    return with_gradient("noise", cost, logits,
                         logits * 0.0 + logits.tape->constant(Tensor{-1e-17, 1e-17}));
  });
  CHECK(measure(noise, f, Tensor{2.2, 0}, draws(100)).cosine == 0);
  MeasureOptions options;
  options.exact = Tensor{std::numeric_limits<double>::quiet_NaN(), 0};
  refuses(
      [&] {
        measure(zero(), f, Tensor{2.2, 0}, options);
      },
      "measure: the exact gradient is not finite; need numbers");
  CHECK_THROWS_WITH_AS(measure(zero(), f, Tensor{std::numeric_limits<double>::infinity(), 0}),
                       doctest::Contains("in row 0; need numbers"), std::invalid_argument);
}

TEST_CASE(
    "forbidden categories and infinite costs: methods stay finite, and what learns unharmed") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const Tensor costs{0.3, 5, -0.4};
  const Cost f = [costs](Var z) { return sum(z * z.tape->constant(costs), -1); };
  for (const std::string& name : kAround) {
    if (binary_only(name)) continue;
    CAPTURE(name);
    const Method method = method_named(name);
    Rng rng(1);
    for (int step = 0; step < 6; ++step) {
      Tape tape;
      const Var l = tape.parameter(repeated(Tensor{0, -inf, 1}, 20));
      const Var e = method(l, f, rng);
      const Tensor g = backward(e)[l], recorded = differentiate(e, l)[0].value();
      for (std::size_t i = 0; i < g.size(); ++i) {
        CHECK(std::isfinite(g.data()[i]));
        CHECK(recorded.data()[i] == doctest::Approx(g.data()[i]));
        if (i % 3 == 1) CHECK(g.data()[i] == 0);
      }
      if (!method.learn) continue;
      // The fourth lesson is poison.
      method.learn(step == 3 ? e * tape.constant(inf) : e, l);
    }
  }
}

TEST_CASE("a method of one's own is measured like the others") {
  // Half the exact gradient.
  Method half;
  half.name = "half";
  half.estimate = [](Var logits, const Cost& f, Rng&) {
    const Var e = expectation(logits, f), g = differentiate(e, logits)[0];
    return with_gradient("half", stop_gradient(e), logits, g / 2);
  };
  const Problem p = problem(1, 1, 4);
  const Measure m = measure(half, p.f, p.logits, draws(100));
  CHECK(m.bias == doctest::Approx(0.5));
  CHECK(m.std < 1e-12);
  CHECK(m.cosine == doctest::Approx(1));
}

TEST_CASE(
    "settings and costs at the end of Scalar's range: refused in words, or nothing is learned") {
  ControlVariateSettings settings;
  settings.tau = 1e-60;
  CHECK_THROWS_WITH_AS(ControlVariate{settings}, doctest::Contains("ControlVariate: tau is 1e-60"),
                       std::invalid_argument);
  settings.tau = 0.5;
  settings.eta = std::numeric_limits<double>::infinity();
  CHECK_THROWS_WITH_AS(ControlVariate{settings}, doctest::Contains("ControlVariate: eta is inf"),
                       std::invalid_argument);
  const Tensor rows = ones({2, 3});
  const double most = static_cast<double>(std::numeric_limits<Scalar>::max());
  for (const std::size_t hidden : {std::size_t{16}, std::size_t{0}}) {
    NvilSettings with;
    with.hidden = hidden;
    NvilBaseline state{with};
    state.learn(rows, Tensor{1, 2});
    const Tensor known = state.value(rows);
    const double scale = state.scale();
    for (double cost : {most, most / 2, std::sqrt(most) * 100}) {
      state.learn(rows, Tensor{static_cast<Scalar>(cost), 1});
      CHECK(state.value(rows) == known);
      CHECK(state.scale() == scale);
    }
  }
}

TEST_CASE("what is forbidden adds nothing, whatever it costs: methods") {
  constexpr double inf = std::numeric_limits<double>::infinity(),
                   nan = std::numeric_limits<double>::quiet_NaN();
  for (const Tensor& logits : {Tensor{{0, 1, -inf}, {-inf, 2, 1}}, Tensor{{0, -inf, -inf}}})
    for (const std::string& name : around()) {
      if (binary_only(name)) continue;
      CAPTURE(name);
      const auto run = [&](double cost) {
        Tape tape;
        Rng rng(2);
        const Var l = tape.parameter(logits),
                  prices = where(equal(l, -inf), cost, tape.constant(Tensor{1, 2, 4})),
                  e = method_named(name, 0.5)(
                      l, [&](Var z) { return sum(where(z, z * prices, 0.0), -1); }, rng);
        return std::pair(e.value(), backward(e)[l]);
      };
      const auto expected = run(3);
      for (double cost : {inf, -inf, nan}) CHECK(run(cost) == expected);
      for (std::size_t i = 0; i < logits.size(); ++i)
        if (logits.data()[i] == -inf) CHECK(expected.second.data()[i] == 0);
    }
  const Cost f = [&](Var z) { return sum(where(z, Tensor{1, 2, inf}, 0.0), -1); };
  for (std::size_t k : {std::size_t{2}, std::size_t{3}}) {  // all that is possible is in the sum
    Tape tape;
    Rng rng(1);
    const Var l = tape.parameter(Tensor{{0, 1, -inf}});
    const Cost possible = [&](Var z) {
      CHECK(sum(z * Tensor{0, 0, 1}).item() == 0);  // what is not is never evaluated
      return f(z);
    };
    CHECK(farthest(sum_and_sample(k)(l, possible, rng).value(), expectation(l, f).value()) < 1e-15);
  }
}

TEST_CASE("a batch of no examples teaches nothing, and the next one is the first") {
  for (const std::string& name : around()) {
    CAPTURE(name);
    const auto run = [&](bool nothing_before) {
      const Method method = method_named(name, 0.5);
      const Cost f = [](Var z) { return sum(z * Tensor{1, 3}, -1); };
      Rng rng(2);
      for (std::size_t examples : {std::size_t{0}, std::size_t{3}}) {
        if (examples == 0 && !nothing_before) continue;
        Tape tape;
        Rng own = rng;
        const Var l = tape.parameter(Rng(4).normal({examples, 2})), e = method(l, f, own);
        if (method.learn) method.learn(e, l);
        const Tensor g = backward(e)[l];
        if (examples) return g;
      }
      return Tensor();
    };
    CHECK(run(true) == run(false));
  }
}

TEST_CASE("the mean of the others' costs, infinite ones among them") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  Tape tape;
  const auto of = [&](const Tensor& costs) { return mean_of_others(tape.constant(costs)).value(); };
  CHECK(of(Tensor{1, 2, 6}) == Tensor{4, 3.5, 1.5});
  CHECK(of(Tensor{inf, 1, 2}) == Tensor{1.5, inf, inf});
  CHECK(of(Tensor{-inf, 1, 2}) == Tensor{1.5, -inf, -inf});
}

TEST_CASE("vimco takes a cost that is infinite: a weight of 0 in its bound") {
  const auto run = [](double cost) {
    Tape tape;
    Rng rng(5);
    const Var x = tape.parameter(Tensor{{0.4, -0.3}});
    const Var y = vimco(3)(
        x,
        [&](Var z) {
          Tensor costs = ones({z.shape()[0], 1});
          costs.data()[0] = static_cast<Scalar>(cost);
          return z.tape->constant(costs);
        },
        rng);
    return std::pair(y.value(), backward(y)[x]);
  };
  const auto far = run(1000), infinite = run(std::numeric_limits<double>::infinity());
  CHECK(infinite.first == far.first);
  for (std::size_t k = 0; k < 2; ++k)
    CHECK(infinite.second.data()[k] == doctest::Approx(far.second.data()[k]).epsilon(1e-3));
}

TEST_CASE("sizes and functions that cannot be: refused, or as good as the largest") {
  Tape tape;
  Rng rng(5);
  const Var x = tape.parameter(Tensor{{0.4, -0.3, 0.1}});
  const auto f = [](Var z) { return sum(z * z.tape->constant(Tensor{1, 2, 4}), -1); };
  const Gradients exact = backward(expectation(x, f));
  const Gradients all = backward(sum_and_sample(static_cast<std::size_t>(-1))(x, f, rng));
  for (std::size_t k = 0; k < 3; ++k)
    CHECK(all[x].data()[k] == doctest::Approx(exact[x].data()[k]));
  CHECK_THROWS_AS(expectation(x, Cost()), std::invalid_argument);
  CHECK_THROWS_AS(evaluate(x, Cost()), std::invalid_argument);
  CHECK_THROWS_AS(black_box(nullptr, x), std::invalid_argument);
  CHECK_THROWS_AS(check_gradient(Function(), {ones({2})}), std::invalid_argument);
  CHECK_THROWS_AS(backward_and_release(sum(x), TakeGradient()), std::invalid_argument);
}
