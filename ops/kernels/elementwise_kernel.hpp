// The table of functions that work number by number: a row is a function's name, its value and its
// derivatives, each formula written once. The op, its gradients of every order and formulas
// (ops/formula.hpp) read the row. For the library's own .cpp files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../engine/simd/functions.hpp"
#include "../../engine/sweep.hpp"
#include "../elementwise.hpp"
#include "broadcast_loop.hpp"

ARGTAPE_PRIVATE_BEGIN

using Index = std::uint32_t;

/// Where results are put: at `to`, with the numbers of `base` added, if there are any; past the
/// caches with `stream`.
struct Out {
  Scalar* to = nullptr;
  Block base = {nullptr, 0};
  bool stream = false;
};

/// A formula on n numbers of the blocks in[which[0]], in[which[1]], ...
using Kernel = void (*)(std::size_t n, const Out& out, const Block* in, const Index* which);

constexpr Index kInOrder[] = {0, 1, 2, 3, 4, 5, 6, 7};

/// What slopes read: the operands 0, 1 and 2, the function's value, and the gradient that arrives.
constexpr Index kMostOperands = 3, kValue = 3, kGradient = 4, kReadable = 5;

struct Row {
  const char* name;
  const char* why_cut;  // null for a function with a derivative
  std::size_t operands;
  Kernel value;  // of the operands
  // The derivative for each operand, times the gradient that arrives; null where nothing goes.
  struct Slope {
    Kernel kernel = nullptr;
    Var (*vars)(const Var* x) = nullptr;
    bool passes = false;  // it is the gradient itself
    std::size_t count = 0;
    Index reads[kReadable] = {};
  } slopes[kMostOperands];
};

/// What a row is made from. The value takes Lanes. A slope takes the gradient and what is named, as
/// Lanes or as Vars: slope<0, kValue>([](auto g, auto x, auto y) { ... }).
template <class F, Index... reads>
struct SlopeFormula {
  F f;
};
template <Index... reads, class F>
constexpr SlopeFormula<F, reads...> slope(F f) {
  return {f};
}
struct Nothing {};
constexpr Nothing kNothing;
struct Identity {
  template <class G>
  G operator()(G g) const {
    return g;
  }
};
constexpr SlopeFormula<Identity> kPasses;

template <class F, class... S>
struct Formulas {
  const char *name, *why_cut;
  F value;
  std::tuple<S...> slopes;
};
template <class F, class... S>
constexpr Formulas<F, S...> row(const char* name, F value, S... slopes) {
  return {name, nullptr, value, {slopes...}};
}
template <class F>
constexpr Formulas<F> cut_row(const char* name, const char* why, F value) {
  return {name, why, value, {}};
}

template <class F, std::size_t... k>
void run_lanes(F f, std::size_t n, const Out& out, const Block* in, const Index* which,
               std::index_sequence<k...>) {
  const Block x[] = {in[which[k]]...}, base = out.base;  // copies, which no store can change
  Scalar* to = out.to;
  const auto lane = [&](std::size_t i) {
    const Lane y = f(Lane::load_unaligned(x[k].data + (i & x[k].along))...);
    return base.data ? y + Lane::load_unaligned(base.data + (i & base.along)) : y;
  };
  std::size_t i = 0;
  if (out.stream && reinterpret_cast<std::uintptr_t>(to) % sizeof(Lane) == 0)
#pragma GCC unroll 4
    for (; i + kLane <= n; i += kLane) stream_lane(lane(i), to + i);
#pragma GCC unroll 4
  for (; i + kLane <= n; i += kLane) lane(i).store_unaligned(to + i);
  if (i == n) return;
  Lane y = f(load_some(x[k].data + (i & x[k].along), n - i)...);
  if (base.data) y += load_some(base.data + (i & base.along), n - i);
  store_some(y, to + i, n - i);
}

