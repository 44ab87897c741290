#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>

#include "models/argtape.hpp"
#include "tests/distance.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

using Vector = std::vector<double>;

double number(Scalar x) { return static_cast<double>(x); }

// All that a small network can draw: how likely, -log p(target | z), and the drawn values.
struct Leaf {
  double p, cost;
};

Vector affine(const Tensor& w, const Tensor& b, const Vector& h) {
  Vector y(b.size());
  for (std::size_t j = 0; j < y.size(); ++j) {
    y[j] = number(b.data()[j]);
    for (std::size_t i = 0; i < h.size(); ++i) y[j] += h[i] * number(w.data()[i * y.size() + j]);
  }
  return y;
}

double bernoulli_cost(const Vector& logits, const Vector& target) {
  double cost = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    cost += std::log1p(std::exp(logits[i])) - target[i] * logits[i];
  return cost;
}

// Affine layers with units between them, by loops over all choices.
void enumerate(const std::vector<Tensor>& parameters, const std::vector<Units>& layers,
               std::size_t layer, const Vector& h, const Vector& target, double p,
               std::vector<Leaf>& leaves) {
  const Vector out = affine(parameters[2 * layer], parameters[2 * layer + 1], h);
  if (layer == layers.size()) return leaves.push_back({p, bernoulli_cost(out, target)});
  const auto [count, k] = layers[layer];
  std::size_t all = 1;
  for (std::size_t v = 0; v < count; ++v) all *= k;
  for (std::size_t c = 0; c < all; ++c) {
    double q = p;
    Vector z(layers[layer].width(), 0.0);
    for (std::size_t v = 0, rest = c; v < count; ++v, rest /= k) {
      const std::size_t chosen = rest % k;
      double total = 0, own = 0;
      for (std::size_t i = 0; i < k; ++i) {
        const double l = k == 2 ? (i == 1 ? out[v] : 0.0) : out[v * k + i];
        total += std::exp(l);
        if (i == chosen) own = std::exp(l);
      }
      q *= own / total;
      if (k == 2)
        z[v] = static_cast<double>(chosen);
      else
        z[v * k + chosen] = 1;
    }
    enumerate(parameters, layers, layer + 1, z, target, q, leaves);
  }
}

struct Problem {
  std::string name;
  std::unique_ptr<StochasticNetwork> network;
  std::vector<Units> layers;
  bool vae;

  Vector given() const { return vae ? Vector{1, 0, 1, 1} : Vector{1, 0}; }
  Vector target() const { return vae ? given() : Vector{1, 1}; }
  std::vector<Leaf> leaves() const {
    std::vector<Leaf> all;
    enumerate(network->parameters, layers, 0, given(), target(), 1, all);
    return all;
  }
  // log of a uniform prior over all of the latents' choices.
  double log_prior() const {
    return -static_cast<double>(layers[0].count) *
           std::log(static_cast<double>(layers[0].categories));
  }
  double log_weight(const Leaf& leaf) const {
    return vae ? log_prior() - std::log(leaf.p) - leaf.cost : -leaf.cost;
  }
  // E -log 1/m sum w over m draws, by going through all of their tuples.
  double bound(std::size_t m, const std::vector<Leaf>& leaves, double p = 1, double sum = 0,
               std::size_t drawn = 0) const {
    if (drawn == m) return -p * std::log(sum / static_cast<double>(m));
    double total = 0;
    for (const Leaf& leaf : leaves)
      total += bound(m, leaves, p * leaf.p, sum + std::exp(log_weight(leaf)), drawn + 1);
    return total;
  }
  double log_likelihood() const {
    double total = 0;
    for (const Leaf& leaf : leaves()) total += leaf.p * std::exp(log_weight(leaf));
    return std::log(total);
  }
};

// The same image n times: the first half of it is given, if it is one half that predicts the other.
Tensor images(std::size_t n) { return broadcast_to(Tensor{1, 0, 1, 1}, {n, 4}); }

void enlarge(StochasticNetwork& network) {
  Rng rng(5);
  for (Tensor& p : network.parameters) p = rng.normal(p.shape()) * Scalar(0.8);
}

Problem prediction(std::vector<Units> layers) {
  StructuredPredictionSettings settings;
  settings.layers = layers;
  Problem p{"prediction", std::make_unique<StructuredPrediction>(4, settings), layers, false};
  enlarge(*p.network);
  return p;
}

