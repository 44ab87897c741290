// Which operation should each edge of a small cell do? Searched by gradients through a choice that
// runs all operations, or just the chosen one.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

using Names = std::vector<std::string>;

const Names kEdges = {"0-1", "0-2", "1-2"};
// Cells that nobody has to search for.
const std::vector<Names> kFixed = {Names(kCellEdges, "conv5x5"), Names(kCellEdges, "skip")};
// Those whose cost is shown against the number of operations.
const Names kCosts = {"darts", "gumbel-softmax", "gdas", "score-function"};

double mib(std::ptrdiff_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// A gradient (one of a method that draws nothing) beside the exact one.
struct Beside {
  double bias, cosine;
};
Beside compare(const Tensor& g, const Tensor& exact) {
  double off = 0, product = 0, own = 0, norm = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const double a = static_cast<double>(g.data()[i]), b = static_cast<double>(exact.data()[i]);
    off += (a - b) * (a - b);
    product += a * b;
    own += a * a;
    norm += b * b;
  }
  return {std::sqrt(off / norm), product / std::sqrt(own * norm)};
}

// f(), and if training diverges in it, the flags that it asks for.
template <class F>
auto diverges_with(const char* flags, F f) {
  try {
    return f();
  } catch (const std::runtime_error& e) {
    throw std::runtime_error(std::string(e.what()) + ": " + flags);
  }
}

struct DrawnCell {
  std::string name;
  Names cell;
  double accuracy;
};

// The cells as a graph in Graphviz' language, in two columns.
std::string cells_graph(const std::vector<DrawnCell>& cells) {
  std::ostringstream out;
  out << "digraph cells {\n  layout=neato;\n  labelloc=t;\n  fontname=\"Helvetica\";\n  "
         "fontsize=18;\n"
         "  label=\"The cell that each method found, and its test accuracy\\n \";\n"
         "  node [fontname=\"Helvetica\", fontsize=14, shape=circle, width=0.35, fixedsize=true];\n"
         "  edge [arrowsize=0.8];\n";
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto& [name, cell, accuracy] = cells[i];
    const auto node = [i](int n) { return "n" + std::to_string(i) + "_" + std::to_string(n); };
    const auto place = [i](double x, double y) {
      return "pos=\"" + exact(x + 6.8 * static_cast<double>(i % 2)) + "," +
             exact(y - 1.2 * static_cast<double>(i / 2)) + "!\"";
    };
    out << "  " << node(3) << " [" << place(-1.6, 0.25) << ", label=\"" << name << "\\n"
        << argtape_examples::number(accuracy, 4) << "\", shape=plaintext, width=2];\n";
    for (int n = 0; n < 3; ++n)
      out << "  " << node(n) << " [" << place(1.7 * n, n == 1 ? 0.55 : 0) << ", label=" << n
          << "];\n";
    const int ends[kCellEdges][2] = {{0, 1}, {0, 2}, {1, 2}};
    const double label[kCellEdges][2] = {{0.6, 0.5}, {1.7, 0.12}, {2.8, 0.5}};
    for (std::size_t e = 0; e < kCellEdges; ++e)
      out << "  " << node(ends[e][0]) << " -> " << node(ends[e][1]) << ";\n  " << node(4) << e
          << " [" << place(label[e][0], label[e][1]) << ", label=\"" << cell[e]
          << "\", shape=plaintext, width=1];\n";
  }
  out << "}\n";
  return out.str();
}

// name.dot, and name.svg where Graphviz can be run.
void draw_cells(const std::string& folder, const std::string& name, const std::string& graph) {
  const std::filesystem::path path = std::filesystem::path(folder) / name;
  write_file(path.string() + ".dot", graph);
  std::string quoted;
  for (char c : path.string()) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  const std::string command = "dot -Tsvg '" + quoted + ".dot' -o '" + quoted + ".svg' 2>/dev/null";
  if (std::system(command.c_str()) != 0) {
    std::filesystem::remove(path.string() + ".svg");
    std::cerr << name << ".dot was not drawn: install graphviz\n";
  }
}

