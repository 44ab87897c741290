#include "ops/gumbel_softmax_density.hpp"

#include <cmath>
#include <string>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void require_simplex(const char* op, const Tensor& points, bool logs) {
  const std::size_t k = points.shape()[points.dimension() - 1];
  for (std::size_t r = 0; r < points.size() / k; ++r) {
    const Scalar* row = points.data() + r * k;
    double total = 0;
    for (std::size_t i = 0; i < k; ++i) {
      const double x = static_cast<double>(row[i]);
      if (!logs && !(x > 0))
        refuse(op, ": y has ", x, " in row ", r,
               "; need more than 0, or log y and exp_concrete_log_prob()");
      if (logs && !std::isfinite(x))
        refuse(op, ": log y has ", x, " in row ", r, "; need finite numbers");
      total += logs ? std::exp(x) : x;
    }
    if (!(std::abs(total - 1) <= 0.01))
      refuse(op, ": ", logs ? "e^(log y)" : "y", " sums to ", total, " in row ", r, "; need 1");
  }
}

void require_arguments(const char* op, Var points, Var logits, Var tau, bool logs) {
  tape_of(op, {points, logits, tau});
  const Shape both = broadcast_shape(op, points.shape(), logits.shape());
  if (points.shape().empty() || logits.shape().empty() || both[both.size() - 1] == 0 ||
      points.shape().back() != logits.shape().back())
    refuse(op, ": the points are ", points.shape(), ", the logits ", logits.shape(),
           "; need (..., K) for both");
  if (!tau.shape().empty()) refuse(op, ": tau is ", tau.shape(), "; need one number");
  const double t = static_cast<double>(tau.item());
  if (!(t > 0) || std::isinf(t)) refuse(op, ": tau is ", t, "; need more than 0");
  for (Scalar x : logits.value())
    if (!std::isfinite(x))
      refuse(op, ": the logits have ", static_cast<double>(x), "; need finite numbers");
  require_simplex(op, points.value(), logs);
}

Var log_prob_of_logs(Var log_y, Var logits, Var tau) {
  const double k = static_cast<double>(logits.shape().back());
  return std::lgamma(k) + (k - 1) * log(tau) + sum(log_softmax(logits - tau * log_y), -1);
}

}  // namespace

Var gumbel_softmax_log_prob(Var y, Var logits, Var tau) {
  require_arguments("gumbel_softmax_log_prob", y, logits, tau, false);
  const Var log_y = log(y);
  return log_prob_of_logs(log_y, logits, tau) - sum(log_y, -1);
}

Var exp_concrete_log_prob(Var log_y, Var logits, Var tau) {
  require_arguments("exp_concrete_log_prob", log_y, logits, tau, true);
  return log_prob_of_logs(log_y, logits, tau);
}

Var gumbel_softmax_log_prob(Var y, Var logits, double tau) {
  return gumbel_softmax_log_prob(y, logits, y.tape->constant(tau));
}

Var exp_concrete_log_prob(Var log_y, Var logits, double tau) {
  return exp_concrete_log_prob(log_y, logits, log_y.tape->constant(tau));
}

ARGTAPE_END
