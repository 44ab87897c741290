// What is left when something fails in the middle of a step: memory that is refused, at the n-th
// allocation for every n, and functions of the user's that throw at their n-th call. Nothing leaks,
// nothing but that failure comes out, and the step that is made again gives the same bits.
//
// The first 300 allocations (30 where the sanitizers are) fail one by one, and then ever fewer of
// them; ARGTAPE_CASES says how many instead (ARGTAPE_CASES=1000000 for every one).
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "models/argtape.hpp"
#include "tests/cases.hpp"
#include "tests/failing_memory.hpp"
#include "tests/folder.hpp"
#include "tests/recycling.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

// What a function of the user's throws, when its call has come.
struct Thrown {};
long calls_left = 0;
void chance() {
  if (calls_left > 0 && --calls_left == 0) throw Thrown();
}

enum class Failing { one_allocation, all_from_one_on, call };

// What holds after a step that threw.
enum class After {
  unchanged,  // all is as it was, and the step can be made again
  archived,   // it can, from an archive of before
};

struct Subject {
  std::function<void()> step;
  std::function<void(Archive&)> state;  // all that the next step goes on from
  After after = After::unchanged;
  std::function<void(Archive&)> compared = {};  // in place of the state, which has times
};
using Make = std::function<Subject()>;

std::string bytes_of(const std::function<void(Archive&)>& state) {
  Archive a;
  state(a);
  return a.bytes();
}
std::size_t digest_of(const Subject& s) {
  return std::hash<std::string>()(bytes_of(s.compared ? s.compared : s.state));
}

// Whether the step throws where the n-th chance fails; anything else that it throws comes through.
bool throws(const Subject& s, Failing what, long n) {
  struct Armed {
    ~Armed() { failing_memory.left = calls_left = 0; }
  } armed;
  release_cached_memory();
  failing_memory.refused = 0;
  failing_memory.all = what == Failing::all_from_one_on;
  if (what == Failing::call)
    calls_left = n;
  else
    failing_memory.left = n;
  try {
    s.step();
  } catch (const std::bad_alloc&) {
    REQUIRE(what != Failing::call);
    return true;
  } catch (const Thrown&) {
    return true;
  }
  return false;
}

// body(n), where the n-th allocation of a step in it is refused, until a step has less of them.
template <class Body>
void each_allocation(Body body) {
  for (long n = 1; n == 1 || failing_memory.refused > 0; ++n) {
    CAPTURE(n);
    body(n);
  }
}
bool refused(long n, const std::function<void()>& step) {
  return throws({step, {}}, Failing::one_allocation, n);
}

struct Outcome {
  bool threw = false, failed = false;  // the step; anything in it
  std::size_t before = 0, after = 0, next = 0;
};

Outcome outcome_of(const Make& make, Failing what, long n) {
  const Subject s = make();
  const std::string before = bytes_of(s.state);
  Outcome o;
  o.before = digest_of(s);
  o.threw = throws(s, what, n);
  o.failed = o.threw || failing_memory.refused > 0;
  o.after = digest_of(s);
  if (!o.threw) return o;
  if (s.after == After::archived) {
    Archive a(before);
    s.state(a);
  }
  s.step();
  o.next = digest_of(s);
  return o;
}

// Of operator new's blocks and the library's; other threads may have taken some of those.
std::ptrdiff_t held() {
  return failing_memory.held + (threads() == 1 ? memory_use().held_bytes : 0);
}

std::string wrong_in(const Outcome& o, const Outcome& right, After after) {
  if (o.before != right.before) return "it starts from something else";
  if (!o.threw) return o.after == right.after ? "" : "the step went on, to other numbers";
  if (after == After::unchanged && o.after != o.before) return "something is changed";
  return o.next == right.after ? "" : "the step made again gives other numbers";
}

// All of one kind, one after the other, from cold on: what is made once for the whole program may
// be made in any of them.
void each_failure(const std::string& subject, const Make& make, Failing what) {
  const long each = cases(kRecycles ? 300 : 30);
  const std::string kind = what == Failing::one_allocation    ? "allocation "
                           : what == Failing::all_from_one_on ? "all allocations from "
                                                              : "call ";
  std::vector<std::pair<long, Outcome>> all;
  Rng pick(static_cast<std::uint64_t>(each));
  const auto next_after = [&](long n) {
    return n < each ? n + 1 : n + 1 + static_cast<long>(pick.below(static_cast<std::size_t>(n)));
  };
  for (long n = 1;; n = next_after(n)) {
    all.emplace_back();
    Outcome& o = all.back().second;
    all.back().first = n;
    INFO(subject, ", ", kind, n);
    std::ptrdiff_t grown = 0;
    // What grows once is kept for good, as a name, or what a thread has of its own.
    for (int again = 0; again < 2 * threads(); ++again) {
      const std::ptrdiff_t before = held();
      o = outcome_of(make, what, n);
      release_cached_memory();
      grown = held() - before;
      if (grown == 0) break;
    }
    CHECK(grown == 0);
    if (!o.failed) break;
  }
  const Outcome right = outcome_of(make, what, 0);
  const After after = make().after;
  int shown = 0;
  for (const auto& [n, o] : all)
    if (const std::string wrong = wrong_in(o, right, after); !wrong.empty() && shown++ < 3)
      FAIL_CHECK(subject << ", " << kind << n << ": " << wrong);
}