// The whole program, part by part.
struct Study {
  Program& program;
  SearchSettings settings;
  CellTraining training;
  Split data;
  Names methods;
  double temperature = 1;
  std::size_t random = 8, draws = 400, forms = 3;  // random cells; for the bias; seeds of GDAS

  std::map<std::string, SearchRun> runs = {};
  std::vector<std::pair<Names, Names>> pairs = {};  // cells of the two forms of GDAS, seed by seed
  std::vector<Names> random_cells = {};             // all different
  std::map<Names, TrainedCell> trained = {};

  double accuracy(const Names& cell) const { return trained.at(cell).test_accuracy; }
  double random_mean() const {
    std::vector<double> all;
    for (const Names& cell : random_cells) all.push_back(accuracy(cell));
    return argtape_examples::mean_of(all).mean;
  }

  void search();
  void train();
  void show_cells();
  void show_gdas();
  void show_costs();
  void show_gradients();
  void draw();
};

// Both forms of GDAS are cheap enough for more seeds.
void Study::search() {
  const bool both = std::count(methods.begin(), methods.end(), "gdas") > 0 &&
                    std::count(methods.begin(), methods.end(), "gdas-scalars") > 0;
  Progress searching("searching", (settings.warm_up + settings.steps) *
                                      (methods.size() + (both ? 2 * (forms - 1) : 0)));
  const auto found = [&](const std::string& method, std::uint64_t seed) {
    SearchSettings own = settings;
    own.method = method;
    own.seed = seed;
    return diverges_with(
        program.given("--temperature") || program.given("--temperature-end")
            ? "--rate, --temperature, --temperature-end"
            : "--rate",
        [&] { return search_architecture(data.train, own, [&] { searching.step(); }); });
  };
  for (const std::string& m : methods) runs[m] = found(m, program.seed);
  for (std::size_t i = 0; both && i < forms; ++i)
    pairs.push_back(i == 0 ? std::pair{runs["gdas"].cell, runs["gdas-scalars"].cell}
                           : std::pair{found("gdas", program.seed + i).cell,
                                       found("gdas-scalars", program.seed + i).cell});
  searching.finish();
}

// Each cell once, whoever found it.
void Study::train() {
  Rng rng(program.seed, 0, 9);
  while (random_cells.size() < random) {
    const Names cell = random_cell(settings.candidates, rng);
    if (std::count(random_cells.begin(), random_cells.end(), cell) == 0)
      random_cells.push_back(cell);
  }
  for (const auto& [name, run] : runs) trained[run.cell];
  for (const Names& cell : random_cells) trained[cell];
  for (const Names& cell : kFixed) trained[cell];
  for (const auto& [a, b] : pairs) trained[a], trained[b];
  Progress training_cells("training", trained.size() * training.steps);
  for (auto& [cell, result] : trained)
    result = diverges_with("--retrain-rate", [&, &cell = cell] {
      return train_cell(data, cell, training, [&] { training_cells.step(); });
    });
  training_cells.finish();
}

