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
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Var constant_of(Var logits) { return logits.tape->borrow_constant(logits.value(), "logits"); }

// All combinations of each example's choices: digit v of a combination, in base K, is what variable
// v chooses. As many as there are slots are written down to be evaluated, each with a weight.
struct Combinations {
  std::size_t examples, variables = 1, categories, count, slots;
  Tensor choices, weights;  // (slots, ..., K) and (slots, examples)
  std::vector<double> p;    // the probabilities of an example's combinations

  Combinations(const char* name, Var logits, Var first, std::size_t most)
      : log_p_(log_softmax(constant_of(logits)).value()) {
    const Shape& shape = logits.shape();
    categories = shape.back();
    for (std::size_t a = first.shape().size(); a + 1 < shape.size(); ++a) variables *= shape[a];
    examples = first.value().size();
    count = combinations(1, categories, variables);
    require(count > 0, name, ": ", categories, " categories in ", variables,
            " variables; need at most ", kMostCombinations, " combinations");
    slots = std::min(most, count);
    choices = zeros(with_axis(shape, 0, slots));
    weights = zeros({slots, examples});
  }

  // Turns to an example.
  void find_probabilities(std::size_t example) {
    p.assign(1, 0);
    for (std::size_t v = 0; v < variables; ++v) {
      const Scalar* row = log_p_.data() + (example * variables + v) * categories;
      const std::size_t before = p.size();
      p.resize(before * categories);
      for (std::size_t k = categories; k-- > 0;)
        for (std::size_t c = 0; c < before; ++c)
          p[k * before + c] = p[c] + static_cast<double>(row[k]);
    }
    for (double& x : p) x = std::exp(x);
  }

  double left() const { return std::accumulate(p.begin(), p.end(), 0.0); }

  // A combination that is left, with probability proportional to p, by a uniform number; `count` if
  // there is none.
  std::size_t pick(Scalar u) const {
    const double target = static_cast<double>(u) * left();
    double sum = 0;
    std::size_t last = count;
    for (std::size_t c = 0; c < count && (last == count || sum <= target); ++c) {
      if (!(p[c] > 0)) continue;
      last = c;
      sum += p[c];
    }
    return last;
  }

  // Takes a combination out of what is left, and gives the probability that it had.
  double take(std::size_t c) { return std::exchange(p[c], 0); }

  std::size_t index(Var choice, std::size_t example) const {
    const Scalar* one_hot = choice.value().data() + example * variables * categories;
    std::size_t c = 0;
    for (std::size_t v = variables; v-- > 0;)
      c = c * categories + one_hot_place(one_hot + v * categories, categories);
    return c;
  }

  void write(std::size_t slot, std::size_t example, std::size_t c) {
    Scalar* one_hot = choices.data() + (slot * examples + example) * variables * categories;
    for (std::size_t v = 0; v < variables; ++v, c /= categories)
      one_hot[v * categories + c % categories] = 1;
  }

 private:
  Tensor log_p_;  // (examples, variables, K)
};

