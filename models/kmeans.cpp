#include "models/kmeans.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "models/optimizers.hpp"
#include "ops/choice.hpp"
#include "ops/distance.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

[[noreturn]] void refuse(const std::string& given, const std::string& need) {
  throw std::invalid_argument("kmeans: " + given + "; need " + need);
}

void require_shapes(const Tensor& points, const Tensor& centres) {
  const Shape &x = points.shape(), &c = centres.shape();
  if (x.size() != 2 || c.size() != 2 || x[1] != c[1] || points.size() == 0 || centres.size() == 0)
    refuse("points are " + str(x) + ", centres " + str(c), "(n, d) and (k, d), at least 1 of each");
}

double largest_size(const Tensor& t) {
  double largest = 0;
  for (Scalar x : t) largest = std::max(largest, std::abs(static_cast<double>(x)));
  return largest;
}

void require_finite(const Tensor& t, const char* what) {
  for (std::size_t i = 0; i < t.size(); ++i)
    if (!std::isfinite(t.data()[i]))
      refuse(std::string(what) + " " + std::to_string(i / t.shape()[1]) + " has " +
                 (std::isnan(t.data()[i]) ? "NaN" : "an infinite number") + " in column " +
                 std::to_string(i % t.shape()[1]),
             "finite numbers");
}

// The squares of the distances, and their sum, must be numbers, and not all 0.
void require_scale(const Tensor& points, const Tensor& centres) {
  using Limits = std::numeric_limits<Scalar>;
  const std::size_t d = points.shape()[1];
  const double terms = static_cast<double>(points.size());
  const double most = std::sqrt(static_cast<double>(Limits::max()) / (16 * terms));
  const double least =
      std::sqrt(static_cast<double>(Limits::min()) / static_cast<double>(Limits::epsilon()));
  const double largest = std::max(largest_size(points), largest_size(centres));
  if (!(largest <= most))
    refuse("a coordinate is " + str(largest) + " in size",
           "at most " + str(most) + ", for a sum of squares: scale the points");
  double apart = 0;
  for (std::size_t i = 0; i < points.size(); ++i)
    apart = std::max(apart, std::abs(static_cast<double>(points.data()[i]) -
                                     static_cast<double>(points.data()[i % d])));
  if (apart > 0 && apart < least)
    refuse("points lie at most " + str(apart) + " apart along any axis",
           "at least " + str(least) + ", for a sum of squares: scale the points");
}

void require_problem(const Tensor& points, const Tensor& centres) {
  require_shapes(points, centres);
  if (centres.shape()[0] > points.shape()[0])
    refuse(std::to_string(centres.shape()[0]) + " clusters for " +
               std::to_string(points.shape()[0]) + " points",
           "at most one cluster a point");
  require_finite(points, "point");
  require_finite(centres, "centre");
  require_scale(points, centres);
}

double squared_distance(const double* a, const double* b, std::size_t d) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t j = 0; j < d; ++j) sum += (a[j] - b[j]) * (a[j] - b[j]);
  return sum;
}

std::vector<double> as_double(const Scalar* from, std::size_t n) { return {from, from + n}; }

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

void count(KMeansAssignment& a, std::size_t clusters) {
  a.size.assign(clusters, 0);
  for (std::size_t c : a.nearest) ++a.size[c];
  a.loss = std::accumulate(a.distance.begin(), a.distance.end(), 0.0);
}

// Of a step from centres that kmeans_fill_empty() has seen.
using Advance = Tensor (*)(const Tensor& points, const Tensor& centres,
                           const KMeansAssignment& filled, std::vector<std::size_t>& clusters);

KMeansStep step_by(Advance advance, const Tensor& points, const Tensor& centres) {
  Tensor filled = centres;
  KMeansAssignment now = kmeans_assign(points, centres);
  KMeansStep step;
  step.relocated = kmeans_fill_empty(points, filled, now);
  step.clusters = now.nearest;
  step.centres = advance(points, filled, now, step.clusters);
  return step;
}

