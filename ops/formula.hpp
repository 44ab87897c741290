// An op of one's own from one formula, with no derivative written:
//
//     Var y = elementwise([](auto x, auto w, auto b) { return tanh(x * w + b) * sigmoid(x); },
//                         x, w, b);
//
// The formula is a function of Vars, in the words of ops/elementwise.hpp and numbers. It is run
// once, on Vars without a value, to see what it does; that is then done number by number, value and
// derivatives each in one pass over memory. Second derivatives, and higher ones, follow too.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include "elementwise.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace formula {

template <std::size_t>
using VarAt = Var;

/// A formula with its type forgotten: call(f, x) is f(x[0], x[1], ...).
struct Lambda {
  const void* f;
  Operand (*call)(const void* f, const Var* x);
};
/// So that a formula without a `return` is refused in few words.
inline Operand gives(const Operand& y) { return y; }
template <class F, std::size_t... k>
Lambda lambda(const F& f, std::index_sequence<k...>) {
  return {&f, [](const void* f, const Var* x) -> Operand {
            return gives((*static_cast<const F*>(f))(x[k]...));
          }};
}

/// Whether F, which is no generic lambda, cannot be called with these Vars. A generic one is not
/// asked: what is wrong inside of it, the compiler says where it is run.
template <class F, std::size_t... k, class = decltype(&F::operator())>
constexpr bool misfits(std::index_sequence<k...>) {
  return !std::is_invocable_r_v<Operand, const F&, VarAt<k>...>;
}
template <class F>
constexpr bool misfits(...) {
  return !std::is_class_v<F> || std::is_convertible_v<F, Operand>;
}

/// Whether F is a formula of inputs X; refused in words if not.
template <class F, class... X>
constexpr bool fits() {
  constexpr bool inputs =
      sizeof...(X) > 0 && sizeof...(X) <= 7 && (std::is_convertible_v<const X&, Operand> && ...);
  constexpr bool formula = !misfits<F>(std::index_sequence_for<X...>{});
  static_assert(inputs, "behind its formula stand 1 to 7 Vars, or tensors and numbers beside one");
  static_assert(!inputs || formula,
                "a formula takes as many Vars as it has inputs and returns one: [](auto x, auto w) "
                "{ return x * w; }");
  return inputs && formula;
}

Var elementwise(const char* name, Lambda f, Inputs x);
Var sum(const char* name, bool mean, Lambda f, Inputs x);

template <class F, class... X>
Var sum(const char* name, bool mean, const F& f, const X&... x) {
  if constexpr (fits<F, X...>()) {
    const auto all = together(name, x...);
    return sum(name, mean, lambda(f, std::index_sequence_for<X...>{}), {all.data(), all.size()});
  } else {
    return Var();
  }
}

}  // namespace formula

/// f(x...), number by number; the inputs, 7 at most, broadcast: Vars, and constants beside them. f
/// takes as many Vars and returns one, or a number. Throws std::invalid_argument for shapes that do
/// not fit together, and if f reads a value or uses other ops than those of ops/elementwise.hpp.
template <class F, class... X>
Var elementwise(const char* name, F f, const X&... x) {
  if constexpr (formula::fits<F, X...>()) {
    const auto all = together(name, x...);
    return formula::elementwise(name, formula::lambda(f, std::index_sequence_for<X...>{}),
                                {all.data(), all.size()});
  } else {
    return Var();
  }
}
template <class F, class... X>
Var elementwise(F f, const X&... x) {
  return elementwise("elementwise", f, x...);
}
Var elementwise(...) = delete;  // a formula is a lambda: [](auto v) { return tanh(v); }

/// sum f(x...) and mean f(x...), over all numbers: value and derivatives in one pass over memory,
/// together, and the values themselves are not stored. mean_of throws std::invalid_argument for
/// nothing to average.
template <class F, class... X>
Var sum_of(F f, const X&... x) {
  return formula::sum("sum_of", false, f, x...);
}
template <class F, class... X>
Var mean_of(F f, const X&... x) {
  return formula::sum("mean_of", true, f, x...);
}

ARGTAPE_END
