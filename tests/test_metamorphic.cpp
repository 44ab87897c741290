// What numbers must not depend on: the order of categories, the axis, the batch, a common offset,
// the way of sweeping, and whether an op stands alone or in a formula. Built for both libraries.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/random.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "ops/choice.hpp"
#include "ops/rules/names.hpp"
#include "tests/menu.hpp"
#include "tests/properties/draws.hpp"

using Tensors = std::vector<Tensor>;

namespace {

using Limits = std::numeric_limits<Scalar>;
constexpr Scalar kEps = Limits::epsilon();

// "" if p and q agree but for `rounding` units of the machine's epsilon, of q's numbers or of
// `scale`; bit for bit with rounding 0. NaN agrees with NaN.
std::string differ(const std::string& what, const Tensor& p, const Tensor& q, double rounding = 0,
                   double scale = 0) {
  if (p.shape() != q.shape()) return what + ": " + str(p.shape()) + " and " + str(q.shape());
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double a = p.data()[i], b = q.data()[i];
    if (a == b || (std::isnan(a) && std::isnan(b))) continue;
    const double bound = rounding * static_cast<double>(kEps) * (std::abs(b) + scale);
    if (std::isfinite(b) && std::abs(a - b) <= bound) continue;
    const std::string all = p.size() > 12 ? "" : " (" + str(p, 9) + ", and " + str(q, 9) + ")";
    return what + ": number " + std::to_string(i) + " is " + str(a, 9) + ", and " + str(b, 9) + all;
  }
  return "";
}
std::string differ(const std::string& what, const Tensors& p, const Tensors& q, double rounding = 0,
                   double scale = 0) {
  std::string wrong;
  for (std::size_t i = 0; i < p.size() && wrong.empty(); ++i)
    wrong = differ(what + (i == 0 ? ", value" : ", gradient " + std::to_string(i - 1)), p[i], q[i],
                   rounding, scale);
  return wrong;
}

enum class Way { backward, differentiate, release };

// f's value, and the gradient of sum(weight * f) for each point. A weight is drawn for each number
// of the value, or of one row of it, so that rows have the same.
Tensors results(const Function& f, const Tensors& points, const Tensor& weight,
                Way way = Way::backward) {
  Tape tape;
  Vars x;
  for (const Tensor& p : points) x.push_back(tape.parameter(p));
  const Var y = f(x), cost = y * tape.constant(weight);
  Tensors all = {y.value()};
  if (way == Way::differentiate) {
    for (Var g : differentiate(cost, x)) all.push_back(g.value());
    return all;
  }
  if (way == Way::backward) {
    const Gradients g = backward(cost);
    for (Var v : x) all.push_back(g[v]);
    return all;
  }
  for (const Tensor& p : points) all.push_back(zeros(p.shape()));
  backward_and_release(cost, [&](Var v, Tensor& g) { all[1 + v.index] = g; });
  return all;
}

// Numbers 0..size-1 of a tensor in another order.
Tensor reordered(const Tensor& t, const std::vector<std::size_t>& order) {
  Tensor to = t;
  for (std::size_t i = 0; i < order.size(); ++i) to.data()[i] = t.data()[order[i]];
  return to;
}
// The last axis in another order.
Tensor permuted(const Tensor& t, const std::vector<std::size_t>& order) {
  Tensor to = t;
  for (std::size_t i = 0; i < t.size(); ++i)
    to.data()[i] = t.data()[i - i % order.size() + order[i % order.size()]];
  return to;
}
Tensor row_of(const Tensor& t, std::size_t r, std::size_t rows) {
  Shape shape = t.shape();
  shape[0] = 1;
  Tensor to = uninitialised(shape);
  const std::size_t n = t.size() / rows;
  std::copy(t.data() + r * n, t.data() + (r + 1) * n, to.data());
  return to;
}
// The first two axes in the other order.
Tensor turned(const Tensor& t) {
  Tape tape;
  return t.shape().size() < 2 ? t : transpose(tape.constant(t)).value();
}

// A common offset, +-2^e for any e up to where Scalars are 2 apart, and numbers that it can be
// added to without rounding.
struct Offset {
  Scalar value, unit;
  explicit Offset(Draws& d) {
    const int exponent = static_cast<int>(d.below(Limits::digits + 1));
    value = std::ldexp(Scalar(d.below(2) ? 1 : -1), exponent);
    unit = std::ldexp(Scalar(1), std::max(exponent - Limits::digits + 1, -2));
  }
  Tensor fitting(const Tensor& t) const { return xt::round(t / unit) * unit; }
  std::string name() const { return "offset " + str(static_cast<double>(value)); }
};

// ---- Number by number.

