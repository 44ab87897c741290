#include "ops/kernels/assignment_checks.hpp"

#include <algorithm>
#include <cmath>

#include "engine/require.hpp"
#include "ops/kernels/row_kernels.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// Looks for a matching along the pairs that are not forbidden (Kuhn's augmenting paths). Empty if
// there is one; else rows that have fewer columns between them than they are.
class Pairs {
 public:
  Pairs(const Scalar* x, std::size_t n, std::size_t m, Scalar forbidden)
      : x_(x), n_(n), m_(m), forbidden_(forbidden), row_of_(m, n), seen_(m) {}
  std::vector<std::size_t> stuck() {
    for (std::size_t i = 0; i < n_; ++i) {
      std::fill(seen_.begin(), seen_.end(), false);
      if (place(i)) continue;
      std::vector<std::size_t> rows = {i};
      for (std::size_t j = 0; j < m_; ++j)
        if (seen_[j]) rows.push_back(row_of_[j]);
      std::sort(rows.begin(), rows.end());
      return rows;
    }
    return {};
  }

 private:
  bool place(std::size_t i) {
    for (std::size_t j = 0; j < m_; ++j) {
      if (seen_[j] || x_[i * m_ + j] == forbidden_) continue;
      seen_[j] = true;
      if (row_of_[j] == n_ || place(row_of_[j])) {
        row_of_[j] = i;
        return true;
      }
    }
    return false;
  }
  const Scalar* x_;
  std::size_t n_, m_;
  Scalar forbidden_;
  std::vector<std::size_t> row_of_;
  std::vector<bool> seen_;
};

}  // namespace

void check_pairs(const std::string& op, const char* what, Scalar forbidden, const Scalar* x,
                 std::size_t n, std::size_t m, std::size_t matrix) {
  const Scalar zero = row_sum(
      n * m, [](Lane v) { return v * Lane(0); }, x);
  if (zero == 0) return;
  const auto named = [](Scalar v) { return std::isnan(v) ? "NaN" : v > 0 ? "+inf" : "-inf"; };
  for (std::size_t k = 0; k < n * m; ++k)
    if (!std::isfinite(x[k]) && x[k] != forbidden)
      refuse(op, ": the ", what, " in row ", k / m, ", column ", k % m, " of matrix ", matrix,
             " is ", named(x[k]), "; need numbers, or ", named(forbidden), " for a forbidden pair");
  const std::vector<std::size_t> stuck = Pairs(x, n, m, forbidden).stuck();
  if (stuck.empty()) return;
  std::string rows;
  for (std::size_t i = 0; i < std::min<std::size_t>(stuck.size(), 8); ++i)
    rows += (i ? ", " : "") + std::to_string(stuck[i]);
  if (stuck.size() > 8) rows += ", ...";
  refuse(op, ": the pairs of matrix ", matrix, " that are not ", named(forbidden),
         " leave no matching: ",
         (stuck.size() == 1
              ? "row " + rows + " has none"
              : "rows " + rows + " have " +
                    (stuck.size() == 2 ? "only one column"
                                       : "only " + std::to_string(stuck.size() - 1) + " columns") +
                    " between them"),
         "; need one");
}

ARGTAPE_END