void each_failure(const std::string& subject, const Make& make) {
  for (Failing what : {Failing::one_allocation, Failing::all_from_one_on, Failing::call})
    each_failure(subject, make, what);
}

// ---- Training loops of the user's.

struct Loss {
  std::function<Var(const Vars& w, Rng& rng)> f;
  std::shared_ptr<std::vector<double>> memory = nullptr;  // of a rule
};
struct Model {
  const char* name;
  std::vector<Shape> shapes;
  std::function<Loss()> loss;
};
Model model(const char* name, std::vector<Shape> shapes,
            std::function<Var(const Vars& w, Rng& rng)> f) {
  return {name, std::move(shapes), [f = std::move(f)] { return Loss{f}; }};
}

// An op of the user's, and its derivative.
Var cube(Var x) {
  Tensor y = x.value() * x.value() * x.value();
  return x.tape->record("cube", {x}, std::move(y), [](BackwardContext& ctx) {
    chance();
    ctx.give(0, 3 * square(ctx.in(0)) * ctx.gradient());
    chance();
  });
}

Rule own_rule() {
  return pathwise_rule("own", [](const Draw& draw, Var g) {
    chance();
    const Var p = softmax(draw.logits);
    return p * cube(g) + draw.hard() * 0.1;
  });
}

// A baseline that keeps what it learns where Rule says.
Baseline own_baseline() {
  const auto kept = std::make_shared<std::vector<double>>(1, 0.5);
  return {"own",
          [kept](const Tensor& costs) {
            chance();
            return full(costs.shape(), kept->front());
          },
          [kept](const Tensor& costs) {
            chance();
            kept->front() += 0.25 * static_cast<double>(costs.data()[0]);
          },
          false, kept};
}

// One number a row, by the user's function.
Cost own_cost() {
  return [](Var z) {
    chance();
    Tensor target = uninitialised({z.shape().back()});
    for (std::size_t i = 0; i < target.size(); ++i)
      target.data()[i] = 0.3f * static_cast<Scalar>(i + 1);
    return sum(square(z - z.tape->constant(std::move(target))) + cube(z), -1);
  };
}

// Outside of the tape: the first number of each row.
Tensor first_of_rows(const Tensor& z) {
  Tensor first = uninitialised({z.shape()[0]});
  for (std::size_t i = 0; i < first.size(); ++i) first.data()[i] = z.data()[i * z.shape()[1]];
  return first;
}

Var numbers(const Vars& w, const Shape& shape) { return w[0].tape->constant(Rng(4).normal(shape)); }

