#include "models/sorting.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "models/training/loss_curve.hpp"
#include "models/training/optimisers.hpp"
#include "ops/elementwise.hpp"
#include "ops/hungarian.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/solver.hpp"
#include "ops/shape.hpp"
#include "ops/soft_sort.hpp"
#include "ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Tensor in_order(Tensor lists) {
  const auto n = static_cast<std::ptrdiff_t>(lists.shape()[1]);
  Scalar* const end = lists.data() + lists.size();
  for (Scalar* list = lists.data(); list != end; list += n) std::sort(list, list + n);
  return lists;
}

// The permutations of a batch, soft or hard, under each method, from what the network made of x (B,
// n, 1).
using Permutations = std::function<Var(Var output, Rng& rng)>;

bool by_scores(const std::string& method) {
  return method == "neural-sort" || method == "soft-sort";
}

Permutations permutations(const std::string& method, const SortingSettings& settings) {
  const double tau = settings.tau;
  if (by_scores(method))
    return [=](Var output, Rng&) {
      const Var scores = reshape(output, {output.shape()[0], output.shape()[1]});
      return method == "neural-sort" ? neural_sort(scores, tau) : soft_sort(scores, tau);
    };
  const Rule rule = method == "blackbox" ? blackbox(settings.lambda)
                    : method == "i-mle"  ? i_mle(settings.lambda)
                                         : matching_rule_named(method, tau, settings.far);
  const bool draws =
      rule.needs_draw || method == "gumbel-sinkhorn" || method == "st-gumbel-sinkhorn";
  const std::size_t repeats = settings.repeats;
  return [=](Var output, Rng& rng) {
    if (!draws) return matching(output, rule);
    if (!rule.needs_multiple_samples) return sample_matching(output, rule, rng);
    const Shape& s = output.shape();
    return sample_matching(broadcast(output, {repeats, s[0], s[1], s[2]}), rule, rng);
  };
}

// What a network 1-hidden-m gives for one number, in double.
class Precisely {
 public:
  explicit Precisely(const Mlp& network) : p_(network.parameters) {
    if (p_.size() != 4 || p_[0].shape()[0] != 1)
      refuse("sorting: the network has ", p_.size() / 2, " layers, the first from ",
             p_[0].shape()[0], "; need 2, from one number");
  }
  std::size_t outputs() const { return p_[3].size(); }
  void operator()(double x, double* to) const {
    const std::size_t m = outputs();
    std::copy_n(p_[3].data(), m, to);
    for (std::size_t h = 0; h < p_[1].size(); ++h) {
      const double unit = x * static_cast<double>(p_[0].data()[h]) + p_[1].data()[h];
      if (unit <= 0) continue;
      const Scalar* w = p_[2].data() + h * m;
      for (std::size_t j = 0; j < m; ++j) to[j] += unit * static_cast<double>(w[j]);
    }
  }

 private:
  const std::vector<Tensor>& p_;
};

// Lists sorted by the score that a network 1-hidden-1 gives each number.
Tensor sort_by_score(const Mlp& network, const Tensor& lists) {
  const Precisely output(network);
  const std::size_t n = lists.shape()[1];
  Tensor sorted = uninitialised(lists.shape());
  std::vector<std::pair<double, Scalar>> scored(n);
  for (std::size_t l = 0; l < lists.shape()[0]; ++l) {
    for (std::size_t i = 0; i < n; ++i) {
      scored[i].second = lists.data()[l * n + i];
      output(static_cast<double>(scored[i].second), &scored[i].first);
    }
    std::stable_sort(scored.begin(), scored.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    for (std::size_t i = 0; i < n; ++i) sorted.data()[l * n + i] = scored[i].second;
  }
  return sorted;
}

void check(std::size_t n, const std::string& method, const SortingSettings& s, std::size_t lists) {
  const std::vector<std::string> methods = sorting_methods();
  std::string all;
  for (const std::string& m : methods) all += (all.empty() ? "" : ", ") + m;
  require(std::find(methods.begin(), methods.end(), method) != methods.end(),
          "train_sorting: the method is '", method, "'; need one of ", all);
  require(n > 0, "train_sorting: lists of 0 numbers; need at least 1");
  require(s.hidden > 0 && s.steps > 0 && s.batch > 0 && lists > 0,
          "train_sorting: hidden, steps, batch and lists are ", s.hidden, ", ", s.steps, ", ",
          s.batch, ", ", lists, "; need at least 1 of each");
  require(s.repeats > 0, "train_sorting: repeats are 0; need at least 1");
}

}  // namespace

std::vector<std::string> sorting_methods() {
  std::vector<std::string> methods = matching_rule_names();
  methods.push_back("neural-sort");
  methods.push_back("soft-sort");
  return methods;
}

