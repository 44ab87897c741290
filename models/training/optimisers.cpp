#include "models/training/optimisers.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/require.hpp"
#include "engine/simd/lane.hpp"
#include "engine/system/parallel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

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
void sweep_and_update(const char* op, const std::vector<Var>& on_tape, Inputs costs,
                      Update update) {
  for (std::size_t i = 1; i < on_tape.size(); ++i)
    require(on_tape[i - 1].index < on_tape[i].index, op,
            ": parameters on the tape out of order; need them in the order in which they were put "
            "there");
  backward_and_release(costs, [&](Var p, Tensor& gradient) {
    const auto at = std::lower_bound(on_tape.begin(), on_tape.end(), p.index,
                                     [](Var v, std::uint32_t index) { return v.index < index; });
    if (at != on_tape.end() && at->index == p.index)
      update(static_cast<std::size_t>(at - on_tape.begin()), gradient);
  });
}

}  // namespace

Sgd::Sgd(double rate, double momentum) : rate(rate), momentum_(momentum) {
  require(rate > 0, "Sgd: rate is ", rate, "; need more than 0");
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

void Sgd::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const auto m = static_cast<Scalar>(momentum_), r = static_cast<Scalar>(rate);
  Scalar *p = parameter.data(), *v = velocity_[i].data();
  const Scalar* g = gradient.data();
  parallel_for(parameter.size(), kGrain, [=](std::size_t begin, std::size_t end) {
#pragma omp simd
    for (std::size_t k = begin; k < end; ++k) {
      v[k] = m * v[k] + g[k];
      p[k] -= r * v[k];
    }
  });
}

Adam::Adam(double rate, double beta1, double beta2, double epsilon)
    : rate(rate), beta1_(beta1), beta2_(beta2), epsilon_(epsilon) {
  require(rate > 0, "Adam: rate is ", rate, "; need more than 0");
  require(epsilon > 0, "Adam: epsilon is ", epsilon, "; need more than 0");
  require(beta1 >= 0 && beta1 < 1, "Adam: beta1 is ", beta1, "; need 0 <= beta1 < 1");
  require(beta2 >= 0 && beta2 < 1, "Adam: beta2 is ", beta2, "; need 0 <= beta2 < 1");
}

void Adam::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
                const Gradients& gradients) {
  prepare("Adam", parameters, on_tape, mean_);
  prepare("Adam", parameters, on_tape, square_);
  steps_.resize(parameters.size());
  for (std::size_t i = 0; i < parameters.size(); ++i)
    if (gradients.reached(on_tape[i])) update(parameters[i], i, gradients[on_tape[i]]);
}

void Adam::step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs) {
  prepare("Adam", parameters, on_tape, mean_);
  prepare("Adam", parameters, on_tape, square_);
  steps_.resize(parameters.size());
  sweep_and_update("Adam", on_tape, costs,
                   [&](std::size_t i, const Tensor& g) { update(parameters[i], i, g); });
}

void Adam::update(Tensor& parameter, std::size_t i, const Tensor& gradient) {
  const double t = static_cast<double>(++steps_[i]);
  const double unbiased = std::sqrt(1 - std::pow(beta2_, t));
  const Lane r = static_cast<Scalar>(rate / (1 - std::pow(beta1_, t)));
  const Lane root = static_cast<Scalar>(1 / unbiased), e = static_cast<Scalar>(epsilon_);
  const Lane b1 = static_cast<Scalar>(beta1_), c1 = static_cast<Scalar>(1 - beta1_);
  const Lane b2 = static_cast<Scalar>(beta2_), c2 = static_cast<Scalar>(1 - beta2_);
  const auto updated = [=](Lane slope, Lane mean, Lane square, Lane weight) {
    mean = b1 * mean + c1 * slope;
    square = b2 * square + c2 * (slope * slope);
    return std::array<Lane, 3>{mean, square, weight - r * mean / (xsimd::sqrt(square) * root + e)};
  };
  Scalar *p = parameter.data(), *m = mean_[i].data(), *v = square_[i].data();
  const Scalar* g = gradient.data();
  parallel_for(parameter.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    std::size_t k = begin;
    for (; k + kLane <= end; k += kLane) {
      const auto [mean, square, weight] =
          updated(Lane::load_unaligned(g + k), Lane::load_unaligned(m + k),
                  Lane::load_unaligned(v + k), Lane::load_unaligned(p + k));
      mean.store_unaligned(m + k);
      square.store_unaligned(v + k);
      weight.store_unaligned(p + k);
    }
    if (k == end) return;
    const std::size_t left = end - k;
    const auto [mean, square, weight] = updated(load_some(g + k, left), load_some(m + k, left),
                                                load_some(v + k, left), load_some(p + k, left));
    store_some(mean, m + k, left);
    store_some(square, v + k, left);
    store_some(weight, p + k, left);
  });
}

ARGTAPE_END
