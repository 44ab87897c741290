// The cell, what its search follows, what a step costs, and what comes out.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "models/architecture_search.hpp"
#include "models/measure.hpp"
#include "models/training/optimisers.hpp"
#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/pool.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/score_function.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "tests/distance.hpp"
#include "tests/refuses.hpp"

using namespace argtape;
using Names = std::vector<std::string>;

namespace {

const Split& uci() {
  static const Dataset all = load_digits(ARGTAPE_DATA_DIR);
  static const Split parts = split(all, default_train_size(all));
  return parts;
}

Dataset rows_of(const Dataset& data, std::size_t begin, std::size_t end) {
  std::vector<std::size_t> rows;
  for (std::size_t i = begin; i < end; ++i) rows.push_back(i);
  return take(data, rows);
}

Dataset first(std::size_t n) { return rows_of(uci().train, 0, n); }

CellNetwork network_of(const Names& candidates, std::uint64_t seed = 1) {
  Rng rng(seed);
  return CellNetwork(uci().train, 4, std::vector<Names>(kCellEdges, candidates), rng);
}

std::vector<Var> constants(Tape& tape, const std::vector<Tensor>& parameters) {
  std::vector<Var> w;
  for (const Tensor& p : parameters) w.push_back(tape.constant(p));
  return w;
}

SearchSettings short_search(const std::string& method) {
  SearchSettings s;
  s.method = method;
  s.warm_up = 10;
  s.steps = 10;
  s.channels = 4;
  s.batch = 50;
  return s;
}

// A search written out: its three streams, its two halves, and for each method the choice, what is
// run, and the rate of the logits' Adam.
class ByHand {
 public:
  ByHand(const Dataset& train, const SearchSettings& s)
      : s_(s),
        noise_(s.seed, 0, 1),
        for_weights_(rows_of(train, 0, train.size() / 2), s.batch, Rng(s.seed, 0, 2)),
        for_logits_(rows_of(train, train.size() / 2, train.size()), s.batch, Rng(s.seed, 0, 3)),
        adam_(is({"gdas", "gdas-scalars"}) ? 0.02 : 0.01) {}

  std::vector<Tensor> logits = {zeros({3, 6})};
  Tensor slope;  // of the logits, in the last step

  void step_logits(const CellNetwork& network, std::size_t step) {
    const Dataset digits = for_logits_.next();
    batch_ = for_weights_.next();
    Tape tape;
    const Var l = tape.parameter(logits[0]);
    const auto choose = [&](Var v) { return choice(v, step); };
    const Var cost = is({"exact"}) ? expected_cell_loss(l, cell_losses(network, digits))
                     : is({"darts-second-order"})
                         ? unrolled_cell_loss(network, l, choose, batch_, digits, s_.rate)
                         : loss(network, constants(tape, network.parameters), choose(l), digits);
    const Gradients g = backward(cost);
    slope = g[l];
    adam_.step(logits, {l}, g);
  }

  struct Weights {
    double loss;
    std::vector<Tensor> slopes;
    std::vector<bool> reached;
  };
  Weights weights(const CellNetwork& network, std::size_t step) {
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(network.parameters);
    const Var cost = loss(network, w, choice(tape.constant(logits[0]), step), batch_);
    const Gradients g = backward(cost);
    Weights found{static_cast<double>(cost.item()), {}, {}};
    for (const Var& v : w) {
      found.slopes.push_back(g[v]);
      found.reached.push_back(g.reached(v));
    }
    return found;
  }

 private:
  bool is(const Names& methods) const {
    return std::find(methods.begin(), methods.end(), s_.method) != methods.end();
  }

