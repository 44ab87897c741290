// What the temperature of a Gumbel-softmax trades: noise and its shape, bias against variance, the
// density, and what it makes of a training run.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

using argtape_examples::Estimate;
using argtape_examples::mean_of;
using argtape_examples::number;

using Json = nlohmann::ordered_json;

// 1. Which noise.

const std::vector<double> kWeights = {0.1, 0.2, 0.7};

std::vector<Estimate> frequencies(const std::vector<double>& scores, const Tensor& noise) {
  const std::size_t k = scores.size(), n = noise.size() / k;
  std::vector<std::size_t> won(k, 0);
  for (std::size_t r = 0; r < n; ++r) {
    std::vector<double> noisy(k);
    for (std::size_t i = 0; i < k; ++i)
      noisy[i] = scores[i] + static_cast<double>(noise.data()[r * k + i]);
    ++won[static_cast<std::size_t>(std::max_element(noisy.begin(), noisy.end()) - noisy.begin())];
  }
  std::vector<Estimate> all;
  for (std::size_t times : won) {
    const double share = static_cast<double>(times) / static_cast<double>(n);
    all.push_back({share, std::sqrt(share * (1 - share) / static_cast<double>(n))});
  }
  return all;
}

// With U(0, 1) noise i wins against j with probability clip(s_i + u - s_j, 0, 1), given its own u.
std::vector<double> uniform_integral(const std::vector<double>& scores) {
  constexpr int cells = 100000;
  std::vector<double> all(scores.size(), 0.0);
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (int c = 0; c < cells; ++c) {
      double wins = 1;
      for (std::size_t j = 0; j < scores.size(); ++j)
        if (j != i) wins *= std::clamp(scores[i] + (c + 0.5) / cells - scores[j], 0.0, 1.0);
      all[i] += wins / cells;
    }
  return all;
}

// The share that is farthest from its weight, in standard errors.
double farthest(const std::vector<Estimate>& shares) {
  double most = 0;
  for (std::size_t i = 0; i < shares.size(); ++i)
    most = std::max(most, std::abs(shares[i].mean - kWeights[i]) / shares[i].error);
  return most;
}

void show_frequencies(Program& program, std::size_t draws) {
  std::vector<double> logs;
  for (double w : kWeights) logs.push_back(std::log(w));
  Rng rng(program.seed);
  const Tensor gumbel = rng.gumbel({draws, kWeights.size()}),
               uniform = rng.uniform({draws, kWeights.size()});
  struct Way {
    std::string key, name;
    std::vector<Estimate> shares;
    std::vector<double> integral;
  };
  const std::vector<Way> ways = {{"gumbel", "Gumbel on log w", frequencies(logs, gumbel), kWeights},
                                 {"uniform_on_weights", "uniform on w",
                                  frequencies(kWeights, uniform), uniform_integral(kWeights)},
                                 {"uniform_on_logits", "uniform on log w",
                                  frequencies(logs, uniform), uniform_integral(logs)}};
  std::cout << "1. Which noise: how often the argmax of score + noise falls on each category, "
            << draws << " draws, beside the\n   integral of the noise's density\n\n";
  Table table({"w = softmax(log w)", "Gumbel on log w", "uniform on w", "integral",
               "uniform on log w", "integral "});
  Json json = Json::array();
  for (std::size_t i = 0; i < kWeights.size(); ++i) {
    const auto cell = [&](std::size_t way) {
      const Estimate& e = ways[way].shares[i];
      return e.error > 0 ? Cell(e.mean, e.error) : Cell(e.mean);
    };
    table.row({kWeights[i], cell(0), cell(1), ways[1].integral[i], cell(2), ways[2].integral[i]});
    Json row = {{"category", i}, {"softmax", kWeights[i]}};
    for (const Way& way : ways) {
      row[way.key] = way.shares[i].mean;
      row[way.key + "_se"] = way.shares[i].error;
      row[way.key + "_integral"] = way.integral[i];
    }
    json.push_back(row);
  }
  program.print(table);
  program.json["frequencies"] = std::move(json);
  std::cout
      << "\n   Gumbel noise on the logits gives softmax's frequencies (the farthest is "
      << number(farthest(ways[0].shares), 2)
      << " standard errors off).\n   Uniform noise gives others ("
      << number(farthest(ways[1].shares), 2)
      << " standard errors off on the weights): max is stable for Gumbel noise\n   alone, and "
         "a category more than 1 below the best can never win a uniform draw.\n";
  if (program.out.empty()) return;
  Picture picture("How often each category wins, by the noise that is added", "",
                  "frequency in " + std::to_string(draws) + " draws");
  for (double w : kWeights) picture.categories.push_back("w = " + number(w));
  picture.bars("softmax", kWeights);
  for (const Way& way : ways) {
    std::vector<double> height, error;
    for (const Estimate& e : way.shares) height.push_back(e.mean), error.push_back(e.error);
    picture.bars(way.name, height, error);
  }
  program.show(picture, "temperature_noise");
}

