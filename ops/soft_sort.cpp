#include "ops/soft_sort.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/sort.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

std::size_t checked(const char* op, Var scores, double tau) {
  tape_of(op, {scores});
  const Shape& shape = scores.shape();
  if (shape.empty() || shape[shape.size() - 1] == 0)
    refuse(op, ": scores are ", shape, "; need (..., n) with n of at least 1");
  require_temperature(op, tau);
  const std::size_t n = shape[shape.size() - 1];
  if (all_finite(scores.value())) return n;
  for (std::size_t i = 0;; ++i) {
    const Scalar s = scores.value().data()[i];
    require(std::isfinite(s), op, ": scores have ", std::isnan(s) ? "NaN" : "an infinity",
            " in row ", i / n, "; need numbers");
  }
}

}  // namespace

Var neural_sort(Var scores, double tau) {
  const std::size_t n = checked("neural_sort", scores, tau);
  Tensor slopes = uninitialised({n});
  for (std::size_t j = 0; j < n; ++j)
    slopes.data()[j] = static_cast<Scalar>(2 * static_cast<double>(j) + 1 - static_cast<double>(n));
  const Var s = without_offset(scores), column = expand_dims(s, -1),
            apart = sum(abs(column - expand_dims(s, -2)), -1, keep_axes);
  const Var p = softmax((column * scores.tape->constant(std::move(slopes)) - apart) / tau, -2);
  if (!all_finite(p.value()))
    refuse("neural_sort: scores / tau leave the range of numbers, with tau ", tau,
           "; need scores closer together, or a larger tau");
  return p;
}

Var soft_sort(Var scores, double tau) {
  checked("soft_sort", scores, tau);
  return softmax(-abs(expand_dims(scores, -1) - expand_dims(sort(scores), -2)) / tau, -2);
}

ARGTAPE_END
