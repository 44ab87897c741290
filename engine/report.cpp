#include "engine/report.hpp"

#include <algorithm>
#include <ostream>
#include <utility>

#include "engine/require.hpp"
#include "engine/sweep.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

std::string name_of(const Var& v) { return v.tape->node(v.index).op.name; }

std::string list(const std::vector<Var>& nodes) {
  std::string s;
  for (const Var& v : nodes)
    s += (s.empty() ? "" : " and ") + name_of(v) + " (node " + std::to_string(v.index) + ")";
  return s;
}

// A cost's sweep, looked at without leaving a trace.
class Look {
 public:
  explicit Look(Var cost)
      : tape_(tape_of("stop_report", cost)),
        cost_(cost.index),
        feeds_(cost_ + 1, false),
        arrives_(cost_ + 1, false) {
    feeds_[cost_] = arrives_[cost_] = true;
    std::vector<Var> wanting;
    for (std::uint32_t i = cost_ + 1; i-- > 0;) {
      const Node& n = tape_.node(i);
      const bool sends = n.op.flow != Flow::cut && (arrives_[i] || (n.op.needs_costs && feeds_[i]));
      for (std::uint32_t in : n.inputs) {
        feeds_[in] = feeds_[in] || feeds_[i];
        arrives_[in] = arrives_[in] || sends;
      }
      if (feeds_[i] && n.wants_gradient) wanting.push_back(tape_.var(i));
    }
    try {
      gradients_ = dry_run(cost, wanting);
    } catch (const NoPath& e) {
      refusal_ = e.what();
      return;
    }
    if (worst_of(cost.value()) != Worst::finite ||
        std::any_of(wanting.begin(), wanting.end(),
                    [&](Var v) { return worst_of(gradients_[v]) != Worst::finite; }))
      find_anomaly(cost);
  }

  StopLine line(Var p) const {
    const Ways ways = ways_from(p.index);
    const auto says = [&](Stop reason, const std::string& words, const std::vector<Var>& nodes = {},
                          double norm = 0) {
      return StopLine{p, reason, nodes, norm, name_of(p) + ": " + words};
    };
    if (!ways.connected)
      return says(Stop::unconnected,
                  "no gradient. The cost was not computed from it: no operations lead from one to "
                  "the other.");
    if (!tape_.node(p.index).wants_gradient)
      return says(
          Stop::unconnected,
          "no gradient. It is a constant on this tape; tape.parameter() makes it one to learn.");
    if (!refusal_.empty())
      return says(Stop::refused, "no gradient. The sweep stops with an error: " + refusal_);
    if (!gradients_.reached(p)) {
      const std::vector<Var>& nodes = ways.cuts.empty() ? ways.ends : ways.cuts;
      std::string words = "no gradient. It was cut at " + ways.passing_nothing(nodes);
      if (!ways.further.empty())
        words += " Before that, " + list(ways.further) + " would cut it too.";
      return says(Stop::cut, words, nodes);
    }
    const std::string rest =
        ways.cuts.empty() ? "."
                          : ". Another part of it was cut at " + ways.passing_nothing(ways.cuts);
    const double norm = size(p.index);
    if (worst_of(gradients_[p]) != Worst::finite)
      return says(Stop::not_finite, "a gradient arrives that is not finite" + rest + anomaly_,
                  anomalous_, norm);
    if (norm != 0)
      return says(Stop::reached, "a gradient arrives, of norm " + str(norm, 3) + rest + anomaly_,
                  anomalous_, norm);
    if (p.value().size() == 0)
      return says(Stop::zero, "a gradient arrives, as empty as the parameter" + rest + anomaly_);
    std::string words = "a gradient arrives, but it is zero";
    if (!ways.zeros.empty())
      words += ": at " + list(ways.zeros) +
               " one came in that is not, and nothing but zeros went on (saturated, or "
               "contributions that cancel)";
    return says(Stop::zero, words + rest + anomaly_, ways.zeros);
  }