  Var choice(Var l, std::size_t step) {
    if (is({"darts", "darts-second-order"})) return softmax(l);
    if (is({"exact"})) return sample(l, zero(), noise_);
    if (is({"score-function"})) return sample(l, by_costs_, noise_);
    const double tau =
        s_.tau + (s_.tau_end - s_.tau) * static_cast<double>(step) / static_cast<double>(s_.steps);
    return sample(l, is({"gumbel-softmax"}) ? gumbel_softmax(tau) : st_gumbel_softmax(tau), noise_);
  }

  Var loss(const CellNetwork& network, const std::vector<Var>& w, Var choice,
           const Dataset& digits) const {
    const bool one = is({"gdas", "gdas-scalars", "score-function", "exact"});
    const Unchosen others = is({"gdas-scalars"}) ? Unchosen::as_scalars : Unchosen::nothing;
    const Var images = choice.tape->constant(digits.images);
    const Var found = network(w, images, [&](const CellNetwork::Into& into) {
      Var node;
      for (std::size_t e = 0; e < into.edges.size(); ++e) {
        const Var row = slice(choice, into.first + e, into.first + e + 1);
        const Var edge = one ? select(row, into.edges[e], others) : mixture(row, into.edges[e]);
        node = e == 0 ? edge : node + edge;
      }
      return node;
    });
    return mean(cross_entropy(found, digits.labels));
  }

  SearchSettings s_;
  Rng noise_;
  DigitBatches for_weights_, for_logits_;
  Adam adam_;
  Rule by_costs_ = score_function(running_mean(0.9));
  Dataset batch_;  // of the weights
};

}  // namespace

TEST_CASE("halving an image takes the mean of 2 x 2 pixels") {
  Dataset d;
  d.height = 3, d.width = 4, d.classes = 2;
  d.labels = {1};
  d.images = tensor({1, 12}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 9});
  const Dataset half = halved_images(d);
  CHECK(half.height == 1);
  CHECK(half.width == 2);
  CHECK(half.labels == d.labels);
  CHECK(half.images == tensor({1, 2}, {3.5, 5.5}));
  d.height = 1, d.width = 12;
  refuses([&] { halved_images(d); }, "halved_images: images are 1 x 12; need at least 2 x 2");
}

TEST_CASE("a cell's edges do what they are named, and its nodes are their sums") {
  const Dataset digits = first(3);
  Rng rng(4);
  const CellNetwork network(digits, 4, {{"conv5x5"}, {"max3x3"}, {"conv3x3"}}, rng);
  const std::vector<Shape> shapes = {{4, 1, 3, 3}, {4, 4, 5, 5}, {4, 4, 3, 3}, {64, 10}, {10}};
  REQUIRE(network.parameters.size() == shapes.size());
  for (std::size_t i = 0; i < shapes.size(); ++i) CHECK(network.parameters[i].shape() == shapes[i]);
  Tape tape;
  const std::vector<Var> w = constants(tape, network.parameters);
  const Var images = tape.constant(digits.images);
  const Var x0 = conv2d(reshape(images, {3, 1, 8, 8}), w[0], 1, 1);
  const Var x1 = conv2d(relu(x0), w[1], 1, 2);
  const Var x2 = max_pool2d(x0, 3, 1, 1) + conv2d(relu(x1), w[2], 1, 1);
  const Var logits = dense(reshape(avg_pool2d(relu(x2), 2), {3, 64}), w[3], w[4]);
  check_close(network(w, images).value(), logits.value(), 1e-6);

  const CellNetwork plain(digits, 4, {{"none"}, {"skip"}, {"avg3x3"}}, rng);
  const std::vector<Var> v = constants(tape, plain.parameters);
  const Var y0 = plain.stem(v, images);
  check_close(plain(v, images).value(), plain.head(v, y0 + avg_pool2d(0.0 * y0, 3, 1, 1)).value(),
              1e-6);
}

