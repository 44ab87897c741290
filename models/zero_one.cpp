#include "models/zero_one.hpp"

#include <algorithm>
#include <chrono>

#include "engine/report.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "models/training/classification.hpp"
#include "models/training/optimisers.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// The class with the largest output for each row of images.
std::vector<std::size_t> predictions(const Mlp& network, const Tensor& images) {
  Tape tape;
  std::vector<Var> weights;
  for (const Tensor& p : network.parameters) weights.push_back(tape.borrow_constant(p));
  return indices_of(argmax(network(weights, tape.borrow_constant(images)), zero()));
}

// The cost of one batch, under each method.
using BatchCost = std::function<Var(Var logits, const std::vector<std::size_t>& labels,
                                    std::size_t step, Rng& rng)>;

BatchCost batch_cost(const std::string& method, const ZeroOneSettings& settings,
                     std::size_t steps) {
  if (method == "exact")
    return [](Var logits, const std::vector<std::size_t>& labels, std::size_t, Rng&) {
      return zero_one_loss(softmax(logits), labels);
    };
  if (method == "cross-entropy")
    return [](Var logits, const std::vector<std::size_t>& labels, std::size_t, Rng&) {
      return cross_entropy(logits, labels);
    };
  if (method == "straight-through-identity")
    return [](Var logits, const std::vector<std::size_t>& labels, std::size_t, Rng&) {
      return zero_one_loss_squared(argmax(logits, straight_through_identity()), labels);
    };
  const Rule rule = method == "gumbel-softmax" ? gumbel_softmax(linear_decay(1.0, 0.1, steps))
                                               : rule_named(method);
  const bool draws = rule.needs_draw || method == "gumbel-softmax" ||
                     method == "st-gumbel-softmax" || method == "reinmax";
  const std::size_t repeats = settings.repeats;
  return [=](Var logits, const std::vector<std::size_t>& labels, std::size_t step, Rng& rng) {
    if (!draws) return zero_one_loss(argmax(logits, rule.at(step)), labels);
    if (!rule.needs_multiple_samples)
      return zero_one_loss(sample(logits, rule.at(step), rng), labels);
    const Var many = broadcast(logits, {repeats, logits.shape()[0], logits.shape()[1]});
    return zero_one_loss(sample(many, rule.at(step), rng), labels) / static_cast<double>(repeats);
  };
}

}  // namespace

namespace {
Var one_hot_for(Var choice, const std::vector<std::size_t>& labels) {
  const Shape& shape = choice.shape();
  if (shape.size() < 2 || shape[shape.size() - 2] != labels.size())
    refuse("zero_one_loss: choices are ", shape, ", labels are ", labels.size(),
           "; need (..., n, K) and n labels");
  return choice.tape->constant(one_hot(labels, shape[shape.size() - 1]), "labels");
}
}  // namespace

Var zero_one_loss(Var choice, const std::vector<std::size_t>& labels) {
  return 1 - sum(choice * one_hot_for(choice, labels), -1);
}

Var zero_one_loss_squared(Var choice, const std::vector<std::size_t>& labels) {
  return sum(squared_error(choice, one_hot_for(choice, labels)), -1) / 2;
}

std::vector<std::string> zero_one_methods() {
  return {"zero",
          "exact",
          "score-function",
          "score-function+mean",
          "score-function+leave-one-out",
          "straight-through",
          "straight-through-identity",
          "gumbel-softmax",
          "st-gumbel-softmax",
          "reinmax",
          "cross-entropy"};
}

ZeroOneRun train_zero_one(const Split& data, const std::string& method,
                          const ZeroOneSettings& settings, const std::function<void()>& progress) {
  Rng rng(settings.seed);
  Mlp network({data.train.images.shape()[1], settings.hidden, data.train.classes}, rng);
  return train_zero_one(data, method, settings, network, progress);
}

ZeroOneRun train_zero_one(const Split& data, const std::string& method,
                          const ZeroOneSettings& settings, Mlp& network,
                          const std::function<void()>& progress) {
  require(settings.epochs > 0 && settings.batch > 0 && settings.repeats > 0,
          "train_zero_one: epochs, batch and repeats are ", settings.epochs, ", ", settings.batch,
          ", ", settings.repeats, "; need at least 1 of each");
  // Streams of their own: every method sees the same batches, whatever it draws.
  Rng order(settings.seed, 0, 1), noise(settings.seed, 0, 2);
  const std::size_t steps = settings.epochs * (data.train.size() / settings.batch);
  const BatchCost cost = batch_cost(method, settings, steps);
  const std::vector<Tensor> start = network.parameters;
  Adam adam(settings.rate);

  ZeroOneRun run;
  run.rule = method;
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::size_t> predicted;
  for (std::size_t epoch = 0; epoch < settings.epochs; ++epoch) {
    for (const std::vector<std::size_t>& rows : Batches(data.train.size(), settings.batch, order)) {
      const Dataset batch = take(data.train, rows);
      Tape tape;
      const std::vector<Var> weights = tape.borrow_parameters(network.parameters);
      const Var logits = network(weights, tape.borrow_constant(batch.images, "images"));
      // The mean over the batch, but kept as one cost an example.
      const Var loss =
          cost(logits, batch.labels, run.steps, noise) / static_cast<double>(settings.batch);
      if (run.steps == 0) run.stop_report = str(stop_report(loss, weights));
      adam.step(network.parameters, weights, loss);
      ++run.steps;
      if (progress) progress();
    }
    predicted = predictions(network, data.test.images);
    run.by_epoch.push_back(accuracy(predicted, data.test.labels));
  }
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  predicted = predictions(network, data.test.images);
  run.test_accuracy = accuracy(predicted, data.test.labels);
  run.train_accuracy = accuracy(predictions(network, data.train.images), data.train.labels);
  run.confusion = confusion_matrix(predicted, data.test.labels, data.test.classes);
  for (std::size_t c = 0; c < data.test.classes; ++c)
    if (std::count(predicted.begin(), predicted.end(), c) == 0) run.never_predicted.push_back(c);
  for (std::size_t i = 0; i < start.size(); ++i)
    run.moved = run.moved || !identical(start[i], network.parameters[i]);
  return run;
}

ARGTAPE_END
