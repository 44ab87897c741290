// Numbers that a caller sets once, and by which others are divided. For the library's own .cpp
// files.
#pragma once

#include <limits>

#include "../../engine/require.hpp"

ARGTAPE_PRIVATE_BEGIN

/// The largest number of which Scalar holds the reciprocal, with all its digits.
constexpr double kLargestDivisor = 1 / static_cast<double>(std::numeric_limits<Scalar>::min());

/// Throws std::invalid_argument, in the name of `op`, unless x is within the ends.
inline void require_within(const char* op, const char* name, double x, double least, double most) {
  require(x >= least && x <= most, op, ": ", name, " is ", x, "; need ", least, " to ", most);
}
inline void require_divisor(const char* op, const char* name, double x) {
  require_within(op, name, x, 1 / kLargestDivisor, kLargestDivisor);
}

/// The same for a temperature. Beyond these logits / tau would leave float's range; so cold a
/// softmax is an argmax anyway, and so hot a one passes nothing back.
inline void require_temperature(const char* op, double tau, double least = 1e-20) {
  require_within(op, "tau", tau, least, 1e20);
}

ARGTAPE_END
