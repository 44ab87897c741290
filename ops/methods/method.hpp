// Methods: ways to the gradient of E f(D), D drawn from softmax(logits), that stand around the cost
// f and may evaluate it several times. Each gives an estimate of E f(D) as a Var, just as
// expectation() gives it exactly: its gradient is the method's estimate of the gradient, for the
// logits and for whatever f depends on. In the formulas p = softmax(logits), and D - p is the
// gradient of log p(D).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "../../engine/random.hpp"
#include "../expectation.hpp"
#include "../rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

class Archive;  // models/training/archive.hpp

struct Method {
  /// An estimate of E f(D): one number for each example. Logits are (..., K), an example making one
  /// choice, or several where f's cost has fewer axes. Methods draw their first noise as
  /// rng.gumbel() of the logits' shape, or with samples in front, so that the same stream gives all
  /// of them the same first choice. Throws what evaluate() throws; and those of several samples,
  /// std::invalid_argument where f chooses for each of them by a rule that reads costs.
  using Estimate = std::function<Var(Var logits, const Cost& f, Rng& rng)>;

  Method() = default;
  Method(std::string name, std::size_t samples, Estimate estimate)
      : name(std::move(name)), estimate(std::move(estimate)), samples(samples) {}
  /// One draw, with the rule at the node: sample(), or for k > 1 sample_top_k(), whose expectation
  /// over subsets is its objective then. A rule that needs multiple samples gets `repeats` of
  /// them, and its estimate is a cost for each, divided by their number.
  Method(Rule rule, std::size_t repeats = 4, std::size_t k = 1);

  std::string name;
  Estimate estimate;
  Var operator()(Var logits, const Cost& f, Rng& rng) const { return estimate(logits, f, rng); }

  std::size_t samples = 1;  ///< draws that go into one estimate; 0: there is nothing random in it
  /// What it estimates, exactly, where that is not expectation(logits, f).
  std::function<Var(Var logits, const Cost& f)> objective;
  /// For a method with a learned state: one step, from its last estimate and the logits it was for.
  std::function<void(Var estimate, Var logits)> learn;
  std::function<void(Archive&)> archive;  ///< of that state
  std::shared_ptr<const Rule> rule;       ///< if it is a rule's
  std::size_t k = 1;                      ///< and the categories in one draw of it
};
/// Its name.
std::ostream& operator<<(std::ostream& out, const Method& method);

// For a method of one's own.

/// `value`, with `gradient` declared to be its gradient for the logits, one example's number having
/// to do with that example's logits alone; whatever else value depends on gets its own. `name` is
/// shown. Throws std::invalid_argument unless the gradient has the logits' shape and value one
/// number an example.
Var with_gradient(const std::string& name, Var value, Var logits, Var gradient);

/// weight (D - p): one weight for each example.
Var score_gradient(Var weight, Var choice, Var p);

/// One draw, a constant: sample() without a way back. With `samples`, as many along a new first
/// axis.
Var drawn_choice(Var logits, Rng& rng, std::size_t samples = 0);

/// evaluate() of choices with samples along a new first axis, over which the estimate will sum
/// their costs. Throws std::invalid_argument, in the name of the method, if the cost makes a choice
/// for each of them by a rule that reads costs: it would be given the estimate for its sample's
/// cost.
Var evaluate_samples(const std::string& name, Var choices, const Cost& f);

/// A point given to a cost, which notes whether a gradient comes back.
class Probe {
 public:
  explicit Probe(Var point);
  Var point;
  /// Throws NoPath, in the name of the method, if in all sweeps so far none did.
  void require_path(const std::string& name) const;

 private:
  std::shared_ptr<bool> reached_;
};

/// f and its gradient at a point, recorded; both counted. Throws NoPath in the name of the method.
struct Slope {
  Var cost, gradient;
};
Slope slope_at(const std::string& name, const Cost& f, Var point);

ARGTAPE_END
