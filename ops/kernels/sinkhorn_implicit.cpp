#include "ops/kernels/sinkhorn_implicit.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "engine/system/memory.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {
// A node whose links to the rest are weaker is cut off: what it would have passed on is below
// rounding, and what rounding leaves in r and s would be magnified without end.
constexpr double kWeakest = 1e-14;
}  // namespace

void fit_marginals(std::size_t n, const Scalar* p, const Scalar* h, double less, double* alpha,
                   double* beta) {
  // links[j][k] for k < j is the link of column j to column k. beta holds the right-hand side for
  // -beta, and then -beta.
  std::vector<double, CachingAllocator<double>> memory((n + 3) * n);
  double *links = memory.data(), *row = links + n * n, *diagonal = row + n, *total = diagonal + n;
  std::fill_n(beta, n, less);
  // The rows' nodes first, all at once since none is linked to another: -s + P^T r / d is left.
  for (std::size_t i = 0; i < n; ++i) {
    double d = 0, r = -less;
    for (std::size_t j = 0; j < n; ++j) {
      const auto more = static_cast<double>(h[i * n + j]);
      d += row[j] = static_cast<double>(p[i * n + j]);
      r += more;
      beta[j] -= more;
    }
    alpha[i] = r;
    diagonal[i] = d;
    for (std::size_t j = 0; j < n; ++j) {
      if (row[j] == 0) continue;
      const double share = row[j] / d, *from = row;
      beta[j] += share * r;
      double* to = links + j * n;
#pragma omp simd
      for (std::size_t k = 0; k < j; ++k) to[k] += share * from[k];
    }
  }
  for (std::size_t j = n - 1; j > 0; --j) {
    const double* from = links + j * n;
    for (std::size_t k = 0; k < j; ++k) total[j] += from[k];
    if (total[j] < kWeakest) total[j] = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < j; ++k) {
      const double share = from[k] / total[j];
      if (share == 0) continue;
      beta[k] += share * beta[j];
      double* to = links + k * n;
#pragma omp simd
      for (std::size_t l = 0; l < k; ++l) to[l] += share * from[l];
    }
  }
  beta[0] = 0;
  for (std::size_t j = 1; j < n; ++j) {
    const double* from = links + j * n;
    for (std::size_t k = 0; k < j; ++k) beta[j] += from[k] * beta[k];
    beta[j] /= total[j];
  }
  double apart = 0;
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) alpha[i] += static_cast<double>(p[i * n + j]) * beta[j];
    alpha[i] /= diagonal[i];
    apart += alpha[i] + beta[i];
  }
  apart /= 2 * static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) {
    alpha[i] -= apart;
    beta[i] = apart - beta[i];
  }
}

ARGTAPE_END
