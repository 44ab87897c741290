// One choice among K categories, one cost, many draws: what each rule's gradient is worth beside
// the exact one.
#include <cmath>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

// The cost f of a one-hot z in R^K; t is a random point. On one-hot choices all four have K values;
// they differ in what they look like in between, which is all that a pathwise rule sees.
Cost cost_named(const std::string& name, const Tensor& t) {
  if (name == "linear") return [=](Var z) { return sum(z.tape->constant(t) * z, -1); };
  if (name == "quadratic") return [=](Var z) { return sum(square(z - z.tape->constant(t)), -1); };
  if (name == "zero-one") return [](Var z) { return 1 - sum(slice(z, 0, 1, -1), -1); };
  if (name == "black-box")
    return [=](Var z) {
      return black_box(
          [&](const std::vector<Tensor>& v) {
            Tape outside;
            const Var z = outside.constant(v[0]);
            return Tensor(sum(square(z - outside.constant(t)), -1).value());
          },
          z);
    };
  throw WrongCall("--cost is '" + name + "'; need linear, quadratic, zero-one or black-box");
}

// The rules of the lesson; 05_estimators has them all.
const std::vector<std::string> kRules = {"zero",
                                         "score-function",
                                         "score-function+mean",
                                         "score-function+leave-one-out",
                                         "straight-through",
                                         "straight-through-identity",
                                         "gumbel-softmax",
                                         "st-gumbel-softmax",
                                         "reinmax"};

// An error bar, unless it is smaller than float can tell.
Cell with_bar(double value, double error) {
  return error > 1e-6 ? Cell(value, error) : Cell(value);
}

}  // namespace

int main(int argc, char** argv) {
  Program program("02_argmax_gradients",
                  "what each rule's gradient through one random choice is worth");
  int categories = 5, draws = 10000, repeats = 4;
  double tau = 1;
  std::string cost = "quadratic";
  program.option("--categories", categories, "K, the number of categories", 2);
  program.option("--draws", draws, "how many draws; all rules see the same noise", 8);
  program.option(
      "--cost", cost,
      "linear, quadratic, zero-one (1 unless the first category is chosen) or black-box");
  program.option("--temperature", tau, "of the rules that have one; reinmax takes at least 1");
  program.option("--repeats", repeats,
                 "samples in one leave-one-out estimate, counted among the draws", 2);
  return program.run(argc, argv, [&] {
    if (!(tau >= 1e-20 && tau <= 1e20))
      throw WrongCall("--temperature must be at least 1e-20, and at most 1e20");
    set_threads(program.threads);
    Rng rng(program.seed);
    const auto k = static_cast<std::size_t>(categories);
    const Tensor logits = rng.normal({k}), t = rng.normal({k});
    const Cost f = cost_named(cost, t);
    MeasureOptions options;
    options.draws = static_cast<std::size_t>(program.quick ? std::min(draws, 1000) : draws);
    options.seed = program.seed;
    options.repeats = static_cast<std::size_t>(repeats);
    options.batch = std::max<std::size_t>(100, options.repeats);
    const Tensor exact = exact_gradient(f, logits);

    std::vector<Measure> measures = {measure_exact(f, logits)};
    Progress progress("measuring", kRules.size());
    for (const std::string& name : kRules) {
      const double own = name == "reinmax" ? std::max(tau, 1.0) : tau;
      measures.push_back(measure(rule_named(name, own), f, logits, options));
      progress.step();
    }
    progress.finish();
    std::swap(measures[0], measures[1]);  // zero first, then what is right

    std::cout
        << "logits          " << str(logits) << "\nexact gradient  " << str(exact) << "\n"
        << cost << " cost, " << options.draws
        << " draws; errors are relative to the exact gradient's norm, ± one standard error\n\n";
    Table table({"rule", "bias", "std", "mse", "cosine", "evaluations", "backwards", "us a draw"});
    auto& json = program.json;
    json["categories"] = categories;
    json["cost"] = cost;
    json["draws"] = options.draws;
    json["exact"] = std::vector<double>(exact.begin(), exact.end());
    json["rules"] = nlohmann::ordered_json::array();
    std::vector<std::string> refusals;
    for (const Measure& m : measures) {
      if (!m.refusal.empty()) {
        refusals.push_back(m.refusal);
        table.row({m.rule, "refuses", "", "", "", "", "", ""});
        json["rules"].push_back({{"rule", m.rule}, {"refusal", m.refusal}});
        continue;
      }
      table.row({m.rule, with_bar(m.bias, m.bias_se), with_bar(m.std, m.std_se),
                 with_bar(m.mse, m.mse_se), with_bar(m.cosine, m.cosine_se), m.evaluations,
                 m.backwards, m.rule == "exact" ? Cell("") : Cell(m.microseconds)});
      json["rules"].push_back({{"rule", m.rule},
                               {"bias", m.bias},
                               {"bias_se", m.bias_se},
                               {"std", m.std},
                               {"std_se", m.std_se},
                               {"mse", m.mse},
                               {"mse_se", m.mse_se},
                               {"cosine", m.cosine},
                               {"cosine_se", m.cosine_se},
                               {"evaluations", m.evaluations},
                               {"backwards", m.backwards},
                               {"microseconds", m.microseconds}});
    }
    program.print(table, "argmax_gradients");
    if (!refusals.empty())
      std::cout << "\n"
                << refusals.size() << " rules refuse; the first says\n  " << refusals[0] << "\n";
    Picture picture("Gradients through one argmax (" + cost + " cost, " +
                        std::to_string(categories) + " categories)",
                    "bias / norm of the exact gradient",
                    "standard deviation / norm of the exact gradient");
    picture.rings = picture.x.log = picture.y.log = true;
    picture.x.unit = picture.y.unit = 0.5;
    for (const Measure& m : measures)
      if (m.refusal.empty()) picture.points(m.rule, {m.bias}, {m.std}, {m.std_se}, {m.bias_se});
    program.explain(
        "A rule's error on one draw has two parts. The bias stays however many draws are averaged; "
        "the "
        "standard deviation falls with the root of their number. The arcs join what has the same "
        "mean "
        "squared error on one draw. The score function and reinmax have no bias that this many "
        "draws could "
        "tell from 0 where the cost is quadratic, at the price of spread; the pathwise rules "
        "spread little, "
        "and a few of them are far off.");
    program.show(picture, "argmax_gradients_bias_variance");
  });
}