Tensor to_means(const Tensor& points, const Tensor& centres, const KMeansAssignment& now,
                std::vector<std::size_t>&) {
  const std::size_t d = points.shape()[1];
  std::vector<double> sums(centres.size());
  each_point(points, [&](std::size_t i, const double* x) {
    double* to = sums.data() + now.nearest[i] * d;
    for (std::size_t j = 0; j < d; ++j) to[j] += x[j];
  });
  Tensor means = centres;
  for (std::size_t i = 0; i < means.size(); ++i)
    if (now.size[i / d] > 0)
      means.data()[i] = static_cast<Scalar>(sums[i] / static_cast<double>(now.size[i / d]));
  return means;
}

Tensor by_newton(const Tensor& points, const Tensor& centres, const KMeansAssignment&,
                 std::vector<std::size_t>& clusters) {
  Tape tape;
  const Var c = tape.parameter(centres, "centres");
  const KMeansGraph graph = kmeans_graph(tape.borrow_constant(points, "points"), c, zero());
  const Var gradient = differentiate(graph.loss, c)[0];
  const Tensor &g = gradient.value(), h = differentiate(sum(gradient), c)[0].value();
  Tensor moved = centres;
  for (std::size_t i = 0; i < moved.size(); ++i)
    if (h.data()[i] > 0) moved.data()[i] -= g.data()[i] / h.data()[i];
  clusters = indices_of(graph.assignment);
  return moved;
}

// Lloyd's algorithm or Newton's method, a step at a time.
class Iteration {
 public:
  Iteration(Advance advance, const Tensor& points, const Tensor& start)
      : advance_(advance), points_(points) {
    run.centres = start;
    note();
  }

  // How many points changed their cluster.
  std::size_t step() {
    const Clock::time_point begin = Clock::now();
    KMeansStep s = step_by(advance_, points_, run.centres);
    run.seconds += seconds_since(begin);
    std::size_t changed = s.clusters.size();
    if (run.iterations > 0)
      for (std::size_t i = 0; i < s.clusters.size(); ++i) changed -= s.clusters[i] == clusters_[i];
    run.stopped = changed == 0;
    run.relocated += s.relocated;
    ++run.iterations;
    run.centres = std::move(s.centres);
    clusters_ = std::move(s.clusters);
    note();
    return changed;
  }

  KMeansRun run;

 private:
  void note() {
    run.end = kmeans_assign(points_, run.centres);
    run.step.push_back(run.iterations);
    run.loss.push_back(run.end.loss);
  }

  Advance advance_;
  const Tensor& points_;
  std::vector<std::size_t> clusters_;
};

KMeansRun iterate(Advance advance, const Tensor& points, const Tensor& start, std::size_t limit) {
  require_problem(points, start);
  Iteration it(advance, points, start);
  while (!it.run.stopped && it.run.iterations < limit) it.step();
  return std::move(it.run);
}

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

Tensor rows_of(const Tensor& t, const std::vector<std::size_t>& rows) {
  const std::size_t d = t.shape()[1];
  Tensor some = uninitialised({rows.size(), d});
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::copy_n(t.data() + rows[i] * d, d, some.data() + i * d);
  return some;
}

}  // namespace

KMeansGraph kmeans_graph(Var points, Var centres, const Rule& rule) {
  require_shapes(points.value(), centres.value());
  KMeansGraph graph;
  graph.distances = squared_distances(points, centres);
  graph.assignment = argmin(graph.distances, rule);
  graph.loss = sum(graph.assignment * graph.distances, {-1});
  return graph;
}

Var kmeans_loss(Var points, Var centres, const Rule& rule) {
  return kmeans_graph(points, centres, rule).loss;
}

std::size_t KMeansAssignment::largest() const {
  return *std::max_element(size.begin(), size.end());
}

std::size_t KMeansAssignment::empty() const {
  return static_cast<std::size_t>(std::count(size.begin(), size.end(), 0));
}

