#include "ops/temperature.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "engine/tensor.hpp"

namespace argtape {
inline namespace ARGTAPE_API {
namespace {
void require_positive(const char* op, const char* name, double x) {
  if (!(x > 0) || std::isinf(x))
    throw std::invalid_argument(std::string(op) + ": " + name + " is " + str(x) +
                                "; need more than 0");
}
}  // namespace

Schedule exponential_decay(double start, double rate, double floor, std::size_t every) {
  require_positive("exponential_decay", "start", start);
  require_positive("exponential_decay", "floor", floor);
  if (!(rate >= 0))
    throw std::invalid_argument("exponential_decay: rate is " + str(rate) + "; need at least 0");
  if (every == 0) throw std::invalid_argument("exponential_decay: every is 0; need at least 1");
  return [=](std::size_t step) {
    return std::max(floor, start * std::exp(-rate * static_cast<double>(step / every * every)));
  };
}

Schedule linear_decay(double start, double end, std::size_t steps) {
  require_positive("linear_decay", "start", start);
  require_positive("linear_decay", "end", end);
  if (steps == 0) throw std::invalid_argument("linear_decay: steps is 0; need at least 1");
  return [=](std::size_t step) {
    const double done = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
    return start + (end - start) * done;
  };
}

}  // namespace ARGTAPE_API
}  // namespace argtape
