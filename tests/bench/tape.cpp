// The tape's own cost, and random numbers.
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

}  // namespace

BENCHMARK_MAIN();
