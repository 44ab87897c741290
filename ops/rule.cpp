#include "ops/rule.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "engine/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rows.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// Below, logits / tau would leave float's range; so cold a softmax is an argmax anyway.
constexpr double kLeastTau = 1e-20;

// A rule for a temperature: at once for a number, at each step for a schedule.
template <class Make>
Rule with(Temperature tau, const char* name, double least, Make make) {
  const auto checked = [=](double t) {
    if (!(t >= kLeastTau) || std::isinf(t) || t < least)
      throw std::invalid_argument(
          std::string(name) + ": tau is " + str(t) + "; need " +
          (least > 0 || t > 0 ? "at least " + str(std::max(least, kLeastTau)) : "more than 0"));
    Rule rule = make(t);
    rule.name = name;
    return rule;
  };
  if (!tau.scheduled()) return checked(tau.at(0));
  Rule rule = checked(tau.at(0));
  rule.backward = nullptr;
  rule.scheduled = [=](std::size_t step) { return checked(tau.at(step)); };
  return rule;
}

Var over(Var x, double tau) { return tau == 1 ? x : x / tau; }

// A shortcut that works row by row: f(row of the logits with their noise, row of the choice's
// value, row of f', scratch for as many, where to put the gradient, whether to add it).
template <class F>
std::function<void(Arrival&)> by_rows(F f) {
  return [f](Arrival& at) {
    const Tensor &logits = at.in(0).value(), &value = at.out().value();
    const std::size_t k = logits.shape()[logits.dimension() - 1];
    const Scalar* noise = at.inputs() == 2 ? at.in(1).value().data() : nullptr;
    const Scalar* slope = at.numbers().data();
    const auto [to, fresh] = at.sink(0);
    const auto sink = to;
    const bool add = !fresh;
    parallel_for(logits.size() / k, rows_of_grain(k), [&](std::size_t begin, std::size_t end) {
      Tensor scratch = uninitialised({k > kShortRow * kLane ? k : 0});
      for (std::size_t i = begin * k; i < end * k; i += k)
        f(NoisyRow{logits.data() + i, noise ? noise + i : nullptr, k}, value.data() + i, slope + i,
          scratch.data(), sink + i, add);
    });
  };
}

}  // namespace

Rule zero() {
  Rule rule;
  rule.name = "zero";
  rule.reads = Reads::nothing;
  return rule;
}

Rule straight_through(Temperature tau) {
  return with(std::move(tau), "straight-through", 0, [](double t) {
    Rule rule;
    rule.backward = [t](const Draw& draw, Arrival& at) {
      return over(softmax_jacobian(softmax(over(draw.logits, t)), at.gradient()), t);
    };
    rule.shortcut =
        by_rows([tau = static_cast<Scalar>(t)](NoisyRow row, const Scalar*, const Scalar* g,
                                               Scalar* scratch, Scalar* to, bool add) {
          row.noise = nullptr;
          relaxed_jacobian_row(row, g, tau, scratch, to, add);
        });
    return rule;
  });
}

Rule straight_through_identity() {
  return pathwise_rule("straight-through-identity", [](const Draw&, Var g) { return g; });
}

Rule gumbel_softmax(Temperature tau) {
  return with(std::move(tau), "gumbel-softmax", 0, [](double t) {
    Rule rule;
    rule.soft_tau = t;
    rule.backward = [t](const Draw& draw, Arrival& at) {
      return over(softmax_jacobian(draw.value, at.gradient()), t);
    };
    rule.shortcut =
        by_rows([tau = static_cast<Scalar>(t)](const NoisyRow& row, const Scalar* y,
                                               const Scalar* g, Scalar*, Scalar* to, bool add) {
          jacobian_row(y, g, row.n, 1 / tau, to, add);
        });
    return rule;
  });
}

Rule st_gumbel_softmax(Temperature tau) {
  return with(std::move(tau), "st-gumbel-softmax", 0, [](double t) {
    Rule rule;
    rule.backward = [t](const Draw& draw, Arrival& at) {
      return over(softmax_jacobian(softmax(over(draw.logits + draw.noise, t)), at.gradient()), t);
    };
    rule.shortcut =
        by_rows([tau = static_cast<Scalar>(t)](const NoisyRow& row, const Scalar*, const Scalar* g,
                                               Scalar* scratch, Scalar* to, bool add) {
          relaxed_jacobian_row(row, g, tau, scratch, to, add);
        });
    return rule;
  });
}

Rule reinmax(Temperature tau) {
  return with(std::move(tau), "reinmax", 1, [](double t) {
    Rule rule;
    rule.backward = [t](const Draw& draw, Arrival& at) {
      const Var g = at.gradient(), p = softmax(draw.logits),
                p_tau = t == 1 ? p : softmax(draw.logits / t);
      return 2 * softmax_jacobian((p_tau + draw.hard) / 2, g) - softmax_jacobian(p, g) / 2;
    };
    return rule;
  });
}

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

