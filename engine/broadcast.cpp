#include "engine/broadcast.hpp"

#include <algorithm>

#include "engine/require.hpp"
#include "engine/simd/broadcast_sum.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"

ARGTAPE_PUBLIC_BEGIN

Tensor sum_to(const Tensor& x, const Shape& shape) {
  require(broadcasts_to(shape, x.shape()), "sum_to: ", shape, " does not broadcast to ", x.shape());
  return summed(x, shape);
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  require(broadcasts_to(x.shape(), shape), "broadcast_to: ", x.shape(), " does not broadcast to ",
          shape);
  Tensor out = uninitialised(shape);
  const Source source{x.data(), &x.shape()};
  const BroadcastLoop loop(shape, &source, 1);
  parallel_for(out.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    Block in;
    BroadcastLoop::Blocks block(loop, begin, end, end - begin, &in);
    while (block.next()) {
      if (in.along)
        std::copy_n(in.data, block.n, out.data() + block.at);
      else
        std::fill_n(out.data() + block.at, block.n, *in.data);
    }
  });
  return out;
}

void add_to(Tensor& a, const Tensor& b) {
  parallel_for(a.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    map_lanes(
        end - begin, a.data() + begin, true, [](Lane x) { return x; }, b.data() + begin);
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
