#include "models/architecture_search.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/memory.hpp"
#include "models/training/loss_curve.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Var mean_loss(Var logits, const Dataset& digits) {
  return mean(cross_entropy(logits, digits.labels));
}

// The way to make nodes of their edges by a choice (edges, K).
CellNetwork::Combine by_choice(Var choice, CellRuns runs) {
  return [=](const CellNetwork::Into& into) {
    const std::size_t edges = into.edges.size();
    if (runs == CellRuns::all) {  // all edges in one pass
      std::vector<Branch> branches;
      for (const auto& edge : into.edges) branches.insert(branches.end(), edge.begin(), edge.end());
      const Var weights = slice(choice, into.first, into.first + edges);
      return mixture(reshape(weights, {branches.size()}), branches);
    }
    const Unchosen others = runs == CellRuns::chosen ? Unchosen::nothing : Unchosen::as_scalars;
    Var total;
    for (std::size_t e = 0; e < edges; ++e) {
      const std::size_t row = into.first + e;
      const Var part = select(slice(choice, row, row + 1), into.edges[e], others);
      total = total.tape ? total + part : part;
    }
    return total;
  };
}

CellRuns runs_of(const std::string& method) {
  if (method == "gdas-scalars") return CellRuns::chosen_with_scalars;
  const bool chosen = method == "gdas" || method == "score-function" || method == "exact";
  return chosen ? CellRuns::chosen : CellRuns::all;
}

std::vector<Var> constants(Tape& tape, const std::vector<Tensor>& parameters) {
  std::vector<Var> w;
  for (const Tensor& p : parameters) w.push_back(tape.borrow_constant(p, "weights"));
  return w;
}

}  // namespace

Cost cell_cost(const CellNetwork& network, const Dataset& digits, CellRuns runs) {
  return [&network, &digits, runs](Var choices) {
    Tape& tape = *choices.tape;
    const std::vector<Var> w = constants(tape, network.parameters);
    const Var images = tape.borrow_constant(digits.images, "images");
    const auto loss = [&](Var choice) {
      return mean_loss(network(w, images, by_choice(choice, runs)), digits);
    };
    const Shape& shape = choices.shape();
    const std::size_t rank = shape.size(), k = network.candidates()[0].size();
    const std::string wanted = "(" + std::to_string(kCellEdges) + ", " + std::to_string(k) + ")";
    require((rank == 2 || (rank == 3 && shape[0] > 0)) && shape[rank - 2] == kCellEdges &&
                shape[rank - 1] == k,
            "cell_cost: choices are ", shape, "; need ", wanted, ", or at least one such");
    if (rank == 2) return loss(choices);
    std::vector<Var> losses;
    for (std::size_t m = 0; m < shape[0]; ++m)
      losses.push_back(loss(reshape(slice(choices, m, m + 1), {shape[1], shape[2]})));
    return stack(losses);
  };
}

Tensor cell_losses(const CellNetwork& network, const Dataset& digits) {
  const std::size_t a = network.candidates()[0].size(), b = network.candidates()[1].size(),
                    c = network.candidates()[2].size();
  Tape tape;
  const std::vector<Var> w = constants(tape, network.parameters);
  const Var stem = network.stem(w, tape.borrow_constant(digits.images, "images"));
  std::vector<Var> skipping;
  for (std::size_t j = 0; j < b; ++j) skipping.push_back(network.operation(w, 1, j, stem));
  Tensor losses = uninitialised({a, b, c});
  Scalar* to = losses.data();
  for (std::size_t i = 0; i < a; ++i) {
    Tape own;  // given back before the next
    const std::vector<Var> v = constants(own, network.parameters);
    const Var first = network.operation(v, 0, i, own.borrow_constant(stem.value(), "node 0"));
    std::vector<Var> last;
    for (std::size_t k = 0; k < c; ++k) last.push_back(network.operation(v, 2, k, first));
    for (std::size_t j = 0; j < b; ++j)
      for (std::size_t k = 0; k < c; ++k) {
        Tape end;
        const Var node =
            end.borrow_constant(skipping[j].value()) + end.borrow_constant(last[k].value());
        *to++ = mean_loss(network.head(constants(end, network.parameters), node), digits).item();
      }
  }
  return losses;
}

Var expected_cell_loss(Var logits, const Tensor& losses) {
  const Shape& shape = logits.shape();
  require(shape.size() == 2 && shape[0] == kCellEdges &&
              losses.shape() == Shape{shape[1], shape[1], shape[1]},
          "expected_cell_loss: logits are ", shape, ", losses are ", losses.shape(), "; need (",
          kCellEdges, ", K) and (K, K, K)");
  const std::size_t k = shape[1];
  const Var p = softmax(logits);
  const auto edge = [&](std::size_t e, const Shape& beside) {
    return reshape(slice(p, e, e + 1), beside);
  };
  return sum(logits.tape->constant(losses, "losses") * edge(0, {k, 1, 1}) * edge(1, {k, 1}) *
             edge(2, {k}));
}

