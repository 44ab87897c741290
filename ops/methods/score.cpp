#include "ops/methods/score.hpp"

#include <cmath>

#include "engine/require.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {
void require_two(const char* name, std::size_t samples) {
  require(samples >= 2, name, ": samples are ", samples, "; need at least 2");
}
}  // namespace

Method rloo(std::size_t samples) {
  require_two("rloo", samples);
  return Method("score-function+leave-one-out", samples, [=](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate_samples("rloo", z, f);
    const Var score = score_gradient(cost - mean_of_others(cost), z, softmax(logits));
    return with_gradient("rloo", mean(cost, 0), logits, mean(score, 0));
  });
}

Method muprop() {
  return Method("muprop", 1, [](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng), cost = evaluate(z, f), p = softmax(logits);
    const Slope at_mean = slope_at("muprop", f, p);
    Axes own;
    for (std::size_t a = cost.shape().size(); a < z.shape().size(); ++a)
      own.push_back(static_cast<int>(a));
    const Var signal = cost - at_mean.cost - sum(at_mean.gradient * (z - p), own);
    return with_gradient("muprop", cost, logits,
                         score_gradient(signal, z, p) + softmax_jacobian(p, at_mean.gradient));
  });
}

Method vimco(std::size_t samples) {
  require_two("vimco", samples);
  const auto bound = [](Var cost, const Axes& axis) { return -logmeanexp(-cost, axis); };
  Method method("vimco", samples, [=](Var logits, const Cost& f, Rng& rng) {
    const Var z = drawn_choice(logits, rng, samples), cost = evaluate_samples("vimco", z, f),
              value = bound(cost, {0});
    // Row m of the table has the costs with the m-th replaced by the mean of the others.
    Shape down = cost.shape(), diagonal(cost.shape().size() + 1, 1);
    down[0] = 1;
    diagonal[0] = diagonal[1] = samples;
    Tensor eye = zeros(diagonal);
    for (std::size_t i = 0; i < samples; ++i) eye.data()[i * samples + i] = 1;
    const Var replaced = where(logits.tape->constant(std::move(eye)),
                               reshape(mean_of_others(cost), with_axis(down, 0, samples)), cost);
    const Var signal = value - bound(replaced, {1});
    return with_gradient("vimco", value, logits,
                         sum(score_gradient(signal, z, softmax(logits)), 0));
  });
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
