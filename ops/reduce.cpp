#include "ops/reduce.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
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

// What becomes of a shape whose axes are brought down to one number.
struct Reduced {
  Shape kept, shape;  // with the axes, of length 1; and as it was asked for

  Reduced(const char* op, const Shape& from, const Axes& axes, KeepAxes keep) {
    std::vector<bool> gone(from.size(), false);
    for (int axis : axes) {
      const std::size_t a = axis_of(op, axis, from);
      if (gone[a]) refuse(op, ": axis ", axis, " of ", from, " is given twice; need each once");
      gone[a] = true;
    }
    for (std::size_t i = 0; i < from.size(); ++i) {
      kept.push_back(gone[i] ? 1 : from[i]);
      if (!gone[i] || keep == KeepAxes::yes) shape.push_back(kept[i]);
    }
  }
  Var of(Var y) const { return y.shape() == shape ? y : reshape(y, shape); }
};

void require_elements(const char* op, const Shape& shape, const Shape& kept) {
  if (size_of(shape) == 0 && size_of(kept) != 0)
    refuse(op, ": x is ", shape, ", empty along the axes; need at least one element");
}

// What is left of x when f has brought each row down to one number: f(x, rows, shape) is called
// with the axes behind the others, and gives numbers of a shape in which they have length 1. Rows
// of nothing are refused unless there is a number `of_nothing`.
template <class F>
Var by_rows(const char* op, Var x, const Axes& axes, KeepAxes keep, F f, bool of_nothing = false) {
  const Reduced to(op, x.shape(), axes, keep);
  const Shape& kept = to.kept;
  if (!of_nothing) require_elements(op, x.shape(), kept);
  const std::size_t count = size_of(kept);
  const Rows rows(count, count == 0 ? 0 : x.value().size() / count);
  auto end = kept.end();
  while (end != kept.begin() && *(end - 1) == 1) --end;
  if (std::equal(kept.begin(), end, x.shape().begin())) return to.of(f(x, rows, kept));
  Axes order;
  Shape shape;
  for (bool gone : {false, true})
    for (std::size_t i = 0; i < kept.size(); ++i)
      if ((kept[i] != x.shape()[i]) == gone) {
        order.push_back(static_cast<int>(i));
        shape.push_back(kept[i]);
      }
  return to.of(f(transpose(x, order), rows, shape));
}

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

// g softmax(x), row by row.
Var logsumexp_vjp(Var x, Var g, const Rows& rows) {
  const TensorRows numbers(x.value());
  const auto row = [numbers, slopes = g.value().data()](ResultRow y, auto e, Scalar sum) {
    const Scalar slope = slopes[y.r], *x = numbers.x + y.r * y.n;
    if (slope != 0 && !std::isnan(sum)) {
      y = [&, scale = Lane(slope / sum)](std::size_t i) { return e(i) * scale; };
      return;
    }
    // What stands at +inf shares all weight. Nothing arrives at a row of nothing but -inf, nor
    // where none comes; NaN stays.
    const auto infinite = static_cast<Scalar>(std::count(x, x + y.n, -kMinusInf));
    const bool nan = slope != 0 && std::isnan(logsumexp_row(x, y.n));
    std::transform(x, x + y.n, y.to, [=](Scalar v) {
      return nan ? kNaN : v == -kMinusInf ? slope / infinite : 0;
    });
  };
  Tensor to = map_softmax_rows({rows.count, rows.length}, numbers, 1, row);
  return x.tape->record("logsumexp_vjp", {x, g}, reshaped(std::move(to), x.shape()),
                        [rows](BackwardContext& ctx) {
                          const Var x = ctx.in(0), g = ctx.in(1), u = ctx.gradient(),
                                    one = u.tape->constant(ones(g.shape()), "one"),
                                    p = logsumexp_vjp(x, one, rows), both = u * ctx.out();
                          if (ctx.wants(0)) ctx.give(0, both - p * sum_to(both, g.shape()));
                          if (ctx.wants(1)) ctx.give(1, u * p);
                        });
}

