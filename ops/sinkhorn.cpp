#include "ops/sinkhorn.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/assignment_checks.hpp"
#include "ops/kernels/sinkhorn_implicit.hpp"
#include "ops/kernels/sinkhorn_solver.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr double kLeastTau = 1e-20, kFar = 0.05;
constexpr double kLeastTolerance = 32 * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
constexpr std::size_t kMostIterations = std::size_t{1} << 32;

struct Squares {
  std::size_t count, n, size;
  explicit Squares(const Shape& shape) : n(shape[shape.size() - 1]), size(n * n) {
    count = size_of(shape) / size;
  }
};

void check(const Shape& shape, double tau) {
  const std::size_t r = shape.size();
  if (r < 2 || shape[r - 1] != shape[r - 2] || shape[r - 1] == 0)
    refuse("sinkhorn: logits are ", shape, "; need (..., n, n) with n of at least 1");
  if (!(tau >= kLeastTau) || std::isinf(tau))
    refuse("sinkhorn: tau is ", tau, "; need ",
           (tau > 0 && !std::isinf(tau) ? "at least " + str(kLeastTau)
                                        : "a number above 0, not infinite"));
}

void check(std::size_t iterations) {
  if (iterations < 1 || iterations > kMostIterations)
    refuse("sinkhorn: ", iterations, " iterations; need 1 to ", kMostIterations);
}

// f(begin, end) for the matrices of a batch, on all threads; each call has working memory of its
// own. A number of a matrix takes some dozens of steps, not one.
template <class F>
void over_matrices(const Squares& s, F f) {
  parallel_for(s.count, rows_of_grain(16 * s.size), f);
}

// What both ways of iterating share: solve(solver, system, logits) brings a matrix about and says
// how many iterations it took.
template <class Solve>
Sinkhorn solved(Var logits, double tau, Solve solve, Backward backward) {
  const Squares s(logits.shape());
  const Tensor& x = logits.value();
  for (std::size_t m = 0; m < s.count; ++m)
    check_pairs("sinkhorn", "logit", -std::numeric_limits<Scalar>::infinity(),
                x.data() + m * s.size, s.n, s.n, m);
  Tensor p = uninitialised(x.shape()), residuals = uninitialised({s.count});
  std::vector<std::size_t> taken(s.count);
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornSolver solver(s.n, tau, false);
    SinkhornImplicit system(s.n);
    for (std::size_t m = begin; m < end; ++m) {
      taken[m] = solve(solver, system, x.data() + m * s.size);
      residuals.data()[m] = solver.write(p.data() + m * s.size);
    }
  });
  Sinkhorn result;
  result.tau = tau;
  for (std::size_t m = 0; m < s.count; ++m) {
    const Scalar residual = residuals.data()[m];
    if (!std::isfinite(residual))
      refuse("sinkhorn: logits / tau leave the range of numbers, with tau ", tau,
             "; need smaller logits, or a larger tau");
    result.residual = std::max(result.residual, static_cast<double>(residual));
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
        Var y = ctx.in(0) / tau, t = ctx.gradient() / tau;
        std::vector<Var> p, tangents;
        for (std::size_t k = 0; k < 2 * iterations; ++k) {
          y = log_softmax(y, axis(k));
          p.push_back(exp(y));
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

// y(k, alpha_i + beta_j) for each number k of each matrix, where alpha and beta are those of
// ops/kernels/sinkhorn_implicit.hpp: the products of P and alpha_i + beta_j have the same sums of
// rows and columns as h(k). All in double: where P is all but a permutation, differences are small.
template <class H, class Y>
Tensor fitted(const Tensor& p, H h, Y y) {
  const Squares s(p.shape());
  Tensor to = uninitialised(p.shape());
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornImplicit system(s.n);
    std::vector<double, CachingAllocator<double>> both(2 * s.n);
    double *alpha = both.data(), *beta = alpha + s.n;
    for (std::size_t m = begin * s.size; m < end * s.size; m += s.size) {
      std::fill(both.begin(), both.end(), 0.0);
      for (std::size_t i = 0, k = m; i < s.n; ++i)
        for (std::size_t j = 0; j < s.n; ++j, ++k) {
          const double v = h(k);
          alpha[i] += v;
          beta[j] += v;
        }
      system.solve(p.data() + m, alpha, beta);
      for (std::size_t i = 0, k = m; i < s.n; ++i)
        for (std::size_t j = 0; j < s.n; ++j, ++k)
          to.data()[k] = static_cast<Scalar>(y(k, alpha[i] + beta[j]));
    }
  });
  return to;
}

