// Every rule behind every node that it can stand behind, and every method, against its formula in
// plain loops, for the same draw. Built for both libraries.
#include <memory>

#include "models/control_variate.hpp"
#include "models/methods.hpp"
#include "models/nvil.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/matching.hpp"
#include "ops/methods/antithetic.hpp"
#include "ops/methods/score.hpp"
#include "ops/methods/without_replacement.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/quadratic.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/solver.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/top_k.hpp"
#include "tests/properties/definition.hpp"
#include "tests/properties/solvers.hpp"

using namespace argtape;
using plain::Number, plain::Row, plain::Rounded, plain::row_of;
using Indices = std::vector<std::size_t>;

namespace {

double as_double(Scalar x) { return static_cast<double>(x); }
// The gradient of <slope, f(x)> for x.
template <class F>
Row through(F f, Row x, const Row& slope) {
  Row gradient;
  for (Number& at : x) {
    at.d.v = 1;
    const Row y = f(x);
    at.d.v = 0;
    Rounded sum;
    for (std::size_t j = 0; j < y.size(); ++j)
      if (y[j].d.v != 0 || y[j].d.e != 0) sum = sum + slope[j].v * y[j].d;
    gradient.push_back({sum, {}});
  }
  return gradient;
}

// ---- The rules.

// What a rule is made with.
struct Settings {
  double tau, lambda, gap;
  std::size_t draws, iterations;
  std::uint64_t seed;
};

// A node of independent decisions, each of so many numbers.
struct Node {
  AppliesTo kind;
  std::size_t numbers, k, rows;  // k in a subset; rows of a matching
  double tau;
  std::size_t iterations;

  // All or none: there is nothing to choose, and nothing goes back.
  bool forced() const { return kind == AppliesTo::subset && (k == 0 || k == numbers); }
  plain::Found best(const Row& x) const {
    return kind == AppliesTo::matching ? plain::best_matching(x, rows) : plain::best_subset(x, k);
  }
  // What has a derivative in place of it.
  Row relaxed(const Row& x) const {
    return kind == AppliesTo::matching ? plain::sinkhorn(x, tau, rows, iterations)
                                       : plain::relaxed_top_k(x, k, tau);
  }
  // The gradient of a draw's log density.
  Row score(const Row& l, const Row& g, const Row& hot) const {
    Row y;
    if (kind == AppliesTo::matching)
      for (const Number& v : g) y.push_back(Number(1) - exp(-v));
    if (kind == AppliesTo::matching) return y;
    Indices set;
    for (std::size_t i = 0; i < hot.size(); ++i)
      if (hot[i].value() == 1) set.push_back(i);
    return through([&](const Row& x) { return Row{log(plain::set_probability(x, set))}; }, l, {1});
  }
};

// One decision, as a rule sees it in the sweep.
struct Seen {
  const Node& node;
  const Settings& with;
  Row l, g, hot, slope;                   // slope is f' at what went forward
  Number cost;                            // less the baseline, if there is one
  std::vector<Row> more;                  // noise
  mutable long double margin = INFINITY;  // the smallest by which something was best