// 2. Bias against variance.

const std::vector<std::string> kRules = {"gumbel-softmax", "st-gumbel-softmax"};
const std::vector<double> kTemperatures = {0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1, 1.4, 2, 3, 5, 10};

void show_trade_off(Program& program, std::size_t draws) {
  constexpr std::size_t k = 8, hidden = 16;
  Rng rng(program.seed);
  const Tensor logits = rng.normal({k}), inward = rng.normal({k, hidden}),
               bias = rng.normal({hidden}), outward = rng.normal({hidden}) * 0.5f;
  const Cost f = [=](Var z) {
    const Var h = dense(z, z.tape->constant(inward), z.tape->constant(bias));
    return sum(tanh(h) * z.tape->constant(outward), -1);
  };
  std::vector<std::vector<Measure>> measures(kRules.size());
  MeasureOptions options;
  options.draws = draws;
  options.batch = 1000;
  options.seed = program.seed;
  Progress progress("measuring", kRules.size() * kTemperatures.size());
  for (std::size_t r = 0; r < kRules.size(); ++r)
    for (double tau : kTemperatures) {
      measures[r].push_back(measure(rule_named(kRules[r], tau), f, logits, options));
      progress.step();
    }
  progress.finish();

  std::cout << "\n2. Bias against variance: f is a random network of one choice among " << k << ", "
            << draws << " draws;\n   relative to the exact gradient's norm\n\n";
  Table table({"tau", "bias", "std", "mse", "bias, straight-through", "std ", "mse "});
  Json json = Json::array();
  for (std::size_t t = 0; t < kTemperatures.size(); ++t) {
    std::vector<Cell> cells = {kTemperatures[t]};
    for (const auto& rule : measures) {
      const Measure& m = rule[t];
      cells.insert(cells.end(), {Cell(m.bias, m.bias_se), Cell(m.std), Cell(m.mse)});
      json.push_back({{"rule", m.rule},
                      {"tau", kTemperatures[t]},
                      {"bias", m.bias},
                      {"bias_se", m.bias_se},
                      {"std", m.std},
                      {"std_se", m.std_se},
                      {"mse", m.mse},
                      {"mse_se", m.mse_se}});
    }
    table.row(cells);
  }
  program.print(table);
  program.json["trade_off"] = std::move(json);
  const auto least = [&](std::size_t r) {
    const auto at =
        std::min_element(measures[r].begin(), measures[r].end(),
                         [](const Measure& a, const Measure& b) { return a.mse < b.mse; });
    return number(kTemperatures[static_cast<std::size_t>(at - measures[r].begin())]);
  };
  std::cout
      << "\n   Cold: little bias and a large variance. Hot: the reverse. The least squared error "
         "of one draw is at tau = "
      << least(0) << "\n   (straight-through: " << least(1)
      << "). The straight-through form, whose forward pass is one-hot, keeps a bias however "
         "cold it is.\n";
  if (program.out.empty()) return;
  Picture picture("The temperature trades bias for variance (a random network, K = 8)",
                  "temperature", "relative to the exact gradient's norm");
  picture.x.log = picture.y.log = true;
  for (std::size_t r = 0; r < kRules.size(); ++r) {
    std::vector<double> off, low, high, spread;
    for (const Measure& m : measures[r]) {
      off.push_back(m.bias);
      low.push_back(m.bias - m.bias_se);
      high.push_back(m.bias + m.bias_se);
      spread.push_back(m.std);
    }
    picture.line(kRules[r] + ", bias", kTemperatures, off, low, high);
    picture.line(kRules[r] + ", standard deviation", kTemperatures, spread);
  }
  program.show(picture, "temperature_trade_off");
}

