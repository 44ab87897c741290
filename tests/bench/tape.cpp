// The tape's own cost, and random numbers.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <fstream>
#include <memory>

#include "models/argtape.hpp"

using namespace argtape;

namespace {

// n small ops, one after the other.
constexpr std::size_t kNumbers = 16;
Var chain(Tape& tape, std::int64_t n) {
  Var h = tape.parameter(full({kNumbers}, 0.5));
  const Var factor = tape.constant(full({kNumbers}, 0.999));
  for (std::int64_t i = 0; i < n; ++i) h = h * factor;
  return h;
}

double resident_bytes() {
  double pages[2] = {};
  std::ifstream("/proc/self/statm") >> pages[0] >> pages[1];
  return pages[1] * static_cast<double>(sysconf(_SC_PAGESIZE));
}

// What a node takes beyond its value, as the system sees it: a million of them, in as many chains
// as that takes, since whole pages are counted.
double bytes_a_node(std::int64_t n) {
  release_cached_memory();
  malloc_trim(0);
  const double before = resident_bytes();
  std::deque<Tape> tapes;
  std::int64_t nodes = 0;
  for (; nodes < 1000000; nodes += n) chain(tapes.emplace_back(), n);
  return (resident_bytes() - before) / static_cast<double>(nodes) -
         static_cast<double>(kNumbers * sizeof(Scalar));
}

// One of three: the chain is recorded, swept, and dropped with its tape.
void tape_of_chain(benchmark::State& state, int timed) {
  using Clock = std::chrono::steady_clock;
  double total = 0;
  for (auto _ : state) {
    Clock::time_point at[4] = {Clock::now()};
    auto tape = std::make_unique<Tape>();
    const Var end = chain(*tape, state.range(0));
    at[1] = Clock::now();
    benchmark::DoNotOptimize(backward(end));
    at[2] = Clock::now();
    tape.reset();
    at[3] = Clock::now();
    const double seconds = std::chrono::duration<double>(at[timed + 1] - at[timed]).count();
    state.SetIterationTime(seconds);
    total += seconds;
  }
  state.counters["ns_a_node"] =
      1e9 * total / static_cast<double>(state.iterations() * state.range(0));
  if (timed == 0) state.counters["bytes_a_node"] = bytes_a_node(state.range(0));
}
BENCHMARK_CAPTURE(tape_of_chain, record, 0)->Arg(1000)->Arg(1000000)->UseManualTime();
BENCHMARK_CAPTURE(tape_of_chain, sweep, 1)->Arg(1000)->Arg(1000000)->UseManualTime();
BENCHMARK_CAPTURE(tape_of_chain, drop, 2)->Arg(1000)->Arg(1000000)->UseManualTime();

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
