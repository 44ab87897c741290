#include "ops/kernels/sinkhorn_implicit.hpp"

#include <algorithm>

ARGTAPE_PRIVATE_BEGIN
namespace {
// A node whose links to the rest are weaker is cut off: what it would have passed on is below
// rounding, and what rounding leaves in r and s would be magnified without end.
constexpr double kWeakest = 1e-14;
}  // namespace

void SinkhornImplicit::solve(const Scalar* p, double* r, double* s) {
  const std::size_t n = n_;
  std::fill(links_.begin(), links_.end(), 0.0);
  // The rows' nodes first, all at once since none is linked to another. links_[j][k] for k < j is
  // the link of column j to column k; s becomes the right-hand side for -beta, -s + P^T r / d.
  for (std::size_t j = 0; j < n; ++j) s[j] = -s[j];
  for (std::size_t i = 0; i < n; ++i) {
    double d = 0;
    for (std::size_t j = 0; j < n; ++j) d += row_[j] = static_cast<double>(p[i * n + j]);
    diagonal_[i] = d;
    for (std::size_t j = 0; j < n; ++j) {
      if (row_[j] == 0) continue;
      const double share = row_[j] / d, *from = row_.data();
      s[j] += share * r[i];
      double* to = links_.data() + j * n;
#pragma omp simd
      for (std::size_t k = 0; k < j; ++k) to[k] += share * from[k];
    }
  }
  for (std::size_t j = n - 1; j > 0; --j) {
    const double* from = links_.data() + j * n;
    double total = 0;
    for (std::size_t k = 0; k < j; ++k) total += from[k];
    row_[j] = total;
    if (total < kWeakest) continue;
    for (std::size_t k = 0; k < j; ++k) {
      const double share = from[k] / total;
      if (share == 0) continue;
      s[k] += share * s[j];
      double* to = links_.data() + k * n;
#pragma omp simd
      for (std::size_t l = 0; l < k; ++l) to[l] += share * from[l];
    }
  }
  s[0] = 0;
  for (std::size_t j = 1; j < n; ++j) {
    const double* from = links_.data() + j * n;
    if (row_[j] < kWeakest) {
      s[j] = 0;
      continue;
    }
    for (std::size_t k = 0; k < j; ++k) s[j] += from[k] * s[k];
    s[j] /= row_[j];
  }
  double apart = 0;
  for (std::size_t j = 0; j < n; ++j) s[j] = -s[j];
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) r[i] -= static_cast<double>(p[i * n + j]) * s[j];
    r[i] /= diagonal_[i];
    apart += r[i] - s[i];
  }
  apart /= 2 * static_cast<double>(n);
  for (std::size_t i = 0; i < n; ++i) r[i] -= apart, s[i] += apart;
}

ARGTAPE_END
