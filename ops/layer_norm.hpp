// Layer normalisation (J. Ba, J. Kiros, G. Hinton, arXiv 1607.06450).
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// gain * (x - mean) / sqrt(variance + epsilon) + bias, mean and variance over the axes that gain
/// has, which are x's last, axes of length 1 at its front aside; bias has the same. Either may be
/// one number: the axes are then those of the other, or the last if both are. Throws
/// std::invalid_argument for other shapes, an empty last axis, and an epsilon that is not a
/// positive Scalar.
Var layer_norm(Var x, Var gain, Var bias, double epsilon = 1e-5);

ARGTAPE_END
