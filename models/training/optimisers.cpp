#include "models/training/optimisers.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "engine/require.hpp"
#include "engine/simd/lane.hpp"
#include "engine/system/parallel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

using Limits = std::numeric_limits<Scalar>;

void require_setting(const char* op, const char* what, double x, double least) {
  require(x >= least && x <= static_cast<double>(Limits::max()), op, ": ", what, " is ", x,
          "; need more than 0, and a number that Scalar can hold");
}

void require_share(const char* op, const char* what, double x) {
  require(x >= 0 && x < 1, op, ": ", what, " is ", x, "; need 0 <= ", what, " < 1");
}

// What an update of parameter i refuses, after the fact.
[[noreturn]] void refuse_update(const char* op, std::size_t i, const Tensor& parameter,
                                const Tensor& gradient, double rate) {
  for (const auto& [what, t] :
       {std::pair{"the gradient of parameter ", &gradient}, std::pair{"parameter ", &parameter}}) {
    const auto bad = std::find_if(t->begin(), t->end(), [](Scalar x) { return !std::isfinite(x); });
    if (bad != t->end())
      refuse(op, ": ", what, i, " is ", static_cast<double>(*bad), " at ",
             static_cast<std::size_t>(bad - t->begin()), "; need finite numbers");
  }
  refuse(op, ": a step at rate ", rate, " takes parameter ", i,
         " out of Scalar's range; need a lower rate");
}

bool finite(Lane x) { return xsimd::all(xsimd::abs(x) <= Lane(Limits::max())); }

// update(k, count, load, store) for each lane of n numbers, the first of them k. It says whether
// all are finite that it stored; false if one update did.
template <class Update>
bool each_lane(std::size_t n, Update update) {
  std::atomic<bool> all{true};
  parallel_for(n, kGrain / 2, [&](std::size_t begin, std::size_t end) {
    const Update here = update;  // its numbers stay in registers
    bool fine = true;
    std::size_t k = begin;
    for (; k + kLane <= end; k += kLane)
      fine &= here(
          k, kLane, [](const Scalar* from) { return Lane::load_unaligned(from); },
          [](Lane x, Scalar* to) { x.store_unaligned(to); });
    const std::size_t left = end - k;
    if (left > 0)
      fine &= here(
          k, left, [=](const Scalar* from) { return load_some(from, left); },
          [=](Lane x, Scalar* to) { store_some(x, to, left); });
    if (!fine) all = false;
  });
  return all;
}

struct AdamRates {
  Scalar rate, unbias, epsilon, b1, c1, b2, c2, decay;
};

// Adam's update where a square is out of range, though its root need not be. `mean` is null where
// none is kept.
[[gnu::cold, gnu::noinline]] bool one_by_one(AdamRates by, const Scalar* g, Scalar* mean,
                                             Scalar* root, Scalar* weight, std::size_t count) {
  bool fine = true;
  for (std::size_t k = 0; k < count; ++k) {
    const Scalar m = mean ? by.b1 * mean[k] + by.c1 * g[k] : g[k],
                 v = std::hypot(std::sqrt(by.b2) * root[k], std::sqrt(by.c2) * g[k]),
                 w = weight[k] - by.rate * (m / (v * by.unbias + by.epsilon)) -
                     by.decay * weight[k];
    if (std::isfinite(v) && std::isfinite(w)) {
      if (mean) mean[k] = m;
      root[k] = v, weight[k] = w;
    } else {
      fine = false;
    }
  }
  return fine;
}

// That they are the parameters of the steps before.
void check(const char* op, const std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
           const std::vector<Tensor>& state) {
  const std::size_t n = parameters.size();
  // Called in each step: no words before they are needed.
  if (n != on_tape.size())
    refuse(op, ": ", n, " parameters, ", on_tape.size(),
           " of them on the tape; need as many of each");
  const std::vector<Tensor>& before = state.empty() ? parameters : state;
  if (before.size() != n)
    refuse(op, ": ", n, " parameters, ", before.size(),
           " in the steps before; need the same ones in each step");
  for (std::size_t i = 0; i < n; ++i)
    if (parameters[i].shape() != on_tape[i].shape() || parameters[i].shape() != before[i].shape())
      refuse(op, ": parameter ", i, " is ", parameters[i].shape(), ", on the tape ",
             on_tape[i].shape(), ", in the steps before ", before[i].shape(),
             "; need the same shape");
}

