#include "examples/common/stochastic_study.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "examples/common/digits.hpp"
#include "examples/common/published.hpp"
#include "examples/common/stochastic_cell.hpp"

namespace argtape_examples {

using namespace argtape;
using Json = nlohmann::ordered_json;
using argtape_examples::number;

namespace {

struct Spread {
  double mean = kNone, deviation = 0;  // over seeds
};

Spread spread_of(const std::vector<double>& x) {
  if (x.empty()) return {};
  const argtape_examples::Estimate e = argtape_examples::mean_of(x);
  return {e.mean, e.error * std::sqrt(static_cast<double>(x.size()))};
}

// A figure of a row, where null is none.
double figure_of(const Json& row, const char* key) {
  return row.at(key).is_number() ? row.at(key).get<double>() : kNone;
}

// "59.4±0.2"; "-" for nothing.
std::string shown(const Spread& s) {
  if (!std::isfinite(s.mean)) return "-";
  char text[64];
  if (s.deviation > 0)
    std::snprintf(text, sizeof text, "%.1f±%.1f", s.mean, s.deviation);
  else
    std::snprintf(text, sizeof text, "%.1f", s.mean);
  return text;
}

// The curve's bound after so many seconds, on a straight line between its places: none before the
// first, and where it has ended, at its end.
double at_seconds(const Json& curve, double seconds) {
  const std::vector<double> x = curve.at("seconds"), y = curve.at("bound");
  if (x.empty() || x[0] > seconds) return kNone;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] < seconds) continue;
    if (x[i] == seconds) return y[i];
    return y[i - 1] + (y[i] - y[i - 1]) * (seconds - x[i - 1]) / (x[i] - x[i - 1]);
  }
  return y.back();
}

