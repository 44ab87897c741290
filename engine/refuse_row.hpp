// Says why a row of logits has no distribution, in the same words wherever one is drawn from or
// weighed. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "require.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Throws std::invalid_argument in the name of `op`: row r, along the last axis, is known to have
/// no largest number or no softmax.
[[noreturn]] inline void refuse_row(const std::string& op, const Tensor& logits, std::size_t r) {
  constexpr Scalar inf = std::numeric_limits<Scalar>::infinity();
  const std::size_t n = logits.shape().back();
  const Scalar *row = logits.data() + r * n, *end = row + n;
  const bool nan = std::any_of(row, end, [](Scalar v) { return std::isnan(v); });
  const bool none = std::all_of(row, end, [](Scalar v) { return v == -inf; });
  const bool infinite = std::find(row, end, inf) != end;
  refuse(op, ": logits ",
         (nan        ? "have NaN"
          : none     ? "are all -inf"
          : infinite ? "have +inf"
                     : "or their noise are not finite"),
         " in row ", r, "; need ", (none ? "at least one possible category" : "numbers"));
}

ARGTAPE_END