// 3. The density.

const std::vector<double> kDensityTemperatures = {0.1, 0.2, 0.5, 1, 2, 5};

Tensor logits_of(const std::vector<double>& weights) {
  Tensor l = zeros({weights.size()});
  for (std::size_t i = 0; i < weights.size(); ++i)
    l.data()[i] = static_cast<Scalar>(std::log(weights[i]));
  return l;
}

struct Integral {
  double total = 0, first = 0, largest = 0;  // of 1, y_1, max y
};

// Over a lattice of log(y_i / y_K): the density of log y is what the volume there asks for.
Integral integrate(const std::vector<double>& weights, double tau) {
  const std::size_t k = weights.size();
  const double step = 0.2 / tau;
  constexpr std::size_t side = 201;
  std::size_t n = 1;
  for (std::size_t i = 1; i < k; ++i) n *= side;
  Tensor at = zeros({n, k});
  for (std::size_t r = 0; r < n; ++r)
    for (std::size_t i = 0, digits = r; i + 1 < k; ++i, digits /= side)
      at(r, i) = static_cast<Scalar>(step * (static_cast<double>(digits % side) - side / 2));
  Tape tape;
  const Var log_y = log_softmax(tape.constant(at));
  const Tensor density =
                   exp_concrete_log_prob(log_y, tape.constant(logits_of(weights)), tau).value(),
               y = exp(log_y).value();
  const double cell = std::pow(step, static_cast<double>(k - 1));
  Integral all;
  for (std::size_t r = 0; r < n; ++r) {
    const double share = std::exp(static_cast<double>(density.data()[r])) * cell;
    const Scalar* row = y.data() + r * k;
    all.total += share;
    all.first += share * static_cast<double>(row[0]);
    all.largest += share * static_cast<double>(*std::max_element(row, row + k));
  }
  return all;
}

// The density at points (n, K), relative to the uniform density on the simplex.
std::vector<double> density_at(const Tensor& points, const std::vector<double>& weights,
                               double tau) {
  Tape tape;
  const Tensor log_p =
      gumbel_softmax_log_prob(tape.constant(points), tape.constant(logits_of(weights)), tau)
          .value();
  std::vector<double> all;
  for (Scalar x : log_p)
    all.push_back(std::exp(static_cast<double>(x)) /
                  std::tgamma(static_cast<double>(weights.size())));
  return all;
}

void draw_density(Program& program) {
  const std::vector<double> two = {0.3, 0.7};
  Picture curves("Density of the first of two Gumbel-softmax numbers (w = 0.3, 0.7)", "y_1",
                 "density");
  curves.y.log = true;
  curves.y.unit = 1;
  constexpr std::size_t points = 400;
  Tensor line = zeros({points, 2});
  std::vector<double> x(points);
  for (std::size_t i = 0; i < points; ++i) {
    x[i] = (static_cast<double>(i) + 0.5) / points;
    line(i, 0) = static_cast<Scalar>(x[i]);
    line(i, 1) = static_cast<Scalar>(1 - x[i]);
  }
  for (double tau : kDensityTemperatures)
    curves.line("tau = " + number(tau), x, density_at(line, two, tau));
  program.show(curves, "temperature_density");

  // Corners: w = 0.7 on top, 0.1 left, 0.2 right. A pixel is the mean over a few points in it.
  constexpr std::size_t width = 161, height = 139, fine = 4;
  Picture triangles("Density of three Gumbel-softmax numbers: w = 0.7 on top, 0.1 left, 0.2 right");
  triangles.image_low = 0;
  triangles.image_high = 1;
  triangles.columns = 3;
  for (double tau : kDensityTemperatures) {
    std::vector<std::size_t> pixel;
    std::vector<double> corners;
    for (std::size_t r = 0; r < fine * height; ++r)
      for (std::size_t c = 0; c < fine * width; ++c) {
        const double up = 1 - (static_cast<double>(r) + 0.5) / (fine * height),
                     right = (static_cast<double>(c) + 0.5) / (fine * width) - up / 2,
                     left = 1 - up - right;
        if (right < 1e-6 || left < 1e-6) continue;
        pixel.push_back(r / fine * width + c / fine);
        corners.insert(corners.end(), {left, right, up});
      }
    Tensor at = zeros({pixel.size(), 3});
    for (std::size_t i = 0; i < corners.size(); ++i) at.data()[i] = static_cast<Scalar>(corners[i]);
    const std::vector<double> density = density_at(at, kWeights, tau);
    std::vector<double> grey(width * height, 0.0), covered(width * height, 0.0);
    for (std::size_t i = 0; i < pixel.size(); ++i) {
      grey[pixel[i]] += density[i] / (fine * fine);
      covered[pixel[i]] += 1.0 / (fine * fine);
    }
    // Half black at twice the uniform density; a trace of grey shows the triangle.
    for (std::size_t i = 0; i < grey.size(); ++i)
      grey[i] = std::max(grey[i] / (grey[i] + 2), 0.04 * covered[i]);
    triangles.image("tau = " + number(tau), height, width, grey);
  }
  program.show(triangles, "temperature_simplex");
}

