#include "models/measure.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/subsets.hpp"
#include "ops/shape.hpp"
#include "ops/top_k.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

double microseconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
      .count();
}

constexpr double kEpsilon = std::numeric_limits<Scalar>::epsilon();

double norm(const std::vector<double>& v) {
  double squares = 0;
  for (double x : v) squares += x * x;
  return std::sqrt(squares);
}

// Mean and standard error of numbers that come one by one, with weights that sum to 1.
struct Average {
  double mean = 0, squares = 0;
  std::size_t n = 0;
  void add(double x, double weight) {
    mean += weight * x;
    squares += weight * x * x;
    ++n;
  }
  double se() const {
    return n < 2 ? 0 : std::sqrt(std::max(0.0, squares - mean * mean) / static_cast<double>(n - 1));
  }
};

// The gradient of what is expected of one example.
template <class Objective>
Tensor gradient_of(const Tensor& logits, Objective objective) {
  Tape tape;
  const Var l = tape.parameter(reshaped(logits, with_axis(logits.shape(), 0, 1)));
  return reshaped(backward(objective(l))[l], logits.shape());
}

}  // namespace

Tensor exact_gradient(const Cost& f, const Tensor& logits) {
  return gradient_of(logits, [&](Var l) { return expectation(l, f); });
}

namespace {

// What rounding alone makes of an exact gradient that is zero.
double rounding(const Cost& f, const Tensor& logits) {
  Tape tape;
  const Var l = tape.constant(reshaped(logits, with_axis(logits.shape(), 0, 1)));
  const double size = norm(expectation(l, [&](Var z) { return abs(f(z)); }).value());
  return 8 * kEpsilon * size;
}

// The gradient to judge by, and the norm below which a gradient is nothing but rounding.
struct Truth {
  std::vector<double> gradient;
  double least = 0;
};

Truth truth_for(const Method& method, const Cost& f, const Tensor& logits,
                const MeasureOptions& options) {
  Tensor exact;
  double least = 0;
  if (options.exact) {
    exact = *options.exact;
    if (exact.shape() != logits.shape())
      refuse("measure: logits are ", logits.shape(), ", the exact gradient is ", exact.shape(),
             "; need the same shape");
  } else if (method.objective) {
    exact = gradient_of(logits, [&](Var l) { return method.objective(l, f); });
  } else {
    exact = exact_gradient(f, logits);
    least = rounding(f, logits);
  }
  Truth truth{std::vector<double>(exact.begin(), exact.end()), least};
  const double size = norm(truth.gradient);
  require(std::isfinite(size), "measure: the exact gradient is not finite; need numbers");
  require(size > least, "measure: the exact gradient is zero; need one to measure against");
  if (least == 0) truth.least = 8 * kEpsilon * size;
  return truth;
}

// f, which must give one number for each batch of the logits' shape.
Cost checked(const Cost& f, std::size_t rank) {
  return [&f, rank](Var z) {
    const Var cost = f(z);
    const Shape& shape = z.shape();
    const Shape each(shape.begin(), shape.end() - static_cast<std::ptrdiff_t>(rank));
    if (cost.shape() != each)
      refuse("measure: the choices are ", shape, ", the cost is ", cost.shape(),
             "; need one number an example, ", each);
    return cost;
  };
}

// Estimates of the gradient, one after the other, and what they took.
struct Estimates {
  std::vector<double> values;
  std::vector<double> weights;  // their probabilities; empty: all alike
  std::size_t count = 0;
  Counts counts;
  double elapsed = 0;

