#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/rule.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Baseline running_mean(double decay) {
  if (!(decay >= 0 && decay < 1))
    throw std::invalid_argument("running_mean: decay is " + str(decay) + "; need 0 <= decay < 1");
  struct State {
    double mean = 0;
    bool started = false;
  };
  const auto state = std::make_shared<State>();
  return {"mean", [state](const Tensor& costs) { return full(costs.shape(), state->mean); },
          [decay, state](const Tensor& costs) {
            if (costs.size() == 0) return;
            const double now = std::accumulate(costs.begin(), costs.end(), 0.0) /
                               static_cast<double>(costs.size());
            state->mean = state->started ? decay * state->mean + (1 - decay) * now : now;
            state->started = true;
          },
          false};
}

Baseline leave_one_out() {
  return {"leave-one-out",
          [](const Tensor& costs) {
            if (costs.dimension() == 0 || costs.shape()[0] < 2)
              throw std::invalid_argument("leave_one_out: the choices are " + str(costs.shape()) +
                                          "; need at least 2 samples along the first axis");
            Shape one = costs.shape();
            const auto others = static_cast<Scalar>(one[0] - 1);
            one[0] = 1;
            const Tensor total = broadcast_to(sum_to(costs, one), costs.shape());
            Tensor mean = uninitialised(costs.shape());
            for (std::size_t i = 0; i < mean.size(); ++i)
              mean.data()[i] = (total.data()[i] - costs.data()[i]) / others;
            return mean;
          },
          {},
          true};
}

namespace {

// The cost as one number for each choice, as BackwardContext::costs() has it, recorded.
Var lined_up(Var cost, const Shape& rows) {
  Shape summed = cost.shape(), aligned = rows;
  for (std::size_t a = 0; a < summed.size(); ++a)
    if (a >= rows.size() || rows[a] == 1) summed[a] = 1;
  for (std::size_t a = 0; a < rows.size(); ++a) aligned[a] = a < summed.size() ? summed[a] : 1;
  return broadcast(reshape(sum_to(cost, summed), aligned), rows);
}

void require_one_cost_a_sample(const BackwardContext& ctx, const Shape& rows) {
  for (const BackwardContext::DownstreamCost& fed : ctx.downstream_costs()) {
    const Shape& cost = fed.cost.shape();
    if (!rows.empty() && (cost.empty() || cost[0] != rows[0]))
      throw std::invalid_argument(ctx.op() + ": a cost is " + str(cost) + ", the choices are " +
                                  str(rows) + "; need one cost a sample, so do not average first");
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
  rule.reads_noise = baseline.value != nullptr;  // a baseline is a state, or another sample
  // The costs of the rows, less the baseline, which comes second.
  const auto weigh = [baseline](BackwardContext& ctx, const Shape& rows) {
    Tensor costs = ctx.costs(rows), less = zeros(rows);
    if (baseline.needs_multiple_samples) require_one_cost_a_sample(ctx, rows);
    if (baseline.value) less = baseline.value(costs);
    if (less.shape() != costs.shape())
      throw std::logic_error(ctx.op() + ": the baseline gave " + str(less.shape()) +
                             " for costs of shape " + str(costs.shape()));
    if (baseline.learn && !ctx.dry_run()) baseline.learn(costs);
    for (std::size_t i = 0; i < costs.size(); ++i) costs.data()[i] -= less.data()[i];
    return std::make_pair(std::move(costs), std::move(less));
  };
  rule.backward = [weigh](const Draw& draw, BackwardContext& ctx) {
    const Shape rows = rows_of(draw);
    // The costs are functions of the parameters, and so is the estimate.
    Var weight = -draw.logits.tape->constant(weigh(ctx, rows).second, "baseline");
    for (const BackwardContext::DownstreamCost& fed : ctx.downstream_costs())
      weight = weight + lined_up(fed.weight.tape ? fed.cost * fed.weight : fed.cost, rows);
    Shape beside = rows;
    for (std::size_t a = 0; a < draw.decision->axes; ++a) beside.push_back(1);
    return reshape(weight, beside) * draw.decision->score(draw);
  };
  rule.shortcut = [weigh](BackwardContext& ctx) {
    const Tensor &logits = ctx.in(0).value(), &hard = ctx.out().value();
    const Shape& shape = logits.shape();
    const std::size_t k = shape[shape.size() - 1];
    const Tensor weights = weigh(ctx, Shape(shape.begin(), shape.end() - 1)).first;
    const auto [to, fresh] = ctx.sink(0);
    const auto sink = to;
    const bool add = !fresh;
    parallel_for(weights.size(), rows_of_grain(k), [&](std::size_t begin, std::size_t end) {
      Tensor p = uninitialised({k});
      for (std::size_t r = begin; r < end; ++r) {
        const Scalar *l = logits.data() + r * k, *d = hard.data() + r * k;
        Scalar* y = sink + r * k;
        const Lane weight(weights.data()[r]);
        if (k <= kLane) {
          Scalar sum;
          const Lane q = softmax_lane(load_some(l, k, kLowest), 1, sum);
          const Lane g = weight * (load_some(d, k) - q);
          store_some(add ? load_some(y, k) + g : g, y, k);
          continue;
        }
        softmax_row(l, k, p.data());
        map_lanes(
            k, y, add, [=](Lane d, Lane q) { return weight * (d - q); }, d, p.data());
      }
    });
  };
  return rule;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
