// How the ops that work number by number are made: a value and its derivatives as formulas, generic
// in the number type. Given Lanes they run over plain arrays in one pass; given Vars the tape
// records them. For the library's own .cpp files.
#pragma once

#include <array>
#include <numeric>
#include <tuple>

#include "../../engine/broadcast.hpp"
#include "../../engine/simd/functions.hpp"
#include "../../engine/sweep.hpp"
#include "../../engine/system/parallel.hpp"
#include "broadcast_loop.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

inline Lane sigmoid(Lane x) { return lane_sigmoid(x); }

/// out[i] = f(in[i]...) for i < n, or out[i] += f(in[i]...) with `add`: map_lanes on all threads.
template <class F, class... P>
void map_all(std::size_t n, Scalar* out, bool add, F f, const P*... in) {
  if (!add && n * sizeof(Scalar) >= kPastCaches)
    return parallel_for(n, kGrain, [&](std::size_t begin, std::size_t end) {
      stream_lanes(end - begin, out + begin, f, (in + begin)...);
    });
  parallel_for(n, kGrain, [&](std::size_t begin, std::size_t end) {
    map_lanes(end - begin, out + begin, add, f, (in + begin)...);
  });
}

/// out = f(in...), or out += f(in...) with `add`; each input broadcasts to `shape`, out's own.
template <class F, class... T>
void map_broadcast(const Shape& shape, Scalar* out, bool add, F f, const T&... in) {
  constexpr std::size_t n = sizeof...(T);
  if (((in.shape() == shape) && ...)) return map_all(size_of(shape), out, add, f, in.data()...);
  const BroadcastLoop layout(shape, {&in.shape()...});
  const std::array<const Scalar*, n> data{in.data()...};
  const auto part = [&](const std::size_t* places, std::size_t from, std::size_t to, Scalar* y,
                        auto... j) {
    const auto load = [&](std::size_t k, std::size_t i) {
      const Scalar* p = data[k] + places[k];
      return layout.moves(k) ? Lane::load_unaligned(p + i) : Lane(*p);
    };
    const auto load_last = [&](std::size_t k, std::size_t i) {
      const Scalar* p = data[k] + places[k];
      return layout.moves(k) ? load_some(p + i, to - i) : Lane(*p);
    };
    std::size_t i = from;
    for (; i + kLane <= to; i += kLane, y += kLane) {
      const Lane v = f(load(j, i)...);
      (add ? Lane::load_unaligned(y) + v : v).store_unaligned(y);
    }
    if (i == to) return;
    const Lane v = f(load_last(j, i)...);
    store_some(add ? load_some(y, to - i) + v : v, y, to - i);
  };
  std::array<std::size_t, n> inputs;
  std::iota(inputs.begin(), inputs.end(), std::size_t{0});
  parallel_for(size_of(shape), kGrain, [&](std::size_t begin, std::size_t end) {
    layout.each(begin, end,
                [&](const std::size_t* places, std::size_t from, std::size_t to, std::size_t at) {
                  std::apply([&](auto... j) { part(places, from, to, out + at, j...); }, inputs);
                });
  });
}

/// y = f(x), with derivative df(g, x, y) for the gradient g that arrives at y.
template <class F, class D>
Var map(const char* name, Var x, F f, D df) {
  Tensor y = uninitialised(x.shape());
  map_all(y.size(), y.data(), false, f, x.value().data());
  return x.tape->record(name, {x}, std::move(y), [df](BackwardContext& ctx) {
    if (ctx.recorded()) return ctx.give(0, df(ctx.gradient(), ctx.in(0), ctx.out()));
    const auto [to, fresh] = ctx.sink(0);
    const Tensor &x = ctx.in(0).value(), &y = ctx.out().value();
    const Tensor& g = ctx.compact();
    if (g.size() == y.size())
      return map_all(y.size(), to, !fresh, df, g.data(), x.data(), y.data());
    map_broadcast(y.shape(), to, !fresh, df, g, x, y);
  });
}

/// y = f(a, b), broadcast, with derivatives da(g, a, b, y) and db(g, a, b, y).
template <class F, class A, class B>
Var map(const char* name, Var a, Var b, F f, A da, B db) {
  Tensor y = uninitialised(broadcast_shape(name, a.shape(), b.shape()));
  map_broadcast(y.shape(), y.data(), false, f, a.value(), b.value());
  return tape_of(name, {a, b}).record(name, {a, b}, std::move(y), [da, db](BackwardContext& ctx) {
    const Var a = ctx.in(0), b = ctx.in(1), y = ctx.out();
    const auto to = [&](std::size_t i, auto d) {
      if (!ctx.wants(i)) return;
      if (ctx.recorded()) return ctx.give(i, d(ctx.gradient(), a, b, y));
      if (ctx.in(i).shape() == y.shape()) {
        const auto [sink, fresh] = ctx.sink(i);
        return map_broadcast(y.shape(), sink, !fresh, d, ctx.compact(), a.value(), b.value(),
                             y.value());
      }
      Tensor g = uninitialised(y.shape());
      map_broadcast(y.shape(), g.data(), false, d, ctx.compact(), a.value(), b.value(), y.value());
      ctx.give(i, std::move(g));
    };
    to(0, da);
    to(1, db);
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
