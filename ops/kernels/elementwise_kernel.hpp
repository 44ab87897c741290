// The table of functions that work number by number: a row is a function's name, its value and its
// derivatives, each formula written once. The op, its gradients of every order and formulas
// (ops/formula.hpp) read the row. For the library's own .cpp files.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../engine/simd/broadcast_loop.hpp"
#include "../../engine/simd/functions.hpp"
#include "../../engine/sweep.hpp"
#include "../elementwise.hpp"

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

/// What slopes read: the operands 0, 1 and 2, the function's value, and the gradient that arrives.
constexpr Index kMostOperands = 3, kValue = 3, kGradient = 4, kReadable = 5;

struct Row {
  struct Formula {
    Kernel kernel = nullptr;  // null where nothing goes
    std::size_t count = 0;
    Index reads[kReadable] = {};
  };
  // The derivative for an operand, times the gradient that arrives.
  struct Slope : Formula {
    Var (*vars)(const Var* x) = nullptr;
    bool passes = false;  // it is the gradient itself
  };
  Op op;
  Formula value;
  Slope slopes[kMostOperands];
};

/// A gradient times a slope, and over one: 0 where the gradient is 0, be the slope infinite or NaN.
inline Lane times(Lane g, Lane x) { return xsimd::select(g == Lane(0), Lane(0), g * x); }
inline Lane over(Lane g, Lane x) { return xsimd::select(g == Lane(0), Lane(0), g / x); }
[[gnu::visibility("hidden")]] Var times(Var g, const Operand& x);
[[gnu::visibility("hidden")]] Var over(Var g, const Operand& x);

/// The gradient that arrives, as slopes see it: * and / are those above.
template <class T, class Number>
struct Arriving : T {
  explicit Arriving(const T& g) : T(g) {}
  friend Arriving operator*(const Arriving& g, const Number& x) { return Arriving(times(g, x)); }
  friend Arriving operator*(double x, const Arriving& g) { return g * static_cast<Scalar>(x); }
  friend Arriving operator/(const Arriving& g, const Number& x) { return Arriving(over(g, x)); }
  friend Arriving operator-(const Arriving& g) { return Arriving(-static_cast<const T&>(g)); }
};

/// A lambda that captures nothing: it has no state, so that any place will do for one.
template <class F>
const F& stateless() {
  static_assert(std::is_empty_v<F>, "a formula captures nothing");
  static const unsigned char place[sizeof(F)] = {};
  return reinterpret_cast<const F&>(place);
}

// It is flattened: a long f, in two places, would else stay a call for each lane.
template <class F, std::size_t... k>
[[gnu::flatten]] void run_kernel(std::size_t n, const Out& out, const Block* in,
                                 const Index* which) {
  const F& f = stateless<F>();
  const Block x[] = {in[which[k]]...}, base = out.base;  // copies, which no store can change
  Scalar* to = out.to;
  const bool stream = out.stream && reinterpret_cast<std::uintptr_t>(to) % sizeof(Lane) == 0;
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    Lane y = f(Lane::load_unaligned(x[k].data + (i & x[k].along))...);
    if (base.data) y += Lane::load_unaligned(base.data + (i & base.along));
    stream ? stream_lane(y, to + i) : y.store_unaligned(to + i);
  }
  if (i == n) return;
  Lane y = f(load_some(x[k].data + (i & x[k].along), n - i)...);
  if (base.data) y += load_some(base.data + (i & base.along), n - i);
  store_some(y, to + i, n - i);
}
template <class F, std::size_t... k>
constexpr Kernel kernel_of(F, std::index_sequence<k...>) {
  return run_kernel<F, k...>;
}

/// A slope from a formula of the gradient and of what is named, as Lanes or as Vars:
/// slope<0, kValue>([](auto g, auto x, auto y) { ... }).
template <Index... reads, class F>
constexpr Row::Slope slope(F, bool passes = false) {
  constexpr std::size_t count = 1 + sizeof...(reads);
  const auto lanes = [](Lane g, auto... x) -> Lane {
    return stateless<F>()(Arriving<Lane, Lane>(g), x...);
  };
  return {{kernel_of(lanes, std::make_index_sequence<count>{}), count, {kGradient, reads...}},
          [](const Var* x) -> Var {
            return stateless<F>()(Arriving<Var, Operand>(x[kGradient]), x[reads]...);
          },
          passes};
}
constexpr Row::Slope kNothing, kPasses = slope<>([](auto g) { return g; }, true);

/// A row from a formula of Lanes and a slope for each operand.
template <class F, class... S>
constexpr Row row(Name name, F value, S... slopes) {
  constexpr std::size_t count = sizeof...(S);
  return {
      name, {kernel_of(value, std::make_index_sequence<count>{}), count, {0, 1, 2}}, {slopes...}};
}
template <class F>
constexpr Row cut_row(Name name, const char* why, F value) {
  constexpr std::size_t count = std::is_invocable_v<F, Lane> ? 1 : 2;
  return {{name, Flow::cut, why},
          {kernel_of(value, std::make_index_sequence<count>{}), count, {0, 1}},
          {}};
}

constexpr auto kCopy = row(
    "copy", [](Lane x) { return x; }, kPasses);

/// The op of a row, recorded on its operands' tape: of their values; or as a step of a formula.
Var apply(const Row& row, const Operand* const* x);
template <const Row& function, class... X>
Var apply(const X&... x) {
  using Operands = std::initializer_list<const Operand*>;
  return apply(function, Operands{&static_cast<const Operand&>(x)...}.begin());
}

/// The shape that the operands broadcast to. Throws std::invalid_argument, in the name of `op`,
/// unless they stand on one tape and fit.
Shape shape_of(const char* op, const Inputs& x);

/// For the backward of an op that works number by number: whether it has to answer in Vars; and if
/// not, the gradient that arrived, and where that for input i is put, which has the result's shape.
bool recorded(const BackwardContext& ctx);
Source arrived(const BackwardContext& ctx);
Out gradient_out(BackwardContext& ctx, std::size_t i);

/// A recorded formula. The nodes are the inputs, as the last of them the gradient that arrives,
/// then the steps, of which the last is the result.
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
inline Var if_positive(Var c, Operand a, Operand b) { return where(c > 0, a, b); }

ARGTAPE_END