// 2 g (x - mean) / length, row by row; linear in x, too, and symmetric.
Var variance_vjp(Var x, Var g, const Rows& rows) {
  Tensor to = zeros(x.shape());
  const Scalar *from = x.value().data(), *slopes = g.value().data();
  const auto scale = static_cast<Scalar>(2.0 / static_cast<double>(rows.length));
  rows.each([&](std::size_t r, std::size_t at) {
    if (slopes[r] == 0) return;  // whatever the row holds
    Mean mean = row_mean(from + at, rows.length);
    if (!std::isfinite(mean.rest)) {  // whose sum may be out of range
      const UnitMoments m = rescaled_moments(from + at, rows.length);
      mean = {m.mean.first / m.unit, 0};
    }
    map_lanes(
        rows.length, to.data() + at, false,
        [slope = Lane(scale * slopes[r]), centred = mean.subtracted()](Lane v) {
          return slope * centred(v);
        },
        from + at);
  });
  return x.tape->record("variance_vjp", {x, g}, std::move(to), [rows](BackwardContext& ctx) {
    const Var g = ctx.in(1), u = ctx.gradient();
    if (ctx.wants(0)) ctx.give(0, variance_vjp(u, g, rows));
    if (!ctx.wants(1)) return;
    const Var one = u.tape->constant(ones(g.shape()), "one");
    ctx.give(1, u * variance_vjp(ctx.in(0), one, rows));
  });
}

// y = value(row, length) for each row, and what vjp(x, y, g, rows) hands back.
template <class Value, class Vjp>
Var numbers_of_rows(Name op, Var x, const Axes& axes, KeepAxes keep, Value value, Vjp vjp) {
  return by_rows(op.c_str(), x, axes, keep, [=](Var x, const Rows& rows, const Shape& shape) {
    Tensor y = uninitialised(shape);
    rows.each([&, from = x.value().data()](std::size_t r, std::size_t at) {
      y.data()[r] = value(from + at, rows.length);
    });
    return x.tape->record(op, {x}, std::move(y), [rows, vjp](BackwardContext& ctx) {
      ctx.give(0, vjp(ctx.in(0), ctx.out(), ctx.gradient(), rows));
    });
  });
}

Scalar row_norm(const Scalar* x, std::size_t n) {
  using Limits = std::numeric_limits<Scalar>;
  constexpr double least = double{Limits::min()} / Limits::epsilon() / Limits::epsilon();
  const auto squares = static_cast<double>(row_sum(
      n, [](Lane v) { return v * v; }, x));
  // Neither overflow nor vanish those that count.
  if (std::isfinite(squares) && squares > least) return static_cast<Scalar>(std::sqrt(squares));
  const UnitMoments m = rescaled_moments(x, n);
  return std::sqrt(m.square * static_cast<Scalar>(n)) / m.unit;
}

// g x / y for y = |x|, and 0 where y is 0 or nothing arrives, row by row; linear in x and g.
Var norm_vjp(Var x, Var y, Var g, const Rows& rows) {
  Tensor to = zeros(x.shape());
  const Scalar *from = x.value().data(), *norms = y.value().data(), *slopes = g.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    if (norms[r] == 0 || slopes[r] == 0) return;
    map_lanes(
        rows.length, to.data() + at, false,
        [norm = Lane(norms[r]), slope = Lane(slopes[r])](Lane v) { return slope * (v / norm); },
        from + at);
  });
  return x.tape->record("norm_vjp", {x, y, g}, std::move(to), [rows](BackwardContext& ctx) {
    const Var x = ctx.in(0), y = ctx.in(1), g = ctx.in(2), u = ctx.gradient(),
              one = u.tape->constant(ones(g.shape()), "one"), over = norm_vjp(u, y, one, rows);
    if (ctx.wants(0)) ctx.give(0, g * over);
    if (ctx.wants(1)) ctx.give(1, -over * ctx.out());
    if (ctx.wants(2)) ctx.give(2, over * x);
  });
}

