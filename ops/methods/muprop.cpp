#include "ops/methods/muprop.hpp"

#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Method muprop() {
  Method method;
  method.name = "muprop";
  method.estimate = [](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng), cost = evaluate(f, z), p = softmax(logits);
    const Slope at_mean = slope_at("muprop", f, p);
    const Var along = at_mean.gradient * (z - p);
    Axes own;
    for (std::size_t a = cost.shape().size(); a < z.shape().size(); ++a)
      own.push_back(static_cast<int>(a));
    const Var signal = cost - at_mean.cost - sum(along, own);
    return with_gradient("muprop", cost, logits,
                         score_gradient(signal, z, p) + softmax_jacobian(p, at_mean.gradient));
  };
  return method;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
