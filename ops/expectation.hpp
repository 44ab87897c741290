// Costs as functions of a choice: counted evaluations, black boxes, and the exact expectation by
// enumeration.
#pragma once

#include <functional>
#include <vector>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A cost of choices (..., K): one number for each example, so its shape is made of leading axes of
/// the choices'.
struct Cost : std::function<Var(Var choice)> {
  using std::function<Var(Var)>::function;
  template <class F, std::enable_if_t<!std::is_invocable_r_v<Var, F&, Var>, int> = 0>
  Cost(F) = delete;  // a cost is [](Var choice) { return ...; }, of a Var, one number an example
};

/// f(choice), counted on the tape, one evaluation for each number that comes back. Throws
/// std::invalid_argument if the cost is not one number an example, or is NaN.
Var evaluate(Var choice, const Cost& f);

/// Costs of several nodes' choices, (..., K) each with a K of its own: one number for each example.
using JointCost = std::function<Var(const std::vector<Var>& choices)>;
Var evaluate(const std::vector<Var>& choices, const JointCost& f);

/// A value computed outside the tape: it feeds costs, and passes nothing back. `f` gets the inputs'
/// values in order. Only rules that read costs (score_function) learn through it.
Var black_box(const std::function<Tensor(const std::vector<Tensor>&)>& f, Inputs inputs);

/// The most combinations that expectation() sums over.
constexpr std::size_t kMostCombinations = 16384;
/// count * categories^variables, but 0 if that is more.
std::size_t combinations(std::size_t count, std::size_t categories, std::size_t variables);

/// E f(D), D drawn from softmax(logits), exactly, as a function of the logits (..., K): the sum
/// over all choices, or over all combinations where an example makes several. Its gradient is what
/// every rule estimates. Evaluates f once for each; what is impossible adds nothing whatever it
/// costs. Throws std::invalid_argument for more than kMostCombinations, for NaN among the costs,
/// and for logits with NaN or +inf, or nothing but -inf, in a row.
Var expectation(Var logits, const Cost& f);
/// The same for D k-hot, drawn as sample_top_k() draws it (ops/top_k.hpp), over all subsets: no
/// more than kMostCombinations, and k at most kMostUnordered.
Var expectation(Var logits, std::size_t k, const Cost& f);
/// The same over the choices of several nodes, drawn independently given their logits.
Var expectation(const std::vector<Var>& logits, const JointCost& f);

ARGTAPE_END
