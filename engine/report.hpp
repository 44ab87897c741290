// The stop report: which node stopped which parameter's gradient, and why.
#pragma once

#include <string>
#include <vector>

#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

enum class Stop {
  reached,      ///< a gradient arrives and is not zero
  zero,         ///< one arrives, but every number in it is zero, if there is any
  not_finite,   ///< one arrives with NaN or an infinity in it
  cut,          ///< a node on the way passes nothing back
  unconnected,  ///< the cost was not computed from it
  refused,      ///< the sweep itself is an error
};
std::ostream& operator<<(std::ostream& out, Stop reason);  // "reached", "not finite"

struct StopLine {
  Var parameter;
  Stop reason;
  /// Where the gradient stopped, or what made it not finite (Tape::detect_anomaly); empty if it
  /// reached, or never set out.
  std::vector<Var> nodes;
  double norm = 0;    ///< of the gradient, where one arrives
  std::string words;  ///< all of it in a sentence
};

/// One line for each parameter. Throws std::invalid_argument for Vars of two tapes.
std::vector<StopLine> stop_report(Var cost, Inputs parameters);

/// The report's sentences, one a line; neighbours of which the same is true share one.
std::string str(const std::vector<StopLine>& report);
std::ostream& operator<<(std::ostream& out, const std::vector<StopLine>& report);
std::ostream& operator<<(std::ostream& out, const StopLine& line);

ARGTAPE_END