Var unrolled_cell_loss(const CellNetwork& network, Var logits, const CellChoice& choose,
                       const Dataset& train, const Dataset& unseen, double xi) {
  Tape& tape = tape_of("unrolled_cell_loss", logits);
  const auto loss = [&](const std::vector<Var>& w, const Dataset& digits) {
    const Var images = tape.constant(digits.images, "images");
    return mean_loss(network(w, images, by_choice(choose(logits), CellRuns::all)), digits);
  };
  std::vector<Var> w = tape.borrow_parameters(network.parameters);
  const std::vector<Var> slopes = differentiate(loss(w, train), w);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = w[i] - xi * slopes[i];
  return loss(w, unseen);
}

const std::vector<std::string>& search_methods() {
  static const std::vector<std::string> all = {
      "darts", "darts-second-order", "gumbel-softmax", "st-all",
      "gdas",  "gdas-scalars",       "score-function", "exact"};
  return all;
}

namespace {

SearchSettings checked(SearchSettings s) {
  const auto& known = search_methods();
  if (std::find(known.begin(), known.end(), s.method) == known.end()) {
    std::string names;
    for (const std::string& name : known)
      names += (names.empty() ? "" : name == known.back() ? " or " : ", ") + name;
    require(false, "search: the method is '", s.method, "'; need ", names);
  }
  if (s.architecture_rate == 0)
    s.architecture_rate = s.method == "gdas" || s.method == "gdas-scalars" ? 2e-2 : 1e-2;
  require(s.steps > 0 && s.batch > 0, "search: steps and batch are ", s.steps, ", ", s.batch,
          "; need at least 1 of each");
  require(s.tau > 0 && s.tau_end > 0 && std::isfinite(s.tau) && std::isfinite(s.tau_end),
          "search: temperatures are ", s.tau, " and ", s.tau_end, "; need more than 0, and finite");
  Rng any(0);
  random_cell(s.candidates, any);
  return s;
}

Dataset half_of(const Dataset& train, std::size_t batch, bool first) {
  const std::size_t half = train.size() / 2;
  require(half >= batch, "search: ", train.size(), " digits, in batches of ", batch,
          "; need a batch for the weights and another for the logits");
  return first ? rows_from(train, 0, half) : rows_from(train, half, train.size());
}

CellNetwork network_for(const Dataset& train, const SearchSettings& s) {
  Rng start(s.seed);
  return CellNetwork(train, s.channels,
                     std::vector<std::vector<std::string>>(kCellEdges, s.candidates), start);
}

}  // namespace

ArchitectureSearch::ArchitectureSearch(const Dataset& train, const SearchSettings& settings)
    : settings_(checked(settings)),
      noise_(settings.seed, 0, 1),
      network_(network_for(train, settings_)),
      for_weights_(half_of(train, settings_.batch, true), settings_.batch,
                   Rng(settings.seed, 0, 2)),
      for_logits_(half_of(train, settings_.batch, false), settings_.batch,
                  Rng(settings.seed, 0, 3)),
      logits_{zeros({kCellEdges, settings_.candidates.size()})},
      weights_adam_(settings_.rate),
      logits_adam_(settings_.architecture_rate),
      by_costs_(score_function(running_mean(0.9))) {}

Var ArchitectureSearch::choice_for(Var logits) {
  const std::string& method = settings_.method;
  if (method == "darts" || method == "darts-second-order") return softmax(logits);
  if (method == "score-function") return sample(logits, by_costs_, noise_);
  if (method == "exact") return sample(logits, zero(), noise_);
  const double tau = linear_decay(settings_.tau, settings_.tau_end, settings_.steps)(steps_);
  return sample(logits, method == "gumbel-softmax" ? gumbel_softmax(tau) : st_gumbel_softmax(tau),
                noise_);
}

Var ArchitectureSearch::loss_on(const std::vector<Var>& w, Var logits, const Dataset& digits) {
  const Var images = logits.tape->borrow_constant(digits.images, "images");
  return mean_loss(network_(w, images, by_choice(choice_for(logits), runs_of(settings_.method))),
                   digits);
}

