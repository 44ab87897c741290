#include "ops/reduce.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "engine/broadcast.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

Axes all_axes(const Var& x) {
  Axes axes(x.shape().size());
  std::iota(axes.begin(), axes.end(), 0);
  return axes;
}

// x's shape with the axes brought down to length 1.
Shape kept_shape(const char* op, const Shape& shape, const Axes& axes) {
  Shape kept = shape;
  std::vector<bool> seen(shape.size(), false);
  for (int axis : axes) {
    const std::size_t a = axis_of(op, axis, shape);
    if (seen[a])
      throw std::invalid_argument(std::string(op) + ": axis " + std::to_string(axis) + " of " +
                                  str(shape) + " is given twice; need each once");
    seen[a] = true;
    kept[a] = 1;
  }
  return kept;
}

Var without_axes(Var y, const Axes& axes, KeepAxes keep) {
  if (keep == KeepAxes::yes || axes.empty()) return y;
  std::vector<bool> gone(y.shape().size(), false);
  for (int axis : axes) gone[axis_of("reshape", axis, y.shape())] = true;
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < gone.size(); ++i)
    if (!gone[i]) left.push_back(y.shape()[i]);
  return reshape(y, Shape(left.begin(), left.end()));
}

void require_elements(const char* op, const Shape& shape, const Shape& kept) {
  if (size_of(shape) == 0 && size_of(kept) != 0)
    throw std::invalid_argument(std::string(op) + ": x is " + str(shape) +
                                ", empty along the axes; need at least one element");
}

// For each element of `kept` the place in x of the first largest element above it, or the first
// smallest; of the first NaN if there is one.
template <bool smallest>
std::vector<std::size_t> places_of(const Tensor& x, const Shape& kept) {
  if (const Rows rows(x.shape(), kept); rows.length != 0) {
    std::vector<std::size_t> best(rows.count);
    rows.each([&](std::size_t r, std::size_t at) {
      best[r] = at + row_extreme<smallest>(x.data() + at, rows.length);
    });
    return best;
  }
  constexpr std::size_t none = ~std::size_t{0};
  std::vector<std::size_t> best(size_of(kept), none);
  const Shape& shape = x.shape();
  const std::size_t rank = shape.size();
  xt::svector<std::size_t, 4> step(rank, std::size_t{0}), at(rank, std::size_t{0});
  std::size_t s = 1, target = 0;
  for (std::size_t i = rank; i-- > 0;) {
    if (kept[i] != 1) step[i] = s;
    s *= kept[i];
  }
  const Scalar* v = x.data();
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::size_t& b = best[target];
    if (b == none || (smallest ? v[i] < v[b] : v[i] > v[b]) ||
        (std::isnan(v[i]) && !std::isnan(v[b])))
      b = i;
    for (std::size_t axis = rank; axis-- > 0;) {
      target += step[axis];
      if (++at[axis] < shape[axis]) break;
      target -= step[axis] * shape[axis];
      at[axis] = 0;
    }
  }
  return best;
}

}  // namespace

Var sum(Var x, const Axes& axes, KeepAxes keep) {
  return without_axes(sum_to(x, kept_shape("sum", x.shape(), axes)), axes, keep);
}

Var mean(Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape("mean", x.shape(), axes);
  require_elements("mean", x.shape(), kept);
  const std::size_t parts = size_of(kept);
  const double n = parts == 0 ? 1 : static_cast<double>(size_of(x.shape()) / parts);
  return without_axes(sum_to(x, kept) / n, axes, keep);
}

namespace {
template <bool smallest>
Var extreme(const char* op, Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape(op, x.shape(), axes);
  require_elements(op, x.shape(), kept);
  return without_axes(gather(x, places_of<smallest>(x.value(), kept), kept), axes, keep);
}
}  // namespace

Var max(Var x, const Axes& axes, KeepAxes keep) { return extreme<false>("max", x, axes, keep); }
Var min(Var x, const Axes& axes, KeepAxes keep) { return extreme<true>("min", x, axes, keep); }

