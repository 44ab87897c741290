// An op of one's own from one formula, with no derivative written:
//
//     Var y = elementwise([](auto x, auto w, auto b) { return tanh(x * w + b) * sigmoid(x); },
//                         x, w, b);
//
// The formula is a generic function of numbers, in the words of ops/elementwise.hpp. Value and
// derivatives both come from it (by dual numbers, ops/kernels/dual.hpp), each in one pass over
// memory; second derivatives, and higher ones, too.
#pragma once

#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "../engine/broadcast.hpp"
#include "../engine/sweep.hpp"
#include "../engine/system/parallel.hpp"
#include "elementwise.hpp"
#include "kernels/broadcast_loop.hpp"
#include "kernels/dual.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

namespace fused {

/// The shape the inputs broadcast to. Throws std::invalid_argument, in the name of `op`, if they do
/// not fit together, and for inputs on two tapes.
Shape shape_of(const char* op, Inputs inputs);

[[noreturn]] void refuse_empty(const char* op, const Shape& shape);

/// For a recorded sweep, which runs the formula on Vars: copies of a node's inputs, and from y,
/// computed from those, the gradients for the inputs that want them.
std::vector<Var> stand_ins(BackwardContext& ctx);
void give_derivatives(BackwardContext& ctx, Var y, const std::vector<Var>& stand_ins,
                      double factor);

/// Where a node's derivatives are put: straight into the sweep's sink where an input has the
/// result's shape, else into a tensor of that shape, to be summed.
struct Slopes {
  explicit Slopes(BackwardContext& ctx);
  /// Hands over what was to be summed.
  void give(BackwardContext& ctx);
  Scalar* to[BroadcastLoop::kMostInputs] = {};
  bool add[BroadcastLoop::kMostInputs] = {};

