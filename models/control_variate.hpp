// REBAR and RELAX: a score function whose control variate is tuned by the gradient of the variance.
#pragma once

#include <memory>
#include <vector>

#include "../ops/methods/method.hpp"
#include "training/optimisers.hpp"

ARGTAPE_PUBLIC_BEGIN

struct ControlVariateSettings {
  double tau = 0.5;          ///< the first temperature
  double eta = 1;            ///< the first weight of the relaxed cost
  bool constant = true;      ///< false: b stays 0, as in the REBAR paper
  std::size_t hidden = 0;    ///< tanh units of the network; 0: none
  bool relaxed_cost = true;  ///< false: the network alone, for black boxes
  double rate = 1e-2;        ///< of Adam
  std::uint64_t seed = 1;    ///< of the network's first weights
};

/// c(z) = eta f(softmax(z / tau)) + b + network(softmax(z)), a cost of the perturbed logits z = log
/// p + g. Its parameters are log tau, eta, the constant b, which is a baseline, and the network's.
/// It is for one thread at a time: a second one's estimate meanwhile is refused with
/// std::logic_error.
class ControlVariate {
 public:
  /// Throws std::invalid_argument unless tau and rate are more than 0, and for neither a relaxed
  /// cost nor a network.
  explicit ControlVariate(ControlVariateSettings settings = {});

  double tau() const;
  double eta() const;
  const ControlVariateSettings& settings() const { return settings_; }
  /// "rebar", or "relax" with a network.
  Name name() const { return settings_.hidden > 0 ? Name("relax") : Name("rebar"); }
  std::vector<Tensor> parameters;
  void archive(Archive& a);

 private:
  friend Method rebar(std::shared_ptr<ControlVariate>);
  struct Term;
  Term at(Name name, const Cost& f, Var z, const Shape& examples,
          const std::vector<Var>& on_tape) const;
  Var estimate(Var logits, const Cost& f, Rng& rng);
  void learn(Var estimate, Var logits);
  void prepare(std::size_t inputs);

  ControlVariateSettings settings_;
  Adam adam_;
  std::vector<Var> on_tape_;  // the parameters, where the last estimate was made: on that tape
  std::uint64_t tape_ = 0;    // of this serial number
  OneThread one_thread_;
};

/// (f(D) - c(z')) (D - p) + d c(z) / dl - d c(z') / dl, where D = argmax z and z' is z drawn again
/// given D (Tucker, Mnih, Maddison, Lawson, Sohl-Dickstein, arXiv 1703.07370; categorical as in
/// Grathwohl et al., arXiv 1711.00123). Unbiased for every c. Three evaluations, two backward
/// passes. method.learn() moves c's parameters against the gradient of the mean square of the
/// estimate, which differs from its variance by a constant, through the recorded backward passes.
/// The estimate throws NoPath for a black box. Throws std::invalid_argument for a null state.
Method rebar(std::shared_ptr<ControlVariate> state = std::make_shared<ControlVariate>());

/// The same with a network in c (Grathwohl, Choi, Wu, Roeder, Duvenaud, arXiv 1711.00123). With
/// `relaxed_cost` off f may be a black box, and is evaluated once.
Method relax(std::shared_ptr<ControlVariate> state = nullptr);

ARGTAPE_END
