// Every rule and every method on problems that are easy, hard, linear, curved, small and large,
// with the exact gradient as the judge; and what their errors cost.
#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

using argtape_examples::number;

struct Problem {
  std::string name, about;
  std::size_t categories = 0, variables = 1;
  Tensor logits;
  Cost f;
  std::optional<Tensor> exact;  // where there are too many combinations to enumerate
  std::size_t chosen = 1;       // so many of the categories at once, without replacement

  // How many there are, as far as anyone would enumerate.
  double choices() const {
    double one = 1;
    for (std::size_t i = 0; i < chosen; ++i)
      one *= static_cast<double>(categories - i) / static_cast<double>(i + 1);
    return std::pow(one, static_cast<double>(variables));
  }
  std::string title() const {
    return name + ", K = " + std::to_string(categories) +
           (variables > 1 ? ", " + std::to_string(variables) + " variables" : "");
  }
};

Problem linear_problem(std::size_t k, Rng& rng) {
  const Tensor logits = rng.normal({k}), b = rng.normal({k});
  return {"linear",    "f(z) = <b, z>", k,
          1,           logits,          [=](Var z) { return sum(z * z.tape->constant(b), -1); },
          std::nullopt};
}

Problem quadratic_problem(std::size_t k, Rng& rng) {
  const Tensor logits = rng.normal({k}), b = rng.normal({k}), a = rng.normal({k, k});
  return {
      "quadratic",
      "f(z) = <b, z> + <z, A z>",
      k,
      1,
      logits,
      [=](Var z) { return sum(z * (matmul(z, z.tape->constant(a)) + z.tape->constant(b)), -1); },
      std::nullopt};
}

Problem network_problem(std::size_t k, Rng& rng) {
  const std::size_t hidden = 16;
  const Tensor logits = rng.normal({k}), inward = rng.normal({k, hidden}),
               bias = rng.normal({hidden}), outward = rng.normal({hidden}) * 0.5f;
  return {"network",
          "f(z) = <v, tanh(W z + b)>, 16 hidden units, random weights",
          k,
          1,
          logits,
          [=](Var z) {
            const Var h = dense(z, z.tape->constant(inward), z.tape->constant(bias));
            return sum(tanh(h) * z.tape->constant(outward), -1);
          },
          std::nullopt};
}

Problem rebar_toy(double target) {
  return {
      "toy t=" + number(target),
      "f(z) = (z - " + number(target) + ")^2 of a binary z, REBAR's and RELAX's toy, at log-odds 1",
      2,
      1,
      Tensor{0, 1},
      [=](Var z) { return square(sum(slice(z, 1, 2, -1), -1) - target); },
      std::nullopt};
}

// The variables do not meet in f, so the exact gradient is one variable's at a time.
Problem p_norm_toy(double power, Rng& rng) {
  const double target = 0.45;
  const std::size_t n = 128;
  const Tensor logits = rng.normal({n, 2});
  Tensor exact = zeros({n, 2});
  const double rise = (std::pow(1 - target, power) - std::pow(target, power)) / n;
  for (std::size_t v = 0; v < n; ++v) {
    const double one = 1 / (1 + std::exp(static_cast<double>(logits(v, 0) - logits(v, 1))));
    exact(v, 1) = static_cast<Scalar>(one * (1 - one) * rise);
    exact(v, 0) = -exact(v, 1);
  }
  return {"p-norm p=" + number(power),
          "f(z) = mean |z_i - 0.45|^" + number(power) + ", ReinMax's toy",
          2,
          n,
          logits,
          [=](Var z) {
            const Var ones = sum(slice(z, 1, 2, -1), -1);
            return mean(pow(abs(ones - target), power), -1);
          },
          exact};
}

// A subset of the categories, with a cost for each and one for each pair.
Problem subset_problem(std::size_t n, std::size_t chosen, Rng& rng) {
  Problem problem = quadratic_problem(n, rng);
  problem.name = "subset k=" + std::to_string(chosen);
  problem.about += " of " + std::to_string(chosen) + " categories drawn without replacement";
  problem.chosen = chosen;
  return problem;
}