template <const auto& formulas, std::size_t j, class F, Index... reads>
constexpr Row::Slope make_slope(const SlopeFormula<F, reads...>&) {
  return {[](std::size_t n, const Out& out, const Block* in, const Index* which) {
            run_lanes(std::get<j>(formulas.slopes).f, n, out, in, which,
                      std::make_index_sequence<1 + sizeof...(reads)>{});
          },
          [](const Var* x) { return std::get<j>(formulas.slopes).f(x[kGradient], x[reads]...); },
          std::is_same_v<F, Identity>,
          1 + sizeof...(reads),
          {kGradient, reads...}};
}
template <const auto& formulas, std::size_t j>
constexpr Row::Slope make_slope(const Nothing&) {
  return {};
}
template <const auto& formulas, std::size_t... k>
constexpr Row make_row(std::index_sequence<k...>) {
  const Kernel value = [](std::size_t n, const Out& out, const Block* in, const Index* which) {
    run_lanes(formulas.value, n, out, in, which, std::index_sequence<k...>{});
  };
  if constexpr (std::tuple_size_v<decltype(formulas.slopes)> == 0)
    return {formulas.name, formulas.why_cut, sizeof...(k), value, {}};
  else
    return {formulas.name,
            nullptr,
            sizeof...(k),
            value,
            {make_slope<formulas, k>(std::get<k>(formulas.slopes))...}};
}
template <class F>
constexpr std::size_t kOperands = std::is_invocable_v<F, Lane>         ? 1
                                  : std::is_invocable_v<F, Lane, Lane> ? 2
                                                                       : 3;
template <const auto& formulas>
constexpr Row kRow =
    make_row<formulas>(std::make_index_sequence<kOperands<decltype(formulas.value)>>{});

constexpr auto kCopy = row(
    "copy", [](Lane x) { return x; }, kPasses);

/// The op of a row, recorded on its operands' tape: of their values; or as a step of a formula.
Var apply(const Row& row, const Operand* const* x);
/// For each number of operands, which is known to the compiler then.
template <std::size_t operands>
Var apply_to(const Row& row, const Operand* const* x);
template <const auto& formulas>
Var apply(const Operand& a) {
  const Operand* x[] = {&a};
  return apply_to<1>(kRow<formulas>, x);
}
template <const auto& formulas>
Var apply(const Operand& a, const Operand& b) {
  const Operand* x[] = {&a, &b};
  return apply_to<2>(kRow<formulas>, x);
}
template <const auto& formulas>
Var apply(const Operand& a, const Operand& b, const Operand& c) {
  const Operand* x[] = {&a, &b, &c};
  return apply_to<3>(kRow<formulas>, x);
}

/// out = kernel(in...), which broadcast to `shape`, out's own; on all threads.
void map(Kernel kernel, const Shape& shape, const Out& out, const Source* in, std::size_t count);

/// out = f(in...), or out += f(in...) with `add`; f takes Lanes and captures nothing.
template <class F, class... T>
void map_broadcast(const Shape& shape, Scalar* out, bool add, F f, const T&... in) {
  static_assert(std::is_empty_v<F>, "map_broadcast: f captures nothing");
  static const F kept = f;
  const Source sources[] = {{in.data(), &in.shape()}...};
  map(
      [](std::size_t n, const Out& out, const Block* in, const Index* which) {
        run_lanes(kept, n, out, in, which, std::index_sequence_for<T...>{});
      },
      shape, {out, {add ? out : nullptr, ~std::size_t{0}}}, sources, sizeof...(T));
}

/// For the backward of an op that works number by number: whether it has to answer in Vars; and if
/// not, the gradient that arrived, and where that for input i is put, which has the result's shape.
bool recorded(const BackwardContext& ctx);
Source arrived(const BackwardContext& ctx);
Out gradient_out(BackwardContext& ctx, std::size_t i);

/// A recorded formula. The nodes are the inputs, then the steps, of which the last is the result.
struct Program {
  struct Step {
    const Row* row = nullptr;  // null: a constant
    std::uint32_t operands[kMostOperands] = {};
    Scalar number = 0;
  };
  std::size_t inputs = 0;
  std::vector<Step> steps;
};

/// A tape without values, on which the functions of the table are recorded as steps of a program,
/// and other ops refused. With a `value`, which they all get, other ops come so far as to be named.
class SymbolicTape : public Tape {
 public:
  SymbolicTape(const char* op, std::size_t inputs, const Tensor* value);
  static SymbolicTape* of(Tape& tape) {
    return tape.formula_ ? static_cast<SymbolicTape*>(&tape) : nullptr;
  }
  Var add(const Row& row, const Operand* const* x);
  Program program(Operand result);

 private:
  void add_constants();
  const Tensor* value_;
  Program program_;
};

// The words beyond arithmetic that formulas are written in: for Lanes here, for Vars below, or in
// ops/elementwise.hpp.
inline Lane exp(Lane x) { return lane_exp(x); }
inline Lane log(Lane x) { return lane_log(x); }
inline Lane sigmoid(Lane x) { return lane_sigmoid(x); }
/// a where c > 0, else b.
inline Lane if_positive(Lane c, Lane a, Lane b) { return xsimd::select(c > Lane(0), a, b); }
inline Var if_positive(Var c, Operand a, Operand b) { return where(greater(c, 0), a, b); }

ARGTAPE_END