KMeansAssignment kmeans_assign(const Tensor& points, const Tensor& centres) {
  require_shapes(points, centres);
  const std::size_t n = points.shape()[0], k = centres.shape()[0], d = points.shape()[1];
  const std::vector<double> c = as_double(centres.data(), centres.size());
  KMeansAssignment a;
  a.nearest.resize(n);
  a.distance.assign(n, std::numeric_limits<double>::infinity());
  each_point(points, [&](std::size_t i, const double* x) {
    for (std::size_t m = 0; m < k; ++m) {
      const double distance = squared_distance(x, c.data() + m * d, d);
      if (!std::isfinite(distance))
        refuse("point " + std::to_string(i) + " has no distance from centre " + std::to_string(m),
               "finite numbers");
      if (distance < a.distance[i]) {
        a.distance[i] = distance;
        a.nearest[i] = m;
      }
    }
  });
  count(a, k);
  return a;
}

std::size_t kmeans_fill_empty(const Tensor& points, Tensor& centres, KMeansAssignment& now) {
  require_shapes(points, centres);
  if (now.nearest.size() != points.shape()[0] || now.size.size() != centres.shape()[0])
    refuse("an assignment of " + std::to_string(now.nearest.size()) + " points to " +
               std::to_string(now.size.size()) + " centres",
           "the one of these points to these centres");
  const std::size_t d = points.shape()[1];
  for (std::size_t moved = 0;; ++moved) {
    const auto hole = std::find(now.size.begin(), now.size.end(), std::size_t{0});
    const auto farthest = std::max_element(now.distance.begin(), now.distance.end());
    if (hole == now.size.end() || *farthest == 0) return moved;
    const auto m = static_cast<std::size_t>(hole - now.size.begin());
    const Scalar* there =
        points.data() + static_cast<std::size_t>(farthest - now.distance.begin()) * d;
    std::copy_n(there, d, centres.data() + m * d);
    const std::vector<double> c = as_double(there, d);
    each_point(points, [&](std::size_t i, const double* x) {
      const double distance = squared_distance(x, c.data(), d);
      if (distance > now.distance[i] || (distance == now.distance[i] && now.nearest[i] < m)) return;
      now.distance[i] = distance;
      now.nearest[i] = m;
    });
    count(now, now.size.size());
  }
}

KMeansStep kmeans_lloyd_step(const Tensor& points, const Tensor& centres) {
  return step_by(to_means, points, centres);
}

KMeansStep kmeans_newton_step(const Tensor& points, const Tensor& centres) {
  return step_by(by_newton, points, centres);
}

KMeansRun kmeans_lloyd(const Tensor& points, const Tensor& start, std::size_t limit) {
  return iterate(to_means, points, start, limit);
}

KMeansRun kmeans_newton(const Tensor& points, const Tensor& start, std::size_t limit) {
  return iterate(by_newton, points, start, limit);
}

KMeansComparison kmeans_compare(const Tensor& points, const Tensor& start, std::size_t limit) {
  require_problem(points, start);
  Iteration lloyd(to_means, points, start), newton(by_newton, points, start);
  KMeansComparison result;
  for (std::size_t step = 0; step < limit && !(lloyd.run.stopped && newton.run.stopped); ++step) {
    result.changed.push_back(lloyd.run.stopped ? 0 : lloyd.step());
    if (!newton.run.stopped) newton.step();
    const Tensor &l = lloyd.run.centres, &w = newton.run.centres;
    double off = 0;
    for (std::size_t i = 0; i < l.size(); ++i)
      off = std::max(off,
                     std::abs(static_cast<double>(w.data()[i]) - static_cast<double>(l.data()[i])));
    const double size = largest_size(l);
    result.difference.push_back(off);
    result.relative.push_back(off == 0 ? 0 : off / size);
  }
  result.lloyd = std::move(lloyd.run);
  result.newton = std::move(newton.run);
  return result;
}

