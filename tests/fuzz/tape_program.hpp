// A program on the tape, written in bytes: what it computes in either library.
#pragma once

#include <string>
#include <vector>

/// How the gradients are come by.
enum class Way { backward, recorded, released };

/// What a program computed, in one way.
struct Swept {
  std::string refused;     ///< the sweep's error in words, "" if there was none
  std::string fault;       ///< what must never be
  std::string steps;       ///< the ops that were recorded, and what was refused
  bool comparable = true;  ///< all of it is finite
  /// Steps that made an infinity, which was brought back, or were refused for a 0: beyond float's
  /// range double may go on.
  int at_the_end = 0;
  /// The other library's numbers are others: it draws noise of its own, or compares rounded
  /// numbers.
  bool by_chance = false;
  /// Values, first gradients, second gradients, and those again.
  std::vector<std::vector<double>> numbers;
  std::vector<std::string> reached;  ///< what of the menu was recorded, by name
};

/// Runs the program and sweeps it. With `jitter` every value but a choice, and every cotangent, is
/// off by up to so much, from a generator of its own: how far the results move is how far rounding
/// may move them.
Swept swept_in_float(const std::string& program, Way way, double jitter = 0, int draw = 0);
Swept swept_in_double(const std::string& program, Way way, double jitter = 0, int draw = 0);

/// All that a program can reach.
std::vector<std::string> reachable();
