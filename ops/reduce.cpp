#include "ops/reduce.hpp"

#include <cmath>
#include <numeric>
#include <stdexcept>

#include "engine/broadcast.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/elementwise_kernel.hpp"
#include "ops/kernels/row_kernels.hpp"
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

Var without_axes(Var y, const Axes& axes, bool keep_axes) {
  if (keep_axes || axes.empty()) return y;
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

// Rows of contiguous numbers, each brought down to one: what an op has to do with where its axes
// are the last ones. length is 0 where they are not, or where there is nothing to do.
struct Rows {
  std::size_t count = 0, length = 0;
  Rows(const Shape& shape, const Shape& kept) {
    const std::size_t size = size_of(shape);
    if (size == 0) return;
    std::size_t axis = shape.size();
    while (axis > 0 && kept[axis - 1] == 1) --axis;
    if (!std::equal(shape.begin(), shape.begin() + static_cast<std::ptrdiff_t>(axis), kept.begin()))
      return;
    count = size_of(kept);
    length = size / count;
  }
  // f(row, where it starts) for each, on all threads.
  template <class F>
  void each(F f) const {
    parallel_for(count, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) f(r, r * length);
    });
  }
};

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

Var sum(Var x, const Axes& axes, bool keep_axes) {
  return without_axes(sum_to(x, kept_shape("sum", x.shape(), axes)), axes, keep_axes);
}

Var mean(Var x, const Axes& axes, bool keep_axes) {
  const Shape kept = kept_shape("mean", x.shape(), axes);
  require_elements("mean", x.shape(), kept);
  const std::size_t parts = size_of(kept);
  const double n = parts == 0 ? 1 : static_cast<double>(size_of(x.shape()) / parts);
  return without_axes(sum_to(x, kept) / n, axes, keep_axes);
}

namespace {
template <bool smallest>
Var extreme(const char* op, Var x, const Axes& axes, bool keep_axes) {
  const Shape kept = kept_shape(op, x.shape(), axes);
  require_elements(op, x.shape(), kept);
  return without_axes(gather(x, places_of<smallest>(x.value(), kept), kept), axes, keep_axes);
}
}  // namespace

Var max(Var x, const Axes& axes, bool keep_axes) {
  return extreme<false>("max", x, axes, keep_axes);
}
Var min(Var x, const Axes& axes, bool keep_axes) {
  return extreme<true>("min", x, axes, keep_axes);
}

Var logsumexp(Var x, const Axes& axes, bool keep_axes) {
  const Shape kept = kept_shape("logsumexp", x.shape(), axes);
  require_elements("logsumexp", x.shape(), kept);
  Tensor y;
  const Rows rows(x.shape(), kept);
  if (rows.length != 0) {
    y = uninitialised(kept);
    const Scalar* from = x.value().data();
    rows.each([&](std::size_t r, std::size_t at) {
      y.data()[r] = logsumexp_row(from + at, rows.length);
    });
  } else {
    Tensor largest = uninitialised(kept), e = uninitialised(x.shape());
    const std::vector<std::size_t> places = places_of<false>(x.value(), kept);
    for (std::size_t i = 0; i < places.size(); ++i) {
      const Scalar m = x.value().data()[places[i]];
      largest.data()[i] = std::isinf(m) ? 0 : m;  // inf - inf would be NaN
    }
    map_broadcast(
        e.shape(), e.data(), false, [](Lane v, Lane m) { return lane_exp(v - m); }, x.value(),
        largest);
    y = sum_to(e, kept);
    map_broadcast(
        kept, y.data(), false, [](Lane s, Lane m) { return lane_log(s) + m; }, y, largest);
  }
  const Var out = x.tape->record("logsumexp", {x}, std::move(y), [rows](BackwardContext& ctx) {
    const Var x = ctx.in(0), y = ctx.out();
    if (ctx.recorded()) return ctx.give(0, ctx.gradient() * exp(x - y));
    const auto slope = [](Lane g, Lane v, Lane y) { return g * lane_exp(v - y); };
    const BackwardContext::Sink sink = ctx.sink(0);
    const Tensor &from = x.value(), &total = y.value(), &g = ctx.numbers();
    if (rows.length == 0)
      return map_broadcast(x.shape(), sink.data, !sink.fresh, slope, g, from, total);
    rows.each([&](std::size_t r, std::size_t begin) {
      const Lane gr(g.data()[r]), yr(total.data()[r]);
      map_lanes(
          rows.length, sink.data + begin, !sink.fresh, [=](Lane v) { return slope(gr, v, yr); },
          from.data() + begin);
    });
  });
  return without_axes(out, axes, keep_axes);
}

Var variance(Var x, const Axes& axes, bool keep_axes) {
  const Shape kept = kept_shape("variance", x.shape(), axes);
  require_elements("variance", x.shape(), kept);
  const Rows rows(x.shape(), kept);
  if (rows.length == 0) return mean(square(x - mean(x, axes, true)), axes, keep_axes);
  Tensor y = uninitialised(kept);
  const Scalar* from = x.value().data();
  rows.each([&](std::size_t r, std::size_t at) {
    y.data()[r] = row_moments(from + at, rows.length).variance;
  });
  const Var out = x.tape->record("variance", {x}, std::move(y), [rows, axes](BackwardContext& ctx) {
    const Var x = ctx.in(0);
    const auto scale = static_cast<Scalar>(2.0 / static_cast<double>(rows.length));
    if (ctx.recorded()) return ctx.give(0, ctx.gradient() * scale * (x - mean(x, axes, true)));
    const BackwardContext::Sink sink = ctx.sink(0);
    const Scalar *from = x.value().data(), *g = ctx.numbers().data();
    rows.each([&](std::size_t r, std::size_t begin) {
      const Lane mean(row_mean(from + begin, rows.length)), slope(scale * g[r]);
      map_lanes(
          rows.length, sink.data + begin, !sink.fresh, [=](Lane v) { return slope * (v - mean); },
          from + begin);
    });
  });
  return without_axes(out, axes, keep_axes);
}

Var sum(Var x) { return sum(x, all_axes(x)); }
Var mean(Var x) { return mean(x, all_axes(x)); }
Var max(Var x) { return max(x, all_axes(x)); }
Var min(Var x) { return min(x, all_axes(x)); }
Var logsumexp(Var x) { return logsumexp(x, all_axes(x)); }
Var variance(Var x) { return variance(x, all_axes(x)); }

}  // namespace ARGTAPE_ABI
}  // namespace argtape
