// Optimisers: from parameters and their gradients to better parameters. A parameter that no
// gradient arrived at, such as one of a branch that did not run, stays as it is, and so does what
// is kept about it: old momentum does not move it on.
//
// A gradient that is not finite, or so long that the step leaves Scalar's range, is refused with
// std::invalid_argument, which names the parameter and the place. The numbers concerned, and what
// is kept about them, stay as they were; others may have moved already, and the next step is as
// good as if there had been no error. A large gradient that is finite does no lasting harm. Where
// memory ends (std::bad_alloc), a step from gradients has changed nothing.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "../../engine/sweep.hpp"
#include "../../ops/temperature.hpp"
#include "archive.hpp"

ARGTAPE_PUBLIC_BEGIN

struct ParameterGroup;

/// What all of them have in common. A rate is a number, or a schedule of the steps done, such as
/// linear_decay(1e-3, 0, steps); std::invalid_argument is thrown unless it is above 0 at the start,
/// and by a step unless it is at least 0, and of a size that Scalar can hold.
class Optimiser {
 public:
  virtual ~Optimiser() = default;
  /// One step; `on_tape` are the same parameters on the tape that was swept, in the order in which
  /// they were put there. Throws std::invalid_argument if they do not match.
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
            const Gradients& gradients);
  /// The same from the costs: the tape's last sweep, backward_and_release(), which changes each
  /// parameter as soon as its gradient is complete. It takes the least memory. If the sweep throws,
  /// some parameters may have been changed already, each with what is kept about it, and the step
  /// is not counted: who may have to make it again keeps an archive, or steps from gradients.
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs);
  void step(...) = delete;  // step(parameters, on_tape, gradients), or (parameters, on_tape, costs)
  /// Its name, the rate, the steps done and what is kept about the parameters; what another
  /// optimiser wrote is refused. Other settings are the constructor's.
  void archive(Archive& a);
  double rate;  ///< of the next step; of the last one, where there is a schedule

 protected:
  /// `kept` names what is kept about each parameter: tensors of its shape that start as zeros.
  Optimiser(const char* name, const Rate& rate, const std::vector<const char*>& kept);
  /// Changes parameter i, and what is kept about it.
  virtual void update(Tensor& parameter, std::size_t i, const Tensor& gradient) = 0;
  const char* name() const { return name_; }
  Tensor& kept(std::size_t which, std::size_t i) { return kept_[which].second[i]; }
  std::size_t& steps_of(std::size_t i) { return steps_of_[i]; }

 private:
  friend void step_together(const std::vector<ParameterGroup>& groups, Inputs costs);
  void begin(const std::vector<Tensor>& parameters, const std::vector<Var>& on_tape);
  const char* name_;
  Rate schedule_;
  std::vector<std::pair<std::string, std::vector<Tensor>>> kept_;
  std::vector<std::size_t> steps_of_;  // of each parameter
  std::size_t steps_ = 0;
};

/// Parameters, where they are on the tape, and who changes them.
struct ParameterGroup {
  Optimiser& optimiser;
  std::vector<Tensor>& parameters;
  const std::vector<Var>& on_tape;
};
/// A step of several groups in one last sweep, such as a VAE's two networks, each with a rate of
/// its own: step_together({{for_encoder, encoder.parameters, in}, {for_decoder, decoder.parameters,
/// out}}, costs). Throws as Optimiser::step() does, and for an optimiser or a Var in two groups.
void step_together(const std::vector<ParameterGroup>& groups, Inputs costs);

/// Stochastic gradient descent with momentum: v = momentum v + g; p -= rate v.
class Sgd : public Optimiser {
 public:
  Sgd() = delete;  // the rate is the user's to say: Sgd(0.1)
  /// Throws std::invalid_argument unless 0 <= momentum < 1.
  explicit Sgd(Rate rate, double momentum = 0);

 private:
  void update(Tensor& parameter, std::size_t i, const Tensor& gradient) override;
  double momentum_;
};

/// Adam (D. Kingma, J. Ba, arXiv 1412.6980, algorithm 1): with the means m of g and v of g^2, both
/// corrected for their start at 0, p -= rate m / (sqrt(v) + epsilon).
class Adam : public Optimiser {
 public:
  Adam() = delete;  // the rate is the user's to say: Adam(1e-3)
  /// Throws std::invalid_argument unless epsilon > 0, of a size that Scalar can hold, and 0 <=
  /// beta1, beta2 < 1.
  explicit Adam(Rate rate, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8);

 protected:
  struct Settings {
    double beta1, beta2, epsilon, weight_decay;
    bool corrected;
  };
  Adam(const char* name, const Rate& rate, const Settings& settings);

 private:
  void update(Tensor& parameter, std::size_t i, const Tensor& gradient) override;
  Settings settings_;
};

/// Adam with decoupled weight decay (I. Loshchilov, F. Hutter, arXiv 1711.05101, algorithm 2): p -=
/// rate (m / (sqrt(v) + epsilon) + weight_decay p).
class AdamW : public Adam {
 public:
  /// Throws std::invalid_argument as Adam does, and unless weight_decay >= 0 is finite.
  explicit AdamW(Rate rate, double weight_decay = 0.01, double beta1 = 0.9, double beta2 = 0.999,
                 double epsilon = 1e-8);
};

/// RMSprop (T. Hinton, "Neural networks for machine learning", lecture 6, 2012): with the mean v of
/// g^2, p -= rate g / (sqrt(v) + epsilon). Adam without its other mean, and uncorrected.
class RmsProp : public Adam {
 public:
  /// Throws std::invalid_argument unless epsilon > 0, of a size that Scalar can hold, and 0 <=
  /// decay < 1.
  explicit RmsProp(Rate rate, double decay = 0.99, double epsilon = 1e-8);
};

ARGTAPE_END
