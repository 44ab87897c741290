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
  parallel_for(n, kGrain, [&](std::size_t begin, std::size_t end) {
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
  Scalar rate, unbias, epsilon, b1, c1, b2, c2;
};

// Adam's update where a square is out of range, though its root need not be.
[[gnu::cold, gnu::noinline]] bool one_by_one(AdamRates by, const Scalar* g, Scalar* mean,
                                             Scalar* root, Scalar* weight, std::size_t count) {
  bool fine = true;
  for (std::size_t k = 0; k < count; ++k) {
    const Scalar m = by.b1 * mean[k] + by.c1 * g[k],
                 v = std::hypot(std::sqrt(by.b2) * root[k], std::sqrt(by.c2) * g[k]),
                 w = weight[k] - by.rate * (m / (v * by.unbias + by.epsilon));
    if (std::isfinite(v) && std::isfinite(w))
      mean[k] = m, root[k] = v, weight[k] = w;
    else
      fine = false;
  }
  return fine;
}

// One zero tensor for each parameter, at the first step; the same parameters later.
void prepare(const char* op, const std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
             std::vector<Tensor>& state) {
  const std::size_t n = parameters.size();
  // Called in each step: no words before they are needed.
  if (n != on_tape.size())
    refuse(op, ": ", n, " parameters, ", on_tape.size(),
           " of them on the tape; need as many of each");
  if (state.empty())
    for (const Tensor& p : parameters) state.push_back(zeros(p.shape()));
  if (state.size() != n)
    refuse(op, ": ", n, " parameters, ", state.size(),
           " in the steps before; need the same ones in each step");
  for (std::size_t i = 0; i < n; ++i)
    if (parameters[i].shape() != on_tape[i].shape() || parameters[i].shape() != state[i].shape())
      refuse(op, ": parameter ", i, " is ", parameters[i].shape(), ", on the tape ",
             on_tape[i].shape(), ", in the steps before ", state[i].shape(),
             "; need the same shape");
}

// One sweep, and update(i, gradient) for each parameter when its own is complete.
template <class Update>
void sweep_and_update(const char* op, const std::vector<Var>& on_tape, const Inputs& costs,
                      Update update) {
  for (std::size_t i = 1; i < on_tape.size(); ++i)
    require(on_tape[i - 1].index < on_tape[i].index, op,
            ": parameters on the tape out of order; need them in the order in which they were put "
            "there");
  backward_and_release(Inputs(costs), [&](Var p, Tensor& gradient) {
    const auto at = std::lower_bound(on_tape.begin(), on_tape.end(), p.index,
                                     [](Var v, std::uint32_t index) { return v.index < index; });
    if (at != on_tape.end() && at->index == p.index)
      update(static_cast<std::size_t>(at - on_tape.begin()), gradient);
  });
}

}  // namespace

Sgd::Sgd(double rate, double momentum) : rate(rate), momentum_(momentum) {
  require_setting("Sgd", "rate", rate, Limits::min());
  require(momentum >= 0 && momentum < 1, "Sgd: momentum is ", momentum, "; need 0 <= momentum < 1");
}

void Sgd::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
               const Gradients& gradients) {
  prepare("Sgd", parameters, on_tape, velocity_);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (gradients.reached(on_tape[i])) update(parameters[i], i, gradients[on_tape[i]]);
}

void Sgd::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs) {
  prepare("Sgd", parameters, on_tape, velocity_);
  sweep_and_update("Sgd", on_tape, costs,
                   [&](std::size_t i, const Tensor& g) { update(parameters[i], i, g); });
}

void Sgd::archive(Archive& a) {
  a("rate", rate);
  a("velocity", velocity_);
}

void Sgd::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const Lane m = static_cast<Scalar>(momentum_), r = static_cast<Scalar>(rate);
  Scalar *p = parameter.data(), *v = velocity_[i].data();
  const Scalar* g = gradient.data();
  const bool fine =
      each_lane(parameter.size(), [=](std::size_t k, std::size_t, auto load, auto store) {
        const Lane velocity = m * load(v + k) + load(g + k), weight = load(p + k) - r * velocity;
        if (!finite(weight)) return false;  // and so are those that it comes from
        store(velocity, v + k);
        store(weight, p + k);
        return true;
      });
  if (!fine) refuse_update("Sgd", i, parameter, gradient, rate);
}

Adam::Adam(double rate, double beta1, double beta2, double epsilon)
    : rate(rate), beta1_(beta1), beta2_(beta2), epsilon_(epsilon) {
  require_setting("Adam", "rate", rate, Limits::min());
  // Squares of gradients smaller than that are 0.
  require_setting("Adam", "epsilon", epsilon, std::sqrt(Limits::min()));
  require(beta1 >= 0 && beta1 < 1, "Adam: beta1 is ", beta1, "; need 0 <= beta1 < 1");
  require(beta2 >= 0 && beta2 < 1, "Adam: beta2 is ", beta2, "; need 0 <= beta2 < 1");
}

void Adam::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
                const Gradients& gradients) {
  prepare("Adam", parameters, on_tape, mean_);
  prepare("Adam", parameters, on_tape, root_);
  steps_.resize(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (gradients.reached(on_tape[i])) update(parameters[i], i, gradients[on_tape[i]]);
}

void Adam::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs) {
  prepare("Adam", parameters, on_tape, mean_);
  prepare("Adam", parameters, on_tape, root_);
  steps_.resize(parameters.size());
  sweep_and_update("Adam", on_tape, costs,
                   [&](std::size_t i, const Tensor& g) { update(parameters[i], i, g); });
}

void Adam::archive(Archive& a) {
  a("rate", rate);
  a("steps", steps_);
  a("mean", mean_);
  a("root", root_);
}

void Adam::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const double t = static_cast<double>(++steps_[i]);
  const AdamRates by = {static_cast<Scalar>(rate / (1 - std::pow(beta1_, t))),
                        static_cast<Scalar>(1 / std::sqrt(1 - std::pow(beta2_, t))),
                        static_cast<Scalar>(epsilon_),
                        static_cast<Scalar>(beta1_),
                        static_cast<Scalar>(1 - beta1_),
                        static_cast<Scalar>(beta2_),
                        static_cast<Scalar>(1 - beta2_)};
  const Lane r = by.rate, unbias = by.unbias, e = by.epsilon;
  const Lane b1 = by.b1, c1 = by.c1, b2 = by.b2, c2 = by.c2;
  Scalar *p = parameter.data(), *m = mean_[i].data(), *v = root_[i].data();
  const Scalar* g = gradient.data();
  const bool fine =
      each_lane(parameter.size(), [=](std::size_t k, std::size_t count, auto load, auto store) {
        const Lane slope = load(g + k), before = load(v + k);
        const Lane mean = b1 * load(m + k) + c1 * slope,
                   square = b2 * (before * before) + c2 * (slope * slope),
                   root = xsimd::sqrt(square),
                   weight = load(p + k) - r * (mean / (root * unbias + e));
        if (!finite(square) || !finite(weight))
          return one_by_one(by, g + k, m + k, v + k, p + k, count);
        store(mean, m + k);
        store(root, v + k);
        store(weight, p + k);
        return true;
      });
  if (!fine) refuse_update("Adam", i, parameter, gradient, rate);
}

ARGTAPE_END
