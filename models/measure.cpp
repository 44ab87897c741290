#include "models/measure.hpp"

#include <chrono>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

double microseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

double norm(const std::vector<double>& v) {
  double squares = 0;
  for (double x : v) squares += x * x;
  return std::sqrt(squares);
}

// Mean and standard error of numbers that come one by one.
struct Average {
  double sum = 0, squares = 0;
  std::size_t n = 0;
  void add(double x) {
    sum += x;
    squares += x * x;
    ++n;
  }
  double mean() const { return sum / static_cast<double>(n); }
  double se() const {
    const double m = static_cast<double>(n);
    return n < 2 ? 0 : std::sqrt(std::max(0.0, squares / m - mean() * mean()) / (m - 1));
  }
};

Shape with_leading(const std::vector<std::size_t>& lead, const Shape& shape) {
  std::vector<std::size_t> all = lead;
  all.insert(all.end(), shape.begin(), shape.end());
  return Shape(all.begin(), all.end());
}

}  // namespace

Tensor exact_gradient(const Cost& f, const Tensor& logits) {
  Tape tape;
  const Var l = tape.parameter(reshaped(logits, with_leading({1}, logits.shape())));
  return reshaped(backward(expectation(l, f))[l], logits.shape());
}

namespace {
// What rounding alone makes of an exact gradient that is zero.
double rounding(const Cost& f, const Tensor& logits) {
  Tape tape;
  const Var l = tape.constant(reshaped(logits, with_leading({1}, logits.shape())));
  const double size = static_cast<double>(expectation(l, [&](Var z) { return abs(f(z)); }).item());
  return 8 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) * size;
}
}  // namespace

Measure measure(const Rule& rule, const Cost& f, const Tensor& logits,
                const MeasureOptions& options) {
  const std::size_t repeats = rule.needs_repeats ? options.repeats : 1, size = logits.size();
  if (options.draws < repeats || options.batch < repeats || options.draws == 0)
    throw std::invalid_argument("measure: draws are " + std::to_string(options.draws) +
                                ", in batches of " + std::to_string(options.batch) + ", repeats " +
                                std::to_string(repeats) +
                                "; need at least one estimate in a batch");
  const Tensor exact = exact_gradient(f, logits);
  std::vector<double> truth(exact.begin(), exact.end());
  const double scale = norm(truth);
  if (!(scale > rounding(f, logits)))
    throw std::invalid_argument("measure: the exact gradient is zero; need one to measure against");

  Measure m;
  m.rule = rule.name;
  Rng rng(options.seed, 0, 1);  // not the stream that the caller may have made the problem with
  std::vector<std::vector<double>> estimates;
  Counts counts;
  double elapsed = 0;
  std::size_t drawn = 0;
  try {
    while (drawn + repeats <= options.draws) {
      const std::size_t batch = std::min(options.batch, options.draws - drawn) / repeats;
      const Shape shape = with_leading(rule.needs_repeats ? std::vector<std::size_t>{repeats, batch}
                                                          : std::vector<std::size_t>{batch},
                                       logits.shape());
      Tensor noise = rng.gumbel(shape), many = broadcast_to(logits, shape);
      const auto start = std::chrono::steady_clock::now();
      Tape tape;
      const Var l = tape.parameter(std::move(many)),
                z = sample(l, rule, tape.constant(std::move(noise)));
      const Var cost = evaluate(f, z);
      const Shape each = with_leading(rule.needs_repeats ? std::vector<std::size_t>{repeats, batch}
                                                         : std::vector<std::size_t>{batch},
                                      {});
      if (cost.shape() != each)
        throw std::invalid_argument("measure: the choices are " + str(z.shape()) +
                                    ", the cost is " + str(cost.shape()) +
                                    "; need one number an example, " + str(each));
      const Gradients gradients = backward(cost);
      const Tensor& g = gradients[l];
      elapsed += microseconds_since(start);
      counts.evaluations += tape.counts.evaluations;
      counts.backwards += tape.counts.backwards;
      counts.solver_calls += tape.counts.solver_calls;
      drawn += batch * repeats;
      for (std::size_t b = 0; b < batch; ++b) {
        std::vector<double> estimate(size, 0);
        for (std::size_t r = 0; r < repeats; ++r)
          for (std::size_t i = 0; i < size; ++i)
            estimate[i] += static_cast<double>(g.data()[(r * batch + b) * size + i]) /
                           static_cast<double>(repeats);
        estimates.push_back(std::move(estimate));
      }
    }
  } catch (const NoPath& refusal) {
    m.refusal = refusal.what();
    return m;
  }

  const double n = static_cast<double>(estimates.size());
  std::vector<double> mean(size, 0), off(size);
  for (const auto& g : estimates)
    for (std::size_t i = 0; i < size; ++i) mean[i] += g[i] / n;
  for (std::size_t i = 0; i < size; ++i) off[i] = mean[i] - truth[i];
  Average spread, error, cosine;
  for (const auto& g : estimates) {
    double around_mean = 0, around_truth = 0, along = 0;
    for (std::size_t i = 0; i < size; ++i) {
      around_mean += (g[i] - mean[i]) * (g[i] - mean[i]);
      around_truth += (g[i] - truth[i]) * (g[i] - truth[i]);
      along += g[i] * truth[i];
    }
    spread.add(around_mean);
    error.add(around_truth);
    const double length = norm(g);
    cosine.add(length > 0 ? along / (length * scale) : 0);
  }
  m.bias = norm(off) / scale;
  m.bias_se = std::sqrt(spread.mean() / n) / scale;
  m.std = std::sqrt(spread.mean()) / scale;
  m.std_se = spread.mean() > 0 ? spread.se() / (2 * std::sqrt(spread.mean())) / scale : 0;
  m.mse = error.mean() / (scale * scale);
  m.mse_se = error.se() / (scale * scale);
  m.cosine = cosine.mean();
  m.cosine_se = cosine.se();
  // Several choices made together count once.
  const double choices = static_cast<double>(size / logits.shape()[logits.dimension() - 1]);
  m.evaluations = static_cast<double>(counts.evaluations) / n;
  m.backwards = static_cast<double>(counts.backwards) / n / choices;
  m.solver_calls = static_cast<double>(counts.solver_calls) / n;
  m.microseconds = elapsed / static_cast<double>(drawn);
  return m;
}

Measure measure_exact(const Cost& f, const Tensor& logits) {
  const auto start = std::chrono::steady_clock::now();
  Tape tape;
  const Var l = tape.parameter(reshaped(logits, with_leading({1}, logits.shape())));
  backward(expectation(l, f));
  Measure m;
  m.rule = "exact";
  m.cosine = 1;
  m.evaluations = static_cast<double>(tape.counts.evaluations);
  m.microseconds = microseconds_since(start);
  return m;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