const std::vector<Model> kModels = {
    model("0/1 loss", {{4, 6}, {6}, {6, 3}, {3}},
          [](const Vars& w, Rng& rng) {
            const Var h = relu(dense(numbers(w, {5, 4}), w[0], w[1]));
            return zero_one_loss(sample(dense(h, w[2], w[3]), reinmax(), rng), {0, 1, 2, 1, 0});
          }),
    model("a cost of the user's", {{5, 3}},
          [](const Vars& w, Rng& rng) {
            return evaluate(sample(w[0], score_function(), rng), own_cost());
          }),
    {"a mean of earlier costs",
     {{5, 3}},
     [] {
       const Rule rule = score_function(running_mean());
       return Loss{
           [=](const Vars& w, Rng& rng) { return evaluate(sample(w[0], rule, rng), own_cost()); },
           rule.memory};
     }},
    {"a baseline of the user's",
     {{5, 3}, {5, 3}},
     [] {
       const Rule rule = score_function(own_baseline());
       return Loss{[=](const Vars& w, Rng& rng) {
                     return evaluate(sample(w[0], rule, rng), own_cost()) +
                            evaluate(sample(w[1], rule, rng), own_cost());
                   },
                   rule.memory};
     }},
    model("a rule of the user's", {{5, 3}},
          [](const Vars& w, Rng& rng) {
            return evaluate(sample(w[0], own_rule(), rng), own_cost());
          }),
    model("a relaxation of the user's", {{2, 4}},
          [](const Vars& w, Rng& rng) {
            Rule rule;
            rule.name = "own", rule.applies_to = AppliesTo::subset;
            rule.relaxation = [](const Draw& draw) {
              chance();
              return relaxed_top_k(cube(draw.logits), draw.decision->k, 0.5);
            };
            return evaluate(sample_top_k(w[0], 2, rule, rng), own_cost());
          }),
    model("expectation", {{2, 3}},
          [](const Vars& w, Rng&) { return expectation(w[0], own_cost()); }),
    model("black box", {{2, 3}},
          [](const Vars& w, Rng& rng) {
            return black_box(
                [](const std::vector<Tensor>& z) {
                  chance();
                  return first_of_rows(z[0]);
                },
                {sample(w[0], score_function(), rng)});
          }),
    model("sorting", {{1, 4}, {4}},
          [](const Vars& w, Rng& rng) {
            const Var x = numbers(w, {2, 4, 1});
            const Var p =
                sample_matching(dense(x, w[0], w[1]), gumbel_sinkhorn(1, std::size_t{4}), rng);
            return sum(squared_error(permute(p, x), flip(x, 1)), {-2, -1});
          }),
    model("select", {{3, 2}, {2, 2}},
          [](const Vars& w, Rng& rng) {
            const auto branch = [w](Var x) {
              chance();
              return matmul(x, w[1]);
            };
            return sum(select(sample(w[0], st_gumbel_softmax(1), rng), numbers(w, {3, 2}),
                              {branch, [](Var x) { return cube(x); }}, Unchosen::as_scalars),
                       -1);
          }),
    model("mixture", {{2}, {3}},
          [](const Vars& w, Rng&) {
            const auto branch = [w] {
              chance();
              return tanh(w[1]);
            };
            return sum(mixture(softmax(w[0]), {branch, [w] { return w[1]; }}));
          }),
    model("k-means", {{2, 3}},
          [](const Vars& w, Rng&) {
            return kmeans_loss(numbers(w, {6, 3}), w[0], zero());
          }),
    model("convolutions", {{2, 1, 3, 3}, {2}, {8}, {8}},
          [](const Vars& w, Rng&) {
            const Var h = max_pool2d(relu(conv2d(numbers(w, {3, 1, 4, 4}), w[0], w[1], 1, 1)), 2);
            return sum(layer_norm(reshape(h, {3, 8}), w[2], w[3]) * numbers(w, {3, 8}));
          }),
    model("formulas", {{2, 3}, {3}},
          [](const Vars& w, Rng&) {
            const auto formula = [](auto x, auto z) {
              chance();
              return x * tanh(z);
            };
            return sum_of(formula, w[0], w[1]) + mean_of(formula, w[0], w[1]) +
                   sum(elementwise(formula, w[0], w[1]));
          }),
    model("many rows", {{2, 3}},
          [](const Vars& w, Rng&) {
            const Var x = w[0];
            const Var rows = concatenate(
                {x, 2 * x, cube(x), soft_sort(x, 1)[0], logsumexp(x, 1, keep_axes) + x});
            return sum(rows * softmax(rows), -1);
          }),
    model("distributions", {{4, 3}, {4, 2}, {4, 2}},
          [](const Vars& w, Rng& rng) {
            const Categorical q(w[0]);
            const Normal style(w[1], exp(w[2]));
            const Var y = q.sample(straight_through(), rng), z = style.sample(rng);
            return bce_with_logits(sum(y, -1) + sum(z, -1), numbers(w, {4})) + q.entropy() +
                   sum(kl_gaussian(w[1], w[2]), -1);
          }),
    model("second order", {{2, 3}},
          [](const Vars& w, Rng&) {
            const Var slope = differentiate(sum(cube(w[0]) * sigmoid(w[0])), w[0])[0];
            return sum(square(slope));
          }),
    model("six axes", {{1, 2, 1, 2, 1, 2}}, [](const Vars& w, Rng&) {
      return sum(transpose(tanh(w[0]), {5, 4, 3, 2, 1, 0}) * w[0]);
    })};

double rate(std::size_t step) {
  chance();
  return 0.01 / static_cast<double>(step + 1);
}

// Draws come from a copy, so that a step that throws has drawn nothing.
template <class AnOptimiser = Adam>
Subject training(const Model& m, bool from_costs) {
  struct State {
    std::vector<Tensor> parameters;
    AnOptimiser adam{rate};
    Rng rng{3};
    Loss loss;
  };
  const auto s = std::make_shared<State>();
  s->loss = m.loss();
  for (const Shape& shape : m.shapes) s->parameters.push_back(Rng(5).normal(shape));
  return {[=] {
            Rng draws = s->rng;
            Tape tape;
            const Vars w = tape.borrow_parameters(s->parameters);
            const Var cost = s->loss.f(w, draws);
            if (from_costs)
              s->adam.step(s->parameters, w, cost);
            else
              s->adam.step(s->parameters, w, backward(cost));
            s->rng = draws;
          },
          [=](Archive& a) {
            a("parameters", s->parameters), a("adam", s->adam), a("rng", s->rng);
            if (s->loss.memory) a("memory", *s->loss.memory);
          },
          from_costs || s->loss.memory ? After::archived : After::unchanged};
}

