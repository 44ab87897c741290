#include "ops/kernels/laplacian.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "engine/system/memory.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {
// A node whose links to the rest are weaker is cut off: what it would have passed on is below
// rounding, and what rounding leaves in r and s would be magnified without end.
constexpr double kWeakest = 1e-14;
}  // namespace

void solve_laplacian(std::size_t n, double* links, double weakest, double* x) {
  for (std::size_t j = n - 1; j > 0; --j) {
    double *from = links + j * n, &total = from[j];
    total = std::accumulate(from, from + j, 0.0);
    if (total <= weakest) total = std::numeric_limits<double>::infinity();
    for (std::size_t k = 0; k < j; ++k) {
      const double share = from[k] / total;
      if (share == 0) continue;
      x[k] += share * x[j];
      double* to = links + k * n;
#pragma omp simd
      for (std::size_t l = 0; l < k; ++l) to[l] += share * from[l];
    }
  }
  x[0] = 0;
  for (std::size_t j = 1; j < n; ++j) {
    const double* from = links + j * n;
    for (std::size_t k = 0; k < j; ++k) x[j] += from[k] * x[k];
    x[j] /= from[j];
  }
}

void fit_marginals(std::size_t n, const Scalar* p, const Scalar* h, double less, double* alpha,
                   double* beta) {
  // links[j][k] for k < j is the link of column j to column k. beta holds the right-hand side for
  // -beta, and then -beta.
  std::vector<double, CachingAllocator<double>> memory((n + 2) * n);
  double *links = memory.data(), *row = links + n * n, *diagonal = row + n;
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
  solve_laplacian(n, links, kWeakest, beta);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) alpha[i] += static_cast<double>(p[i * n + j]) * beta[j];
    alpha[i] /= diagonal[i];
  }
  for (std::size_t j = 0; j < n; ++j) beta[j] = -beta[j];
}

ARGTAPE_END
