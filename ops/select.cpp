#include "ops/select.hpp"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// What chooses or weighs: (K,) or (1, K) for all examples together, (B, K) for each by itself.
std::size_t rows_in(const char* op, const std::string& what, const Shape& shape,
                    std::size_t branches) {
  if (shape.empty() || shape.size() > 2)
    refuse(op, ": ", what, shape, "; need (K,), (1, K) or (B, K)");
  const std::size_t k = shape[shape.size() - 1];
  if (k == 0 || k != branches)
    refuse(op, ": ", what, shape, ", with ", branches, (branches == 1 ? " branch" : " branches"),
           "; need one branch for each of at least one category");
  return shape.size() == 1 ? 1 : shape[0];
}

template <class Function>
const Function& branch_at(const char* op, const std::vector<Function>& branches, std::size_t k) {
  if (!branches[k]) refuse(op, ": branch ", k, " is empty; need a function");
  return branches[k];
}

// Until they are called the branches must stay where they are.
std::vector<Branch> bound(const char* op, Var x, const std::vector<BranchOf>& branches) {
  std::vector<Branch> all;
  for (std::size_t k = 0; k < branches.size(); ++k)
    all.push_back([=, &branches] { return branch_at(op, branches, k)(x); });
  return all;
}

std::vector<Var> with_first(Var first, const std::vector<Var>& rest) {
  std::vector<Var> all{first};
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

std::vector<Var> after_first(const BackwardContext& ctx) {
  std::vector<Var> rest;
  for (std::size_t i = 1; i < ctx.inputs(); ++i) rest.push_back(ctx.in(i));
  return rest;
}

// Numbers of so many branches, one beside the other, the nearest cache holds.
constexpr std::size_t kStretch = 1024;

// f(row, stretch, where it begins, its length) for all stretches of all rows, on all threads.
template <class F>
void each_stretch(std::size_t rows, std::size_t length, std::size_t branches, F f) {
  const std::size_t along = (length + kStretch - 1) / kStretch,
                    grain = std::max<std::size_t>(1, kGrain / (kStretch * branches));
  parallel_for(rows * along, grain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t s = begin; s < end; ++s) {
      const std::size_t from = s % along * kStretch;
      f(s / along, s, s / along * length + from, std::min(kStretch, length - from));
    }
  });
}

// w_k g: output k's share of what arrives at a mixture.
Var share(Var weights, std::size_t k, Var g) {
  const std::size_t branches = weights.shape()[weights.shape().size() - 1],
                    rows = weights.value().size() / branches;
  std::vector<std::size_t> places;
  for (std::size_t r = 0; r < rows; ++r) places.push_back(r * branches + k);
  Shape beside(rows == 1 ? 0 : g.shape().size(), 1);
  if (rows != 1) beside[0] = rows;
  return gather(weights, places, beside) * g;
}

Var mixed(Var weights, const std::vector<Var>& outputs);

// <g, o_k> for each weight.
Var mixture_products(Var g, const std::vector<Var>& outputs, const Shape& weights) {
  const std::size_t k = outputs.size(), rows = size_of(weights) / k,
                    length = rows == 0 ? 0 : g.value().size() / rows;
  Tensor parts = uninitialised({rows, (length + kStretch - 1) / kStretch, k});
  each_stretch(rows, length, k, [&](std::size_t, std::size_t s, std::size_t at, std::size_t n) {
    for (std::size_t j = 0; j < k; ++j)
      parts.data()[s * k + j] = row_sum(
          n, [](Lane a, Lane b) { return times(a, b); }, g.value().data() + at,
          outputs[j].value().data() + at);
  });
  return g.tape->record("mixture_products", with_first(g, outputs),
                        reshaped(sum_to(parts, {rows, 1, k}), weights), [](BackwardContext& ctx) {
                          const Var h = ctx.gradient();
                          if (ctx.wants(0)) ctx.give(0, mixed(h, after_first(ctx)));
                          for (std::size_t i = 1; i < ctx.inputs(); ++i)
                            if (ctx.wants(i)) ctx.give(i, share(h, i - 1, ctx.in(0)));
                        });
}

// sum_k w_k o_k. It is linear in the weights and in each output, and so are its derivatives.
Var mixed(Var weights, const std::vector<Var>& outputs) {
  const std::size_t branches = outputs.size(), rows = weights.value().size() / branches;
  Tensor y = uninitialised(outputs[0].shape());
  each_stretch(rows, rows == 0 ? 0 : y.size() / rows, branches,
               [&](std::size_t r, std::size_t, std::size_t at, std::size_t n) {
                 bool add = false;
                 for (std::size_t k = 0; k < branches; ++k) {
                   const Scalar w = weights.value().data()[r * branches + k];
                   if (w == 0) continue;  // whatever it weighs
                   map_lanes(
                       n, y.data() + at, add, [w = Lane(w)](Lane v) { return w * v; },
                       outputs[k].value().data() + at);
                   add = true;
                 }
                 if (!add) std::fill_n(y.data() + at, n, Scalar(0));
               });
  return weights.tape->record("mixture", with_first(weights, outputs), std::move(y),
                              [](BackwardContext& ctx) {
                                const Var w = ctx.in(0), g = ctx.gradient();
                                if (ctx.wants(0))
                                  ctx.give(0, mixture_products(g, after_first(ctx), w.shape()));
                                for (std::size_t i = 1; i < ctx.inputs(); ++i)
                                  if (ctx.wants(i)) ctx.give(i, share(w, i - 1, g));
                              });
}

