// A network learns to sort: a row of logits for each number, a matching, and a rule behind it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

// Beyond so many numbers a run of all rules takes minutes, and most of them learn nothing.
constexpr int kManyNumbers = 15;
const std::vector<std::string> kForManyNumbers = {"straight-through-sinkhorn", "gumbel-sinkhorn",
                                                  "st-gumbel-sinkhorn", "neural-sort", "soft-sort"};

std::string interval(const SortingScore& s) {
  return "U(" + argtape_examples::number(s.low) + "," + argtape_examples::number(s.high) + ")";
}

}  // namespace

int main(int argc, char** argv) {
  Program program("07_sort_numbers",
                  "a network learns to sort, through a matching, under every rule");
  SortingSettings settings;
  int n = kManyNumbers, steps = 0, batch = static_cast<int>(settings.batch),
      hidden = static_cast<int>(settings.hidden), iterations = 0, lists = 0;
  double tolerance = 1e-2;
  std::string only;
  program.option("--n", n, "numbers in a list");
  program.option("--steps", steps, "training steps; 0: 500, or 200 with --quick", 0);
  program.option("--batch", batch, "lists in a step");
  program.option("--hidden", hidden, "hidden units");
  program.option("--rate", settings.rate, "Adam's, at the start; it falls to 0");
  program.option("--temperature", settings.tau, "of Sinkhorn's operator, and of the peers");
  program.option("--tolerance", tolerance, "how near to 1 Sinkhorn's operator brings all sums");
  program.option("--iterations", iterations, "its iterations; 0: as many as the tolerance takes",
                 0);
  program.option("--lambda", settings.lambda, "of blackbox and i-mle");
  program.option("--lists", lists, "unseen lists from each interval; 0: 500, or 100 with --quick",
                 0);
  program.option("--rule", only,
                 "just this rule; 'all': all; default: all, but for more than " +
                     std::to_string(kManyNumbers) + " numbers those of Sinkhorn and the peers");
  return program.run(argc, argv, [&] {
    if (!(settings.rate > 0)) throw WrongCall("--rate must be more than 0");
    if (!(settings.tau > 0)) throw WrongCall("--temperature must be more than 0");
    if (!(settings.lambda > 0)) throw WrongCall("--lambda must be more than 0");
    if (!(tolerance >= 1e-5 && tolerance < 1))
      throw WrongCall("--tolerance must be at least 1e-05 and less than 1");
    std::vector<std::string> methods = sorting_methods();
    if (only.empty() && n > kManyNumbers) methods = kForManyNumbers;
    if (!only.empty() && only != "all") {
      if (std::find(methods.begin(), methods.end(), only) == methods.end())
        throw WrongCall("--rule is '" + only + "'; need one of all, " + joined(methods));
      methods = {only};
    }
    set_threads(program.threads);
    settings.hidden = static_cast<std::size_t>(hidden);
    settings.batch = static_cast<std::size_t>(batch);
    settings.steps = static_cast<std::size_t>(steps > 0 ? steps : program.quick ? 200 : 500);
    settings.seed = program.seed;
    if (iterations > 0)
      settings.far = static_cast<std::size_t>(iterations);
    else
      settings.far = Converge{tolerance, 300};
    const auto unseen = static_cast<std::size_t>(lists > 0 ? lists : program.quick ? 100 : 500);

    Progress progress("training", methods.size() * settings.steps);
    std::vector<SortingRun> runs;
    double seconds = 0;
    for (const std::string& m : methods) {
      std::size_t step = 0;
      try {
        runs.push_back(train_sorting(static_cast<std::size_t>(n), m, settings, unseen,
                                     [&] { progress.step(), ++step; }));
      } catch (const std::invalid_argument& e) {
        throw std::runtime_error(e.what() +
                                 program.advice(step, "--rate", {"--temperature", "--lambda"}));
      }
      seconds += runs.back().seconds;
    }
    progress.finish();

    std::cout << n << " numbers, trained on lists from U(0,1) for " << settings.steps
              << " steps of " << batch << "; " << unseen
              << " unseen lists from each interval\n"
                 "wrong: places with a wrong number; the rest: lists with any\n\n";
    std::vector<std::string> headers = {"rule", "wrong"};
    for (const SortingScore& s : runs[0].scores) headers.push_back(interval(s));
    headers.push_back("seconds");
    Table table(headers);
    auto& json = program.json;
    json["n"] = n;
    json["steps"] = settings.steps;
    json["seconds"] = seconds;
    json["rules"] = nlohmann::ordered_json::array();
    Picture picture("Squared error of a sorted list, " + std::to_string(n) + " numbers", "step",
                    "mean over lists");
    picture.y.log = true;
    picture.y.unit = 1e-6;  // what is below is right
    for (const SortingRun& run : runs) {
      std::vector<Cell> row = {run.rule, run.scores[0].wrong};
      auto intervals = nlohmann::ordered_json::array();
      for (const SortingScore& s : run.scores) {
        row.push_back(s.any);
        intervals.push_back({{"interval", interval(s)}, {"wrong", s.wrong}, {"any", s.any}});
      }
      row.push_back(run.seconds);
      table.row(row);
      json["rules"].push_back({{"rule", run.rule},
                               {"intervals", intervals},
                               {"seconds", run.seconds},
                               {"residual", run.residual},
                               {"loss", run.loss}});
      std::vector<double> step(run.loss.size());
      for (std::size_t i = 0; i < step.size(); ++i)
        step[i] = static_cast<double>((i + 1) * run.steps) / static_cast<double>(step.size());
      picture.line(run.rule, step, run.loss);
    }
    program.print(table, "sort_numbers");
    std::string elsewhere;
    for (const SortingRun& run : runs) {
      const auto worst = std::max_element(
          run.scores.begin(), run.scores.end(),
          [](const SortingScore& a, const SortingScore& b) { return a.any < b.any; });
      if (run.scores[0].any <= 0.01 && worst->any >= 0.5)
        elsewhere += (elsewhere.empty() ? " " : ", ") + run.rule + " (" + interval(*worst) + ")";
    }
    if (!elsewhere.empty())
      std::cout << "\nRight where they were trained, and wrong in half of the lists or more from "
                   "another interval:"
                << elsewhere << ".\n";
    Tape tape;
    const double tau = 0.01;
    const Var tied = sinkhorn(tape.constant(zeros({2, 2})), tau, Converge{1e-5, 300});
    std::cout
        << "\nSinkhorn's operator makes a matrix doubly stochastic: all rows and columns sum "
           "to 1. As tau falls it goes to\nthe best permutation, but where several are equally "
           "good, to a mean of them:\nS({{0, 0}, {0, 0}} / "
        << argtape_examples::number(tau) << ") is " << str(tied.value()) << ".\n";
    for (const SortingRun& run : runs) {
      if (run.rule != "gumbel-sinkhorn") continue;
      std::cout << "\nSinkhorn's operator left sums up to "
                << argtape_examples::number(run.residual) << " off 1.\n";
      if (run.residual > 0.05)
        std::cout << "So far from doubly stochastic it teaches many numbers badly: raise "
                     "--iterations, or let --tolerance\ndecide (--iterations 0).\n";
    }
    program.explain(
        "The network gives each number a score for each place, and a matching puts the numbers in "
        "their "
        "places; what its gradient is, is the rule's to say. A network that has learned to sort is "
        "right on "
        "lists from other intervals too; one that has learned its interval is not.");
    program.show(picture, "sort_numbers_loss");
  });
}
