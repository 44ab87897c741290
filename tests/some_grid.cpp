// A small grid of trainings for tests/grid.py: networks on the digits, with hard choices in
// between.
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/grid.hpp"

using namespace argtape;
using argtape_examples::Grid;
using argtape_examples::Training;

namespace {

class Network : public Training {
 public:
  Network(const Dataset& digits, std::string rule, std::uint64_t seed, std::size_t steps)
      : digits_(digits), rule_(std::move(rule)), steps_(steps), rng_(seed) {
    if (rule_ == "broken")
      throw std::invalid_argument("some_grid: the rule is broken; need another");
    mlp_ = std::make_unique<Mlp>(std::vector<std::size_t>{64, 10, 10}, rng_);
  }

  Did step(bool may_train) override {
    if (may_train && step_ < steps_) return train();
    if (measured_ == kPieces) return Did::finished;
    Tape tape;
    sum_ += static_cast<double>(loss(tape.borrow_parameters(mlp_->parameters), 100).item());
    ++measured_;
    return Did::evaluated;
  }

  double progress() const override {
    return static_cast<double>(step_ + measured_) / static_cast<double>(steps_ + kPieces);
  }

  void archive(Archive& a) override {
    a("weights", mlp_->parameters);
    a("adam", adam_);
    a("rng", rng_);
    a("step", step_);
    a("measured", measured_);
    a("sum", sum_);
    a("curve", curve_);
  }

  void save(Archive& a) override { a.things(*mlp_); }

  nlohmann::ordered_json result() override {
    std::vector<std::uint32_t> weights;
    for (const Tensor& w : mlp_->parameters) weights.push_back(checksum(w));
    return {{"rule", rule_}, {"loss", sum_ / kPieces}, {"weights", weights}, {"curve", curve_}};
  }

 private:
  static constexpr std::size_t kPieces = 3;

  Did train() {
    Tape tape;
    const std::vector<Var> on_tape = tape.borrow_parameters(mlp_->parameters);
    const Var cost = loss(on_tape, 200);
    curve_.push_back(static_cast<double>(cost.item()));
    adam_.step(mlp_->parameters, on_tape, cost);
    ++step_;
    return Did::trained;
  }

  Var loss(const std::vector<Var>& on_tape, std::size_t n) {
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < n; ++i) rows.push_back(rng_.below(digits_.size()));
    const Dataset batch = take(digits_, rows);
    const Var logits = (*mlp_)(on_tape, on_tape[0].tape->constant(batch.images));
    const Rule rule = rule_ == "gumbel" ? gumbel_softmax(1) : straight_through();
    return mean(zero_one_loss_squared(sample(logits, rule, rng_), batch.labels));
  }

  const Dataset& digits_;
  std::string rule_;
  std::size_t steps_, step_ = 0, measured_ = 0;
  Rng rng_;
  std::unique_ptr<Mlp> mlp_;
  Adam adam_{1e-2};
  double sum_ = 0;
  std::vector<double> curve_;
};

}  // namespace

int main(int argc, char** argv) {
  argtape_examples::Program program("some_grid", "a small grid, for the tests");
  Grid grid(program);
  std::vector<std::string> rules;
  double rate = 1;
  program.option("--rate", rate, "a setting");
  grid.list("--rules", rules, {"gumbel", "st", "broken"}, "which rules to compare");
  return program.run(argc, argv, [&] {
    set_threads(program.threads);
    const Dataset digits = argtape_examples::digits_in(program.data);
    const std::size_t steps = grid.steps(300, 30);
    for (const std::string& rule : rules)
      for (const std::uint64_t seed : grid.seeds())
        grid.add("net/" + rule + "/" + std::to_string(seed),
                 [=, &digits] { return std::make_unique<Network>(digits, rule, seed, steps); });
    argtape_examples::Table table({"cell", "loss"});
    auto& json = program.json;
    const nlohmann::ordered_json like = {
        {"rule", ""}, {"loss", 0.0}, {"weights", {0, 0, 0, 0}}, {"curve", {0.0}}};
    for (const Grid::Row& row : grid.run({{"data", digits.name},
                                          {"digits", checksum(digits.images)},
                                          {"steps", steps},
                                          {"rate", rate}},
                                         [&](const std::string&) { return like; })) {
      table.row({row.cell, row.result.at("loss").get<double>()});
      json["rows"].push_back(row.result);
    }
    table.print();
  });
}
