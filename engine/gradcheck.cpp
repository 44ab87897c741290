#include "engine/gradcheck.hpp"

#include <algorithm>
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

// Roots of sums of squares: rounding errors have either sign.
struct Sizes {
  double gradient = 0;
  double terms = 0;  // each number on the way times its gradient
};

// The sizes of <u, y>. What is not finite is left out, as -inf is where nothing arrives.
Sizes sizes_of(const std::vector<Var>& y, const std::vector<Var>& u) {
  std::vector<Var> way;
  for (std::size_t i = 0; i < y[0].tape->size(); ++i)
    if (y[0].tape->node(i).wants_gradient) way.push_back(y[0].tape->var(i));
  const Gradients gradients = backward(y, way, u);
  Sizes sizes;
  const auto add = [](double& size, double part) {
    if (std::isfinite(part)) size = std::hypot(size, part);
  };
  const auto add_terms = [&](const Tensor& value, const Tensor& gradient) {
    for (std::size_t k = 0; k < value.size(); ++k)
      add(sizes.terms,
          static_cast<double>(value.data()[k]) * static_cast<double>(gradient.data()[k]));
  };
  for (std::size_t i = 0; i < y.size(); ++i) add_terms(y[i].value(), u[i].value());
  for (const Var& v : way) {
    add_terms(v.value(), gradients[v]);
    if (v.tape->node(v.index).parameter) add(sizes.gradient, norm(gradients[v]));
  }
  return sizes;
}

std::vector<Var> constants(Tape& tape, const std::vector<Tensor>& values) {
  std::vector<Var> vars;
  for (const Tensor& value : values) vars.push_back(tape.constant(value));
  return vars;
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

  // Along a normal direction the slope is about the gradient's norm. Differences are off by
  // rounding, and by what the halvings leave of an error of fourth order. At the point itself all
  // may vanish, so a step away counts too.
  double scale_of(const Sizes& here, const Sizes& away) const {
    const double rounding = 8 * static_cast<double>(std::numeric_limits<Scalar>::epsilon()) *
                            std::max(here.terms, away.terms) / options_.step;
    const double truncation = std::ldexp(2 * away.gradient, -4 * kHalvings);
    return here.gradient + (rounding + truncation) / options_.tolerance +
           std::numeric_limits<double>::min();
  }

  void compare(int order, const Outputs& outputs, const std::vector<Tensor>& cotangents) {
    const std::vector<Tensor> direction = normal();
    const auto values = [&](double t) {
      Tape tape;
      return values_of(outputs(place(tape, t, direction)));
    };
    // Number by number: what all have in common is gone before anything is summed.
    const auto difference = [&](double s) {
      std::vector<Tensor> change = values(s);
      const std::vector<Tensor> back = values(-s), far = values(2 * s), far_back = values(-2 * s);
      for (std::size_t i = 0; i < change.size(); ++i)
        change[i] = (change[i] - back[i]) - (far[i] - far_back[i]) / Scalar{8};
      return dot(change, cotangents) / (1.5 * s);
    };
    Tape tape, moved;
    const Placed x = place(tape);
    const std::vector<Var> y = outputs(x), weights = constants(tape, cotangents);
    const Gradients numbers = backward(y, {}, weights);
    std::vector<Tensor> g;
    for (const Var& v : x.active) g.push_back(numbers[v]);
    const std::pair<const char*, double> found[] = {
        {"in numbers", dot(g, direction)},
        {"recorded", dot(values_of(differentiate(y, x.active, weights)), direction)}};

    const double first = difference(options_.step);
    const double scale =
        scale_of(sizes_of(y, weights), sizes_of(outputs(place(moved, options_.step, direction)),
                                                constants(moved, cotangents))) +
        options_.tolerance * std::abs(first);
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