// A tensor's numbers, in double.
auto wide(const Tensor& t) {
  return [from = t.data()](std::size_t k) { return static_cast<double>(from[k]); };
}

// alpha_i + beta_j for the sums of h: linear in h and symmetric.
Var marginal_fit(Var p, Var h) {
  Tensor fit = fitted(p.value(), wide(h.value()), [](std::size_t, double fit) { return fit; });
  return p.tape->record("marginal_fit", {p, h}, std::move(fit), [](BackwardContext& ctx) {
    const Var back = marginal_fit(ctx.in(0), ctx.gradient());
    if (ctx.wants(0)) ctx.give(0, -back * ctx.out());
    ctx.give(1, back);
  });
}

// dP = P * (dx / tau - du - dv) with du, dv such that the sums stay one; transposed, the gradient
// is P * (g - alpha - beta) / tau with alpha, beta for the sums of P * g. Symmetric, too.
Var sinkhorn_limit_vjp(Var p, Var g, double tau) {
  Tensor to = fitted(
      p.value(), [p = wide(p.value()), g = wide(g.value())](std::size_t k) { return p(k) * g(k); },
      [p = wide(p.value()), g = wide(g.value()), tau](std::size_t k, double fit) {
        return p(k) * (g(k) - fit) / tau;
      });
  return p.tape->record("sinkhorn_limit_vjp", {p, g}, std::move(to), [tau](BackwardContext& ctx) {
    const Var p = ctx.in(0), g = ctx.in(1), u = ctx.gradient();
    const auto rest = [p](Var v) { return v - marginal_fit(p, p * v); };
    if (ctx.wants(0)) ctx.give(0, rest(g) * rest(u) / tau);
    if (ctx.wants(1)) ctx.give(1, sinkhorn_limit_vjp(p, u, tau));
  });
}

}  // namespace

Sinkhorn sinkhorn(Var logits, double tau, std::size_t iterations) {
  tape_of("sinkhorn", {logits});
  check(logits.shape(), tau);
  check(iterations);
  return solved(
      logits, tau,
      [=](SinkhornSolver& solver, SinkhornImplicit&, const Scalar* x) {
        solver.iterate(x, iterations);
        return iterations;
      },
      [=](BackwardContext& ctx) {
        ctx.give(0, sinkhorn_vjp(ctx.in(0), ctx.out().value(), ctx.gradient(), tau, iterations));
      });
}

Sinkhorn sinkhorn(Var logits, double tau, Converge until) {
  tape_of("sinkhorn", {logits});
  check(logits.shape(), tau);
  check(until.most);
  if (!(until.tolerance >= kLeastTolerance && until.tolerance < 1))
    refuse("sinkhorn: the tolerance is ", until.tolerance, "; need at least ", kLeastTolerance,
           " and less than 1");
  Sinkhorn result = solved(
      logits, tau,
      [=](SinkhornSolver& solver, SinkhornImplicit& system, const Scalar* x) {
        return solver.converge(x, until.tolerance, until.most, system);
      },
      [tau](BackwardContext& ctx) {
        ctx.give(0, sinkhorn_limit_vjp(ctx.out(), ctx.gradient(), tau));
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
  const Shape& shape = matrices.shape();
  const std::size_t r = shape.size();
  if (r < 2) refuse("residual: matrices are ", shape, "; need (..., n, m)");
  const std::size_t n = shape[r - 2], m = shape[r - 1], size = n * m;
  double most = 0;
  std::vector<double> columns(m);
  for (std::size_t k = 0; k < matrices.size(); k += size) {
    std::fill(columns.begin(), columns.end(), 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      double row = 0;
      for (std::size_t j = 0; j < m; ++j) {
        const auto p = static_cast<double>(matrices.data()[k + i * m + j]);
        row += p;
        columns[j] += p;
      }
      most = std::max(most, std::abs(row - 1));
    }
    for (double c : columns) most = std::max(most, std::abs(c - 1));
  }
  return most;
}

ARGTAPE_END
