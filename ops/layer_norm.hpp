// Layer normalisation (J. Ba, J. Kiros, G. Hinton, arXiv 1607.06450).
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// gain * (x - mean) / sqrt(variance + epsilon) + bias, mean and variance over the last axis; gain
/// and bias broadcast. Throws std::invalid_argument for epsilon <= 0 and an empty last axis.
Var layer_norm(Var x, Var gain, Var bias, double epsilon = 1e-5);

ARGTAPE_END
