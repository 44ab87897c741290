#include "ops/methods/method.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

Shape with_samples(std::size_t samples, const Shape& shape) {
  Shape all(shape.size() + 1);
  all[0] = samples;
  std::copy(shape.begin(), shape.end(), all.begin() + 1);
  return all;
}

// One number an example, to stand beside its choices.
Var beside(Var x, std::size_t rank) {
  Shape shape = x.shape();
  while (shape.size() < rank) shape.push_back(1);
  return reshape(x, shape);
}

void require_two(const char* name, std::size_t samples) {
  if (samples < 2)
    throw std::invalid_argument(std::string(name) + ": samples are " + std::to_string(samples) +
                                "; need at least 2");
}

}  // namespace

Method::Method(Rule of, std::size_t repeats)
    : name(of.name),
      samples(of.needs_multiple_samples ? repeats : 1),
      rule(std::make_shared<const Rule>(std::move(of))) {
  estimate = [rule = rule, repeats](Var logits, const Cost& f, Rng& rng) {
    if (!rule->needs_multiple_samples) return evaluate(f, sample(logits, *rule, rng));
    const Var many = broadcast(logits, with_samples(repeats, logits.shape()));
    return evaluate(f, sample(many, *rule, rng)) / static_cast<double>(repeats);
  };
}

Method enumeration() {
  Method method;
  method.name = "exact";
  method.samples = 0;
  method.estimate = [](Var logits, const Cost& f, Rng&) { return expectation(logits, f); };
  return method;
}

Method rloo(std::size_t samples) {
  require_two("rloo", samples);
  Method method;
  method.name = "score-function+leave-one-out";
  method.samples = samples;
  method.estimate = [samples](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate(f, z), all = mean(cost, {0});
    // f_m - (M mean - f_m) / (M - 1)
    const double m = static_cast<double>(samples);
    const Var signal = (cost - all) * (m / (m - 1));
    return with_gradient("rloo", all, logits,
                         mean(score_gradient(signal, z, softmax(logits)), {0}));
  };
  return method;
}

Method muprop() {
  Method method;
  method.name = "muprop";
  method.estimate = [](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng), cost = evaluate(f, z), p = softmax(logits);
    const Slope at_mean = slope_at("muprop", f, p);
    const Var along = at_mean.gradient * (z - p);
    Axes own;
    for (std::size_t a = cost.shape().size(); a < z.shape().size(); ++a)
      own.push_back(static_cast<int>(a));
    const Var signal = cost - at_mean.cost - sum(along, own);
    return with_gradient("muprop", cost, logits,
                         score_gradient(signal, z, p) + softmax_jacobian(p, at_mean.gradient));
  };
  return method;
}

Method vimco(std::size_t samples) {
  require_two("vimco", samples);
  const double m = static_cast<double>(samples);
  const auto bound = [m](Var cost, const Axes& axis) {
    return std::log(m) - logsumexp(-cost, axis);
  };
  Method method;
  method.name = "vimco";
  method.samples = samples;
  method.estimate = [=](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate(f, z),
              value = bound(cost, {0});
    // Row m of the table has the costs with the m-th replaced by the mean of the others.
    const Var others = (sum(cost, {0}, true) - cost) / (m - 1);
    Shape own = cost.shape();
    own[0] = 1;
    Shape table = with_samples(samples, cost.shape()), down = with_samples(samples, own),
          diagonal(table.size(), 1);
    diagonal[0] = diagonal[1] = samples;
    Tensor eye = zeros(diagonal);
    for (std::size_t i = 0; i < samples; ++i) eye.data()[i * samples + i] = 1;
    const Var replaced = where(broadcast(logits.tape->constant(std::move(eye)), table),
                               broadcast(reshape(others, down), table), broadcast(cost, table));
    const Var signal = value - bound(replaced, {1});
    return with_gradient("vimco", value, logits,
                         sum(score_gradient(signal, z, softmax(logits)), {0}));
  };
  method.objective = [=](Var logits, const Cost& f) {
    // The samples' axis goes behind the example's, of which f alone knows how many there are.
    const Shape& shape = logits.shape();
    const std::size_t lead = f(logits.tape->constant(logits.value())).shape().size();
    Shape one(shape.size() + 1), many;
    std::copy(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(lead), one.begin());
    one[lead] = 1;
    std::copy(shape.begin() + static_cast<std::ptrdiff_t>(lead), shape.end(),
              one.begin() + static_cast<std::ptrdiff_t>(lead) + 1);
    many = one;
    many[lead] = samples;
    return expectation(broadcast(reshape(logits, one), many),
                       [&](Var z) { return bound(f(z), {-1}); });
  };
  return method;
}

Var with_gradient(const std::string& name, Var value, Var logits, Var gradient) {
  const Shape &v = value.shape(), &l = logits.shape();
  if (gradient.shape() != l || v.size() >= l.size() || !std::equal(v.begin(), v.end(), l.begin()))
    throw std::invalid_argument(name + ": the estimate is " + str(v) + ", its gradient " +
                                str(gradient.shape()) + ", the logits are " + str(l) +
                                "; need one number an example and a gradient of the logits' shape");
  // The gradient is no input: the estimate's value does not depend on it.
  return tape_of(name, {value, logits, gradient})
      .record(Op("estimate[" + name + "]", Flow::surrogate), {value, logits}, value.value(),
              [gradient](BackwardContext& ctx) {
                ctx.pass(0);
                if (ctx.wants(1))
                  ctx.give(1, beside(ctx.gradient(), gradient.shape().size()) * gradient);
              });
}

Var score_gradient(Var weight, Var choice, Var p) {
  return beside(weight, choice.shape().size()) * (choice - p);
}

Var drawn_choice(Var logits, Rng& rng) {
  return sample(logits.tape->borrow_constant(logits.value(), "logits"), zero(), rng);
}

Var drawn_choice(Var logits, Rng& rng, std::size_t samples) {
  const Shape many = with_samples(samples, logits.shape());
  return sample(logits.tape->constant(broadcast_to(logits.value(), many), "logits"), zero(), rng);
}

Probe::Probe(Var x) : reached_(std::make_shared<bool>(false)) {
  point = x.tape->record("point", {x}, x.value(), [reached = reached_](BackwardContext& ctx) {
    *reached = true;
    ctx.pass(0);
  });
}

void Probe::require_path(const std::string& name) const {
  if (!*reached_)
    throw NoPath(name +
                 ": no differentiable path from the choice to the cost; use a method that needs "
                 "none, such as rloo(), or make the path differentiable");
}

Slope slope_at(const std::string& name, const Cost& f, Var point) {
  Tape& tape = *point.tape;
  if (!tape.node(point.index).wants_gradient) point = tape.parameter(point.value(), "point");
  const Probe probe(point);
  const Var cost = evaluate(f, probe.point);
  const Var gradient = differentiate(cost, point)[0];
  probe.require_path(name);
  const Shape& shape = point.shape();
  tape.counts.backwards += point.value().size() / shape[shape.size() - 1];
  return {cost, gradient};
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
