#include "engine/gradcheck.hpp"

#include <cmath>
#include <limits>

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

// What rounding makes of <u, y>: of every number on the way its last digit, times its gradient.
double rounding_of(const std::vector<Var>& y, const std::vector<Var>& u) {
  std::vector<Var> way;
  for (std::size_t i = 0; i < y[0].tape->size(); ++i)
    if (y[0].tape->node(i).wants_gradient) way.push_back(y[0].tape->var(i));
  const Gradients gradients = backward(y, way, u);
  double total = 0;
  for (std::size_t i = 0; i < y.size(); ++i) total += norm(y[i].value()) * norm(u[i].value());
  for (const Var& v : way)
    for (std::size_t k = 0; k < v.value().size(); ++k) {
      const double part = std::abs(static_cast<double>(gradients[v].data()[k]) *
                                   static_cast<double>(v.value().data()[k]));
      if (std::isfinite(part)) total += part;  // nothing of -inf where nothing arrives
    }
  return total * static_cast<double>(std::numeric_limits<Scalar>::epsilon());
}

std::vector<Tensor> values_of(const std::vector<Var>& vars) {
  std::vector<Tensor> values;
  for (const Var& v : vars) values.push_back(v.value());
  return values;
}

// The points on a tape.
struct Placed {
  std::vector<Var> all, active;
};

// The functions compared with their own gradients: f, or f's gradient at a fixed cotangent.
using Outputs = std::function<std::vector<Var>(const Placed&)>;

// A kink nearer than the step makes a right derivative look wrong: then the step is halved, so many
// times at most.
constexpr int kHalvings = 6;

class Checker {
 public:
  Checker(const Function& f, const std::vector<Tensor>& points, const CheckOptions& options)
      : f_(f), points_(points), options_(options), rng_(options.seed) {}

  // Points whose bit is set in `active` are parameters, the others constants.
  void check(unsigned long active) {
    active_ = active;
    Tape tape;
    const Tensor u = rng_.normal(f_(place(tape).all).shape());
    compare(1, [&](const Placed& x) { return std::vector<Var>{f_(x.all)}; }, {u});
    if (options_.order < 2) return;
    const Outputs gradient = [&](const Placed& x) {
      const Var y = f_(x.all);
      return differentiate(y, x.active, y.tape->constant(u));
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

  // The active points are moved by t along the direction.
  Placed place(Tape& tape, double t = 0, const std::vector<Tensor>& direction = {}) const {
    Placed x;
    for (std::size_t i = 0; i < points_.size(); ++i) {
      Tensor p = points_[i];
      if (t != 0 && is_active(i)) p += static_cast<Scalar>(t) * direction[x.active.size()];
      x.all.push_back(is_active(i) ? tape.parameter(std::move(p)) : tape.constant(std::move(p)));
      if (is_active(i)) x.active.push_back(x.all.back());
    }
    return x;
  }

  void compare(int order, const Outputs& outputs, const std::vector<Tensor>& cotangents) {
    const std::vector<Tensor> direction = normal();
    const auto along = [&](double t) {
      Tape tape;
      return dot(values_of(outputs(place(tape, t, direction))), cotangents);
    };
    const auto difference = [&](double s) {
      return (8 * (along(s) - along(-s)) - (along(2 * s) - along(-2 * s))) / (12 * s);
    };
    Tape tape;
    const Placed x = place(tape);
    const std::vector<Var> y = outputs(x);
    // Along a normal direction the slope is about the gradient's norm; where that vanishes, what
    // rounding makes of a difference is the measure.
    std::vector<Var> weights;
    for (const Tensor& u : cotangents) weights.push_back(tape.constant(u));
    const double rounding = 8 * rounding_of(y, weights) / (options_.step * options_.tolerance);
    const Gradients numbers = backward(y, {}, weights);
    std::vector<Tensor> g;
    for (const Var& v : x.active) g.push_back(numbers[v]);
    const std::pair<const char*, double> found[] = {
        {"in numbers", dot(g, direction)},
        {"recorded", dot(values_of(differentiate(y, x.active, weights)), direction)}};

    const double first = difference(options_.step);
    const double scale = std::sqrt(dot(g, g)) + rounding + options_.tolerance * std::abs(first) +
                         std::numeric_limits<double>::min();
    for (const auto& [kind, slope] : found) {
      double expected = first, error = std::abs(slope - first) / scale, s = options_.step;
      for (int k = 0; k < kHalvings && error > options_.tolerance; ++k) {
        const double nearer = difference(s /= 2), apart = std::abs(slope - nearer) / scale;
        if (apart < error) expected = nearer, error = apart;
      }
      if (!(error <= result.error)) result.error = error;
      if (error <= options_.tolerance) continue;
      result.ok = false;
      result.report += "order " + std::to_string(order) + ", gradient " + kind +
                       ", active inputs " + actives() + ": expected " + str(expected) + ", found " +
                       str(slope) + ", relative error " + str(error);
      if (std::abs(difference(options_.step / 2) - first) / scale > options_.tolerance)
        result.report += "; differences at half the step disagree, too: is there a kink near?";
      result.report += "\n";
    }
  }

  std::string actives() const {
    std::string names;
    for (std::size_t i = 0; i < points_.size(); ++i)
      if (is_active(i)) names += (names.empty() ? "" : ", ") + std::to_string(i);
    return names;
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
  require(f != nullptr, "check_gradient: the function is empty; need one to check");
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

std::ostream& operator<<(std::ostream& out, const CheckResult& result) {
  return out << (result ? "right" : result.report);
}

ARGTAPE_END