Tensors numbers(Draws& d, std::size_t n, std::size_t inputs) {
  Tensors points;
  for (std::size_t i = 0; i < inputs; ++i) points.push_back(d.any_numbers({n}));
  return points;
}

}  // namespace

TEST_CASE("a plain op is the same in a formula, bit for bit, and in every way of sweeping") {
  for (const Word& op : kOps)
    for_all(op.name, [&](Draws& d) {
      const std::size_t n = d.some(40);
      const Tensors points = numbers(d, n, op.inputs);
      const Tensor weight = d.weights({n});
      const Tensors plain = results(op.plain, points, weight);
      std::string wrong =
          differ("alone and in a formula", results(op.fused, points, weight), plain);
      for (const Function& f : {op.plain, op.fused}) {
        if (!wrong.empty()) break;
        wrong = differ("released", results(f, points, weight, Way::release), plain);
        if (wrong.empty())
          wrong = differ("recorded", results(f, points, weight, Way::differentiate), plain, 16, 3);
      }
      return wrong;
    });
}

TEST_CASE("a zero that arrives goes on as zero, whatever the slope") {
  for (const Word& op : kOps)
    for_all(op.name, [&](Draws& d) {
      const std::size_t n = d.some(40);
      const Tensors points = numbers(d, n, op.inputs);
      Tensors expected = {zeros({n})};
      for (std::size_t i = 0; i < op.inputs; ++i) expected.push_back(zeros({n}));
      std::string wrong;
      for (const Function& f : {op.plain, op.fused})
        for (Way way : {Way::backward, Way::differentiate, Way::release}) {
          // A weight would make NaN of 0 times infinity: `where` does not take it.
          const Function untaken = [&](const Vars& v) {
            return where(v[0].tape->constant(zeros({n})), f(v), 0);
          };
          if (wrong.empty())
            wrong = differ("untaken", results(untaken, points, ones({n}), way), expected);
        }
      return wrong;
    });
}

TEST_CASE("a number's result depends on no other number") {
  std::vector<Word> words(std::begin(kOps), std::end(kOps));
  words.push_back(TWO("a formula", x * x * z + x * exp(z / 8) * tanh(x)));
  for (const Word& op : words)
    for_all(op.name, [&](Draws& d) {
      const std::size_t n = d.some(40);
      const std::vector<std::size_t> order = d.permutation(n);
      const Tensors points = numbers(d, n, op.inputs);
      const Tensor weight = d.weights({n});
      Tensors all = results(op.fused, points, weight), moved, alone;
      for (const Tensor& p : points) moved.push_back(reordered(p, order));
      const Tensors other = results(op.fused, moved, reordered(weight, order));
      const std::size_t one = d.below(n);
      for (const Tensor& p : points) alone.push_back(row_of(p, one, n));
      const Tensors single = results(op.fused, alone, row_of(weight, one, n));
      std::string wrong;
      for (std::size_t i = 0; i < all.size() && wrong.empty(); ++i) {
        wrong = differ("in another order", other[i], reordered(all[i], order));
        if (wrong.empty()) wrong = differ("alone", single[i], row_of(all[i], one, n));
      }
      return wrong;
    });
}

namespace {

// ---- Row by row.

Tensors rows_for(Draws& d, std::size_t rows, std::size_t k, std::size_t inputs) {
  Tensors points;
  for (std::size_t i = 0; i < inputs; ++i) points.push_back(d.fractions({rows, k}, 4, 4));
  return points;
}
Shape value_shape(const Function& f, const Tensors& points) {
  Tape tape;
  Vars x;
  for (const Tensor& p : points) x.push_back(tape.constant(p));
  return f(x).shape();
}
constexpr double kRounding = 64;  // of longer computations

}  // namespace

TEST_CASE("rows: the order of categories, the axis and the batch do not count") {
  for (const RowOp& op : kRowOps)
    for_all(op.name, [&](Draws& d) {
      const std::size_t rows = d.some(5), k = d.some(40), one = d.below(rows);
      const Tensors points = rows_for(d, rows, k, op.inputs);
      const Function f = [&](const Vars& v) { return op.f(v, -1); };
      const Tensor weight = d.weights(value_shape(f, points));
      const bool by_category = weight.shape().size() == 2;
      const Tensors all = results(f, points, weight);
      std::vector<std::size_t> order(k);
      Tensors moved, alone, across;
      std::iota(order.begin(), order.end(), std::size_t{0});
      if (op.permutes) order = d.permutation(k);
      for (const Tensor& p : points) {
        moved.push_back(permuted(p, order));
        alone.push_back(row_of(p, one, rows));
        across.push_back(turned(p));
      }
      Tensors expected = all;
      for (std::size_t i = by_category ? 0 : 1; i < all.size(); ++i)
        expected[i] = permuted(all[i], order);
      std::string wrong =
          differ("permuted", results(f, moved, by_category ? permuted(weight, order) : weight),
                 expected, kRounding, 8);
      for (std::size_t i = 0; i < all.size(); ++i) expected[i] = row_of(all[i], one, rows);
      if (wrong.empty())
        wrong = differ("one row", results(f, alone, row_of(weight, one, rows)), expected, 4, 8);
      if (!wrong.empty() || !op.by_axis) return wrong;
      for (std::size_t i = 0; i < all.size(); ++i) expected[i] = turned(all[i]);
      return differ("along the other axis",
                    results([&](const Vars& v) { return op.f(v, 0); }, across, turned(weight)),
                    expected, kRounding, 8);
    });
}

