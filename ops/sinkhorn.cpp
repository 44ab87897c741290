#include "ops/sinkhorn.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/assignment_checks.hpp"
#include "ops/kernels/sinkhorn_implicit.hpp"
#include "ops/kernels/sinkhorn_solver.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
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

[[noreturn]] void refuse(const std::string& what) {
  throw std::invalid_argument("sinkhorn: " + what);
}

void check(const Shape& shape, double tau) {
  const std::size_t r = shape.size();
  if (r < 2 || shape[r - 1] != shape[r - 2] || shape[r - 1] == 0)
    refuse("logits are " + str(shape) + "; need (..., n, n) with n of at least 1");
  if (!(tau >= kLeastTau) || std::isinf(tau))
    refuse("tau is " + str(tau) + "; need " +
           (tau > 0 && !std::isinf(tau) ? "at least " + str(kLeastTau)
                                        : "a number above 0, not infinite"));
}

void check(std::size_t iterations) {
  if (iterations < 1 || iterations > kMostIterations)
    refuse(std::to_string(iterations) + " iterations; need 1 to " +
           std::to_string(kMostIterations));
}

void check(const Tensor& logits, const Squares& s) {
  for (std::size_t m = 0; m < s.count; ++m)
    check_pairs("sinkhorn", "logit", -std::numeric_limits<Scalar>::infinity(),
                logits.data() + m * s.size, s.n, s.n, m);
}

// The largest residual of the matrices.
double largest(const Tensor& residuals, double tau) {
  double most = 0;
  for (Scalar r : residuals) {
    if (!std::isfinite(r))
      refuse("logits / tau leave the range of numbers, with tau " + str(tau) +
             "; need smaller logits, or a larger tau");
    most = std::max(most, static_cast<double>(r));
  }
  return most;
}

// The chain of definitions, recorded, and its gradient: for the case that the gradient is to be
// differentiated itself.
Var recorded_gradient(Var x, Var g, double tau, std::size_t iterations) {
  // A leaf as far as the inner sweep is concerned: what lies above x is the outer one's business.
  const Var leaf =
      x.tape->record("sinkhorn logits", {x}, x.value(), [](BackwardContext& ctx) { ctx.pass(0); });
  Var y = leaf / tau;
  for (std::size_t k = 0; k < iterations; ++k) y = log_softmax(log_softmax(y), -2);
  return differentiate({exp(y)}, {leaf}, {g})[0];
}

// (..., 2n) taken apart: alpha_i + beta_j as (..., n, n).
Var row_plus_column(Var w, const Shape& shape) {
  const std::size_t n = shape[shape.size() - 1];
  Shape column = shape, row = shape;
  column[shape.size() - 1] = 1;
  row[shape.size() - 2] = 1;
  return reshape(slice(w, -1, 0, n), column) + reshape(slice(w, -1, n, 2 * n), row);
}

// alpha and beta of ops/kernels/sinkhorn_implicit.hpp, one after the other as r and s are: P is
// (..., n, n), the others (..., 2n). The matrix is symmetric and its null space is the same for all
// P, so the derivative of the solution is, with mu solved for the cotangent, -(mu, mu')(alpha,
// beta).
Var marginals(Var p, Var rs) {
  const Squares s(p.shape());
  Tensor w = uninitialised(rs.shape());
  SinkhornImplicit system(s.n);
  std::vector<double> both(2 * s.n);
  for (std::size_t m = 0; m < s.count; ++m) {
    const Scalar* from = rs.value().data() + 2 * m * s.n;
    double apart = 0;
    for (std::size_t i = 0; i < 2 * s.n; ++i) {
      both[i] = static_cast<double>(from[i]);
      apart += i < s.n ? both[i] : -both[i];
    }
    for (std::size_t i = 0; i < 2 * s.n; ++i)
      both[i] -= (i < s.n ? apart : -apart) / static_cast<double>(2 * s.n);
    system.solve(p.value().data() + m * s.size, both.data(), both.data() + s.n);
    for (std::size_t i = 0; i < 2 * s.n; ++i)
      w.data()[2 * m * s.n + i] = static_cast<Scalar>(both[i]);
  }
  return p.tape->record("marginals", {p, rs}, std::move(w), [](BackwardContext& ctx) {
    const Shape& shape = ctx.in(0).shape();
    const Var mu = marginals(ctx.in(0), ctx.gradient());
    if (ctx.wants(0)) ctx.give(0, -row_plus_column(mu, shape) * row_plus_column(ctx.out(), shape));
    ctx.give(1, mu);
  });
}

// dP = P * (dx / tau - du - dv) with du, dv such that the sums stay one; transposed, the gradient
// is P * (g - alpha - beta) / tau with alpha, beta solving for the sums of P * g.
Var implicit_gradient(Var p, Var g, double tau) {
  const Var d = p * g;
  const Var w = marginals(p, concatenate({sum(d, {-1}), sum(d, {-2})}, -1));
  return p * (g - row_plus_column(w, p.shape())) / tau;
}

