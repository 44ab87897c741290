// A digit classifier trained on the 0/1 loss itself, through argmax, under every rule.
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

int main(int argc, char** argv) {
  Program program("03_zero_one_loss",
                  "a digit classifier trained on the 0/1 loss itself, under every rule");
  int epochs = 0, hidden = 256, batch = 128;
  double rate = 1e-3;
  std::string only;
  program.takes_digits();
  program.option("--epochs", epochs,
                 "passes over the training digits; 0: about 1,240 steps, or 620 with --quick", 0);
  program.option("--hidden", hidden, "hidden units");
  program.option("--batch", batch, "digits in a step");
  program.option("--rate", rate, "Adam's");
  program.option("--rule", only, "just this rule");
  return program.run(argc, argv, [&] {
    if (!(rate > 0)) throw WrongCall("--rate must be more than 0");
    set_threads(program.threads);
    std::vector<std::string> methods = zero_one_methods();
    if (!only.empty()) {
      if (std::find(methods.begin(), methods.end(), only) == methods.end()) {
        std::string all;
        for (const std::string& m : methods) all += " " + m;
        throw WrongCall("--rule is '" + only + "'; need one of" + all);
      }
      methods = {only};
    }
    const Dataset digits = digits_in(program.data);
    const Split data = split(digits, default_train_size(digits));
    ZeroOneSettings settings;
    settings.hidden = static_cast<std::size_t>(hidden);
    settings.batch = static_cast<std::size_t>(batch);
    settings.rate = rate;
    settings.seed = program.seed;
    if (settings.batch > data.train.size())
      throw WrongCall("--batch is larger than the " + std::to_string(data.train.size()) +
                      " training digits");
    const std::size_t steps = data.train.size() / settings.batch;  // in an epoch
    settings.epochs = epochs > 0 ? static_cast<std::size_t>(epochs)
                                 : std::max<std::size_t>(1, (program.quick ? 620 : 1240) / steps);

    Progress progress("training", methods.size() * settings.epochs * steps);
    std::vector<ZeroOneRun> runs;
    for (const std::string& m : methods) {
      std::size_t step = 0;
      try {
        runs.push_back(train_zero_one(data, m, settings, [&] { progress.step(), ++step; }));
      } catch (const std::invalid_argument& e) {
        throw std::runtime_error(e.what() + program.advice(step, "--rate"));
      }
    }

    progress.finish();

    std::cout << digits.name << ": " << data.train.size() << " digits to train on, "
              << data.test.size() << " to test with; " << runs[0].steps << " steps\n\n";
    Table table({"rule", "test accuracy", "train accuracy", "seconds"});
    auto& json = program.json;
    json["data"] = digits.name;
    json["train"] = data.train.size();
    json["test"] = data.test.size();
    json["rules"] = nlohmann::ordered_json::array();
    Picture picture("0/1 loss through argmax, " + digits.name, "epoch", "test error");
    picture.y.log = true;
    for (const ZeroOneRun& run : runs) {
      table.row({run.rule, run.test_accuracy, run.train_accuracy, run.seconds});
      json["rules"].push_back({{"rule", run.rule},
                               {"test_accuracy", run.test_accuracy},
                               {"train_accuracy", run.train_accuracy},
                               {"steps", run.steps},
                               {"seconds", run.seconds},
                               {"moved", run.moved},
                               {"never_predicted", run.never_predicted}});
      std::vector<double> epoch, error;
      for (double accuracy : run.by_epoch) {
        error.push_back(1 - accuracy);
        epoch.push_back(static_cast<double>(error.size()));
      }
      // One run drawn over the other would hide it.
      const bool same = run.rule == "straight-through" && runs.size() > 1 &&
                        runs[1].rule == "exact" && run.by_epoch == runs[1].by_epoch;
      if (!same) picture.line(run.rule, epoch, error);
      if (same) picture.series[1].name = "exact, and straight-through";
    }
    program.print(table, "zero_one_loss");
    for (const ZeroOneRun& run : runs) {
      if (run.rule == "zero")
        std::cout << "\nWhy the zero rule learns nothing"
                  << (run.moved ? "" : " (every weight is what it was, bit for bit)") << ":\n"
                  << run.stop_report;
      if (run.rule == "straight-through-identity")
        std::cout
            << "\nstraight-through-identity trains on |choice - label|^2 / 2, the same loss "
               "on every choice: passed on as it is, the\n"
               "gradient of 1 - choice[label] itself is the same whatever was chosen, and would "
               "teach nothing.\n";
      if (run.rule == "zero" || run.never_predicted.empty()) continue;
      std::string classes;
      for (std::size_t c : run.never_predicted) classes += " " + std::to_string(c);
      std::cout << "\n" << run.rule << " never predicts" << classes << ".\n";
      if (run.rule != "cross-entropy")
        std::cout << "The 0/1 loss has such traps: what is never predicted has a small probability "
                     "p, and "
                     "its logit's gradient\nis p (1 - p). How many runs end in one is a matter of "
                     "the data "
                     "and the rule; a longer run may leave it.\n";
    }
    program.show(picture, "zero_one_loss_error");
  });
}