 private:
  std::vector<Tensor> whole_;
};

inline namespace ARGTAPE_PACKS {

[[gnu::always_inline]] inline Pack load(const Scalar* p, std::size_t n) {
  Pack v{};
  std::memcpy(&v, p, n * sizeof(Scalar));
  return v;
}
[[gnu::always_inline]] inline void store(Pack v, Scalar* p, std::size_t n, bool add) {
  if (add) v += load(p, n);
  std::memcpy(p, &v, n * sizeof(Scalar));
}

/// Calls use(at, n, y, g): y is the formula at the n numbers of the result from `at` on, g the last
/// input there, if `with_gradient`: it is not the formula's.
template <bool derivatives, bool with_gradient, class F, class Use, std::size_t... k>
void run(const BroadcastLoop& layout, const Scalar* const* data, std::size_t begin, std::size_t end,
         const F& f, Use use, std::index_sequence<k...>) {
  layout.each(begin, end,
              [&](const std::size_t* places, std::size_t from, std::size_t to, std::size_t at) {
                // n is a constant for whole packs, so that nothing of them leaves the registers.
                const auto step = [&](std::size_t i, auto n) {
                  const auto pack = [&](std::size_t j) {
                    const Scalar* p = data[j] + places[j];
                    return layout.moves(j) ? load(p + i, n) : *p - Pack{};
                  };
                  const auto number = [&](auto index) {
                    constexpr std::size_t j = decltype(index)::value;
                    Number<derivatives ? 1u << j : 0u> x;
                    x.value = pack(j);
                    if constexpr (derivatives) x.slope[0] = packs::all(1);
                    return x;
                  };
                  const auto y = f(number(std::integral_constant<std::size_t, k>{})...);
                  use(at + i - from, n, y, with_gradient ? pack(sizeof...(k)) : Pack{});
                };
                std::size_t i = from;
                for (; i + kPack <= to; i += kPack)
                  step(i, std::integral_constant<std::size_t, kPack>{});
                if (i < to) step(i, to - i);
              });
}

/// Puts scale * derivative k where it belongs, for each input that has one.
template <class Count, unsigned inputs, std::size_t... k>
[[gnu::always_inline]] inline void store_slopes(const Number<inputs>& y, Pack scale,
                                                Scalar* const* to, const bool* add, std::size_t at,
                                                Count n, std::index_sequence<k...>) {
  const auto one = [&](auto index) {
    constexpr unsigned j = decltype(index)::value;
    if constexpr (inputs >> j & 1) {
      if (to[j]) store(scale * y.slope[Number<inputs>::place(j)], to[j] + at, n, add[j]);
    } else if (to[j] && !add[j]) {
      store(Pack{}, to[j] + at, n, false);
    }
  };
  (one(std::integral_constant<unsigned, k>{}), ...);
}

/// The backward pass of elementwise(): derivative times the gradient that arrived.
template <class F, std::size_t... k>
void backward(BackwardContext& ctx, const F& f, std::index_sequence<k...> all) {
  if (ctx.recorded()) {
    const std::vector<Var> x = stand_ins(ctx);
    return give_derivatives(ctx, f(x[k]...), x, 1);
  }
  const Shape& shape = ctx.out().shape();
  const Tensor& g = ctx.compact();
  Slopes slopes(ctx);
  const BroadcastLoop layout(shape, {&ctx.in(k).shape()..., &g.shape()});
  const Scalar* data[] = {ctx.in(k).value().data()..., g.data()};
  parallel_for(size_of(shape), kGrain, [&](std::size_t begin, std::size_t end) {
    run<true, true>(
        layout, data, begin, end, f,
        [&](std::size_t i, auto n, const auto& y, Pack slope) {
          store_slopes(y, slope, slopes.to, slopes.add, i, n, all);
        },
        all);
  });
  slopes.give(ctx);
}

/// sum f(x...) * factor, and what is left of its derivatives.
template <std::size_t inputs>
struct Kept {
  std::array<Tensor, inputs> slopes;
  bool there = false;
};

/// The sum of the formula, in blocks whose order does not depend on the threads; with derivatives,
/// times factor, for the inputs that want them.
template <bool derivatives, class F, std::size_t... k>
double sum_up(const Shape& shape, const std::array<Var, sizeof...(k)>& x, const F& f, double factor,
              const std::array<bool, sizeof...(k)>& wanted, Kept<sizeof...(k)>& kept,
              std::index_sequence<k...> all) {
  const BroadcastLoop layout(shape, {&x[k].shape()...});
  const Scalar* data[] = {x[k].value().data()...};
  Scalar* to[sizeof...(k)] = {};
  const bool add[sizeof...(k)] = {};
  if constexpr (derivatives)
    for (std::size_t j : {k...}) {
      if (!wanted[j]) continue;
      kept.slopes[j] = uninitialised(shape);
      to[j] = kept.slopes[j].data();
    }
  const std::size_t size = size_of(shape), blocks = (size + kGrain - 1) / kGrain;
  std::vector<double> sums(blocks, 0.0);
  const Pack scale = packs::all(factor);
  parallel_for(size, kGrain, [&](std::size_t begin, std::size_t end) {
    for (std::size_t b = begin / kGrain; b * kGrain < end; ++b) {
      Pack sum{};
      double total = 0;
      std::size_t terms = 0;
      const auto fold = [&] {
        for (std::size_t i = 0; i < kPack; ++i) total += static_cast<double>(sum[i]);
        sum = Pack{};
        terms = 0;
      };
      const std::size_t last = (b + 1) * kGrain < end ? (b + 1) * kGrain : end;
      run<derivatives, false>(
          layout, data, b * kGrain, last, f,
          [&](std::size_t i, auto n, const auto& y, Pack) {
            if constexpr (derivatives) store_slopes(y, scale, to, add, i, n, all);
            if (n == kPack)
              sum += y.value;
            else
              for (std::size_t j = 0; j < n; ++j) sum[j] += y.value[j];
            if (++terms == 256) fold();
          },
          all);
      fold();
      sums[b] = total;
    }
  });
  if constexpr (derivatives) {
    for (std::size_t j : {k...})
      if (wanted[j] && x[j].shape() != shape) kept.slopes[j] = sum_to(kept.slopes[j], x[j].shape());
    kept.there = true;
  }
  double total = 0;
  for (double s : sums) total += s;
  return total * factor;
}

template <class F, std::size_t... k>
Var sum(const char* name, bool mean, const F& f, const std::array<Var, sizeof...(k)>& x,
        std::index_sequence<k...> all) {
  static_assert(sizeof...(k) < BroadcastLoop::kMostInputs, "sum_of, mean_of: at most 7 inputs");
  const Shape shape = shape_of(name, {x[k]...});
  const std::size_t size = size_of(shape);
  if (mean && size == 0) refuse_empty(name, shape);
  const double factor = mean ? 1 / static_cast<double>(size) : 1;
  const Tape& tape = *x[0].tape;
  const std::array<bool, sizeof...(k)> wanted{tape.node(x[k].index).wants_gradient...};
  const auto kept = std::make_shared<Kept<sizeof...(k)>>();
  const bool any = (wanted[k] || ...);
  const double total = any ? sum_up<true>(shape, x, f, factor, wanted, *kept, all)
                           : sum_up<false>(shape, x, f, factor, wanted, *kept, all);
  return x[0].tape->record(name, {x[k]...}, full({}, total), [=](BackwardContext& ctx) {
    if (ctx.recorded()) {
      const std::vector<Var> v = stand_ins(ctx);
      return give_derivatives(ctx, f(v[k]...), v, factor);
    }
    // An earlier sweep took them.
    if (!kept->there) sum_up<true>(shape, x, f, factor, wanted, *kept, all);
    const Scalar g = ctx.numbers().data()[0];
    for (std::size_t j : {k...}) {
      if (!ctx.wants(j)) continue;
      if (g != 1) kept->slopes[j] *= g;
      ctx.give(j, std::move(kept->slopes[j]));
    }
    kept->there = false;
  });
}

}  // namespace ARGTAPE_PACKS
}  // namespace fused

