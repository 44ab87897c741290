#include "engine/gradcheck.hpp"

#include <cmath>
#include <stdexcept>

#include "engine/random.hpp"
#include "engine/sweep.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

double dot(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    total += static_cast<double>(a.data()[i]) * static_cast<double>(b.data()[i]);
  return total;
}

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += dot(a[i], b[i]);
  return total;
}

// A function to check: the points become its outputs, each with its cotangent.
struct Problem {
  using Outputs =
      std::function<std::vector<Var>(const std::vector<Var>& all, const std::vector<Var>& active)>;
  const std::vector<Tensor>& points;
  std::vector<bool> active;
  Outputs outputs;
  std::vector<Tensor> cotangents;

  std::vector<Var> place(Tape& tape, double t, const std::vector<Tensor>& direction,
                         std::vector<Var>& actives) const {
    std::vector<Var> all;
    for (std::size_t i = 0, a = 0; i < points.size(); ++i) {
      if (!active[i]) {
        all.push_back(tape.constant(points[i]));
        continue;
      }
      Tensor moved = points[i];
      if (t != 0)
        for (std::size_t k = 0; k < moved.size(); ++k)
          moved.data()[k] += static_cast<Scalar>(t) * direction[a].data()[k];
      ++a;
      all.push_back(tape.parameter(std::move(moved)));
      actives.push_back(all.back());
    }
    return all;
  }

  double value(double t, const std::vector<Tensor>& direction) const {
    Tape tape;
    std::vector<Var> actives;
    const std::vector<Var> all = place(tape, t, direction, actives);
    double total = 0;
    const std::vector<Var> found = outputs(all, actives);
    for (std::size_t i = 0; i < found.size(); ++i) total += dot(found[i].value(), cotangents[i]);
    return total;
  }
};

std::string names(const std::vector<bool>& active) {
  std::string s;
  for (std::size_t i = 0; i < active.size(); ++i)
    if (active[i]) s += (s.empty() ? "" : ", ") + std::to_string(i);
  return s;
}

class Checker {
 public:
  Checker(const CheckOptions& options, CheckResult& result)
      : options_(options), rng_(options.seed), result_(result) {}

  void check(const Function& f, const std::vector<Tensor>& points,
             const std::vector<bool>& active) {
    Shape shape;
    {
      Tape tape;
      std::vector<Var> vars;
      for (const Tensor& p : points) vars.push_back(tape.constant(p));
      shape = f(vars).shape();
    }
    const Tensor u = rng_.normal(shape);
    compare(1, {points,
                active,
                [&](const auto& all, const auto&) { return std::vector<Var>{f(all)}; },
                {u}});
    if (options_.order < 2) return;
    std::vector<Tensor> w;
    for (std::size_t i = 0; i < points.size(); ++i)
      if (active[i]) w.push_back(rng_.normal(points[i].shape()));
    compare(2, {points, active,
                [&](const auto& all, const auto& actives) {
                  const Var y = f(all);
                  return differentiate(y, actives, y.tape->constant(u));
                },
                w});
  }

 private:
  void compare(int order, const Problem& problem) {
    std::vector<Tensor> direction;
    for (std::size_t i = 0; i < problem.points.size(); ++i)
      if (problem.active[i]) direction.push_back(rng_.normal(problem.points[i].shape()));

    Tape tape;
    std::vector<Var> actives;
    const std::vector<Var> all = problem.place(tape, 0, direction, actives);
    const std::vector<Var> outputs = problem.outputs(all, actives);
    std::vector<Var> weights;
    for (const Tensor& c : problem.cotangents) weights.push_back(tape.constant(c));
    const Gradients numbers = backward(outputs, {}, weights);
    const std::vector<Var> recorded = differentiate(outputs, actives, weights);
    std::vector<Tensor> g, h;
    for (std::size_t a = 0; a < actives.size(); ++a) {
      g.push_back(numbers[actives[a]]);
      h.push_back(recorded[a].value());
    }

    const auto along = [&](double t) { return problem.value(t, direction); };
    const double s = options_.step;
    const double difference =
        (8 * (along(s) - along(-s)) - (along(2 * s) - along(-2 * s))) / (12 * s);
    double size = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i)
      size += std::sqrt(dot(outputs[i].value(), outputs[i].value()) *
                        dot(problem.cotangents[i], problem.cotangents[i]));
    // Along a normal direction the slope is about the gradient's norm; where that vanishes,
    // rounding of the value itself is the measure.
    const double scale = std::sqrt(dot(g, g)) + 1e-4 * size + 1e-30;
    judge(order, "in numbers", problem.active, dot(g, direction), difference, scale);
    judge(order, "recorded", problem.active, dot(h, direction), difference, scale);
  }

  void judge(int order, const char* kind, const std::vector<bool>& active, double found,
             double expected, double scale) {
    const double error = std::abs(found - expected) / scale;
    if (!(error <= result_.error)) result_.error = error;
    if (error <= options_.tolerance) return;
    result_.ok = false;
    result_.report += "order " + std::to_string(order) + ", gradient " + kind + ", active inputs " +
                      names(active) + ": expected " + std::to_string(expected) + ", found " +
                      std::to_string(found) + ", relative error " + std::to_string(error) + "\n";
  }

  const CheckOptions& options_;
  Rng rng_;
  CheckResult& result_;
};

}  // namespace

CheckResult check_gradient(const Function& f, const std::vector<Tensor>& points,
                           CheckOptions options) {
  if (options.order != 1 && options.order != 2)
    throw std::invalid_argument("check_gradient: order is " + std::to_string(options.order) +
                                "; need 1 or 2");
  if (points.empty()) throw std::invalid_argument("check_gradient: no points; need at least one");
  CheckResult result;
  Checker checker(options, result);
  const std::size_t n = points.size();
  std::vector<std::vector<bool>> mixes;
  if (n <= 4) {
    for (unsigned mix = 1; mix < (1u << n); ++mix) {
      mixes.emplace_back(n);
      for (std::size_t i = 0; i < n; ++i) mixes.back()[i] = mix >> i & 1;
    }
  } else {
    mixes.emplace_back(n, true);
    for (std::size_t i = 0; i < n; ++i) {
      mixes.emplace_back(n, false);
      mixes.back()[i] = true;
    }
  }
  for (const std::vector<bool>& active : mixes) checker.check(f, points, active);
  return result;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
