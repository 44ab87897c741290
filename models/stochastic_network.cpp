#include "models/stochastic_network.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// So many draws in one pass: what they take stays near the processor.
constexpr std::size_t kDrawsAtOnce = 2000;

// f(parameters, images) of some images at a time, one behind the other.
template <class F>
std::vector<double> of_images(const StochasticNetwork& network, const Tensor& images,
                              std::size_t at_once, F f) {
  const std::size_t n = images.shape()[0], pixels = images.size() / std::max<std::size_t>(n, 1);
  std::vector<double> all;
  all.reserve(n);
  for (std::size_t from = 0; from < n; from += at_once) {
    const std::size_t some = std::min(at_once, n - from);
    Tensor part = uninitialised({some, pixels});
    std::copy_n(images.data() + from * pixels, part.size(), part.data());
    Tape tape;
    std::vector<Var> weights;
    for (const Tensor& p : network.parameters) weights.push_back(tape.borrow_constant(p));
    const Var found = f(weights, tape.borrow_constant(part));
    for (Scalar x : found.value()) all.push_back(static_cast<double>(x));
  }
  return all;
}

double mean_of(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

}  // namespace

Tensor negative_bounds(const StochasticNetwork& network, const Tensor& images, std::size_t m,
                       Rng& rng) {
  require(m > 0, "negative_bounds: m is 0; need at least 1 sample");
  const std::vector<double> bounds =
      of_images(network, images, std::max<std::size_t>(1, kDrawsAtOnce / m),
                [&](const std::vector<Var>& weights, Var some) {
                  return -logmeanexp(network.log_weights(weights, some, m, rng), 0);
                });
  return tensor({bounds.size()}, bounds);
}

double negative_bound(const StochasticNetwork& network, const Tensor& images, std::size_t m,
                      Rng& rng, std::size_t repeats) {
  require(images.size() > 0 && repeats > 0, "negative_bound: images are ", images.shape(),
          ", repeats are ", repeats, "; need at least 1 of each");
  double total = 0;
  for (std::size_t i = 0; i < repeats; ++i) {
    const Tensor bounds = negative_bounds(network, images, m, rng);
    total += std::accumulate(bounds.begin(), bounds.end(), 0.0);
  }
  return total / static_cast<double>(repeats * images.shape()[0]);
}

double mean_divergence(const StochasticNetwork& network, const Tensor& images) {
  bool any = true;
  const std::vector<double> all =
      of_images(network, images, kDrawsAtOnce, [&](const std::vector<Var>& weights, Var some) {
        const Var kl = network.divergence(weights, some);
        any = kl.tape;
        return any ? kl : some;
      });
  return any ? mean_of(all) : std::numeric_limits<double>::quiet_NaN();
}

ARGTAPE_END
