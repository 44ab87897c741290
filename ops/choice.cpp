#include "ops/choice.hpp"

#include <cmath>
#include <memory>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "ops/axis.hpp"
#include "ops/elementwise.hpp"
#include "ops/rows.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// One-hot at the first largest of each row of x.
Tensor one_hot_of_largest(const std::string& op, const Tensor& x, bool drawn) {
  const std::size_t k = x.shape()[x.dimension() - 1], rows = x.size() / k;
  Tensor y = zeros(x.shape());
  for (std::size_t r = 0; r < rows; ++r) {
    const Scalar* v = x.data() + r * k;
    std::size_t best = 0;
    for (std::size_t i = 0; i < k; ++i) {
      if (std::isnan(v[i]))
        throw std::invalid_argument(op + ": logits have NaN in row " + std::to_string(r) +
                                    "; need numbers");
      if (v[i] > v[best]) best = i;
    }
    if (drawn && v[best] == kLowest)
      throw std::invalid_argument(op + ": logits are all -inf in row " + std::to_string(r) +
                                  "; need at least one possible category");
    y.data()[r * k + best] = 1;
  }
  return y;
}

// The node itself, along the last axis. `noise` is empty for argmax.
Var choose(const std::string& verb, Var logits, const Rule& rule, Var noise) {
  const std::string name = verb + "[" + rule.name + "]";
  const bool drawn = noise.tape != nullptr;
  if (rule.needs_draw && !drawn)
    throw std::invalid_argument(name +
                                ": a choice that is not drawn has no distribution; use sample()");
  if (rule.reads != Reads::nothing && !rule.backward && !rule.scheduled)
    throw std::invalid_argument(name + ": the rule has no backward; give it one, or read nothing");
  if (rule.scheduled)
    throw std::invalid_argument(
        name + ": the temperature is a schedule; say at which step, with rule.at(step)");

  Tensor perturbed = logits.value();
  if (drawn) add_to(perturbed, noise.value());
  Tensor value = one_hot_of_largest(name, perturbed, drawn);
  std::shared_ptr<const Tensor> hard;  // D, where the value itself is a relaxation
  if (rule.soft_tau > 0) {
    hard = std::make_shared<const Tensor>(std::move(value));
    const std::size_t k = perturbed.shape()[perturbed.dimension() - 1];
    const auto tau = static_cast<Scalar>(rule.soft_tau);
    value = uninitialised(perturbed.shape());
    map_lanes(
        perturbed.size(), perturbed.data(), false, [=](Lane v) { return v / Lane(tau); },
        perturbed.data());
    for (std::size_t r = 0; r < perturbed.size() / k; ++r)
      softmax_row(perturbed.data() + r * k, k, value.data() + r * k);
  }

  Op op(name, rule.reads == Reads::nothing ? Flow::cut : Flow::surrogate);
  op.reads_costs = rule.reads == Reads::costs;
  op.refuses_no_path = rule.reads == Reads::gradient;
  op.why_cut = "Its rule is the zero gradient; another rule passes something on.";
  const auto backward = [hard, kept = std::make_shared<const Rule>(rule)](Arrival& at) {
    Tape& tape = *at.out().tape;
    const Var logits = at.in(0);
    const Var noise =
        at.inputs() == 2 ? at.in(1) : tape.constant(zeros(logits.shape()), "no noise");
    const Var d = tape.constant(hard ? *hard : at.out().value(), "choice");
    if (kept->reads == Reads::gradient) {
      const Shape& shape = logits.shape();
      at.counts().backwards += logits.value().size() / shape[shape.size() - 1];
    }
    at.give(0, kept->backward({logits, noise, at.out(), d}, at));
  };
  return drawn ? logits.tape->record(std::move(op), {logits, noise}, std::move(value), backward)
               : logits.tape->record(std::move(op), {logits}, std::move(value), backward);
}

// Throws, in the name of `verb`, unless there is something to choose from along the axis.
void require_categories(const char* verb, const Shape& shape, int axis) {
  const std::size_t a = axis_of(verb, axis, shape);
  if (shape[a] == 0)
    throw std::invalid_argument(std::string(verb) + ": logits are " + str(shape) +
                                "; need at least one category on axis " + std::to_string(a));
}

}  // namespace

Var argmax(Var logits, const Rule& rule, int axis) {
  require_categories("argmax", logits.shape(), axis);
  return along_axis("argmax", logits, axis, [&](Var l) { return choose("argmax", l, rule, {}); });
}

Var argmin(Var costs, const Rule& rule, int axis) {
  require_categories("argmin", costs.shape(), axis);
  return along_axis("argmin", costs, axis, [&](Var c) { return choose("argmin", -c, rule, {}); });
}

Var sample(Var logits, const Rule& rule, Rng& rng, int axis) {
  require_categories("sample", logits.shape(), axis);
  return along_axis("sample", logits, axis, [&](Var l) {
    return choose("sample", l, rule, l.tape->constant(rng.gumbel(l.shape()), "gumbel noise"));
  });
}

Var sample(Var logits, const Rule& rule, Var noise, int axis) {
  tape_of("sample", {logits, noise});
  if (noise.shape() != logits.shape())
    throw std::invalid_argument("sample: logits are " + str(logits.shape()) + ", noise is " +
                                str(noise.shape()) + "; need the same shape");
  require_categories("sample", logits.shape(), axis);
  const Axes order = axis_last(axis_of("sample", axis, logits.shape()), logits.shape().size());
  if (!order.empty()) noise = transpose(noise, order);
  return along_axis("sample", logits, axis,
                    [&](Var l) { return choose("sample", l, rule, noise); });
}

Var noise_of(Var sampled) {
  tape_of("noise_of", sampled);
  const Node& n = sampled.tape->node(sampled.index);
  if (n.op.name.rfind("sample[", 0) != 0)
    throw std::invalid_argument("noise_of: the Var is " + n.op.name +
                                "; need a sample along the last axis");
  return sampled.tape->var(n.inputs[1]);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