TEST_CASE("all operations, and the chosen ones alone, agree on a hard choice") {
  const CellNetwork network = network_of(cell_operations());
  const Dataset digits = first(6);
  const std::vector<std::size_t> labels = {3, 5, 2};
  Tape tape;
  const Var choice = tape.constant(one_hot(labels, 6));
  const Scalar all = cell_cost(network, digits, CellRuns::all)(choice).item();
  const std::size_t before = tape.size();
  const Scalar chosen = cell_cost(network, digits, CellRuns::chosen)(choice).item();
  CHECK(all == doctest::Approx(chosen).epsilon(1e-5));
  std::vector<std::string> names;
  for (std::size_t i = before; i < tape.size(); ++i) names.push_back(tape.node(i).op.name);
  CHECK(std::count(names.begin(), names.end(), "conv2d") == 3);  // the stem's, 5x5 and 3x3
  CHECK(std::count(names.begin(), names.end(), "max_pool2d") == 1);
  CHECK(std::count(names.begin(), names.end(), "avg_pool2d") == 1);  // the head's
  CHECK(cell_losses(network, digits)(3, 5, 2) == doctest::Approx(chosen).epsilon(1e-5));
}

TEST_CASE("what a choice's entries get, by what is run") {
  const CellNetwork network = network_of(cell_operations());
  const Dataset digits = first(6);
  const std::vector<std::size_t> labels = {3, 5, 2};
  Tape tape;
  const Var choice = tape.parameter(one_hot(labels, 6));
  const auto slopes = [&](CellRuns runs) {
    return backward(cell_cost(network, digits, runs)(choice))[choice];
  };
  const Tensor all = slopes(CellRuns::all), chosen = slopes(CellRuns::chosen),
               scalars = slopes(CellRuns::chosen_with_scalars);
  for (std::size_t e = 0; e < 3; ++e) {
    const std::size_t k = labels[e], other = (k + 1) % 6;
    CHECK(chosen(e, k) == doctest::Approx(all(e, k)).epsilon(1e-4));
    CHECK(scalars(e, k) == doctest::Approx(all(e, k)).epsilon(1e-4));
    CHECK(scalars(e, other) != 0);
    for (std::size_t j = 0; j < 6; ++j) {
      if (j == k) continue;
      CHECK(chosen(e, j) == 0);
      CHECK(scalars(e, j) == scalars(e, other));
    }
  }
  CHECK(all(0, 1) != 0);
}

TEST_CASE("the losses of all cells, and their expectation, are those of the choices") {
  const CellNetwork network = network_of({"conv3x3", "none", "max3x3"});
  const Dataset digits = first(5);
  const Cost cost = cell_cost(network, digits, CellRuns::chosen);
  Tape tape;
  const Var logits = tape.parameter(Rng(2).normal({3, 3}));
  const Var expected = expected_cell_loss(logits, cell_losses(network, digits));
  const Var enumerated =
      expectation({slice(logits, 0, 1), slice(logits, 1, 2), slice(logits, 2, 3)},
                  [&](const std::vector<Var>& z) { return reshape(cost(concatenate(z)), {1}); });
  CHECK(expected.item() == doctest::Approx(enumerated.item()).epsilon(1e-5));
  check_close(backward(expected)[logits], backward(enumerated)[logits], 1e-5);
}

TEST_CASE("the score function is exact on average, straight-through through one operation is not") {
  const CellNetwork network = network_of({"conv3x3", "skip", "max3x3"});
  const Dataset digits = first(10);
  MeasureOptions options;
  options.enumerate = true;
  options.batch = 9;
  const Tensor logits = 0.5 * Rng(5).normal({3, 3});
  Tape tape;
  const Var l = tape.parameter(logits);
  const Tensor exact = backward(expected_cell_loss(l, cell_losses(network, digits)))[l];
  options.exact = exact;
  CHECK(measure(score_function(), cell_cost(network, digits, CellRuns::chosen), logits, options)
            .bias < 1e-3);
  const double alone = measure(straight_through(), cell_cost(network, digits, CellRuns::chosen),
                               logits, options)
                           .bias,
               all = measure(straight_through(), cell_cost(network, digits, CellRuns::all), logits,
                             options)
                         .bias;
  const Var mixed = cell_cost(network, digits, CellRuns::all)(softmax(l));
  const double darts = relative_distance(backward(mixed)[l], exact);
  CHECK(alone > all);
  CHECK(alone > darts);
}

