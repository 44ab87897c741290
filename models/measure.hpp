// The instrument: what a rule's or a method's gradient is worth, with the exact gradient as the
// judge.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "../ops/expectation.hpp"
#include "../ops/methods/method.hpp"
#include "../ops/rules/rule.hpp"

ARGTAPE_PUBLIC_BEGIN

struct MeasureOptions {
  /// In all: a method that takes several samples makes so many fewer estimates of them.
  std::size_t draws = 10000;
  /// Rules and methods measured with the same seed, draws and batch see the same noise.
  std::uint64_t seed = 1;
  /// Draws on one tape. A running mean learns from one such batch to the next.
  std::size_t batch = 100;
  /// Samples in one estimate of a rule that needs repeats: that estimate is their mean.
  std::size_t repeats = 4;
  /// Of a rule: the categories in one choice. For k > 1 it stands behind sample_top_k(), and f is
  /// called on k-hot choices.
  std::size_t k = 1;
  /// Sum over all choices instead of drawing, where the gradient of a rule depends on the choice
  /// alone (Rule::reads_noise) and there are at most kMostCombinations: no error bar is left.
  bool enumerate = false;
  /// Steps that a method with a learned state makes first, each on one more batch of estimates.
  /// While it is measured it learns no more.
  std::size_t tuning = 0;
  /// The gradient to measure against, of the logits' shape, where enumeration is out of reach.
  std::optional<Tensor> exact = std::nullopt;
};

/// Bias, standard deviation and mean squared error of one estimate of the gradient, relative to the
/// norm of the exact gradient (the error: to its square): bias = |E g - exact|, std = sqrt(E |g - E
/// g|^2), mse = E |g - exact|^2, and the mean cosine of g and exact (0 where g vanishes, but for
/// rounding); each beside its standard error.
struct Measure {
  std::string rule;
  double bias = 0, bias_se = 0;
  double std = 0, std_se = 0;
  double mse = 0, mse_se = 0;
  double cosine = 0, cosine_se = 0;
  double evaluations = 0;         ///< of the cost, for one estimate
  double backwards = 0;           ///< through the cost, for one estimate
  double solver_calls = 0;        ///< in the backward, for one estimate
  double tuning_evaluations = 0;  ///< of the cost, for all of the tuning
  double microseconds = 0;        ///< for one draw
  std::string refusal;  ///< what the rule said if it cannot work on this cost; then the rest is 0
};

/// Its name, and its figures beside their standard errors, in a line: "zero: bias 1 ± 0, ...".
std::ostream& operator<<(std::ostream& out, const Measure& m);

/// The gradient of E f(D) for the logits (K,) or (N, K), by enumeration. Throws what expectation()
/// throws.
Tensor exact_gradient(const Cost& f, const Tensor& logits);

/// Measures a method, or a rule, on the cost f of one choice (K,), or of N choices (N, K) made
/// together. f is called on batches (..., K) or (..., N, K) and returns (...). The judge is
/// options.exact, or else the method's own objective, or else exact_gradient(). A pathwise method
/// that refuses f fills in Measure::refusal; what else a method throws comes through. Throws
/// std::invalid_argument if there is no draw, if fewer draws than samples fit a batch, or if the
/// exact gradient is zero or of another shape.
Measure measure(const Method& method, const Cost& f, const Tensor& logits,
                const MeasureOptions& options = {});
Measure measure(const Rule& rule, const Cost& f, const Tensor& logits,
                const MeasureOptions& options = {});

/// Each of them on the same noise: measure_all({zero(), reinmax(), enumeration()}, f, logits). A
/// rule takes the options' repeats and k, unless it has its own: Method(score_function(), 4, 3).
std::vector<Measure> measure_all(const std::vector<Method>& methods, const Cost& f,
                                 const Tensor& logits, const MeasureOptions& options = {});

/// One a line.
std::ostream& operator<<(std::ostream& out, const std::vector<Measure>& all);

Measure measure(...) = delete;  // of a rule or method: measure(rule, cost, logits)

/// The same for exact enumeration: no error, but a cost.
Measure measure_exact(const Cost& f, const Tensor& logits);

ARGTAPE_END