void ArchitectureSearch::diverged(const std::string& what) const {
  const std::string& m = settings_.method;
  const bool tempered =
      m == "gumbel-softmax" || m == "st-all" || m == "gdas" || m == "gdas-scalars";
  refuse<std::runtime_error>("search: training of ", m, " diverged at step ", steps_, " (", what,
                             "); need a lower rate",
                             tempered ? ", or temperatures nearer to 1" : "");
}

void ArchitectureSearch::update(Adam& adam, std::vector<Tensor>& parameters,
                                const std::vector<Var>& on_tape, Var loss) {
  if (!std::isfinite(loss.item())) diverged("the loss is " + str(static_cast<double>(loss.item())));
  cost_.kept_bytes = std::max(cost_.kept_bytes, memory_use().held_bytes - held_before_);
  try {
    adam.step(parameters, on_tape, loss);
  } catch (const std::invalid_argument& e) {
    diverged(e.what());
  }
}

double ArchitectureSearch::step_weights(const Dataset& digits) {
  Tape tape;
  const std::vector<Var> w = tape.borrow_parameters(network_.parameters);
  const Var loss = loss_on(w, tape.borrow_constant(logits_[0], "logits"), digits);
  update(weights_adam_, network_.parameters, w, loss);
  return static_cast<double>(loss.item());
}

void ArchitectureSearch::step_logits(const Dataset& train) {
  const Dataset digits = for_logits_.next();
  if (settings_.method == "exact") {
    const Tensor losses = cell_losses(network_, digits);
    Tape tape;
    const std::vector<Var> logits = tape.borrow_parameters(logits_);
    const Var loss = expected_cell_loss(logits[0], losses);
    return update(logits_adam_, logits_, logits, loss);
  }
  Tape tape;
  const std::vector<Var> logits = tape.borrow_parameters(logits_);
  const Var loss = settings_.method == "darts-second-order"
                       ? unrolled_cell_loss(
                             network_, logits[0], [this](Var l) { return choice_for(l); }, train,
                             digits, settings_.rate)
                       : loss_on(constants(tape, network_.parameters), logits[0], digits);
  update(logits_adam_, logits_, logits, loss);
}

double ArchitectureSearch::warm_up() { return step_weights(for_weights_.next()); }

double ArchitectureSearch::step() {
  cost_ = StepCost{};
  held_before_ = memory_use().held_bytes;
  reset_peak_memory();
  const auto begin = std::chrono::steady_clock::now();
  const Dataset train = for_weights_.next();
  step_logits(train);
  const double loss = step_weights(train);
  cost_.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  cost_.peak_bytes = memory_use().peak_bytes - held_before_;
  ++steps_;
  return loss;
}

std::vector<std::string> ArchitectureSearch::cell() const {
  const std::vector<std::string>& names = settings_.candidates;
  std::vector<std::string> cell;
  for (std::size_t e = 0; e < kCellEdges; ++e) {
    const Scalar* row = logits_[0].data() + e * names.size();
    std::size_t best = names.size();
    for (std::size_t k = 0; k < names.size(); ++k)
      if (names[k] != "none" && (best == names.size() || row[k] > row[best])) best = k;
    cell.push_back(names[best]);
  }
  return cell;
}

SearchRun search_architecture(const Dataset& train, const SearchSettings& settings,
                              const std::function<void()>& progress) {
  ArchitectureSearch search(train, settings);
  SearchRun run;
  const auto note = [&] {
    Tape tape;
    run.probabilities.push_back(softmax(tape.constant(search.logits())).value());
  };
  for (std::size_t i = 0; i < settings.warm_up; ++i) {
    search.warm_up();
    if (progress) progress();
  }
  note();
  LossCurve curve(settings.steps);
  std::vector<double> times;
  for (std::size_t i = 0; i < settings.steps; ++i) {
    curve.add(i, search.step());
    times.push_back(search.cost().milliseconds);
    run.cost.kept_bytes = std::max(run.cost.kept_bytes, search.cost().kept_bytes);
    run.cost.peak_bytes = std::max(run.cost.peak_bytes, search.cost().peak_bytes);
    if (i + 1 == settings.steps || curve.part(i + 1) > curve.part(i)) note();
    if (progress) progress();
  }
  run.loss = curve.means();
  const auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  run.cost.milliseconds = *middle;
  run.cell = search.cell();
  return run;
}

std::vector<std::string> random_cell(const std::vector<std::string>& candidates, Rng& rng) {
  std::vector<std::string> some;
  for (const std::string& name : candidates)
    if (name != "none") some.push_back(name);
  require(!some.empty(), "random_cell: no candidate other than none; need at least one");
  std::vector<std::string> cell;
  for (std::size_t e = 0; e < kCellEdges; ++e) cell.push_back(some[rng.below(some.size())]);
  return cell;
}

ARGTAPE_END
