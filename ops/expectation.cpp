#include "ops/expectation.hpp"

#include <algorithm>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/subsets.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/softmax.hpp"
#include "ops/top_k.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace {
template <class F>
void require_function(const char* op, const F& f) {
  require(f != nullptr, op, ": the function is empty; need one to evaluate");
}

Var counted(const std::vector<Var>& choices, const JointCost& f) {
  Tape& tape = tape_of("evaluate", choices);
  require_function("evaluate", f);
  const Var cost = f(choices);
  tape_of("evaluate", {choices[0], cost});
  const Shape& c = cost.shape();
  for (const Var& choice : choices) {
    const Shape& z = choice.shape();
    if (z.empty() || c.size() >= z.size() || !std::equal(c.begin(), c.end(), z.begin()))
      refuse("evaluate: the choices are ", z, ", the cost is ", c,
             "; need one number an example, lined up with the leading axes");
  }
  tape.counts.evaluations += cost.value().size();
  return cost;
}
}  // namespace

Var evaluate(Var choice, const Cost& f) {
  require_function("evaluate", f);
  return evaluate(std::vector<Var>{choice}, [&](const std::vector<Var>& z) { return f(z[0]); });
}

Var evaluate(const std::vector<Var>& choices, const JointCost& f) {
  const Var cost = counted(choices, f);
  require_numbers("evaluate", cost.value());
  return cost;
}

Var black_box(const std::function<Tensor(const std::vector<Tensor>&)>& f, Inputs inputs) {
  Tape& tape = tape_of("black_box", inputs);
  require_function("black_box", f);
  std::vector<Tensor> values;
  for (const Var& v : inputs) values.push_back(v.value());
  Op op("black_box", Flow::cut);
  op.why_cut = "It was computed outside the tape; score_function() learns without its derivative.";
  return tape.record(std::move(op), {inputs.begin(), inputs.size()}, f(values), {});
}

Var expectation(Var logits, const Cost& f) {
  require_function("expectation", f);
  return expectation(std::vector<Var>{logits}, [&](const std::vector<Var>& z) { return f(z[0]); });
}

std::size_t combinations(std::size_t count, std::size_t categories, std::size_t variables) {
  for (std::size_t v = 0; v < variables && count <= kMostCombinations; ++v) count *= categories;
  return count > kMostCombinations ? 0 : count;
}

namespace {
// The k-hot choices of a node's variables, the same for every example, in the first digits of a
// number; what is left of it are those of further nodes.
Tensor next_choice(const Shape& shape, std::size_t k, std::size_t variables, std::size_t& digits) {
  const std::size_t n = shape.back(), outcomes = count_subsets(n, k);
  std::vector<std::size_t> choice(variables);
  for (std::size_t& d : choice) {
    d = digits % outcomes;
    digits /= outcomes;
  }
  Tensor hot = zeros(shape);
  for (std::size_t row = 0; row < hot.size() / n; ++row)
    each_in_subset(n, k, choice[row % variables],
                   [&](std::size_t i) { hot.data()[row * n + i] = 1; });
  return hot;
}

// Of several nodes, each with k of its categories in its choice.
Var expected(const std::vector<Var>& logits, std::size_t k, const JointCost& f) {
  Tape& tape = tape_of("expectation", logits);
  std::vector<Var> log_p;
  for (const Var& l : logits) {
    require(!l.shape().empty() && l.shape().back() > 0, "expectation: logits are ", l.shape(),
            "; need (..., K) with at least one category");
    require(k >= 1 && k <= l.shape().back(), "expectation: k is ", k, ", logits are ", l.shape(),
            "; need 1 <= k <= K");
    require_possible("expectation", l.value(), k);
    log_p.push_back(log_softmax(l));
  }
  const Var zero = tape.constant(0.0);  // where 0 * log p would be NaN for p = 0

  std::vector<std::size_t> variables(logits.size(), 1);
  std::size_t count = 1;
  Var total;
  for (std::size_t c = 0; c < count; ++c) {
    std::vector<Var> choices;
    std::size_t digits = c;
    for (std::size_t n = 0; n < logits.size(); ++n) {
      choices.push_back(
          tape.constant(next_choice(logits[n].shape(), k, variables[n], digits), "choice"));
    }
    Var cost = counted(choices, f);
    const std::size_t lead = cost.shape().size();
    // Only now is it known how many variables an example has: then the first choice was all zeros
    // of either.
    std::string what;
    for (std::size_t n = 0; c == 0 && n < logits.size(); ++n) {
      const Shape& shape = logits[n].shape();
      for (std::size_t a = lead; a + 1 < shape.size(); ++a) variables[n] *= shape[a];
      what += (n ? ", " : "") +
              (k > 1 ? std::to_string(k) + " out of " + std::to_string(shape.back())
                     : std::to_string(shape.back()) + " categories") +
              " in " + std::to_string(variables[n]) + " variables";
      count = combinations(count, count_subsets(shape.back(), k), variables[n]);
      require(count > 0, "expectation: ", what, "; need at most ", kMostCombinations,
              " combinations");
    }
    Var log_probability;
    for (std::size_t n = 0; n < logits.size(); ++n) {
      Axes summed;
      for (std::size_t a = lead; a < logits[n].shape().size(); ++a)
        summed.push_back(static_cast<int>(a));
      const Var part = k == 1 ? sum(where(choices[n], log_p[n], zero), summed)
                              : sum(top_k_log_prob(logits[n], choices[n]),
                                    Axes(summed.begin(), summed.end() - 1));
      log_probability = n ? log_probability + part : part;
    }
    const Var p = exp(log_probability);
    const Tensor& possible = p.value();
    if (std::count(possible.begin(), possible.end(), Scalar(0)) > 0) cost = where(p, cost, zero);
    require_numbers("expectation", cost.value());
    total = total.tape ? total + p * cost : p * cost;
  }
  return total;
}
}  // namespace

Var expectation(const std::vector<Var>& logits, const JointCost& f) {
  return expected(logits, 1, f);
}

Var expectation(Var logits, std::size_t k, const Cost& f) {
  require_function("expectation", f);
  return expected({logits}, k, [&](const std::vector<Var>& z) { return f(z[0]); });
}

ARGTAPE_END
