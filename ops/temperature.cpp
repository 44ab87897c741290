#include "ops/temperature.hpp"

#include <algorithm>
#include <cmath>

#include "engine/require.hpp"
#include "engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {
void require_positive(const char* op, const char* name, double x) {
  require(x > 0 && std::isfinite(x), op, ": ", name, " is ", x, "; need a finite number above 0");
}
}  // namespace

Schedule exponential_decay(double start, double rate, double floor, std::size_t every) {
  require_positive("exponential_decay", "start", start);
  require_positive("exponential_decay", "floor", floor);
  if (!(rate >= 0)) refuse("exponential_decay: rate is ", rate, "; need at least 0");
  if (every == 0) refuse("exponential_decay: every is 0; need at least 1");
  return [=](std::size_t step) {
    return std::max(floor, start * std::exp(-rate * static_cast<double>(step / every * every)));
  };
}

Schedule linear_decay(double start, double end, std::size_t steps) {
  require_positive("linear_decay", "start", start);
  require(end >= 0 && std::isfinite(end), "linear_decay: end is ", end,
          "; need a finite number of at least 0");
  if (steps == 0) refuse("linear_decay: steps is 0; need at least 1");
  return [=](std::size_t step) {
    const double done = static_cast<double>(std::min(step, steps)) / static_cast<double>(steps);
    return start + (end - start) * done;
  };
}

ARGTAPE_END