std::vector<Problem> all_problems(std::uint64_t seed) {
  Rng rng(seed);
  std::vector<Problem> all;
  for (auto make : {linear_problem, quadratic_problem, network_problem})
    for (std::size_t k : std::vector<std::size_t>{2, 8, 64}) all.push_back(make(k, rng));
  for (double t : {0.45, 0.499}) all.push_back(rebar_toy(t));
  for (double p : {1.5, 2.0, 3.0}) all.push_back(p_norm_toy(p, rng));
  all.push_back(subset_problem(8, 3, rng));
  return all;
}

const std::vector<double> kTemperatures = {0.1, 0.5, 1, 2, 5};
constexpr double kControlTau = 0.5;  // where rebar and relax start; they learn it
constexpr double kBudgetTau = 0.5;

bool is(const std::string& name, std::initializer_list<const char*> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool learns(const std::string& name) { return is(name, {"rebar", "relax"}); }

// The temperatures that a rule is tried at; none for what has none.
std::vector<double> temperatures(const std::string& name) {
  if (learns(name)) return {kControlTau};
  if (name == "reinmax") return {1, 2, 5};
  const Method method = method_named(name, linear_decay(1, 2, 1));
  return method.rule && method.rule->scheduled ? kTemperatures : std::vector<double>{};
}

bool applies(const std::string& name, const Problem& problem) {
  const std::vector<std::string>& behind_subsets = top_k_rule_names();
  if (problem.chosen > 1)
    return name == "exact" ||
           std::find(behind_subsets.begin(), behind_subsets.end(), name) != behind_subsets.end();
  if (is(name, {"arm", "disarm"})) return problem.categories == 2;
  // These enumerate, or count on fewer combinations.
  if (is(name, {"exact", "vimco", "sum-and-sample", "unordered-set"}))
    return problem.variables == 1;
  return true;
}

Method method_for(const std::string& name, const Problem& problem, double tau) {
  if (problem.chosen > 1 && name == "exact") return enumeration(problem.chosen);
  if (name == "i-mle") return Method(i_mle(1.0, 5), 4, problem.chosen);
  if (problem.chosen > 1) return Method(top_k_rule_named(name, tau), 4, problem.chosen);
  // Four samples of many categories are too many tuples for the bound's exact gradient.
  return name == "vimco" && problem.categories > 11 ? vimco(2) : method_named(name, tau);
}

// What it promises on every problem.
std::string kind(const std::string& name) { return about(name)->gradient; }

// For a budget of this many evaluations and backward passes.
constexpr double kBudget = 100;

struct Row {
  Measure m;
  const Problem* problem;
  std::optional<double> tau;

  // The mean squared error of the mean of as many estimates as the budget buys: the variance is
  // divided by their number, the bias stays. A measured bias is too large by its own error.
  double at_budget() const {
    if (m.rule == "exact") return 0;
    const double price = m.evaluations + m.backwards;
    const double bias =
        kind(m.rule) == "biased" ? std::max(0.0, m.bias * m.bias - m.bias_se * m.bias_se) : 0;
    return bias + m.std * m.std * price / kBudget;
  }
};

nlohmann::ordered_json json_of(const Row& row) {
  const Measure& m = row.m;
  nlohmann::ordered_json tau;
  if (row.tau) tau = *row.tau;
  return {{"problem", row.problem->name},
          {"K", row.problem->categories},
          {"tau", tau},
          {"rule", m.rule},
          {"bias", m.bias},
          {"bias_se", m.bias_se},
          {"std", m.std},
          {"mse", m.mse},
          {"cosine", m.cosine},
          {"evaluations", m.evaluations},
          {"backwards", m.backwards},
          {"solver_calls", m.solver_calls},
          {"microseconds", m.microseconds}};
}

// An error bar, unless it is smaller than float can tell.
Cell with_bar(double value, double error) {
  if (error > 1e-6) return Cell(value, error);
  return std::abs(value) < 1e-5 ? Cell(0.0) : Cell(value);
}

Table table_of_estimators() {
  return Table({"rule", "kind", "tau", "bias", "std", "mse", "mse at 100", "cosine", "f", "f'",
                "solver", "us"});
}

void add(Table& table, const Row& row, bool best = false) {
  const Measure& m = row.m;
  table.row({m.rule + (best ? " *" : ""), kind(m.rule), row.tau ? Cell(*row.tau) : Cell(""),
             with_bar(m.bias, m.bias_se), with_bar(m.std, 0), with_bar(m.mse, 0),
             with_bar(row.at_budget(), 0), m.cosine, m.evaluations, m.backwards, m.solver_calls,
             number(m.microseconds, 2)});
}

// One row for each rule, at the temperature of its least error at the budget: what is exact, then
// what is unbiased, then the rest, each from the least error to the largest.
std::vector<const Row*> best_of_each(const std::vector<Row>& rows, const Problem& problem) {
  std::vector<const Row*> sorted;
  for (const std::string& name : method_names()) {
    const Row* best = nullptr;
    for (const Row& row : rows)
      if (row.problem == &problem && row.m.rule == name &&
          (!best || row.at_budget() < best->at_budget()))
        best = &row;
    if (best) sorted.push_back(best);
  }
  const auto rank = [](const Row* row) {
    const std::string k = kind(row->m.rule);
    return k == "exact" ? 0 : k == "biased" ? 2 : 1;
  };
  std::stable_sort(sorted.begin(), sorted.end(), [&](const Row* a, const Row* b) {
    return std::make_pair(rank(a), a->at_budget()) < std::make_pair(rank(b), b->at_budget());
  });
  return sorted;
}

// The least error among those of one kind; `cheap`: that evaluate less than enumeration would.
const Row* best_of(const std::vector<const Row*>& sorted, const std::string& of_kind,
                   bool cheap = true) {
  for (const Row* row : sorted)
    if (kind(row->m.rule) == of_kind && (!cheap || row->m.evaluations < row->problem->choices()))
      return row;
  return nullptr;
}

std::string named(const Row* row) {
  if (!row) return "none";
  return row->m.rule + (row->tau ? ", tau " + number(*row->tau) : "");
}

// One family of estimates, each with its price in evaluations and backward passes.
struct Family {
  std::string name;
  std::vector<int> settings;
  std::vector<Measure> measures;

  std::vector<double> price() const {
    std::vector<double> all;
    for (const Measure& m : measures) all.push_back(m.evaluations + m.backwards);
    return all;
  }
  std::vector<double> error() const {
    std::vector<double> all;
    for (const Measure& m : measures) all.push_back(m.mse);
    return all;
  }
};

const Row* find(const std::vector<Row>& rows, const Problem& problem, const std::string& rule,
                std::optional<double> tau = std::nullopt) {
  for (const Row& row : rows)
    if (row.problem == &problem && row.m.rule == rule && row.tau == tau) return &row;
  return nullptr;
}

void say_what_to_see(const std::vector<Row>& rows, const std::vector<Problem>& problems) {
  std::cout << "\nWhat to see\n";
  std::size_t below = 0, cheaper = 0, biased_wins = 0, wins_over_all = 0;
  for (const Problem& problem : problems) {
    const Row &loo = *find(rows, problem, "score-function+leave-one-out"),
              &plain = *find(rows, problem, "score-function");
    below += loo.m.std < plain.m.std;
    cheaper += loo.at_budget() < plain.at_budget();
    const std::vector<const Row*> sorted = best_of_each(rows, problem);
    const double biased = best_of(sorted, "biased")->at_budget();
    biased_wins += biased < best_of(sorted, "unbiased")->at_budget();
    wins_over_all += biased < best_of(sorted, "unbiased", false)->at_budget();
  }
  std::cout << "- One estimate of leave-one-out spreads less than the plain score function on "
            << below << " of " << problems.size()
            << " problems;\n  at an equal budget its error is less on " << cheaper
            << ": where the costs' mean is not near 0, which a baseline takes away.\n"
            << "- At a budget of 100 the best biased rule is nearer than the best unbiased one on "
            << biased_wins << " of " << problems.size()
            << " problems,\n  of those that evaluate f less often than enumeration; of all, on "
            << wins_over_all << ". A larger budget takes variance away and no bias.\n";
  for (const Problem& problem : problems) {
    if (problem.categories != 8 || problem.chosen > 1) continue;
    const auto bias = [&](const char* rule, std::optional<double> tau = std::nullopt) {
      return with_bar(find(rows, problem, rule, tau)->m.bias, 0).text();
    };
    std::cout << "- " << problem.title() << " (as this seed drew it): bias of straight-through "
              << bias("straight-through", 1.0) << ", zgr " << bias("zgr") << ", reinmax "
              << bias("reinmax", 1.0) << ", mve " << bias("mve") << ", darn " << bias("darn")
              << ".\n";
  }
  for (const Problem& problem : problems) {
    if (problem.name != "toy t=0.499") continue;
    std::cout
        << "- " << problem.title()
        << ": its two costs differ by .002, what lies between them by .25. At a budget of 100\n"
           "  leave-one-out's error is "
        << number(find(rows, problem, "score-function+leave-one-out")->at_budget()) << ", rebar's "
        << number(find(rows, problem, "rebar", kControlTau)->at_budget()) << " and relax's "
        << number(find(rows, problem, "relax", kControlTau)->at_budget()) << ", after learning.\n";
  }
}

void write_csv(const std::vector<Row>& rows, const std::string& path) {
  Table table({"problem", "K", "tau", "rule", "kind", "bias", "std", "mse", "cosine", "evaluations",
               "backwards", "solver calls", "microseconds"});
  for (const Row& row : rows) {
    const Measure& m = row.m;
    table.row({row.problem->name, row.problem->categories, row.tau ? Cell(*row.tau) : Cell(""),
               m.rule, kind(m.rule), Cell(m.bias, m.bias_se), Cell(m.std, m.std_se),
               Cell(m.mse, m.mse_se), Cell(m.cosine, m.cosine_se), m.evaluations, m.backwards,
               m.solver_calls, m.microseconds});
  }
  table.write_csv(path);
}

// Of what is biased. Rules with a temperature are curves, from the lowest to the highest.
Picture bias_against_spread(const std::vector<Row>& rows, const Problem& problem) {
  Picture picture("Bias against spread of one biased estimate (" + problem.title() + ")",
                  "bias / norm of the exact gradient",
                  "standard deviation / norm of the exact gradient");
  picture.x.log = picture.y.log = true;
  picture.x.unit = 0.2;
  picture.y.unit = 0.05;
  for (bool curves : {true, false})
    for (const std::string& name : method_names()) {
      // At one temperature annealed-straight-through is straight-through.
      if (name == "annealed-straight-through" || kind(name) != "biased" ||
          (temperatures(name).size() > 1) != curves)
        continue;
      std::vector<double> bias, spread, bar;
      for (const Row& row : rows)
        if (row.problem == &problem && row.m.rule == name) {
          bias.push_back(row.m.bias);
          spread.push_back(row.m.std);
          bar.push_back(row.m.bias_se);
        }
      if (bias.empty()) continue;
      if (curves)
        picture.line(name, bias, spread);
      else
        picture.points(name, bias, spread, {}, bar);
    }
  return picture;
}

Picture unbiased_spread(const std::vector<Row>& rows, const Problem& problem) {
  Picture picture("Spread of one unbiased estimate (" + problem.title() + ")", "",
                  "standard deviation / norm of the exact gradient");
  std::vector<double> spread, error;
  for (const Row& row : rows)
    if (row.problem == &problem && kind(row.m.rule) != "biased" && row.m.rule != "exact") {
      picture.categories.push_back(row.m.rule);
      spread.push_back(row.m.std);
      error.push_back(row.m.std_se);
    }
  return picture.bars("", spread, error);
}

Picture error_against_budget(const std::vector<Row>& rows, const Problem& problem,
                             const std::vector<Family>& families) {
  Picture picture("Error against budget (" + problem.title() + ")",
                  "evaluations of f + backward passes",
                  "mean squared error / squared norm of the exact gradient");
  picture.x.log = picture.y.log = true;
  for (const Family& family : families) picture.line(family.name, family.price(), family.error());
  const auto averaged = [&](const std::string& rule, std::optional<double> tau) {
    const Measure& m = find(rows, problem, rule, tau)->m;
    std::vector<double> price, error;
    for (int estimates = 1; estimates * (m.evaluations + m.backwards) <= 50; ++estimates) {
      price.push_back(estimates * (m.evaluations + m.backwards));
      error.push_back(m.bias * m.bias + m.std * m.std / estimates);
    }
    picture.line("mean of n: " + rule + (tau ? ", tau " + number(*tau) : ""), price, error);
  };
  averaged("straight-through", 1.0);
  averaged("zgr", std::nullopt);
  averaged("gumbel-softmax", kBudgetTau);
  averaged("score-function", std::nullopt);
  return picture;
}

}  // namespace

