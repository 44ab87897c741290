// Optimisers: from parameters and their gradients to better parameters. A parameter that no
// gradient arrived at, such as one of a branch that did not run, stays as it is, and so does what
// is kept about it: old momentum does not move it on.
//
// A gradient that is not finite, or so long that the step leaves Scalar's range, is refused with
// std::invalid_argument, which names the parameter and the place. The numbers concerned, and what
// is kept about them, stay as they were; others may have moved already, and the next step is as
// good as if there had been no error. A large gradient that is finite does no lasting harm.
#pragma once

#include <vector>

#include "../../engine/sweep.hpp"
#include "archive.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Stochastic gradient descent with momentum: v = momentum v + g; p -= rate v.
class Sgd {
 public:
  Sgd() = delete;  // the rate is the user's to say: Sgd(0.1)
  /// Throws std::invalid_argument unless rate > 0, of a size that Scalar can hold, and 0 <=
  /// momentum < 1.
  explicit Sgd(double rate, double momentum = 0);
  /// One step; `on_tape` are the same parameters, in order, on the tape that was swept. Throws
  /// std::invalid_argument if they do not match.
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
            const Gradients& gradients);
  /// The same from the costs: the tape's last sweep, backward_and_release(), which changes each
  /// parameter as soon as its gradient is complete. It takes the least memory. If the sweep throws,
  /// some parameters may have been changed already.
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs);
  void step(...) = delete;  // step(parameters, on_tape, gradients), or (parameters, on_tape, costs)
  /// The rate and what is kept about the parameters. Other settings are the constructor's.
  void archive(Archive& a);
  double rate;

 private:
  void update(Tensor& parameter, std::size_t i, const Tensor& gradient);
  double momentum_;
  std::vector<Tensor> velocity_;
};

/// Adam (D. Kingma, J. Ba, arXiv 1412.6980, algorithm 1): with the means m of g and v of g^2, both
/// corrected for their start at 0, p -= rate m / (sqrt(v) + epsilon).
class Adam {
 public:
  Adam() = delete;  // the rate is the user's to say: Adam(1e-3)
  /// Throws std::invalid_argument unless rate, epsilon > 0, of a size that Scalar can hold, and 0
  /// <= beta1, beta2 < 1.
  explicit Adam(double rate, double beta1 = 0.9, double beta2 = 0.999, double epsilon = 1e-8);
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape,
            const Gradients& gradients);
  void step(std::vector<Tensor>& parameters, const std::vector<Var>& on_tape, Inputs costs);
  void step(...) = delete;  // step(parameters, on_tape, gradients), or (parameters, on_tape, costs)
  /// The rate and what is kept about the parameters. Other settings are the constructor's.
  void archive(Archive& a);
  double rate;

 private:
  void update(Tensor& parameter, std::size_t i, const Tensor& gradient);
  double beta1_, beta2_, epsilon_;
  std::vector<std::size_t> steps_;   // of each parameter
  std::vector<Tensor> mean_, root_;  // m, and the root of v: a square may be out of range
};

ARGTAPE_END
