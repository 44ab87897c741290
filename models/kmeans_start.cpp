#include "models/kmeans_start.hpp"

#include <algorithm>
#include <cstdint>

#include "models/data/counted.hpp"
#include "models/kmeans.hpp"
#include "models/kmeans_points.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

bool same_row(const Tensor& t, std::size_t i, const Scalar* other) {
  const std::size_t d = t.shape()[1];
  return std::equal(other, other + d, t.data() + i * d);
}

std::size_t distinct_rows(const Tensor& t) {
  const std::size_t n = t.shape()[0], d = t.shape()[1];
  std::vector<const Scalar*> rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = t.data() + i * d;
  std::sort(rows.begin(), rows.end(), [d](const Scalar* a, const Scalar* b) {
    return std::lexicographical_compare(a, a + d, b, b + d);
  });
  std::size_t distinct = 1;
  for (std::size_t i = 1; i < n; ++i) distinct += !std::equal(rows[i], rows[i] + d, rows[i - 1]);
  return distinct;
}

bool among(const Tensor& points, const std::vector<std::size_t>& rows, std::size_t i) {
  const Scalar* x = points.data() + i * points.shape()[1];
  return std::any_of(rows.begin(), rows.end(),
                     [&](std::size_t r) { return same_row(points, r, x); });
}

std::vector<std::size_t> random_rows(const Tensor& points, std::size_t clusters, Rng& rng) {
  std::vector<std::size_t> rows;
  for (std::size_t i : rng.permutation(points.shape()[0]))
    if (rows.size() < clusters && !among(points, rows, i)) rows.push_back(i);
  return rows;
}

std::vector<std::size_t> plus_plus_rows(const Tensor& points, std::size_t clusters, Rng& rng) {
  const std::size_t n = points.shape()[0], d = points.shape()[1];
  std::vector<std::size_t> rows = {rng.below(n)};
  std::vector<double> weight(n, std::numeric_limits<double>::infinity());
  for (;;) {
    const std::vector<double> last = as_double(points.data() + rows.back() * d, d);
    double total = 0;
    each_point(points, [&](std::size_t i, const double* x) {
      weight[i] = std::min(weight[i], squared_distance(x, last.data(), d));
      total += weight[i];
    });
    if (rows.size() == clusters) return rows;
    constexpr std::uint64_t fine = std::uint64_t{1} << 53U;
    double left = total * static_cast<double>(rng.below(fine)) / static_cast<double>(fine);
    std::size_t chosen = n;
    for (std::size_t i = 0; i < n && left >= 0; ++i) {
      if (weight[i] == 0) continue;
      chosen = i;
      left -= weight[i];
    }
    // Distinct points may lie so near that the square of their distance is 0.
    for (std::size_t i = 0; chosen == n; ++i)
      if (!among(points, rows, i)) chosen = i;
    rows.push_back(chosen);
  }
}

Tensor in_the_box(const Tensor& points, std::size_t clusters, Rng& rng) {
  const std::size_t d = points.shape()[1];
  std::vector<Scalar> low(points.data(), points.data() + d), high = low;
  for (std::size_t i = 0; i < points.size(); ++i) {
    low[i % d] = std::min(low[i % d], points.data()[i]);
    high[i % d] = std::max(high[i % d], points.data()[i]);
  }
  Tensor centres = rng.uniform({clusters, d});
  for (std::size_t i = 0; i < centres.size(); ++i)
    centres.data()[i] = low[i % d] + (high[i % d] - low[i % d]) * centres.data()[i];
  return centres;
}

}  // namespace

Tensor kmeans_start(const std::string& how, const Tensor& points, std::size_t clusters, Rng& rng,
                    std::size_t tries) {
  if (points.dimension() != 2 || points.size() == 0 || clusters == 0 || tries == 0)
    refuse_kmeans("points are " + str(points.shape()) + ", for " + counted(clusters, "cluster") +
                      ", in " + std::to_string(tries) + (tries == 1 ? " try" : " tries"),
                  "(n, d), at least 1 of each");
  require_finite(points, "point");
  require_scale(points, points);
  const std::size_t n = points.shape()[0];
  if (clusters > n)
    refuse_kmeans(counted(clusters, "cluster") + " for " + counted(n, "point"),
                  "at most one cluster a point");
  const std::size_t distinct = distinct_rows(points);
  if (distinct < clusters)
    refuse_kmeans(counted(clusters, "cluster") + " for " + counted(n, "point") + " of which " +
                      std::to_string(distinct) + (distinct == 1 ? " is" : " are") + " distinct",
                  "at most one cluster a distinct point");
  if (how != "points" && how != "k-means++" && how != "cube")
    refuse_kmeans("start '" + how + "'", "points, k-means++ or cube");
  Tensor best;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < tries; ++i) {
    Tensor centres = how == "points"      ? rows_of(points, random_rows(points, clusters, rng))
                     : how == "k-means++" ? rows_of(points, plus_plus_rows(points, clusters, rng))
                                          : in_the_box(points, clusters, rng);
    if (tries == 1) return centres;
    const double loss = kmeans_assign(points, centres).loss;
    if (loss >= least) continue;
    least = loss;
    best = std::move(centres);
  }
  return best;
}

ARGTAPE_END
