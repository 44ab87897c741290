// A digit classifier trained on the 0/1 loss itself, through argmax.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../ops/rules/rule.hpp"
#include "data/data.hpp"
#include "training/layers.hpp"

ARGTAPE_PUBLIC_BEGIN

/// 1 where the choice (n, K) is not the label, else 0: 1 - choice[label], linear in the choice.
/// Gives (n,).
Var zero_one_loss(Var choice, const std::vector<std::size_t>& labels);
/// The same on every one-hot choice, but |choice - label|^2 / 2 in between, with gradient choice -
/// label. The linear form's gradient, -label, never looks at the choice: passed on by
/// straight_through_identity() it teaches nothing, where this one's gives the perceptron's rule.
Var zero_one_loss_squared(Var choice, const std::vector<std::size_t>& labels);

struct ZeroOneSettings {
  std::size_t hidden = 256, batch = 128, epochs = 20;
  double rate = 1e-3;       ///< of Adam
  std::size_t repeats = 4;  ///< samples for each example, for a rule that needs several
  std::uint64_t seed = 1;
};

struct ZeroOneRun {
  std::string rule;
  double test_accuracy = 0, train_accuracy = 0;
  std::vector<double> by_epoch;  ///< test accuracy after each
  std::size_t steps = 0;
  double seconds = 0;
  Tensor confusion;                          ///< of the test digits, confusion_matrix()
  std::vector<std::size_t> never_predicted;  ///< classes that no test digit was given
  bool moved = false;                        ///< whether any weight changed in any bit
  std::string stop_report;                   ///< of the first step
};

/// The methods that train_zero_one() compares: the first nine of rule_names(), and the references
/// "exact", the expected 0/1 loss 1 - p_label, and "cross-entropy".
std::vector<std::string> zero_one_methods();

/// Trains a network pixels-hidden-classes; the decision is the argmax of its output. Rules about a
/// distribution, soft ones and ReinMax draw the choice with Gumbel noise; the others take the
/// argmax. gumbel-softmax anneals its temperature from 1 to 0.1; straight-through-identity takes
/// the squared form of the loss. `progress`, if given, is called after each step. Throws
/// std::invalid_argument for an unknown method and settings that do not fit.
ZeroOneRun train_zero_one(const Split& data, const std::string& method,
                          const ZeroOneSettings& settings,
                          const std::function<void()>& progress = {});

/// The same from a given network, which is trained.
ZeroOneRun train_zero_one(const Split& data, const std::string& method,
                          const ZeroOneSettings& settings, Mlp& network,
                          const std::function<void()>& progress = {});

ARGTAPE_END