Problem autoencoder(Units latents) {
  CategoricalVaeSettings settings;
  settings.encoder = settings.decoder = {};
  settings.latents = latents;
  Problem p{"autoencoder", std::make_unique<CategoricalVae>(4, settings), {latents}, true};
  enlarge(*p.network);
  return p;
}

std::vector<Problem> problems() {
  std::vector<Problem> all;
  all.push_back(prediction({Units{2, 3}, Units{2, 3}}));
  all.push_back(prediction({Units{3, 2}, Units{2, 2}}));
  all.push_back(autoencoder({2, 3}));
  all.push_back(autoencoder({3, 2}));
  return all;
}

// The mean gradient over a batch of n, all parameters one behind the other, and the mean cost.
Vector mean_gradient(const Problem& problem, LayerEstimator& estimate, std::size_t n, Rng& rng,
                     double* cost = nullptr) {
  Tape tape;
  const std::vector<Var> on_tape = tape.borrow_parameters(problem.network->parameters);
  std::vector<Var> costs = problem.network->costs(on_tape, tape.constant(images(n)), estimate, rng);
  for (Var& c : costs) c = c / static_cast<double>(n);
  estimate.learn();
  if (cost) {
    *cost = 0;
    for (const Var& c : costs) *cost += number(sum(c).item());
  }
  const Gradients gradients = backward(costs);
  Vector all;
  for (const Var& p : on_tape)
    for (Scalar g : gradients[p]) all.push_back(number(g));
  return all;
}

struct Moments {
  Vector mean, error;
};
Moments moments(const std::vector<Vector>& x) {
  const auto n = static_cast<double>(x.size());
  Moments m{Vector(x[0].size(), 0.0), Vector(x[0].size(), 0.0)};
  for (const Vector& v : x)
    for (std::size_t i = 0; i < v.size(); ++i) m.mean[i] += v[i] / n;
  for (const Vector& v : x)
    for (std::size_t i = 0; i < v.size(); ++i) m.error[i] += std::pow(v[i] - m.mean[i], 2);
  for (double& e : m.error) e = std::sqrt(e / (n - 1) / n);
  return m;
}

Tensor bounds_of(const Problem& p, std::size_t n, std::size_t m, std::uint64_t seed) {
  Rng rng(seed);
  return negative_bounds(*p.network, images(n), m, rng);
}

// Random black and white digits of 4 x 4 pixels.
Split noise_digits(std::size_t train = 40) {
  Dataset data{"noise", Rng(3).uniform({train + 20, 16}), {}, 4, 4, 10, train};
  data.labels.assign(train + 20, 0);
  return split(binarised(data), train);
}

std::unique_ptr<StochasticTraining> small_training(const std::string& rule, bool vae,
                                                   const Split& data) {
  std::unique_ptr<StochasticNetwork> network;
  if (vae) {
    CategoricalVaeSettings settings;
    settings.encoder = settings.decoder = {8};
    settings.latents = {4, rule == "disarm" ? std::size_t{2} : std::size_t{3}};
    network = std::make_unique<CategoricalVae>(16, settings);
  } else {
    StructuredPredictionSettings settings;
    const Units units{4, rule == "disarm" ? std::size_t{2} : std::size_t{3}};
    settings.layers = {units, units};
    network = std::make_unique<StructuredPrediction>(16, settings);
  }
  StochasticTrainingSettings settings;
  settings.rule = rule;
  settings.steps = 40;
  settings.batch = 10;
  settings.rate = 1e-2;
  settings.curve = 4;
  settings.tau = exponential_decay(1, 1e-2, 0.5, 5);
  return std::make_unique<StochasticTraining>(std::move(network), data, settings);
}

const std::vector<std::string> kTrained = {"score-function",
                                           "score-function+mean",
                                           "score-function+leave-one-out",
                                           "nvil",
                                           "muprop",
                                           "darn",
                                           "straight-through",
                                           "annealed-straight-through",
                                           "gumbel-softmax",
                                           "st-gumbel-softmax",
                                           "reinmax",
                                           "zgr",
                                           "gumbel-rao",
                                           "rebar",
                                           "relax",
                                           "disarm"};

}  // namespace