void show_density(Program& program) {
  std::cout
      << "\n3. The density: its integral over the simplex, and what it says of a draw (w = 0.1, "
         "0.2, 0.7)\n\n";
  const std::vector<double> two = {0.3, 0.7};
  Table table({"tau", "integral, K = 2", "integral, K = 3", "mean of y_1 (w = 0.1)",
               "mean of the largest y"});
  Json json = Json::array();
  for (double tau : kDensityTemperatures) {
    const Integral a = integrate(two, tau), b = integrate(kWeights, tau);
    table.row({tau, a.total, b.total, b.first, b.largest});
    json.push_back({{"tau", tau},
                    {"integral_2", a.total},
                    {"integral_3", b.total},
                    {"mean_of_first", b.first},
                    {"mean_of_largest", b.largest}});
  }
  program.print(table);
  program.json["density"] = std::move(json);
  std::cout
      << "\n   Cold, the mass lies in the corners, one-hot points, and the mean of y is w. Hot, it "
         "gathers in the\n   middle, and the mean goes to 1/K: that is the bias. Its argmax has "
         "the frequencies w at every tau.\n";
  if (!program.out.empty()) draw_density(program);
}

// 4. Training.

// Digits through a code of one-hot choices: pixels - hidden - (choices x categories) - hidden -
// pixels.
struct Autoencoder {
  static constexpr std::size_t choices = 8, categories = 8, hidden = 128;
  Mlp encoder, decoder;
  Autoencoder(std::size_t pixels, Rng& rng)
      : encoder({pixels, hidden, choices * categories}, rng),
        decoder({choices * categories, hidden, pixels}, rng) {}

  // -log p(x | z) + KL(q(z | x) || uniform) of each image, in nats; q's KL is the categorical's.
  Var cost(const std::vector<Var>& in, const std::vector<Var>& out, Var images, const Rule& rule,
           Rng& rng) const {
    const std::size_t n = images.shape()[0];
    const Var logits = reshape(encoder(in, images), {n, choices, categories});
    const Var code = reshape(sample(logits, rule, rng), {n, choices * categories});
    return sum(bce_with_logits(decoder(out, code), images), -1) +
           sum(kl_categorical_uniform(logits), -1);
  }

  double mean_cost(const Tensor& images, const Rule& rule, std::uint64_t seed) const {
    Rng rng(seed, 0, 4);
    double total = 0;
    constexpr int samples = 10;
    for (int s = 0; s < samples; ++s) {
      Tape tape;
      std::vector<Var> in, out;
      for (const Tensor& p : encoder.parameters) in.push_back(tape.borrow_constant(p));
      for (const Tensor& p : decoder.parameters) out.push_back(tape.borrow_constant(p));
      total +=
          static_cast<double>(mean(cost(in, out, tape.borrow_constant(images), rule, rng)).item());
    }
    return total / samples;
  }
};

struct Plan {
  std::string rule, name;
  Temperature tau;
};

