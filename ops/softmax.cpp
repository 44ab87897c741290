#include "ops/softmax.hpp"

#include <cmath>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

struct Rows {
  std::size_t count, length;
  explicit Rows(const Shape& shape)
      : count(shape[shape.size() - 1] == 0 ? 0 : size_of(shape) / shape[shape.size() - 1]),
        length(shape[shape.size() - 1]) {}
  // f(where the row begins), for each row.
  template <class F>
  void each(F f) const {
    parallel_for(count, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) f(r * length);
    });
  }
};

}  // namespace

Var softmax(Var x, int axis) {
  return along_axis("softmax", x, axis, [](Var x) {
    Tensor y = uninitialised(x.shape());
    const Rows rows(x.shape());
    rows.each(
        [&](std::size_t at) { softmax_row(x.value().data() + at, rows.length, y.data() + at); });
    return x.tape->record("softmax", {x}, std::move(y), [](BackwardContext& ctx) {
      ctx.give(0, softmax_jacobian(ctx.out(), ctx.gradient()));
    });
  });
}

Var softmax_jacobian(Var p, Var g) {
  if (p.shape().empty() || p.shape() != g.shape())
    throw std::invalid_argument("softmax_jacobian: p is " + str(p.shape()) + ", g is " +
                                str(g.shape()) + "; need the same shape, (..., K)");
  Tensor y = uninitialised(p.shape());
  const Rows rows(p.shape());
  rows.each([&](std::size_t at) {
    jacobian_row(p.value().data() + at, g.value().data() + at, rows.length, 1, y.data() + at,
                 false);
  });
  return tape_of("softmax_jacobian", {p, g})
      .record("softmax_jacobian", {p, g}, std::move(y), [](BackwardContext& ctx) {
        const Var p = ctx.in(0), g = ctx.in(1), u = ctx.gradient();
        if (ctx.wants(0))
          ctx.give(0, u * (g - sum(p * g, {-1}, true)) - sum(u * p, {-1}, true) * g);
        if (ctx.wants(1)) ctx.give(1, softmax_jacobian(p, u));  // J is symmetric
      });
}

Var log_softmax(Var x, int axis) {
  return along_axis("log_softmax", x, axis, [](Var x) {
    Tensor y = uninitialised(x.shape());
    const Rows rows(x.shape());
    rows.each([&](std::size_t at) {
      const Scalar* v = x.value().data() + at;
      const Lane total(logsumexp_row(v, rows.length));
      map_lanes(
          rows.length, y.data() + at, false, [=](Lane v) { return v - total; }, v);
    });
    return x.tape->record("log_softmax", {x}, std::move(y), [](BackwardContext& ctx) {
      const Var y = ctx.out();
      if (ctx.recorded())
        return ctx.give(0, ctx.gradient() - exp(y) * sum(ctx.gradient(), {-1}, true));
      const Rows rows(y.shape());
      const auto [to, fresh] = ctx.sink(0);
      const Scalar *out = y.value().data(), *slope = ctx.numbers().data();
      rows.each([&, sink = to, add = !fresh](std::size_t at) {
        const Lane total(static_cast<Scalar>(long_row_sum(
            rows.length, [](Lane g) { return g; }, slope + at)));
        map_lanes(
            rows.length, sink + at, add, [=](Lane y, Lane g) { return g - lane_exp(y) * total; },
            out + at, slope + at);
      });
    });
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
