#include "ops/methods/without_replacement.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>
#include <vector>

#include "engine/require.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Var constant_of(Var logits) { return logits.tape->borrow_constant(logits.value(), "logits"); }

// All combinations of each example's choices: digit v of a combination, in base K, is what variable
// v chooses.
struct Combinations {
  std::size_t examples, variables = 1, categories, count = 1;
  const Tensor& log_p;  // (examples, variables, categories)

  // `lead` is the number of axes that an example's cost has.
  Combinations(const char* name, Var logits, std::size_t lead)
      : log_p(log_softmax(constant_of(logits)).value()) {
    const Shape& shape = logits.shape();
    categories = shape[shape.size() - 1];
    for (std::size_t a = lead; a + 1 < shape.size(); ++a) variables *= shape[a];
    examples = log_p.size() / (variables * categories);
    for (std::size_t v = 0; v < variables; ++v) {
      count *= categories;
      if (count > kMostCombinations)
        refuse(name, ": ", categories, " categories in ", variables, " variables; need at most ",
               kMostCombinations, " combinations");
    }
  }

  // The probabilities of an example's combinations.
  void probabilities(std::size_t example, std::vector<double>& p) const {
    p.assign(1, 0);
    for (std::size_t v = 0; v < variables; ++v) {
      const Scalar* row = log_p.data() + (example * variables + v) * categories;
      const std::size_t before = p.size();
      p.resize(before * categories);
      for (std::size_t k = categories; k-- > 0;)
        for (std::size_t c = 0; c < before; ++c)
          p[k * before + c] = p[c] + static_cast<double>(row[k]);
    }
    for (double& x : p) x = std::exp(x);
  }

  std::size_t index(const Scalar* one_hot) const {
    std::size_t c = 0, place = 1;
    for (std::size_t v = 0; v < variables; ++v, place *= categories)
      for (std::size_t k = 0; k < categories; ++k)
        if (one_hot[v * categories + k] > 0) c += k * place;
    return c;
  }

  void write(std::size_t c, Scalar* one_hot) const {
    std::fill(one_hot, one_hot + variables * categories, Scalar(0));
    for (std::size_t v = 0; v < variables; ++v, c /= categories)
      one_hot[v * categories + c % categories] = 1;
  }
};

// A combination with probability proportional to p, which is 0 where it must not be, by a uniform
// number; p.size() if there is none.
std::size_t pick(const std::vector<double>& p, double u) {
  const double target = u * std::accumulate(p.begin(), p.end(), 0.0);
  double sum = 0;
  std::size_t last = p.size();
  for (std::size_t c = 0; c < p.size(); ++c) {
    if (!(p[c] > 0)) continue;
    last = c;
    sum += p[c];
    if (sum > target) break;
  }
  return last;
}

// The estimate from choices z (S, ..., K), the first of which has the cost `first`: sum_s w_s f(s),
// and its gradient sum_s w_s (f(s) - sum_t b_st f(t)) (s - p). Weights are (S, examples), baselines
// (S, S, examples), or null for none.
Var combine(const char* name, Var logits, const Cost& f, Var first, Tensor&& choices,
            Tensor&& weights, const Tensor* baselines) {
  Tape& tape = *logits.tape;
  const std::size_t s = weights.shape()[0];
  const Var z = tape.constant(std::move(choices), "choices");
  Var cost = stack({first});
  if (s > 1) cost = concatenate({cost, evaluate(slice(z, 1, s), f)});
  Shape shape = cost.shape();
  const Var w = tape.constant(reshaped(std::move(weights), shape), "weights");
  Var signal = cost;
  if (baselines) {
    const Var table = tape.constant(reshaped(*baselines, with_axis(shape, 0, s)), "weights");
    signal = cost - sum(table * cost, 1);
  }
  return with_gradient(name, sum(w * cost, 0), logits,
                       sum(score_gradient(w * signal, z, softmax(logits)), 0));
}

// The probability that choices of probabilities q come first, in any order, where choices are drawn
// without replacement and all others together have the probability `rest`. Those in the mask
// `without` are not there at all.
double set_probability(const std::vector<double>& q, double rest, std::size_t without = 0) {
  const std::size_t all = (std::size_t{1} << q.size()) - 1;
  std::vector<double> h(all + 1, 0);  // of each set, as the first to be drawn
  h[0] = 1;
  for (std::size_t drawn = 0; drawn <= all; ++drawn) {
    if (h[drawn] == 0) continue;
    double left = rest;
    const auto is_left = [&](std::size_t i) { return !((drawn | without) >> i & 1); };
    for (std::size_t i = 0; i < q.size(); ++i)
      if (is_left(i)) left += q[i];
    for (std::size_t i = 0; i < q.size(); ++i)
      if (is_left(i)) h[drawn | std::size_t{1} << i] += h[drawn] * q[i] / left;
  }
  return h[all & ~without];
}

}  // namespace