  Row solve(const Row& x) const {
    const plain::Found found = node.best(x);
    margin = std::min(margin, found.margin);
    return found.hot;
  }
  Row through_relaxed(const Row& x) const {
    return through([&](const Row& at) { return node.relaxed(at); }, x, slope);
  }
  Row p(double tau = 1) const { return plain::softmax(l / tau); }
};

Row scaled_jacobian(const Row& p, const Row& g, double scale) {
  return Number(scale) * plain::jacobian(p, g);
}
Row own_share(const Seen& s) {
  const Row off = s.hot - s.p();
  return plain::dot(off, s.slope) * off;
}
Row score_times_cost(const Seen& s) { return s.cost * s.node.score(s.l, s.g, s.hot); }
Row through_logits(const Seen& s) { return s.through_relaxed(s.l); }
Row through_noisy(const Seen& s) { return s.through_relaxed(s.l + s.g); }

// x of ops/rules/quadratic.hpp's mve(), with x = 0 at the likeliest, by elimination.
Row potentials(const Row& p, Row c) {
  const std::size_t n = p.size(), ground = plain::place_of_largest(p);
  std::vector<Row> w(n, Row(n));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      if (i == k) continue;
      const Number link = p[i] * p[k] / (p[i] + p[k]);
      w[i][i] += link;
      w[i][k] = -link;
    }
  w[ground] = plain::one_hot(ground, n);
  c[ground] = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      if (i == j) continue;
      const Number factor = w[j][i] / w[i][i];
      w[j] = w[j] - factor * w[i];
      c[j] = c[j] - factor * c[i];
    }
  for (std::size_t i = 0; i < n; ++i) c[i] = c[i] / w[i][i];
  return c;
}
Row mve_of(const Seen& s) {
  const Row p = s.p();
  const std::size_t chosen = plain::place_of_largest(s.hot);
  Row c(p.size());
  for (std::size_t i = 0; i < p.size(); ++i)
    if (i != chosen) c[i] = s.slope[i] * p[i] / (p[i] + p[chosen]);
  c[chosen] = -plain::total(c);
  return (s.slope[chosen] * (s.hot - p) + plain::jacobian(p, potentials(p, c))) / 2;
}
Row gapped(const Seen& s) {
  const Number top = s.l[plain::place_of_largest(s.l)];
  Row m = s.l;
  for (std::size_t i = 0; i < m.size(); ++i)
    m[i] = s.hot[i].value() == 1 ? top : minimum(m[i], top - Number(s.with.gap));
  return scaled_jacobian(plain::softmax(m / s.with.tau), s.slope, 1 / s.with.tau);
}
Row gumbel_rao_of(const Seen& s) {
  const std::size_t chosen = plain::place_of_largest(s.hot);
  Row sum = through_noisy(s);
  for (const Row& h : s.more) {
    const Row p = plain::softmax(plain::conditional_gumbels(s.l, chosen, h) / s.with.tau);
    sum = sum + scaled_jacobian(p, s.slope, 1 / s.with.tau);
  }
  return sum / static_cast<double>(s.with.draws);
}
Row perturbed_of(const Seen& s) {
  Row sum(s.l.size());
  for (const Row& h : s.more) {
    const Number change = plain::dot(s.solve(s.l + Number(s.with.tau) * h) - s.hot, s.slope);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += (Number(1) - exp(-h[i])) * change;
  }
  return sum / (static_cast<double>(s.with.draws) * s.with.tau);
}
Row implicit(const Seen& s) {
  const Row push = Number(s.with.lambda) * s.slope;
  Row sum = s.hot - s.solve(s.l + s.g - push);
  for (const Row& h : s.more) sum = sum + (s.solve(s.l + h) - s.solve(s.l + h - push));
  return sum / (static_cast<double>(s.more.size() + 1) * s.with.lambda);
}

