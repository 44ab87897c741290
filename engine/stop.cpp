#include "engine/stop.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "engine/sweep.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

double norm(const Tensor& t) {
  double squares = 0;
  for (Scalar x : t) squares += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(squares);
}

std::string named(const Var& v) {
  return v.tape->node(v.index).op.name + " (node " + std::to_string(v.index) + ")";
}

std::string list(const std::vector<Var>& nodes) {
  std::string s;
  for (const Var& v : nodes) s += (s.empty() ? "" : " and ") + named(v);
  return s;
}

std::string short_number(double x) {
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "%.3g", x);
  return buffer;
}

// For each node whether it was computed from `from`, through edges of any kind.
std::vector<bool> computed_from(const Tape& tape, std::uint32_t from, std::uint32_t cost) {
  std::vector<bool> is(cost + 1, false);
  if (from <= cost) is[from] = true;
  for (std::uint32_t i = from + 1; i <= cost; ++i)
    for (std::uint32_t in : tape.node(i).inputs) is[i] = is[i] || is[in];
  return is;
}

}  // namespace

std::vector<StopLine> stop_report(Var cost, Inputs parameters) {
  Tape& tape = tape_of("stop_report", cost);
  for (const Var& p : parameters)
    if (p.tape != &tape)
      throw std::invalid_argument("stop_report: a parameter stands on another tape than the cost");

  // Which nodes feed the cost, and at which a gradient sets out or arrives.
  std::vector<bool> feeds(cost.index + 1, false), arrives(cost.index + 1, false);
  feeds[cost.index] = arrives[cost.index] = true;
  for (std::uint32_t i = cost.index + 1; i-- > 0;) {
    const Node& n = tape.node(i);
    for (std::uint32_t in : n.inputs) {
      feeds[in] = feeds[in] || feeds[i];
      const bool sends = n.op.flow != Flow::cut && (arrives[i] || (n.op.reads_costs && feeds[i]));
      arrives[in] = arrives[in] || sends;
    }
  }

  std::vector<Var> wanting;
  for (std::uint32_t i = 0; i <= cost.index; ++i)
    if (feeds[i] && tape.node(i).wants_gradient) wanting.push_back(tape.var(i));
  std::string refusal;
  Gradients gradients;
  try {
    gradients = backward(cost, wanting);
  } catch (const std::invalid_argument& e) {
    refusal = e.what();
  }

  std::vector<StopLine> report;
  for (const Var& p : parameters) {
    const std::string name = tape.node(p.index).op.name;
    StopLine line{p, Stop::unconnected, {}, 0, ""};
    const std::vector<bool> below = computed_from(tape, p.index, cost.index);
    if (!below[cost.index]) {
      line.words = name +
                   ": no gradient. The cost was not computed from it: no operations lead from one "
                   "to the other.";
    } else if (!tape.node(p.index).wants_gradient) {
      line.words =
          name +
          ": no gradient. It is a constant on this tape; tape.parameter() makes it one to learn.";
    } else if (!refusal.empty()) {
      line.reason = Stop::refused;
      line.words = name + ": no gradient. The sweep stops with an error: " + refusal;
    } else if (!gradients.reached(p)) {
      line.reason = Stop::cut;
      std::string why;
      for (std::uint32_t i = p.index; i <= cost.index; ++i) {
        const Op& op = tape.node(i).op;
        if (!below[i] || !arrives[i] || op.flow != Flow::cut) continue;
        line.nodes.push_back(tape.var(i));
        if (!op.why_cut.empty() && why.find(op.why_cut) == std::string::npos)
          why += " " + op.why_cut;
      }
      line.words = name + ": no gradient. It was cut at " + list(line.nodes) +
                   (line.nodes.size() == 1 ? ", which passes" : ", which pass") + " nothing back." +
                   why;
    } else if ((line.norm = norm(gradients[p])) > 0 || std::isnan(line.norm)) {
      line.reason = Stop::reached;
      line.words = name + ": a gradient arrives, of norm " + short_number(line.norm) + ".";
    } else {
      line.reason = Stop::zero;
      // Where a gradient came in that was not zero, and nothing but zeros went on towards p.
      for (std::uint32_t i = p.index + 1; i <= cost.index; ++i) {
        const Node& n = tape.node(i);
        if (!below[i] || !feeds[i] || !n.wants_gradient || norm(gradients[tape.var(i)]) == 0)
          continue;
        const bool died = std::all_of(n.inputs.begin(), n.inputs.end(), [&](std::uint32_t in) {
          return !below[in] || norm(gradients[tape.var(in)]) == 0;
        });
        if (died) line.nodes.push_back(tape.var(i));
      }
      line.words = name + ": a gradient arrives, but it is zero. Nothing is cut";
      if (!line.nodes.empty())
        line.words += "; at " + list(line.nodes) +
                      " a gradient came in and only zeros went on: it is saturated there";
      line.words += ".";
    }
    report.push_back(std::move(line));
  }
  return report;
}

std::string str(const std::vector<StopLine>& report) {
  // Parameters of which the same is true share a line.
  std::string s, names;
  const auto rest = [](const StopLine& line) {
    return line.words.substr(line.parameter.tape->node(line.parameter.index).op.name.size());
  };
  for (std::size_t i = 0; i < report.size(); ++i) {
    names += (names.empty() ? "" : ", ") +
             report[i].parameter.tape->node(report[i].parameter.index).op.name;
    if (i + 1 < report.size() && rest(report[i]) == rest(report[i + 1])) continue;
    s += names + rest(report[i]) + "\n";
    names.clear();
  }
  return s;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
