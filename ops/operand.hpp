// What ops take beside a Var: a number, or a tensor, which are constants on its tape.
#pragma once

#include <array>
#include <type_traits>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A value on a tape, a number, or a tensor: it points at the tensor, so it is made where it is
/// passed on. Of an op's operands one at least must be a Var.
struct Operand {
  Operand(Var var) : var(var) {}
  template <class T,
            class = std::enable_if_t<std::is_class_v<T> && std::is_convertible_v<const T&, Var>>>
  Operand(const T& of_var) : var(of_var) {}
  Operand(double number) : number(number), is_number(true) {}
  Operand(const Tensor& tensor) : tensor(&tensor) {}
  template <class E>
  Operand(const xt::xexpression<E>&) = delete;  // not computed yet: Tensor(expression) is

  bool is_var() const { return !is_number && !tensor; }
  /// The Var, or else a constant on `tape`.
  Var on(Tape& tape) const {
    return tensor ? tape.constant(*tensor) : is_number ? tape.constant(number) : var;
  }

  Var var;
  double number = 0;
  const Tensor* tensor = nullptr;
  bool is_number = false;
};

/// The tape of the first Var. Throws std::invalid_argument, in the name of `op`, if it is empty or
/// there is none.
Tape& tape_among(const char* op, const Operand* const* x, std::size_t count);

/// All operands as Vars, constants being put on the tape of the others.
template <class... X>
std::array<Var, sizeof...(X)> together(const char* op, const X&... x) {
  const auto vars = [op](const auto&... operand) -> std::array<Var, sizeof...(X)> {
    const Operand* const all[] = {&operand...};
    Tape& tape = tape_among(op, all, sizeof...(X));
    return {operand.on(tape)...};
  };
  return vars(static_cast<const Operand&>(x)...);
}

template <class T>
constexpr bool kIsVar = std::is_same_v<std::decay_t<T>, Var>;
/// Of a tensor, and of what xtensor computes.
template <class T>
constexpr bool kIsArray = xt::is_xexpression<std::decay_t<T>>::value;
template <class T>
using IfArray = std::enable_if_t<kIsArray<T>, Var>;

template <class T>
using IfOperand = std::enable_if_t<kIsVar<T> || kIsArray<T>, Var>;

/// What xtensor computes as a tensor; anything else as it is.
template <class T>
decltype(auto) computed(const T& x) {
  if constexpr (kIsArray<T> && !std::is_same_v<T, Tensor>)
    return Tensor(x);
  else
    return (x);
}

ARGTAPE_END
