#include "engine/broadcast.hpp"

#include <algorithm>

#include "engine/require.hpp"
#include "engine/simd/broadcast_sum.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void require_fits(const char* op, const Shape& small, const Shape& large) {
  if (!broadcasts_to(small, large)) refuse(op, ": ", small, " does not broadcast to ", large);
}

}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  require_fits("sum_to", shape, x.shape());
  return sum_bundles(x, shape);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  require_fits("broadcast_to", x.shape(), shape);
  Tensor out = uninitialised(shape);
  along_rows(x.shape(), shape, [&x, &out](const Bundle& b) {
    parallel_for(b.rows, rows_of_grain(b.length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        const Scalar* p = x.data() + b.small + r * b.step;
        Scalar* o = out.data() + b.large + r * b.length;
        if (b.moving)
          std::copy(p, p + b.length, o);
        else
          std::fill(o, o + b.length, *p);
      }
    });
  });
  return out;
}

void add_to(Tensor& a, const Tensor& b) {
  Scalar* p = a.data();
  const Scalar* q = b.data();
  const std::size_t n = a.size();
  parallel_for(n, kGrain, [=](std::size_t begin, std::size_t end) {
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) p[i] += q[i];
  });
}

Var sum_to(Var x, const Shape& shape) {
  return x.tape->record("sum", {x}, sum_to(x.value(), shape),
                        [](BackwardContext& ctx) { SweepDoor::pass(ctx, 0); });
}

Var broadcast_to(Var x, const Shape& shape) {
  return x.tape->record("broadcast", {x}, broadcast_to(x.value(), shape), [](BackwardContext& ctx) {
    ctx.give(0, sum_to(ctx.gradient(), ctx.in(0).shape()));
  });
}

Var reshaped(Var x, const Shape& shape) {
  return x.tape->record("reshape", {x}, reshaped(x.value(), shape),
                        [](BackwardContext& ctx) { SweepDoor::pass(ctx, 0); });
}

Var add_same(Var a, Var b) {
  Tensor sum = a.value();
  add_to(sum, b.value());
  return a.tape->record("add", {a, b}, std::move(sum), [](BackwardContext& ctx) {
    ctx.pass(0);
    ctx.pass(1);
  });
}

ARGTAPE_END