struct DefinedRule {
  Rule (*make)(const Settings& s);
  Row (*gradient)(const Seen& s);
  // How much noise beside its own, and whether the draw's own is what it is made from, if there is.
  std::size_t (*more)(const Settings& s) = [](const Settings&) { return std::size_t{0}; };
};
const DefinedRule kDefinedRules[] = {
    {[](const Settings&) { return zero(); }, [](const Seen& s) { return Row(s.l.size()); }},
    {[](const Settings&) { return score_function(); }, score_times_cost},
    {[](const Settings&) { return score_function(running_mean(0.75)); }, score_times_cost},
    {[](const Settings&) { return score_function(leave_one_out()); }, score_times_cost},
    {[](const Settings& s) { return straight_through(s.tau); }, through_logits},
    {[](const Settings& s) { return annealed_straight_through(s.tau); }, through_logits},
    {[](const Settings&) { return straight_through_identity(); },
     [](const Seen& s) { return s.slope; }},
    {[](const Settings& s) { return gumbel_softmax(s.tau); }, through_noisy},
    {[](const Settings& s) { return st_gumbel_softmax(s.tau); }, through_noisy},
    {[](const Settings& s) { return reinmax(1 + s.tau); },
     [](const Seen& s) {
       const Row middle = (s.p(1 + s.with.tau) + s.hot) / 2;
       return scaled_jacobian(middle, s.slope, 2) - scaled_jacobian(s.p(), s.slope, 0.5);
     }},
    {[](const Settings&) { return darn(); }, own_share},
    {[](const Settings&) { return zgr(); },
     [](const Seen& s) { return (own_share(s) + plain::jacobian(s.p(), s.slope)) / 2; }},
    {[](const Settings&) { return mve(); }, mve_of},
    {[](const Settings& s) { return gapped_straight_through(s.tau, s.gap); }, gapped},
    {[](const Settings& s) { return gumbel_rao(s.tau, s.draws, s.seed); }, gumbel_rao_of,
     [](const Settings& s) { return s.draws - 1; }},
    {[](const Settings& s) { return perturbed(s.tau, s.draws, s.seed); }, perturbed_of,
     [](const Settings& s) { return s.draws; }},
    {[](const Settings& s) { return blackbox(s.lambda); }, implicit},
    {[](const Settings& s) { return i_mle(s.lambda, s.draws, s.seed); }, implicit,
     [](const Settings& s) { return s.draws - 1; }},
    {[](const Settings& s) { return straight_through_sinkhorn(s.tau, s.iterations); },
     through_logits},
    {[](const Settings& s) { return gumbel_sinkhorn(s.tau, s.iterations); }, through_noisy},
    {[](const Settings& s) { return st_gumbel_sinkhorn(s.tau, s.iterations); }, through_noisy},
};

Settings settings(Draws& d) {
  return {d.one_of({1.0, 0.5, 2.0}),
          d.one_of({1.0, 0.5, 3.0}),
          d.one_of({1.0, 0.0, 0.25}),
          d.some(3),
          d.some(3),
          d.below(100)};
}

// Decisions of one node with what was drawn for them: some of the logits are equal, and every sum
// of logit and noise is exact.
struct Decided {
  Node node;
  Shape shape, batch;  // of the logits, and without a decision's own axes
  Tensor logits, noise, target;

  Decided(Draws& d, AppliesTo kind, const Rule& rule, const Settings& with) {
    const std::size_t n = kind == AppliesTo::matching ? d.some(3) : 1,
                      m = kind == AppliesTo::matching && rule.relaxation ? n
                          : kind == AppliesTo::matching                  ? n + d.below(2)
                                                                         : d.some(5);
    node = {kind, n * m,    kind == AppliesTo::subset ? d.below(m + 1) : 1,
            n,    with.tau, with.iterations};
    batch = {d.some(3)};
    if (rule.needs_multiple_samples) batch = {d.some(2) + 1, batch[0]};
    shape = batch;
    if (kind == AppliesTo::matching) shape.push_back(n);
    shape.push_back(m);
    logits = d.fractions(shape, 4, 2);
    const std::size_t once = logits.size() / (rule.needs_multiple_samples ? batch[0] : 1);
    for (std::size_t i = once; i < logits.size(); ++i) logits.data()[i] = logits.data()[i - once];
    noise = d.fractions(shape, 64, 2);
    target = d.filled(shape, [&] { return 2 * d.digits(); });
  }
  std::size_t count() const { return logits.size() / node.numbers; }
  Var choose(Var l, Var g, const Rule& rule, bool drawn) const {
    if (node.kind == AppliesTo::matching)
      return drawn ? sample_matching(l, rule, g) : matching(l, rule);
    if (node.kind == AppliesTo::subset)
      return drawn ? sample_top_k(l, node.k, rule, g) : top_k(l, node.k, rule);
    return drawn ? sample(l, rule, g) : argmax(l, rule);
  }
  Var cost(Var z) const {
    const Var off = square(z - z.tape->constant(target));
    return sum(off, node.kind == AppliesTo::matching ? Axes{-2, -1} : Axes{-1});
  }
};

