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
#include <utility>

#include "elementwise.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace formula {

/// A formula with its type forgotten: call(f, x) is f(x[0], x[1], ...).
struct Lambda {
  const void* f;
  Operand (*call)(const void* f, const Var* x);
};
template <class F, std::size_t... k>
Lambda lambda(const F& f, std::index_sequence<k...>) {
  static_assert(sizeof...(k) <= 7, "elementwise, sum_of, mean_of: at most 7 inputs");
  return {&f, [](const void* f, const Var* x) -> Operand {
            return (*static_cast<const F*>(f))(x[k]...);
          }};
}

Var elementwise(const char* name, Lambda f, Inputs x);
Var sum(const char* name, bool mean, Lambda f, Inputs x);

}  // namespace formula

/// f(x...), number by number; the inputs, 7 at most, broadcast. f takes as many Vars and returns
/// one, or a number. Throws std::invalid_argument for shapes that do not fit together, and if f
/// reads a value or uses other ops than those of ops/elementwise.hpp.
template <class F, class... X>
Var elementwise(const char* name, F f, Var first, X... more) {
  return formula::elementwise(
      name, formula::lambda(f, std::make_index_sequence<1 + sizeof...(more)>{}), {first, more...});
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
  return formula::sum("sum_of", false,
                      formula::lambda(f, std::make_index_sequence<1 + sizeof...(more)>{}),
                      {first, more...});
}
template <class F, class... X>
Var mean_of(F f, Var first, X... more) {
  return formula::sum("mean_of", true,
                      formula::lambda(f, std::make_index_sequence<1 + sizeof...(more)>{}),
                      {first, more...});
}

ARGTAPE_END
