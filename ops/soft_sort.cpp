#include "ops/soft_sort.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr double kLeastTau = 1e-20;

std::size_t checked(const char* op, Var scores, double tau) {
  tape_of(op, {scores});
  const Shape& shape = scores.shape();
  if (shape.empty() || shape[shape.size() - 1] == 0)
    refuse(op, ": scores are ", shape, "; need (..., n) with n of at least 1");
  if (!(tau >= kLeastTau) || std::isinf(tau))
    refuse(op, ": tau is ", tau, "; need at least ", kLeastTau, ", not infinite");
  return shape[shape.size() - 1];
}

}  // namespace

Var neural_sort(Var scores, double tau) {
  const std::size_t n = checked("neural_sort", scores, tau);
  Tensor slopes = uninitialised({n});
  for (std::size_t j = 0; j < n; ++j)
    slopes.data()[j] = static_cast<Scalar>(2 * static_cast<double>(j) + 1 - static_cast<double>(n));
  const Var column = expand_dims(scores, -1),
            apart = sum(abs(column - expand_dims(scores, -2)), -1, keep_axes);
  return softmax((column * scores.tape->constant(std::move(slopes)) - apart) / tau, -2);
}

Var soft_sort(Var scores, double tau) {
  const std::size_t n = checked("soft_sort", scores, tau);
  const Scalar* s = scores.value().data();
  std::vector<std::size_t> order(scores.value().size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (std::isnan(s[i])) refuse("soft_sort: scores have NaN in row ", i / n, "; need numbers");
    order[i] = i;
  }
  for (auto row = order.begin(); row != order.end(); row += static_cast<std::ptrdiff_t>(n))
    std::stable_sort(row, row + static_cast<std::ptrdiff_t>(n),
                     [s](std::size_t a, std::size_t b) { return s[a] < s[b]; });
  const Var sorted = gather(scores, order, scores.shape());
  return softmax(-abs(expand_dims(scores, -1) - expand_dims(sorted, -2)) / tau, -2);
}

ARGTAPE_END
