#include "ops/hungarian.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/assignment_checks.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// One n by m matrix of costs at a time. A cost less its row's potential u and its column's v is
// never negative, and 0 for a matched pair; so along such differences shortest paths are found by
// Dijkstra's method, one from each row that has no column yet to the nearest free column.
class Solver {
 public:
  Solver(std::size_t n, std::size_t m)
      : n_(n),
        m_(m),
        costs_(n * m),
        u_(n),
        v_(m),
        distance_(m),
        settled_(m),
        row_before_(m),
        row_of_(m) {}

  // Costs are factor * x. Fills in the column of each row.
  void solve(const Scalar* x, double factor, std::size_t* columns) {
    for (std::size_t k = 0; k < n_ * m_; ++k) costs_[k] = factor * static_cast<double>(x[k]);
    std::fill(v_.begin(), v_.end(), 0.0);
    std::fill(row_of_.begin(), row_of_.end(), n_);
    std::fill(columns, columns + n_, m_);
    for (std::size_t i = 0; i < n_; ++i) {
      const double* row = costs_.data() + i * m_;
      u_[i] = *std::min_element(row, row + m_);
      for (std::size_t j = 0; j < m_ && columns[i] == m_; ++j)
        if (row[j] == u_[i] && row_of_[j] == n_) {
          columns[i] = j;
          row_of_[j] = i;
        }
    }
    for (std::size_t i = 0; i < n_; ++i)
      if (columns[i] == m_) augment(i, columns);
  }

 private:
  void augment(std::size_t start, std::size_t* columns) {
    std::fill(distance_.begin(), distance_.end(), kInf);
    std::vector<std::size_t>& settled = order_;
    settled.clear();
    std::size_t i = start, nearest = 0;
    double reached = 0;
    for (;;) {
      reached = relax(i, reached);
      nearest = m_;
      for (std::size_t j = 0; j < m_; ++j)
        if (distance_[j] == reached && (nearest == m_ || row_of_[j] == n_)) {
          nearest = j;
          if (row_of_[j] == n_) break;
        }
      if (row_of_[nearest] == n_) break;
      settled.push_back(nearest);
      settled_[nearest] = reached;
      distance_[nearest] = -kInf;
      i = row_of_[nearest];
    }
    u_[start] += reached;
    for (std::size_t j : settled) {
      u_[row_of_[j]] += reached - settled_[j];
      v_[j] -= reached - settled_[j];
    }
    for (std::size_t j = nearest;;) {
      const std::size_t row = row_before_[j], before = columns[row];
      row_of_[j] = row;
      columns[row] = j;
      if (row == start) return;
      j = before;
    }
  }

  // The distances by way of row i, which is at `reached` itself; the smallest that is not settled.
  double relax(std::size_t i, double reached) {
    const double *row = costs_.data() + i * m_, *v = v_.data(), from = reached - u_[i];
    double *distance = distance_.data(), nearest = kInf;
    std::size_t* before = row_before_.data();
#pragma omp simd reduction(min : nearest)
    for (std::size_t j = 0; j < m_; ++j) {
      // Rounding may make a step that costs nothing negative.
      const double d = std::max(reached, from + row[j] - v[j]), old = distance[j];
      const double now = d < old ? d : old;
      before[j] = d < old ? i : before[j];
      distance[j] = now;
      nearest = std::min(nearest, now == -kInf ? kInf : now);
    }
    return nearest;
  }

  std::size_t n_, m_;
  std::vector<double> costs_, u_, v_;
  std::vector<double> distance_, settled_;  // -inf in the first once it stands in the second
  std::vector<std::size_t> row_before_, row_of_, order_;
};

// Sums of differences of such numbers leave the range of double; scaled, they do not.
constexpr double kLarge = 1e290, kSmaller = 0x1p-64;

}  // namespace

std::vector<std::size_t> best_columns(const std::string& op, const char* what,
                                      const Tensor& weights, Best best) {
  const Shape& shape = weights.shape();
  const std::size_t r = shape.size();
  if (r < 2 || shape[r - 2] == 0 || shape[r - 2] > shape[r - 1])
    refuse(op, ": the ", what, "s are ", shape,
           "; need (..., n, m) with 1 <= n <= m, a column for each row");
  const std::size_t n = shape[r - 2], m = shape[r - 1], count = weights.size() / (n * m);
  const double sign = best == Best::largest ? -1 : 1;
  const auto forbidden = static_cast<Scalar>(sign) * std::numeric_limits<Scalar>::infinity();
  std::vector<std::size_t> columns(count * n);
  parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
    Solver solver(n, m);
    for (std::size_t k = begin; k < end; ++k) {
      const Scalar* x = weights.data() + k * n * m;
      check_pairs(op, what, forbidden, x, n, m, k);
      const bool large = std::any_of(x, x + n * m, [](Scalar v) {
        return std::isfinite(v) && std::abs(static_cast<double>(v)) > kLarge;
      });
      solver.solve(x, large ? sign * kSmaller : sign, columns.data() + k * n);
    }
  });
  return columns;
}

std::vector<std::size_t> hungarian(const Tensor& weights, Best best) {
  return best_columns("hungarian", "weight", weights, best);
}

ARGTAPE_END