TEST_CASE("logmeanexp, by its definition, far from 0 too, to second order") {
  Rng rng(1);
  const Tensor x = rng.normal({3, 4});
  for (double shift : {0.0, -1e4}) {
    Tape tape;
    const Tensor y = logmeanexp(tape.constant(Tensor(x + static_cast<Scalar>(shift))), 0).value();
    REQUIRE(y.shape() == Shape{4});
    for (std::size_t c = 0; c < 4; ++c) {
      double total = 0;
      for (std::size_t r = 0; r < 3; ++r) total += std::exp(number(x.data()[4 * r + c])) / 3;
      CHECK(number(y.data()[c]) - shift == doctest::Approx(std::log(total)).epsilon(1e-7));
    }
  }
  const CheckResult checked = check_gradient(
      [](const std::vector<Var>& v) {
        return logmeanexp(v[0], {0, 1});
      },
      {x});
  CHECK_MESSAGE(checked, checked.report);
}

TEST_CASE("enumeration at the layers is the expected cost, and its gradient") {
  for (Problem& p : problems()) {
    CAPTURE(p.name);
    CAPTURE(p.layers[0].categories);
    Rng rng(1);
    LayerEstimator exact("exact", p.network->layers());
    double cost = 0;
    const Vector g = mean_gradient(p, exact, 1, rng, &cost);
    const auto expected = [&] { return p.bound(1, p.leaves()); };
    CHECK(cost == doctest::Approx(expected()).epsilon(1e-9));
    Vector along;
    for (const Tensor& t : p.network->parameters)
      for (Scalar x : rng.normal(t.shape())) along.push_back(number(x));
    const auto shifted = [&](double by) {
      const std::vector<Tensor> kept = p.network->parameters;
      std::size_t i = 0;
      for (Tensor& t : p.network->parameters)
        for (Scalar& x : t) x += static_cast<Scalar>(by * along[i++]);
      const double cost = expected();
      p.network->parameters = kept;
      return cost;
    };
    double slope = 0;
    for (std::size_t i = 0; i < g.size(); ++i) slope += g[i] * along[i];
    CHECK(slope == doctest::Approx((shifted(1e-5) - shifted(-1e-5)) / 2e-5).epsilon(1e-7));
  }
}

TEST_CASE("unbiased estimators through the layers: the mean is the exact gradient") {
  for (const Problem& p : problems()) {
    std::vector<std::string> names = {
        "score-function", "score-function+mean", "score-function+leave-one-out", "muprop", "rebar",
        "relax"};
    if (p.layers[0].categories == 2) names.insert(names.end(), {"arm", "disarm"});
    Rng none(1);
    LayerEstimator exact("exact", p.network->layers());
    const Vector truth = mean_gradient(p, exact, 1, none);
    for (const std::string& name : names) {
      CAPTURE(p.name);
      CAPTURE(p.layers[0].categories);
      CAPTURE(name);
      LayerEstimator estimate(name, p.network->layers(), {0.7, 2});
      Rng rng(11);
      std::vector<Vector> batches;
      for (int i = 0; i < 40; ++i) batches.push_back(mean_gradient(p, estimate, 200, rng));
      const Moments m = moments(batches);
      double worst = 0;
      for (std::size_t i = 0; i < truth.size(); ++i)
        worst = worse(worst, std::abs(m.mean[i] - truth[i]) / (m.error[i] + 1e-12));
      CHECK(worst < 4.5);  // of at most 60 numbers, each with 39 degrees of freedom
    }
  }
}

TEST_CASE("NVIL's estimate has the gradient's direction, over its scale") {
  for (const Problem& p : problems()) {
    CAPTURE(p.name);
    LayerEstimator exact("exact", p.network->layers()), nvil("nvil", p.network->layers());
    Rng rng(2);
    const Vector truth = mean_gradient(p, exact, 1, rng);
    std::vector<Vector> batches;
    for (int i = 0; i < 60; ++i) batches.push_back(mean_gradient(p, nvil, 200, rng));
    const Moments m = moments({batches.begin() + 20, batches.end()});
    double dot = 0, a = 0, b = 0;
    for (std::size_t i = 0; i < truth.size(); ++i) {
      dot += m.mean[i] * truth[i];
      a += m.mean[i] * m.mean[i];
      b += truth[i] * truth[i];
    }
    CHECK(dot / std::sqrt(a * b) > 0.98);
  }
}

