#include "ops/hungarian.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/assignment.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// Sums of differences of such numbers leave the range of double; scaled, they do not.
constexpr double kLarge = 1e290, kSmaller = 0x1p-64;

// One n by m matrix of costs at a time, +inf for a forbidden pair. A cost less its row's potential
// u and its column's v is never negative, and 0 for a matched pair; so along such differences
// shortest paths are found by Dijkstra's method, one from each row that has no column yet to the
// nearest free column.
class Solver {
 public:
  Solver(std::size_t n, std::size_t m)
      : n_(n), m_(m), u_(n), v_(m), distance_(m), settled_(m), row_before_(m), row_of_(m) {}

  // Fills in the column of each row. Empty if it could; else rows that have fewer columns between
  // them than they are.
  std::vector<std::size_t> solve(const std::vector<double>& costs, std::size_t* columns) {
    costs_ = costs.data();
    std::fill(v_.begin(), v_.end(), 0.0);
    std::fill(row_of_.begin(), row_of_.end(), n_);
    std::fill_n(columns, n_, m_);
    for (std::size_t i = 0; i < n_; ++i) {
      const double *row = costs_ + i * m_, least = *std::min_element(row, row + m_);
      u_[i] = least < kInf ? least : 0;
      for (std::size_t j = 0; j < m_ && columns[i] == m_; ++j)
        if (row[j] == u_[i] && row_of_[j] == n_) {
          columns[i] = j;
          row_of_[j] = i;
        }
    }
    std::vector<std::size_t> stuck;
    for (std::size_t i = 0; i < n_ && stuck.empty(); ++i)
      if (columns[i] == m_) stuck = augment(i, columns);
    return stuck;
  }

 private:
  // Gives row `start` a column; the rows from which no free one can be reached, if there is none.
  std::vector<std::size_t> augment(std::size_t start, std::size_t* columns) {
    std::fill(distance_.begin(), distance_.end(), kInf);
    std::size_t i = start, nearest = m_;
    double reached = 0;
    for (;; i = row_of_[nearest]) {
      reached = relax(i, reached);
      if (reached == kInf) {
        std::vector<std::size_t> rows = {start};
        for (std::size_t j = 0; j < m_; ++j)
          if (distance_[j] == -kInf) rows.push_back(row_of_[j]);
        std::sort(rows.begin(), rows.end());
        return rows;
      }
      nearest = m_;
      for (std::size_t j = 0; j < m_; ++j)
        if (distance_[j] == reached && (nearest == m_ || row_of_[j] == n_)) {
          nearest = j;
          if (row_of_[j] == n_) break;
        }
      if (row_of_[nearest] == n_) break;
      settled_[nearest] = reached;
      distance_[nearest] = -kInf;
    }
    u_[start] += reached;
    for (std::size_t j = 0; j < m_; ++j) {
      if (distance_[j] != -kInf) continue;
      u_[row_of_[j]] += reached - settled_[j];
      v_[j] -= reached - settled_[j];
    }
    for (std::size_t j = nearest, row = n_; row != start;) {
      row = row_before_[j];
      row_of_[j] = row;
      std::swap(columns[row], j);
    }
    return {};
  }

  // The distances by way of row i, which is at `reached` itself; the smallest that is not settled.
  double relax(std::size_t i, double reached) {
    const double *row = costs_ + i * m_, *v = v_.data(), from = reached - u_[i];
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
    // Where there is none, some compilers give the largest finite number: they start from that.
    return nearest < std::numeric_limits<double>::max() ? nearest : kInf;
  }

  std::size_t n_, m_;
  const double* costs_ = nullptr;
  std::vector<double> u_, v_;
  std::vector<double> distance_, settled_;  // -inf in the first once it stands in the second
  std::vector<std::size_t> row_before_, row_of_;
};

// To costs less each row's smallest, on which no matching depends: a large one would swallow the
// noise.
void add_noise(const Scalar* noise, double sign, std::size_t n, std::size_t m, double* costs) {
  for (std::size_t i = 0; i < n; ++i, costs += m, noise += m) {
    const double least = *std::min_element(costs, costs + m),
                 less = std::abs(least) < kLarge ? least : 0;  // no difference is infinite
#pragma omp simd
    for (std::size_t j = 0; j < m; ++j)
      costs[j] = costs[j] - less + sign * static_cast<double>(noise[j]);
  }
}

}  // namespace

void require_assignable(const std::string& op, const char* what, const Shape& shape) {
  const std::size_t r = shape.size();
  if (r < 2 || shape[r - 2] == 0 || shape[r - 2] > shape[r - 1])
    refuse(op, ": the ", what, "s are ", shape,
           "; need (..., n, m) with 1 <= n <= m, a column for each row");
}

std::vector<std::size_t> best_columns(const std::string& op, const char* what,
                                      const Tensor& weights, Best best, const Tensor* noise) {
  const Shape& shape = weights.shape();
  const std::size_t r = shape.size();
  require_assignable(op, what, shape);
  const std::size_t n = shape[r - 2], m = shape[r - 1], count = weights.size() / (n * m);
  const double sign = best == Best::largest ? -1 : 1;
  const char *forbidden = "-inf", *endless = "+inf";
  if (best == Best::smallest) std::swap(forbidden, endless);
  std::vector<std::size_t> columns(count * n);
  parallel_for(count, 1, [&](std::size_t begin, std::size_t end) {
    Solver solver(n, m);
    std::vector<double> costs(n * m);
    for (std::size_t matrix = begin; matrix < end; ++matrix) {
      const Scalar* x = weights.data() + matrix * n * m;
      for (std::size_t k = 0; k < n * m; ++k) costs[k] = sign * static_cast<double>(x[k]);
      if (noise) add_noise(noise->data() + matrix * n * m, sign, n, m, costs.data());
      double largest = 0, infinite = 0;
#pragma omp simd reduction(max : largest) reduction(+ : infinite)
      for (std::size_t k = 0; k < n * m; ++k) {
        const double size = std::abs(costs[k]);
        largest = std::max(largest, size < kInf ? size : 0);
        infinite += size < kInf ? 0 : 1;
      }
      for (std::size_t k = 0; infinite > 0 && k < n * m; ++k)
        if (!(costs[k] > -kInf))
          refuse(op, ": the ", what, " in row ", k / m, ", column ", k % m, " of matrix ", matrix,
                 " is ", std::isnan(costs[k]) ? "NaN" : endless, "; need numbers, or ", forbidden,
                 " for a forbidden pair");
      if (largest > kLarge)
        for (double& c : costs) c *= kSmaller;
      const std::vector<std::size_t> stuck = solver.solve(costs, columns.data() + matrix * n);
      if (stuck.empty()) continue;
      const std::size_t most = 8;
      std::string rows;
      for (std::size_t i = 0; i < std::min(stuck.size(), most); ++i)
        rows += (i ? ", " : "") + std::to_string(stuck[i]);
      if (stuck.size() > most) rows += ", ...";
      refuse(op, ": the pairs of matrix ", matrix, " that are not ", forbidden,
             " leave no matching: ",
             (stuck.size() == 1   ? "row " + rows + " has none"
              : stuck.size() == 2 ? "rows " + rows + " have only one column between them"
                                  : "rows " + rows + " have only " +
                                        std::to_string(stuck.size() - 1) + " columns between them"),
             "; need one");
    }
  });
  return columns;
}

std::vector<std::size_t> hungarian(const Tensor& weights, Best best) {
  return best_columns("hungarian", "weight", weights, best);
}

ARGTAPE_END