struct Threads {
  explicit Threads(int n) { set_threads(n); }
  ~Threads() { set_threads(1); }
};

}  // namespace

// First, while the library has no threads yet.
TEST_CASE("a failure in a thread of the library's arrives at the caller, who can go on") {
  const Threads two(2);
  const std::vector<Model> all = {
      model("a formula", {{20000}, {40000}},
            [](const Vars& w, Rng&) {
              return sum_of([](auto x) { return x * tanh(x); }, w[1]) + sum(w[0]);
            }),
      model("matchings", {{24, 6, 6}},
            [](const Vars& w, Rng& rng) { return sum(sample_matching(w[0], blackbox(2), rng)); }),
      model("subsets", {{400, 50}},
            [](const Vars& w, Rng&) { return sum(square(relaxed_top_k(w[0], 3, 1)), -1); }),
      model("choices", {{40, 20}}, [](const Vars& w, Rng& rng) {
        return evaluate(sample(w[0], mve(), rng), own_cost());
      })};
  for (const Model& m : all)
    for (bool from_costs : {false, true})
      each_failure(m.name, [&] { return training(m, from_costs); });
}

TEST_CASE(
    "a step from gradients for which memory ends has changed nothing; from costs it can be "
    "archived") {
  for (const Model& m : kModels)
    for (bool from_costs : {false, true})
      each_failure(m.name + std::string(from_costs ? ", from costs" : ""),
                   [&] { return training(m, from_costs); });
}

TEST_CASE("the same of every optimiser, and of several in one step") {
  for (bool from_costs : {false, true}) {
    const std::string how = from_costs ? " from costs" : " from gradients";
    each_failure("Sgd" + how, [&] { return training<Sgd>(kModels[0], from_costs); });
    each_failure("AdamW" + how, [&] { return training<AdamW>(kModels[0], from_costs); });
    each_failure("RmsProp" + how, [&] { return training<RmsProp>(kModels[0], from_costs); });
  }
  each_failure("step_together", [] {
    struct State {
      std::vector<Tensor> first{Rng(1).normal({3, 40})}, second{Rng(2).normal({40, 2})};
      Adam adam{rate};
      Sgd sgd{rate, 0.9};
    };
    const auto s = std::make_shared<State>();
    return Subject{[=] {
                     Tape tape;
                     const Vars a = tape.borrow_parameters(s->first),
                                b = tape.borrow_parameters(s->second);
                     const Var cost = sum(cube(matmul(tanh(a[0]), b[0])), 1);
                     step_together({{s->adam, s->first, a}, {s->sgd, s->second, b}}, cost);
                   },
                   [=](Archive& a) {
                     a("first", s->first), a("second", s->second);
                     a("adam", s->adam), a("sgd", s->sgd);
                   },
                   After::archived};
  });
}

// ---- Rules and methods, by their names.

namespace {

// A step of the logits, with what the method has learned.
Subject by_method(const std::function<Method()>& make, const Shape& shape, const Cost& f) {
  struct State {
    std::vector<Tensor> logits;
    Adam adam{1e-2};
    Rng rng{3};
    Method method;
  };
  const auto s = std::make_shared<State>();
  s->method = make();
  s->logits = {Rng(5).normal(shape)};
  return {[=] {
            Rng draws = s->rng;
            Tape tape;
            const Vars l = tape.borrow_parameters(s->logits);
            const Var estimate = s->method(l[0], f, draws);
            const Gradients gradients = backward(estimate);
            if (s->method.learn) s->method.learn(estimate, l[0]);
            s->adam.step(s->logits, l, gradients);
            s->rng = draws;
          },
          [=](Archive& a) {
            a("logits", s->logits), a("adam", s->adam), a("rng", s->rng);
            if (s->method.archive) a("method", s->method.archive);
            if (s->method.rule && s->method.rule->memory) a("memory", *s->method.rule->memory);
          },
          After::archived};
}

// The sum of a matching's costs, one a matrix.
Cost cost_of_matching() {
  return [](Var p) {
    chance();
    const std::size_t n = p.shape().back();
    return sum(p * p.tape->constant(Rng(8).normal({n, n})), {-2, -1});
  };
}

Subject by_matching(const Rule& rule) {
  const auto draw = [rule](Var x, const Cost& f, Rng& rng) {
    const Var many = rule.needs_multiple_samples ? broadcast(x, {2, 2, 3, 3}) : x;
    return f(rule.needs_draw ? sample_matching(many, rule, rng) : matching(many, rule));
  };
  const auto make = [=] {
    Method method("", 1, draw);
    method.rule = std::make_shared<const Rule>(rule);
    return method;
  };
  return by_method(make, {2, 3, 3}, cost_of_matching());
}

}  // namespace