int main(int argc, char** argv) {
  Program program("05_estimators",
                  "every way to a gradient through a choice: its error, and what it costs");
  int draws = 20000, tuning = 2000;
  std::string only;
  bool every_tau = false;
  program.option("--draws", draws, "draws for each row; 2,000 at most with --quick", 500);
  program.option("--tuning", tuning,
                 "steps that nvil, rebar and relax learn for first, on up to 8 logits; with more "
                 "logits as many times fewer",
                 0);
  program.option(
      "--problem", only,
      "just the problems of this kind: linear, quadratic, network, toy, p-norm or subset");
  program.option("--every-tau", every_tau,
                 "print every temperature, not only that of a rule's least error");
  program.footer(
      "JSON: program, seed, draws; rows, one for each problem, K, tau (null where there is none) "
      "and\n"
      "rule, with bias, bias_se (0: enumerated), std, mse, cosine, all relative to the exact\n"
      "gradient's norm, and evaluations, backwards, solver_calls, microseconds for one estimate;\n"
      "budget, the rows of the second picture, with the family's setting.");
  return program.run(argc, argv, [&] {
    set_threads(program.threads);
    std::vector<Problem> problems = all_problems(program.seed);
    problems.erase(std::remove_if(problems.begin(), problems.end(),
                                  [&](const Problem& p) { return p.name.rfind(only, 0) != 0; }),
                   problems.end());
    if (problems.empty())
      throw WrongCall("--problem is '" + only +
                      "'; need linear, quadratic, network, toy, p-norm, or subset");
    MeasureOptions options;
    options.draws = static_cast<std::size_t>(program.quick ? std::min(draws, 2000) : draws);
    options.batch = 500;
    options.seed = program.seed;
    options.enumerate = true;

    struct Task {
      const Problem* problem;
      std::string name;
      std::optional<double> tau;
    };
    std::vector<Task> tasks;
    for (const Problem& problem : problems)
      for (const std::string& name : method_names()) {
        if (!applies(name, problem)) continue;
        const std::vector<double> taus = temperatures(name);
        for (double tau : taus) tasks.push_back({&problem, name, tau});
        if (taus.empty()) tasks.push_back({&problem, name, std::nullopt});
      }
    const auto budgeted = std::find_if(problems.begin(), problems.end(), [](const Problem& p) {
      return p.name == "network" && p.categories == 8;
    });
    std::vector<Family> families;
    if (budgeted != problems.end())
      families = {{"leave-one-out, M = 2 to 16", {2, 3, 4, 6, 8, 12, 16}, {}},
                  {"unordered set, k = 1 to 6", {1, 2, 3, 4, 5, 6}, {}},
                  {"sum and sample, k = 1 to 4", {1, 2, 3, 4}, {}},
                  {"Gumbel-Rao, 1 to 100 draws", {1, 2, 5, 10, 30, 100}, {}}};
    std::size_t points = 0;
    for (const Family& family : families) points += family.settings.size();

    Progress progress("measuring", tasks.size() + points);
    std::vector<Row> rows;
    for (const Task& task : tasks) {
      const Problem& problem = *task.problem;
      options.exact = problem.exact;
      options.tuning =
          static_cast<std::size_t>(tuning) / std::max<std::size_t>(1, problem.logits.size() / 8);
      const Method method = method_for(task.name, problem, task.tau.value_or(1.0));
      rows.push_back({measure(method, problem.f, problem.logits, options), &problem, task.tau});
      progress.step();
    }
    options.exact = std::nullopt;
    for (std::size_t i = 0; i < families.size(); ++i)
      for (int setting : families[i].settings) {
        const auto n = static_cast<std::size_t>(setting);
        const Method method = i == 0   ? rloo(n)
                              : i == 1 ? unordered_set(n)
                              : i == 2 ? sum_and_sample(n)
                                       : Method(gumbel_rao(kBudgetTau, n));
        families[i].measures.push_back(measure(method, budgeted->f, budgeted->logits, options));
        progress.step();
      }
    progress.finish();

    auto& json = program.json;
    json["draws"] = options.draws;
    json["rows"] = nlohmann::ordered_json::array();
    for (const Row& row : rows) json["rows"].push_back(json_of(row));

    std::cout
        << "Errors of one estimate, relative to the exact gradient's norm (mse: its square), "
        << options.draws
        << " draws.\nWithout ± a bias is summed over all choices, not drawn; a drawn one within a "
           "few errors of 0 is none.\n\"mse at 100\" is that of the mean of as many estimates as "
           "100 evaluations of f (column f) and backward\npasses (f') buy; each rule is shown at "
           "the "
           "temperature where that is least"
        << (every_tau ? ", then at all" : "")
        << ". nvil, rebar and relax have\nlearned before. nvil's mean is the gradient over its "
           "scale, vimco's is that of its own bound.\n* the least error of its kind at that "
           "budget, "
           "among those that evaluate f less often than enumeration.\n";
    Table summary({"problem", "score function", "leave-one-out", "best unbiased", "its error",
                   "best biased", "its error "});
    for (const Problem& problem : problems) {
      const std::vector<const Row*> sorted = best_of_each(rows, problem);
      const Row *unbiased = best_of(sorted, "unbiased"), *biased = best_of(sorted, "biased");
      Table table = table_of_estimators();
      for (const Row* row : sorted) add(table, *row, row == unbiased || row == biased);
      std::cout << "\n" << problem.title() << "   " << problem.about << "\n\n";
      program.print(table);
      if (every_tau) {
        Table all = table_of_estimators();
        for (const Row& row : rows)
          if (row.problem == &problem && row.tau) add(all, row);
        std::cout << "\n";
        program.print(all);
      }
      const auto error = [&](const char* name) {
        for (const Row* row : sorted)
          if (row->m.rule == name) return with_bar(row->at_budget(), 0);
        return Cell("");
      };
      summary.row({problem.title(), error("score-function"), error("score-function+leave-one-out"),
                   named(unbiased), unbiased ? with_bar(unbiased->at_budget(), 0) : Cell(""),
                   named(biased), biased ? with_bar(biased->at_budget(), 0) : Cell("")});
    }
    std::cout
        << "\nMean squared errors at a budget of 100 evaluations and backward passes. The best are "
           "of those that evaluate\nf less often than enumeration, K times, or once for each "
           "subset; for K = 2 "
           "leave-one-out, with its four, is none of them.\n\n";
    program.print(summary);

    json["budget"] = nlohmann::ordered_json::array();
    for (const Family& family : families)
      for (std::size_t i = 0; i < family.measures.size(); ++i) {
        nlohmann::ordered_json row = json_of(
            {family.measures[i], &*budgeted,
             family.measures[i].rule == "gumbel-rao" ? std::optional(kBudgetTau) : std::nullopt});
        row["setting"] = family.settings[i];
        json["budget"].push_back(row);
      }
    say_what_to_see(rows, problems);
    if (program.out.empty()) return;
    write_csv(rows, program.out + "/estimators.csv");
    if (families.empty()) return;
    program.show(bias_against_spread(rows, *budgeted), "estimators_bias_variance");
    program.show(unbiased_spread(rows, *budgeted), "estimators_unbiased");
    program.show(error_against_budget(rows, *budgeted, families), "estimators_budget");
  });
}