TEST_CASE("the bound of m samples: right by enumeration, and tighter with m") {
  for (const Problem& p : problems()) {
    CAPTURE(p.name);
    CAPTURE(p.layers[0].categories);
    const std::vector<Leaf> leaves = p.leaves();
    double before = 1e9;
    for (std::size_t m : {1u, 2u}) {
      CAPTURE(m);
      const double exact = p.bound(m, leaves);
      CHECK(exact < before);
      CHECK(exact > -p.log_likelihood());
      before = exact;
      const Tensor drawn = bounds_of(p, 20000, m, m);
      double mean = 0, squares = 0;
      for (Scalar x : drawn) mean += number(x) / 20000;
      for (Scalar x : drawn) squares += std::pow(number(x) - mean, 2);
      CHECK(std::abs(mean - exact) < 4 * std::sqrt(squares) / 20000);
    }
    Rng rng(3);
    const double many = negative_bound(*p.network, images(20), 5000, rng);
    CHECK(many < before);
    CHECK(many == doctest::Approx(-p.log_likelihood()).epsilon(0.01));
  }
}

TEST_CASE("evaluation draws hard samples: each weight is that of a choice") {
  for (const Problem& p : problems()) {
    CAPTURE(p.name);
    const std::vector<Leaf> leaves = p.leaves();
    Rng rng(4);
    Tape tape;
    std::vector<Var> on_tape;
    for (const Tensor& t : p.network->parameters) on_tape.push_back(tape.borrow_constant(t));
    const Tensor weights =
        p.network->log_weights(on_tape, tape.constant(images(5)), 40, rng).value();
    CHECK(weights.shape() == Shape{40, 5});
    std::vector<bool> seen(leaves.size());
    for (Scalar w : weights) {
      const auto leaf = std::find_if(leaves.begin(), leaves.end(), [&](const Leaf& l) {
        return std::abs(p.log_weight(l) - number(w)) < 1e-9;
      });
      CHECK(leaf != leaves.end());
      if (leaf != leaves.end()) seen[static_cast<std::size_t>(leaf - leaves.begin())] = true;
    }
    CHECK(std::count(seen.begin(), seen.end(), true) > 3);
  }
}

TEST_CASE(
    "the divergence is that of the definition; a network that draws from its prior has none") {
  for (const Problem& p : problems()) {
    const double kl = mean_divergence(*p.network, images(3));
    if (!p.vae) {
      CHECK(std::isnan(kl));
      continue;
    }
    double definition = 0;
    for (const Leaf& leaf : p.leaves()) definition += leaf.p * (std::log(leaf.p) - p.log_prior());
    CHECK(kl == doctest::Approx(definition).epsilon(1e-9));
  }
}

TEST_CASE("a binary unit is one number on either side") {
  Tape tape;
  const Units units{2, 2};
  const Var logits = units.logits(tape.constant(Tensor{{3, -1}}));
  CHECK(identical(logits.value(), Tensor{{{0, 3}, {0, -1}}}));
  CHECK(identical(units.values(argmax(logits, zero())).value(), Tensor{{1, 0}}));
  const Units wide{2, 3};
  CHECK(wide.width() == 6);
  const Var choice = argmax(wide.logits(tape.constant(Tensor{{0, 1, 0, 0, 0, 1}})), zero());
  CHECK(identical(wide.values(choice).value(), Tensor{{0, 1, 0, 0, 0, 1}}));
  CHECK_THROWS_WITH_AS(units.logits(tape.constant(Tensor{{1, 2, 3}})),
                       "Units::logits: h is (1, 3); need (..., 2)", std::invalid_argument);
  CHECK_THROWS_WITH_AS(units.values(tape.constant(Tensor{{1, 2, 3}})),
                       "Units::values: the choice is (1, 3); need (..., 2, 2)",
                       std::invalid_argument);
}

