// The score function, which needs no path to the cost, and its baselines. The letters in the
// formulas are those of ops/rules/rule.hpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// What a score function subtracts from the costs. `value` gets the costs, one for each choice, and
/// returns as many numbers, constants where the estimate is differentiated again; they must not
/// depend on the same choice's own cost, or the estimate is biased. `learn`, if there is one, is
/// told of the costs when the sweep is done: nothing, if it throws, nor by differentiate(). Both
/// are called by whatever thread sweeps.
struct Baseline {
  std::string name;
  std::function<Tensor(const Tensor& costs)> value;
  std::function<void(const Tensor& costs)> learn;
  bool needs_multiple_samples = false;                    ///< see Rule
  std::shared_ptr<std::vector<double>> memory = nullptr;  ///< see Rule
};

/// The mean of earlier sweeps' costs, forgotten at the rate `decay`; 0 in the first sweep. It is a
/// state: all copies of the baseline share it, also from several threads at once, where each sweep
/// takes the mean as the others have left it, so that a run's last digits depend on who came first.
/// A sweep whose mean cost is not finite teaches it nothing. Throws std::invalid_argument unless
/// 0 <= decay < 1.
Baseline running_mean(double decay = 0.9);

/// The mean cost of the other samples: logits must be (M, ...), the same logits M times along the
/// first axis (ops/shape.hpp, broadcast), and each cost one number a sample: averaged over the
/// samples it would be its own baseline. Throws std::invalid_argument, in the sweep, for fewer than
/// two samples and for a cost without their axis.
Baseline leave_one_out();

/// For each of the M >= 2 costs along the first axis the mean of the others; where all agree it is
/// the cost itself, exactly, and an infinite one is all others' mean.
Var mean_of_others(Var costs);

/// (f(D) - baseline) (D - p), unbiased, and needs no path: f may be a black box (Glynn 1990;
/// Williams 1992). Only for drawn choices. Throws
/// std::invalid_argument, in the sweep, for NaN among the costs, naming the row.
Rule score_function(Baseline baseline = {});

ARGTAPE_END
