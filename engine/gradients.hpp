// The gradients that a sweep found: looked up by Var; scaled, added and clipped before a step.
#pragma once

#include <cstdint>
#include <vector>

#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A gradient for each parameter of a tape, or for each of some Vars. There is nothing to zero
/// between sweeps: each returns its own.
class Gradients {
 public:
  /// Of nothing; what is added to them they become.
  Gradients() = default;
  /// Made by hand: one for each Var, in its shape. Throws std::invalid_argument if they do not fit,
  /// and for Vars on two tapes, or one that is named twice.
  Gradients(Inputs of, std::vector<Tensor> gradients);

  /// The gradient for one of the tape's parameters (or of the Vars asked for): zeros if nothing
  /// arrived. Throws std::invalid_argument for any other Var.
  const Tensor& operator[](Var v) const&;
  /// Of Gradients that nobody keeps, as in backward(cost)[x]: a tensor of its own.
  Tensor operator[](Var v) &&;
  /// Whether a gradient arrived at all; stop_report() (engine/report.hpp) says why not.
  bool reached(Var v) const;

  /// Throws std::invalid_argument if the factor, or a product of a finite number, is not finite;
  /// they stay as they are then.
  Gradients& operator*=(double factor);
  /// Adds those of another sweep, parameter by parameter in the order of their tapes, so that a
  /// batch may come in pieces, each with a tape of its own: `g += sum; sum = std::move(g)` leaves
  /// the sum with the last tape. Throws std::invalid_argument unless they are as many, in the same
  /// shapes.
  Gradients& operator+=(const Gradients& other);

  /// The Euclidean norm of all of them together.
  double norm() const;
  /// Multiplies all of them by most / norm() where that is below 1 (R. Pascanu, T. Mikolov, Y.
  /// Bengio, arXiv 1211.5063, section 3.2), and gives the norm as it was. Throws
  /// std::invalid_argument unless most > 0, of a size that Scalar can hold, and all numbers are
  /// finite; they stay as they are then.
  double clip_norm(double most);
  /// Takes every number into -most ... most. Throws as clip_norm() does.
  void clip_values(double most);

  struct Entry {
    std::uint32_t index;
    bool reached;
    Tensor gradient;
    Name name;  ///< of the Var it is of, which may be gone
  };
  /// All of them, by rising index.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  friend class Sweep;
  const Entry& entry(Var v) const;
  void check_clip(const char* op, double most) const;
  std::uint64_t tape_ = 0;      // its serial number
  std::vector<Entry> entries_;  // by rising index
};
/// One a line, after the name of what it is of.
std::ostream& operator<<(std::ostream& out, const Gradients& gradients);

ARGTAPE_END
