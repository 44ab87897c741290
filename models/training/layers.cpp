#include "models/training/layers.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"

ARGTAPE_PUBLIC_BEGIN

Initialiser uniform_fan_in() {
  const auto bound = [](std::size_t n) { return 1 / std::sqrt(static_cast<double>(n)); };
  return {[=](std::size_t n, std::size_t m, Rng& rng) {
            return rng.uniform({n, m}, -bound(n), bound(n));
          },
          [=](std::size_t n, std::size_t m, Rng& rng) {
            return rng.uniform({m}, -bound(n), bound(n));
          }};
}

Initialiser glorot_uniform() {
  return {[](std::size_t n, std::size_t m, Rng& rng) {
            const double bound = std::sqrt(6 / static_cast<double>(n + m));
            return rng.uniform({n, m}, -bound, bound);
          },
          [](std::size_t, std::size_t m, Rng&) { return zeros({m}); }};
}

Mlp::Mlp(const std::vector<std::size_t>& sizes, Rng& rng, const Initialiser& initialiser) {
  if (sizes.size() < 2) refuse("Mlp: ", sizes.size(), " sizes; need at least 2");
  for (std::size_t s : sizes)
    if (s == 0) refuse("Mlp: a size is 0; need at least 1");
  if (!initialiser.weights || !initialiser.bias)
    refuse("Mlp: the initialiser has no function for the weights or for the bias; need both");
  for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
    parameters.push_back(initialiser.weights(sizes[l], sizes[l + 1], rng));
    parameters.push_back(initialiser.bias(sizes[l], sizes[l + 1], rng));
  }
}

Var Mlp::operator()(const std::vector<Var>& on_tape, Var x) const {
  if (on_tape.size() != parameters.size())
    refuse("Mlp: ", on_tape.size(), " parameters on the tape; need ", parameters.size());
  return dense_layers(on_tape, 0, on_tape.size(), x);
}

Var dense_layers(const std::vector<Var>& on_tape, std::size_t first, std::size_t last, Var x) {
  require(first <= last && last <= on_tape.size() && (last - first) % 2 == 0,
          "dense_layers: ", first, " to ", last, " of ", on_tape.size(),
          " parameters on the tape; need weights and a bias for each layer");
  for (std::size_t i = first; i < last; i += 2) {
    x = dense(x, on_tape[i], on_tape[i + 1]);
    if (i + 2 < last) x = relu(x);
  }
  return x;
}

Var dropout(Var x, double rate, Rng& rng) {
  require(rate >= 0 && rate < 1, "dropout: rate is ", rate, "; need 0 <= rate < 1");
  if (rate == 0) return x;
  Tensor kept = rng.uniform(x.shape());
  const auto drop = static_cast<Scalar>(rate), whole = static_cast<Scalar>(1 / (1 - rate));
  for (Scalar& u : kept) u = u < drop ? 0 : whole;
  return x * x.tape->constant(std::move(kept), "kept");
}

ARGTAPE_END