TEST_CASE("memory grows with the operations where all are run, and not where one is") {
  const auto cost = [](const std::string& method, std::size_t k) {
    SearchSettings s = short_search(method);
    s.candidates.assign(k, "conv3x3");
    s.warm_up = 1;
    s.steps = 3;
    return search_architecture(uci().train, s).cost;
  };
  for (const char* method : {"gdas", "gdas-scalars", "score-function"}) {
    const StepCost few = cost(method, 2), many = cost(method, 8);
    CHECK(static_cast<double>(many.kept_bytes) < 1.2 * static_cast<double>(few.kept_bytes));
    CHECK(static_cast<double>(many.peak_bytes) < 1.2 * static_cast<double>(few.peak_bytes));
  }
  const StepCost one = cost("gdas", 8);
  for (const char* method : {"darts", "gumbel-softmax", "st-all"}) {
    const StepCost few = cost(method, 2), many = cost(method, 8);
    CHECK(static_cast<double>(many.kept_bytes) > 3 * static_cast<double>(few.kept_bytes));
    CHECK(static_cast<double>(many.peak_bytes) > 3 * static_cast<double>(few.peak_bytes));
    CHECK(many.kept_bytes > 4 * one.kept_bytes);
  }
}

TEST_CASE("every method moves its logits and its weights, and repeats itself") {
  for (const std::string& method : search_methods()) {
    CAPTURE(method);
    ArchitectureSearch search(uci().train, short_search(method)),
        again(uci().train, short_search(method));
    const std::vector<Tensor> start = search.network().parameters;
    search.warm_up();
    CHECK(search.logits() == zeros({3, 6}));
    CHECK_FALSE(search.network().parameters[0] == start[0]);
    again.warm_up();
    for (int i = 0; i < 3; ++i) CHECK(search.step() == again.step());
    CHECK(identical(search.logits(), again.logits()));
    CHECK(farthest(search.logits(), zeros({3, 6})) > 0);
    for (const std::string& operation : search.cell()) CHECK(operation != "none");
    CHECK(search.cost().milliseconds > 0);
    CHECK(search.cost().peak_bytes > search.cost().kept_bytes);
  }
}

TEST_CASE("the steps of each method, against the same written out") {
  const Dataset train = first(120);
  std::size_t none_first = 0;
  for (const std::string& method : search_methods()) {
    CAPTURE(method);
    SearchSettings s = short_search(method);
    s.steps = 4;
    s.rate = 0.02;
    s.batch = 20;
    s.seed = 7;
    ArchitectureSearch search(train, s);
    Rng start(7);
    CHECK(search.network().parameters ==
          CellNetwork(train, 4, {3, cell_operations()}, start).parameters);
    ByHand hand(train, s);
    for (std::size_t step = 0; step < 4; ++step) {
      CAPTURE(step);
      const CellNetwork before = search.network();
      hand.step_logits(before, step);
      const auto [loss, slopes, reached] = hand.weights(before, step);
      CHECK(search.step() == doctest::Approx(loss).epsilon(1e-5));
      for (std::size_t p = 0; p < slopes.size(); ++p)  // an operation that was not run stays
        CHECK((reached[p] || identical(search.network().parameters[p], before.parameters[p])));
      // Adam's steps are about as long as its rate, whatever the slopes.
      CHECK(farthest(search.logits(), hand.logits[0]) < 1e-4);
      const std::vector<std::string> cell = search.cell();
      for (std::size_t e = 0; e < 3; ++e) {
        const Scalar* row = search.logits().data() + 6 * e;
        CHECK(
            cell[e] ==
            cell_operations()[static_cast<std::size_t>(std::max_element(row + 1, row + 6) - row)]);
        none_first += std::max_element(row, row + 6) == row;
      }
      if (step > 0) continue;
      const double rate = method == "gdas" || method == "gdas-scalars" ? 0.02 : 0.01;
      for (std::size_t i = 0; i < 18; ++i) {
        const double slope = hand.slope.data()[i];
        if (std::abs(slope) > 1e-4)
          CHECK(search.logits().data()[i] == doctest::Approx(slope > 0 ? -rate : rate));
      }
      double worst = 0;
      for (std::size_t p = 0; p < slopes.size(); ++p)
        for (std::size_t i = 0; i < slopes[p].size(); ++i) {
          const double slope = slopes[p].data()[i];
          if (slope != 0 && std::abs(slope) < 1e-5) continue;  // its sign may be rounding
          const double moved = search.network().parameters[p].data()[i] -
                               before.parameters[p].data()[i],
                       expected = slope == 0  ? 0
                                  : slope > 0 ? -0.02
                                              : 0.02;
          worst = worse(worst, std::abs(moved - expected));
        }
      CHECK(worst < 1e-4);
    }
  }
  CHECK(none_first > 0);  // what cell() passes over
}