// The estimate, where the first slot's choices have the cost `first`: sum_s w_s f(s), and its
// gradient sum_s w_s (f(s) - sum_t b_st f(t)) (s - p). Baselines are (slots, slots, examples), or
// null for none.
Var combine(const char* name, Var logits, const Cost& f, Var first, Combinations&& all,
            const Tensor* baselines) {
  Tape& tape = *logits.tape;
  const Var z = tape.constant(std::move(all.choices), "choices");
  Var cost = stack({first});
  if (all.slots > 1) cost = concatenate({cost, evaluate_samples(name, slice(z, 1, all.slots), f)});
  const Shape& shape = cost.shape();
  const Var w = tape.constant(reshaped(std::move(all.weights), shape), "weights");
  Var signal = cost;
  if (baselines) {
    const Var table =
        tape.constant(reshaped(*baselines, with_axis(shape, 0, all.slots)), "weights");
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

Method enumeration(std::size_t k) {
  const auto exact = [k](Var logits, const Cost& f) { return expectation(logits, k, f); };
  Method method("exact", 0, [=](Var logits, const Cost& f, Rng&) { return exact(logits, f); });
  if (k != 1) method.objective = exact;
  return method;
}

Method sum_and_sample(std::size_t k) {
  require(k > 0, "sum_and_sample: k is 0; need at least 1");
  k = std::min(k, kMostCombinations);  // there are no more
  return Method("sum-and-sample", k + 1, [k](Var logits, const Cost& f, Rng& rng) {
    const Var draw = drawn_choice(logits, rng), likeliest = argmax(constant_of(logits), zero()),
              first = evaluate(likeliest, f);
    Combinations all("sum_and_sample", logits, first, k + 1);
    const std::size_t in_sum = std::min(k, all.count);
    const Tensor u = rng.uniform({all.examples});
    std::vector<std::size_t> order(all.count);
    for (std::size_t e = 0; e < all.examples; ++e) {
      all.find_probabilities(e);
      // The first has been evaluated already.
      std::iota(order.begin(), order.end(), std::size_t{0});
      const std::size_t top = all.index(likeliest, e);
      std::swap(order[0], order[top]);
      std::partial_sort(order.begin() + 1, order.begin() + static_cast<std::ptrdiff_t>(in_sum),
                        order.end(), [&p = all.p](std::size_t a, std::size_t b) {
                          return p[a] > p[b] || (p[a] == p[b] && a < b);
                        });
      for (std::size_t s = 0; s < in_sum; ++s) {
        const double p = all.take(order[s]);
        all.weights(s, e) = static_cast<Scalar>(p);
        all.write(s, e, p > 0 ? order[s] : top);  // what is impossible is never evaluated
      }
      if (all.slots == in_sum) continue;
      // The draw itself will do if it is among the others.
      std::size_t rest = all.index(draw, e);
      if (!(all.p[rest] > 0)) rest = all.pick(u.data()[e]);
      all.weights(in_sum, e) = static_cast<Scalar>(all.left());
      all.write(in_sum, e, rest < all.count ? rest : top);
    }
    return combine("sum-and-sample", logits, f, first, std::move(all), nullptr);
  });
}

Method unordered_set(std::size_t k) {
  require(k >= 1 && k <= 12, "unordered_set: k is ", k, "; need 1 to 12");
  return Method("unordered-set", k, [k](Var logits, const Cost& f, Rng& rng) {
    const Var draw = drawn_choice(logits, rng), first = evaluate(draw, f);
    Combinations all("unordered_set", logits, first, k);
    const std::size_t slots = all.slots, n = all.examples;
    const Tensor u = rng.uniform({n, std::max<std::size_t>(slots - 1, 1)});
    Tensor baselines = zeros({slots, slots, n});
    std::vector<double> q;
    for (std::size_t e = 0; e < n; ++e) {
      all.find_probabilities(e);
      const std::size_t top = all.index(draw, e);
      q.clear();
      for (std::size_t s = 0; s < slots; ++s) {
        const std::size_t chosen = s > 0 ? all.pick(u(e, s - 1)) : top;
        // Where the others are impossible there is nothing left to draw: a slot of no
        // weight.
        all.write(s, e, chosen < all.count ? chosen : top);
        if (chosen < all.count) q.push_back(all.take(chosen));
      }
      const double rest = all.left(), set = set_probability(q, rest);
      for (std::size_t s = 0; s < q.size(); ++s) {
        const std::size_t bit = std::size_t{1} << s;
        const double after_s = set_probability(q, rest, bit);
        all.weights(s, e) = static_cast<Scalar>(q[s] * after_s / set);
        for (std::size_t t = 0; t < q.size(); ++t)
          baselines(s, t, e) = static_cast<Scalar>(
              s == t ? q[s] : q[t] * set_probability(q, rest, bit | std::size_t{1} << t) / after_s);
      }
    }
    return combine("unordered-set", logits, f, first, std::move(all), &baselines);
  });
}

ARGTAPE_END
