// A program on the tape, written in bytes: what it computes in either library.
#pragma once

#include <string>
#include <vector>

/// How the gradients are come by.
enum class Way { backward, recorded, released };

/// What a program computed, in one way.
struct Swept {
  std::string refused;  ///< the sweep's error in words, "" if there was none
  std::string fault;    ///< what must never be
  std::string steps;    ///< the ops that were recorded, and what was refused
  bool comparable =
      true;  ///< all of it finite, and no noise that the libraries draw each their own
  std::vector<std::vector<double>> numbers;  ///< values, first gradients, second gradients
};

/// Runs the program and sweeps it. With `jitter` every value that is no whole number is off by up
/// to so much, relatively, from a generator of its own: how far the results move is how far
/// rounding may move them.
Swept swept_in_float(const std::string& program, Way way, double jitter = 0, int draw = 0);
Swept swept_in_double(const std::string& program, Way way, double jitter = 0, int draw = 0);