TEST_CASE("the methods' first steps differ as their slopes do") {
  const auto first_step = [](const std::string& method) {
    SearchSettings s = short_search(method);
    s.seed = 3;
    ArchitectureSearch search(uci().train, s);
    search.step();
    return std::pair{search.logits(), search.cost().kept_bytes};
  };
  // With f' for the chosen operation alone, or one number for all others, softmax's Jacobian lets
  // one logit of each edge go one way and the rest the other.
  const auto alone = [](const Tensor& logits) {
    std::size_t edges = 0;
    for (std::size_t e = 0; e < 3; ++e) {
      std::size_t up = 0;
      for (std::size_t k = 0; k < 6; ++k) up += logits(e, k) > 0;
      edges += up == 1 || up == 5;
    }
    return edges;
  };
  const Tensor gdas = first_step("gdas").first, scalars = first_step("gdas-scalars").first,
               all = first_step("st-all").first;
  CHECK(alone(gdas) == 3);
  CHECK(alone(scalars) == 3);
  CHECK(alone(all) < 3);
  CHECK(farthest(gdas, scalars) == doctest::Approx(0.04));
  CHECK(farthest(first_step("gumbel-softmax").first, all) == doctest::Approx(0.02));
  CHECK(static_cast<double>(first_step("darts-second-order").second) >
        1.5 * static_cast<double>(first_step("darts").second));
}

TEST_CASE("the first half of the digits moves the weights, the second the logits") {
  const SearchSettings s = short_search("darts");
  const auto with_labels_changed = [](std::size_t begin, std::size_t end) {
    Dataset data = first(120);
    for (std::size_t i = begin; i < end; ++i) data.labels[i] = 9 - data.labels[i];
    return data;
  };
  ArchitectureSearch plain(first(120), s), weights(with_labels_changed(0, 60), s),
      logits(with_labels_changed(60, 120), s);
  for (ArchitectureSearch* search : {&plain, &weights, &logits}) search->step();
  // The logits go first.
  CHECK(identical(weights.logits(), plain.logits()));
  CHECK_FALSE(identical(logits.logits(), plain.logits()));
  ArchitectureSearch same(first(120), s), other(with_labels_changed(60, 120), s);
  CHECK(same.warm_up() == other.warm_up());
  CHECK(same.network().parameters == other.network().parameters);
  CHECK_FALSE(weights.network().parameters == plain.network().parameters);
}

