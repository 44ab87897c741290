#include "models/kmeans.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/sweep.hpp"
#include "models/data/counted.hpp"
#include "models/kmeans_points.hpp"
#include "models/training/optimisers.hpp"
#include "ops/choice.hpp"
#include "ops/distance.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

void require_problem(const Tensor& points, const Tensor& centres) {
  require_shapes(points, centres);
  if (centres.shape()[0] > points.shape()[0])
    refuse_kmeans(
        counted(centres.shape()[0], "cluster") + " for " + counted(points.shape()[0], "point"),
        "at most one cluster a point");
  require_finite(points, "point");
  require_finite(centres, "centre");
  require_scale(points, centres);
}

void count(KMeansAssignment& a, std::size_t clusters) {
  a.size.assign(clusters, 0);
  for (std::size_t c : a.nearest) ++a.size[c];
  a.loss = std::accumulate(a.distance.begin(), a.distance.end(), 0.0);
}

// A step from centres that kmeans_relocate_empty() has seen, `now` being the assignment to them.
using Advance = KMeansStep (*)(const Tensor& points, const Tensor& centres,
                               const KMeansAssignment& now);

KMeansStep step_by(Advance advance, const Tensor& points, Tensor centres, KMeansAssignment now) {
  const std::size_t relocated = kmeans_relocate_empty(points, centres, now);
  KMeansStep step = advance(points, centres, now);
  step.relocated = relocated;
  return step;
}

KMeansStep to_means(const Tensor& points, const Tensor& centres, const KMeansAssignment& now) {
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
  return {std::move(means), now.nearest};
}

KMeansStep by_newton(const Tensor& points, const Tensor& centres, const KMeansAssignment&) {
  Tape tape;
  const Var c = tape.parameter(centres, "centres");
  const KMeansGraph graph = kmeans_graph(tape.borrow_constant(points, "points"), c, zero());
  const Var gradient = differentiate(graph.loss, c)[0];
  const Tensor &g = gradient.value(), h = differentiate(sum(gradient), c)[0].value();
  Tensor moved = centres;
  for (std::size_t i = 0; i < moved.size(); ++i)
    if (h.data()[i] > 0) moved.data()[i] -= g.data()[i] / h.data()[i];
  return {std::move(moved), indices_of(graph.assignment)};
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
    KMeansStep s = step_by(advance_, points_, std::move(run.centres), std::move(run.end));
    std::size_t changed = s.clusters.size();
    if (run.iterations > 0)
      for (std::size_t i = 0; i < s.clusters.size(); ++i) changed -= s.clusters[i] == clusters_[i];
    run.stopped = changed == 0;
    run.relocated += s.relocated;
    ++run.iterations;
    run.centres = std::move(s.centres);
    clusters_ = std::move(s.clusters);
    note();
    run.seconds += seconds_since(begin);
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

}  // namespace

KMeansGraph kmeans_graph(Var points, Var centres, const Rule& rule) {
  require_shapes(points.value(), centres.value());
  KMeansGraph graph;
  graph.distances = squared_distances(points, centres);
  graph.assignment = argmin(graph.distances, rule);
  graph.loss = sum(graph.assignment * graph.distances, -1);
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
        refuse_kmeans(
            "point " + std::to_string(i) + " has no distance from centre " + std::to_string(m),
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

std::size_t kmeans_relocate_empty(const Tensor& points, Tensor& centres, KMeansAssignment& now) {
  require_shapes(points, centres);
  if (now.nearest.size() != points.shape()[0] || now.size.size() != centres.shape()[0])
    refuse_kmeans("an assignment of " + counted(now.nearest.size(), "point") + " to " +
                      counted(now.size.size(), "centre"),
                  "the one of these points to these centres");
  const std::size_t d = points.shape()[1];
  for (std::size_t moved = 0;; ++moved) {
    const auto hole = std::find(now.size.begin(), now.size.end(), std::size_t{0});
    const auto farthest = std::max_element(now.distance.begin(), now.distance.end());
    if (hole == now.size.end() || *farthest == 0) return moved;
    const auto m = static_cast<std::size_t>(hole - now.size.begin());
    const Scalar* there =
        points.data() + static_cast<std::size_t>(farthest - now.distance.begin()) * d;
    const std::vector<double> c = as_double(there, d);
    each_point(points, [&](std::size_t i, const double* x) {
      const double distance = squared_distance(x, c.data(), d);
      if (distance > now.distance[i] || (distance == now.distance[i] && now.nearest[i] < m)) return;
      now.distance[i] = distance;
      now.nearest[i] = m;
    });
    count(now, now.size.size());
    std::copy_n(there, d, centres.data() + m * d);
  }
}

KMeansStep kmeans_lloyd_step(const Tensor& points, const Tensor& centres) {
  return step_by(to_means, points, centres, kmeans_assign(points, centres));
}

KMeansStep kmeans_newton_step(const Tensor& points, const Tensor& centres) {
  return step_by(by_newton, points, centres, kmeans_assign(points, centres));
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
  const auto step = [&] {
    const Rule rule = settings.rule.at(run.iterations);
    const bool known = settings.batch == 0 && rule.soft_tau == 0;
    if (!known && run.iterations == next) note(kmeans_assign(points, centres[0]).loss);
    const Clock::time_point begin = Clock::now();
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
  };
  const auto or_diverged = [&](auto what) {
    try {
      what();
    } catch (const std::invalid_argument& e) {
      if (run.iterations == 0) throw;  // no step was taken yet that could have led here
      refuse_kmeans(
          "training diverged at step " + std::to_string(run.iterations) + " (" + e.what() + ")",
          settings.rule.name == "zero" ? "a lower rate" : "a lower rate or another temperature");
    }
  };
  for (; run.iterations < settings.steps; ++run.iterations) {
    or_diverged(step);
    if (progress) progress();
  }
  run.centres = centres[0];
  or_diverged([&] { run.end = kmeans_assign(points, run.centres); });
  note(run.end.loss);
  return run;
}

std::size_t kmeans_steps_to(const KMeansRun& run, double bound) {
  for (std::size_t i = 0; i < run.loss.size(); ++i)
    if (run.loss[i] <= bound) return run.step[i];
  return kmeans_never;
}

ARGTAPE_END
