// The softmax family, along one axis (the last, unless another is given), and what its members pass
// back: ops of their own, since sweeps and rules spend their time there.
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// e^{x_i} / sum_j e^{x_j}, without overflow. A row with NaN or +inf, or of nothing but -inf, has
/// none: it comes out as NaN, and where no gradient arrives for it, none is passed back. Throws
/// std::invalid_argument for an axis out of range.
Var softmax(Var x, int axis = -1);
/// log softmax(x), without overflow and without loss where all numbers are far from 0.
Var log_softmax(Var x, int axis = -1);

// Below J(p) = diag(p) - p p^T is the Jacobian of the softmax at p, along the last axis, so that
// J(p) g = p * (g - <p, g>). All throw std::invalid_argument unless the arguments have the same
// shape, of at least one axis.

/// scale J(p) g: what a softmax of value p passes back for scale g.
Var softmax_jacobian(Var p, Var g, double scale = 1);
/// J(softmax((x + noise) / tau)) g / tau: what softmax((x + noise) / tau) passes back for g,
/// without the softmax in between. There need be no noise. Throws std::invalid_argument for tau
/// outside of 1e-20 ... 1e20.
Var relaxed_jacobian(Var x, Var g, double tau = 1, Var noise = {});
/// g - e^y sum(g): what a log_softmax of value y passes back for g.
Var log_softmax_vjp(Var y, Var g);

ARGTAPE_END