// Sums from the first element of an axis on, or from the last: each the other's derivative.
Var running_sum(Var x, std::size_t axis, bool from_last) {
  const Around a(x.shape(), axis);
  Tensor y = uninitialised(x.shape());
  std::vector<double, CachingAllocator<double>> sums(a.inner);
  for (std::size_t o = 0; o < a.outer; ++o) {
    std::fill(sums.begin(), sums.end(), 0);
    for (std::size_t k = 0; k < a.length; ++k) {
      const std::size_t at = (o * a.length + (from_last ? a.length - 1 - k : k)) * a.inner;
      const Scalar* from = x.value().data() + at;
      Scalar* to = y.data() + at;
      for (std::size_t i = 0; i < a.inner; ++i) to[i] = static_cast<Scalar>(sums[i] += from[i]);
    }
  }
  const Name name = from_last ? Name("cumsum_vjp") : Name("cumsum");
  return x.tape->record(name, {x}, std::move(y), [axis, from_last](BackwardContext& ctx) {
    ctx.give(0, running_sum(ctx.gradient(), axis, !from_last));
  });
}

}  // namespace

Var sum(Var x, const Axes& axes, KeepAxes keep) {
  const Reduced to("sum", x.shape(), axes, keep);
  return to.of(sum_to(x, to.kept));
}

Var prod(Var x, const Axes& axes, KeepAxes keep) {
  // A tree of products, in which nothing is divided: the first half times the second, and so on.
  const auto tree = [](Var x, const Rows& rows, const Shape& shape) {
    std::size_t n = 1;
    while (n < rows.length) n *= 2;
    Var y = reshape(x, {rows.count, rows.length});
    if (n > rows.length) {
      const Tensor rest = ones({rows.count, n - rows.length});
      y = concatenate({y, x.tape->constant(rest, "ones")}, 1);
    }
    while (n > 1) {
      n /= 2;
      y = slice(y, 0, n, 1) * slice(y, n, 2 * n, 1);
    }
    return reshape(y, shape);
  };
  return by_rows("prod", x, axes, keep, tree, true);
}

Var cumsum(Var x, int axis) { return running_sum(x, axis_of("cumsum", axis, x.shape()), false); }

Var mean(Var x, const Axes& axes, KeepAxes keep) {
  const Reduced to("mean", x.shape(), axes, keep);
  require_elements("mean", x.shape(), to.kept);
  const std::size_t parts = size_of(to.kept);
  const double n = parts == 0 ? 1 : static_cast<double>(size_of(x.shape()) / parts);
  return to.of(sum_to(x, to.kept) / n);
}

Var max(Var x, const Axes& axes, KeepAxes keep) { return extreme<false>("max", x, axes, keep); }
Var min(Var x, const Axes& axes, KeepAxes keep) { return extreme<true>("min", x, axes, keep); }

Var logsumexp(Var x, const Axes& axes, KeepAxes keep) {
  if (x.shape().empty() && axes.empty()) return logsumexp(reshape(x, {1}));
  return numbers_of_rows(
      "logsumexp", x, axes, keep,
      [](const Scalar* row, std::size_t n) { return logsumexp_row(row, n); },
      [](Var x, Var, Var g, const Rows& rows) { return logsumexp_vjp(x, g, rows); });
}

Var logmeanexp(Var x, const Axes& axes) {
  const Var y = logsumexp(x, axes);
  const auto n = static_cast<double>(x.value().size()),
             of = static_cast<double>(std::max<std::size_t>(y.value().size(), 1));
  return y - std::log(n / of);
}

Var variance(Var x, const Axes& axes, KeepAxes keep) {
  const auto value = [](const Scalar* row, std::size_t n) {
    const Scalar variance = row_moments(row, n).variance;
    if (std::isfinite(variance)) return variance;
    const UnitMoments m = rescaled_moments(row, n);
    return m.variance / m.unit / m.unit;
  };
  return numbers_of_rows("variance", x, axes, keep, value, [](Var x, Var, Var g, const Rows& rows) {
    return variance_vjp(x, g, rows);
  });
}

Var norm(Var x, const Axes& axes, KeepAxes keep) {
  return numbers_of_rows("norm", x, axes, keep, row_norm, norm_vjp);
}

Var sum(Var x) { return sum(x, all_axes(x)); }
Var prod(Var x) { return prod(x, all_axes(x)); }
Var mean(Var x) { return mean(x, all_axes(x)); }
Var max(Var x) { return max(x, all_axes(x)); }
Var min(Var x) { return min(x, all_axes(x)); }
Var logsumexp(Var x) { return logsumexp(x, all_axes(x)); }
Var variance(Var x) { return variance(x, all_axes(x)); }
Var norm(Var x) { return norm(x, all_axes(x)); }

ARGTAPE_END
