// Private: what k-means and its starts ask of points, and distances in plain loops.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "../engine/require.hpp"
#include "../engine/tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

[[noreturn]] inline void refuse_kmeans(const std::string& given, const std::string& need) {
  refuse("kmeans: ", given, "; need ", need);
}

inline void require_shapes(const Tensor& points, const Tensor& centres) {
  const Shape &x = points.shape(), &c = centres.shape();
  if (x.size() != 2 || c.size() != 2 || x[1] != c[1] || points.size() == 0 || centres.size() == 0)
    refuse_kmeans("points are " + str(x) + ", centres " + str(c),
                  "(n, d) and (k, d), at least 1 of each");
}

inline double largest_size(const Tensor& t) {
  double largest = 0;
  for (Scalar x : t) largest = std::max(largest, std::abs(static_cast<double>(x)));
  return largest;
}

inline void require_finite(const Tensor& t, const char* what) {
  for (std::size_t i = 0; i < t.size(); ++i)
    if (!std::isfinite(t.data()[i]))
      refuse_kmeans(std::string(what) + " " + std::to_string(i / t.shape()[1]) + " has " +
                        (std::isnan(t.data()[i]) ? "NaN" : "an infinite number") + " in column " +
                        std::to_string(i % t.shape()[1]),
                    "finite numbers");
}

// The squares of the distances, and their sum, must be numbers, and not all 0.
inline void require_scale(const Tensor& points, const Tensor& centres) {
  using Limits = std::numeric_limits<Scalar>;
  const std::size_t d = points.shape()[1];
  const double terms = static_cast<double>(points.size());
  const double most = std::sqrt(static_cast<double>(Limits::max()) / (16 * terms));
  const double least =
      std::sqrt(static_cast<double>(Limits::min()) / static_cast<double>(Limits::epsilon()));
  const double largest = std::max(largest_size(points), largest_size(centres));
  if (!(largest <= most))
    refuse_kmeans("a coordinate is " + str(largest) + " in size",
                  "at most " + str(most) + ", for a sum of squares: scale the points");
  double apart = 0;
  for (std::size_t i = 0; i < points.size(); ++i)
    apart = std::max(apart, std::abs(static_cast<double>(points.data()[i]) -
                                     static_cast<double>(points.data()[i % d])));
  if (apart > 0 && apart < least)
    refuse_kmeans("points lie at most " + str(apart) + " apart along any axis",
                  "at least " + str(least) + ", for a sum of squares: scale the points");
}

inline double squared_distance(const double* a, const double* b, std::size_t d) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t j = 0; j < d; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

inline std::vector<double> as_double(const Scalar* from, std::size_t n) { return {from, from + n}; }

// Calls f(i, the point's coordinates in double) for each.
template <class F>
void each_point(const Tensor& points, F f) {
  const std::size_t d = points.shape()[1];
  std::vector<double> x(d);
  for (std::size_t i = 0; i < points.shape()[0]; ++i) {
    std::copy_n(points.data() + i * d, d, x.begin());
    f(i, x.data());
  }
}

inline Tensor rows_of(const Tensor& t, const std::vector<std::size_t>& rows) {
  const std::size_t d = t.shape()[1];
  Tensor some = uninitialised({rows.size(), d});
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(t.data() + rows[i] * d, d, some.data() + i * d);
  return some;
}

ARGTAPE_END
