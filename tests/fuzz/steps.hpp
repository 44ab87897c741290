// What a program can do next.
#pragma once

#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/distance.hpp"
#include "ops/distributions.hpp"
#include "ops/gumbel_posterior.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/methods/antithetic.hpp"
#include "ops/methods/score.hpp"
#include "ops/methods/without_replacement.hpp"
#include "ops/pool.hpp"
#include "ops/relaxed_top_k.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/sort.hpp"
#include "ops/top_k.hpp"
#include "tests/fuzz/machine.hpp"

namespace {

struct Reduction {
  const char* name;
  Var (*all)(Var);
  Var (*along)(Var, const Axes&, KeepAxes);
};
const Reduction kReductions[] = {
    {"sum over axes", sum, sum},    {"mean over axes", mean, mean},
    {"max over axes", max, max},    {"min over axes", min, min},
    {"prod over axes", prod, prod}, {"variance over axes", variance, variance},
    {"norm over axes", norm, norm}, {"logsumexp over axes", logsumexp, logsumexp}};

struct Estimator {
  const char* name;
  Method (*make)(Machine& m, Var x);
};
const Estimator kEstimators[] = {
    {"rule's method",
     [](Machine& m, Var x) {
       const std::size_t repeats = 1 + m.length();
       if (m.below(2)) return Method(m.rule(), repeats);
       return Method(top_k_rule_named(m.rule_of(top_k_rule_names()), m.tau()), repeats,
                     m.length_of_subset(x));
     }},
    {"rloo", [](Machine& m, Var) { return rloo(1 + m.length()); }},
    {"muprop", [](Machine&, Var) { return muprop(); }},
    {"vimco", [](Machine& m, Var) { return vimco(1 + m.length()); }},
    {"enumeration", [](Machine& m, Var x) { return enumeration(m.length_of_subset(x)); }},
    {"sum_and_sample", [](Machine& m, Var) { return sum_and_sample(m.length()); }},
    {"unordered_set", [](Machine& m, Var) { return unordered_set(m.length()); }},
    {"arm", [](Machine&, Var) { return arm(); }},
    {"disarm", [](Machine&, Var) { return disarm(); }}};

// What a distribution with the parameter p says of itself, of z, and beside one with q.
struct Distribution {
  const char* name;
  Var (*f)(Machine& m, Var p, Var q);
};
template <class D>
Var said_of(Machine& m, const D& p, const D& q, Var z) {
  switch (m.below(4)) {
    case 0:
      return p.entropy();
    case 1:
      return p.kl(q);
    default:
      return p.log_prob(z);
  }
}
const Distribution kDistributions[] = {
    {"Categorical",
     [](Machine& m, Var p, Var q) {
       const Categorical one(p);
       if (m.below(4) == 0) return one.sample(m.rule(), m.own_rng());
       return said_of(m, one, Categorical(q), softmax(q));
     }},
    {"Categorical of probabilities",
     [](Machine& m, Var p, Var q) {
       return said_of(m, Categorical::from_probabilities(softmax(p)), Categorical(q), softmax(q));
     }},
    {"Bernoulli",
     [](Machine& m, Var p, Var q) {
       const Bernoulli one(p);
       if (m.below(4) == 0) return one.sample(m.rule(), m.own_rng());
       return said_of(m, one, Bernoulli(q), sigmoid(q));
     }},
    {"Bernoulli of probabilities",
     [](Machine& m, Var p, Var q) {
       const Var within = 0.25 + 0.5 * sigmoid(p);  // float cannot say how near to 1 it is
       return said_of(m, Bernoulli::from_probabilities(within), Bernoulli(q), sigmoid(q));
     }},
    {"RelaxedCategorical",
     [](Machine& m, Var p, Var q) {
       const RelaxedCategorical one(p, m.tau());
       return m.below(2) ? one.sample(m.own_rng()) : one.log_prob(softmax(q));
     }},
    {"Normal", [](Machine& m, Var p, Var q) {
       const Normal one(p, 0.5 + softplus(q));
       if (m.below(4) == 0) return one.sample(m.own_rng());
       return said_of(m, one, Normal(q, 2.0), q);
     }}};

struct Step {
  const char* name;
  Var (*run)(Machine& m);
};

Vars inputs(Machine& m, std::size_t count) {
  Vars x = {m.any()};
  while (x.size() < count) x.push_back(m.below(2) ? m.any() : m.like(x[0]));
  return x;
}

// Beside the menu's tables, each as often as its neighbours.
const Step kSteps[] = {
    {"number by number",
     [](Machine& m) {
       const Word& op = m.word();
       const Vars x = inputs(m, op.inputs);
       return m.below(2) ? op.fused(x) : op.plain(x);
     }},
    {"number by number",
     [](Machine& m) {
       const Word& op = m.word();
       return op.plain(inputs(m, op.inputs));
     }},
    {"row by row",
     [](Machine& m) {
       const RowOp& op = m.one_of(kRowOps);
       const Vars x = inputs(m, op.inputs);
       // The table's cross-entropies look for rows.
       return x[0].shape().empty() ? sum(x[0]) : op.f(x, m.axis(x[0]));
     }},
    {"reduction",
     [](Machine& m) {
       const Reduction& op = m.one_of(kReductions);
       const Var x = m.any();
       if (m.below(4) == 0) return op.all(x);
       Axes axes = {m.axis(x)};
       if (m.below(2)) axes.push_back(m.axis(x));
       return op.along(x, axes, m.below(2) ? KeepAxes::yes : KeepAxes::no);
     }},
    {"logmeanexp",
     [](Machine& m) {
       const Var x = m.any();
       return logmeanexp(x, {m.axis(x)});
     }},
    {"sum of a formula",
     [](Machine& m) {
       const Var x = m.any(), w = m.like(x);
       const auto f = [](auto a, auto b) { return a * sigmoid(b) + square(a); };
       return m.below(2) ? sum_of(f, x, w) : mean_of(f, x, w);
     }},
    {"reshape",
     [](Machine& m) {
       const Var x = m.any();
       return reshape(x, {-1, static_cast<int>(m.length())});
     }},
    {"transpose",
     [](Machine& m) {
       const Var x = m.any();
       return m.below(2) ? transpose(x) : transpose(x, {m.axis(x), m.axis(x)});
     }},
    {"expand_dims",
     [](Machine& m) {
       const Var x = m.any();
       return expand_dims(x, m.axis(x));
     }},
    {"squeeze",
     [](Machine& m) {
       const Var x = m.any();
       return squeeze(x, m.axis(x));
     }},
    {"broadcast",
     [](Machine& m) {
       const Var x = m.any();
       Shape to = {m.length()};
       for (std::size_t n : x.shape()) to.push_back(n == 1 ? m.length() : n);
       return broadcast(x, to);
     }},
    {"concatenate",
     [](Machine& m) {
       const Vars x = inputs(m, 2);
       return concatenate(x, m.axis(x[0]));
     }},
    {"stack",
     [](Machine& m) {
       const Vars x = inputs(m, 1 + m.below(3));
       return stack(x, m.axis(x[0]));
     }},
    {"slice",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       const std::size_t n = m.length_at(x, axis), begin = m.below(n + 1);
       return slice(x, begin, begin + m.below(n - begin + 1) + (m.rarely() ? 1 : 0), axis,
                    1 + m.below(2));
     }},
    {"element",
     [](Machine& m) {
       const Var x = m.any();
       return x[static_cast<int>(m.below(5)) - 2];
     }},
    {"pad",
     [](Machine& m) {
       const Var x = m.any();
       const std::size_t before = m.length(), after = m.length();
       return pad(x, before, after, m.axis(x));
     }},
    {"take",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       return take(x, m.indices(m.length(), m.length_at(x, axis)), axis);
     }},
    {"gather",
     [](Machine& m) {
       const Var x = m.any();
       const Shape to = {m.length(), m.length()};
       return gather(x, m.indices(to[0] * to[1], x.value().size()), to);
     }},
    {"scatter",
     [](Machine& m) {
       const Var x = m.any();
       const Shape to = {m.length(), m.length()};
       return scatter(x, m.indices(x.value().size(), to[0] * to[1]), to);
     }},
    {"take_along_axis",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       const std::size_t n = m.length_at(x, axis), rows = n == 0 ? 1 : x.value().size() / n;
       return take_along_axis(x, m.indices(rows * m.length(), n), axis);
     }},
    {"scatter_add",
     [](Machine& m) {
       const Var x = m.any();
       const std::size_t n = m.length();
       return scatter_add(x, m.indices(x.value().size(), n), n, m.axis(x));
     }},
    {"split",
     [](Machine& m) {
       const Var x = m.any();
       const Vars parts = split(x, static_cast<int>(m.length()), m.axis(x));
       return parts.at(m.below(parts.size() + (parts.empty() ? 1 : 0)));
     }},
    {"matmul",
     [](Machine& m) {
       const Var a = m.any();
       const std::size_t k = a.shape().empty() ? 1 : a.shape().back();
       switch (m.below(4)) {
         case 0:
           return matmul(a, m.any());
         case 1:
           return matmul(a, m.made({k, m.length()}));
         case 2:
           return matmul_transposed(a, m.like(a));
         default:
           return dense(a, m.made({k, 2}), m.made({2}));
       }
     }},
    {"outer",
     [](Machine& m) {
       const Var a = reshape(m.any(), {-1});
       return m.below(2) ? outer(a, m.below(2) ? m.any() : a) : dot(a, m.like(a));
     }},
    {"squared_distances",
     [](Machine& m) {
       const Var x = m.rows(m.any());
       return squared_distances(x, m.below(2) ? x : m.made({m.length(), x.shape()[1]}));
     }},
    {"conv2d",
     [](Machine& m) {
       const Var x = m.images(m.any());
       const Shape kernel = {1 + m.below(2), x.shape()[1], 1 + m.below(2), 1 + m.below(3)};
       const Var w = m.made(kernel);
       const Pixels stride(1 + m.below(2), 1 + m.length() % 3), padding(m.below(2), m.below(3));
       switch (m.below(3)) {
         case 0:
           return conv2d(x, w, stride, padding);
         case 1:
           return conv2d(x, w, m.made({kernel[0]}), stride, padding);
         default:
           return conv_transpose2d(x, transpose(w, {1, 0, 2, 3}), stride, padding);
       }
     }},
    {"pool",
     [](Machine& m) {
       const Var x = m.images(m.any());
       const std::size_t window = 1 + m.below(2), stride = m.length(), padding = m.below(3);
       return m.below(2) ? max_pool2d(x, window, stride, padding)
                         : avg_pool2d(x, window, stride, padding);
     }},
    {"sort",
     [](Machine& m) {
       const Var x = m.any();
       return sort(x, m.axis(x), m.below(2) ? Order::ascending : Order::descending);
     }},
    {"sinkhorn",
     [](Machine& m) -> Var {
       const Var a = m.any(), x = matmul_transposed(a, m.like(a));
       const double tau = m.tau();
       if (m.below(2)) return sinkhorn(x, tau, m.length());
       m.by_chance = true;  // how near it comes within the tolerance
       return sinkhorn(x, tau, Converge{1e-5, 100});
     }},
    {"argmax",
     [](Machine& m) {
       const Var x = m.any();
       return m.below(2) ? argmax(x, m.rule(), m.axis(x)) : argmin(x, m.rule(), m.axis(x));
     }},
    {"sample",
     [](Machine& m) {
       const Var x = m.any();
       return sample(x, m.rule(), m.rarely() ? m.any() : m.noise(x), m.axis(x));
     }},
    {"top_k",
     [](Machine& m) {
       const Var x = m.any();
       const Rule rule = top_k_rule_named(m.rule_of(top_k_rule_names()), m.tau());
       const std::size_t k = m.length();
       return m.below(2) ? top_k(x, k, rule, m.axis(x))
                         : sample_top_k(x, k, rule, m.noise(x), m.axis(x));
     }},
    {"top_k_log_prob",
     [](Machine& m) {
       const Var x = m.any();
       return top_k_log_prob(x, top_k(x, m.length(), zero()));
     }},
    {"relaxed_top_k",
     [](Machine& m) {
       const Var x = m.any();
       return relaxed_top_k(x, m.length(), m.tau());
     }},
    {"plackett_luce_log_prob",
     [](Machine& m) {
       const Var x = m.any();
       const std::size_t n = m.last(x), k = std::min(m.length(), n), first = m.below(n + (n == 0)),
                         rows = n == 0 ? 0 : x.value().size() / n;
       std::vector<std::size_t> order(rows * k);
       for (std::size_t i = 0; i < order.size(); ++i) order[i] = (first + i % k) % n;
       if (m.rarely() && !order.empty()) order.back() = order.front();
       return plackett_luce_log_prob(x, order);
     }},
    {"conditional_gumbels",
     [](Machine& m) {
       const Var x = m.any();
       return conditional_gumbels(x, m.rarely() ? m.like(x) : argmax(x, zero()), m.noise(x));
     }},
    {"matching",
     [](Machine& m) {
       const Var x = m.any();
       const Rule rule = matching_rule_named(m.rule_of(matching_rule_names()), m.tau());
       return m.below(2) ? matching(x, rule) : sample_matching(x, rule, m.noise(x));
     }},
    {"permute",
     [](Machine& m) {
       const Var p = m.any();
       return m.below(2) ? permute(p, m.any()) : unpermute(p, m.any());
     }},
    {"select",
     [](Machine& m) {
       const Var x = m.any(), logits = m.logits_for(x, m.rarely() ? m.length() : 3);
       const Var choice =
           m.below(2) ? argmax(logits, m.rule()) : sample(logits, m.rule(), m.noise(logits));
       const Unchosen others = m.below(2) ? Unchosen::nothing : Unchosen::as_scalars;
       return m.below(2) ? select(choice, x, m.branches(), others)
                         : mixture(m.below(2) ? choice : softmax(logits), x, m.branches());
     }},
    {"evaluate",
     [](Machine& m) {
       const Var x = m.any();
       return evaluate(x, m.cost(m.last(x)));
     }},
    {"black_box",
     [](Machine& m) {
       return black_box([](const std::vector<Tensor>& v) { return v[0]; }, {m.any(), m.any()});
     }},
    {"expectation",
     [](Machine& m) {
       const Var x = m.any();
       const Cost f = m.cost(m.last(x));
       switch (m.below(3)) {
         case 0:
           return expectation(x, f);
         case 1:
           return expectation(x, m.length_of_subset(x), f);
         default:
           if (Machine::is_long(x)) return expectation(x, f);  // of 110 there are 12,100 pairs
           const Var other = m.like(x);
           return expectation({x, other}, [&](const Vars& z) { return f(z[0]) * sum(z[1], -1); });
       }
     }},
    {"method",
     [](Machine& m) {
       const Estimator& estimator = m.one_of(kEstimators);
       const Var x = m.any();
       const Cost f = m.cost(m.last(x));
       return estimator.make(m, x)(x, f, m.own_rng());
     }},
    {"distribution",
     [](Machine& m) {
       const Distribution& of = m.one_of(kDistributions);
       const Var x = m.any();
       return of.f(m, x, m.like(x));
     }},
    {"differentiate", [](Machine& m) {
       const Var cost = m.any();
       return differentiate(cost, m.leaf())[0];
     }}};

}  // namespace
