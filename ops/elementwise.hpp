// Ops that work number by number. Two operands are brought together as NumPy does: aligned at the
// last axis, an axis of length 1 stretched; std::invalid_argument if they do not fit.
#pragma once

#include "../engine/tape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

Var operator+(Var a, Var b);
Var operator-(Var a, Var b);
Var operator*(Var a, Var b);
Var operator/(Var a, Var b);
Var operator+(Var x, double c);
Var operator+(double c, Var x);
Var operator-(Var x, double c);
Var operator-(double c, Var x);
Var operator*(Var x, double c);
Var operator*(double c, Var x);
Var operator/(Var x, double c);
Var operator/(double c, Var x);
Var operator-(Var x);

Var exp(Var x);
Var log(Var x);
Var tanh(Var x);
/// 1 / (1 + e^-x).
Var sigmoid(Var x);
/// max(x, 0); its derivative at 0 is 0.
Var relu(Var x);
/// log(1 + e^x), without overflow.
Var softplus(Var x);
Var sqrt(Var x);
/// x * x.
Var square(Var x);
/// x^p for a number p; a negative x needs a whole p.
Var pow(Var x, double p);
/// a^b; the derivative for b is a^b log a, so there a > 0 is needed.
Var pow(Var a, Var b);
/// |x|; its derivative at 0 is 0.
Var abs(Var x);
/// min(max(x, low), high); the gradient passes where low <= x <= high. Throws std::invalid_argument
/// unless low <= high.
Var clip(Var x, double low, double high);
/// The larger of the two; where they are equal each gets half the gradient.
Var maximum(Var a, Var b);
Var minimum(Var a, Var b);

/// 1 where the comparison holds, else 0. A comparison is flat almost everywhere: it cuts gradients.
Var greater(Var a, Var b);
Var less(Var a, Var b);
Var equal(Var a, Var b);
/// a where condition is not 0, else b; the condition gets no gradient.
Var where(Var condition, Var a, Var b);

/// x itself, but nothing is passed back.
Var stop_gradient(Var x);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
