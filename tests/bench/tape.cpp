// What has no peer: the tape's own cost, random numbers, choices, second order.
#include <benchmark/benchmark.h>

#include "models/argtape.hpp"

using namespace argtape;

namespace {

// A chain of n small ops, recorded; and recorded and swept. Linear in n up to a million.
Var chain(Tape& tape, std::int64_t n) {
  Var h = tape.parameter(full({16}, 0.5));
  const Var factor = tape.constant(full({16}, 0.999));
  for (std::int64_t i = 0; i < n; ++i) h = h * factor;
  return h;
}

void record_chain(benchmark::State& state) {
  for (auto _ : state) {
    Tape tape;
    benchmark::DoNotOptimize(chain(tape, state.range(0)));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(record_chain)->RangeMultiplier(10)->Range(10, 1000000);

void record_and_sweep_chain(benchmark::State& state) {
  for (auto _ : state) {
    Tape tape;
    benchmark::DoNotOptimize(backward(chain(tape, state.range(0))));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(record_and_sweep_chain)->RangeMultiplier(10)->Range(10, 1000000);

template <Tensor (Rng::*draw)(const Shape&)>
void numbers(benchmark::State& state) {
  Rng rng(1);
  for (auto _ : state) benchmark::DoNotOptimize((rng.*draw)({1000000}));
  state.SetItemsProcessed(state.iterations() * 1000000);
}
BENCHMARK_TEMPLATE(numbers, &Rng::uniform)->Name("uniform numbers");
BENCHMARK_TEMPLATE(numbers, &Rng::normal)->Name("normal numbers");
BENCHMARK_TEMPLATE(numbers, &Rng::gumbel)->Name("gumbel numbers");

// Rows of K categories chosen from, forward and backward.
void choose(benchmark::State& state, const char* rule_name, bool drawn) {
  const auto k = static_cast<std::size_t>(state.range(0)), rows = 100000 / k;
  Rng rng(1);
  const Tensor logits = rng.normal({rows, k});
  const Rule rule = rule_named(rule_name);
  for (auto _ : state) {
    Tape tape;
    const Var l = tape.parameter(logits), z = drawn ? sample(l, rule, rng) : argmax(l, rule);
    benchmark::DoNotOptimize(backward(z));
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(rows * k));
}
BENCHMARK_CAPTURE(choose, argmax_straight_through, "straight-through", false)->Arg(10)->Arg(100);
BENCHMARK_CAPTURE(choose, sample_st_gumbel_softmax, "st-gumbel-softmax", true)->Arg(10)->Arg(100);
BENCHMARK_CAPTURE(choose, sample_reinmax, "reinmax", true)->Arg(10)->Arg(100);
BENCHMARK_CAPTURE(choose, sample_score_function, "score-function", true)->Arg(10)->Arg(100);

// A Hessian-vector product through a two-layer network.
void second_order(benchmark::State& state) {
  Rng rng(1);
  const Mlp net({64, 128, 10}, rng);
  const Tensor x = rng.normal({100, 64}), v = rng.normal({64, 128});
  const std::vector<std::size_t> labels(100, 3);
  for (auto _ : state) {
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(net.parameters);
    const Var h = tanh(dense(tape.borrow_constant(x), p[0], p[1]));
    const Var loss = cross_entropy(dense(h, p[2], p[3]), labels);
    const Var slope = differentiate(loss, p[0])[0];
    benchmark::DoNotOptimize(backward(slope, {}, tape.borrow_constant(v)));
  }
}
BENCHMARK(second_order);

}  // namespace

BENCHMARK_MAIN();
