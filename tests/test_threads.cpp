// Threads of the program's own (engine/threads.hpp): what they may use at once, and what refuses
// the second of them. tests/run --more=thread looks at the same under the thread sanitizer.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "engine/system/memory.hpp"
#include "engine/threads.hpp"
#include "models/control_variate.hpp"
#include "models/methods.hpp"
#include "models/nvil.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/top_k.hpp"

using namespace argtape;

// What happens first when this thread next asks the system for a tensor's or a tape's memory: so
// another thread comes in between.
static thread_local std::function<void()> on_request;

extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  if (const auto f = std::exchange(on_request, nullptr)) f();
  void* block = nullptr;
  return posix_memalign(&block, alignment, bytes) == 0 ? block : nullptr;
}

namespace {

std::string refusal(const std::string& of) {
  return of +
         ": two threads use it at once; need one for each thread, or one thread after the other";
}

// f, during which `meanwhile` happens when memory is first asked for.
template <class F>
void interrupted(std::function<void()> meanwhile, F f) {
  release_cached_memory();
  on_request = std::move(meanwhile);
  f();
  CHECK(!std::exchange(on_request, nullptr));
}

// f in a thread of its own, to its end; the words of the error that it throws.
template <class F>
std::string elsewhere(F f) {
  std::string words;
  std::thread([&] {
    try {
      f();
    } catch (const std::logic_error& e) {
      words = e.what();
    }
  }).join();
  return words;
}

constexpr std::size_t kThreads = 4;

// f(0), f(1), ..., each in a thread of its own, at once: none begins before all are there.
template <class F>
void at_once(F f) {
  std::atomic<std::size_t> there{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i)
    threads.emplace_back([&, i] {
      for (++there; there < kThreads;) std::this_thread::yield();
      f(i);
    });
  for (std::thread& t : threads) t.join();
}

// The tensors that f(i) gives are the same in each of four threads at once as alone.
template <class F>
void same_at_once(F f) {
  std::vector<std::vector<Tensor>> alone(kThreads), together(kThreads);
  for (std::size_t i = 0; i < kThreads; ++i) alone[i] = f(i);
  at_once([&](std::size_t i) { together[i] = f(i); });
  for (std::size_t i = 0; i < kThreads; ++i) {
    REQUIRE(alone[i].size() == together[i].size());
    for (std::size_t j = 0; j < alone[i].size(); ++j) CHECK(identical(alone[i][j], together[i][j]));
  }
}

// The gradient of a smooth cost of the choice, one number an example, for logits of thread i.
template <class Choose>
std::vector<Tensor> gradient_of(std::size_t i, const Shape& shape, Choose choose) {
  Rng rng(7, 0, i);
  Tape tape;
  const Var logits = tape.parameter(rng.normal(shape)), weights = tape.constant(rng.normal(shape));
  const Var cost = sum(square(choose(logits, rng) - weights), {-2, -1});
  return {backward(cost)[logits]};
}

}  // namespace

TEST_CASE(
    "one tape in two threads: the second is refused, unless both begin within nanoseconds, and the "
    "first goes on") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2, 3}), start = square(x);
  std::size_t refused = 0;
  const auto intrude = [&] {
    const std::string no = refusal("tape");
    refused += elsewhere([&] { exp(x); }) == no;
    refused += elsewhere([&] { reshape(x, {3, 1}); }) == no;
    refused += elsewhere([&] { tape.constant(1.0); }) == no;
    refused += elsewhere([&] { tape.parameter(Tensor{1}); }) == no;
    refused += elsewhere([&] { tape.borrow_constant(x.value()); }) == no;
    refused += elsewhere([&] { backward(start); }) == no;
    refused += elsewhere([&] { dry_run(start); }) == no;
    refused += elsewhere([&] { differentiate(start, x); }) == no;
    refused += elsewhere([&] { backward_and_release(start, [](Var, Tensor&) {}); }) == no;
    // Another tape is nobody's business.
    CHECK(elsewhere([&] {
            Tape own;
            const Var z = own.parameter(x.value());
            CHECK(identical(backward(square(z))[z], Tensor{2, 4, 6}));
          }) == "");
  };
  const Var y = tape.record("passes", {start}, start.value(), [&](BackwardContext& ctx) {
    intrude();
    ctx.pass(0);
  });
  const std::size_t size = tape.size();
  CHECK(identical(backward(y)[x], Tensor{2, 4, 6}));
  CHECK(refused == 9);
  CHECK(tape.size() == size);
  CHECK(identical(differentiate(y, x)[0].value(), Tensor{2, 4, 6}));
  CHECK(refused == 18);

  // While it records: a leaf, then an op, with which the tape grows.
  Tape other;
  Var leaf;
  std::string words;
  const auto second = [&] { words = elsewhere([&] { other.constant(1.0); }); };
  interrupted(second, [&] { leaf = other.parameter(Tensor{1}); });
  CHECK(words == refusal("tape"));
  CHECK(other.size() == 1);
  while (other.size() < 32) leaf.tape->constant(1.0);
  words.clear();
  interrupted(second, [&] { exp(leaf); });
  CHECK(words == refusal("tape"));
  CHECK(other.size() == 33);

  // It is free again, after an error too.
  const Var bad = other.record("bad", {leaf}, leaf.value(),
                               [](BackwardContext&) { throw std::runtime_error("by request"); });
  CHECK_THROWS_AS(backward(bad), std::runtime_error);
  CHECK_THROWS_AS(start + tape.constant(Tensor{1, 2}), std::invalid_argument);
  CHECK(elsewhere([&] { backward(exp(leaf)); }) == "");
  CHECK(elsewhere([&] { backward(exp(start)); }) == "");
}

