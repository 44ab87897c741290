#include "ops/reduce.hpp"

#include <algorithm>
#include <numeric>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
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
    if (seen[a]) refuse(op, ": axis ", axis, " of ", shape, " is given twice; need each once");
    seen[a] = true;
    kept[a] = 1;
  }
  return kept;
}

// y of `kept`'s size: in that shape, or without the axes.
Var shaped(Var y, const Shape& kept, const Axes& axes, KeepAxes keep) {
  if (keep == KeepAxes::yes || axes.empty()) return y.shape() == kept ? y : reshape(y, kept);
  std::vector<bool> gone(kept.size(), false);
  for (int axis : axes) gone[axis_of("reshape", axis, kept)] = true;
  std::vector<std::size_t> left;
  for (std::size_t i = 0; i < gone.size(); ++i)
    if (!gone[i]) left.push_back(kept[i]);
  return reshape(y, Shape(left.begin(), left.end()));
}

void require_elements(const char* op, const Shape& shape, const Shape& kept) {
  if (size_of(shape) == 0 && size_of(kept) != 0)
    refuse(op, ": x is ", shape, ", empty along the axes; need at least one element");
}

// What is left of x when f has brought each row down to one number: f(x, rows, shape) is called
// with the axes behind the others, and gives numbers of a shape in which they have length 1.
template <class F>
Var by_rows(const char* op, Var x, const Axes& axes, KeepAxes keep, F f) {
  const Shape kept = kept_shape(op, x.shape(), axes);
  require_elements(op, x.shape(), kept);
  const std::size_t count = size_of(kept);
  const Rows rows(count, count == 0 ? 0 : x.value().size() / count);
  auto end = kept.end();
  while (end != kept.begin() && *(end - 1) == 1) --end;
  if (std::equal(kept.begin(), end, x.shape().begin()))
    return shaped(f(x, rows, kept), kept, axes, keep);
  Axes order;
  Shape shape;
  for (bool gone : {false, true})
    for (std::size_t i = 0; i < kept.size(); ++i)
      if ((kept[i] != x.shape()[i]) == gone) {
        order.push_back(static_cast<int>(i));
        shape.push_back(kept[i]);
      }
  return shaped(f(transpose(x, order), rows, shape), kept, axes, keep);
}

}  // namespace

Var sum(Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape("sum", x.shape(), axes);
  return shaped(sum_to(x, kept), kept, axes, keep);
}

Var mean(Var x, const Axes& axes, KeepAxes keep) {
  const Shape kept = kept_shape("mean", x.shape(), axes);
  require_elements("mean", x.shape(), kept);
  const std::size_t parts = size_of(kept);
  const double n = parts == 0 ? 1 : static_cast<double>(size_of(x.shape()) / parts);
  return shaped(sum_to(x, kept) / n, kept, axes, keep);
}

namespace {

template <bool smallest>
Var extreme(const char* op, Var x, const Axes& axes, KeepAxes keep) {
  return by_rows(op, x, axes, keep, [](Var x, const Rows& rows, const Shape& shape) {
    std::vector<std::size_t> places(rows.count);
    rows.each([&, from = x.value().data()](std::size_t r, std::size_t at) {
      places[r] = at + row_extreme<smallest>(from + at, rows.length);
    });
    return gather(x, places, shape);
  });
}

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

Var max(Var x, const Axes& axes, KeepAxes keep) { return extreme<false>("max", x, axes, keep); }
Var min(Var x, const Axes& axes, KeepAxes keep) { return extreme<true>("min", x, axes, keep); }

Var logsumexp(Var x, const Axes& axes, KeepAxes keep) {
  return by_rows("logsumexp", x, axes, keep, [](Var x, const Rows& rows, const Shape& shape) {
    Tensor y = uninitialised(shape);
    rows.each([&, from = x.value().data()](std::size_t r, std::size_t at) {
      y.data()[r] = logsumexp_row(from + at, rows.length);
    });
    return x.tape->record("logsumexp", {x}, std::move(y), [rows](BackwardContext& ctx) {
      ctx.give(0, logsumexp_vjp(ctx.in(0), ctx.out(), ctx.gradient(), rows));
    });
  });
}

Var variance(Var x, const Axes& axes, KeepAxes keep) {
  return by_rows("variance", x, axes, keep, [](Var x, const Rows& rows, const Shape& shape) {
    Tensor y = uninitialised(shape);
    rows.each([&, from = x.value().data()](std::size_t r, std::size_t at) {
      y.data()[r] = row_moments(from + at, rows.length).variance;
    });
    return x.tape->record("variance", {x}, std::move(y), [rows](BackwardContext& ctx) {
      ctx.give(0, variance_vjp(ctx.in(0), ctx.gradient(), rows));
    });
  });
}

Var sum(Var x) { return sum(x, all_axes(x)); }
Var mean(Var x) { return mean(x, all_axes(x)); }
Var max(Var x) { return max(x, all_axes(x)); }
Var min(Var x) { return min(x, all_axes(x)); }
Var logsumexp(Var x) { return logsumexp(x, all_axes(x)); }
Var variance(Var x) { return variance(x, all_axes(x)); }

ARGTAPE_END
