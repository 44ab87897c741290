#include "ops/select.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

[[noreturn]] void fail(const char* op, const std::string& given, const std::string& needed) {
  throw std::invalid_argument(std::string(op) + ": " + given + "; need " + needed);
}

// What chooses or weighs: (K,) or (1, K) for all examples together, (B, K) for each by itself.
std::size_t rows_in(const char* op, const std::string& what, const Shape& shape,
                    std::size_t branches) {
  if (shape.empty() || shape.size() > 2) fail(op, what + str(shape), "(K,), (1, K) or (B, K)");
  const std::size_t k = shape[shape.size() - 1];
  if (k == 0 || k != branches)
    fail(op,
         what + str(shape) + ", with " + std::to_string(branches) +
             (branches == 1 ? " branch" : " branches"),
         "one branch for each of at least one category");
  return shape.size() == 1 ? 1 : shape[0];
}

template <class Function>
const Function& branch_at(const char* op, const std::vector<Function>& branches, std::size_t k) {
  if (!branches[k]) fail(op, "branch " + std::to_string(k) + " is empty", "a function");
  return branches[k];
}

// x as (rows, the rest), where the rest of each row is summed.
Var row_sums(Var x, std::size_t rows) {
  return sum(reshape(x, {rows, rows == 0 ? 0 : x.value().size() / rows}), {1});
}

// One number for each row, to be multiplied with rows of `shape`.
Var beside(Var numbers, const Shape& shape, bool together) {
  if (together) return reshape(numbers, {});
  Shape column(shape.size(), 1);
  column[0] = shape[0];
  return reshape(numbers, column);
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
      fail("select", "row " + std::to_string(r) + " of the choice is not one-hot",
           "a hard choice, or mixture() for a soft one");
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

// What a sweep does with y = D_k o_k + sum_{j != k} D_j, row by row; `together` if all rows are
// one.
struct Selection {
  std::vector<Chosen> chosen;
  bool together;
  Unchosen others;

  void in_vars(BackwardContext& ctx) const {
    const Var choice = ctx.in(0), g = ctx.gradient();
    Var slopes;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const Chosen& c = chosen[i];
      const Var out = ctx.in(i + 1), d = gather(choice, c.places, {c.places.size()});
      const Var part = chosen.size() == 1 ? g : take(g, c.rows, 0);
      if (ctx.wants(i + 1)) ctx.give(i + 1, part * beside(d, part.shape(), together));
      if (!ctx.wants(0)) continue;
      const Var slope = scatter(row_sums(part * out, c.places.size()), c.places, choice.shape());
      slopes = i == 0 ? slope : slopes + slope;
    }
    if (!ctx.wants(0)) return;
    if (others == Unchosen::as_scalars) {
      const std::size_t rows = together ? 1 : g.shape()[0];
      const Var unchosen = g.tape->constant(Scalar{1} - choice.value(), "not chosen");
      slopes = slopes + unchosen * reshape(row_sums(g, rows), together ? Shape{} : Shape{rows, 1});
    }
    ctx.give(0, slopes);
  }

  void in_numbers(BackwardContext& ctx) const {
    const Tensor &y = ctx.out().value(), &choice = ctx.in(0).value();
    if (ctx.wants(0)) {
      const Scalar* g = ctx.numbers().data();
      const std::size_t rows = together ? 1 : y.shape()[0], k = choice.size() / rows,
                        length = y.size() / rows;
      const auto [to, fresh] = ctx.sink(0);
      if (fresh) std::fill_n(to, choice.size(), Scalar{0});
      for (const Chosen& c : chosen)
        for (std::size_t r : c.rows) {
          const Scalar* slope = g + r * length;
          if (others == Unchosen::as_scalars) {
            const auto total = static_cast<Scalar>(long_row_sum(
                length, [](Lane v) { return v; }, slope));
            for (std::size_t j = 0; j < k; ++j) to[r * k + j] += j == c.branch ? 0 : total;
          }
          to[r * k + c.branch] += static_cast<Scalar>(long_row_sum(
              length, [](Lane a, Lane b) { return a * b; }, slope, y.data() + r * length));
        }
    }
    if (chosen.size() == 1) return ctx.pass(1);
    const std::size_t length = y.size() / y.shape()[0];
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      if (!ctx.wants(i + 1)) continue;
      const auto [to, fresh] = ctx.sink(i + 1);
      const std::vector<std::size_t>& rows = chosen[i].rows;
      for (std::size_t r = 0; r < rows.size(); ++r)
        map_lanes(
            length, to + r * length, !fresh, [](Lane v) { return v; },
            ctx.numbers().data() + rows[r] * length);
    }
  }
};

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