// Why a rule cannot train a network, in its own words; empty if it can. A gradient on one digit
// says.
std::string reason_against(const StudiedNetwork& network, const Split& data,
                           StochasticTrainingSettings settings) {
  settings.batch = 1;
  try {
    StochasticTraining training(network.make(1), data, settings);
    Tape tape;
    std::vector<Var> on_tape;
    backward(training.costs(tape, on_tape));
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

std::vector<double> temperatures_in(const std::string& list) {
  std::vector<double> all;
  std::istringstream in(list);
  for (std::string word; std::getline(in, word, ',');) {
    std::size_t read = 0;
    double tau = 0;
    try {
      tau = std::stod(word, &read);
    } catch (const std::exception&) {
    }
    if (read != word.size() || !(tau >= 1e-20) || tau > 1e20)
      throw WrongCall("--temperatures has '" + word + "'; need numbers from 1e-20 to 1e20");
    if (std::count(all.begin(), all.end(), tau) > 0)
      throw WrongCall("--temperatures has '" + word + "' twice; need each once");
    all.push_back(tau);
  }
  return all;
}

const std::vector<std::string> kTempered = {"gumbel-softmax", "st-gumbel-softmax"};

std::string label_of(const std::string& rule) {
  for (const Column& c : kColumns)
    if (rule == c.rule) return c.label;
  return rule;
}

}  // namespace

// The cells that were run, and the tables and pictures of them.
struct StochasticStudy::Cells {
  Program& program;
  const StudyPlan& plan;
  std::string program_name;
  std::string data = {};
  std::size_t steps = 0;
  std::vector<std::string> rules = {};  // of the rows, in the columns' order
  std::vector<Json> rows = {};          // with the temperature annealed
  std::vector<Json> tempered = {};      // with a fixed one, "tau"
  std::vector<std::string> reasons = {};

  std::vector<const Json*> of(const std::string& network, const std::string& rule) const {
    std::vector<const Json*> all;
    for (const Json& row : rows)
      if (row.at("network") == network && row.at("rule") == rule) all.push_back(&row);
    return all;
  }
  // f of the rows of all seeds.
  template <class F>
  Spread spread(const std::string& network, const std::string& rule, F f) const {
    std::vector<double> x;
    for (const Json* row : of(network, rule)) x.push_back(f(*row));
    return spread_of(x);
  }
  // A network as the rows know it, those of --table too.
  std::string title(const std::string& network) const {
    for (const Json& row : rows)
      if (row.at("network") == network) return network + ", " + row.at("layers").get<std::string>();
    return network;
  }
  Spread figure(const std::string& network, const std::string& rule, const char* key) const {
    return spread(network, rule, [key](const Json& row) { return figure_of(row, key); });
  }
  // Whether no cell was stopped before its last step, by --seconds.
  bool all_trained() const {
    return std::all_of(rows.begin(), rows.end(),
                       [this](const Json& row) { return row.at("steps") == steps; });
  }
  // Where the curve of the quickest cell ends: the budget for all. What --seconds stopped before
  // its first place has no say.
  double equal_seconds(const std::string& network) const {
    double least = INFINITY;
    for (const Json& row : rows) {
      const std::vector<double> seconds = row.at("curve").at("seconds");
      if (row.at("network") == network && !seconds.empty()) least = std::min(least, seconds.back());
    }
    return least;
  }
  void take(const std::vector<Grid::Row>& all);
  void print() const;
  Table table(const std::string& network) const;
  void write_json() const;
  void draw() const;
  void draw_curves(const StudiedNetwork& network) const;
  void draw_temperatures(const StudiedNetwork& network) const;
  void draw_strips(const StudiedNetwork& network) const;
};

// With --table they are the folder's, whatever the flags say.
void StochasticStudy::Cells::take(const std::vector<Grid::Row>& all) {
  data = program.json.at("data");
  steps = program.json.at("steps");
  for (const Grid::Row& row : all)
    (row.result.contains("tau") ? tempered : rows).push_back(row.result);
  for (const Column& c : kColumns)
    if (std::any_of(rows.begin(), rows.end(),
                    [&](const Json& row) { return row.at("rule") == c.rule; }))
      rules.push_back(c.rule);
  for (const Json& row : rows)
    if (std::count(rules.begin(), rules.end(), row.at("rule").get<std::string>()) == 0)
      rules.push_back(row.at("rule"));
}

// The paper's table: a column for each rule, and beneath our figures those of others.
Table StochasticStudy::Cells::table(const std::string& network) const {
  std::vector<std::string> headers = {"nats a digit"}, kept;
  for (const std::string& rule : rules)
    if (!of(network, rule).empty()) kept.push_back(rule), headers.push_back(label_of(rule));
  Table table(headers);
  const auto line = [&](const std::string& name, const auto& cell) {
    std::vector<Cell> cells = {name};
    bool any = false;
    for (const std::string& rule : kept) {
      const std::string text = cell(rule);
      any = any || text != "-";
      cells.push_back(text);
    }
    if (any) table.row(cells);
  };
  const auto figures = [&](const char* key) {
    return [&, key](const std::string& rule) { return shown(figure(network, rule, key)); };
  };
  const bool mnist = program.json.at("pixels") == 784;
  const auto elsewhere = [&](double Published::*of) {
    return [&, of](const std::string& rule) {
      return mnist ? shown({published(program_name, network, rule).*of}) : "-";
    };
  };
  const auto curve_at = [&](double seconds) {
    return [&, seconds](const std::string& rule) {
      return shown(spread(network, rule,
                          [=](const Json& row) { return at_seconds(row.at("curve"), seconds); }));
    };
  };
  const auto of_digits = [&](const char* m, std::size_t i) {
    return std::string(m) + ", " + program.json.at("test").at(i).dump() + " digits";
  };
  line(of_digits("m = 1000", 2), figures("m1000"));
  line("  published, MNIST", elsewhere(&Published::paper));
  line(of_digits("m = 100", 1), figures("m100"));
  line("  PyTorch, 8000 digits", elsewhere(&Published::small_100));
  line("  PyTorch, MNIST", elsewhere(&Published::full_100));
  line(of_digits("m = 1", 0), figures("m1"));
  line("  PyTorch, 8000 digits", elsewhere(&Published::small_1));
  line("  PyTorch, MNIST", elsewhere(&Published::full_1));
  line("m = 1, training digits", figures("train"));
  line("KL", figures("kl"));
  const std::string m = "m = " + std::to_string(plan.training.curve_m) + ", after ";
  const double seconds = equal_seconds(network);
  line(m + (all_trained() ? std::to_string(steps) + " steps" : "training"), curve_at(INFINITY));
  line(m + number(seconds) + " s of training", curve_at(seconds));
  line("ms a step", [&](const std::string& rule) {
    return number(figure(network, rule, "ms_per_step").mean, 2);
  });
  return table;
}

void StochasticStudy::Cells::print() const {
  std::cout << data << ", black and white, " << (all_trained() ? "" : "at most ") << steps
            << " steps of " << plan.training.batch
            << "; hard samples; with several seeds mean±deviation over them\n";
  for (const StudiedNetwork& network : plan.networks) {
    const Table all = table(network.name);
    if (all.rows().empty()) continue;
    std::cout << "\n" << title(network.name) << "\n\n";
    program.print(all, plan.key + "_" + network.name);
  }
  for (const std::string& reason : reasons) std::cout << "\nNot run: " << reason << ".";
  if (!reasons.empty()) std::cout << "\n";
}

void StochasticStudy::Cells::write_json() const {
  Json& all = program.json["rows"] = Json::array();
  for (const Json& row : rows) {
    Json out;
    for (const char* key : {"network", "rule", "seed", "m1", "m100", "m1000", "kl", "train",
                            "ms_per_step", "seconds"})
      out[key] = row.at(key);
    const double paper = published(program_name, row.at("network"), row.at("rule")).paper;
    out["published"] = std::isfinite(paper) ? Json(paper) : Json(nullptr);
    all.push_back(std::move(out));
  }
  if (tempered.empty()) return;
  Json& fixed = program.json["temperatures"] = Json::array();
  for (const Json& row : tempered)
    fixed.push_back({{"network", row.at("network")},
                     {"rule", row.at("rule")},
                     {"tau", row.at("tau")},
                     {"seed", row.at("seed")},
                     {"m1", row.at("m1")}});
}

// One line a rule, its band over seeds; against steps, and against seconds.
void StochasticStudy::Cells::draw_curves(const StudiedNetwork& network) const {
  const std::string m = std::to_string(plan.training.curve_m),
                    heading = title(network.name) + ", " + data;
  Picture by_steps(heading, "step", plan.quantity + ", m = " + m + ", nats a digit"),
      by_seconds(heading, "seconds of training", by_steps.y.label);
  by_seconds.x.log = true;
  double least = INFINITY, most = -INFINITY;
  for (const std::string& rule : rules) {
    const std::vector<const Json*> cells = of(network.name, rule);
    if (cells.empty()) continue;
    std::vector<double> step, second, mean, low, high;
    for (std::size_t i = 0;; ++i) {
      std::vector<double> bound, seconds;
      for (const Json* row : cells) {
        const Json& curve = row->at("curve");
        if (i >= curve.at("bound").size()) continue;
        bound.push_back(curve.at("bound")[i]);
        seconds.push_back(curve.at("seconds")[i]);
        if (bound.size() == 1) step.push_back(curve.at("step")[i]);
      }
      if (bound.empty()) break;
      const Spread s = spread_of(bound);
      mean.push_back(s.mean);
      low.push_back(s.mean - s.deviation);
      high.push_back(s.mean + s.deviation);
      second.push_back(spread_of(seconds).mean);
    }
    if (mean.empty()) continue;
    least = std::min(least, *std::min_element(low.begin(), low.end()));
    most = std::max(most, high.back());
    if (cells.size() == 1) low.clear(), high.clear();
    by_steps.line(label_of(rule), step, mean, low, high);
    by_seconds.line(label_of(rule), second, mean, low, high);
  }
  if (by_steps.series.empty()) return;
  // Where they begin, far above, does not hide what they differ by in the end.
  for (Picture* picture : {&by_steps, &by_seconds})
    picture->y = {by_steps.y.label, true, least, 0.25 * (most - least)};
  program.show(by_steps, plan.key + "_" + network.name + "_steps");
  program.show(by_seconds, plan.key + "_" + network.name + "_seconds");
}

void StochasticStudy::Cells::draw_temperatures(const StudiedNetwork& network) const {
  Picture picture(title(network.name) + ", " + data, "temperature",
                  plan.quantity + " of hard samples, m = 1, nats a digit");
  picture.x.log = true;
  for (const std::string& rule : kTempered) {
    std::vector<double> taus, mean, low, high;
    for (const Json& row : tempered)
      if (row.at("network") == network.name && row.at("rule") == rule)
        taus.push_back(row.at("tau"));
    std::sort(taus.begin(), taus.end());
    taus.erase(std::unique(taus.begin(), taus.end()), taus.end());
    for (double tau : taus) {
      std::vector<double> x;
      for (const Json& row : tempered)
        if (row.at("network") == network.name && row.at("rule") == rule && row.at("tau") == tau)
          x.push_back(figure_of(row, "m1"));
      const Spread s = spread_of(x);
      mean.push_back(s.mean);
      low.push_back(s.mean - s.deviation);
      high.push_back(s.mean + s.deviation);
    }
    if (taus.empty()) continue;
    picture.line(rule + ", fixed", taus, mean, low, high);
    const Spread annealed = figure(network.name, rule, "m1");
    if (std::isfinite(annealed.mean))
      picture.line(rule + ", annealed", {taus.front(), taus.back()},
                   {annealed.mean, annealed.mean});
  }
  if (!picture.series.empty())
    program.show(picture, plan.key + "_" + network.name + "_temperature");
}

// What the first seed's networks do, a row a rule: those with the best bounds.
void StochasticStudy::Cells::draw_strips(const StudiedNetwork& network) const {
  constexpr std::size_t most = 5;
  std::vector<std::string> best;
  for (const std::string& rule : rules)
    if (!of(network.name, rule).empty()) best.push_back(rule);
  std::stable_sort(best.begin(), best.end(), [&](const std::string& a, const std::string& b) {
    return figure(network.name, a, "m1").mean < figure(network.name, b, "m1").mean;
  });
  best.resize(std::min(best.size(), most));
  Picture picture(title(network.name) + ", " + data);
  picture.image_low = 0;
  picture.image_high = 255;
  for (const std::string& rule : best)
    for (const Json* row : of(network.name, rule)) {
      if (!row->contains("strips")) continue;
      picture.columns = row->at("strips").size();
      for (const Json& strip : row->at("strips")) {
        const std::string caption = strip.at("caption");
        picture.image(caption == "digits" ? caption : label_of(rule) + ": " + caption,
                      strip.at("height"), strip.at("width"), strip.at("values"));
      }
    }
  if (!picture.images.empty()) program.show(picture, plan.key + "_" + network.name + "_digits");
}

void StochasticStudy::Cells::draw() const {
  if (program.out.empty()) return;
  for (const StudiedNetwork& network : plan.networks) {
    draw_curves(network);
    draw_temperatures(network);
    draw_strips(network);
  }
}

StochasticStudy::StochasticStudy(Program& program, Grid& grid) : program_(program), grid_(grid) {
  program.takes_digits();
  for (const Column& c : kColumns) rules_.push_back(c.rule);
  grid.list("--rules", rules_, method_names(), "rules and methods");
  program.footer(
      "JSON: data, steps, rows (network, rule, seed; m1, m100, m1000: minus the bound of m hard\n"
      "samples, in nats a test digit; kl; train: m1 of training digits; ms_per_step, seconds;\n"
      "published: what arXiv 1611.01144 or 2010.04838 has); temperatures (network, rule, tau, "
      "seed,\n"
      "m1).");
  program.option("--temperatures", temperatures_,
                 "fixed temperatures for the two Gumbel-softmax rules, with commas, beside the "
                 "annealed one");
  program.option("--rate", rate_, "of Adam; 0: the default");
  program.option("--tau-rate", tau_rate_,
                 "the temperature falls by exp(-rate step) from 1 to 0.5; -1: the default");
  program.option("--samples", samples_, "of leave-one-out", 2);
  program.option("--test", test_, "test digits for m = 1; 0: the default", 0);
  program.option("--bound-test", bound_, "test digits for larger m; 0: the default", 0);
}

Dataset StochasticStudy::digits() const { return binarised(digits_in(program_.data)); }

void StochasticStudy::settle(StudyPlan& plan) const {
  if (rate_ < 0) throw WrongCall("--rate must be at least 0");
  if (tau_rate_ < 0 && tau_rate_ != -1)
    throw WrongCall("--tau-rate must be at least 0, or -1 for the default");
  if (rate_ > 0) plan.training.rate = rate_;
  if (tau_rate_ >= 0) plan.tau_rate = tau_rate_;
  if (program_.quick) {
    plan.test = plan.train = plan.test_100 = 200;
    plan.test_1000 = 20;
    plan.training.curve = std::min<std::size_t>(5, plan.training.steps);
  }
  if (test_ > 0) plan.test = static_cast<std::size_t>(test_);
  if (bound_ > 0) plan.test_100 = plan.test_1000 = static_cast<std::size_t>(bound_);
  plan.training.samples = static_cast<std::size_t>(samples_);
}

std::vector<std::string> StochasticStudy::add_cells(const StudyPlan& plan, const Split& data) {
  const auto add = [&](const StudiedNetwork& network, const std::string& rule,
                       const Temperature& tau, const std::string& suffix) {
    for (std::uint64_t seed : grid_.seeds()) {
      StochasticTrainingSettings settings = plan.training;
      settings.rule = rule;
      settings.tau = tau;
      settings.seed = seed;
      const bool pictures = suffix.empty() && seed == program_.seed;
      grid_.add(network.name + "/" + rule + suffix + "/" + std::to_string(seed),
                [this, network, settings, pictures, &plan, &data] {
                  return std::make_unique<StochasticCell>(program_, plan, data, network, settings,
                                                          pictures);
                });
    }
  };
  const Temperature annealed = exponential_decay(1, plan.tau_rate, plan.tau_floor, plan.tau_every);
  std::vector<std::string> reasons;
  for (const StudiedNetwork& network : plan.networks) {
    if (std::count(plan.chosen.begin(), plan.chosen.end(), network.name) == 0) continue;
    for (const std::string& rule : rules_) {
      StochasticTrainingSettings settings = plan.training;
      settings.rule = rule;
      settings.tau = annealed.at(0);
      const std::string reason = reason_against(network, data, settings);
      if (reason.empty())
        add(network, rule, annealed, "");
      else
        reasons.push_back(network.name + ", " + rule + ": " + reason);
    }
    for (double tau : temperatures_in(temperatures_))
      for (const std::string& rule : kTempered) add(network, rule, tau, "-tau" + exact(tau));
  }
  return reasons;
}

void StochasticStudy::run(StudyPlan plan, const Split& data, const std::string& name) {
  set_threads(program_.threads);
  settle(plan);
  Cells cells{program_, plan, name};
  if (!program_.given("--table")) cells.reasons = add_cells(plan, data);
  const auto within = [&](std::size_t digits) { return std::min(digits, data.test.size()); };
  cells.take(grid_.run({{"data", data.train.name},
                        {"digits", {checksum(data.train.images), checksum(data.test.images)}},
                        {"steps", plan.training.steps},
                        {"pixels", data.test.images.shape()[1]},
                        {"rate", plan.training.rate},
                        {"tau_rate", plan.tau_rate},
                        {"samples", plan.training.samples},
                        {"fixed_temperatures", temperatures_},
                        {"test", std::vector<std::size_t>{within(plan.test), within(plan.test_100),
                                                          within(plan.test_1000)}}},
                       [](const std::string&) { return StochasticCell::form(); }));
  cells.write_json();
  cells.print();
  cells.draw();
  program_.explain(
      "m = 1 is what training sees: the mean of log p over single draws. With more draws a digit, "
      "log of "
      "the mean of p, the bound comes nearer to log p itself, so a row of larger m is the better "
      "measure of a "
      "model. A rule without bias (the score function with any baseline, REBAR, RLOO, DisARM) is "
      "slowed by "
      "its spread alone; a biased one learns fast and may end elsewhere. At an equal time of "
      "training cheap "
      "steps count.");
}

}  // namespace argtape_examples