void implicit_gradient(const Scalar* p, const Scalar* g, std::size_t n, double tau,
                       SinkhornImplicit& system, double* rs, Scalar* to, bool add) {
  std::fill(rs, rs + 2 * n, 0.0);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      const double d = static_cast<double>(p[i * n + j]) * static_cast<double>(g[i * n + j]);
      rs[i] += d;
      rs[n + j] += d;
    }
  system.solve(p, rs, rs + n);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      const std::size_t k = i * n + j;
      const auto d = static_cast<Scalar>(static_cast<double>(p[k]) *
                                         (static_cast<double>(g[k]) - rs[i] - rs[n + j]) / tau);
      to[k] = add ? to[k] + d : d;
    }
}

// f(begin, end) for the matrices of a batch, on all threads; each call has working memory of its
// own. A number of a matrix takes some dozens of steps, not one.
template <class F>
void over_matrices(const Squares& s, F f) {
  parallel_for(s.count, rows_of_grain(16 * s.size), f);
}

}  // namespace

Sinkhorn sinkhorn(Var logits, double tau, std::size_t iterations) {
  tape_of("sinkhorn", {logits});
  check(logits.shape(), tau);
  check(iterations);
  const Squares s(logits.shape());
  check(logits.value(), s);
  Tensor p = uninitialised(logits.shape()), residuals = uninitialised({s.count});
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornSolver scaling(s.n, tau, false);
    for (std::size_t m = begin; m < end; ++m) {
      scaling.iterate(logits.value().data() + m * s.size, iterations);
      residuals.data()[m] = scaling.write(p.data() + m * s.size);
    }
  });
  Sinkhorn result;
  result.residual = largest(residuals, tau);
  result.iterations = s.count ? iterations : 0;
  result.tau = tau;
  result.matrices = logits.tape->record(
      "sinkhorn", {logits}, std::move(p), [tau, iterations](BackwardContext& ctx) {
        const Var x = ctx.in(0);
        if (ctx.recorded())
          return ctx.give(0, recorded_gradient(x, ctx.gradient(), tau, iterations));
        const Squares s(x.shape());
        const Scalar *p = ctx.out().value().data(), *g = ctx.numbers().data();
        const auto [to, fresh] = ctx.sink(0);
        over_matrices(s, [&, to = to, fresh = fresh](std::size_t begin, std::size_t end) {
          SinkhornSolver scaling(s.n, tau, true);
          for (std::size_t k = begin * s.size; k < end * s.size; k += s.size) {
            scaling.iterate(x.value().data() + k, iterations);
            scaling.backward(p + k, g + k, to + k, !fresh);
          }
        });
      });
  return result;
}

Sinkhorn sinkhorn(Var logits, double tau, Converge until) {
  tape_of("sinkhorn", {logits});
  check(logits.shape(), tau);
  check(until.most);
  if (!(until.tolerance >= kLeastTolerance && until.tolerance < 1))
    refuse("the tolerance is " + str(until.tolerance) + "; need at least " + str(kLeastTolerance) +
           " and less than 1");
  const Squares s(logits.shape());
  check(logits.value(), s);
  Tensor p = uninitialised(logits.shape()), residuals = uninitialised({s.count});
  std::vector<std::size_t> taken(s.count);
  over_matrices(s, [&](std::size_t begin, std::size_t end) {
    SinkhornSolver scaling(s.n, tau, false);
    SinkhornImplicit marginals(s.n);
    for (std::size_t m = begin; m < end; ++m) {
      taken[m] = scaling.converge(logits.value().data() + m * s.size, until.tolerance, until.most,
                                  marginals);
      residuals.data()[m] = scaling.write(p.data() + m * s.size);
    }
  });
  Sinkhorn result;
  result.residual = largest(residuals, tau);
  for (std::size_t t : taken) result.iterations = std::max(result.iterations, t);
  result.tau = tau;
  result.tolerance = until.tolerance;
  result.matrices =
      logits.tape->record("sinkhorn", {logits}, std::move(p), [tau](BackwardContext& ctx) {
        const Var y = ctx.out();
        if (ctx.recorded()) return ctx.give(0, implicit_gradient(y, ctx.gradient(), tau));
        const Squares s(y.shape());
        const Scalar *p = y.value().data(), *g = ctx.numbers().data();
        const auto [to, fresh] = ctx.sink(0);
        over_matrices(s, [&, to = to, fresh = fresh](std::size_t begin, std::size_t end) {
          SinkhornImplicit system(s.n);
          std::vector<double, CachingAllocator<double>> rs(2 * s.n);
          for (std::size_t k = begin * s.size; k < end * s.size; k += s.size)
            implicit_gradient(p + k, g + k, s.n, tau, system, rs.data(), to + k, !fresh);
        });
      });
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
  if (r < 2)
    throw std::invalid_argument("residual: matrices are " + str(shape) + "; need (..., n, m)");
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

}  // namespace ARGTAPE_ABI
}  // namespace argtape
