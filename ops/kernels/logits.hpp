// Logits and scores: whether all are finite, and less what a row of them has in common. For the
// library's own .cpp files.
#pragma once

#include <limits>

#include "../../engine/sweep.hpp"
#include "../elementwise.hpp"
#include "row_kernels.hpp"

ARGTAPE_PRIVATE_BEGIN

inline bool all_finite(const Tensor& x) {
  return row_sum(
             x.size(), [](Lane v) { return v * Lane(0); }, x.data()) == 0;
}

/// 1 where a category is possible, 0 where it is forbidden and its logit is -inf.
inline Var is_possible(Var logits) { return logits > kMinusInf; }

/// sum_k weight_k log_p_k over the last axis, where an impossible category of no weight counts for
/// nothing. Throws std::invalid_argument, in the name of `op`, unless one broadcasts to the other.
[[gnu::visibility("hidden")]] Var expected_log(const char* op, Var weight, Var log_p);

/// Each row of x less its largest: for what does not depend on a number added to a row, of which a
/// large one would swallow, in float, the noise or the step that comes on top. So the gradient is
/// that for x. -inf and +inf stay, and a finite number stays finite. With `of`, of the same shape,
/// it is the largest of that row which is taken off, unless it is -inf.
inline Var without_offset(Var x, const Tensor* of = nullptr) {
  const TensorRows rows(x.value()), others(of ? *of : x.value());
  Tensor y = map_each_row(x.shape(), [=](ResultRow y) {
    const NoisyRow row = rows.noisy(y);
    constexpr Scalar most = std::numeric_limits<Scalar>::max();
    const Scalar top = max_lanes(y.n, others.noisy(y));
    const Lane high(most), lowest(kMinusInf),
        largest(std::min(top > kMinusInf ? top : max_lanes(y.n, row), most));
    y = [&](std::size_t i) {
      const Lane v = row(i), less = xsimd::min(xsimd::max(v - largest, -high), high);
      return xsimd::select((v > lowest) & (v <= high), less, v);
    };
  });
  return x.tape->record("without_offset", {x}, std::move(y),
                        [](BackwardContext& ctx) { ctx.pass(0); });
}

ARGTAPE_END
