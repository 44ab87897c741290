// k-means, three ways: the assignment of points to centres as an argmin node, so that gradient
// descent and Newton's method move the centres; and Lloyd's algorithm beside it, without a tape.
// models/kmeans_start.hpp has the centres to start from, models/data/points.hpp reads points from
// files.
//
// Where no point changes its cluster the loss is a sum of squares, so Newton's step is the jump to
// the clusters' means: Lloyd's step.
//
// Elsewhere the loss is called the inertia, or the within-cluster sum of squares. A cell is a set
// of centres with the same assignment of the points; in the plane of the points, that part of it to
// which one centre is the nearest: its Voronoi cell.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../engine/tape.hpp"
#include "../ops/rules/straight_through.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The squared distances d (n, k) of points (n, dim) and centres (k, dim), the assignment D =
/// argmin(d, rule), and each point's loss sum(D * d, -1).
struct KMeansGraph {
  Var distances, assignment, loss;
};
KMeansGraph kmeans_graph(Var points, Var centres, const Rule& rule);

/// Each point's loss, (n,). With zero() the assignment is a constant. gumbel_softmax(tau) makes the
/// assignment softmax(-d / tau), without noise; straight_through(tau) keeps it hard and passes that
/// softmax's derivative back. Throws std::invalid_argument for shapes that do not fit.
Var kmeans_loss(Var points, Var centres, const Rule& rule);

/// Who belongs where.
struct KMeansAssignment {
  std::vector<std::size_t> nearest;  ///< of each point its centre; on ties the first
  std::vector<double> distance;      ///< squared, to that centre
  std::vector<std::size_t> size;     ///< of each cluster
  double loss = 0;                   ///< the sum of the squared distances

  std::size_t largest() const;  ///< the size of the largest cluster
  std::size_t empty() const;    ///< how many have no point
};

/// Plain loops in double, without a tape. Throws std::invalid_argument for shapes that do not fit
/// and for numbers that are not finite, naming the point.
KMeansAssignment kmeans_assign(const Tensor& points, const Tensor& centres);

/// What is done about empty clusters, by Lloyd's steps and by Newton's alike: one after the other,
/// the lowest first, each has its centre moved onto the point that is then farthest from its
/// nearest centre, and the points nearer to it than to theirs join it (on ties the first centre has
/// them). The loss falls each time.
/// When every point lies on a centre, there being fewer distinct points than centres, the rest stay
/// empty and where they are. `now` is the assignment to the centres, before and after. Returns how
/// often a centre was moved.
std::size_t kmeans_relocate_empty(const Tensor& points, Tensor& centres, KMeansAssignment& now);

/// A step of Lloyd's algorithm, or of Newton's method.
struct KMeansStep {
  Tensor centres;                     ///< after the step
  std::vector<std::size_t> clusters;  ///< what the step took each point to belong to
  std::size_t relocated = 0;          ///< centres of empty clusters, moved before the step
};

/// Each centre to the mean of its points, in double (S. Lloyd, "Least squares quantization in PCM",
/// IEEE Transactions on Information Theory, 1982). Empty clusters are filled first.
KMeansStep kmeans_lloyd_step(const Tensor& points, const Tensor& centres);

/// centres - gradient / (diagonal of the Hessian), both differentiated by the engine through
/// argmin(d, zero()). In a cell of constant assignment the Hessian is diagonal, 2 (points of the
/// cluster), so that its row sums are its diagonal: differentiate(sum(gradient), centres). Empty
/// clusters are filled first; one that cannot be has a Hessian of 0, and stays.
KMeansStep kmeans_newton_step(const Tensor& points, const Tensor& centres);

/// How a method went from its start.
struct KMeansRun {
  Tensor centres;
  KMeansAssignment end;
  std::size_t iterations = 0;     ///< steps
  bool stopped = false;           ///< the last step changed nobody's cluster
  std::vector<std::size_t> step;  ///< the steps after which the loss was noted; the first is 0
  std::vector<double> loss;       ///< of all points, hard, then
  std::size_t relocated = 0;      ///< centres of empty clusters that were moved
  double seconds = 0;             ///< in the steps, not in looks at the loss that they do not need
};

/// Steps until one finds every point in the cluster where the step before found it; that one, which
/// changes nothing, is counted. At most `limit` steps. Throws std::invalid_argument for shapes that
/// do not fit, more centres than points, numbers that are not finite, and points so far apart, or
/// so near, that the library's Scalar cannot hold the sum of their squared distances.
KMeansRun kmeans_lloyd(const Tensor& points, const Tensor& start, std::size_t limit = 300);
KMeansRun kmeans_newton(const Tensor& points, const Tensor& start, std::size_t limit = 300);

/// Both from the same start, each on its own, and after each step how far apart they are.
struct KMeansComparison {
  KMeansRun lloyd, newton;
  std::vector<double>
      difference;                ///< the largest |newton - lloyd| of a coordinate, after each step
  std::vector<double> relative;  ///< the same over Lloyd's largest |coordinate|
  std::vector<std::size_t> changed;  ///< points that changed their cluster, Lloyd's
};
KMeansComparison kmeans_compare(const Tensor& points, const Tensor& start, std::size_t limit = 300);

/// Gradient descent on the mean loss of all points, or of a batch drawn anew for each step.
struct KMeansDescent {
  enum class By { sgd, adam };
  By by = By::sgd;
  Rate rate = 0.5;  ///< for Adam take about a hundredth of the points' spread
  std::size_t steps = 1000;
  std::size_t batch = 0;  ///< points in a step, drawn with replacement; 0: all
  bool summed = false;    ///< the batch's sum in place of its mean
  Rule rule = zero();
  std::uint64_t seed = 1;
};

/// The centre of an empty cluster gets no gradient and stays; nothing is relocated. The loss is
/// noted at each step that computes it anyway (all points, hard), else at every fifth up to 200,
/// and then ever more rarely.
/// `progress`, if given, is called after each step. Throws as kmeans_lloyd() does, and when
/// training diverges.
KMeansRun kmeans_descent(const Tensor& points, const Tensor& start, const KMeansDescent& settings,
                         const std::function<void()>& progress = {});

/// The first step noted with a loss of at most `bound`; kmeans_never if there is none.
constexpr std::size_t kmeans_never = static_cast<std::size_t>(-1);
std::size_t kmeans_steps_to(const KMeansRun& run, double bound);

ARGTAPE_END