TEST_CASE("rows: a common offset does not count, and every way of sweeping gives the same") {
  for (const RowOp& op : kRowOps)
    for_all(op.name, [&](Draws& d) {
      const std::size_t rows = d.some(5), k = d.some(40);
      Tensors points = rows_for(d, rows, k, op.inputs);
      const Offset offset(d);
      for (Tensor& p : points) p = offset.fitting(p);
      const Function f = [&](const Vars& v) { return op.f(v, -1); };
      const Tensor weight = d.weights(value_shape(f, points));
      const Tensors all = results(f, points, weight);
      std::string wrong =
          differ("recorded", results(f, points, weight, Way::differentiate), all, kRounding, 8);
      if (wrong.empty())
        wrong = differ("released", results(f, points, weight, Way::release), all, 4, 8);
      if (!wrong.empty() || std::isnan(op.offset)) return wrong;
      for (Tensor& p : points) p += offset.value;
      Tensors expected = all;
      expected[0] += static_cast<Scalar>(op.offset) * offset.value;
      return differ(offset.name(), results(f, points, weight), expected, kRounding, 8);
    });
}

TEST_CASE("categorical: a common offset does not count") {
  for_all("categorical", [](Draws& d) -> std::string {
    const Offset offset(d);
    const Tensor logits = offset.fitting(rows_for(d, 20, d.some(40), 1)[0]);
    const std::uint64_t seed = d.below(1000);
    return Rng(seed).categorical(logits) == Rng(seed).categorical(logits + offset.value)
               ? ""
               : offset.name();
  });
}

TEST_CASE("rows: what is scaled by a power of two is scaled, bit for bit") {
  struct Scaled {
    const char* name;
    Function f;
    int degree;
  };
  const Scaled scaled[] = {{"sum", [](const Vars& v) { return sum(v[0], -1); }, 1},
                           {"mean", [](const Vars& v) { return mean(v[0], -1); }, 1},
                           {"max", [](const Vars& v) { return max(v[0], -1); }, 1},
                           {"min", [](const Vars& v) { return min(v[0], -1); }, 1},
                           {"variance", [](const Vars& v) { return variance(v[0], -1); }, 2},
                           {"relu", [](const Vars& v) { return relu(v[0]); }, 1},
                           {"abs", [](const Vars& v) { return abs(v[0]); }, 1},
                           {"maximum", [](const Vars& v) { return maximum(v[0], 0); }, 1},
                           {"square", [](const Vars& v) { return square(v[0]); }, 2},
                           {"norm", [](const Vars& v) { return sqrt(sum(square(v[0]), -1)); }, 1}};
  for (const Scaled& op : scaled)
    for_all(op.name, [&](Draws& d) {
      const Tensors points = {d.numbers({d.some(4), d.some(40)})};
      const Tensor weight = d.weights(value_shape(op.f, points));
      const int power = static_cast<int>(d.below(21)) - 10;
      const auto times = [](Tensor t, int p) { return Tensor(t * std::ldexp(Scalar(1), p)); };
      const Tensors all = results(op.f, points, weight);
      return differ("scaled by 2^" + std::to_string(power),
                    results(op.f, {times(points[0], power)}, weight),
                    {times(all[0], op.degree * power), times(all[1], (op.degree - 1) * power)});
    });
}