inline namespace ARGTAPE_PACKS {

/// f(x...), number by number; the inputs, 7 at most, broadcast. f takes as many numbers and returns
/// one. (pow alone is not vectorised.)
/// Throws std::invalid_argument for shapes that do not fit together.
template <class F, class... X>
Var elementwise(const char* name, F f, Var first, X... more) {
  using All = std::make_index_sequence<1 + sizeof...(more)>;
  static_assert(1 + sizeof...(more) < BroadcastLoop::kMostInputs, "elementwise: at most 7 inputs");
  Tensor y = uninitialised(fused::shape_of(name, {first, more...}));
  const BroadcastLoop layout(y.shape(), {&first.shape(), &more.shape()...});
  const Scalar* data[] = {first.value().data(), more.value().data()...};
  parallel_for(y.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    fused::run<false, false>(
        layout, data, begin, end, f,
        [&](std::size_t i, auto n, const auto& v, Pack) {
          fused::store(v.value, y.data() + i, n, false);
        },
        All{});
  });
  return first.tape->record(name, {first, more...}, std::move(y),
                            [f](BackwardContext& ctx) { fused::backward(ctx, f, All{}); });
}
template <class F, class... X>
Var elementwise(F f, Var first, X... more) {
  return elementwise("elementwise", f, first, more...);
}

/// sum f(x...) and mean f(x...), over all numbers: value and derivatives in one pass over memory,
/// together, and the values themselves are not stored. mean_of throws std::invalid_argument for
/// nothing to average.
template <class F, class... X>
Var sum_of(F f, Var first, X... more) {
  return fused::sum("sum_of", false, f, std::array<Var, 1 + sizeof...(more)>{first, more...},
                    std::make_index_sequence<1 + sizeof...(more)>{});
}
template <class F, class... X>
Var mean_of(F f, Var first, X... more) {
  return fused::sum("mean_of", true, f, std::array<Var, 1 + sizeof...(more)>{first, more...},
                    std::make_index_sequence<1 + sizeof...(more)>{});
}

}  // namespace ARGTAPE_PACKS
}  // namespace ARGTAPE_ABI
}  // namespace argtape
