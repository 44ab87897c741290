#include "ops/layer_norm.hpp"

#include <stdexcept>

#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Var layer_norm(Var x, Var gain, Var bias, double epsilon) {
  if (!(epsilon > 0))
    throw std::invalid_argument("layer_norm: epsilon is " + str(epsilon) + "; need more than 0");
  if (x.shape().empty() || x.shape()[x.shape().size() - 1] == 0)
    throw std::invalid_argument("layer_norm: x is " + str(x.shape()) +
                                "; need at least one number on the last axis");
  for (const Var& v : {gain, bias})
    if (!broadcasts_to(v.shape(), x.shape()))
      throw std::invalid_argument("layer_norm: x is " + str(x.shape()) + ", gain is " +
                                  str(gain.shape()) + ", bias is " + str(bias.shape()) +
                                  "; need gain and bias that broadcast to x");
  const Var centred = x - mean(x, {-1}, true);
  return centred / sqrt(mean(square(centred), {-1}, true) + epsilon) * gain + bias;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