namespace {

// The gradient that a rule passes back to logits (S, B, K), or (B, K) for one sample, of the costs
// |D - t|^2 of draws with the noise. The rule is new each time: some keep a state.
Tensor gradient_of(const std::string& name, const Tensor& logits, const Tensor& noise,
                   const Tensor& target, Way way = Way::backward, int axis = -1) {
  const Rule rule = rule_named(name, name == "reinmax" ? 1.5 : 0.7).at(0);
  const Function f = [&](const Vars& v) {
    const Var z = sample(v[0], rule, v[0].tape->constant(noise), axis);
    return sum(square(z - v[0].tape->constant(target)), axis);
  };
  Shape costs = logits.shape();
  costs.erase(axis == 0 ? costs.begin() : costs.end() - 1);
  return results(f, {logits}, ones(costs), way)[1];
}

// Of all rules, those that draw noise of their own for each number of the logits, in their order.
bool has_own_noise(const std::string& name) { return name == "gumbel-rao" || name == "perturbed"; }

struct Case {
  std::size_t rows, k;
  bool repeated;
  Tensor logits, noise, target;
  Case(Draws& d, const std::string& name)
      : rows(d.some(4)), k(2 + d.below(8)), repeated(rule_named(name).needs_multiple_samples) {
    const Shape shape = repeated ? Shape{3, rows, k} : Shape{rows, k};
    logits = d.fractions({rows, k}, 4, 2);
    if (repeated) logits = Tensor(xt::broadcast(logits, shape));
    noise = d.fractions(shape, 64, 3);
    target = d.filled(Shape{k}, [&] { return 2 * d.digits(); });
  }
};

}  // namespace

TEST_CASE("rules: the order of categories, the axis and a common offset do not count") {
  for (const std::string& name : rule_names())
    for_all(name, [&](Draws& d) -> std::string {
      Case c(d, name);
      const Offset offset(d);
      c.logits = offset.fitting(c.logits);
      const Tensor all = gradient_of(name, c.logits, c.noise, c.target);
      const std::vector<std::size_t> order = d.permutation(c.k);
      std::string wrong;
      const auto is = [&](const std::string& what, const Tensor& found, const Tensor& expected) {
        if (wrong.empty()) wrong = differ(what, found, expected, 256, 4);
      };
      // Ties go to the first: rows that have one are another choice in another order.
      Tensor perturbed = c.logits + c.noise;
      for (std::size_t at = 0; at < perturbed.size(); at += c.k) {
        std::sort(perturbed.data() + at, perturbed.data() + at + c.k);
        if (perturbed.data()[at + c.k - 1] == perturbed.data()[at + c.k - 2]) return "";
      }
      if (!has_own_noise(name))
        is("permuted",
           gradient_of(name, permuted(c.logits, order), permuted(c.noise, order),
                       permuted(c.target, order)),
           permuted(all, order));
      is(offset.name(), gradient_of(name, c.logits + offset.value, c.noise, c.target), all);
      if (!c.repeated) {
        Tape tape;
        const Tensor target = reshape(tape.constant(c.target), {c.k, 1}).value();
        is("along the other axis",
           gradient_of(name, turned(c.logits), turned(c.noise), target, Way::backward, 0),
           turned(all));
      }
      return wrong;
    });
}

TEST_CASE("rules: the batch and the way of sweeping do not count") {
  for (const std::string& name : rule_names())
    for_all(name, [&](Draws& d) -> std::string {
      const Case c(d, name);
      const Tensor all = gradient_of(name, c.logits, c.noise, c.target);
      std::string wrong =
          differ("recorded", gradient_of(name, c.logits, c.noise, c.target, Way::differentiate),
                 all, 64, 4);
      if (wrong.empty())
        wrong = differ("released", gradient_of(name, c.logits, c.noise, c.target, Way::release),
                       all, 4, 4);
      if (!wrong.empty() || c.repeated || has_own_noise(name)) return wrong;
      const std::size_t one = d.below(c.rows);
      return differ(
          "one row",
          gradient_of(name, row_of(c.logits, one, c.rows), row_of(c.noise, one, c.rows), c.target),
          row_of(all, one, c.rows), 64, 4);
    });
}

TEST_CASE("the number of threads does not count, bit for bit") {
  Rng rng(1);
  // Enough for several pieces; not as many rows, or numbers, as whole pieces have.
  const auto same = [&](const std::string& subject, const Function& f, std::size_t inputs,
                        const Shape& shape) {
    Tensors points;
    for (std::size_t i = 0; i < inputs; ++i) points.push_back(rng.normal(shape));
    const auto with = [&](int threads) {
      set_threads(threads);
      const Tensors all = results(f, points, full({}, 0.7));
      set_threads(1);
      return all;
    };
    const Tensors alone = with(1);
    for (int threads : {2, 3}) CHECK(differ(subject, with(threads), alone) == "");
  };
  for (const Word& op : kOps) {
    same(op.name, op.plain, op.inputs, {40001});
    same(std::string(op.name) + " in a formula", op.fused, op.inputs, {40001});
  }
  for (const RowOp& op : kRowOps) {
    same(op.name, [&](const Vars& v) { return op.f(v, -1); }, op.inputs, {3001, 13});
    if (op.by_axis)
      same(std::string(op.name) + " along axis 0", [&](const Vars& v) { return op.f(v, 0); },
           op.inputs, {13, 3001});
  }
}