void Study::show_cells() {
  std::cout << data.train.name << ", " << data.train.height << " x " << data.train.width << ": "
            << data.train.size() << " digits to train on, " << data.test.size() << " to test with\n"
            << settings.warm_up << " steps of the weights and " << settings.steps
            << " pairs of steps, with Adam's rate " << argtape_examples::number(settings.rate)
            << " for the weights and "
            << (settings.architecture_rate == 0
                    ? "0.01 (both GDAS 0.02)"
                    : argtape_examples::number(settings.architecture_rate))
            << " for the logits,\ntemperatures " << argtape_examples::number(settings.tau) << " to "
            << argtape_examples::number(settings.tau_end)
            << "; each cell found is then trained from scratch for " << training.steps
            << " steps\n\n";
  Table table(
      {"method", "0-1", "0-2", "1-2", "test accuracy", "ms a pair", "MiB kept", "MiB at most"});
  auto& json = program.json;
  json["methods"] = nlohmann::ordered_json::array();
  for (const std::string& m : methods) {
    const SearchRun& run = runs.at(m);
    table.row({m, run.cell[0], run.cell[1], run.cell[2], accuracy(run.cell), run.cost.milliseconds,
               mib(run.cost.kept_bytes), mib(run.cost.peak_bytes)});
    json["methods"].push_back({{"method", m},
                               {"cell", run.cell},
                               {"test_accuracy", accuracy(run.cell)},
                               {"ms_per_step", run.cost.milliseconds},
                               {"kept_bytes", run.cost.kept_bytes},
                               {"peak_bytes", run.cost.peak_bytes},
                               {"loss", run.loss}});
  }
  for (const Names& cell : kFixed) {
    table.row({"all " + cell[0], cell[0], cell[1], cell[2], accuracy(cell), "-", "-", "-"});
    json["fixed"].push_back({{"cell", cell}, {"test_accuracy", accuracy(cell)}});
  }
  std::vector<double> by_chance;
  for (const Names& cell : random_cells) {
    table.row({"random", cell[0], cell[1], cell[2], accuracy(cell), "-", "-", "-"});
    json["random"].push_back({{"cell", cell}, {"test_accuracy", accuracy(cell)}});
    by_chance.push_back(accuracy(cell));
  }
  program.print(table, "architecture_search");
  const auto [least, most] = std::minmax_element(by_chance.begin(), by_chance.end());
  const double middle = random_mean(), n = static_cast<double>(data.test.size()),
               se = std::sqrt(middle * (1 - middle) / n);
  json["random_mean"] = middle;
  json["accuracy_se"] = se;
  std::cout << "\n"
            << random << (random == 1 ? " random cell" : " random cells") << ": mean "
            << argtape_examples::number(middle) << ", " << argtape_examples::number(*least)
            << " to " << argtape_examples::number(*most) << ". An accuracy on so many digits has a "
            << "standard error of " << argtape_examples::number(se, 1) << ".\n";
  if (random < 3) {
    std::cout << "So few say nothing about random choice: see --cells.\n";
  } else {
    Names above, within, below;
    for (const std::string& m : methods) {
      const double a = accuracy(runs.at(m).cell);
      (a > *most ? above : a < *least ? below : within).push_back(m);
    }
    std::cout << "Better than each of them: " << (above.empty() ? "none" : joined(above, ", "))
              << ".\n";
    if (!within.empty())
      std::cout << "Within their range, so here search does not beat random choice: "
                << joined(within, ", ") << ".\n";
    if (!below.empty())
      std::cout << "Worse than each of them, so here search is worse than random choice: "
                << joined(below, ", ") << ".\n";
    json["better_than_random"] = above;
    json["among_random"] = within;
    json["worse_than_random"] = below;
  }
}

void Study::show_gdas() {
  std::cout << "\nTwo forms of GDAS: the others' weights count as nothing, or, as in the "
               "released code, as bare scalars\n\n";
  Table two({"seed", "nothing: cell", "nothing: accuracy", "scalars: cell", "scalars: accuracy"});
  std::vector<double> nothing, scalars;
  std::map<std::string, std::size_t> picked[2];
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [a, b] = pairs[i];
    two.row({program.seed + i, joined(a, " "), accuracy(a), joined(b, " "), accuracy(b)});
    nothing.push_back(accuracy(a));
    scalars.push_back(accuracy(b));
    for (const std::string& operation : a) ++picked[0][operation];
    for (const std::string& operation : b) ++picked[1][operation];
    program.json["gdas"].push_back({{"seed", program.seed + i},
                                    {"nothing", {{"cell", a}, {"test_accuracy", accuracy(a)}}},
                                    {"scalars", {{"cell", b}, {"test_accuracy", accuracy(b)}}}});
  }
  program.print(two, "architecture_search_gdas");
  const auto counted = [](const std::map<std::string, std::size_t>& counts) {
    Names all;
    for (const auto& [operation, n] : counts) all.push_back(std::to_string(n) + " " + operation);
    return joined(all, ", ");
  };
  std::cout << "\nOf " << pairs.size() * kCellEdges << " edges, as nothing: " << counted(picked[0])
            << "; as scalars: " << counted(picked[1]) << ".\nMean accuracy "
            << argtape_examples::number(argtape_examples::mean_of(nothing).mean) << " and "
            << argtape_examples::number(argtape_examples::mean_of(scalars).mean)
            << ". Random cells: " << argtape_examples::number(random_mean()) << ".\n";
}

