// Architecture search: which operation each edge of a cell (models/cell.hpp) should do, learned
// beside the operations' weights. Half of the digits train the weights, the other half the logits
// of the choice (H. Liu, K. Simonyan, Y. Yang, "DARTS", arXiv 1806.09055; X. Dong, Y. Yang,
// "Searching for a robust neural architecture in four GPU hours", arXiv 1910.04465).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../ops/expectation.hpp"
#include "../ops/rules/rule.hpp"
#include "cell.hpp"
#include "training/optimisers.hpp"

ARGTAPE_PUBLIC_BEGIN

/// What of a cell is run: all operations, mixed by their weights (mixture() of ops/select.hpp), or
/// of each edge the chosen one alone (select()), the others' weights counting as nothing or as
/// scalars.
enum class CellRuns { all, chosen, chosen_with_scalars };

/// The mean loss of the digits as a function of the edges' choices (edges, K), or of M such choices
/// (M, edges, K), which gives M losses; soft ones only where all operations run. The network's
/// parameters are constants; it and the digits must outlive the cost. Throws std::invalid_argument
/// for choices of another shape.
Cost cell_cost(const CellNetwork& network, const Dataset& digits, CellRuns runs);

/// The mean loss of the digits under each of the K^3 cells, (K, K, K), "none" included: each
/// operation is run once
/// for each value it may be given.
Tensor cell_losses(const CellNetwork& network, const Dataset& digits);
/// Their expectation where each edge draws from softmax(logits), (edges, K).
Var expected_cell_loss(Var logits, const Tensor& losses);

/// How logits (edges, K) become the edges' choice.
using CellChoice = std::function<Var(Var logits)>;

/// The second-order objective of DARTS for the logits: the mean loss of `unseen` at the weights w -
/// xi dL/dw, where L is the mean loss of `train` at the network's weights w. What w' owes to the
/// logits is differentiated too, exactly (arXiv 1806.09055, equation 7, which the paper
/// approximates by finite differences). The weights become parameters of the tape; the network must
/// outlive it.
Var unrolled_cell_loss(const CellNetwork& network, Var logits, const CellChoice& choose,
                       const Dataset& train, const Dataset& unseen, double xi);

/// The methods, by name. In "darts" each edge is the mixture by softmax(logits) of all its
/// operations; "darts-second-order" takes the logits' gradient at the weights after a plain
/// gradient step in place of Adam's next, w - xi dL_train/dw on the same digits, whose own
/// dependence on the logits is differentiated exactly. "gumbel-softmax" mixes by a soft sample,
/// "st-all" by a hard one with straight-through Gumbel-softmax behind it. "gdas" and "gdas-scalars"
/// run the chosen operation alone, with the others' weights as nothing and as scalars.
/// "score-function" runs the chosen one and reads the loss, less the mean of earlier ones. "exact"
/// follows the gradient of the expected loss over all cells, and trains the weights of a sampled
/// one.
const std::vector<std::string>& search_methods();

struct SearchSettings {
  std::string method = "darts";
  std::vector<std::string> candidates = cell_operations();  ///< of each edge
  std::size_t channels = 8, batch = 100;
  std::size_t warm_up = 200;      ///< steps of the weights alone, before
  std::size_t steps = 400;        ///< pairs of a step of the logits and one of the weights
  double rate = 2e-3;             ///< of Adam, for the weights; and darts-second-order's xi
  double architecture_rate = 0;   ///< of Adam, for the logits; 0: 0.01, and 0.02 for both GDAS
  double tau = 5, tau_end = 0.1;  ///< of Gumbel-softmax: it falls in a straight line
  std::uint64_t seed = 1;
};

/// What a pair of steps took.
struct StepCost {
  double milliseconds = 0;
  std::ptrdiff_t kept_bytes = 0;  ///< held after a forward pass: the larger of the two steps'
  std::ptrdiff_t peak_bytes = 0;  ///< the most held at any time
};

class ArchitectureSearch {
 public:
  /// Throws std::invalid_argument for an unknown method, no candidate other than "none", rates,
  /// batch or steps that are 0, and less than a batch of digits in each half.
  ArchitectureSearch(const Dataset& train, const SearchSettings& settings);

  /// One step of the weights alone; one pair of steps. Both give the loss of the weights' half, and
  /// throw std::runtime_error when it, or a gradient, is no longer a number. After anything that
  /// they throw the search is no good: it begins anew.
  double warm_up();
  double step();

  /// The strongest operation of each edge that is not "none".
  std::vector<std::string> cell() const;
  const Tensor& logits() const { return logits_[0]; }  ///< (edges, K)
  const CellNetwork& network() const { return network_; }
  /// Of the last step.
  const StepCost& cost() const { return cost_; }

 private:
  Var choice_for(Var logits);
  Var loss_on(const std::vector<Var>& w, Var logits, const Dataset& digits);
  void step_logits(const Dataset& train);
  double step_weights(const Dataset& digits);
  [[noreturn]] void diverged(const std::string& what) const;
  void update(Adam& adam, std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
              Var loss);

  SearchSettings settings_;
  Rng noise_;
  CellNetwork network_;
  DigitBatches for_weights_, for_logits_;
  std::vector<Tensor> logits_;
  Adam weights_adam_, logits_adam_;
  Rule by_costs_;
  std::size_t steps_ = 0;
  std::ptrdiff_t held_before_ = 0;
  StepCost cost_;
};

struct SearchRun {
  std::vector<std::string> cell;
  StepCost cost;             ///< median time; the largest numbers of bytes
  std::vector<double> loss;  ///< of the weights' half, mean of each twentieth of the steps
  std::vector<Tensor>
      probabilities;  ///< softmax(logits), before the first and after each twentieth
};

/// The warm-up and all steps. `progress`, if given, is called after each step.
SearchRun search_architecture(const Dataset& train, const SearchSettings& settings,
                              const std::function<void()>& progress = {});

/// An operation for each edge, each of those that are not "none" equally likely. Throws
/// std::invalid_argument if there is none.
std::vector<std::string> random_cell(const std::vector<std::string>& candidates, Rng& rng);

ARGTAPE_END