// A parameter on the tape, and where it belongs.
struct Place {
  std::uint32_t index;
  const ParameterGroup* group;
  std::size_t i;
};

std::vector<Place> places_of(const std::vector<ParameterGroup>& groups) {
  std::vector<Place> places;
  for (const ParameterGroup& group : groups)
    for (std::size_t i = 0; i < group.on_tape.size(); ++i)
      places.push_back({group.on_tape[i].index, &group, i});
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.index < b.index; });
  for (std::size_t k = 1; k < places.size(); ++k)
    require(places[k - 1].index != places[k].index, "step_together: node ", places[k].index,
            " is among the parameters twice; need each of them once");
  return places;
}

}  // namespace

Optimiser::Optimiser(const char* name, const Rate& rate, const std::vector<const char*>& kept)
    : rate(rate.at(0)), name_(name), schedule_(rate) {
  require_setting(name, "rate", this->rate, Limits::min());
  for (const char* what : kept) kept_.push_back({what, {}});
}

void Optimiser::begin(const std::vector<Tensor>& parameters, const std::vector<Var>& on_tape) {
  for (std::size_t i = 1; i < on_tape.size(); ++i)
    require(on_tape[i - 1].index < on_tape[i].index, name_,
            ": parameters on the tape out of order; need them in the order in which they were put "
            "there");
  if (schedule_.scheduled()) rate = schedule_.at(steps_);
  require_setting(name_, "rate", rate, 0);
  bool first = steps_of_.size() != parameters.size();
  for (const auto& [what, tensors] : kept_) {
    check(name_, parameters, on_tape, tensors);
    first |= tensors.empty();
  }
  if (!first) return;
  auto kept = kept_;  // all of them, or none
  for (auto& [what, tensors] : kept)
    for (std::size_t i = tensors.size(); i < parameters.size(); ++i)
      tensors.push_back(zeros(parameters[i].shape()));
  steps_of_.resize(parameters.size());
  kept_ = std::move(kept);
}

void Optimiser::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
                     const Gradients& gradients) {
  for (const Var& v : on_tape) gradients.reached(v);  // refuses another tape's, before any step
  begin(parameters, on_tape);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (gradients.reached(on_tape[i])) update(parameters[i], i, gradients[on_tape[i]]);
  ++steps_;
}

void Optimiser::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
                     Inputs costs) {
  step_together({{*this, parameters, on_tape}}, Inputs(costs.begin(), costs.size()));
}

void step_together(const std::vector<ParameterGroup>& groups, Inputs costs) {
  Tape& tape = tape_of("step", costs);
  for (auto group = groups.begin(); group != groups.end(); ++group) {
    const char* op = group->optimiser.name_;
    for (auto other = groups.begin(); other != group; ++other)
      require(&other->optimiser != &group->optimiser, "step_together: the same ", op,
              " in two groups; need one for each");
    for (const Var& v : group->on_tape) {
      require(v.tape == &tape, op, ": node ", v.index,
              " is on another tape than the costs; need the parameters on the tape that is swept");
      const Node& n = tape.node(v.index);
      require(n.parameter, op, ": node ", v.index, " is ", n.op.name, "; need parameters");
    }
  }
  const std::vector<Place> places = places_of(groups);
  for (const ParameterGroup& group : groups) group.optimiser.begin(group.parameters, group.on_tape);
  backward_and_release(Inputs(costs.begin(), costs.size()), [&](Var p, Tensor& gradient) {
    const auto at = std::lower_bound(places.begin(), places.end(), p.index,
                                     [](const Place& a, std::uint32_t k) { return a.index < k; });
    if (at != places.end() && at->index == p.index)
      at->group->optimiser.update(at->group->parameters[at->i], at->i, gradient);
  });
  for (const ParameterGroup& group : groups) ++group.optimiser.steps_;
}

void Optimiser::archive(Archive& a) {
  std::string of = name_;
  a("optimiser", of);
  require<std::runtime_error>(of == name_, "the state is of ", of, "; need one of ", name_);
  a("rate", rate);
  a("step", steps_);
  a("steps", steps_of_);
  for (auto& [what, tensors] : kept_) {
    if (a.loading()) tensors.clear();  // there are none before the first step
    a(what, tensors);
    require<std::runtime_error>(tensors.size() == steps_of_.size(), "the state has ",
                                tensors.size(), " tensors of ", what, "; need ", steps_of_.size());
  }
}

