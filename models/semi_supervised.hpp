// The semi-supervised variational autoencoder: few digits with a label, many without. A digit x is
// made of its class y and its style z; where it has no label the class is summed out, or drawn (D.
// Kingma, D. Rezende, S. Mohamed and M. Welling, "Semi-supervised learning with deep generative
// models", arXiv 1406.5298, its model M2; E. Jang, S. Gu and B. Poole, arXiv 1611.01144, section
// 4.3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../engine/random.hpp"
#include "../ops/rules/rule.hpp"
#include "data/data.hpp"
#include "training/archive.hpp"
#include "training/optimisers.hpp"

ARGTAPE_PUBLIC_BEGIN

struct SemiSupervisedSizes {
  std::size_t classifier = 256;  ///< hidden units of q(y|x),
  std::size_t hidden = 256;      ///< and of each of the other two networks
  std::size_t latent = 2;        ///< numbers of a style
  bool conv = false;
};

/// q(y|x), categorical, q(z|x, y), Gaussian with a diagonal covariance, and p(x|y, z), Bernoulli
/// pixel by pixel: networks of one hidden layer each. The priors of y and z are uniform and
/// standard normal. With `conv` the first two look at the image through three convolutions, and
/// instead of the third's last layer four transposed ones make the image, the first of a single
/// pixel.
class SemiSupervised {
 public:
  /// For images and classes such as the data's. Throws std::invalid_argument for a zero among the
  /// sizes, and with `conv` for images other than 28 x 28.
  SemiSupervised(const Dataset& data, const SemiSupervisedSizes& sizes, Rng& rng);

  std::vector<Tensor> parameters;

  // Below, w are the parameters on the tape, as tape.borrow_parameters() gives them; images x are
  // (B, pixels); classes y, one-hot or relaxed, are (B, K), or (K, 1, K) for every class with every
  // image; styles z, and the noise that they are drawn with, are (B, latent), or (K, B, latent).

  /// The logits of q(y|x): (B, K); with dropout() of hidden units, and of two fifths as many
  /// pixels.
  Var classify(const std::vector<Var>& w, Var x) const;
  Var classify(const std::vector<Var>& w, Var x, double dropout, Rng& rng) const;
  /// q(z|x, y), each (..., B, latent).
  struct Style {
    Var mean, log_variance;
  };
  Style infer(const std::vector<Var>& w, Var x, Var y) const;
  /// The logits of p(x|y, z): (..., B, pixels).
  Var generate(const std::vector<Var>& w, Var y, Var z) const;

  /// L(x, y) = E log p(x|y, z) + log p(y) - KL(q(z|x, y) || p(z)) <= log p(x, y), at the z that the
  /// noise makes: (..., B).
  Var labelled_bound(const std::vector<Var>& w, Var x, Var y, Var noise) const;
  /// U(x) = sum_y q(y|x) L(x, y) + H(q(y|x)) <= log p(x), for the logits of q(y|x), every class
  /// gone through: (B,), from noise (K, B, latent).
  Var marginal_bound(const std::vector<Var>& w, Var x, Var logits, Var noise) const;
  /// L(x, y) + H(q(y|x)) at one class y drawn from q(y|x), which stands on the tape under the rule:
  /// (B,), from noise (B, latent). Its mean is U(x) if the rule keeps y hard.
  Var sampled_bound(const std::vector<Var>& w, Var x, Var logits, const Rule& rule, Var noise,
                    Rng& rng) const;

  std::size_t classes() const { return classes_; }
  std::size_t latent() const { return latent_; }

 private:
  Var seen(const Var* w, Var x) const;

  std::size_t classes_, latent_, convolutions_;  // parameters of convolutions that look
  std::size_t inference_, generator_;  // where the second and third network's parameters begin
};

/// "labels-only", "marginalised", "gumbel-softmax", "st-gumbel-softmax".
const std::vector<std::string>& semi_supervised_methods();

struct SemiSupervisedSettings {
  std::string method = "marginalised";
  SemiSupervisedSizes sizes;
  std::size_t labels = 10;  ///< labelled digits of each class; all of them are in every step
  std::size_t batch = 50;   ///< unlabelled digits in a step
  std::size_t steps = 4000;
  std::size_t warm_up = 1000;  ///< steps in which U(x) does not yet teach q(y|x)
  double alpha = 5;
  double labelled_weight = 0.05;  ///< of L(x, y), see below
  double dropout = 0.5;           ///< in q(y|x) alone
  double rate = 1e-3;             ///< of Adam
  double decline = 0.5;           ///< over this share of the steps, the last ones, it falls to 0
  double tau_rate = 3e-4;         ///< the temperature is max(0.5, exp(-tau_rate step))
  std::uint64_t seed = 1;
};

/// Maximises J = weight mean L(x, y) + mean U(x) + alpha mean log q(y|x), the first and the last
/// over labelled digits, the other over all of them, labels unseen. In arXiv 1611.01144, equation
/// 11, the weight is 1; M2 sums over all digits, so that it is the labelled ones' share. Each step
/// binarises its digits anew: a pixel is 1 with its grey as the probability.
class SemiSupervisedTraining {
 public:
  /// The labels are those of the first `labels` digits of each class. `digits` must outlive this.
  /// Throws std::invalid_argument for settings that do not fit.
  SemiSupervisedTraining(const Dataset& digits, const SemiSupervisedSettings& settings);

  /// The next step of Adam. Throws std::runtime_error when J is no longer a number. After anything
  /// that it throws the state is no good: it is loaded from an archive of before.
  void step();
  std::size_t steps_done() const { return step_; }
  const SemiSupervised& network() const { return network_; }
  /// All that the next step goes on from.
  void archive(Archive& a);

 private:
  Var objective(Tape& tape, const std::vector<Var>& w);

  const Dataset& digits_;
  SemiSupervisedSettings settings_;
  Rng start_, order_, noise_;  // streams of their own: all methods see the same digits
  SemiSupervised network_;
  Dataset labelled_;
  Rule rule_;
  Adam adam_;
  std::size_t step_ = 0;
};

/// The share of the digits whose label is the likeliest class.
double accuracy(const SemiSupervised& network, const Dataset& digits);
/// The mean of U(x) over the digits, binarised, every class gone through.
double mean_bound(const SemiSupervised& network, const Dataset& digits, Rng& rng);

ARGTAPE_END