TEST_CASE("every rule and method: after a step that throws it can be made again, to the bit") {
  for (const std::string& name : method_names()) {
    const bool binary = name == "arm" || name == "disarm";
    const Shape shape{2, binary ? 2u : 3u};
    each_failure(name,
                 [&] { return by_method([&] { return method_named(name); }, shape, own_cost()); });
  }
  for (const std::string& name : top_k_rule_names())
    each_failure(name + " of subsets", [&] {
      const Rule rule = top_k_rule_named(name);
      return by_method([=] { return Method(rule, 2, 2); }, {2, 3}, own_cost());
    });
  for (const std::string& name : matching_rule_names())
    each_failure(name, [&] { return by_matching(matching_rule_named(name, 1, std::size_t{3})); });
}

TEST_CASE("what a method learns from one estimate it learns as a whole, or not at all") {
  for (const char* name : {"nvil", "rebar", "relax"})
    each_failure(std::string(name) + " learning", [&] {
      struct State {
        Tape tape;
        Rng rng{3};
        Method method;
        Var logits, estimate;
      };
      const auto s = std::make_shared<State>();
      s->method = method_named(name);
      s->logits = s->tape.parameter(Rng(5).normal({2, 3}));
      s->estimate = s->method(s->logits, own_cost(), s->rng);
      return Subject{[=] { s->method.learn(s->estimate, s->logits); },
                     [=](Archive& a) { s->method.archive(a); }};
    });
}

// ---- On one tape.

namespace {

// A tape with all that a sweep may stop at, and what was found on it last.
struct Recorded {
  Tape tape;
  Rule rule = score_function(own_baseline());
  Var x, cost;
  Gradients gradients;
  Vars slopes;
  std::string text;

  Recorded() {
    Rng rng(6);
    x = tape.parameter(Rng(5).normal({3, 4}));
    const auto formula = [](auto v) { return v * sigmoid(v); };
    // Three Vars of one formula's: what it keeps, a sweep takes.
    const Var sums = sum_of([](auto v, auto w, auto u) { return v * w + u; }, x, 2 * x, cube(x));
    cost = evaluate(sample(x, rule, rng), own_cost()) + sum(elementwise(formula, x), -1) +
           evaluate(sample(x, own_rule(), rng), own_cost()) + 3 * sums;
  }
  void archive(Archive& a) {
    std::size_t nodes = tape.size();
    std::vector<Tensor> found;
    for (const auto& entry : gradients.entries()) found.push_back(entry.gradient);
    for (const Var& slope : slopes) found.push_back(slope.value());
    a("nodes", nodes), a("backwards", tape.counts.backwards);
    a("evaluations", tape.counts.evaluations), a("solver_calls", tape.counts.solver_calls);
    a("memory", *rule.memory), a("anomaly", tape.detect_anomaly), a("found", found);
    a("text", text);
  }
};

Make on_a_tape(
    const std::function<void(Recorded&)>& step,
    const std::function<void(Recorded&)>& prepare = [](Recorded&) {}) {
  return [=] {
    const auto r = std::make_shared<Recorded>();
    prepare(*r);
    return Subject{[=] { step(*r); }, [=](Archive& a) { r->archive(a); }};
  };
}

// The parts of a training's state that belong to parameter i.
std::vector<Tensor> part(const std::string& bytes, std::size_t i) {
  Archive a(bytes);
  std::map<std::string, Tensor> all;
  a.things(all);
  const std::string number = std::to_string(i);
  return {all.at("parameters." + number), all.at("adam.root." + number),
          all.at("adam.mean." + number), Tensor(all.at("adam.steps").data()[i])};
}

bool alike(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), identical);
}

}  // namespace

TEST_CASE("a sweep that throws leaves the tape and its counts as they were, and teaches no rule") {
  const auto sweep = [](Recorded& r) { r.gradients = backward(r.cost); };
  each_failure("backward", on_a_tape(sweep));
  each_failure("a second backward", on_a_tape(sweep, sweep));
  each_failure("backward looking for anomalies",
               on_a_tape(sweep, [](Recorded& r) { r.tape.detect_anomaly = true; }));
  each_failure("dry_run", on_a_tape([](Recorded& r) { r.gradients = dry_run(r.cost); }));
  each_failure("differentiate", on_a_tape([](Recorded& r) {
                 r.slopes = differentiate(r.cost, {r.x, r.x});
               }));
  each_failure("stop_report", on_a_tape([](Recorded& r) { r.text = str(stop_report(r.cost, r.x)); },
                                        [](Recorded& r) { r.cost = r.cost + log(0 * sum(r.x)); }));
  each_failure("to_text", on_a_tape([](Recorded& r) { r.text = to_text(r.tape); }));
  each_failure("to_dot", on_a_tape([](Recorded& r) { r.text = to_dot(r.tape); }));
}

