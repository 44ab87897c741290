// Matchings: the solver against exhaustive search, the node's rules against identities and
// statistics.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/random.hpp"
#include "engine/threads.hpp"
#include "ops/elementwise.hpp"
#include "ops/hungarian.hpp"
#include "ops/sinkhorn.hpp"

using namespace argtape;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

using Columns = std::vector<std::size_t>;

double total(const Scalar* x, const std::size_t* columns, std::size_t n, std::size_t m) {
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) sum += x[i * m + columns[i]];
  return sum;
}

// The best columns for the rows of one matrix, by trying all orders of all columns.
Columns exhaustive(const Scalar* x, std::size_t n, std::size_t m, double sign) {
  Columns order(m), best;
  std::iota(order.begin(), order.end(), std::size_t{0});
  double most = -kInf;
  do {
    const double sum = sign * total(x, order.data(), n, m);
    if (sum > most) {
      most = sum;
      best.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(n));
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

template <class F>
void refuses(F f, const std::string& message) {
  CHECK_THROWS_WITH_AS(f(), message.c_str(), std::invalid_argument);
}

}  // namespace

TEST_CASE("hungarian is exhaustive search") {
  Rng rng(1);
  for (std::size_t n = 1; n <= 6; ++n)
    for (std::size_t m = n; m <= 7; ++m)
      for (Best best : {Best::largest, Best::smallest}) {
        CAPTURE(n);
        CAPTURE(m);
        const double sign = best == Best::largest ? 1 : -1;
        const Tensor x = rng.normal({2, 10, n, m});
        const Columns columns = hungarian(x, best);
        REQUIRE(columns.size() == 20 * n);
        for (std::size_t k = 0; k < 20; ++k) {
          const Columns expected = exhaustive(x.data() + k * n * m, n, m, sign);
          REQUIRE(std::equal(expected.begin(), expected.end(), columns.begin() + k * n));
        }
        // Whole numbers tie, and the sum alone is told; some pairs are forbidden, never all.
        Tensor ties = xt::floor(3 * rng.uniform({20, n, m}));
        const Tensor forbid = rng.uniform({20, n, m});
        for (std::size_t i = 0; i < ties.size(); ++i)
          if (forbid.data()[i] < 0.3 && i / m % n != i % m) ties.data()[i] = -sign * kInf;
        const Columns tied = hungarian(ties, best);
        for (std::size_t k = 0; k < 20; ++k) {
          const Scalar* at = ties.data() + k * n * m;
          const Columns expected = exhaustive(at, n, m, sign);
          REQUIRE(total(at, tied.data() + k * n, n, m) == total(at, expected.data(), n, m));
          Columns sorted(tied.begin() + k * n, tied.begin() + (k + 1) * n);
          std::sort(sorted.begin(), sorted.end());
          REQUIRE(std::adjacent_find(sorted.begin(), sorted.end()) == sorted.end());
        }
      }
}

TEST_CASE("sinkhorn at a low temperature leads to hungarian's matching") {
  Rng rng(2);
  for (std::size_t n : {std::size_t{2}, std::size_t{8}, std::size_t{30}, std::size_t{120}}) {
    CAPTURE(n);
    const std::size_t count = 50;
    Tape tape;
    const Tensor x = rng.normal({count, n, n});
    const Tensor p = sinkhorn(tape.constant(x), 2e-4, Converge{1e-3}).matrices.value();
    const Columns columns = hungarian(x);
    std::size_t apart = 0;
    for (std::size_t r = 0; r < count * n; ++r) {
      const Scalar* row = p.data() + r * n;
      apart += row[columns[r]] < 0.5;
    }
    CHECK(apart == 0);
  }
}

TEST_CASE("a matching is the same whatever is added to a row or a column, and the thread count") {
  Rng rng(3);
  const std::size_t n = 40;
  const Tensor x = rng.normal({30, n, n}), rows = rng.normal({30, n, 1}),
               columns = rng.normal({30, 1, n});
  const Columns expected = hungarian(x);
  CHECK(hungarian(x + 1000 * rows + 1000 * columns) == expected);
  CHECK(hungarian(-x, Best::smallest) == expected);
  set_threads(2);
  CHECK(hungarian(x) == expected);
  set_threads(1);
  // Where all are equal nothing is exchanged.
  Columns same(n);
  std::iota(same.begin(), same.end(), std::size_t{0});
  CHECK(hungarian(ones({n, n})) == same);
  CHECK(hungarian(zeros({0, 3, 3})).empty());
}

TEST_CASE("hungarian with numbers as large and as small as there are") {
  Rng rng(4);
  const Tensor x = rng.normal({20, 5, 5});
  for (double scale : {1e307, 1e290, 1e-290}) {
    CAPTURE(scale);
    const Tensor scaled = scale * x;
    CHECK(hungarian(scaled) == hungarian(x));
  }
}

TEST_CASE("what hungarian refuses") {
  refuses([] { hungarian(zeros({3})); },
          "hungarian: weights are (3,); need (..., n, m) with 1 <= n <= m, a column for each row");
  refuses(
      [] {
        hungarian(zeros({2, 3, 2}));
      },
      "hungarian: weights are (2, 3, 2); need (..., n, m) with 1 <= n <= m, a column for each "
      "row");
  refuses(
      [] {
        hungarian(zeros({0, 2}));
      },
      "hungarian: weights are (0, 2); need (..., n, m) with 1 <= n <= m, a column for each "
      "row");
  refuses(
      [] {
        hungarian(tensor({1, 2, 2}, {1, 2, kNan, 4}));
      },
      "hungarian: the weight in row 1, column 0 of matrix 0 is NaN; need numbers, or -inf for a "
      "forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 2}, {1, kInf, 3, 4}));
      },
      "hungarian: the weight in row 0, column 1 of matrix 0 is +inf; need numbers, or -inf for "
      "a forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 2}, {1, -kInf, 3, 4}), Best::smallest);
      },
      "hungarian: the weight in row 0, column 1 of matrix 0 is -inf; need numbers, or +inf for "
      "a forbidden pair");
  refuses(
      [] {
        hungarian(tensor({2, 3}, {-kInf, -kInf, -kInf, 1, 2, 3}));
      },
      "hungarian: the pairs of matrix 0 that are not -inf leave no matching: row 0 has none; "
      "need one");
  refuses(
      [] {
        hungarian(tensor({3, 3}, {1, kInf, kInf, 2, kInf, kInf, 1, 2, 3}), Best::smallest);
      },
      "hungarian: the pairs of matrix 0 that are not +inf leave no matching: rows 0, 1 have only "
      "one column between them; need one");
}
