#include "ops/gumbel_softmax_density.hpp"

#include <cmath>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void require_arguments(const char* op, Var points, Var logits, Var tau, bool logs) {
  tape_of(op, {points, logits, tau});
  const Shape both = broadcast_shape(op, points.shape(), logits.shape());
  require(!points.shape().empty() && !logits.shape().empty() && both[both.size() - 1] > 0 &&
              points.shape().back() == logits.shape().back(),
          op, ": the points are ", points.shape(), ", the logits ", logits.shape(),
          "; need (..., K) for both");
  require(tau.shape().empty(), op, ": tau is ", tau.shape(), "; need one number");
  const double t = static_cast<double>(tau.item());
  require(t > 0 && std::isfinite(t), op, ": tau is ", t, "; need a finite number above 0");
  for (Scalar x : logits.value())
    require(std::isfinite(x), op, ": the logits have ", static_cast<double>(x),
            "; need finite numbers");
  const std::size_t k = points.shape().back();
  double total = 0;
  for (std::size_t i = 0; i < points.value().size(); ++i) {
    const std::size_t row = i / k;
    const double x = static_cast<double>(points.value().data()[i]);
    require(logs || x > 0, op, ": y has ", x, " in row ", row,
            "; need more than 0, or log y and exp_concrete_log_prob()");
    require(!logs || std::isfinite(x), op, ": log y has ", x, " in row ", row,
            "; need finite numbers");
    total = (i % k ? total : 0) + (logs ? std::exp(x) : x);
    require((i + 1) % k || std::abs(total - 1) <= 0.01, op, ": ", logs ? "e^(log y)" : "y",
            " sums to ", total, " in row ", row, "; need 1");
  }
}

Var log_prob_of_logs(Var log_y, Var logits, Var tau) {
  const double k = static_cast<double>(logits.shape().back());
  return std::lgamma(k) + (k - 1) * log(tau) +
         sum(log_softmax(without_offset(logits) - tau * log_y), -1);
}

}  // namespace

Var gumbel_softmax_log_prob(Var y, Var logits, const Operand& of) {
  const Var tau = together("gumbel_softmax_log_prob", y, logits, of)[2];
  require_arguments("gumbel_softmax_log_prob", y, logits, tau, false);
  const Var log_y = log(y);
  return log_prob_of_logs(log_y, logits, tau) - sum(log_y, -1);
}

Var exp_concrete_log_prob(Var log_y, Var logits, const Operand& of) {
  const Var tau = together("exp_concrete_log_prob", log_y, logits, of)[2];
  require_arguments("exp_concrete_log_prob", log_y, logits, tau, true);
  return log_prob_of_logs(log_y, logits, tau);
}

ARGTAPE_END