  template <class Estimate>
  void add(std::size_t batch, const Tensor& logits, Estimate estimate) {
    const Shape shape = with_axis(logits.shape(), 0, batch);
    Tensor many = broadcast_to(logits, shape);
    const auto start = std::chrono::steady_clock::now();
    Tape tape;
    const Var l = tape.parameter(std::move(many));
    const Gradients gradients = backward(estimate(l));
    const Tensor& g = gradients[l];
    elapsed += microseconds_since(start);
    values.insert(values.end(), g.begin(), g.end());
    count += batch;
    counts.evaluations += tape.counts.evaluations;
    counts.backwards += tape.counts.backwards;
    counts.solver_calls += tape.counts.solver_calls;
  }
};

// How likely each of a variable's choices is: a category, or a subset of k of them.
std::vector<double> probabilities(const Tensor& row, std::size_t k) {
  const std::size_t n = row.size(), count = count_subsets(n, k);
  std::vector<double> p(count);
  if (k == 1) {
    const Scalar top = *std::max_element(row.begin(), row.end());
    double total = 0;
    for (std::size_t i = 0; i < n; ++i)
      total += p[i] = std::exp(static_cast<double>(row.data()[i]) - static_cast<double>(top));
    for (double& x : p) x /= total;
    return p;
  }
  Tensor subsets = zeros({count, n});
  for (std::size_t c = 0; c < count; ++c)
    each_in_subset(n, k, c, [&](std::size_t i) { subsets(c, i) = 1; });
  Tape tape;
  const Var l = tape.constant(broadcast_to(row, {count, n})),
            log_p = top_k_log_prob(l, tape.constant(std::move(subsets)));
  for (std::size_t c = 0; c < count; ++c)
    p[c] = std::exp(static_cast<double>(log_p.value().data()[c]));
  return p;
}

// One estimate for each choice, or combination of choices, that is possible.
Estimates enumerated(const Rule& rule, std::size_t chosen, const Cost& f, const Tensor& logits,
                     std::size_t batch, std::size_t combinations) {
  const std::size_t k = logits.shape()[logits.dimension() - 1], size = logits.size();
  std::vector<std::vector<double>> p;
  std::vector<Scalar> top;
  for (std::size_t v = 0; v < size / k; ++v) {
    Tensor row = uninitialised({k});
    std::copy_n(logits.data() + v * k, k, row.data());
    top.push_back(*std::max_element(row.begin(), row.end()));
    p.push_back(probabilities(row, chosen));
  }
  Estimates all;
  std::vector<std::vector<std::size_t>> choices;  // those that wait for a full batch
  const auto run = [&] {
    if (choices.empty()) return;
    // Noise that lifts what is chosen above the rest, whose offset rounds nothing so large away.
    Tensor noise = zeros(with_axis(logits.shape(), 0, choices.size()));
    for (std::size_t c = 0; c < choices.size(); ++c)
      for (std::size_t v = 0; v < size / k; ++v)
        each_in_subset(k, chosen, choices[c][v], [&](std::size_t i) {
          i += v * k;
          noise.data()[c * size + i] = top[v] - logits.data()[i] + 1 + std::abs(top[v]);
        });
    all.add(choices.size(), logits, [&](Var l) {
      const Var g = l.tape->constant(std::move(noise));
      return evaluate(chosen == 1 ? sample(l, rule, g) : sample_top_k(l, chosen, rule, g), f);
    });
    choices.clear();
  };
  for (std::size_t c = 0; c < combinations; ++c) {
    std::vector<std::size_t> choice(size / k);
    double probability = 1;
    std::size_t digits = c;
    for (std::size_t v = 0; v < choice.size(); ++v) {
      choice[v] = digits % p[v].size();
      digits /= p[v].size();
      probability *= p[v][choice[v]];
    }
    if (!(probability > 0)) continue;
    all.weights.push_back(probability);
    choices.push_back(std::move(choice));
    if (choices.size() >= batch) run();
  }
  run();
  return all;
}

// K^N, or C(K, k)^N, or 0 if that is more than may be enumerated.
std::size_t combinations_of(const Tensor& logits, std::size_t k) {
  const std::size_t n = logits.shape().back();
  return k > kMostUnordered ? 0 : combinations(1, count_subsets(n, k), logits.size() / n);
}

void require_draws(const Method& method, const MeasureOptions& options) {
  if (options.draws < method.samples || options.batch < method.samples || options.draws == 0 ||
      options.batch == 0)
    refuse("measure: draws are ", options.draws, ", in batches of ", options.batch, ", repeats ",
           method.samples, "; need at least one estimate in a batch");
}

}  // namespace

Measure measure(const Rule& rule, const Cost& f, const Tensor& logits,
                const MeasureOptions& options) {
  return measure(Method(rule, options.repeats, options.k), f, logits, options);
}