namespace {

// g e^{x - y} for y = logsumexp(x), row by row.
Var logsumexp_vjp(Var x, Var y, Var g, const Rows& rows) {
  Tensor to = uninitialised(x.shape());
  const Scalar *from = x.value().data(), *totals = y.value().data(), *slopes = g.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    const Lane total(totals[r]), slope(slopes[r]);
    map_lanes(
        rows.length, to.data() + at, false, [=](Lane v) { return slope * lane_exp(v - total); },
        from + at);
  });
  return x.tape->record("logsumexp_vjp", {x, y, g}, std::move(to), [](BackwardContext& ctx) {
    const Var u = ctx.gradient(), both = u * ctx.out();
    ctx.give(0, both);
    if (ctx.wants(1)) ctx.give(1, -both);
    if (ctx.wants(2)) ctx.give(2, u * exp(ctx.in(0) - ctx.in(1)));
  });
}

// 2 g (x - mean) / length, row by row; linear in x, too, and symmetric.
Var variance_vjp(Var x, Var g, const Rows& rows) {
  Tensor to = uninitialised(x.shape());
  const Scalar *from = x.value().data(), *slopes = g.value().data();
  const auto scale = static_cast<Scalar>(2.0 / static_cast<double>(rows.length));
  rows.each([&](std::size_t r, std::size_t at) {
    const Lane mean(row_mean(from + at, rows.length)), slope(scale * slopes[r]);
    map_lanes(
        rows.length, to.data() + at, false, [=](Lane v) { return slope * (v - mean); }, from + at);
  });
  return x.tape->record("variance_vjp", {x, g}, std::move(to), [rows](BackwardContext& ctx) {
    const Var g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0)) ctx.give(0, variance_vjp(u, g, rows));
    if (!ctx.wants(1)) return;
    const Var one = u.tape->constant(ones(g.shape()), "one");
    ctx.give(1, u * variance_vjp(ctx.in(0), one, rows));
  });
}

}  // namespace

Var logsumexp(Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape("logsumexp", x.shape(), axes);
  require_elements("logsumexp", x.shape(), kept);
  const Rows rows(x.shape(), kept);
  if (rows.length == 0) {
    Tensor largest = uninitialised(kept);
    const std::vector<std::size_t> places = places_of<false>(x.value(), kept);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Scalar m = x.value().data()[places[i]];
      largest.data()[i] = std::isinf(m) ? 0 : m;  // inf - inf would be NaN
    }
    const Var m = x.tape->constant(std::move(largest), "largest");
    return without_axes(log(sum(exp(x - m), axes, keep)) + m, axes, keep);
  }
  Tensor y = uninitialised(kept);
  const Scalar* from = x.value().data();
  rows.each(
      [&](std::size_t r, std::size_t at) { y.data()[r] = logsumexp_row(from + at, rows.length); });
  const Var out = x.tape->record("logsumexp", {x}, std::move(y), [rows](BackwardContext& ctx) {
    ctx.give(0, logsumexp_vjp(ctx.in(0), ctx.out(), ctx.gradient(), rows));
  });
  return without_axes(out, axes, keep);
}

Var variance(Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape("variance", x.shape(), axes);
  require_elements("variance", x.shape(), kept);
  const Rows rows(x.shape(), kept);
  if (rows.length == 0) return mean(square(x - mean(x, axes, keep_axes)), axes, keep);
  Tensor y = uninitialised(kept);
  const Scalar* from = x.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    y.data()[r] = row_moments(from + at, rows.length).variance;
  });
  const Var out = x.tape->record("variance", {x}, std::move(y), [rows](BackwardContext& ctx) {
    ctx.give(0, variance_vjp(ctx.in(0), ctx.gradient(), rows));
  });
  return without_axes(out, axes, keep);
}

Var sum(Var x) { return sum(x, all_axes(x)); }
Var mean(Var x) { return mean(x, all_axes(x)); }
Var max(Var x) { return max(x, all_axes(x)); }
Var min(Var x) { return min(x, all_axes(x)); }
Var logsumexp(Var x) { return logsumexp(x, all_axes(x)); }
Var variance(Var x) { return variance(x, all_axes(x)); }

}  // namespace ARGTAPE_ABI
}  // namespace argtape
