// Compiled twice, for float and for double. Each byte of a program decides one thing: an op, an
// input, an axis, a length. What is refused is left out and the program goes on, so that every
// string of bytes is a program. All numbers that it begins with float holds exactly.
#include "tests/fuzz/tape_program.hpp"

#include <cmath>

#include "engine/report.hpp"
#include "engine/show.hpp"
#include "tests/fuzz/steps.hpp"

namespace {

constexpr std::size_t kMostNumbers = 2048;  // of a value; larger ones are left out
constexpr std::size_t kMostNodes = 1000;    // of a tape, whose derivatives are many times that
constexpr Scalar kLargest = 16;             // values beyond it are brought back

// What is swept for: the gradient of the costs, weighed if there are weights, for the leaves and
// perhaps one Var more.
struct Sought {
  Vars costs, weights, wrt;
};

// Runs the program's steps.
Sought run(Machine& m, Swept& to) {
  m.numbers.state = m.byte();
  const auto keep = [&](Var v) { m.pool.push_back(m.moved(v)); };
  for (std::size_t n = 1 + m.below(3); m.leaves.size() < n;) {
    m.leaves.push_back(m.tape.parameter(m.numbers.tensor(m.shape(), 4)));
    keep(m.leaves.back());
  }
  for (std::size_t n = 1 + m.below(24);
       n > 0 && m.at < m.program.size() && m.tape.size() < kMostNodes; --n) {
    m.said.clear();
    const Step& step = m.one_of(kSteps);
    to.steps += std::string(step.name);
    try {
      Var y = step.run(m);
      to.steps += " " + str(y.shape());
      to.reached.insert(to.reached.end(), m.said.begin(), m.said.end());
      to.reached.push_back("rank " + std::to_string(y.shape().size()));
      to.reached.push_back("size " + std::to_string(std::min<std::size_t>(2, y.value().size())));
      if (y.value().size() > kMostNumbers) continue;
      // By a power of two: where tanh is flat float has lost its slope, and double has not. The
      // byte is read in any case, since a value may be near the bound.
      const bool too_large_stays = m.rarely();
      Scalar largest = 0;
      for (Scalar x : y.value()) largest = std::max(largest, std::abs(x));
      if (worst_of(y.value()) != Worst::finite) ++to.at_the_end;
      if (largest > kLargest && !too_large_stays)
        y = std::isfinite(largest) ? y * std::exp2(-std::ceil(std::log2(largest / kLargest)))
                                   : tanh(y);
      to.comparable = to.comparable && worst_of(y.value()) == Worst::finite;
      keep(y);
    } catch (const std::invalid_argument& error) {
      const std::string words = error.what();
      if (words.find("; ") == std::string::npos)
        to.fault = "an error that does not say what is needed: " + words;
      if (words.find(" has 0 ") != std::string::npos) ++to.at_the_end;
      to.steps += " refused";
    } catch (const std::length_error&) {  // more numbers than memory holds
      to.steps += " refused";
    } catch (const std::out_of_range&) {  // the fuzzer's own
      to.steps += " left out";
    }
    to.steps += "; ";
  }
  to.by_chance = m.by_chance;
  Sought sought{{m.pool.back()}, {}, m.leaves};
  if (m.below(4) == 0) sought.costs.push_back(m.any());
  if (m.below(4) == 0)  // above 0: what is refused for -inf is so in each way
    for (Var cost : sought.costs)
      sought.weights.push_back(m.tape.constant(m.numbers.tensor(cost.shape(), 4) + Scalar(2.125)));
  if (m.below(4) == 0)
    if (const Var v = m.any(); m.tape.node(v.index).wants_gradient) sought.wrt.push_back(v);
  for (std::size_t i = 0; i < m.tape.size(); ++i)  // a rule behind its node
    if (const std::string name = m.tape.node(i).op.name; name.back() == ']')
      to.reached.push_back(name);
  return sought;
}

void note(Swept& to, const Tensor& t) {
  to.comparable = to.comparable && worst_of(t) == Worst::finite;
  to.numbers.emplace_back(t.begin(), t.end());
}

// What the report says is what the sweep does.
void check_report(const std::vector<StopLine>& report, const Gradients& g, Swept& to) {
  for (const StopLine& line : report) {
    const Tensor& found = g[line.parameter];
    const bool zero = std::all_of(found.begin(), found.end(), [](Scalar x) { return x == 0; });
    const Stop expected = worst_of(found) != Worst::finite ? Stop::not_finite
                          : !zero                          ? Stop::reached
                          : g.reached(line.parameter)      ? Stop::zero
                          : line.reason == Stop::cut       ? Stop::cut
                                                           : Stop::unconnected;
    if (line.reason != expected || line.words.empty()) to.fault = "the report says " + line.words;
  }
}

// backward() is the same each time, and leaves the tape as it was.
void sweep_backward(Machine& m, const Sought& sought, Swept& to) {
  const std::size_t size = m.tape.size();
  const Gradients dry = dry_run(sought.costs, sought.wrt),
                  again = dry_run(sought.costs, sought.wrt), alone = dry_run(sought.costs);
  if (sought.costs.size() == 1) check_report(stop_report(sought.costs[0], m.leaves), alone, to);
  const Gradients g = backward(sought.costs, sought.wrt, sought.weights);
  for (Var x : sought.wrt) {
    note(to, g[x]);
    if (!identical(dry[x], again[x]) || (sought.weights.empty() && !identical(g[x], dry[x])))
      to.fault = "a sweep differs from the one before";
    if (g[x].shape() != x.shape()) to.fault = "a gradient of another shape";
  }
  for (Var x : m.leaves)
    if (!identical(alone[x], dry[x])) to.fault = "a sweep for more differs";
  if (m.tape.size() != size) to.fault = "backward() left nodes";
}

void sweep_recorded(Machine&, const Sought& sought, Swept& to) {
  const Vars slopes = differentiate(sought.costs, sought.wrt, sought.weights);
  for (Var g : slopes) note(to, g.value());
  const Gradients g = dry_run(slopes, sought.wrt);  // first: a baseline learns from the other
  for (Var bend : differentiate(slopes, sought.wrt)) note(to, bend.value());
  for (Var x : sought.wrt) note(to, g[x]);
}

void sweep_and_release(Machine& m, const Sought& sought, Swept& to) {
  Vars costs = sought.costs;
  for (std::size_t i = 0; i < sought.weights.size(); ++i) costs[i] = costs[i] * sought.weights[i];
  std::vector<Tensor> all;
  for (Var x : m.leaves) all.push_back(zeros(x.shape()));
  backward_and_release(costs, [&](Var x, Tensor& g) {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (m.leaves[i].index == x.index) all[i] = g;
  });
  for (const Tensor& g : all) note(to, g);
  try {
    backward(costs);
    to.fault = "a tape was swept after its last sweep";
  } catch (const std::logic_error&) {
  }
}

void check_usable(Machine& m, Swept& to) {
  const Var x = m.leaves[0], y = sum(x * x);
  if (!identical(backward(y)[x], Tensor(2 * x.value())))
    to.fault = "the tape is not usable afterwards";
}

Swept swept(const std::string& program, Way way, double jitter, int draw) {
  Swept to;
  Machine m(program);
  m.jitter = jitter;
  m.draw.state = static_cast<std::uint64_t>(draw);
  const Sought sought = run(m, to);
  for (Var cost : sought.costs) note(to, cost.value());
  const std::size_t size = m.tape.size();
  try {
    if (way == Way::backward) sweep_backward(m, sought, to);
    if (way == Way::recorded) sweep_recorded(m, sought, to);
    if (way == Way::released) sweep_and_release(m, sought, to);
  } catch (const std::invalid_argument& error) {
    to.refused = error.what();
    if (way == Way::backward && m.tape.size() != size)
      to.fault = "a sweep that was refused left nodes";
  }
  if (way != Way::released) check_usable(m, to);
  return to;
}

}  // namespace

