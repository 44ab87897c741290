#include "engine/gradcheck.hpp"

#include <cmath>

#include "engine/random.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

double dot(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < a[i].size(); ++k)
      total += static_cast<double>(a[i].data()[k]) * static_cast<double>(b[i].data()[k]);
  return total;
}
double norm(const Tensor& t) { return std::sqrt(dot({t}, {t})); }

// The functions compared with their own gradients: f, or f's gradient at a fixed cotangent.
using Outputs =
    std::function<std::vector<Var>(const std::vector<Var>& all, const std::vector<Var>& active)>;

class Checker {
 public:
  Checker(const Function& f, const std::vector<Tensor>& points, const CheckOptions& options)
      : f_(f), points_(points), options_(options), rng_(options.seed) {}

  // Points whose bit is set in `active` are parameters, the others constants.
  void check(unsigned long active) {
    active_ = active;
    Tape tape;
    std::vector<Var> actives;
    const Tensor u = rng_.normal(f_(place(tape, 0, {}, actives)).shape());
    compare(1, [&](const auto& all, const auto&) { return std::vector<Var>{f_(all)}; }, {u});
    if (options_.order < 2) return;
    const Outputs gradient = [&](const auto& all, const auto& active) {
      const Var y = f_(all);
      return differentiate(y, active, y.tape->constant(u));
    };
    compare(2, gradient, normal());
  }

  CheckResult result;

 private:
  bool is_active(std::size_t i) const { return active_ >> i & 1; }

  // Numbers of the active points' shapes.
  std::vector<Tensor> normal() {
    std::vector<Tensor> all;
    for (std::size_t i = 0; i < points_.size(); ++i)
      if (is_active(i)) all.push_back(rng_.normal(points_[i].shape()));
    return all;
  }

  // The points on a tape, the active ones moved by t along the direction.
  std::vector<Var> place(Tape& tape, double t, const std::vector<Tensor>& direction,
                         std::vector<Var>& actives) const {
    std::vector<Var> all;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      Tensor p = points_[i];
      if (t != 0 && is_active(i)) p += static_cast<Scalar>(t) * direction[actives.size()];
      all.push_back(is_active(i) ? tape.parameter(std::move(p)) : tape.constant(std::move(p)));
      if (is_active(i)) actives.push_back(all.back());
    }
    return all;
  }

  void compare(int order, const Outputs& outputs, const std::vector<Tensor>& cotangents) {
    const std::vector<Tensor> direction = normal();
    const auto along = [&](double t) {
      Tape tape;
      std::vector<Var> actives;
      const std::vector<Var> all = place(tape, t, direction, actives);
      std::vector<Tensor> values;
      for (const Var& v : outputs(all, actives)) values.push_back(v.value());
      return dot(values, cotangents);
    };
    const double s = options_.step,
                 difference =
                     (8 * (along(s) - along(-s)) - (along(2 * s) - along(-2 * s))) / (12 * s);

    Tape tape;
    std::vector<Var> actives, weights;
    const std::vector<Var> all = place(tape, 0, direction, actives), y = outputs(all, actives);
    // Along a normal direction the slope is about the gradient's norm; where that vanishes,
    // rounding of the value itself is the measure.
    double size = 1e-30;
    for (std::size_t i = 0; i < y.size(); ++i) {
      weights.push_back(tape.constant(cotangents[i]));
      size += 1e-4 * norm(y[i].value()) * norm(cotangents[i]);
    }
    const Gradients numbers = backward(y, {}, weights);
    const std::vector<Var> recorded = differentiate(y, actives, weights);
    std::vector<Tensor> g, h;
    for (std::size_t a = 0; a < actives.size(); ++a) {
      g.push_back(numbers[actives[a]]);
      h.push_back(recorded[a].value());
    }
    const double scale = std::sqrt(dot(g, g)) + size;
    judge(order, "in numbers", dot(g, direction), difference, scale);
    judge(order, "recorded", dot(h, direction), difference, scale);
  }

  void judge(int order, const char* kind, double found, double expected, double scale) {
    const double error = std::abs(found - expected) / scale;
    if (!(error <= result.error)) result.error = error;
    if (error <= options_.tolerance) return;
    result.ok = false;
    std::string names;
    for (std::size_t i = 0; i < points_.size(); ++i)
      if (is_active(i)) names += (names.empty() ? "" : ", ") + std::to_string(i);
    result.report += "order " + std::to_string(order) + ", gradient " + kind + ", active inputs " +
                     names + ": expected " + std::to_string(expected) + ", found " +
                     std::to_string(found) + ", relative error " + std::to_string(error) + "\n";
  }

  const Function& f_;
  const std::vector<Tensor>& points_;
  const CheckOptions options_;
  Rng rng_;
  unsigned long active_ = 0;
};

}  // namespace

CheckResult check_gradient(const Function& f, const std::vector<Tensor>& points,
                           CheckOptions options) {
  if (options.order != 1 && options.order != 2)
    refuse("check_gradient: order is ", options.order, "; need 1 or 2");
  const std::size_t n = points.size();
  if (n == 0 || n > 64)
    refuse("check_gradient: ", (n ? std::to_string(n) : "no"), " points; need ",
           (n ? "at most 64" : "at least one"));
  Checker checker(f, points, options);
  const unsigned long all = ~0ul >> (64 - n);
  if (n <= 4) {
    for (unsigned long mix = 1; mix <= all; ++mix) checker.check(mix);
  } else {
    checker.check(all);
    for (std::size_t i = 0; i < n; ++i) checker.check(1ul << i);
  }
  return checker.result;
}

ARGTAPE_END
