// Ops that bring axes down to one number: over the axes given, one or several, or all of them; and
// the sums on the way. They throw std::invalid_argument for an axis out of range or given twice.
#pragma once

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Whether the axes stay, of length 1: sum(x, -1, keep_axes).
enum class KeepAxes : bool { no, yes };
constexpr KeepAxes keep_axes = KeepAxes::yes;

Var sum(Var x);
Var sum(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
/// The product, of nothing 1. Its derivatives of every order are right where numbers are 0, too. It
/// is a product of halves: one that overflows is an infinity, and NaN where the other is 0.
Var prod(Var x);
Var prod(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
/// y[k] = x[0] + ... + x[k] along an axis.
Var cumsum(Var x, int axis = -1);
/// Those below throw for axes without elements: they have no mean, largest number, ...
Var mean(Var x);
Var mean(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
/// The largest number; where several are equal the first one gets the gradient, as in argmax. NaN
/// wins.
Var max(Var x);
Var max(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
template <class T, class = IfOperand<T>>
Var max(Var, const T&) = delete;  // the larger of two is maximum(a, b)
Var min(Var x);
Var min(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
template <class T, class = IfOperand<T>>
Var min(Var, const T&) = delete;  // the smaller of two is minimum(a, b)
/// log sum exp(x), without overflow. Its derivative is softmax(x) itself, whatever offset is common
/// to x: numbers at -inf get 0, in a row of nothing else too, and those at +inf share all of it.
Var logsumexp(Var x);
Var logsumexp(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
/// log mean exp(x) over the axes: with -f, f = -log of an importance weight, the bound of several
/// samples (Burda, Grosse, Salakhutdinov, arXiv 1509.00519).
Var logmeanexp(Var x, const Axes& axes);
/// The mean of (x - mean)^2.
Var variance(Var x);
Var variance(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);
/// The Euclidean norm, the root of the sum of squares, which may be out of range themselves. Its
/// derivative is x / |x|, and 0 where x is: a subgradient, where sqrt(sum(square(x))) gives NaN. It
/// can be differentiated again away from 0.
Var norm(Var x);
Var norm(Var x, const Axes& axes, KeepAxes keep = KeepAxes::no);

ARGTAPE_END