Measure measure(const Method& method, const Cost& cost, const Tensor& logits,
                const MeasureOptions& options) {
  require_draws(method, options);
  const auto [truth, least] = truth_for(method, cost, logits, options);
  const double scale = norm(truth);
  const std::size_t size = logits.size(), samples = std::max<std::size_t>(method.samples, 1);
  const Cost f = checked(cost, logits.dimension());

  Measure m;
  m.rule = method.name;
  Estimates all;
  try {
    Rng tuning(options.seed, 0, 3);
    for (std::size_t step = 0; method.learn && step < options.tuning; ++step) {
      Tape tape;
      const Var l = tape.parameter(
          broadcast_to(logits, with_axis(logits.shape(), 0, options.batch / samples)));
      method.learn(method(l, f, tuning), l);
      m.tuning_evaluations += static_cast<double>(tape.counts.evaluations);
    }
    const std::size_t combinations = combinations_of(logits, method.k);
    const Rule* rule = method.rule.get();
    Rng rng(options.seed, 0, 1);  // not the stream that the caller may have made the problem with
    if (options.enumerate && rule && !rule->reads_noise && rule->soft_tau == 0 &&
        combinations > 0) {
      all = enumerated(*rule, method.k, f, logits, options.batch, combinations);
      // So few rows tell little of the time that one takes in a batch.
      Estimates timed;
      timed.add(std::min(options.batch, options.draws), logits,
                [&](Var l) { return method(l, f, rng); });
      all.elapsed =
          timed.elapsed / static_cast<double>(timed.count) * static_cast<double>(all.count);
    } else if (method.samples == 0)
      all.add(1, logits, [&](Var l) { return method(l, f, rng); });
    else
      for (std::size_t left = options.draws; left >= samples;) {
        const std::size_t batch = std::min(options.batch, left) / samples;
        all.add(batch, logits, [&](Var l) { return method(l, f, rng); });
        left -= batch * samples;
      }
  } catch (const NoPath& refusal) {
    m.refusal = refusal.what();
    return m;
  }

  const double n = static_cast<double>(all.count);
  const auto weight = [&](std::size_t i) { return all.weights.empty() ? 1 / n : all.weights[i]; };
  std::vector<double> mean(size, 0), off(size), each(size);
  for (std::size_t e = 0; e < all.count; ++e)
    for (std::size_t i = 0; i < size; ++i) mean[i] += weight(e) * all.values[e * size + i];
  for (std::size_t i = 0; i < size; ++i) off[i] = mean[i] - truth[i];
  Average spread, error, cosine;
  for (std::size_t e = 0; e < all.count; ++e) {
    const double* g = &all.values[e * size];
    double around_mean = 0, around_truth = 0, along = 0, squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
      around_mean += (g[i] - mean[i]) * (g[i] - mean[i]);
      around_truth += (g[i] - truth[i]) * (g[i] - truth[i]);
      along += g[i] * truth[i];
      squares += g[i] * g[i];
    }
    spread.add(around_mean, weight(e));
    error.add(around_truth, weight(e));
    const double size = std::sqrt(squares);
    cosine.add(size > least ? along / (size * scale) : 0, weight(e));
  }
  m.bias = norm(off) / scale;
  m.std = std::sqrt(spread.mean) / scale;
  m.mse = error.mean / (scale * scale);
  m.cosine = cosine.mean;
  if (all.weights.empty()) {
    m.bias_se = std::sqrt(spread.mean / n) / scale;
    m.std_se = spread.mean > 0 ? spread.se() / (2 * std::sqrt(spread.mean)) / scale : 0;
    m.mse_se = error.se() / (scale * scale);
    m.cosine_se = cosine.se();
  }
  // Several choices made together count once.
  const double choices = static_cast<double>(size / logits.shape()[logits.dimension() - 1]);
  m.evaluations = static_cast<double>(all.counts.evaluations) / n;
  m.backwards = static_cast<double>(all.counts.backwards) / n / choices;
  m.solver_calls = static_cast<double>(all.counts.solver_calls) / n / choices;
  m.microseconds = all.elapsed / n / static_cast<double>(samples);
  return m;
}

std::ostream& operator<<(std::ostream& out, const Measure& m) {
  if (!m.refusal.empty()) return out << m.rule << ": " << m.refusal;
  const auto figure = [](double value, double error) {
    return str(value, 3) + " \u00b1 " + str(error, 2);
  };
  return out << m.rule << ": bias " << figure(m.bias, m.bias_se) << ", standard deviation "
             << figure(m.std, m.std_se) << ", mean squared error " << figure(m.mse, m.mse_se)
             << ", cosine " << figure(m.cosine, m.cosine_se);
}

std::vector<Measure> measure_all(const std::vector<Method>& methods, const Cost& f,
                                 const Tensor& logits, const MeasureOptions& options) {
  std::vector<Measure> all;
  for (const Method& method : methods) {
    const bool bare =
        method.rule && method.k == 1 && method.samples == Method(*method.rule).samples;
    all.push_back(bare ? measure(*method.rule, f, logits, options)
                       : measure(method, f, logits, options));
  }
  return all;
}

std::ostream& operator<<(std::ostream& out, const std::vector<Measure>& all) {
  for (const Measure& m : all) out << m << '\n';
  return out;
}

Measure measure_exact(const Cost& f, const Tensor& logits) {
  const auto start = std::chrono::steady_clock::now();
  Tape tape;
  const Var l = tape.parameter(reshaped(logits, with_axis(logits.shape(), 0, 1)));
  backward(expectation(l, f));
  Measure m;
  m.rule = "exact";
  m.cosine = 1;
  m.evaluations = static_cast<double>(tape.counts.evaluations);
  m.microseconds = microseconds_since(start);
  return m;
}

ARGTAPE_END