#ifdef ARGTAPE_DOUBLE
Swept swept_in_double(const std::string& program, Way way, double jitter, int draw) {
#else
Swept swept_in_float(const std::string& program, Way way, double jitter, int draw) {
#endif
  return swept(program, way, jitter, draw);
}

#ifdef ARGTAPE_DOUBLE
std::vector<std::string> reachable() {
  std::vector<std::string> all = {"size 0", "size 1", "size 2"};
  for (int rank = 0; rank <= 5; ++rank) all.push_back("rank " + std::to_string(rank));
  for (const Step& step : kSteps) all.emplace_back(step.name);
  for (const Word& op : kOps) all.emplace_back(op.name);
  for (const RowOp& op : kRowOps) all.emplace_back(op.name);
  for (const Reduction& op : kReductions) all.emplace_back(op.name);
  for (const Estimator& estimator : kEstimators) all.emplace_back(estimator.name);
  for (const Distribution& of : kDistributions) all.emplace_back(of.name);
  const auto behind = [&](const Rule& rule, const std::string& verb, const std::string& drawn) {
    if (!rule.needs_draw) all.push_back(verb + "[" + rule.name + "]");
    all.push_back(drawn + "[" + rule.name + "]");
  };
  for (const std::string& name : rule_names()) behind(rule_named(name), "argmax", "sample");
  for (const std::string& name : top_k_rule_names())
    behind(top_k_rule_named(name), "top_k", "sample_top_k");
  for (const std::string& name : matching_rule_names())
    behind(matching_rule_named(name), "matching", "sample_matching");
  return all;
}
#endif