TEST_CASE("a search learns") {
  for (const char* method : {"darts", "gdas", "exact"}) {
    SearchSettings s = short_search(method);
    s.steps = 60;
    s.rate = 5e-3;
    std::size_t calls = 0;
    const SearchRun run = search_architecture(uci().train, s, [&] { ++calls; });
    CHECK(calls == 70);
    CHECK(run.loss.size() == 20);
    CHECK(run.probabilities.size() == 21);
    CHECK(run.loss.back() < 0.8 * run.loss.front());
    for (const Tensor& p : run.probabilities)
      for (std::size_t e = 0; e < 3; ++e) {
        double total = 0;
        for (std::size_t k = 0; k < 6; ++k) total += static_cast<double>(p(e, k));
        CHECK(total == doctest::Approx(1));
      }
  }
}

TEST_CASE("the exact search finds the operation that helps") {
  // Without a convolution or a pool there is nothing to be gained but by not cutting the edge.
  SearchSettings s = short_search("exact");
  s.candidates = {"none", "conv5x5"};
  s.steps = 60;
  s.architecture_rate = 0.1;
  const SearchRun run = search_architecture(uci().train, s);
  const Tensor& p = run.probabilities.back();
  CHECK(p(0, 1) * p(2, 1) + p(1, 1) > 1);
}

TEST_CASE("a cell is trained, and the thread count changes nothing but time") {
  CellTraining t;
  t.channels = 4;
  t.steps = 300;
  t.rate = 1e-2;
  const TrainedCell one = train_cell(uci(), {"skip", "conv3x3", "max3x3"}, t);
  CHECK(one.test_accuracy > 0.85);
  CHECK(one.loss < 0.5);
  set_threads(2);
  const TrainedCell two = train_cell(uci(), {"skip", "conv3x3", "max3x3"}, t);
  set_threads(1);
  CHECK(two.test_accuracy == one.test_accuracy);
  CHECK(two.loss == one.loss);
  t.rate = 1e30;
  CHECK_THROWS_AS(train_cell(uci(), {"skip", "conv3x3", "max3x3"}, t), std::runtime_error);
}

TEST_CASE("the rate of a cell's training falls in a straight line") {
  CellTraining t;
  t.channels = 3;
  t.batch = 30;
  t.steps = 4;
  t.rate = 0.03;
  t.seed = 5;
  const Split data = {first(120), rows_of(uci().train, 120, 400)};
  const Names cell = {"conv3x3", "skip", "avg3x3"};
  const TrainedCell trained = train_cell(data, cell, t);
  const auto by_hand = [&](bool falls) {
    Rng start(5);
    CellNetwork network(data.train, 3, {{cell[0]}, {cell[1]}, {cell[2]}}, start);
    DigitBatches deck(data.train, 30, Rng(5, 0, 1));
    Adam adam(0.03);
    double last = 0;
    for (std::size_t step = 0; step < 4; ++step) {
      const Dataset digits = deck.next();
      Tape tape;
      const std::vector<Var> w = tape.borrow_parameters(network.parameters);
      const Var loss = mean(cross_entropy(network(w, tape.constant(digits.images)), digits.labels));
      last = static_cast<double>(loss.item());
      if (falls) adam.rate = 0.03 * (1 - static_cast<double>(step) / 4);
      adam.step(network.parameters, w, loss);
    }
    std::size_t right = 0;
    Tape tape;
    const Var found = network(constants(tape, network.parameters), tape.constant(data.test.images));
    for (std::size_t i = 0; i < 280; ++i) {
      const Scalar* row = found.value().data() + 10 * i;
      right +=
          data.test.labels[i] == static_cast<std::size_t>(std::max_element(row, row + 10) - row);
    }
    return std::pair{last, static_cast<double>(right) / 280};
  };
  const auto [loss, accuracy] = by_hand(true);
  CHECK(trained.loss == doctest::Approx(loss).epsilon(1e-5));
  CHECK(trained.test_accuracy == doctest::Approx(accuracy));
  CHECK(std::abs(by_hand(false).first - loss) > 1e-3);
}