// What costs are measured from, by the rule's name: the weighted costs of a sweep before, or those
// of the other samples.
Row baselines(const std::string& rule, const Row& costs, const Shape& batch) {
  Row less(costs.size());
  if (rule == "score-function+mean")
    for (Number& v : less) v = plain::total(costs) / plain::count(costs);
  if (rule != "score-function+leave-one-out") return less;
  const std::size_t apart = costs.size() / batch[0];
  for (std::size_t i = 0; i < costs.size(); ++i) {
    for (std::size_t s = 0; s < batch[0]; ++s)
      if (const std::size_t other = i % apart + s * apart; other != i) less[i] += costs[other];
    less[i] = less[i] / Number(static_cast<double>(batch[0] - 1));
  }
  return less;
}

std::string wrong_rule(const DefinedRule& defined, AppliesTo kind, Draws& d) {
  const Settings with = settings(d);
  const Rule rule = defined.make(with);
  const Decided c(d, kind, rule, with);
  const bool drawn = rule.needs_draw || d.often();
  const Tensor weight = d.weights(c.batch);
  Tape tape;
  const Var l = tape.parameter(c.logits), g = tape.constant(c.noise),
            z = c.choose(l, g, rule, drawn), cost = c.cost(z) * tape.constant(weight);
  if (rule.name == "score-function+mean") backward(cost);  // it learns a mean of costs
  const Tensor found = backward(cost)[l];
  const std::size_t n = c.node.numbers, more = defined.more(with);
  Tensor fresh;
  if (more > 0) {
    Shape many = {more};
    for (std::size_t length : c.shape) many.push_back(length);
    fresh = rng_from(drawn ? c.noise : c.logits, with.seed).gumbel(many);
  }
  std::vector<Seen> seen;
  Row costs;
  for (std::size_t r = 0; r < c.count(); ++r) {
    Seen s{c.node, with, row_of(c.logits, r, n), Row(n), {}, {}, {}, {}};
    if (drawn) s.g = row_of(c.noise, r, n);
    const Row x = s.l + s.g, t = row_of(c.target, r, n);
    s.hot = c.node.best(x).hot;
    if (kind == AppliesTo::matching && c.node.best(x).margin == 0) return "";  // either will do
    const Row forward = rule.soft_tau > 0 && !c.node.forced() ? c.node.relaxed(x) : s.hot;
    const Number w = as_double(weight.data()[r]);
    for (std::size_t i = 0; i < n; ++i) {
      const std::string wrong = plain::apart(z.value().data()[r * n + i], forward[i].v);
      if (!wrong.empty()) return "value " + std::to_string(i) + wrong;
      const Number off = forward[i] - t[i];
      s.cost += w * square(off);
      s.slope.push_back(Number(2) * w * off);
    }
    for (std::size_t j = 0; j < more; ++j) s.more.push_back(row_of(fresh, j * c.count() + r, n));
    costs.push_back(s.cost);
    seen.push_back(s);
  }
  const Row less = baselines(rule.name, costs, c.batch);
  for (std::size_t r = 0; r < seen.size(); ++r) {
    Seen& s = seen[r];
    s.cost = s.cost - less[r];
    const Row expected = c.node.forced() ? Row(n) : defined.gradient(s);
    // Rounding decides what is best.
    if (s.margin < 1000 * std::numeric_limits<Scalar>::epsilon()) continue;
    for (std::size_t i = 0; i < n; ++i) {
      const std::string wrong = plain::apart(found.data()[r * n + i], expected[i].v);
      if (!wrong.empty())
        return "gradient " + std::to_string(i) + " of decision " + std::to_string(r) + wrong +
               "\n  logits " + str(c.logits, 9) + "\n  noise " +
               (drawn ? str(c.noise, 9) : "none") + "\n  target " + str(c.target, 9) +
               "\n  arriving " + str(weight, 9) + "\n  tau " + str(with.tau) + ", lambda " +
               str(with.lambda) + ", gap " + str(with.gap) + ", draws " +
               std::to_string(with.draws) + ", k " + std::to_string(c.node.k);
    }
  }
  return "";
}