TEST_CASE("if a step from costs throws, each parameter is whole: as before it, or as after") {
  const Model& m = kModels[0];
  const Make make = [&] {
    const Subject s = training(m, true);
    s.step();
    return s;
  };
  const std::string before = bytes_of(make().state);
  const Subject ends = make();
  ends.step();
  const std::string after = bytes_of(ends.state);
  int between = 0;
  each_allocation([&](long n) {
    const Subject s = make();
    refused(n, s.step);
    int moved = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      const std::vector<Tensor> found = part(bytes_of(s.state), i);
      const bool old = alike(found, part(before, i));
      CHECK((old || alike(found, part(after, i))));
      moved += !old;
    }
    between += moved > 0 && moved < 4;
  });
  CHECK(between > 0);  // or there would be nothing to say
}

TEST_CASE("if take throws, the last sweep stops; the tape says that it is spent, and goes") {
  bool first = true;  // from which names are kept
  for (long call : {1, 1, 2, 3}) {
    CAPTURE(call);
    const std::ptrdiff_t before = held();
    {
      Tape tape;
      const Vars w = {tape.parameter(Rng(1).normal({40, 50})), tape.parameter(Rng(2).normal({50})),
                      tape.parameter(Rng(3).normal({50, 2000}))};
      const Var h = tanh(w[0] + w[1]), cost = sum(tanh(matmul(h, w[2])), 1);
      const Tensor costs = cost.value();
      std::size_t taken = 0;
      calls_left = call;
      const auto take = [&](Var, Tensor&) {
        chance();
        ++taken;
      };
      CHECK_THROWS_AS(backward_and_release(cost, take), Thrown);
      CHECK(taken == static_cast<std::size_t>(call - 1));
      CHECK(identical(cost.value(), costs));
      for (const Var& p : w) CHECK(p.value().size() > 0);
      CHECK_THROWS_AS(backward(cost), std::logic_error);
      CHECK_THROWS_AS(backward_and_release(cost, take), std::logic_error);
      if (call > 1) CHECK_THROWS_AS(tanh(h), std::logic_error);
    }
    release_cached_memory();
    if (std::exchange(first, false)) continue;
    CHECK(held() == before);
  }
}

TEST_CASE("a node is recorded as a whole, or not at all") {
  const std::vector<Tensor> values(3, Tensor{1.0, 2.0});
  each_allocation([&](long n) {
    Tape tape;
    Var last;
    std::size_t nodes = 0, parameters = 0;
    refused(n, [&] {
      while (nodes < 120) {
        last = tape.parameter(values[0]), ++nodes, ++parameters;
        tape.borrow_constant(values[1]), ++nodes;
        last = tanh(last), ++nodes;
        const auto backward = [values](BackwardContext& ctx) {
          for (std::size_t i = 0; i < ctx.inputs(); ++i) ctx.pass(i);
        };
        last = tape.record("own", Vars(5, last), values[2], backward), ++nodes;
      }
    });
    REQUIRE(tape.size() == nodes);
    REQUIRE(tape.parameter_indices().size() == parameters);
    if (parameters > 0) CHECK(backward(sum(tanh(last))).entries().size() == parameters);
  });
}

TEST_CASE("a tensor that cannot be copied to, or resized, keeps its shape and numbers") {
  const Tensor few = Rng(1).normal({2, 1, 3, 1, 2, 1}), many = Rng(2).normal({3, 2, 4, 5, 1, 2, 2}),
               small{1.0, 2.0};
  const std::vector<std::pair<Tensor, std::function<void(Tensor&)>>> all = {
      {few, [&](Tensor& t) { t = many; }},
      {many, [&](Tensor& t) { t = few; }},
      {small, [&](Tensor& t) { t = many; }},
      {many, [&](Tensor& t) { t = small; }},
      {few, [&](Tensor& t) { t.resize(many.shape()); }},
      {many, [&](Tensor& t) { t.resize(few.shape()); }},
      {many,
       [&](Tensor& t) {
         t.resize(Shape{4, 5});
       }},
      {small, [&](Tensor& t) { t.resize(many.shape()); }},
      {many, [&](Tensor& t) { t += many; }}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    CAPTURE(i);
    each_allocation([&](long n) {
      Tensor t = all[i].first;
      const bool threw = refused(n, [&] { all[i].second(t); });
      if (threw) CHECK(identical(t, all[i].first));
      t = many;  // of use
      CHECK(identical(t, many));
    });
  }
}

TEST_CASE("gradients that cannot be added stay as they were") {
  const auto some = [](Tape& tape, std::uint64_t seed) {
    const Vars x = {tape.parameter(Rng(1).normal({20})), tape.parameter(Rng(2).normal({300}))};
    return backward(sum(x[0] * tape.constant(Rng(seed).normal({20}))) +
                    sum(x[1] * tape.constant(Rng(seed + 1).normal({300}))));
  };
  each_allocation([&](long n) {
    Tape one, two;
    Gradients a = some(one, 3);
    const Gradients before = a, b = some(two, 5);
    if (!refused(n, [&] { a += b; })) return;
    for (std::size_t i = 0; i < 2; ++i)
      CHECK(identical(a.entries()[i].gradient, before.entries()[i].gradient));
  });
}

