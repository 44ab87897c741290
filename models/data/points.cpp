#include "models/data/points.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "models/data/number_table.hpp"

ARGTAPE_PUBLIC_BEGIN

Tensor read_points(const std::string& path) {
  return numbers_of(read_number_table(path, "a CSV or NumPy file of points"), path, "point");
}

Tensor separated_points(std::size_t n, std::size_t d, std::size_t clusters, double spread,
                        Rng& rng) {
  if (n == 0 || d == 0 || clusters == 0 || !(spread >= 0 && std::isfinite(spread)))
    refuse("separated_points: ", n, " points in ", d, " dimensions around ", clusters,
           " centres, with spread ", spread,
           "; need at least 1 of each, and a finite spread of 0 or more");
  const Tensor centres = rng.uniform({clusters, d});
  Tensor points = rng.normal({n, d});
  for (std::size_t i = 0; i < points.size(); ++i)
    points.data()[i] = centres.data()[i / d % clusters * d + i % d] +
                       static_cast<Scalar>(spread) * points.data()[i];
  return points;
}

ARGTAPE_END
