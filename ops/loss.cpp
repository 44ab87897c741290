#include "ops/loss.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Var cross_entropy(Var logits, const std::vector<std::size_t>& labels) {
  const Shape& shape = logits.shape();
  if (shape.empty()) throw std::invalid_argument("cross_entropy: logits are (); need (..., K)");
  const std::size_t k = shape[shape.size() - 1];
  const Shape rows(shape.begin(), shape.end() - 1);
  if (labels.size() != size_of(rows))
    throw std::invalid_argument("cross_entropy: logits are " + str(shape) + ", labels are " +
                                std::to_string(labels.size()) + "; need one label for each row");
  Tensor y = uninitialised(rows);
  // Each row's logsumexp is kept: where the label is unlikely, the loss has lost its digits.
  const auto kept =
      std::make_shared<std::pair<std::vector<std::size_t>, Tensor>>(labels, uninitialised(rows));
  Scalar* totals = kept->second.data();
  const Scalar* x = logits.value().data();
  parallel_for(labels.size(), rows_of_grain(k), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      if (labels[r] >= k)
        throw std::invalid_argument("cross_entropy: label " + std::to_string(labels[r]) +
                                    " in row " + std::to_string(r) + "; need less than " +
                                    std::to_string(k));
      totals[r] = logsumexp_row(x + r * k, k);
      y.data()[r] = totals[r] - x[r * k + labels[r]];
    }
  });
  return logits.tape->record(
      "cross_entropy", {logits}, std::move(y), [kept, k](BackwardContext& ctx) {
        const Var x = ctx.in(0);
        if (ctx.recorded()) {
          Shape column = x.shape();
          column[column.size() - 1] = 1;
          const Var hit = x.tape->constant(reshaped(one_hot(kept->first, k), x.shape()), "labels");
          return ctx.give(0, reshape(ctx.gradient(), column) * (softmax(x) - hit));
        }
        const auto [to, fresh] = ctx.sink(0);
        const auto& [labels, totals] = *kept;
        const Scalar* slope = ctx.numbers().data();
        const auto rows = [&, &labels = labels, total_of = totals.data(), sink = to, add = !fresh](
                              std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            const Scalar* row = x.value().data() + r * k;
            const Lane total(total_of[r]), scale(slope[r]);
            map_lanes(
                k, sink + r * k, add, [=](Lane v) { return scale * lane_exp(v - total); }, row);
            sink[r * k + labels[r]] -= slope[r];
          }
        };
        parallel_for(labels.size(), rows_of_grain(k), rows);
      });
}

namespace {

// weight * log_p, where 0 * -inf is 0: an impossible category of no weight costs nothing.
Var weighted(Var weight, Var log_p) {
  const Tensor& l = log_p.value();
  if (std::find(l.begin(), l.end(), kLowest) == l.end()) return weight * log_p;
  Tape& tape = *log_p.tape;
  const Var zero = tape.constant(0.0), never = tape.constant(full({}, kLowest));
  const Var both = equal(weight, zero) * equal(log_p, never);
  return weight * where(both, zero, log_p);
}

// Checks, in the op's own name, that its operands go together and have a last axis to sum over.
void require_together(const char* op, Var a, Var b) {
  tape_of(op, {a, b});
  if (broadcast_shape(op, a.shape(), b.shape()).empty())
    throw std::invalid_argument(std::string(op) + ": a is (), b is (); need at least one axis");
}

}  // namespace

Var cross_entropy(Var logits, Var targets) {
  require_together("cross_entropy", logits, targets);
  return -sum(weighted(targets, log_softmax(logits)), {-1});
}

namespace {
constexpr auto kBceWithLogits = row(
    "bce_with_logits",
    [](Lane x, Lane t) {
      return xsimd::max(x, Lane(0)) - x * t + lane_log1p_of_unit(lane_exp(-xsimd::abs(x)));
    },
    slope<0, 1>([](auto g, auto x, auto t) { return g * (sigmoid(x) - t); }),
    slope<0>([](auto g, auto x) { return -g * x; }));
constexpr auto kSquaredError = row(
    "squared_error", [](Lane a, Lane b) { return (a - b) * (a - b); },
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (a - b); }),
    slope<0, 1>([](auto g, auto a, auto b) { return 2 * g * (b - a); }));
}  // namespace

