#include "ops/gumbel_posterior.hpp"

#include <cstring>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

Var conditional_gumbels(Var logits, Var choice, Var noise) {
  if (logits.shape().empty() || logits.shape() != choice.shape() ||
      !broadcasts_to(logits.shape(), noise.shape()))
    refuse("conditional_gumbels: logits are ", logits.shape(), ", the choice is ", choice.shape(),
           ", noise is ", noise.shape(), "; need (..., K) for all");
  const std::size_t k = logits.shape().back();
  for (std::size_t r = 0; k > 0 && r * k < choice.value().size(); ++r)
    if (one_hot_place(choice.value().data() + r * k, k) == k)
      refuse("conditional_gumbels: row ", r, " of the choice is not one-hot; need a hard choice");
  const Var winner = sum(choice * noise, -1, keep_axes), others = log_softmax(logits) + noise;
  return where(choice, winner, winner - softplus(winner - others));
}

Rng rng_from(const Tensor& from, std::uint64_t seed) {
  // The finaliser of S. Vigna's SplitMix64, applied to each number in turn.
  std::uint64_t state = seed;
  for (Scalar x : from) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &x, sizeof x);
    state = (state ^ bits) + 0x9E3779B97F4A7C15u;
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
    state ^= state >> 31;
  }
  return Rng(state, 0, 2);
}

ARGTAPE_END