TEST_CASE("a tape may be recorded, swept and read by one thread after the other") {
  const auto steps = [](auto run) {
    Tape tape;
    Var x, y;
    std::vector<Tensor> found(3);
    run([&] { x = tape.parameter(Tensor{0.3, -1, 2}); });
    run([&] { y = sum(square(softmax(x)), -1); });
    run([&] { found[0] = backward(y)[x]; });
    run([&] { y = sum(square(differentiate(y, x)[0]), -1); });
    run([&] { found[1] = y.value(); });
    run([&] { backward_and_release(y, [&](Var, Tensor& g) { found[2] = g; }); });
    return found;
  };
  const auto here = steps([](const std::function<void()>& f) { f(); });
  const auto there = steps([](const auto& f) { CHECK(elsewhere(f) == ""); });
  for (std::size_t i = 0; i < 3; ++i) CHECK(identical(here[i], there[i]));

  // In turns, under a lock.
  Tape tape;
  const Var x = tape.parameter(Tensor{1.0});
  Var y = x;
  std::mutex turn;
  at_once([&](std::size_t) {
    for (int i = 0; i < 100; ++i) {
      const std::lock_guard<std::mutex> lock(turn);
      y = y + x;
    }
  });
  CHECK(tape.size() == 1 + 100 * kThreads);
  CHECK(identical(backward(y)[x], Tensor{1 + 100 * kThreads}));
}

TEST_CASE("one Rng in two threads is refused; a copy and another stream are their own") {
  Rng rng(1);
  std::vector<std::string> words;
  const auto others = [&] {
    Rng copy = rng, stream(1, 0, 2);
    words = {elsewhere([&] { rng.normal({2}); }), elsewhere([&] { rng.below(2); }),
             elsewhere([&] { rng.permutation(2); }), elsewhere([&] { copy.gumbel({2}); }),
             elsewhere([&] { stream.uniform({2}); })};
  };
  Tensor drawn;
  interrupted(others, [&] { drawn = rng.normal({100}); });
  CHECK(identical(drawn, Rng(1).normal({100})));
  CHECK(words == std::vector<std::string>{refusal("rng"), refusal("rng"), refusal("rng"), "", ""});
  CHECK(elsewhere([&] { rng.normal({2}); }) == "");
}

TEST_CASE("rules are shared by threads at once, each with a tape of its own") {
  const Shape shape{3, 2, 5}, square_shape{3, 4, 4};
  for (const std::string& name : rule_names()) {
    if (name == "score-function+mean") continue;  // learns: below
    CAPTURE(name);
    same_at_once([&, rule = rule_named(name)](std::size_t i) {
      return gradient_of(i, shape, [&](Var l, Rng& rng) { return sample(l, rule, rng); });
    });
  }
  for (const std::string& name : top_k_rule_names()) {
    if (name == "score-function+mean") continue;
    CAPTURE(name);
    same_at_once([&, rule = top_k_rule_named(name)](std::size_t i) {
      return gradient_of(i, shape, [&](Var l, Rng& rng) { return sample_top_k(l, 2, rule, rng); });
    });
  }
  for (const std::string& name : matching_rule_names()) {
    if (name == "score-function+mean") continue;
    CAPTURE(name);
    same_at_once([&, rule = matching_rule_named(name)](std::size_t i) {
      return gradient_of(i, square_shape,
                         [&](Var l, Rng& rng) { return sample_matching(l, rule, rng); });
    });
  }
}

