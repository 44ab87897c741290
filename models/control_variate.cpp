#include "models/control_variate.hpp"

#include <cmath>
#include <utility>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "models/training/layers.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN

ControlVariate::ControlVariate(ControlVariateSettings settings)
    : settings_(settings), adam_(settings.rate) {
  require_temperature("ControlVariate", settings.tau);
  require(std::isfinite(static_cast<Scalar>(settings.eta)), "ControlVariate: eta is ", settings.eta,
          "; need a number that is finite as Scalar");
  if (!settings.relaxed_cost && settings.hidden == 0)
    refuse("ControlVariate: no relaxed cost and no hidden units; need one of them");
  parameters = {full({}, std::log(settings.tau)), full({}, settings.eta), zeros({})};
}

double ControlVariate::tau() const {
  return std::exp(static_cast<double>(parameters[0].data()[0]));
}
double ControlVariate::eta() const { return static_cast<double>(parameters[1].data()[0]); }

// The network waits for the first estimate, which knows how many numbers an example has. Its last
// layer starts at 0, so that c starts as the relaxed cost alone.
void ControlVariate::prepare(std::size_t inputs) {
  if (settings_.hidden == 0 || inputs == 0) return;
  if (parameters.size() > 3) {
    const std::size_t known = parameters[3].shape()[0];
    require(inputs == known, name(), ": an example has ", inputs, " logits, it had ", known,
            " before; need as many");
    return;
  }
  Rng rng(settings_.seed);
  const Initialiser start = glorot_uniform();
  std::vector<Tensor> all = parameters;  // all of the network, or nothing
  all.push_back(start.weights(inputs, settings_.hidden, rng));
  all.push_back(start.bias(inputs, settings_.hidden, rng));
  all.push_back(zeros({settings_.hidden, 1}));
  parameters = std::move(all);
}

// c at a point, and its gradient there, recorded.
struct ControlVariate::Term {
  Var value, slope;
};

ControlVariate::Term ControlVariate::at(Name name, const Cost& f, Var z, const Shape& examples,
                                        const std::vector<Var>& on_tape) const {
  Tape& tape = *z.tape;
  const Shape& shape = z.shape();
  Var c;
  const auto add = [&c](Var term) { c = c.tape ? c + term : term; };
  std::vector<Probe> probes;
  if (settings_.relaxed_cost) {
    probes.emplace_back(softmax(z / exp(on_tape[0])));
    add(on_tape[1] * evaluate(probes[0].point, f));
  }
  if (on_tape.size() > 3) {  // before the first example there is no network
    const std::size_t n = size_of(examples);
    const Var rows =
        reshape(softmax(z), {n, n == 0 ? parameters[3].shape()[0] : z.value().size() / n});
    const Var hidden = tanh(dense(rows, on_tape[3], on_tape[4]));
    add(reshape(matmul(hidden, on_tape[5]), examples));
  }
  if (settings_.constant) add(on_tape[2]);
  const Var slope = differentiate(c, z)[0];
  for (const Probe& probe : probes) {
    probe.require_path(name);
    tape.counts.backwards += z.value().size() / shape[shape.size() - 1];
  }
  return {c, slope};
}

Var ControlVariate::estimate(Var logits, const Cost& f, Rng& rng) {
  const Name name = this->name();
  const OneThread::Hold hold(one_thread_, name.c_str());
  Tape& tape = *logits.tape;
  // What z is differentiated for, even where nobody upstream wants it.
  const Var l =
      tape.node(logits.index).wants_gradient ? logits : tape.parameter(logits.value(), "logits");
  const Var noise = tape.constant(rng.gumbel(l.shape()), "gumbel noise"),
            again = tape.constant(rng.gumbel(l.shape()), "gumbel noise");
  const Var d = sample(tape.borrow_constant(l.value(), "logits"), zero(), noise);
  const Var cost = evaluate(d, f);
  prepare(cost.value().size() == 0 ? 0 : l.value().size() / cost.value().size());
  std::vector<Var>
      on_tape;  // copies: learn() moves the parameters while the tape may still be swept
  for (const Tensor& p : parameters) on_tape.push_back(tape.parameter(p, name));
  // A forbidden category's z is finite: tau's slope would be 0 times infinity.
  const auto possible = [](Var z) { return maximum(z, -1e10); };
  const Var free = possible(log_softmax(l) + noise),
            given = possible(conditional_gumbels(l, d, again));
  const Term c = at(name, f, free, cost.shape(), on_tape),
             c_given = at(name, f, given, cost.shape(), on_tape);
  const Var path = differentiate(free, l, c.slope)[0] - differentiate(given, l, c_given.slope)[0];
  const Var y =
      with_gradient(name, cost, logits, score_gradient(cost - c_given.value, d, softmax(l)) + path);
  on_tape_ = std::move(on_tape);
  tape_ = tape.serial();
  return y;
}

void ControlVariate::learn(Var estimate, Var logits) {
  const OneThread::Hold hold(one_thread_, name().c_str());
  if (!estimate.tape || estimate.tape->serial() != tape_)
    refuse(name(), ": learn() got an estimate of another tape; need the last one that was made");
  if (estimate.value().size() == 0) return;
  const Var g = differentiate(estimate, logits)[0];
  const double n = static_cast<double>(estimate.value().size());
  const Gradients gradients = dry_run(square(g) / n);  // no rule in f learns from these costs
  for (const Var& p : on_tape_)
    for (Scalar x : gradients[p])
      if (!std::isfinite(x)) return;
  adam_.step(parameters, on_tape_, gradients);
}

void ControlVariate::archive(Archive& a) {
  if (a.loading()) parameters.clear();  // there may be a network by then
  a("parameters", parameters);
  const std::size_t hidden = parameters.size() > 3 ? parameters.back().size() : settings_.hidden;
  require<std::runtime_error>(hidden == settings_.hidden, "the state has ", hidden,
                              " hidden units; need ", settings_.hidden);
  a("adam", adam_);
}

Method rebar(std::shared_ptr<ControlVariate> state) {
  require(state != nullptr, "rebar: the state is empty; need one");
  Method method;
  method.name = state->name().c_str();
  method.estimate = [state](Var logits, const Cost& f, Rng& rng) {
    return state->estimate(logits, f, rng);
  };
  method.learn = [state](Var estimate, Var logits) { state->learn(estimate, logits); };
  method.archive = [state](Archive& a) { a(state->name().c_str(), *state); };
  return method;
}

Method relax(std::shared_ptr<ControlVariate> state) {
  if (!state) {
    ControlVariateSettings settings;
    settings.hidden = 8;
    state = std::make_shared<ControlVariate>(settings);
  }
  if (state->settings().hidden == 0)
    refuse("relax: hidden units are 0; need at least 1, or use rebar()");
  return rebar(std::move(state));
}

ARGTAPE_END