TEST_CASE("empty clusters are filled one by one, each as a whole or not at all") {
  const Tensor points = Rng(1).normal({9, 2}), start{{0, 0}, {30, 0}, {0, 30}, {-30, 0}};
  std::size_t some = 0;
  each_allocation([&](long n) {
    Tensor centres = start;
    KMeansAssignment now = kmeans_assign(points, centres);
    refused(n, [&] { kmeans_relocate_empty(points, centres, now); });
    const KMeansAssignment right = kmeans_assign(points, centres);
    CHECK(now.nearest == right.nearest);
    CHECK(now.distance == right.distance);
    CHECK(now.size == right.size);
    some += now.empty() == 1 || now.empty() == 2;
  });
  CHECK(some > 0);
}

// ---- Whole trainings, measurements and files.

namespace {

// Images of ink and none, of three classes in turn.
Dataset images(std::size_t n, std::size_t side) {
  Dataset data;
  data.images = xt::cast<Scalar>(Rng(n).uniform({n, side * side}) > 0.5f);
  for (std::size_t i = 0; i < n; ++i) data.labels.push_back(i % 3);
  data.height = data.width = side;
  data.classes = 3;
  return data;
}

struct Figures {
  std::vector<double> numbers;
  std::vector<Tensor> tensors;
};

// A run that keeps nothing but what it finds.
Make run(const std::function<Figures()>& f) {
  return [=] {
    const auto found = std::make_shared<Figures>();
    return Subject{[=] { *found = f(); },
                   [=](Archive& a) { a("numbers", found->numbers), a("tensors", found->tensors); }};
  };
}

}  // namespace

TEST_CASE("a split is standardised as a whole, or not at all") {
  each_failure("standardise", [] {
    const auto data = std::make_shared<Split>(Split{images(6, 3), images(5, 3), images(4, 3)});
    return Subject{[=] { standardise(*data); },
                   [=](Archive& a) {
                     a("train", data->train.images), a("test", data->test.images);
                     a("validation", data->validation.images);
                   }};
  });
}

TEST_CASE("a training of a model that throws is gone, and made again the same") {
  const Split small{images(6, 2), images(3, 2)};
  const Dataset larger = images(12, 4);
  ZeroOneSettings zero_one;
  zero_one.hidden = 3, zero_one.batch = 3, zero_one.epochs = 1, zero_one.repeats = 2;
  for (const std::string& name : zero_one_methods())
    each_failure("train_zero_one " + name, run([&] {
                   const ZeroOneRun r = train_zero_one(small, name, zero_one, chance);
                   return Figures{r.by_epoch, {r.confusion}};
                 }));

  SortingSettings sorting;
  sorting.hidden = 3, sorting.steps = 2, sorting.batch = 2, sorting.repeats = 2;
  sorting.far = std::size_t{3};
  for (const std::string& name : sorting_methods())
    each_failure("train_sorting " + name, run([&] {
                   const SortingRun r = train_sorting(3, name, sorting, 2, chance);
                   return Figures{r.loss, {Tensor(static_cast<Scalar>(r.residual))}};
                 }));

  JigsawSettings jigsaw;
  jigsaw.grid = 2, jigsaw.channels = 2, jigsaw.hidden = 3, jigsaw.steps = 2, jigsaw.batch = 2;
  each_failure("train_jigsaw", run([&] {
                 const JigsawRun r = train_jigsaw({larger, images(2, 4)}, jigsaw, 2, chance);
                 return Figures{r.loss, {r.soft, r.hard}};
               }));
}

TEST_CASE("k-means that throws is gone, and made again the same") {
  const Tensor points = Rng(1).normal({12, 2}), start = Rng(2).normal({4, 2}) * 3;
  each_failure("kmeans_compare", run([&] {
                 const KMeansComparison r = kmeans_compare(points, start);
                 return Figures{r.difference, {r.lloyd.centres, r.newton.centres}};
               }));
  KMeansDescent descent;
  descent.by = KMeansDescent::By::adam, descent.steps = 3, descent.batch = 5;
  each_failure("kmeans_descent", run([&] {
                 const KMeansRun r = kmeans_descent(points, start, descent, chance);
                 return Figures{r.loss, {r.centres}};
               }));
  each_failure("kmeans_start", run([&] {
                 Rng rng(1);
                 return Figures{{}, {kmeans_start("k-means++", points, 3, rng, 2)}};
               }));
}

TEST_CASE("a search, or a cell's training, that throws is gone, and made again the same") {
  const Dataset larger = images(12, 4);
  SearchSettings search;
  search.candidates = {"none", "conv3x3", "max3x3"};
  search.channels = 2, search.batch = 2, search.warm_up = 1, search.steps = 2;
  for (const std::string& name : search_methods()) {
    search.method = name;
    each_failure("search_architecture " + search.method, run([&] {
                   const SearchRun r = search_architecture(larger, search, chance);
                   return Figures{r.loss, r.probabilities};
                 }));
  }
  CellTraining training;
  training.channels = 2, training.batch = 2, training.steps = 2;
  each_failure("train_cell", run([&] {
                 const TrainedCell r = train_cell({larger, images(3, 4)},
                                                  {"skip", "conv5x5", "avg3x3"}, training, chance);
                 return Figures{{r.loss, r.test_accuracy}, {}};
               }));
}

