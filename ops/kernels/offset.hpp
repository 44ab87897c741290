// What a row's numbers have in common, taken off. For the library's own .cpp files.
#pragma once

#include <limits>

#include "../../engine/sweep.hpp"
#include "row_kernels.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Each row of x less its largest: for what does not depend on a number added to a row, of which a
/// large one would swallow, in float, the noise or the step that comes on top. -inf and +inf stay,
/// and a finite number stays finite.
inline Tensor without_offset(const Tensor& x) {
  return map_each_row(x.shape(), [rows = TensorRows(x)](ResultRow y) {
    const NoisyRow row = rows.noisy(y.r);
    constexpr Scalar most = std::numeric_limits<Scalar>::max();
    const Lane lowest(kLowest), largest(std::min(max_lanes(y.n, row), most));
    y = [&](std::size_t i) {
      const Lane v = row(i);
      return xsimd::select(v > lowest, xsimd::max(v - largest, Lane(-most)), v);
    };
  });
}

/// The same for what is differentiated, whose gradient is that for x.
inline Var without_offset(Var x) {
  return x.tape->record("without_offset", {x}, without_offset(x.value()),
                        [](BackwardContext& ctx) { ctx.pass(0); });
}

ARGTAPE_END
