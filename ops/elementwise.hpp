// Ops that work number by number. Two operands are brought together as NumPy does: aligned at the
// last axis, an axis of length 1 stretched; std::invalid_argument if they do not fit.
//
// What passes back is what arrives times a slope. Where 0 arrives 0 goes on, though the slope be
// infinite or NaN: so what `where` did not take, and what was multiplied by 0, gets a gradient of
// exactly 0, one op at a time or in a formula (ops/formula.hpp), in numbers or recorded. NaN in an
// operand is NaN in the value; a comparison with it does not hold, so that relu and abs pass 0 back
// there, and maximum and minimum half, as for equal numbers.
#pragma once

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

Var operator+(const Operand& a, const Operand& b);
Var operator-(const Operand& a, const Operand& b);
Var operator*(const Operand& a, const Operand& b);
Var operator/(const Operand& a, const Operand& b);
Var operator-(Var x);
Var operator^(const Operand&, const Operand&) = delete;  // a to the power of b is pow(a, b)

Var exp(Var x);
Var log(Var x);
/// Its slope is made of its value alone, 1 - y^2: it loses the digits that 1 - |y| does, and is 0
/// where y rounds to 1, for |x| from about 9 on in float, 19 in double.
Var tanh(Var x);
/// 1 / (1 + e^-x). Its slope is y (1 - y), likewise: 0 for x from about 17 on in float, 37 in
/// double. On the other side y = sigmoid(-|x|), which is small, keeps its digits and those of its
/// slope.
Var sigmoid(Var x);
/// max(x, 0); its derivative at 0 is 0.
Var relu(Var x);
/// x where x > 0, else negative_slope x; its derivative at 0 is negative_slope.
Var leaky_relu(Var x, double negative_slope = 0.01);
/// x where x > 0, else alpha (e^x - 1); its derivative at 0 is alpha (D. Clevert, T. Unterthiner,
/// S. Hochreiter, arXiv 1511.07289).
Var elu(Var x, double alpha = 1);
/// x (1 + erf(x / sqrt 2)) / 2, x times the probability that a standard normal number is less (D.
/// Hendrycks, K. Gimpel, arXiv 1606.08415): exact, not by way of tanh. At -inf it is 0.
Var gelu(Var x);
/// x sigmoid(x) (S. Elfwing, E. Uchibe, K. Doya, arXiv 1702.03118). At -inf it is 0.
Var silu(Var x);
/// log(1 + e^x), without overflow.
Var softplus(Var x);
/// Of an angle in radians; NaN of an infinite one.
Var sin(Var x);
Var cos(Var x);
/// The error function: 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.
Var erf(Var x);
/// log(1 + x) and e^x - 1, to the last digits also where x is small.
Var log1p(Var x);
Var expm1(Var x);
Var sqrt(Var x);
/// x * x.
Var square(Var x);
/// a^b; a negative a needs a whole b. The derivative for b is a^b log a, and 0 where a is 0 and b
/// is more than 0.
Var pow(const Operand& a, const Operand& b);
/// |x|; its derivative at 0 is 0.
Var abs(Var x);
/// min(max(x, low), high); the gradient passes where low <= x <= high. Throws std::invalid_argument
/// unless low <= high.
Var clip(Var x, double low, double high);
/// The larger of the two; where they are equal each gets half the gradient.
Var maximum(const Operand& a, const Operand& b);
Var minimum(const Operand& a, const Operand& b);

/// 1 where the comparison holds, else 0. A comparison is flat almost everywhere: it cuts gradients.
Var operator>(const Operand& a, const Operand& b);
Var operator<(const Operand& a, const Operand& b);
Var operator>=(const Operand& a, const Operand& b);
Var operator<=(const Operand& a, const Operand& b);
Var equal(const Operand& a, const Operand& b);
Var operator==(const Operand&, const Operand&) = delete;  // equal(a, b) says so of each number
Var operator!=(const Operand&, const Operand&) = delete;  // 1 - equal(a, b) says so of each number
Var operator&&(Var, Var) = delete;  // of numbers: item(); of Vars of 0 and 1: a * b
Var operator||(Var, Var) = delete;  // of numbers: item(); of Vars of 0 and 1: maximum(a, b)
/// a where condition is not 0, else b; the condition gets no gradient.
Var where(const Operand& condition, const Operand& a, const Operand& b);

/// x itself, but nothing is passed back.
Var stop_gradient(Var x);

// xtensor has functions of these names for anything beside a tensor. Nearer is only what is as
// exact in the Var, and in the tensor as open as they are.
#define ARGTAPE_BESIDE_ARRAYS(f)                \
  template <class E>                            \
  IfArray<E> f(Var a, E&& b) {                  \
    return f(Operand(a), Operand(computed(b))); \
  }                                             \
  template <class E>                            \
  IfArray<E> f(E&& a, Var b) {                  \
    return f(Operand(computed(a)), Operand(b)); \
  }
ARGTAPE_BESIDE_ARRAYS(operator+)
ARGTAPE_BESIDE_ARRAYS(operator-)
ARGTAPE_BESIDE_ARRAYS(operator*)
ARGTAPE_BESIDE_ARRAYS(operator/)
ARGTAPE_BESIDE_ARRAYS(operator>)
ARGTAPE_BESIDE_ARRAYS(operator<)
ARGTAPE_BESIDE_ARRAYS(operator>=)
ARGTAPE_BESIDE_ARRAYS(operator<=)
ARGTAPE_BESIDE_ARRAYS(equal)
ARGTAPE_BESIDE_ARRAYS(pow)
ARGTAPE_BESIDE_ARRAYS(maximum)
ARGTAPE_BESIDE_ARRAYS(minimum)
#undef ARGTAPE_BESIDE_ARRAYS

/// The Var a is now the sum; the value that it was stays on the tape.
#define ARGTAPE_ASSIGNED(f)                                                     \
  template <class B>                                                            \
  Var& operator f##=(Var& a, const B& b) {                                      \
    return a = a f b;                                                           \
  }                                                                             \
  template <class V, class B, class = std::enable_if_t<std::is_same_v<V, Var>>> \
  V operator f##=(V&&, const B&) = delete; /* a Var's numbers do not change: where() */
ARGTAPE_ASSIGNED(+)
ARGTAPE_ASSIGNED(-)
ARGTAPE_ASSIGNED(*)
ARGTAPE_ASSIGNED(/)
#undef ARGTAPE_ASSIGNED

Var where(...) = delete;  // where(condition, a, b)
template <class A, class B, class = std::enable_if_t<kIsArray<A> || kIsArray<B>>>
Var where(Var condition, A&& a, B&& b) {
  return where(Operand(condition), Operand(computed(a)), Operand(computed(b)));
}
template <class C, class B, class = std::enable_if_t<!kIsVar<C> && (kIsArray<C> || kIsArray<B>)>>
Var where(C&& condition, Var a, B&& b) {
  return where(Operand(computed(condition)), Operand(a), Operand(computed(b)));
}
template <class C, class A,
          class = std::enable_if_t<!kIsVar<C> && !kIsVar<A> && (kIsArray<C> || kIsArray<A>)>>
Var where(C&& condition, A&& a, Var b) {
  return where(Operand(computed(condition)), Operand(computed(a)), Operand(b));
}

ARGTAPE_END