 private:
  // On the ways from a parameter to the cost: the nodes that cut a gradient which arrives there, or
  // would if one came so far; those where one comes in that is not zero and nothing else goes on;
  // and those where it ends although nothing cuts it.
  struct Ways {
    bool connected = false;
    std::vector<Var> cuts, further, zeros, ends;
    std::string why_cut;
    std::string passing_nothing(const std::vector<Var>& nodes) const {
      return list(nodes) + (nodes.size() == 1 ? ", which passes" : ", which pass") +
             " nothing back." + why_cut;
    }
  };
  void find_anomaly(Var cost) {
    struct Detecting {
      Tape& tape;
      const bool before = std::exchange(tape.detect_anomaly, true);
      ~Detecting() { tape.detect_anomaly = before; }
    } detecting{tape_};
    try {
      for (std::uint32_t i = 0; i <= cost_; ++i)
        if (feeds_[i]) tape_.check_finite(i);
      dry_run(cost);
    } catch (const NotFinite& e) {
      anomaly_ = std::string(" ") + e.what() + ".";
      anomalous_ = {e.node};
    }
  }

  Ways ways_from(std::uint32_t p) const {
    Ways ways;
    std::vector<bool> below(cost_ + 1, false);  // computed from p, through edges of any kind
    if (p <= cost_) below[p] = true;
    for (std::uint32_t i = p + 1; i <= cost_; ++i) {
      const Node& n = tape_.node(i);
      bool none = true, dead = true;
      for (std::uint32_t in : n.inputs) {
        if (!below[in]) continue;
        below[i] = true;
        if (!refusal_.empty() || !feeds_[i] || !tape_.node(in).wants_gradient) continue;
        none = none && !gradients_.reached(tape_.var(in));
        dead = dead && size(in) == 0;
      }
      if (!below[i] || !feeds_[i]) continue;
      const Var v = tape_.var(i);
      if (n.op.flow == Flow::cut) {
        (arrives_[i] ? ways.cuts : ways.further).push_back(v);
        if (arrives_[i] && *n.op.why_cut && ways.why_cut.find(n.op.why_cut) == std::string::npos)
          ways.why_cut += std::string(" ") + n.op.why_cut;
      } else if (refusal_.empty() && n.wants_gradient && gradients_.reached(v)) {
        if (none) ways.ends.push_back(v);
        if (!none && dead && size(i) != 0) ways.zeros.push_back(v);
      }
    }
    ways.connected = below[cost_];
    return ways;
  }

  double size(std::uint32_t i) const { return norm(gradients_[tape_.var(i)]); }

  Tape& tape_;
  const std::uint32_t cost_;
  std::vector<bool> feeds_, arrives_;  // nodes that feed the cost; at which a gradient arrives
  Gradients gradients_;
  std::string refusal_;
  // Where a gradient or the cost is not finite: who made the first such number.
  std::string anomaly_;
  std::vector<Var> anomalous_;
};

}  // namespace

std::ostream& operator<<(std::ostream& out, Stop reason) {
  static constexpr const char* kWords[] = {"reached", "zero",        "not finite",
                                           "cut",     "unconnected", "refused"};
  return out << kWords[static_cast<int>(reason)];
}

std::vector<StopLine> stop_report(Var cost, Inputs parameters) {
  const Look look(cost);
  std::vector<StopLine> report;
  for (const Var& p : parameters) {
    if (p.tape != cost.tape)
      refuse("stop_report: a parameter stands on another tape than the cost");
    report.push_back(look.line(p));
  }
  return report;
}

std::string str(const std::vector<StopLine>& report) {
  // Parameters of which the same is true share a line.
  std::string s, names;
  const auto rest = [](const StopLine& line) {
    return line.words.substr(name_of(line.parameter).size());
  };
  for (std::size_t i = 0; i < report.size(); ++i) {
    names += (names.empty() ? "" : ", ") + name_of(report[i].parameter);
    if (i + 1 < report.size() && rest(report[i]) == rest(report[i + 1])) continue;
    s += names + rest(report[i]) + "\n";
    names.clear();
  }
  return s;
}

std::ostream& operator<<(std::ostream& out, const std::vector<StopLine>& report) {
  return out << str(report);
}
std::ostream& operator<<(std::ostream& out, const StopLine& line) { return out << line.words; }

ARGTAPE_END
