// NVIL: a score function with a learned baseline.
#pragma once

#include <memory>
#include <vector>

#include "../ops/methods/method.hpp"
#include "training/archive.hpp"
#include "training/layers.hpp"
#include "training/optimisers.hpp"

ARGTAPE_PUBLIC_BEGIN

struct NvilSettings {
  double decay = 0.9;       ///< of the running mean and variance of the signal
  std::size_t hidden = 16;  ///< units of the network that sees the example's logits; 0: no network
  double rate = 1e-2;       ///< of its Adam
  bool normalise = true;    ///< divide the signal by max(1, its running standard deviation)
  std::uint64_t seed = 1;   ///< of its first weights
};

/// What NVIL has learned of the costs: a running mean and variance, and a network's guess from the
/// example (through its logits, which are the function of the example that the choice sees). It is
/// for one thread at a time: a second one's estimate meanwhile is refused with std::logic_error.
class NvilBaseline {
 public:
  /// Throws std::invalid_argument unless 0 <= decay < 1 and rate > 0.
  explicit NvilBaseline(NvilSettings settings = {});

  /// The baseline of each example, whose logits are a row.
  Tensor value(const Tensor& rows) const;
  /// What a signal is divided by.
  double scale() const;
  /// One step on the costs of a batch of examples. The network moves towards the costs, and the
  /// running mean and variance towards those of what it leaves. Of costs that are not all finite,
  /// or whose squares are not, it learns nothing. Throws std::invalid_argument for examples with
  /// another number of logits than before, and so does value().
  void learn(const Tensor& rows, const Tensor& costs);
  void archive(Archive& a);

 private:
  friend Method nvil(std::shared_ptr<NvilBaseline>);
  std::unique_ptr<Mlp> first_network(std::size_t inputs) const;
  NvilSettings settings_;
  double mean_ = 0, variance_ = 0;
  bool started_ = false;
  OneThread one_thread_;
  std::unique_ptr<Mlp> network_;
  Adam adam_;
};

/// (f(D) - b) / s (D - p), where the state gives the baseline b and the scale s (neural variational
/// inference and learning: Mnih and Gregor, arXiv 1402.0030). Unbiased but for the scale: its mean
/// is the gradient over s, and the state used is that of earlier steps. One evaluation; f may be a
/// black box. It learns when method.learn() is called. Throws std::invalid_argument for a null
/// state.
Method nvil(std::shared_ptr<NvilBaseline> state = std::make_shared<NvilBaseline>());

ARGTAPE_END
