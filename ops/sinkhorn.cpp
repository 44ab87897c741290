#include "ops/sinkhorn.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "ops/formula.hpp"
#include "ops/kernels/assignment.hpp"
#include "ops/kernels/laplacian.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/kernels/sinkhorn_solver.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr double kFar = 0.05;
constexpr double kLeastTolerance = 32 * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
constexpr std::size_t kMostIterations = std::size_t{1} << 32;

struct Squares {
  std::size_t count, n, size;
  explicit Squares(const Shape& shape) : n(shape[shape.size() - 1]), size(n * n) {
    count = size_of(shape) / size;
  }
};

// f(begin, end) for the matrices of a batch, on all threads; each call has working memory of its
// own. A number of a matrix takes some dozens of steps, not one.
template <class F>
void over_matrices(const Squares& s, F f) {
  parallel_for(s.count, rows_of_grain(16 * s.size), f);
}

// Throws unless the logits' pairs that are not forbidden leave each matrix a matching: then there
// is a doubly stochastic matrix.
void require_matchings(const Tensor& logits) {
  if (all_finite(logits)) return;
  Tensor pairs = logits;
  for (Scalar& x : pairs)
    if (std::isfinite(x)) x = 0;
  best_columns("sinkhorn", "logit", pairs, Best::largest);
}

// What both ways of iterating share: solve(solver, logits) brings a matrix about, in `most`
// iterations at most, and says how many it took.
template <class Solve>
Sinkhorn solved(Var logits, double tau, std::size_t most, Solve solve, Backward backward) {
  tape_of("sinkhorn", {logits});
  const Shape& shape = logits.shape();
  const std::size_t r = shape.size();
  if (r < 2 || shape[r - 1] != shape[r - 2] || shape[r - 1] == 0)
    refuse("sinkhorn: logits are ", shape, "; need (..., n, n) with n of at least 1");
  require_temperature("sinkhorn", tau);
  if (most < 1 || most > kMostIterations)
    refuse("sinkhorn: ", most, " iterations; need 1 to ", kMostIterations);
  require_matchings(logits.value());
  const Squares s(shape);
  Tensor p = uninitialised(shape);
  std::vector<double> residuals(s.count);
  std::vector<std::size_t> taken(s.count);
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornSolver solver(s.n, tau, false);
    for (std::size_t m = begin; m < end; ++m) {
      taken[m] = solve(solver, logits.value().data() + m * s.size);
      solver.write(p.data() + m * s.size);
      residuals[m] = solver.residual();
    }
  });
  Sinkhorn result;
  result.tau = tau;
  for (std::size_t m = 0; m < s.count; ++m) {
    if (!std::isfinite(residuals[m]))
      refuse("sinkhorn: logits / tau leave the range of numbers, with tau ", tau,
             "; need smaller logits, or a larger tau");
    result.residual = std::max(result.residual, residuals[m]);
    result.iterations = std::max(result.iterations, taken[m]);
  }
  result.matrices = logits.tape->record("sinkhorn", {logits}, std::move(p), std::move(backward));
  return result;
}

// The gradient back through the iterations. Its own derivative goes through the chain of
// definitions, y -> log_softmax(y) along rows and columns in turn: first forwards, with the tangent
// t of y when x moves along u; then backwards, with the gradient a for y and its tangent.
Var sinkhorn_vjp(Var x, const Tensor& p, Var g, double tau, std::size_t iterations) {
  const Squares s(x.shape());
  Tensor to = uninitialised(x.shape());
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornSolver solver(s.n, tau, true);
    for (std::size_t k = begin * s.size; k < end * s.size; k += s.size) {
      solver.iterate(x.value().data() + k, iterations);
      solver.backward(p.data() + k, g.value().data() + k, to.data() + k);
    }
  });
  return x.tape->record(
      "sinkhorn_vjp", {x, g}, std::move(to), [tau, iterations](BackwardContext& ctx) {
        const Var g = ctx.in(1);
        const auto axis = [](std::size_t k) { return k % 2 == 0 ? -1 : -2; };
        // What a column has in common counts for the first rows alone; the columns take it off.
        const Var x = without_offset(ctx.in(0)), rows = x / tau;
        Var y = (x - stop_gradient(max(x, -2, keep_axes))) / tau - logsumexp(rows, -1, keep_axes),
            t = ctx.gradient() / tau;
        std::vector<Var> p, tangents;
        for (std::size_t k = 0; k < 2 * iterations; ++k) {
          if (k > 0) y = log_softmax(y, axis(k));
          p.push_back(k > 0 ? exp(y) : softmax(rows));
          t = t - sum(p[k] * t, {axis(k)}, keep_axes);
          tangents.push_back(t);
        }
        if (ctx.wants(1)) ctx.give(1, p.back() * t);
        if (!ctx.wants(0)) return;
        Var a = g * p.back(), moves = a * t;
        for (std::size_t k = 2 * iterations; k-- > 0;) {
          const Var total = sum(a, {axis(k)}, keep_axes);
          moves = moves - p[k] * (sum(moves, {axis(k)}, keep_axes) + tangents[k] * total);
          a = a - p[k] * total;
        }
        ctx.give(0, moves / tau);
      });
}