// The cost as one number for each choice, as Arrival::costs() has it, recorded.
Var lined_up(Var cost, const Shape& rows) {
  Shape summed = cost.shape(), aligned = rows;
  for (std::size_t a = 0; a < summed.size(); ++a)
    if (a >= rows.size() || rows[a] == 1) summed[a] = 1;
  for (std::size_t a = 0; a < rows.size(); ++a) aligned[a] = a < summed.size() ? summed[a] : 1;
  return broadcast(reshape(sum_to(cost, summed), aligned), rows);
}

void require_one_cost_a_sample(const Arrival& at, const Shape& rows) {
  for (const Arrival::Fed& fed : at.costs_fed()) {
    const Shape& cost = fed.cost.shape();
    if (!rows.empty() && (cost.empty() || cost[0] != rows[0]))
      throw std::invalid_argument(at.op() + ": a cost is " + str(cost) + ", the choices are " +
                                  str(rows) + "; need one cost a sample, so do not average first");
  }
}

}  // namespace

Rule score_function(Baseline baseline) {
  Rule rule;
  rule.name = baseline.name.empty() ? "score-function" : "score-function+" + baseline.name;
  rule.reads = Reads::costs;
  rule.needs_draw = true;
  rule.needs_repeats = baseline.needs_repeats;
  // The costs of the rows, less the baseline, which comes second.
  const auto weigh = [baseline](Arrival& at, const Shape& rows) {
    Tensor costs = at.costs(rows), less = zeros(rows);
    if (baseline.needs_repeats) require_one_cost_a_sample(at, rows);
    if (baseline.value) less = baseline.value(costs);
    if (less.shape() != costs.shape())
      throw std::logic_error(at.op() + ": the baseline gave " + str(less.shape()) +
                             " for costs of shape " + str(costs.shape()));
    if (baseline.learn && !at.looking()) baseline.learn(costs);
    for (std::size_t i = 0; i < costs.size(); ++i) costs.data()[i] -= less.data()[i];
    return std::make_pair(std::move(costs), std::move(less));
  };
  rule.backward = [weigh](const Draw& draw, Arrival& at) {
    const Shape& shape = draw.logits.shape();
    const Shape rows(shape.begin(), shape.end() - 1);
    // The costs are functions of the parameters, and so is the estimate.
    Var weight = -draw.logits.tape->constant(weigh(at, rows).second, "baseline");
    for (const Arrival::Fed& fed : at.costs_fed())
      weight = weight + lined_up(fed.weight.tape ? fed.cost * fed.weight : fed.cost, rows);
    Shape column = shape;
    column[column.size() - 1] = 1;
    return reshape(weight, column) * (draw.hard - softmax(draw.logits));
  };
  rule.shortcut = [weigh](Arrival& at) {
    const Tensor &logits = at.in(0).value(), &hard = at.out().value();
    const Shape& shape = logits.shape();
    const std::size_t k = shape[shape.size() - 1];
    const Tensor weights = weigh(at, Shape(shape.begin(), shape.end() - 1)).first;
    const auto [to, fresh] = at.sink(0);
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

const std::vector<std::string>& rule_names() {
  static const std::vector<std::string> names = {"zero",
                                                 "score-function",
                                                 "score-function+mean",
                                                 "score-function+leave-one-out",
                                                 "straight-through",
                                                 "straight-through-identity",
                                                 "gumbel-softmax",
                                                 "st-gumbel-softmax",
                                                 "reinmax"};
  return names;
}

Rule rule_named(const std::string& name, Temperature tau) {
  if (name == "zero") return zero();
  if (name == "score-function") return score_function();
  if (name == "score-function+mean") return score_function(running_mean());
  if (name == "score-function+leave-one-out") return score_function(leave_one_out());
  if (name == "straight-through") return straight_through(tau);
  if (name == "straight-through-identity") return straight_through_identity();
  if (name == "gumbel-softmax") return gumbel_softmax(tau);
  if (name == "st-gumbel-softmax") return st_gumbel_softmax(tau);
  if (name == "reinmax") return reinmax(tau);
  std::string all;
  for (const std::string& known : rule_names()) all += (all.empty() ? "" : ", ") + known;
  throw std::invalid_argument("rule_named: '" + name + "'; need one of " + all);
}

Rule pathwise_rule(std::string name, std::function<Var(const Draw&, Var)> formula) {
  Rule rule;
  rule.name = std::move(name);
  rule.backward = [formula = std::move(formula)](const Draw& draw, Arrival& at) {
    return formula(draw, at.gradient());
  };
  return rule;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
