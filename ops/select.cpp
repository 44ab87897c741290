#include "ops/select.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
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

// Outputs o_k, all of one shape, as rows that have their weights each, or as one row. Their mixture
// is linear in the weights and in each output: its derivatives are inner products <g, o_k>, and
// shares w_k g.
struct Mix {
  std::size_t rows, length, k;
  static constexpr std::size_t kStretch = 1024;  // numbers, which the nearest cache holds K times

  std::size_t stretches() const { return (length + kStretch - 1) / kStretch; }
  std::size_t grain() const { return std::max<std::size_t>(1, kGrain / (kStretch * k)); }
  // f(row, first number, numbers, which) for each stretch.
  template <class F>
  void each(F f) const {
    const std::size_t along = stretches();
    parallel_for(rows * along, grain(), [&](std::size_t begin, std::size_t end) {
      for (std::size_t s = begin; s < end; ++s) {
        const std::size_t from = s % along * kStretch;
        f(s / along, s / along * length + from, std::min(kStretch, length - from), s);
      }
    });
  }
};

std::vector<const Scalar*> numbers_of(const std::vector<Var>& vars) {
  std::vector<const Scalar*> numbers;
  for (const Var& v : vars) numbers.push_back(v.value().data());
  return numbers;
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

// Which gradients are wanted: for the weights, and for each output.
using Wanted = std::vector<bool>;
Wanted wanted_of(const BackwardContext& ctx) {
  Wanted wanted;
  for (std::size_t i = 0; i < ctx.inputs(); ++i) wanted.push_back(ctx.wants(i));
  return wanted;
}

Var mixed(Var weights, const std::vector<Var>& outputs, const Mix& mix);
std::vector<Var> mixture_vjps(Var weights, Var g, const std::vector<Var>& outputs, const Mix& mix,
                              Wanted wanted);

// <g, o_k> for each k, row by row.
Var mixture_weights_vjp(Var g, const std::vector<Var>& outputs, const Mix& mix, Tensor&& value) {
  return g.tape->record(
      "mixture_weights_vjp", with_first(g, outputs), std::move(value), [mix](BackwardContext& ctx) {
        const Var h = ctx.gradient();
        if (ctx.wants(0)) ctx.give(0, mixed(h, after_first(ctx), mix));
        Wanted wanted = wanted_of(ctx);
        wanted[0] = false;
        const std::vector<Var> back = mixture_vjps(h, ctx.in(0), after_first(ctx), mix, wanted);
        for (std::size_t i = 1; i <= mix.k; ++i) ctx.give(i, back[i]);
      });
}

// Output k's share w_k g.
Var mixture_output_vjp(Var weights, Var g, std::size_t k, const Mix& mix, Tensor&& value) {
  return g.tape->record(
      "mixture_output_vjp", {weights, g}, std::move(value), [mix, k](BackwardContext& ctx) {
        const Var w = slice(ctx.in(0), k, k + 1, -1), u = ctx.gradient();
        const std::vector<Var> back =
            mixture_vjps(w, u, {ctx.in(1)}, {mix.rows, mix.length, 1}, wanted_of(ctx));
        if (ctx.wants(0)) ctx.give(0, pad(back[0], k, mix.k - k - 1, -1));
        ctx.give(1, back[1]);
      });
}

// What a mixture hands back, as far as it is wanted: in one pass, while g is at hand.
std::vector<Var> mixture_vjps(Var weights, Var g, const std::vector<Var>& outputs, const Mix& mix,
                              Wanted wanted) {
  const std::size_t k = mix.k, along = mix.stretches();
  const Scalar *from = g.value().data(), *w = weights.value().data();
  const std::vector<const Scalar*> o = numbers_of(outputs);
  std::vector<double> parts(wanted[0] ? mix.rows * along * k : 0);
  std::vector<Tensor> shares;
  for (std::size_t j = 0; j < k; ++j)
    shares.push_back(uninitialised(wanted[j + 1] ? g.shape() : Shape{0}));
  mix.each([&](std::size_t r, std::size_t at, std::size_t n, std::size_t which) {
    for (std::size_t j = 0; wanted[0] && j < k; ++j)
      parts[which * k + j] = static_cast<double>(row_sum(
          n, [](Lane a, Lane b) { return a * b; }, from + at, o[j] + at));
    for (std::size_t j = 0; j < k; ++j)
      if (wanted[j + 1])
        map_lanes(
            n, shares[j].data() + at, false,
            [weight = Lane(w[r * k + j])](Lane v) { return weight * v; }, from + at);
  });
  std::vector<Var> vars(k + 1);
  if (wanted[0]) {
    Tensor to = uninitialised(weights.shape());
    for (std::size_t i = 0; i < to.size(); ++i) {
      double total = 0;
      for (std::size_t s = 0; s < along; ++s) total += parts[(i / k * along + s) * k + i % k];
      to.data()[i] = static_cast<Scalar>(total);
    }
    vars[0] = mixture_weights_vjp(g, outputs, mix, std::move(to));
  }
  for (std::size_t j = 0; j < k; ++j)
    if (wanted[j + 1]) vars[j + 1] = mixture_output_vjp(weights, g, j, mix, std::move(shares[j]));
  return vars;
}

Var mixed(Var weights, const std::vector<Var>& outputs, const Mix& mix) {
  Tensor y = uninitialised(outputs[0].shape());
  const Scalar* w = weights.value().data();
  const std::vector<const Scalar*> o = numbers_of(outputs);
  mix.each([&](std::size_t r, std::size_t at, std::size_t n, std::size_t) {
    for (std::size_t k = 0; k < mix.k; ++k) {
      const Lane weight(w[r * mix.k + k]);
      map_lanes(
          n, y.data() + at, k > 0, [=](Lane v) { return weight * v; }, o[k] + at);
    }
  });
  return weights.tape->record(
      "mixture", with_first(weights, outputs), std::move(y), [mix](BackwardContext& ctx) {
        const Wanted wanted = wanted_of(ctx);
        const std::vector<Var> back =
            mixture_vjps(ctx.in(0), ctx.gradient(), after_first(ctx), mix, wanted);
        for (std::size_t i = 0; i <= mix.k; ++i) ctx.give(i, back[i]);
      });
}

// The branches that were run: branch `branch`, for the rows of the choice that chose it.
struct Chosen {
  std::size_t branch;
  std::vector<std::size_t> rows, places;  // of the choice: its rows, and its entries that are 1
};

std::vector<Chosen> chosen_in(Var choice, std::size_t rows) {
  const std::size_t k = choice.value().size() / rows;
  std::vector<std::vector<std::size_t>> by_branch(k);
  for (std::size_t r = 0; r < rows; ++r) {
    const std::size_t at = one_hot_place(choice.value().data() + r * k, k);
    if (at == k)
      refuse("select: row ", r,
             " of the choice is not one-hot; need a hard choice, or mixture() for a soft one");
    by_branch[at].push_back(r);
  }
  std::vector<Chosen> all;
  for (std::size_t b = 0; b < k; ++b) {
    if (by_branch[b].empty()) continue;
    Chosen c{b, std::move(by_branch[b]), {}};
    for (std::size_t r : c.rows) c.places.push_back(r * k + b);
    all.push_back(std::move(c));
  }
  return all;
}

// The outputs, put together in the order of the rows that chose them.
Tensor put_back(const std::vector<Chosen>& chosen, const std::vector<Var>& outputs,
                std::size_t rows) {
  Shape shape = outputs[0].shape();
  shape[0] = rows;
  Tensor y = uninitialised(shape);
  const std::size_t length = y.size() / rows;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    for (std::size_t r = 0; r < chosen[i].rows.size(); ++r)
      std::copy_n(outputs[i].value().data() + r * length, length,
                  y.data() + chosen[i].rows[r] * length);
  return y;
}

// y = D_k o_k + sum_{j != k} D_j, row by row; or all rows as one.
Var selected(Var choice, std::vector<Chosen> chosen, const std::vector<Var>& outputs,
             Unchosen others) {
  const std::vector<Var> inputs = with_first(choice, outputs);
  Tape& tape = tape_of("select", inputs);
  const std::size_t rows = choice.value().size() / choice.shape()[choice.shape().size() - 1];
  const auto kept = std::make_shared<const std::vector<Chosen>>(std::move(chosen));
  const auto backward = [kept, others, rows](BackwardContext& ctx) {
    const Var choice = ctx.in(0), g = ctx.gradient();
    Var slopes;
    for (std::size_t i = 0; i < kept->size(); ++i) {
      const Chosen& c = (*kept)[i];
      const Var out = ctx.in(i + 1), part = kept->size() == 1 ? g : take(g, c.rows, 0);
      const Mix mix{c.rows.size(), part.value().size() / c.rows.size(), 1};
      const std::vector<Var> back = mixture_vjps(gather(choice, c.places, {mix.rows, 1}), part,
                                                 {out}, mix, {ctx.wants(0), ctx.wants(i + 1)});
      ctx.give(i + 1, back[1]);
      if (!ctx.wants(0)) continue;
      const Var slope = scatter(back[0], c.places, choice.shape());
      slopes = i == 0 ? slope : slopes + slope;
    }
    if (!ctx.wants(0)) return;
    if (others == Unchosen::as_scalars) {
      const Var unchosen = g.tape->constant(Scalar{1} - choice.value(), "not chosen");
      slopes = slopes + unchosen * sum(reshape(g, {rows, g.value().size() / rows}), 1, keep_axes);
    }
    ctx.give(0, slopes);
  };
  if (outputs.size() == 1) return tape.record_same("select", inputs, 1, backward);
  return tape.record("select", inputs, put_back(*kept, outputs, rows), backward);
}

}  // namespace