void check_rules(AppliesTo kind, const char* node, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    bool known = false;
    for (const DefinedRule& defined : kDefinedRules)
      if (defined.make({1, 1, 1, 1, 1, 1}).name == name) {
        known = true;
        for_all(name + " behind " + node, [&](Draws& d) { return wrong_rule(defined, kind, d); });
      }
    CHECK_MESSAGE(known, name << " has no definition here; write one");
  }
}

}  // namespace

TEST_CASE("rules behind the choice of one category are their formulas") {
  check_rules(AppliesTo::choice, "a choice", rule_names());
}

TEST_CASE("rules behind subsets are their formulas") {
  check_rules(AppliesTo::subset, "a subset", top_k_rule_names());
}

TEST_CASE("rules behind matchings are their formulas") {
  check_rules(AppliesTo::matching, "a matching", matching_rule_names());
}

namespace {

// ---- The methods: B examples, the cost of each being |z - t|^2 at its choice, t its own.

struct Around {
  std::size_t examples, k;
  Tensor logits, target;
  std::uint64_t seed;
  Around(Draws& d, bool binary)
      : examples(d.some(3)),
        k(binary ? 2 : d.some(5)),
        logits(d.fractions({examples, k}, 4, 2)),
        target(d.filled({examples, k}, [&] { return 2 * d.digits(); })),
        seed(d.below(1000)) {}

  Cost cost() const {
    return [t = target](Var z) { return sum(square(z - z.tape->constant(t)), -1); };
  }
  Number cost_at(const Row& z, std::size_t example) const {
    Number sum;
    const Row t = row_of(target, example, k);
    for (std::size_t i = 0; i < k; ++i) sum += square(z[i] - t[i]);
    return sum;
  }
};

// One example of it, with the noise that the method has drawn: by sample, each a row.
struct Estimated {
  const Around& around;
  std::size_t example;
  Row l, p;
  std::vector<Row> noise;
  Row uniform;

