// Dense layers, and a stack of them. Parameters are plain tensors, which outlive the tapes that use
// them.
#pragma once

#include <functional>
#include <vector>

#include "../../engine/random.hpp"
#include "../../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// How the weights (n, m) and the bias (m,) of a dense layer start.
struct Initialiser {
  std::function<Tensor(std::size_t n, std::size_t m, Rng& rng)> weights;
  std::function<Tensor(std::size_t n, std::size_t m, Rng& rng)> bias;
};
/// Both uniform in +-1/sqrt(n): PyTorch's default for nn.Linear.
Initialiser uniform_fan_in();
/// Weights uniform in +-sqrt(6 / (n + m)) (Glorot and Bengio, 2010), bias zero.
Initialiser glorot_uniform();

/// Dense layers with relu between them, none behind the last: their weights and biases w0, b0, w1,
/// ... are the parameters first <= i < last on the tape. For a network that keeps the parameters of
/// several such stacks together. Throws std::invalid_argument unless they are there, in pairs.
Var dense_layers(const std::vector<Var>& on_tape, std::size_t first, std::size_t last, Var x);

/// A stack of dense layers with relu between them.
class Mlp {
 public:
  /// Layers sizes[0] -> sizes[1] -> ... Throws std::invalid_argument for fewer than two sizes, or a
  /// zero.
  Mlp(const std::vector<std::size_t>& sizes, Rng& rng,
      const Initialiser& initialiser = uniform_fan_in());

  explicit Mlp(...) = delete;  // sizes in braces, then the random numbers: Mlp({3, 8, 2}, rng)

  std::vector<Tensor> parameters;  ///< w0, b0, w1, b1, ...

  /// The last layer's output, without relu; `on_tape` are the parameters there, as
  /// tape.borrow_parameters() gives them.
  Var operator()(const std::vector<Var>& on_tape, Var x) const;
};

/// x, with each number 0 at the probability `rate` and the others divided by 1 - rate (N.
/// Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15,
/// 2014). Where the rate is 0 it is x itself, and nothing is drawn. Throws std::invalid_argument
/// unless 0 <= rate < 1.
Var dropout(Var x, double rate, Rng& rng);

ARGTAPE_END