Var selected(Var choice, std::vector<Chosen> chosen, const std::vector<Var>& outputs, bool together,
             Unchosen others) {
  std::vector<Var> inputs{choice};
  inputs.insert(inputs.end(), outputs.begin(), outputs.end());
  Tape& tape = tape_of("select", inputs);
  const std::size_t rows = choice.shape()[0];
  const auto kept =
      std::make_shared<const Selection>(Selection{std::move(chosen), together, others});
  const auto backward = [kept](BackwardContext& ctx) {
    ctx.recorded() ? kept->in_vars(ctx) : kept->in_numbers(ctx);
  };
  if (outputs.size() == 1) return tape.record_same("select", inputs, 1, backward);
  return tape.record("select", inputs, put_back(kept->chosen, outputs, rows), backward);
}

}  // namespace

Var select(Var choice, const std::vector<Branch>& branches, Unchosen others) {
  const std::size_t rows = rows_in("select", "the choice is ", choice.shape(), branches.size());
  if (rows != 1)
    fail("select", "the choice is " + str(choice.shape()) + ", one for each example",
         "their x, to hand out its rows: select(choice, x, branches)");
  std::vector<Chosen> chosen = chosen_in(choice, rows);
  const Var out = branch_at("select", branches, chosen[0].branch)();
  return selected(choice, std::move(chosen), {out}, true, others);
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
    fail("select", "the choice is " + str(choice.shape()) + ", x is " + str(x.shape()),
         "a row of x for each of at least one example");
  std::vector<Chosen> chosen = chosen_in(choice, rows);
  std::vector<Var> outputs;
  for (const Chosen& c : chosen) {
    const BranchOf& branch = branch_at("select", branches, c.branch);
    const Var out = branch(chosen.size() == 1 ? x : take(x, c.rows, 0));
    Shape wanted = outputs.empty() ? out.shape() : outputs[0].shape();
    if (!wanted.empty()) wanted[0] = c.rows.size();
    if (wanted.empty() || out.shape() != wanted)
      fail("select",
           "branch " + std::to_string(c.branch) + " gave " + str(out.shape()) + " for " +
               std::to_string(c.rows.size()) + (c.rows.size() == 1 ? " row" : " rows"),
           outputs.empty() ? "a row for each" : str(wanted) + ", as the other branches");
    outputs.push_back(out);
  }
  return selected(choice, std::move(chosen), outputs, false, others);
}