// alpha_i + beta_j of ops/kernels/laplacian.hpp: P * (alpha_i + beta_j) has the same sums
// of rows and columns as h. Linear in h and symmetric.
Var marginal_fit(Var p, Var h) {
  const Squares s(p.shape());
  Tensor fit = uninitialised(p.shape());
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    std::vector<double, CachingAllocator<double>> alpha(s.n), beta(s.n);
    for (std::size_t m = begin * s.size; m < end * s.size; m += s.size) {
      fit_marginals(s.n, p.value().data() + m, h.value().data() + m, 0, alpha.data(), beta.data());
      for (std::size_t i = 0, k = m; i < s.n; ++i)
        for (std::size_t j = 0; j < s.n; ++j, ++k)
          fit.data()[k] = static_cast<Scalar>(alpha[i] + beta[j]);
    }
  });
  return p.tape->record("marginal_fit", {p, h}, std::move(fit), [](BackwardContext& ctx) {
    const Var back = marginal_fit(ctx.in(0), ctx.gradient());
    if (ctx.wants(0)) ctx.give(0, -back * ctx.out());
    ctx.give(1, back);
  });
}

}  // namespace

Sinkhorn sinkhorn(Var logits, double tau, std::size_t iterations) {
  return solved(
      logits, tau, iterations,
      [=](SinkhornSolver& solver, const Scalar* x) {
        solver.iterate(x, iterations);
        return iterations;
      },
      [=](BackwardContext& ctx) {
        ctx.give(0, sinkhorn_vjp(ctx.in(0), ctx.out().value(), ctx.gradient(), tau, iterations));
      });
}

Sinkhorn sinkhorn(Var logits, double tau, Converge until) {
  if (!(until.tolerance >= kLeastTolerance && until.tolerance < 1))
    refuse("sinkhorn: the tolerance is ", until.tolerance, "; need at least ", kLeastTolerance,
           " and less than 1");
  Sinkhorn result = solved(
      logits, tau, until.most,
      [=](SinkhornSolver& solver, const Scalar* x) {
        return solver.converge(x, until.tolerance, until.most);
      },
      // dP = P * (dx / tau - du - dv) with du, dv such that the sums stay one; so it is transposed.
      [tau](BackwardContext& ctx) {
        const Var p = ctx.out(), g = ctx.gradient();
        const auto slope = [tau](auto p, auto g, auto fit) { return p * (g - fit) / tau; };
        ctx.give(0, elementwise("sinkhorn_limit_vjp", slope, p, g, marginal_fit(p, p * g)));
      });
  result.tolerance = until.tolerance;
  return result;
}

std::string Sinkhorn::warning() const {
  if (residual <= (tolerance > 0 ? tolerance : kFar)) return "";
  return "sinkhorn: after " + std::to_string(iterations) + " iterations at tau " + str(tau) +
         " a row or column sum misses 1 by " + str(residual) +
         (tolerance > 0 ? ", not " + str(tolerance) : "") +
         "; more iterations or a larger tau bring it closer";
}

double residual(const Tensor& matrices) {
  Shape rows = matrices.shape(), columns = rows;
  const std::size_t r = rows.size();
  if (r < 2) refuse("residual: matrices are ", rows, "; need (..., n, m)");
  rows[r - 1] = columns[r - 2] = 1;
  double most = 0;
  for (const Shape& shape : {rows, columns})
    for (Scalar sum : sum_to(matrices, shape)) {
      const double far = std::abs(static_cast<double>(sum) - 1);
      if (!(far <= most) && !std::isnan(most)) most = far;
    }
  return most;
}

ARGTAPE_END
