#include "ops/methods/score.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void require_two(const char* name, std::size_t samples) {
  if (samples < 2) refuse(name, ": samples are ", samples, "; need at least 2");
}

}  // namespace

Method rloo(std::size_t samples) {
  require_two("rloo", samples);
  Method method;
  method.name = "score-function+leave-one-out";
  method.samples = samples;
  method.estimate = [samples](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate(z, f), all = mean(cost, 0);
    // f_m - (M mean - f_m) / (M - 1)
    const double m = static_cast<double>(samples);
    const Var signal = (cost - all) * (m / (m - 1));
    return with_gradient("rloo", all, logits, mean(score_gradient(signal, z, softmax(logits)), 0));
  };
  return method;
}

Method muprop() {
  Method method;
  method.name = "muprop";
  method.estimate = [](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng), cost = evaluate(z, f), p = softmax(logits);
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
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate(z, f),
              value = bound(cost, {0});
    // Row m of the table has the costs with the m-th replaced by the mean of the others.
    const Var others = (sum(cost, 0, keep_axes) - cost) / (m - 1);
    Shape down = cost.shape(), diagonal(cost.shape().size() + 1, 1);
    down[0] = 1;
    diagonal[0] = diagonal[1] = samples;
    Tensor eye = zeros(diagonal);
    for (std::size_t i = 0; i < samples; ++i) eye.data()[i * samples + i] = 1;
    const Var replaced = where(logits.tape->constant(std::move(eye)),
                               reshape(others, with_axis(down, 0, samples)), cost);
    const Var signal = value - bound(replaced, {1});
    return with_gradient("vimco", value, logits,
                         sum(score_gradient(signal, z, softmax(logits)), 0));
  };
  method.objective = [=](Var logits, const Cost& f) {
    // The samples' axis goes behind the example's, of which f alone knows how many there are.
    const std::size_t lead = f(logits.tape->constant(logits.value())).shape().size();
    const Shape one = with_axis(logits.shape(), lead, 1);
    Shape many = one;
    many[lead] = samples;
    return expectation(broadcast(reshape(logits, one), many),
                       [&](Var z) { return bound(f(z), {-1}); });
  };
  return method;
}

ARGTAPE_END