  Number f(const Row& z) const { return around.cost_at(z, example); }
  Row hot(std::size_t k) const { return plain::one_hot(k, l.size()); }
  Row choice(std::size_t sample) const { return hot(plain::place_of_largest(l + noise[sample])); }
  // f's gradient at z.
  Row slope(const Row& z) const {
    return through([&](const Row& at) { return Row{f(at)}; }, z, {1});
  }
};
struct Estimate {
  Number value;
  Row gradient;
};

Number mean_of_all_but(const Row& x, std::size_t m) {
  return (plain::total(x) - x[m]) / static_cast<double>(x.size() - 1);
}
Estimate rloo_of(const Estimated& e) {
  Row costs, gradient(e.l.size());
  const Number samples = static_cast<double>(e.noise.size());
  for (std::size_t m = 0; m < e.noise.size(); ++m) costs.push_back(e.f(e.choice(m)));
  for (std::size_t m = 0; m < costs.size(); ++m)
    gradient = gradient + (costs[m] - mean_of_all_but(costs, m)) * (e.choice(m) - e.p);
  return {plain::total(costs) / samples, gradient / samples};
}
Estimate exact_of(const Estimated& e) {
  const auto expected = [&](const Row& l) {
    const Row p = plain::softmax(l);
    Number sum;
    for (std::size_t k = 0; k < p.size(); ++k) sum += p[k] * e.f(e.hot(k));
    return Row{sum};
  };
  return {expected(e.l)[0], through(expected, e.l, {1})};
}
Estimate muprop_of(const Estimated& e) {
  const Row d = e.choice(0), slope = e.slope(e.p);
  const Number signal = e.f(d) - e.f(e.p) - plain::dot(slope, d - e.p);
  return {e.f(d), signal * (d - e.p) + plain::jacobian(e.p, slope)};
}
Number bound_of(Row costs) {
  const Number samples = plain::count(costs);
  for (Number& v : costs) v = exp(-v);
  return -log(plain::total(costs) / samples);
}
Estimate vimco_of(const Estimated& e) {
  Row costs, gradient(e.l.size());
  for (std::size_t m = 0; m < e.noise.size(); ++m) costs.push_back(e.f(e.choice(m)));
  for (std::size_t m = 0; m < costs.size(); ++m) {
    Row other = costs;
    other[m] = mean_of_all_but(costs, m);
    gradient = gradient + (bound_of(costs) - bound_of(other)) * (e.choice(m) - e.p);
  }
  return {bound_of(costs), gradient};
}
// Of the categories that are left, which a uniform number picks.
std::size_t picked(const Row& left, Number u) {
  const Number target = u * plain::total(left);
  Number sum;
  std::size_t last = 0;
  for (std::size_t c = 0; c < left.size(); ++c) {
    if (left[c].value() == 0) continue;
    last = c;
    sum += left[c];
    if (sum.value() > target.value()) break;
  }
  return last;
}
Estimate sum_and_sample_of(const Estimated& e) {
  Estimate y{0, Row(e.l.size())};
  Row left = e.p;
  const auto add = [&](std::size_t c, Number weight) {
    y.value += weight * e.f(e.hot(c));
    y.gradient = y.gradient + (weight * e.f(e.hot(c))) * (e.hot(c) - e.p);
  };
  for (std::size_t i = 0; i < 2 && i < e.p.size(); ++i) {
    const std::size_t c = plain::place_of_largest(left);
    add(c, e.p[c]);
    left[c] = 0;
  }
  if (e.p.size() <= 2) return y;
  const std::size_t drawn = plain::place_of_largest(e.choice(0));
  add(left[drawn].value() > 0 ? drawn : picked(left, e.uniform[0]), plain::total(left));
  return y;
}
// Of so many places that are drawn in this order from what `weights` leave.
Number probability_of_set(const Row& p, Indices set, const Indices& gone) {
  Row logits;
  for (const Number& v : p) logits.push_back(log(v));
  for (std::size_t c : gone) logits[c] = -INFINITY;
  return plain::set_probability(logits, std::move(set));
}
Estimate unordered_set_of(const Estimated& e) {
  Indices set = {plain::place_of_largest(e.choice(0))};
  Row left = e.p;
  left[set[0]] = 0;
  while (set.size() < std::min<std::size_t>(3, e.p.size())) {
    set.push_back(picked(left, e.uniform[set.size() - 1]));
    left[set.back()] = 0;
  }
  std::sort(set.begin(), set.end());
  const auto without = [&](std::size_t s) {
    Indices others;
    for (std::size_t t : set)
      if (t != s) others.push_back(t);
    return others;
  };
  Estimate y{0, Row(e.l.size())};
  for (std::size_t s : set) {
    const Number after = probability_of_set(e.p, without(s), {s}),
                 weight = e.p[s] * after / probability_of_set(e.p, set, {});
    Number baseline = e.p[s] * e.f(e.hot(s));
    for (std::size_t t : without(s)) {
      Indices rest;
      for (std::size_t u : without(s))
        if (u != t) rest.push_back(u);
      // p over what is left without s is a distribution of its own.
      const Number first = e.p[t] * probability_of_set(e.p, rest, {s, t}) / after;
      baseline += first * e.f(e.hot(t));
    }
    y.value += weight * e.f(e.hot(s));
    y.gradient = y.gradient + (weight * (e.f(e.hot(s)) - baseline)) * (e.hot(s) - e.p);
  }
  return y;
}
// With u from the noise: its log-odds are the difference of two Gumbel numbers.
Estimate antithetic_of(const Estimated& e, bool arm) {
  const Row &g = e.noise[0], b = e.choice(0), other = e.hot(plain::place_of_largest(e.l - g));
  const Number apart = e.f(b) - e.f(other), a = e.l[1] - e.l[0];
  const Number change = b[1] - other[1];
  const Number worth = arm ? sigmoid(g[1] - g[0]) - Number(0.5) : change * sigmoid(abs(a)) / 2;
  return {(e.f(b) + e.f(other)) / 2, {-(apart * worth), apart * worth}};
}
Estimate arm_of(const Estimated& e) { return antithetic_of(e, true); }
Estimate disarm_of(const Estimated& e) { return antithetic_of(e, false); }

struct DefinedMethod {
  const char* name;
  Method (*make)();
  Estimate (*estimate)(const Estimated& e);
  std::size_t samples = 1;  // of Gumbel noise, along a first axis if there are several
  std::size_t uniform = 0;  // numbers an example, drawn after it
  bool binary = false;
};
const DefinedMethod kDefinedMethods[] = {
    {"score-function+leave-one-out", [] { return rloo(4); }, rloo_of, 4},
    {"exact", [] { return enumeration(); }, exact_of, 0},
    {"muprop", muprop, muprop_of},
    {"vimco", [] { return vimco(3); }, vimco_of, 3},
    {"sum-and-sample", [] { return sum_and_sample(2); }, sum_and_sample_of, 1, 1},
    {"unordered-set", [] { return unordered_set(3); }, unordered_set_of, 1, 2},
    {"arm", arm, arm_of, 1, 0, true},
    {"disarm", disarm, disarm_of, 1, 0, true},
};

// "", or where the estimates of a method are not those.
std::string wrong_estimates(const Around& around, const Method& method,
                            const std::function<Estimate(std::size_t example)>& expected,
                            const Tensor& weight) {
  Tape tape;
  Rng rng(around.seed);
  const Var l = tape.parameter(around.logits), y = method(l, around.cost(), rng);
  const Tensor g = backward(y * tape.constant(weight))[l];
  for (std::size_t e = 0; e < around.examples; ++e) {
    const Estimate right = expected(e);
    std::string wrong = plain::apart(y.value().data()[e], right.value.v);
    for (std::size_t i = 0; i < around.k && wrong.empty(); ++i) {
      const Number w = as_double(weight.data()[e]);
      wrong = plain::apart(g.data()[e * around.k + i], (w * right.gradient[i]).v);
      if (!wrong.empty()) wrong = "'s gradient " + std::to_string(i) + wrong;
    }
    if (!wrong.empty())
      return "estimate " + std::to_string(e) + wrong + "\n  logits " + str(around.logits, 9) +
             "\n  target " + str(around.target, 9) + "\n  arriving " + str(weight, 9) +
             "\n  seed " + std::to_string(around.seed);
  }
  return "";
}

std::string wrong_method(const DefinedMethod& defined, Draws& d) {
  const Around around(d, defined.binary);
  const Tensor weight = d.weights({around.examples});
  Rng rng(around.seed);
  const std::size_t b = around.examples, k = around.k;
  const Tensor noise = rng.gumbel({defined.samples, b, k}),
               uniform = rng.uniform({b, std::min(defined.uniform, k == 1 ? 1 : k - 1)});
  return wrong_estimates(
      around, defined.make(),
      [&](std::size_t example) {
        const Row l = row_of(around.logits, example, k);
        Estimated e{around, example, l, plain::softmax(l), {}, {}};
        for (std::size_t m = 0; m < defined.samples; ++m)
          e.noise.push_back(row_of(noise, m * b + example, k));
        if (defined.uniform > 0) e.uniform = row_of(uniform, example, uniform.shape()[1]);
        return defined.estimate(e);
      },
      weight);
}

// Those with a state: NVIL's baseline after some steps, and control variates of any parameters.
std::string wrong_nvil(Draws& d) {
  const Around around(d, false);
  NvilSettings chosen;
  chosen.hidden = d.below(2) ? 3 : 0;
  const auto state = std::make_shared<NvilBaseline>(chosen);
  for (std::size_t step = d.below(3); step > 0; --step)
    state->learn(around.logits, d.numbers({around.examples}));
  const Tensor baseline = state->value(around.logits), weight = d.weights({around.examples});
  const double scale = state->scale();
  const Tensor noise = Rng(around.seed).gumbel(around.logits.shape());
  return wrong_estimates(
      around, nvil(state),
      [&](std::size_t example) {
        const Row l = row_of(around.logits, example, around.k),
                  z = plain::one_hot(plain::place_of_largest(l + row_of(noise, example, around.k)),
                                     around.k);
        const Number f = around.cost_at(z, example),
                     signal = (f - Number(as_double(baseline.data()[example]))) / scale;
        return Estimate{f, signal * (z - plain::softmax(l))};
      },
      weight);
}

std::string wrong_control_variate(Draws& d, std::size_t hidden) {
  const Around around(d, false);
  const std::size_t k = around.k;
  ControlVariateSettings chosen;
  chosen.hidden = hidden;
  const auto state = std::make_shared<ControlVariate>(chosen);
  const Method method = hidden > 0 ? relax(state) : rebar(state);
  {
    Tape tape;
    Rng rng(1);
    method(tape.parameter(around.logits), around.cost(), rng);  // the network knows its size now
  }
  for (Tensor& p : state->parameters) p = d.filled(p.shape(), [&] { return d.digits(); });
  const Tensor weight = d.weights({around.examples});
  Rng rng(around.seed);
  const Tensor noise = rng.gumbel(around.logits.shape()), again = rng.gumbel(around.logits.shape());
  return wrong_estimates(
      around, method,
      [&](std::size_t example) {
        const auto parameter = [&](std::size_t p, std::size_t i) {
          return Number(as_double(state->parameters[p].data()[i]));
        };
        const auto c = [&](const Row& z) {
          Number y =
              parameter(1, 0) * around.cost_at(plain::softmax(z / exp(parameter(0, 0))), example) +
              parameter(2, 0);
          const Row p = plain::softmax(z);
          for (std::size_t unit = 0; unit < hidden; ++unit) {
            Number x = parameter(4, unit);
            for (std::size_t i = 0; i < k; ++i) x += p[i] * parameter(3, i * hidden + unit);
            y += tanh(x) * parameter(5, unit);
          }
          return Row{y};
        };
        const Row l = row_of(around.logits, example, k), g = row_of(noise, example, k),
                  h = row_of(again, example, k);
        const std::size_t best = plain::place_of_largest(l + g);
        const Row hot = plain::one_hot(best, k);
        const auto free = [&](const Row& x) { return plain::log_softmax(x) + g; };
        const auto given = [&](const Row& x) { return plain::conditional_gumbels(x, best, h); };
        const Number f = around.cost_at(hot, example);
        const Row path = through([&](const Row& x) { return c(free(x)); }, l, {1}) -
                         through([&](const Row& x) { return c(given(x)); }, l, {1});
        return Estimate{f, (f - c(given(l))[0]) * (hot - plain::softmax(l)) + path};
      },
      weight);
}

}  // namespace

TEST_CASE("methods are their formulas, and none is forgotten") {
  std::vector<std::string> known;
  const auto hold = [&](const std::string& name, auto property) {
    known.push_back(name);
    for_all(name, property);
  };
  for (const DefinedMethod& defined : kDefinedMethods)
    hold(defined.name, [&](Draws& d) { return wrong_method(defined, d); });
  hold("nvil", wrong_nvil);
  hold("rebar", [](Draws& d) { return wrong_control_variate(d, 0); });
  hold("relax", [](Draws& d) { return wrong_control_variate(d, 3); });
  for (const std::string& name : method_names())
    if (!method_named(name).rule)
      CHECK_MESSAGE(std::find(known.begin(), known.end(), name) != known.end(),
                    name << " has no definition here; write one");
}