// What a pair of steps costs with K operations for each edge.
void Study::show_costs() {
  const std::vector<std::size_t> candidates = program.quick
                                                  ? std::vector<std::size_t>{2, 8}
                                                  : std::vector<std::size_t>{2, 3, 4, 5, 6, 7, 8};
  Table costs({"method", "operations", "MiB kept", "MiB at most", "ms a pair"});
  Picture time("A pair of search steps: time", "operations for each edge", "ms");
  Picture memory("A pair of search steps: memory", "operations for each edge", "MiB");
  program.json["cost"] = nlohmann::ordered_json::array();
  Progress measuring("measuring", kCosts.size() * candidates.size());
  std::map<std::string, std::vector<StepCost>> cost;
  for (std::size_t k : candidates)
    for (const std::string& m : kCosts) {
      SearchSettings own = settings;
      own.method = m;
      own.candidates.assign(k, "conv3x3");
      own.warm_up = 2;
      own.steps = program.quick ? 6 : 20;
      cost[m].push_back(search_architecture(data.train, own).cost);
      measuring.step();
    }
  measuring.finish();
  const std::vector<double> x(candidates.begin(), candidates.end());
  std::map<std::string, std::vector<double>> kept, peak;
  for (const std::string& m : kCosts) {
    std::vector<double> ms;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      const StepCost& c = cost[m][i];
      ms.push_back(c.milliseconds);
      kept[m].push_back(mib(c.kept_bytes));
      peak[m].push_back(mib(c.peak_bytes));
      costs.row({m, candidates[i], kept[m].back(), peak[m].back(), ms.back()});
      program.json["cost"].push_back({{"method", m},
                                      {"candidates", candidates[i]},
                                      {"ms_per_step", c.milliseconds},
                                      {"kept_bytes", c.kept_bytes},
                                      {"peak_bytes", c.peak_bytes}});
    }
    time.line(m, x, ms);
  }
  // Lines that lie on each other are drawn once.
  std::vector<Names> alike;
  for (const std::string& m : kCosts) {
    const auto same = std::find_if(alike.begin(), alike.end(), [&](const Names& names) {
      return std::abs(kept[names[0]].back() / kept[m].back() - 1) < 0.01;
    });
    same == alike.end() ? alike.push_back({m}) : same->push_back(m);
  }
  for (const Names& names : alike) {
    memory.line(joined(names, ", ") + ": at most", x, peak[names[0]]);
    memory.line(joined(names, ", ") + ": kept", x, kept[names[0]]);
  }
  std::cout << "\nA pair of steps with K operations for each edge, all conv3x3\n\n";
  program.print(costs, "architecture_search_cost");
  std::cout << "\nFrom 2 to 8 operations:";
  for (const std::string& m : kCosts) {
    const StepCost &few = cost[m].front(), &many = cost[m].back();
    std::cout << (m == kCosts[0] ? " " : "; ") << m << " takes "
              << argtape_examples::number(many.milliseconds / few.milliseconds)
              << " times the time, keeps "
              << argtape_examples::number(mib(many.kept_bytes) / mib(few.kept_bytes))
              << " times the bytes";
  }
  std::cout << ".\n";
  program.show(time, "architecture_search_ms");
  program.show(memory, "architecture_search_bytes");
}