// For each row of the choice its branch.
std::vector<std::size_t> chosen_in(Var choice, std::size_t rows) {
  const std::size_t k = choice.value().size() / rows;
  std::vector<std::size_t> branches(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    branches[r] = one_hot_place(choice.value().data() + r * k, k);
    if (branches[r] == k)
      refuse("select: row ", r,
             " of the choice is not one-hot; need a hard choice, or mixture() for a soft one");
  }
  return branches;
}

// y = D_k o_k + sum_{j != k} D_j, row by row, or all rows as one, where `out` is o_k.
Var selected(Var choice, const std::vector<std::size_t>& branches, Var out, Unchosen others) {
  Tape& tape = tape_of("select", {choice, out});
  const std::size_t rows = branches.size(), k = choice.value().size() / rows;
  std::vector<std::size_t> places;
  for (std::size_t r = 0; r < rows; ++r) places.push_back(r * k + branches[r]);
  return tape.record_same("select", {choice, out}, 1, [=](BackwardContext& ctx) {
    const Var choice = ctx.in(0), out = ctx.in(1), g = ctx.gradient();
    if (ctx.wants(1)) ctx.give(1, share(gather(choice, places, {rows, 1}), 0, g));
    if (!ctx.wants(0)) return;
    Var slopes = scatter(mixture_products(g, {out}, {rows, 1}), places, choice.shape());
    if (others == Unchosen::as_scalars) {
      const Var unchosen = g.tape->constant(Scalar{1} - choice.value(), "not chosen");
      slopes = slopes + unchosen * sum(reshape(g, {rows, g.value().size() / rows}), 1, keep_axes);
    }
    ctx.give(0, slopes);
  });
}

}  // namespace

Var select(Var choice, const std::vector<Branch>& branches, Unchosen others) {
  const std::size_t rows = rows_in("select", "the choice is ", choice.shape(), branches.size());
  if (rows != 1)
    refuse(
        "select: the choice is ", choice.shape(),
        ", one for each example; need their x, to hand out its rows: select(choice, x, branches)");
  const std::vector<std::size_t> chosen = chosen_in(choice, rows);
  return selected(choice, chosen, branch_at("select", branches, chosen[0])(), others);
}

Var select(Var choice, Var x, const std::vector<BranchOf>& branches, Unchosen others) {
  tape_of("select", {choice, x});
  const std::size_t rows = rows_in("select", "the choice is ", choice.shape(), branches.size());
  if (rows == 1) return select(choice, bound("select", x, branches), others);
  if (rows == 0 || x.shape().empty() || x.shape()[0] != rows)
    refuse("select: the choice is ", choice.shape(), ", x is ", x.shape(),
           "; need a row of x for each of at least one example");
  const std::vector<std::size_t> chosen = chosen_in(choice, rows);
  std::vector<Var> outputs;
  std::vector<std::size_t> order(rows);  // where each row stands in the outputs, one after another
  std::size_t done = 0;
  for (std::size_t b = 0; b < branches.size(); ++b) {
    std::vector<std::size_t> own;
    for (std::size_t r = 0; r < rows; ++r) {
      if (chosen[r] != b) continue;
      own.push_back(r);
      order[r] = done++;
    }
    if (own.empty()) continue;
    const Var out = branch_at("select", branches, b)(own.size() == rows ? x : take(x, own, 0));
    Shape wanted = outputs.empty() ? out.shape() : outputs[0].shape();
    if (!wanted.empty()) wanted[0] = own.size();
    if (wanted.empty() || out.shape() != wanted)
      refuse("select: branch ", b, " gave ", out.shape(), " for ", own.size(),
             (own.size() == 1 ? " row" : " rows"), "; need ",
             outputs.empty() ? "a row for each" : str(wanted) + ", as the other branches");
    outputs.push_back(out);
  }
  const Var out = outputs.size() == 1 ? outputs[0] : take(concatenate(outputs), order);
  return selected(choice, chosen, out, others);
}

Var mixture(Var weights, const std::vector<Branch>& branches) {
  const std::size_t rows = rows_in("mixture", "the weights are ", weights.shape(), branches.size());
  for (std::size_t i = 0; i < weights.value().size(); ++i)
    if (!std::isfinite(weights.value().data()[i]))
      refuse("mixture: the weights are not finite in row ", i / branches.size(), "; need numbers");
  std::vector<Var> outputs;
  for (std::size_t k = 0; k < branches.size(); ++k) {
    outputs.push_back(branch_at("mixture", branches, k)());
    const Shape &shape = outputs[k].shape(), &first = outputs[0].shape();
    if (rows != 1 && (shape.empty() || shape[0] != rows))
      refuse("mixture: the weights are ", weights.shape(), ", branch ", k, " gave ", shape,
             "; need a row for each example");
    if (shape != first)
      refuse("mixture: branch ", k, " gave ", shape, ", branch 0 ", first,
             "; need the same shape of all");
  }
  tape_of("mixture", with_first(weights, outputs));
  return mixed(weights, outputs);
}

Var mixture(Var weights, Var x, const std::vector<BranchOf>& branches) {
  return mixture(weights, bound("mixture", x, branches));
}

ARGTAPE_END