TEST_CASE("a deck deals each digit once an epoch, in a new order") {
  DigitBatches deck(first(25), 5, Rng(1));
  const Dataset all = first(25);
  std::vector<double> expected(all.images.begin(), all.images.end()), before;
  std::sort(expected.begin(), expected.end());
  for (int epoch = 0; epoch < 3; ++epoch) {
    std::vector<double> seen;
    for (int i = 0; i < 5; ++i) {
      const Dataset some = deck.next();
      CHECK(some.size() == 5);
      seen.insert(seen.end(), some.images.begin(), some.images.end());
    }
    CHECK(seen != before);
    before = seen;
    std::sort(seen.begin(), seen.end());
    CHECK(seen == expected);
  }
}

TEST_CASE("what does not fit is refused") {
  SearchSettings s = short_search("dart");
  refuses([&] { ArchitectureSearch(uci().train, s); },
          "search: the method is 'dart'; need darts, darts-second-order, gumbel-softmax, st-all, "
          "gdas, gdas-scalars, score-function or exact");
  s = short_search("darts");
  s.candidates = {"none", "none"};
  refuses([&] { ArchitectureSearch(uci().train, s); },
          "random_cell: no candidate other than none; need at least one");
  s.candidates = {"skip", "conv7x7"};
  refuses([&] { ArchitectureSearch(uci().train, s); },
          "CellNetwork: an operation is 'conv7x7'; need none, skip, conv3x3, conv5x5, avg3x3 or "
          "max3x3");
  s = short_search("darts");
  s.batch = 719;
  refuses(
      [&] { ArchitectureSearch(uci().train, s); },
      "search: 1437 digits, in batches of 719; need a batch for the weights and another for the "
      "logits");
  s.batch = 0;
  refuses([&] { ArchitectureSearch(uci().train, s); },
          "search: steps and batch are 10, 0; need at least 1 of each");
  s = short_search("gdas");
  s.tau_end = 0;
  refuses([&] { ArchitectureSearch(uci().train, s); },
          "search: temperatures are 5 and 0; need more than 0, and finite");
  s = short_search("darts");
  s.rate = 1e30;
  ArchitectureSearch diverging(uci().train, s);
  CHECK_THROWS_AS(
      [&] {
        for (int i = 0; i < 5; ++i) diverging.step();
      }(),
      std::runtime_error);
  Rng rng(1);
  refuses(
      [&] {
        CellNetwork(uci().train, 4, {{"skip"}, {"skip"}}, rng);
      },
      "CellNetwork: candidates for 2 edges; need 3");
  refuses(
      [&] {
        CellNetwork(uci().train, 4, {{"skip"}, {"skip"}, {}}, rng);
      },
      "CellNetwork: edge 2 has no candidate; need at least one");
  refuses(
      [&] {
        CellNetwork(uci().train, 0, {{"skip"}, {"skip"}, {"skip"}}, rng);
      },
      "CellNetwork: channels are 0; need at least 1");
  const CellNetwork two = network_of({"skip", "none"});
  Tape tape;
  const std::vector<Var> w = constants(tape, two.parameters);
  refuses([&] { two(w, tape.constant(first(2).images)); },
          "CellNetwork: 2 candidates on an edge; need one, or a way to combine them");
  refuses(
      [&] {
        two(w, tape.constant(zeros({2, 63})));
      },
      "CellNetwork: images are (2, 63); need (B, 64)");
  refuses([&] { cell_cost(two, first(1), CellRuns::all)(tape.constant(ones({2}))); },
          "cell_cost: choices are (2,); need (3, 2), or at least one such");
  refuses(
      [&] {
        expected_cell_loss(tape.constant(zeros({3, 2})), zeros({2, 2}));
      },
      "expected_cell_loss: logits are (3, 2), losses are (2, 2); need (3, K) and (K, K, K)");
}