Var bce_with_logits(Var logits, Var targets) { return apply<kBceWithLogits>(logits, targets); }
Var squared_error(Var a, Var b) { return apply<kSquaredError>(a, b); }

Var kl_categorical(Var q_logits, Var p_logits) {
  require_together("kl_categorical", q_logits, p_logits);
  const Var log_q = log_softmax(q_logits), q = exp(log_q);
  return sum(weighted(q, log_q) - weighted(q, log_softmax(p_logits)), {-1});
}

Var kl_categorical_uniform(Var q_logits) {
  require_together("kl_categorical_uniform", q_logits, q_logits);
  const Shape& shape = q_logits.shape();
  const std::size_t k = shape[shape.size() - 1];
  if (k == 0)
    throw std::invalid_argument("kl_categorical_uniform: q_logits are " + str(shape) +
                                "; need at least one category");
  Tensor y = uninitialised(Shape(shape.begin(), shape.end() - 1));
  const Scalar* x = q_logits.value().data();
  // An impossible category counts for nothing, though its logarithm is -inf.
  const auto term = [](Lane q, Lane log_q) {
    return xsimd::select(q == Lane(0), Lane(0), q * log_q);
  };
  const auto shift = static_cast<Scalar>(std::log(static_cast<double>(k)));
  parallel_for(y.size(), rows_of_grain(k), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const Lane total(logsumexp_row(x + r * k, k));
      y.data()[r] = shift + row_sum(
                                k,
                                [&](Lane v) {
                                  const Lane log_q = v - total;
                                  return term(lane_exp(log_q), log_q);
                                },
                                x + r * k);
    }
  });
  return q_logits.tape->record(
      "kl_categorical_uniform", {q_logits}, std::move(y), [=](BackwardContext& ctx) {
        const Var l = ctx.in(0);
        if (ctx.recorded()) {
          const Var log_q = log_softmax(l), q = exp(log_q), terms = weighted(q, log_q);
          Shape column = l.shape();
          column[column.size() - 1] = 1;
          return ctx.give(0,
                          reshape(ctx.gradient(), column) * (terms - q * sum(terms, {-1}, true)));
        }
        const Scalar *x = l.value().data(), *y = ctx.out().value().data(),
                     *g = ctx.numbers().data();
        const auto [to, fresh] = ctx.sink(0);
        const auto rows = [=, sink = to, add = !fresh](std::size_t begin, std::size_t end) {
          for (std::size_t r = begin; r < end; ++r) {
            const Lane total(logsumexp_row(x + r * k, k)), mean(y[r] - shift), slope(g[r]);
            map_lanes(
                k, sink + r * k, add,
                [&](Lane v) {
                  const Lane log_q = v - total, q = lane_exp(log_q);
                  return slope * (term(q, log_q) - q * mean);
                },
                x + r * k);
          }
        };
        parallel_for(ctx.out().value().size(), rows_of_grain(k), rows);
      });
}

Var kl_gaussian(Var mean, Var log_variance) {
  require_together("kl_gaussian", mean, log_variance);
  return 0.5 * sum(square(mean) + exp(log_variance) - log_variance - 1, {-1});
}

Var kl_gaussian(Var mean_q, Var log_variance_q, Var mean_p, Var log_variance_p) {
  for (const Var& v : {log_variance_q, mean_p, log_variance_p})
    require_together("kl_gaussian", mean_q, v);
  const Var ratio = exp(log_variance_q - log_variance_p);
  const Var distance = square(mean_q - mean_p) / exp(log_variance_p);
  return 0.5 * sum(ratio + distance - 1 - log_variance_q + log_variance_p, {-1});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