namespace {

// Outputs o_k, all of one shape, as rows that have their weights each, or as one row.
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

Var mixed(Var weights, const std::vector<Var>& outputs, const Mix& mix);

// Output k's share of g: g times its weights.
Var share(Var weights, Var g, std::size_t k, const Mix& mix, bool together) {
  std::vector<std::size_t> places(mix.rows);
  for (std::size_t r = 0; r < mix.rows; ++r) places[r] = r * mix.k + k;
  return g * beside(gather(weights, places, {mix.rows}), g.shape(), together);
}

// <g, o_k> for each k, row by row: f' for the weights; to = or +=.
void inner_products(const Scalar* g, const std::vector<const Scalar*>& o, const Mix& mix,
                    Scalar* to, bool add) {
  const std::size_t k = mix.k;
  std::vector<double> parts(mix.rows * mix.stretches() * k);
  mix.each([&](std::size_t, std::size_t at, std::size_t n, std::size_t which) {
    for (std::size_t j = 0; j < k; ++j)
      parts[which * k + j] = static_cast<double>(row_sum(
          n, [](Lane a, Lane b) { return a * b; }, g + at, o[j] + at));
  });
  for (std::size_t r = 0; r < mix.rows; ++r)
    for (std::size_t j = 0; j < k; ++j) {
      double total = 0;
      for (std::size_t s = 0; s < mix.stretches(); ++s)
        total += parts[(r * mix.stretches() + s) * k + j];
      to[r * k + j] = (add ? to[r * k + j] : 0) + static_cast<Scalar>(total);
    }
}

std::vector<const Scalar*> numbers_of(const std::vector<Var>& vars) {
  std::vector<const Scalar*> numbers;
  for (const Var& v : vars) numbers.push_back(v.value().data());
  return numbers;
}

std::vector<Var> after_first(const BackwardContext& ctx) {
  std::vector<Var> rest;
  for (std::size_t i = 1; i < ctx.inputs(); ++i) rest.push_back(ctx.in(i));
  return rest;
}

std::vector<Var> with_first(Var first, const std::vector<Var>& rest) {
  std::vector<Var> all{first};
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

// The same as a node, of the weights' shape.
Var products(Var g, const std::vector<Var>& outputs, const Mix& mix, const Shape& shape,
             bool together) {
  Tensor p = uninitialised(shape);
  inner_products(g.value().data(), numbers_of(outputs), mix, p.data(), false);
  return g.tape->record("mixture to weights", with_first(g, outputs), std::move(p),
                        [mix, together](BackwardContext& ctx) {
                          const Var h = ctx.gradient(), g = ctx.in(0);
                          if (ctx.wants(0)) ctx.give(0, mixed(h, after_first(ctx), mix));
                          for (std::size_t k = 0; k < mix.k; ++k)
                            if (ctx.wants(k + 1)) ctx.give(k + 1, share(h, g, k, mix, together));
                        });
}

// Where numbers are asked for: all gradients while g is at hand.
void mixture_backward(BackwardContext& ctx, const Mix& mix) {
  const Scalar *g = ctx.numbers().data(), *w = ctx.in(0).value().data();
  if (ctx.wants(0)) {
    const auto [to, fresh] = ctx.sink(0);
    inner_products(g, numbers_of(after_first(ctx)), mix, to, !fresh);
  }
  std::vector<BackwardContext::Sink> sinks(mix.k, {nullptr, false});
  for (std::size_t k = 0; k < mix.k; ++k)
    if (ctx.wants(k + 1)) sinks[k] = ctx.sink(k + 1);
  mix.each([&](std::size_t r, std::size_t from, std::size_t n, std::size_t) {
    for (std::size_t k = 0; k < mix.k; ++k) {
      if (!sinks[k].data) continue;
      const Lane weight(w[r * mix.k + k]);
      map_lanes(
          n, sinks[k].data + from, !sinks[k].fresh, [=](Lane v) { return weight * v; }, g + from);
    }
  });
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
  const bool together = mix.rows == 1;
  return weights.tape->record(
      "mixture", with_first(weights, outputs), std::move(y), [mix, together](BackwardContext& ctx) {
        if (!ctx.recorded()) return mixture_backward(ctx, mix);
        const Var w = ctx.in(0), g = ctx.gradient();
        if (ctx.wants(0)) ctx.give(0, products(g, after_first(ctx), mix, w.shape(), together));
        for (std::size_t k = 0; k < mix.k; ++k)
          if (ctx.wants(k + 1)) ctx.give(k + 1, share(w, g, k, mix, together));
      });
}

}  // namespace

Var mixture(Var weights, const std::vector<Branch>& branches) {
  const std::size_t rows = rows_in("mixture", "the weights are ", weights.shape(), branches.size());
  std::vector<Var> outputs;
  for (std::size_t k = 0; k < branches.size(); ++k) {
    outputs.push_back(branch_at("mixture", branches, k)());
    const Shape &shape = outputs[k].shape(), &first = outputs[0].shape();
    if (rows != 1 && (shape.empty() || shape[0] != rows))
      fail("mixture",
           "the weights are " + str(weights.shape()) + ", branch " + std::to_string(k) + " gave " +
               str(shape),
           "a row for each example");
    if (shape != first)
      fail("mixture",
           "branch " + std::to_string(k) + " gave " + str(shape) + ", branch 0 " + str(first),
           "the same shape of all");
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

}  // namespace ARGTAPE_ABI
}  // namespace argtape