Method enumeration() {
  Method method;
  method.name = "exact";
  method.samples = 0;
  method.estimate = [](Var logits, const Cost& f, Rng&) { return expectation(logits, f); };
  return method;
}

Method sum_and_sample(std::size_t k) {
  if (k == 0) refuse("sum_and_sample: k is 0; need at least 1");
  Method method;
  method.name = "sum-and-sample";
  method.samples = k + 1;
  method.estimate = [k](Var logits, const Cost& f, Rng& rng) {
    const Var draw = drawn_choice(logits, rng);
    const Var likeliest = argmax(constant_of(logits), zero());
    const Var first = evaluate(likeliest, f);
    const Combinations all("sum_and_sample", logits, first.shape().size());
    const std::size_t in_sum = std::min(k, all.count), n = all.examples,
                      slots = in_sum + (in_sum < all.count ? 1 : 0),
                      size = all.variables * all.categories;
    const Tensor u = rng.uniform({n});
    Tensor choices = uninitialised(with_axis(logits.shape(), 0, slots)),
           weights = uninitialised({slots, n});
    std::vector<double> p;
    std::vector<std::size_t> order(all.count);
    for (std::size_t e = 0; e < n; ++e) {
      all.probabilities(e, p);
      // The first has been evaluated already.
      std::iota(order.begin(), order.end(), std::size_t{0});
      const std::size_t top = all.index(likeliest.value().data() + e * size);
      std::swap(order[0], order[top]);
      std::partial_sort(
          order.begin() + 1, order.begin() + static_cast<std::ptrdiff_t>(in_sum), order.end(),
          [&](std::size_t a, std::size_t b) { return p[a] > p[b] || (p[a] == p[b] && a < b); });
      for (std::size_t s = 0; s < in_sum; ++s) {
        weights(s, e) = static_cast<Scalar>(p[order[s]]);
        p[order[s]] = 0;
        all.write(order[s], choices.data() + (s * n + e) * size);
      }
      if (slots == in_sum) continue;
      // The draw itself will do if it is among the others.
      std::size_t rest = all.index(draw.value().data() + e * size);
      if (!(p[rest] > 0)) rest = pick(p, static_cast<double>(u.data()[e]));
      weights(in_sum, e) = static_cast<Scalar>(std::accumulate(p.begin(), p.end(), 0.0));
      all.write(rest < all.count ? rest : top, choices.data() + (in_sum * n + e) * size);
    }
    return combine("sum-and-sample", logits, f, first, std::move(choices), std::move(weights),
                   nullptr);
  };
  return method;
}

Method unordered_set(std::size_t k) {
  if (k < 1 || k > 12) refuse("unordered_set: k is ", k, "; need 1 to 12");
  Method method;
  method.name = "unordered-set";
  method.samples = k;
  method.estimate = [k](Var logits, const Cost& f, Rng& rng) {
    const Var draw = drawn_choice(logits, rng), first = evaluate(draw, f);
    const Combinations all("unordered_set", logits, first.shape().size());
    const std::size_t slots = std::min(k, all.count), n = all.examples,
                      size = all.variables * all.categories;
    const Tensor u = rng.uniform({n, std::max<std::size_t>(slots - 1, 1)});
    Tensor choices = uninitialised(with_axis(logits.shape(), 0, slots)),
           weights = zeros({slots, n}), baselines = zeros({slots, slots, n});
    std::vector<double> p, q;
    for (std::size_t e = 0; e < n; ++e) {
      all.probabilities(e, p);
      std::size_t chosen = all.index(draw.value().data() + e * size);
      const std::size_t top = chosen;
      q.clear();
      for (std::size_t s = 0; s < slots; ++s) {
        if (s > 0) chosen = pick(p, static_cast<double>(u(e, s - 1)));
        // Where the others are impossible there is nothing left to draw: a slot of no weight.
        all.write(chosen < all.count ? chosen : top, choices.data() + (s * n + e) * size);
        if (chosen == all.count) continue;
        q.push_back(p[chosen]);
        p[chosen] = 0;
      }
      const double rest = std::accumulate(p.begin(), p.end(), 0.0), set = set_probability(q, rest);
      for (std::size_t s = 0; s < q.size(); ++s) {
        const std::size_t bit = std::size_t{1} << s;
        const double after_s = set_probability(q, rest, bit);
        weights(s, e) = static_cast<Scalar>(q[s] * after_s / set);
        for (std::size_t t = 0; t < q.size(); ++t)
          baselines(s, t, e) = static_cast<Scalar>(
              s == t ? q[s] : q[t] * set_probability(q, rest, bit | std::size_t{1} << t) / after_s);
      }
    }
    return combine("unordered-set", logits, f, first, std::move(choices), std::move(weights),
                   &baselines);
  };
  return method;
}

ARGTAPE_END