struct Outcome {
  std::vector<double> one_hot, relaxed;    // test cost, one for each seed
  std::vector<std::vector<double>> curve;  // one-hot test cost in the course of each run
};

struct TrainingSettings {
  std::size_t steps = 3000, batch = 100, marks = 15, seeds = 5;
};

void train(const Split& data, const Plan& plan, const TrainingSettings& settings,
           std::uint64_t seed, Outcome& outcome, Progress& progress) {
  // Streams of their own: every plan starts alike and sees the same batches.
  Rng start(seed), order(seed, 0, 1), noise(seed, 0, 2);
  Autoencoder model(data.train.images.shape()[1], start);
  Adam for_encoder(3e-3), for_decoder(3e-3);
  std::vector<double> curve;
  std::size_t step = 0;
  while (step < settings.steps)
    for (const std::vector<std::size_t>& rows : Batches(data.train.size(), settings.batch, order)) {
      if (step == settings.steps) break;
      const Dataset batch = take(data.train, rows);
      Tape tape;
      const std::vector<Var> in = tape.borrow_parameters(model.encoder.parameters),
                             out = tape.borrow_parameters(model.decoder.parameters);
      const Rule rule = rule_named(plan.rule, plan.tau.at(step));
      const Var loss = model.cost(in, out, tape.borrow_constant(batch.images), rule, noise) /
                       static_cast<double>(settings.batch);
      step_together({{for_encoder, model.encoder.parameters, in},
                     {for_decoder, model.decoder.parameters, out}},
                    loss);
      progress.step();
      if (++step % (settings.steps / settings.marks) == 0)
        curve.push_back(model.mean_cost(data.test.images, zero(), seed));
    }
  outcome.one_hot.push_back(model.mean_cost(data.test.images, zero(), seed));
  outcome.relaxed.push_back(
      model.mean_cost(data.test.images, rule_named(plan.rule, plan.tau.at(step - 1)), seed));
  outcome.curve.push_back(std::move(curve));
}