TEST_CASE("a measurement that throws is made again the same") {
  const Tensor logits = Rng(1).normal({3});
  MeasureOptions options;
  options.draws = 8, options.batch = 4, options.tuning = 2;
  const auto figures = [](const Measure& m) {
    return Figures{{m.bias, m.std, m.mse, m.cosine, m.evaluations, m.backwards}, {}};
  };
  for (const char* name : {"straight-through", "score-function+mean", "nvil", "rebar", "vimco"})
    each_failure(std::string("measure ") + name, run([&] {
                   return figures(measure(method_named(name), own_cost(), logits, options));
                 }));
  options.enumerate = true;
  each_failure("measure by enumeration",
               run([&] { return figures(measure(own_rule(), own_cost(), logits, options)); }));
  each_failure("check_gradient", run([&] {
                 const CheckResult r = check_gradient([](const Vars& v) { return sum(cube(v[0])); },
                                                      {Rng(1).normal({2})});
                 return Figures{{r.error}, {}};
               }));
}

TEST_CASE("a training with a state that throws goes on, to the bit, from an archive of before") {
  const Dataset data = images(9, 2);
  const Split parts{data, data};
  for (const char* rule : {"gumbel-softmax", "score-function+mean", "score-function+leave-one-out",
                           "nvil", "relax", "muprop"})
    for (bool vae : {true, false})
      each_failure(std::string(vae ? "categorical VAE " : "structured prediction ") + rule, [&] {
        StochasticTrainingSettings settings;
        settings.rule = rule;
        settings.batch = 3, settings.curve = 1;
        std::unique_ptr<StochasticNetwork> network;
        if (vae)
          network = std::make_unique<CategoricalVae>(4, CategoricalVaeSettings{{3}, {2, 3}, {3}});
        else
          network = std::make_unique<StructuredPrediction>(
              4, StructuredPredictionSettings{{Units{2, 2}, Units{1, 3}}});
        const auto s = std::make_shared<StochasticTraining>(std::move(network), parts, settings);
        return Subject{[=] { s->step(), s->step(); }, [=](Archive& a) { s->archive(a); },
                       After::archived,
                       [=](Archive& a) {
                         std::vector<Tensor> weights = s->network().parameters;
                         a("weights", weights);
                       }};
      });
  for (const std::string& method : semi_supervised_methods())
    each_failure("semi-supervised " + method, [&] {
      SemiSupervisedSettings settings;
      settings.method = method;
      settings.sizes = {3, 3, 1, false};
      settings.labels = 1, settings.batch = 2, settings.warm_up = 0;
      const auto s = std::make_shared<SemiSupervisedTraining>(data, settings);
      return Subject{[=] { s->step(); }, [=](Archive& a) { s->archive(a); }, After::archived};
    });
}

TEST_CASE("a file that cannot be written is the old one, whole, and nothing lies beside it") {
  const Folder folder;
  for (const char* name : {"model.safetensors", "model.npz"}) {
    const std::string path = folder / name;
    const std::vector<Tensor> old = {Tensor{1.0}}, model(3, Rng(1).normal({4, 5}));
    const auto bytes = [&] {
      std::ifstream file(path, std::ios::binary);
      return std::string{std::istreambuf_iterator<char>(file), {}};
    };
    for (Failing what : {Failing::one_allocation, Failing::call})
      for (long n = 1;; ++n) {
        CAPTURE(n);
        save(path, old);
        const std::string before = bytes();
        const auto things = [&](Archive& a) {
          a("model", const_cast<std::vector<Tensor>&>(model));
          chance();
        };
        const bool threw = throws({[&] { save(path, things); }, {}}, what, n);
        CHECK(!std::filesystem::exists(path + ".tmp"));
        CHECK((bytes() == before) == threw);
        if (!threw && failing_memory.refused == 0) break;
      }
  }
}

TEST_CASE("what cannot be loaded says so, and is loaded again") {
  const Folder folder;
  for (const char* name : {"model.safetensors", "model.npz"}) {
    const std::string path = folder / name;
    save(path, std::vector<Tensor>(3, Rng(1).normal({4, 5})));
    each_failure(std::string("load ") + name, [&] {
      const auto model = std::make_shared<std::vector<Tensor>>(3, zeros({4, 5}));
      return Subject{[=] {
                       load(path, [&](Archive& a) {
                         chance();
                         a.things(*model);
                       });
                     },
                     [=](Archive& a) { a("model", *model); }, After::archived};
    });
  }
}
