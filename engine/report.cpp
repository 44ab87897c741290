#include "engine/report.hpp"

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
      const bool sends = n.op.flow != Flow::cut && (arrives[i] || (n.op.needs_costs && feeds[i]));
      arrives[in] = arrives[in] || sends;
    }
  }

  std::vector<Var> wanting;
  for (std::uint32_t i = 0; i <= cost.index; ++i)
    if (feeds[i] && tape.node(i).wants_gradient) wanting.push_back(tape.var(i));
  std::string refusal;
  Gradients gradients;
  try {
    gradients = dry_run(cost, wanting);
  } catch (const NoPath& e) {
    refusal = e.what();
  }
  const auto size = [&](std::uint32_t i) { return norm(gradients[tape.var(i)]); };

  std::vector<StopLine> report;
  for (const Var& p : parameters) {
    const std::string name = tape.node(p.index).op.name;
    StopLine line{p, Stop::unconnected, {}, 0, ""};
    const std::vector<bool> below = computed_from(tape, p.index, cost.index);
    if (!below[cost.index]) {
      line.words = name +
                   ": no gradient. The cost was not computed from it: no operations lead from "
                   "one to the other.";
      report.push_back(std::move(line));
      continue;
    }
    // On the ways from p to the cost: where a gradient arrives and is cut, where it would be cut if
    // it came so far, and where one comes in that is not zero and nothing else goes on.
    std::vector<Var> cuts, further, zeros, ends;
    std::string why;
    for (std::uint32_t i = p.index + 1; i <= cost.index; ++i) {
      if (!below[i] || !feeds[i]) continue;
      const Node& n = tape.node(i);
      if (n.op.flow == Flow::cut) {
        (arrives[i] ? cuts : further).push_back(tape.var(i));
        if (arrives[i] && *n.op.why_cut && why.find(n.op.why_cut) == std::string::npos)
          why += std::string(" ") + n.op.why_cut;
      } else if (refusal.empty() && n.wants_gradient && gradients.reached(tape.var(i))) {
        bool none = true, dead = true;
        for (std::uint32_t in : n.inputs) {
          if (!below[in] || !tape.node(in).wants_gradient) continue;
          none = none && !gradients.reached(tape.var(in));
          dead = dead && size(in) == 0;
        }
        if (none) ends.push_back(tape.var(i));
        if (!none && dead && size(i) != 0) zeros.push_back(tape.var(i));
      }
    }
    const auto cut_words = [&](const char* what) {
      return std::string(what) + list(cuts) +
             (cuts.size() == 1 ? ", which passes" : ", which pass") + " nothing back." + why;
    };
    if (!tape.node(p.index).wants_gradient) {
      line.words = name +
                   ": no gradient. It is a constant on this tape; tape.parameter() makes it one to "
                   "learn.";
    } else if (!refusal.empty()) {
      line.reason = Stop::refused;
      line.words = name + ": no gradient. The sweep stops with an error: " + refusal;
    } else if (!gradients.reached(p)) {
      line.reason = Stop::cut;
      if (cuts.empty()) cuts = ends;
      line.nodes = cuts;
      line.words = name + cut_words(": no gradient. It was cut at ");
      if (!further.empty()) line.words += " Before that, " + list(further) + " would cut it too.";
    } else if ((line.norm = norm(gradients[p])) > 0 || std::isnan(line.norm)) {
      line.reason = Stop::reached;
      line.words = name + ": a gradient arrives, of norm " + short_number(line.norm) + ".";
      if (!cuts.empty()) line.words += cut_words(" Another part of it was cut at ");
    } else {
      line.reason = Stop::zero;
      line.nodes = zeros;
      line.words = name + ": a gradient arrives, but it is zero";
      if (!zeros.empty())
        line.words += ": at " + list(zeros) +
                      " one came in that is not, and nothing but zeros went on (saturated, or "
                      "contributions that cancel)";
      line.words += ".";
      if (!cuts.empty()) line.words += cut_words(" Another part of it was cut at ");
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