KMeansRun kmeans_descent(const Tensor& points, const Tensor& start, const KMeansDescent& settings,
                         const std::function<void()>& progress) {
  require_problem(points, start);
  const std::size_t n = points.shape()[0];
  Rng order(settings.seed, 0, 1);
  Sgd sgd(settings.rate);
  Adam adam(settings.rate);
  std::vector<Tensor> centres = {start};
  KMeansRun run;
  std::size_t next = 0;  // when to look at the loss of all points
  const auto note = [&](double loss) {
    run.step.push_back(run.iterations);
    run.loss.push_back(loss);
    next = run.iterations + std::max<std::size_t>(5, run.iterations / 40);
  };
  for (; run.iterations < settings.steps; ++run.iterations) {
    const Rule rule = settings.rule.at(run.iterations);
    const bool known = settings.batch == 0 && rule.soft_tau == 0;
    if (!known && run.iterations == next) note(kmeans_assign(points, centres[0]).loss);
    const Clock::time_point begin = Clock::now();
    if (settings.decays)
      sgd.rate = adam.rate = settings.rate * static_cast<double>(settings.steps - run.iterations) /
                             static_cast<double>(settings.steps);
    Tensor batch;
    if (settings.batch > 0) {
      std::vector<std::size_t> rows(settings.batch);
      for (std::size_t& r : rows) r = order.below(n);
      batch = rows_of(points, rows);
    }
    const Tensor& x = settings.batch > 0 ? batch : points;
    Tape tape;
    const std::vector<Var> c = tape.borrow_parameters(centres);
    const Var loss = kmeans_loss(tape.borrow_constant(x, "points"), c[0], rule);
    if (known) {
      const std::vector<double> each = as_double(loss.value().data(), n);
      note(std::accumulate(each.begin(), each.end(), 0.0));
    }
    const Var cost = settings.summed ? loss : loss / static_cast<double>(x.shape()[0]);
    if (settings.by == KMeansDescent::By::adam)
      adam.step(centres, c, cost);
    else
      sgd.step(centres, c, cost);
    run.seconds += seconds_since(begin);
    if (!std::all_of(centres[0].begin(), centres[0].end(),
                     [](Scalar x) { return std::isfinite(x); }))
      refuse("training diverged at step " + std::to_string(run.iterations + 1), "a lower rate");
    if (progress) progress();
  }
  run.centres = centres[0];
  run.end = kmeans_assign(points, run.centres);
  note(run.end.loss);
  return run;
}

std::size_t kmeans_steps_to(const KMeansRun& run, double bound) {
  for (std::size_t i = 0; i < run.loss.size(); ++i)
    if (run.loss[i] <= bound) return run.step[i];
  return kmeans_never;
}

Tensor kmeans_start(const std::string& how, const Tensor& points, std::size_t clusters, Rng& rng,
                    std::size_t tries) {
  if (points.dimension() != 2 || points.size() == 0 || clusters == 0 || tries == 0)
    refuse("points are " + str(points.shape()) + ", for " + std::to_string(clusters) +
               " clusters, in " + std::to_string(tries) + " tries",
           "(n, d), at least 1 of each");
  require_finite(points, "point");
  const std::size_t n = points.shape()[0];
  if (clusters > n)
    refuse(std::to_string(clusters) + " clusters for " + std::to_string(n) + " points",
           "at most one cluster a point");
  const std::size_t distinct = distinct_rows(points);
  if (distinct < clusters)
    refuse(std::to_string(clusters) + " clusters for " + std::to_string(n) + " points of which " +
               std::to_string(distinct) + (distinct == 1 ? " is" : " are") + " distinct",
           "at most one cluster a distinct point");
  if (how != "points" && how != "k-means++" && how != "cube")
    refuse("start '" + how + "'", "points, k-means++ or cube");
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

}  // namespace ARGTAPE_ABI
}  // namespace argtape
