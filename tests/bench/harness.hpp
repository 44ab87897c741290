// What the benchmark's workloads share: inputs that every implementation can make, the timing of a
// step, and one process for each workload, so that its memory and its threads are its own.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/tensor.hpp"

namespace bench {

// The stream `seed`: a splitmix64 hash of the element's place, so that PyTorch's side makes the
// same.
argtape::Tensor uniform(std::uint64_t seed, const argtape::Shape& shape, double low = 0,
                        double high = 1);
std::vector<std::size_t> integers(std::uint64_t seed, std::size_t n, std::uint64_t below);

// Where a workload's noise comes from: streams 1000, 1001, ... while checking, the engine's own
// generator while timing.
struct Noise {
  bool checking = false;
  std::uint64_t requests = 0;
};

struct Workload {
  std::function<double(Noise&)> step;          // one step; its loss
  std::function<std::vector<double>()> check;  // figures to compare with the other side's
};

struct Named {
  std::string name;
  std::function<Workload()> make;
};

// Parses --threads T[,T] --seconds S --quiet S --only A,B --list, runs each workload in a process
// of its own and prints one JSON line for each. Returns main's status.
int run(int argc, char** argv, const std::vector<Named>& workloads);

}  // namespace bench
