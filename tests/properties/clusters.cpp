// k-means and its steps against plain loops. Points and centres are multiples of a quarter, of
// which many are equal, so that distances are exact and ties are met.
#include <limits>

#include "models/kmeans.hpp"
#include "tests/properties/tables.hpp"

using namespace argtape;

namespace {

struct Clusters {
  std::size_t n, k, dim;
  Tensor points, centres;
  explicit Clusters(Draws& d)
      : n(d.some(8)),
        k(d.some(std::min<std::size_t>(n, 4))),
        dim(d.some(3)),
        points(d.fractions({n, dim}, 4, 2)),
        centres(d.fractions({k, dim}, 4, 2)) {}
  std::string words() const {
    return "\n  points " + str(points, 9) + "\n  centres " + str(centres, 9);
  }
};

double distance(const Clusters& c, const Tensor& centres, std::size_t point, std::size_t centre) {
  double sum = 0;
  for (std::size_t i = 0; i < c.dim; ++i) {
    const auto off =
        static_cast<double>(c.points(point, i)) - static_cast<double>(centres(centre, i));
    sum += off * off;
  }
  return sum;
}
// The first of the nearest.
std::size_t nearest(const Clusters& c, const Tensor& centres, std::size_t point) {
  std::size_t best = 0;
  for (std::size_t j = 1; j < c.k; ++j)
    if (distance(c, centres, point, j) < distance(c, centres, point, best)) best = j;
  return best;
}
std::vector<std::size_t> sizes(const Clusters& c, const Tensor& centres) {
  std::vector<std::size_t> size(c.k, 0);
  for (std::size_t i = 0; i < c.n; ++i) ++size[nearest(c, centres, i)];
  return size;
}

std::string wrong_assignment(Draws& d) {
  const Clusters c(d);
  const KMeansAssignment found = kmeans_assign(c.points, c.centres);
  double loss = 0;
  for (std::size_t i = 0; i < c.n; ++i) {
    const std::size_t best = nearest(c, c.centres, i);
    if (found.nearest[i] != best || found.distance[i] != distance(c, c.centres, i, best))
      return "point " + std::to_string(i) + " is with " + std::to_string(found.nearest[i]) +
             c.words();
    loss += found.distance[i];
  }
  if (found.size != sizes(c, c.centres)) return "sizes" + c.words();
  return std::abs(found.loss - loss) <= 1e-12 * loss ? "" : "loss " + str(found.loss) + c.words();
}

// As long as there is an empty cluster, the lowest goes to the point that is then farthest from its
// centre.
Tensor filled(const Clusters& c, Tensor centres) {
  while (true) {
    const std::vector<std::size_t> size = sizes(c, centres);
    const std::size_t empty =
        static_cast<std::size_t>(std::find(size.begin(), size.end(), 0U) - size.begin());
    const auto away = [&](std::size_t i) {
      return distance(c, centres, i, nearest(c, centres, i));
    };
    std::size_t far = 0;
    for (std::size_t i = 1; i < c.n; ++i)
      if (away(i) > away(far)) far = i;
    if (empty == c.k || away(far) == 0) return centres;
    for (std::size_t i = 0; i < c.dim; ++i) centres(empty, i) = c.points(far, i);
  }
}

// Each centre to the mean of its points, by Lloyd's step and by Newton's.
std::string wrong_step(Draws& d) {
  const Clusters c(d);
  const Tensor begin = filled(c, c.centres);
  for (const bool newton : {false, true}) {
    const KMeansStep step =
        newton ? kmeans_newton_step(c.points, c.centres) : kmeans_lloyd_step(c.points, c.centres);
    for (std::size_t i = 0; i < c.n; ++i)
      if (step.clusters[i] != nearest(c, begin, i))
        return "point " + std::to_string(i) + " is not with the nearest centre" + c.words();
    for (std::size_t j = 0; j < c.k; ++j)
      for (std::size_t i = 0; i < c.dim; ++i) {
        long double sum = 0, count = 0;
        for (std::size_t p = 0; p < c.n; ++p)
          if (step.clusters[p] == j) sum += static_cast<long double>(c.points(p, i)), ++count;
        const long double expected =
            count > 0 ? sum / count : static_cast<long double>(begin(j, i));
        const std::string wrong = plain::apart(step.centres(j, i), {expected, 16});
        if (!wrong.empty())
          return (newton ? "Newton's centre " : "Lloyd's centre ") + std::to_string(j) + wrong +
                 c.words();
      }
  }
  return "";
}

// Each point's loss with the zero rule: its assignment is a constant.
Example loss_example(Draws& d) {
  const Clusters c(d);
  return {{c.points, c.centres},
          [](const std::vector<Var>& v) { return kmeans_loss(v[0], v[1], zero()); },
          [c](const Arrays& x) {
            return plain::made({c.n}, [&](const Shape& at) {
              Number sum;
              const std::size_t centre = nearest(c, c.centres, at[0]);
              for (std::size_t i = 0; i < c.dim; ++i)
                sum += square(x[0].x[at[0] * c.dim + i] - x[1].x[centre * c.dim + i]);
              return sum;
            });
          },
          ""};
}

}  // namespace

TEST_CASE("k-means, its loss and its steps are what they are by definition") {
  for_all("kmeans_assign", wrong_assignment);
  for_all("kmeans_lloyd_step, kmeans_newton_step", wrong_step);
  for_all("kmeans_loss", [](Draws& d) { return plain::wrong_with(loss_example(d), d); });
}