// Bias and spread of the logits' gradient, beside the exact one over all cells.
void Study::show_gradients() {
  Table gradients({"weights", "method", "bias", "standard deviation", "cosine"});
  program.json["gradient"] = nlohmann::ordered_json::array();
  const Dataset some = DigitBatches(data.train, std::min<std::size_t>(20, data.train.size()),
                                    Rng(program.seed, 0, 10))
                           .next();
  struct Estimate {
    std::string name;
    Rule rule;
    CellRuns runs;
  };
  const std::vector<Estimate> estimates = {
      {"gumbel-softmax", gumbel_softmax(temperature), CellRuns::all},
      {"st-all", st_gumbel_softmax(temperature), CellRuns::all},
      {"gdas", st_gumbel_softmax(temperature), CellRuns::chosen},
      {"gdas-scalars", st_gumbel_softmax(temperature), CellRuns::chosen_with_scalars},
      {"score-function", score_function(), CellRuns::chosen},
      {"score-function+mean", score_function(running_mean(0.9)), CellRuns::chosen}};
  Progress judging("judging", 2 * estimates.size());
  for (const auto& [weights, method] :
       {std::pair<std::string, std::string>{"of a mixture", "darts"},
        {"of sampled cells", "exact"}}) {
    SearchSettings own = settings;
    own.method = method;
    ArchitectureSearch state(data.train, own);
    for (std::size_t i = 0; i < settings.warm_up; ++i) state.warm_up();
    const CellNetwork& network = state.network();
    const Tensor losses = cell_losses(network, some);
    Tape tape;
    const Var logits = tape.parameter(state.logits());
    const Tensor exact = backward(expected_cell_loss(logits, losses))[logits];
    const Var mixed = evaluate(softmax(logits), cell_cost(network, some, CellRuns::all));
    const Beside darts = compare(backward(mixed)[logits], exact);
    const auto note = [&, weights = weights](const std::string& name, double bias, double bias_se,
                                             double std, double cosine, double cosine_se) {
      gradients.row({weights, name, Cell(bias, bias_se), std, Cell(cosine, cosine_se)});
      program.json["gradient"].push_back({{"weights", weights},
                                          {"method", name},
                                          {"bias", bias},
                                          {"bias_se", bias_se},
                                          {"std", std},
                                          {"cosine", cosine},
                                          {"cosine_se", cosine_se}});
    };
    const auto settled = [](double x) { return std::abs(x) < 1e-9 ? 0 : x; };  // rounding
    note("darts", darts.bias, 0, 0, darts.cosine, 0);
    MeasureOptions options;
    options.draws = draws;
    options.batch = 10;
    options.seed = program.seed;
    options.exact = exact;
    options.enumerate = true;  // where a rule looks at the choice alone
    for (const Estimate& e : estimates) {
      const Measure m = measure(e.rule, cell_cost(network, some, e.runs), state.logits(), options);
      note(e.name, m.bias, m.bias_se, m.std, settled(m.cosine), m.cosine_se);
      judging.step();
    }
  }
  judging.finish();
  std::cout << "\nThe logits' gradient after the warm-up, all logits being equal, on "
            << some.size() << " digits, relative to the exact one over all "
            << std::pow(settings.candidates.size(), kCellEdges) << " cells; " << draws
            << " draws at temperature " << argtape_examples::number(temperature) << "\n\n";
  program.print(gradients, "architecture_search_gradient");
  std::cout
      << "\nA mixture y = sum_i w_i o_i with w = softmax(v / tau) has dy/dv_i = w_i (o_i - y) / "
         "tau: "
         "through the softmax every\noperation's output is in every logit's derivative. And in "
         "each step it updates every operation, by its weight, however\nsmall; where only the "
         "chosen one runs, the others stay as they are.\n";
}

void Study::draw() {
  if (program.out.empty()) return;
  Picture belief("softmax(logits) over the search, downwards: " +
                 joined(settings.candidates, ", "));
  belief.columns = kCellEdges;
  for (const std::string& m : methods)
    for (std::size_t e = 0; e < kCellEdges; ++e) {
      const std::vector<Tensor>& p = runs.at(m).probabilities;
      std::vector<double> pixels;
      for (std::size_t k = 0; k < settings.candidates.size(); ++k)
        for (const Tensor& at : p)
          pixels.push_back(static_cast<double>(at.data()[e * settings.candidates.size() + k]));
      belief.image(m + " " + kEdges[e], settings.candidates.size(), p.size(), pixels);
    }
  program.show(belief, "architecture_search_probabilities");
  std::vector<DrawnCell> drawn;
  for (const std::string& m : methods)
    drawn.push_back({m, runs.at(m).cell, accuracy(runs.at(m).cell)});
  draw_cells(program.out, "architecture_search_cells", cells_graph(drawn));
}

}  // namespace

