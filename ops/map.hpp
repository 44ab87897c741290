// How the ops that work number by number are made: a value and its derivatives as formulas, generic
// in the number type. Given Lanes they run over plain arrays in one pass; given Vars the tape
// records them. For the library's own .cpp files.
#pragma once

#include <array>
#include <numeric>
#include <tuple>

#include "../engine/broadcast.hpp"
#include "../engine/lanes.hpp"
#include "../engine/sweep.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

inline Lane sigmoid(Lane x) { return Lane(1) / (Lane(1) + lane_exp(-x)); }

/// out = f(in...), or out += f(in...) with `add`; each input broadcasts to `shape`, out's own.
template <class F, class... T>
void map_broadcast(const Shape& shape, Scalar* out, bool add, F f, const T&... in) {
  constexpr std::size_t n = sizeof...(T);
  if (((in.shape() == shape) && ...)) return map_lanes(size_of(shape), out, add, f, in.data()...);
  const std::size_t rank = shape.size();
  if (size_of(shape) == 0) return;
  // Steps of each input along each axis of `shape`; axes which all inputs run through alike join.
  std::array<xt::svector<std::size_t, 4>, n> steps;
  const auto lay = [&](std::size_t k, const Shape& s) {
    steps[k].assign(rank, std::size_t{0});
    std::size_t step = 1;
    for (std::size_t i = s.size(); i-- > 0;) {
      if (s[i] != 1) steps[k][rank - s.size() + i] = step;
      step *= s[i];
    }
  };
  std::size_t k = 0;
  (lay(k++, in.shape()), ...);
  xt::svector<std::size_t, 4> length(shape.begin(), shape.end());
  std::size_t axes = 0;  // joined, the last one innermost
  for (std::size_t i = 0; i < rank; ++i) {
    if (shape[i] == 1) continue;
    bool joins = axes > 0;
    for (std::size_t j = 0; j < n && joins; ++j)
      joins = steps[j][axes - 1] == steps[j][i] * shape[i];
    if (!joins) ++axes;
    length[axes - 1] = joins ? length[axes - 1] * shape[i] : shape[i];
    for (std::size_t j = 0; j < n; ++j) steps[j][axes - 1] = steps[j][i];
  }
  if (axes == 0) length[axes++] = 1;

  std::array<const Scalar*, n> at{in.data()...};
  xt::svector<std::size_t, 4> count(axes, 0);
  const std::size_t row = length[axes - 1];
  const auto run = [&](auto... index) {
    const auto load = [&](std::size_t j, std::size_t i) {
      return steps[j][axes - 1] == 0 ? Lane(*at[j]) : Lane::load_unaligned(at[j] + i);
    };
    const auto load_last = [&](std::size_t j, std::size_t i) {
      return steps[j][axes - 1] == 0 ? Lane(*at[j]) : load_some(at[j] + i, row - i);
    };
    std::size_t i = 0;
    for (; i + kLane <= row; i += kLane) {
      const Lane y = f(load(index, i)...);
      (add ? Lane::load_unaligned(out + i) + y : y).store_unaligned(out + i);
    }
    if (i == row) return;
    const Lane y = f(load_last(index, i)...);
    store_some(add ? load_some(out + i, row - i) + y : y, out + i, row - i);
  };
  std::array<std::size_t, n> inputs;
  std::iota(inputs.begin(), inputs.end(), std::size_t{0});
  for (;;) {
    std::apply(run, inputs);
    out += row;
    std::size_t axis = axes - 1;
    for (;;) {
      if (axis == 0) return;
      --axis;
      for (std::size_t j = 0; j < n; ++j) at[j] += steps[j][axis];
      if (++count[axis] < length[axis]) break;
      for (std::size_t j = 0; j < n; ++j) at[j] -= steps[j][axis] * length[axis];
      count[axis] = 0;
    }
  }
}

/// y = f(x), with derivative df(g, x, y) for the gradient g that arrives at y.
template <class F, class D>
Var map(const char* name, Var x, F f, D df) {
  Tensor y = uninitialised(x.shape());
  map_lanes(y.size(), y.data(), false, f, x.value().data());
  return x.tape->record(name, {x}, std::move(y), [df](Arrival& at) {
    if (at.recorded()) return at.give(0, df(at.gradient(), at.in(0), at.out()));
    const auto [to, fresh] = at.sink(0);
    const Tensor &x = at.in(0).value(), &y = at.out().value();
    map_broadcast(y.shape(), to, !fresh, df, at.compact(), x, y);
  });
}

/// y = f(a, b), broadcast, with derivatives da(g, a, b, y) and db(g, a, b, y).
template <class F, class A, class B>
Var map(const char* name, Var a, Var b, F f, A da, B db) {
  Tensor y = uninitialised(broadcast_shape(name, a.shape(), b.shape()));
  map_broadcast(y.shape(), y.data(), false, f, a.value(), b.value());
  return tape_of(name, {a, b}).record(name, {a, b}, std::move(y), [da, db](Arrival& at) {
    const Var a = at.in(0), b = at.in(1), y = at.out();
    const auto to = [&](std::size_t i, auto d) {
      if (!at.wants(i)) return;
      if (at.recorded()) return at.give(i, d(at.gradient(), a, b, y));
      if (at.in(i).shape() == y.shape()) {
        const auto [sink, fresh] = at.sink(i);
        return map_broadcast(y.shape(), sink, !fresh, d, at.compact(), a.value(), b.value(),
                             y.value());
      }
      Tensor g = uninitialised(y.shape());
      map_broadcast(y.shape(), g.data(), false, d, at.compact(), a.value(), b.value(), y.value());
      at.give(i, std::move(g));
    };
    to(0, da);
    to(1, db);
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
