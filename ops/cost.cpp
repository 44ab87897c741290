#include "ops/cost.hpp"

#include <algorithm>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Var evaluate(const Cost& f, Var choice) {
  const Var cost = f(choice);
  const Shape &z = choice.shape(), &c = cost.shape();
  if (z.empty() || c.size() >= z.size() || !std::equal(c.begin(), c.end(), z.begin()))
    throw std::invalid_argument("evaluate: the choices are " + str(z) + ", the cost is " + str(c) +
                                "; need one number an example, lined up with the leading axes");
  choice.tape->counts.evaluations += cost.value().size();
  return cost;
}

Var black_box(const std::function<Tensor(const std::vector<Tensor>&)>& f, Inputs inputs) {
  Tape& tape = tape_of("black_box", inputs);
  std::vector<Tensor> values;
  for (const Var& v : inputs) values.push_back(v.value());
  Op op("black box", Flow::cut);
  op.why_cut = "It was computed outside the tape; score_function() learns without its derivative.";
  return tape.record(std::move(op), inputs, f(values), {});
}

Var expectation(Var logits, const Cost& f) {
  const Shape& shape = logits.shape();
  if (shape.empty() || shape[shape.size() - 1] == 0)
    throw std::invalid_argument("expectation: logits are " + str(shape) +
                                "; need (..., K) with at least one category");
  const std::size_t rank = shape.size(), k = shape[rank - 1];
  const Var log_p = log_softmax(logits);
  const Var zero = logits.tape->constant(0.0);  // where 0 * log p would be NaN for p = 0

  std::size_t variables = 1, combinations = 1;
  Var total;
  for (std::size_t c = 0; c < combinations; ++c) {
    // Digit v of c in base K is the choice of each example's variable v.
    Tensor one_hot = zeros(shape);
    std::size_t digits = c;
    std::vector<std::size_t> choice(variables);
    for (std::size_t& d : choice) {
      d = digits % k;
      digits /= k;
    }
    for (std::size_t row = 0; row < one_hot.size() / k; ++row)
      one_hot.data()[row * k + choice[row % variables]] = 1;
    const Var z = logits.tape->constant(std::move(one_hot), "choice");
    const Var cost = evaluate(f, z);
    if (c == 0) {
      // Only now is it known how many variables an example has: then the first choice was all zeros
      // of either.
      for (std::size_t a = cost.shape().size(); a + 1 < rank; ++a) variables *= shape[a];
      for (std::size_t v = 0; v < variables; ++v) {
        combinations *= k;
        if (combinations > kMostCombinations)
          throw std::invalid_argument("expectation: " + std::to_string(k) + " categories in " +
                                      std::to_string(variables) + " variables; need at most " +
                                      std::to_string(kMostCombinations) + " combinations");
      }
    }
    Axes summed;
    for (std::size_t a = cost.shape().size(); a < rank; ++a) summed.push_back(static_cast<int>(a));
    const Var term = exp(sum(where(z, log_p, zero), summed)) * cost;
    total = total.tape ? total + term : term;
  }
  return total;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