Sgd::Sgd(Rate rate, double momentum) : Optimiser("Sgd", rate, {"velocity"}), momentum_(momentum) {
  require_share("Sgd", "momentum", momentum);
}

void Sgd::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const Lane m = static_cast<Scalar>(momentum_), r = static_cast<Scalar>(rate);
  Scalar *p = parameter.data(), *v = kept(0, i).data();
  const Scalar* g = gradient.data();
  const bool fine =
      each_lane(parameter.size(), [=](std::size_t k, std::size_t, auto load, auto store) {
        const Lane velocity = m * load(v + k) + load(g + k), weight = load(p + k) - r * velocity;
        if (!finite(weight)) return false;  // and so are those that it comes from
        store(velocity, v + k);
        store(weight, p + k);
        return true;
      });
  if (!fine) refuse_update(name(), i, parameter, gradient, rate);
}

Adam::Adam(const char* name, const Rate& rate, const Settings& settings)
    : Optimiser(name, rate, settings.beta1 > 0 ? std::vector{"root", "mean"} : std::vector{"root"}),
      settings_(settings) {
  // Squares of gradients smaller than that are 0.
  require_setting(name, "epsilon", settings.epsilon, std::sqrt(Limits::min()));
}

Adam::Adam(Rate rate, double beta1, double beta2, double epsilon)
    : Adam("Adam", rate, {beta1, beta2, epsilon, 0, true}) {
  require_share("Adam", "beta1", beta1), require_share("Adam", "beta2", beta2);
}

AdamW::AdamW(Rate rate, double weight_decay, double beta1, double beta2, double epsilon)
    : Adam("AdamW", rate, {beta1, beta2, epsilon, weight_decay, true}) {
  require_share("AdamW", "beta1", beta1), require_share("AdamW", "beta2", beta2);
  require(weight_decay >= 0 && std::isfinite(weight_decay), "AdamW: weight_decay is ", weight_decay,
          "; need a finite number of at least 0");
}

RmsProp::RmsProp(Rate rate, double decay, double epsilon)
    : Adam("RmsProp", rate, {0, decay, epsilon, 0, false}) {
  require_share("RmsProp", "decay", decay);
}

void Adam::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const auto& [beta1, beta2, epsilon, weight_decay, corrected] = settings_;
  const double t = static_cast<double>(steps_of(i) + 1);
  const AdamRates by = {static_cast<Scalar>(corrected ? rate / (1 - std::pow(beta1, t)) : rate),
                        static_cast<Scalar>(corrected ? 1 / std::sqrt(1 - std::pow(beta2, t)) : 1),
                        static_cast<Scalar>(epsilon),
                        static_cast<Scalar>(beta1),
                        static_cast<Scalar>(1 - beta1),
                        static_cast<Scalar>(beta2),
                        static_cast<Scalar>(1 - beta2),
                        static_cast<Scalar>(rate * weight_decay)};
  const Lane r = by.rate, unbias = by.unbias, e = by.epsilon;
  const Lane b1 = by.b1, c1 = by.c1, b2 = by.b2, c2 = by.c2, d = by.decay;
  Scalar *p = parameter.data(), *v = kept(0, i).data(),
         *m = beta1 > 0 ? kept(1, i).data() : nullptr;
  const Scalar* g = gradient.data();
  const bool fine =
      each_lane(parameter.size(), [=](std::size_t k, std::size_t count, auto load, auto store) {
        const Lane slope = load(g + k), before = load(v + k), at = load(p + k);
        const Lane mean = m ? b1 * load(m + k) + c1 * slope : slope,
                   square = b2 * (before * before) + c2 * (slope * slope), root = lane_sqrt(square),
                   weight = at - r * (mean / (root * unbias + e)) - d * at;
        if (!finite(square) || !finite(weight))
          return one_by_one(by, g + k, m ? m + k : m, v + k, p + k, count);
        if (m) store(mean, m + k);
        store(root, v + k);
        store(weight, p + k);
        return true;
      });
  if (!fine) refuse_update(name(), i, parameter, gradient, rate);
  ++steps_of(i);
}

ARGTAPE_END