std::vector<SortingScore> sorting_intervals() {
  return {{0, 1}, {0, 10}, {0, 1000}, {1, 2}, {10, 11}, {10, 20}, {100, 101}, {1000, 1001}};
}

SortingRun train_sorting(std::size_t n, const std::string& method, const SortingSettings& settings,
                         std::size_t lists, const std::function<void()>& progress) {
  check(n, method, settings, lists);
  // Streams of their own: every method sees the same lists, whatever it draws.
  Rng rng(settings.seed), numbers(settings.seed, 0, 1), noise(settings.seed, 0, 2);
  Mlp network({1, settings.hidden, by_scores(method) ? 1 : n}, rng, glorot_uniform());
  const Permutations soft_permutation = permutations(method, settings);
  const bool soft = method == "gumbel-sinkhorn" || by_scores(method);
  Adam adam(linear_decay(settings.rate, 0, settings.steps));

  SortingRun run;
  run.rule = method;
  LossCurve curve(settings.steps);
  const auto begin = std::chrono::steady_clock::now();
  for (; run.steps < settings.steps; ++run.steps) {
    const Tensor x = numbers.uniform({settings.batch, n});
    Tape tape;
    const std::vector<Var> weights = tape.borrow_parameters(network.parameters);
    const Var items = tape.constant(reshaped(x, {settings.batch, n, 1}), "numbers");
    const Var target = tape.constant(reshaped(in_order(x), {settings.batch, n, 1}), "in order");
    const Var p = soft_permutation(network(weights, items), noise);
    // One cost a list. Adam does not mind the factor that a mean would bring; a rule that moves the
    // logits along the gradient would.
    const Var cost = sum(squared_error(permute(p, items), target), {-2, -1});
    curve.add(run.steps, sum(cost).item() / static_cast<double>(cost.value().size()));
    if (soft) run.residual = residual(p.value());
    adam.step(network.parameters, weights, cost);
    if (progress) progress();
  }
  run.loss = curve.means();
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  Rng unseen(settings.seed, 0, 3);
  for (SortingScore score : sorting_intervals()) {
    const Tensor x = unseen.uniform({lists, n}, score.low, score.high);
    score_sorting(x, by_scores(method) ? sort_by_score(network, x) : sort_by_matching(network, x),
                  score);
    run.scores.push_back(score);
  }
  return run;
}

Tensor sort_by_matching(const Mlp& network, const Tensor& lists) {
  const Precisely output(network);
  const std::size_t n = lists.dimension() == 2 ? lists.shape()[1] : 0;
  if (n == 0 || n != output.outputs())
    refuse("sort_by_matching: lists are ", lists.shape(), ", the network has ", output.outputs(),
           " places; need (B, ", output.outputs(), ")");
  Tensor sorted = uninitialised(lists.shape()), logits = uninitialised({n, n});
  std::vector<double> x(n * n), column(n);
  for (std::size_t l = 0; l < lists.shape()[0]; ++l) {
    const Scalar* list = lists.data() + l * n;
    std::fill(column.begin(), column.end(), 0.0);
    for (std::size_t i = 0; i < n; ++i) {
      double* row = x.data() + i * n;
      output(static_cast<double>(list[i]), row);
      const double mean = std::accumulate(row, row + n, 0.0) / static_cast<double>(n);
      for (std::size_t j = 0; j < n; ++j) column[j] += (row[j] -= mean) / static_cast<double>(n);
    }
    for (std::size_t k = 0; k < n * n; ++k)
      logits.data()[k] = static_cast<Scalar>(x[k] - column[k % n]);
    const std::vector<std::size_t> places = hungarian(logits);
    for (std::size_t i = 0; i < n; ++i) sorted.data()[l * n + places[i]] = list[i];
  }
  return sorted;
}

void score_sorting(const Tensor& lists, const Tensor& sorted, SortingScore& score) {
  if (lists.dimension() != 2 || lists.size() == 0 || lists.shape() != sorted.shape())
    refuse("score_sorting: lists are ", lists.shape(), ", sorted ", sorted.shape(),
           "; need (B, n) for both");
  const std::size_t n = lists.shape()[1], count = lists.shape()[0];
  const Tensor right = in_order(lists);
  std::size_t wrong = 0, any = 0;
  for (std::size_t l = 0; l < count; ++l) {
    std::size_t here = 0;
    for (std::size_t k = l * n; k < (l + 1) * n; ++k) here += sorted.data()[k] != right.data()[k];
    wrong += here;
    any += here > 0;
  }
  score.wrong = static_cast<double>(wrong) / static_cast<double>(count * n);
  score.any = static_cast<double>(any) / static_cast<double>(count);
}

ARGTAPE_END