Var select(Var choice, const std::vector<Branch>& branches, Unchosen others) {
  const std::size_t rows = rows_in("select", "the choice is ", choice.shape(), branches.size());
  if (rows != 1)
    refuse(
        "select: the choice is ", choice.shape(),
        ", one for each example; need their x, to hand out its rows: select(choice, x, branches)");
  std::vector<Chosen> chosen = chosen_in(choice, rows);
  const Var out = branch_at("select", branches, chosen[0].branch)();
  return selected(choice, std::move(chosen), {out}, others);
}

Var select(Var choice, Var x, const std::vector<BranchOf>& branches, Unchosen others) {
  tape_of("select", {choice, x});
  const std::size_t rows = rows_in("select", "the choice is ", choice.shape(), branches.size());
  if (rows == 1) {
    std::vector<Branch> bound;
    for (std::size_t k = 0; k < branches.size(); ++k)
      bound.push_back([&, k] { return branch_at("select", branches, k)(x); });
    return select(choice, bound, others);
  }
  if (rows == 0 || x.shape().empty() || x.shape()[0] != rows)
    refuse("select: the choice is ", choice.shape(), ", x is ", x.shape(),
           "; need a row of x for each of at least one example");
  std::vector<Chosen> chosen = chosen_in(choice, rows);
  std::vector<Var> outputs;
  for (const Chosen& c : chosen) {
    const BranchOf& branch = branch_at("select", branches, c.branch);
    const Var out = branch(chosen.size() == 1 ? x : take(x, c.rows, 0));
    Shape wanted = outputs.empty() ? out.shape() : outputs[0].shape();
    if (!wanted.empty()) wanted[0] = c.rows.size();
    if (wanted.empty() || out.shape() != wanted)
      refuse("select: branch ", c.branch, " gave ", out.shape(), " for ", c.rows.size(),
             (c.rows.size() == 1 ? " row" : " rows"), "; need ",
             outputs.empty() ? "a row for each" : str(wanted) + ", as the other branches");
    outputs.push_back(out);
  }
  return selected(choice, std::move(chosen), outputs, others);
}

Var mixture(Var weights, const std::vector<Branch>& branches) {
  const std::size_t rows = rows_in("mixture", "the weights are ", weights.shape(), branches.size());
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
  const std::size_t size = outputs[0].value().size();
  return mixed(weights, outputs, {rows, rows == 0 ? 0 : size / rows, branches.size()});
}

Var mixture(Var weights, Var x, const std::vector<BranchOf>& branches) {
  std::vector<Branch> bound;
  for (std::size_t k = 0; k < branches.size(); ++k)
    bound.push_back([&, k] { return branch_at("mixture", branches, k)(x); });
  return mixture(weights, bound);
}

ARGTAPE_END
