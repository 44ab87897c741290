#include "ops/matching.hpp"

#include <utility>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/assignment.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/linalg.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// M(x), or M(x + noise).
Tensor solved(const std::string& op, const Tensor& x, const Tensor* noise) {
  const std::vector<std::size_t> columns = best_columns(op, "logit", x, Best::largest, noise);
  return reshaped(one_hot(columns, x.shape()[x.dimension() - 1]), x.shape());
}

const Decision kMatching = {AppliesTo::matching, 2,
                            [](Var x, std::size_t) { return matching(x, zero()); },
                            // A forbidden pair stays so whatever is added to it.
                            [](const Draw& draw, Var weight) {
                              return beside(weight, draw.logits.shape().size()) *
                                     (is_possible(draw.logits) * (1 - exp(-draw.noise)));
                            }};

// The node. `noise` is empty where nothing is drawn.
Var match(const char* verb, Var logits, const Rule& rule, Var noise) {
  const bool drawn = noise.tape != nullptr;
  Op op = op_with(verb, rule, AppliesTo::matching, drawn);
  require_assignable(op.name, "logit", logits.shape());
  Tensor value;
  if (rule.soft_tau == 0) value = solved(op.name, logits.value(), drawn ? &noise.value() : nullptr);
  return record_decision(std::move(op), rule, kMatching, logits, noise, std::move(value));
}

// Throws unless p is (..., n, m) and x is (..., rows, d), rows being axis `from_end` of p.
void require_items(const char* op, Var p, Var x, std::size_t from_end) {
  tape_of(op, {p, x});
  const Shape &a = p.shape(), &b = x.shape();
  if (a.size() < 2 || b.size() < 2 || b[b.size() - 2] != a[a.size() - from_end])
    refuse(op, ": p is ", a, ", the items are ", b, "; need (..., n, m) and ",
           (from_end == 2 ? "(..., n, d)" : "(..., m, d)"));
}

}  // namespace

Var matching(Var logits, const Rule& rule) {
  tape_of("matching", {logits});
  return match("matching", logits, rule, {});
}

Var sample_matching(Var logits, const Rule& rule, Rng& rng) {
  Tape& tape = tape_of("sample_matching", {logits});
  return sample_matching(logits, rule, tape.constant(rng.gumbel(logits.shape()), "gumbel noise"));
}

Var sample_matching(Var logits, const Rule& rule, Var noise) {
  return match("sample_matching", logits, rule, given_noise("sample_matching", logits, noise, -1));
}

Var permute(Var p, Var items) {
  require_items("permute", p, items, 2);
  const std::size_t rank = p.shape().size();
  return matmul(transpose(p, axis_last(rank - 2, rank)), items);
}

Var unpermute(Var p, Var places) {
  require_items("unpermute", p, places, 1);
  return matmul(p, places);
}

ARGTAPE_END