TEST_CASE("a rule with a running mean is shared by threads at once, and no sweep's cost is lost") {
  constexpr double kDecay = 0.999;
  constexpr int kSweeps = 200;
  const Rule rule = score_function(running_mean(kDecay));
  *rule.memory = {0};
  at_once([&](std::size_t i) {
    Rng rng(8, 0, i);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      Tape tape;
      const Var l = tape.parameter(zeros({2, 3}));
      backward(sum(sample(l, rule, rng), -1));  // one category: the cost is 1
    }
  });
  CHECK(rule.memory->front() ==
        doctest::Approx(1 - std::pow(kDecay, kSweeps * kThreads)).epsilon(1e-10));
}

TEST_CASE(
    "methods without a learned state are shared by threads at once; with one, it is refused") {
  const Cost cost = [](Var d) { return sum(square(d - 0.45), -1); };
  std::size_t learned = 0;
  for (const std::string& name : method_names()) {
    CAPTURE(name);
    const Method method = method_named(name);
    const Shape shape{20, 2};  // more than a tensor holds in itself
    if (!method.learn) {
      if (method.rule && method.rule->memory) continue;  // a running mean, as above
      same_at_once([&](std::size_t i) {
        Rng rng(9, 0, i);
        Tape tape;
        const Var l = tape.parameter(rng.normal(shape)), y = method(l, cost, rng);
        return std::vector<Tensor>{y.value(), backward(y)[l]};
      });
      continue;
    }
    ++learned;
    Tape tape;
    Rng rng(9);
    std::string words;
    const Var l = tape.parameter(rng.normal(shape));
    const auto estimate_elsewhere = [&] {
      words = elsewhere([&] {
        Tape own;
        Rng another(10);
        method(own.parameter(zeros(shape)), cost, another);
      });
    };
    const Var y = method(
        l,
        [&](Var d) {
          estimate_elsewhere();
          return cost(d);
        },
        rng);
    const std::string no = refusal(name);
    CHECK(words == no);
    words.clear();
    interrupted(estimate_elsewhere, [&] { method.learn(y, l); });
    CHECK(words == no);
    estimate_elsewhere();
    CHECK(words == "");
  }
  CHECK(learned == 3);
}

TEST_CASE("the library's threads serve several of the program's at once, with the same results") {
  const auto heavy = [](std::size_t i) {
    set_threads(3);  // from any thread, at any time
    Rng rng(11, 0, i);
    Tape tape;
    const Var x = tape.parameter(rng.normal({200, 200}));
    const Var y = sum(square(log_softmax(x) * tape.constant(rng.gumbel({200, 200}))), -1);
    return std::vector<Tensor>{y.value(), backward(y)[x]};
  };
  const auto product = [](std::size_t i) {
    Rng rng(12, 0, i);
    Tape tape;
    const Var a = tape.parameter(rng.normal({100, 80})), b = tape.parameter(rng.normal({80, 60}));
    const Var y = matmul(a, b);
    const Gradients g = backward(y);
    return std::vector<Tensor>{y.value(), g[a], g[b]};
  };
  for (int round = 0; round < 2; ++round) {
    same_at_once(heavy);
    same_at_once(product);
  }
  set_threads(1);
}

TEST_CASE("tensors and names are made in one thread and dropped in another, and caches emptied") {
  std::vector<Tensor> made(kThreads);
  for (int round = 0; round < 5; ++round) {
    at_once([&](std::size_t i) {
      made[i] = full({1000 + i}, static_cast<Scalar>(i));
      Tape tape;
      tape.parameter(made[i], "of thread " + std::to_string(i % 2));
      CHECK(tape.node(0).op.name == "of thread " + std::to_string(i % 2));
      CHECK(memory_use().held_bytes != 0);
    });
    at_once([&](std::size_t i) {
      CHECK(identical(made[(i + 1) % kThreads],
                      full({1000 + (i + 1) % kThreads}, static_cast<Scalar>((i + 1) % kThreads))));
      made[(i + 1) % kThreads] = Tensor();
      release_cached_memory();
    });
  }
}