TEST_CASE("every rule and method trains either network, the same twice, and saved in between") {
  const Split data = noise_digits();
  for (bool vae : {false, true})
    for (const std::string& rule : kTrained) {
      CAPTURE(rule);
      CAPTURE(vae);
      const auto whole = small_training(rule, vae, data), half = small_training(rule, vae, data),
                 rest = small_training(rule, vae, data);
      while (!whole->done()) whole->step();
      while (half->steps_done() < 17) half->step();
      Archive out;
      half->archive(out);
      Archive in(out.bytes());
      rest->archive(in);
      in.finish();
      CHECK(rest->steps_done() == 17);
      while (!rest->done()) rest->step();
      for (std::size_t i = 0; i < whole->network().parameters.size(); ++i)
        CHECK(identical(whole->network().parameters[i], rest->network().parameters[i]));
      CHECK(whole->curve().bound == rest->curve().bound);
      CHECK(whole->curve().steps == std::vector<std::size_t>{10, 20, 30, 40});
      CHECK(std::is_sorted(rest->curve().seconds.begin(), rest->curve().seconds.end()));
    }
}

TEST_CASE("training lowers the bound, under every rule and method") {
  const Dataset digits = binarised(load_digits(ARGTAPE_DATA_DIR));
  const Split data = split(digits, default_train_size(digits));
  for (const std::string& rule : kTrained) {
    CAPTURE(rule);
    StructuredPredictionSettings network;
    const Units units = rule == "disarm" ? Units{20, 2} : Units{5, 4};
    network.layers = {units, units};
    StochasticTrainingSettings settings;
    settings.rule = rule;
    settings.steps = 200;
    settings.rate = 1e-2;
    settings.curve_size = 200;
    StochasticTraining training(std::make_unique<StructuredPrediction>(64, network), data,
                                settings);
    while (!training.done()) training.step();
    CHECK(training.curve().bound.back() < 17.5);  // 32 log 2 = 22 nats to begin with
  }
}

TEST_CASE("a step in its steady state asks the system for no memory") {
  const Split data = noise_digits();
  for (bool vae : {false, true})
    for (const std::string& rule : kTrained) {
      CAPTURE(rule);
      const auto training = small_training(rule, vae, data);
      std::size_t after_six = 0;
      for (int i = 0; i < 9; ++i) {
        if (i == 6) after_six = memory_use().system_requests;
        training->step();
      }
      if (kRecycles) CHECK(memory_use().system_requests == after_six);
    }
}

TEST_CASE("wrong calls are told") {
  refuses([] { LayerEstimator("vimco", 1); },
          "LayerEstimator: vimco estimates a bound of several samples; need a method for the "
          "expected cost");
  CHECK_THROWS_AS(LayerEstimator("gumble", 1), std::invalid_argument);
  Tape tape;
  Rng rng(1);
  const Cost ones = [](Var z) { return sum(z, -1); };
  LayerEstimator single("reinmax", 1);
  refuses(
      [&] {
        single(3, tape.parameter(zeros({1, 2})), ones, rng);
      },
      "LayerEstimator: layer 3 of 1; need one that is there");
  refuses([] { StructuredPrediction(5); }, "StructuredPrediction: 5 pixels; need two halves");
  refuses(
      [] {
        StructuredPrediction(4, {{}, 1});
      },
      "StructuredPrediction: no stochastic layer; need at least one");
  const Problem p = autoencoder({2, 3});
  refuses([&] { negative_bounds(*p.network, images(2), 0, rng); },
          "negative_bounds: m is 0; need at least 1 sample");
  refuses([&] { negative_bound(*p.network, images(2), 1, rng, 0); },
          "negative_bound: images are (2, 4), repeats are 0; need at least 1 of each");
  LayerEstimator disarm("disarm", 1);
  refuses([&] { mean_gradient(p, disarm, 2, rng); },
          "disarm: logits are (2, 2, 3); need (..., 2), binary variables");
  const Split data = noise_digits();
  const auto with = [&](std::size_t batch, double decay) {
    StochasticTrainingSettings settings;
    settings.batch = batch;
    settings.decay = decay;
    StochasticTraining(std::make_unique<CategoricalVae>(16), data, settings);
  };
  refuses([&] { with(41, 1); },
          "StochasticTraining: batch is 41 of 40 digits; need at least 1, and no more than there "
          "are");
  refuses([&] { with(10, 0); }, "StochasticTraining: decay is 0; need more than 0, and at most 1");
  refuses([&] { StochasticTraining(nullptr, data, {}); },
          "StochasticTraining: the network is null; need one");
}
