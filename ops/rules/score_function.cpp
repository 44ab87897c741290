#include "ops/rules/score_function.hpp"

#include <cmath>
#include <memory>
#include <mutex>
#include <numeric>
#include <utility>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN

Baseline running_mean(double decay) {
  require(decay >= 0 && decay < 1, "running_mean: decay is ", decay, "; need 0 <= decay < 1");
  struct State {
    std::mutex mutex;
    std::vector<double> mean;  // one number, or none yet
  };
  const auto state = std::make_shared<State>();
  state->mean.reserve(1);  // so that learning cannot fail
  return {"mean",
          [state](const Tensor& costs) {
            const std::lock_guard<std::mutex> lock(state->mutex);
            return full(costs.shape(), state->mean.empty() ? 0 : state->mean.front());
          },
          [decay, state](const Tensor& costs) {
            const double now = std::accumulate(costs.begin(), costs.end(), 0.0) /
                               static_cast<double>(costs.size());
            const std::lock_guard<std::mutex> lock(state->mutex);
            if (auto& mean = state->mean; std::isfinite(now))
              mean = {mean.empty() ? now : decay * mean.front() + (1 - decay) * now};
          },
          false, std::shared_ptr<std::vector<double>>(state, &state->mean)};
}

Var mean_of_others(Var costs) {
  const Shape& shape = costs.shape();
  require(!shape.empty() && shape[0] > 1, "leave_one_out: the choices are ", shape,
          "; need at least 2 samples along the first axis");
  const double samples = static_cast<double>(shape[0]);
  if (worst_of(costs.value()) != Worst::finite) {
    // Without differences: an infinite cost is the others' mean, and not its own.
    constexpr double inf = std::numeric_limits<double>::infinity();
    const Var high = equal(costs, inf), low = equal(costs, -inf),
              finite = where(high + low, 0.0, costs);
    const auto others = [](Var x) { return sum(x, 0, keep_axes) - x; };
    return where(others(high), inf, where(others(low), -inf, others(finite) / (samples - 1)));
  }
  const Var apart = costs - slice(costs, 0, 1);  // 0 where all agree
  return costs - (apart - mean(apart, 0, keep_axes)) * (samples / (samples - 1));
}

Baseline leave_one_out() {
  return {"leave-one-out",
          [](const Tensor& costs) {
            Tape tape;
            return mean_of_others(tape.borrow_constant(costs)).value();
          },
          {},
          true};
}

namespace {

void require_cost_for_each_sample(const BackwardContext& ctx, const Shape& rows) {
  if (rows.empty()) return;
  for (const DownstreamCost& fed : ctx.downstream_costs()) {
    const Shape& shape = fed.cost.shape();
    require(!shape.empty() && shape[0] == rows[0], ctx.op(), ": a cost is ", shape,
            ", the choices are ", rows, "; need one cost a sample, so do not average first");
  }
}

}  // namespace

Rule score_function(Baseline baseline) {
  Rule rule;
  rule.name = baseline.name.empty() ? "score-function" : "score-function+" + baseline.name;
  rule.needs = Needs::costs;
  rule.applies_to = AppliesTo::any;
  rule.needs_draw = true;
  rule.needs_multiple_samples = baseline.needs_multiple_samples;
  rule.memory = baseline.memory;
  rule.reads_noise = baseline.value != nullptr;  // a baseline is a state, or another sample
  rule.backward = [baseline](const Draw& draw, BackwardContext& ctx) {
    // The costs are functions of the parameters, and so is the estimate.
    const Shape rows = rows_of(draw, draw.logits);
    Var weight = costs_of(ctx, rows);
    if (baseline.needs_multiple_samples) require_cost_for_each_sample(ctx, rows);
    const Tensor& costs = weight.value();
    if (!ctx.dry_run()) require_numbers(ctx.op(), costs);
    if (baseline.value) {
      Tensor less = baseline.value(costs);
      require<std::logic_error>(less.shape() == costs.shape(), ctx.op(), ": the baseline gave ",
                                less.shape(), " for costs of shape ", costs.shape());
      weight = weight - draw.logits.tape->constant(std::move(less), "baseline");
    }
    if (baseline.learn && !ctx.dry_run())
      ctx.when_swept([learn = baseline.learn, costs] { learn(costs); });
    return draw.decision->score(draw, weight);
  };
  return rule;
}

ARGTAPE_END