int main(int argc, char** argv) {
  Program program("10_architecture_search",
                  "which operation each edge of a cell should do, searched by gradients");
  SearchSettings settings;
  CellTraining training;
  Names methods;
  int steps = 0, warm_up = 0, retrain = 0, cells = 0, draws = 0,
      batch = static_cast<int>(settings.batch), channels = static_cast<int>(settings.channels);
  double temperature = 1;
  program.takes_digits();
  program.option("--methods", methods, search_methods(), "which to compare");
  program.option("--steps", steps, "pairs of steps of a search; 0: 400, or 60 with --quick", 0);
  program.option("--warm-up", warm_up,
                 "steps of the weights alone, before; 0: 200, or 40 with --quick", 0);
  program.option("--retrain", retrain,
                 "steps a cell found is trained for; 0: 800, or 150 with --quick", 0);
  program.option("--cells", cells, "random cells beside them; 0: 8, or 3 with --quick", 0);
  program.option("--draws", draws, "for the gradient's bias; 0: 400, or 100 with --quick", 0);
  program.option("--temperature", settings.tau, "of Gumbel-softmax at the start of a search");
  program.option("--temperature-end", settings.tau_end,
                 "at its end; it falls there in a straight line");
  program.option("--bias-temperature", temperature, "where the gradient's bias is measured");
  program.option("--batch", batch, "digits in a step");
  program.option("--channels", channels, "planes of the cell");
  program.option("--rate", settings.rate, "Adam's, for the weights in the search");
  program.option("--architecture-rate", settings.architecture_rate,
                 "Adam's, for the logits; 0: 0.01, and 0.02 for both GDAS");
  program.option("--retrain-rate", training.rate,
                 "Adam's, for a cell found, at the start; it falls to 0");
  return program.run(argc, argv, [&] {
    if (!(settings.rate > 0)) throw WrongCall("--rate must be more than 0");
    if (!(training.rate > 0)) throw WrongCall("--retrain-rate must be more than 0");
    if (!(settings.architecture_rate >= 0))
      throw WrongCall("--architecture-rate must be at least 0");
    for (const auto& [flag, tau] : {std::pair{"--temperature", settings.tau},
                                    std::pair{"--temperature-end", settings.tau_end},
                                    std::pair{"--bias-temperature", temperature}})
      if (!(tau >= 1e-20 && tau <= 1e20))
        throw WrongCall(std::string(flag) + " must be at least 1e-20, and at most 1e20");
    if (cells > 100) throw WrongCall("--cells must be at most 100: there are 125 of them");
    set_threads(program.threads);
    Dataset digits = digits_in(program.data);
    if (digits.height > 16) digits = halved_images(digits);
    const auto chosen = [&](int given, int all, int quick) {
      return static_cast<std::size_t>(given > 0 ? given : program.quick ? quick : all);
    };
    settings.steps = chosen(steps, 400, 60);
    settings.warm_up = chosen(warm_up, 200, 40);
    settings.batch = training.batch = static_cast<std::size_t>(batch);
    settings.channels = training.channels = static_cast<std::size_t>(channels);
    training.steps = chosen(retrain, 800, 150);
    settings.seed = training.seed = program.seed;
    Study study{program, settings, training, split(digits, default_train_size(digits)), methods};
    study.temperature = temperature;
    study.random = chosen(cells, 8, 3);
    study.draws = chosen(draws, 400, 100);
    study.forms = program.quick ? 1 : 3;
    if (study.data.train.size() / 2 < settings.batch)
      throw WrongCall("--batch is more than half of the " +
                      std::to_string(study.data.train.size()) + " digits to train on");
    auto& json = program.json;
    json["data"] = digits.name;
    json["steps"] = settings.steps;
    json["warm_up"] = settings.warm_up;
    json["retrain"] = training.steps;
    json["rate"] = settings.rate;
    json["architecture_rate"] = settings.architecture_rate;
    json["temperature"] = {settings.tau, settings.tau_end};
    study.search();
    study.train();
    study.show_cells();
    if (!study.pairs.empty()) study.show_gdas();
    study.show_costs();
    study.show_gradients();
    study.draw();
  });
}