void show_training(Program& program, const TrainingSettings& settings) {
  const Dataset digits = digits_in(program.data);
  const Split data = split(digits, default_train_size(digits));
  std::vector<Plan> plans;
  for (const std::string& rule : kRules) {
    for (double tau : {0.1, 0.5, 1.0, 2.0, 5.0}) plans.push_back({rule, number(tau), tau});
    // To the end in three quarters of the run.
    const double fall = 0.75 * static_cast<double>(settings.steps);
    plans.push_back({rule, "2 to 0.3", exponential_decay(2, std::log(2 / 0.3) / fall, 0.3)});
    plans.push_back(
        {rule, "2 to 0.3, a line",
         linear_decay(2, 0.3, std::max<std::size_t>(1, static_cast<std::size_t>(fall)))});
    plans.push_back({rule, "5 to 0.1", exponential_decay(5, std::log(5 / 0.1) / fall, 0.1)});
  }
  std::vector<Outcome> outcomes(plans.size());
  Progress progress("training", plans.size() * settings.seeds * settings.steps);
  for (std::size_t i = 0; i < plans.size(); ++i)
    for (std::size_t s = 0; s < settings.seeds; ++s)
      train(data, plans[i], settings, program.seed + s, outcomes[i], progress);
  progress.finish();

  std::cout << "\n4. Training: a categorical autoencoder of " << digits.name << " ("
            << data.train.size() << " to train on, " << data.test.size() << " to test with), "
            << Autoencoder::choices << " choices among " << Autoencoder::categories << ",\n   "
            << settings.steps << " steps, " << settings.seeds
            << " seeds; the bound in nats a digit, ± the standard error over seeds; less is "
               "better\n\n";
  Table table({"rule", "temperature", "test, one-hot codes", "test, codes as trained on"});
  Json json = Json::array();
  program.json["data"] = digits.name;
  program.json["steps"] = settings.steps;
  program.json["seeds"] = settings.seeds;
  std::vector<Estimate> hard, soft;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    hard.push_back(mean_of(outcomes[i].one_hot));
    soft.push_back(mean_of(outcomes[i].relaxed));
    const auto cell = [](const Estimate& e) {
      return e.error > 0 ? Cell(e.mean, e.error) : Cell(e.mean);
    };
    table.row({plans[i].rule, plans[i].name, cell(hard[i]), cell(soft[i])});
    json.push_back({{"rule", plans[i].rule},
                    {"temperature", plans[i].name},
                    {"annealed", plans[i].tau.scheduled()},
                    {"one_hot", hard[i].mean},
                    {"one_hot_se", hard[i].error},
                    {"relaxed", soft[i].mean},
                    {"relaxed_se", soft[i].error},
                    {"by_seed", outcomes[i].one_hot}});
  }
  program.print(table);
  program.json["training"] = std::move(json);
  std::cout
      << "\n   Trained on what is not one-hot, a hot network hides its code in between: see the "
         "gap between the columns.\n   The straight-through form has none, its codes are "
         "one-hot all along.\n";
  for (const std::string& rule : kRules) {
    const auto shown = [&](std::size_t i) {
      return "(" + plans[i].name + ") " + with_error(hard[i].mean, hard[i].error);
    };
    std::size_t fixed = plans.size();
    std::string annealed;
    for (std::size_t i = 0; i < plans.size(); ++i) {
      if (plans[i].rule != rule) continue;
      if (plans[i].tau.scheduled())
        annealed += (annealed.empty() ? "" : ", ") + shown(i);
      else if (fixed == plans.size() || hard[i].mean < hard[fixed].mean)
        fixed = i;
    }
    std::cout << "   " << rule << ": annealed " << annealed << ";\n     the best fixed temperature "
              << shown(fixed) << ".\n";
  }
  if (program.out.empty()) return;
  Picture picture("One-hot test cost of a Gumbel-softmax autoencoder (" + digits.name + ")", "step",
                  "nats a digit");
  std::vector<double> steps;
  for (std::size_t m = 1; m <= settings.marks; ++m)
    steps.push_back(static_cast<double>(m * (settings.steps / settings.marks)));
  double least = hard[0].mean, start = 0;
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (plans[i].rule != kRules[0]) continue;
    std::vector<double> mean, low, high;
    for (std::size_t m = 0; m < settings.marks; ++m) {
      std::vector<double> at;
      for (const std::vector<double>& curve : outcomes[i].curve) at.push_back(curve[m]);
      const Estimate e = mean_of(at);
      mean.push_back(e.mean);
      low.push_back(e.mean - e.error);
      high.push_back(e.mean + e.error);
      least = std::min(least, low.back());
    }
    start = std::max(start, mean[0]);
    picture.line("tau " + plans[i].name, steps, mean, low, high);
  }
  // The hottest do not hide what the others differ by.
  picture.y = {picture.y.label, true, least, start - least};
  program.show(picture, "temperature_training");
}

}  // namespace

int main(int argc, char** argv) {
  Program program("06_temperature",
                  "the temperature: which noise, bias against variance, the density, annealing");
  int draws = 100000, steps = 3000, seeds = 5;
  program.takes_digits();
  program.option("--draws", draws,
                 "for the frequencies and each measure; 10,000 at most with --quick", 1000);
  program.option("--steps", steps, "of each training run; 1,200 at most with --quick", 15);
  program.option("--seeds", seeds, "training runs of each kind; 2 at most with --quick");
  program.footer(
      "JSON: frequencies (category, softmax, and for each noise its share, _se and _integral);\n"
      "trade_off (rule, tau, bias, std, mse, each with _se); density (tau, integral_2, "
      "integral_3,\n"
      "mean_of_first, mean_of_largest); data, steps, seeds; training (rule, temperature, "
      "annealed,\n"
      "one_hot and relaxed, each with _se, by_seed).");
  return program.run(argc, argv, [&] {
    set_threads(program.threads);
    const auto limited = [&](int value, int most) {
      return static_cast<std::size_t>(program.quick ? std::min(value, most) : value);
    };
    program.json["draws"] = limited(draws, 10000);
    show_frequencies(program, limited(draws, 10000));
    show_trade_off(program, limited(draws, 10000));
    show_density(program);
    TrainingSettings settings;
    settings.steps = limited(steps, 1200);
    settings.seeds = limited(seeds, 2);
    show_training(program, settings);
  });
}
