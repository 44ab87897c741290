// The softmax family, along one axis (the last, unless another is given).
#pragma once

#include "../engine/tape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// e^{x_i} / sum_j e^{x_j}, without overflow. Throws std::invalid_argument for an axis out of
/// range.
Var softmax(Var x, int axis = -1);
/// log softmax(x), without overflow.
Var log_softmax(Var x, int axis = -1);
/// J(p) g = p * (g - <p, g>) along the last axis: what a softmax of value p passes back for g.
/// Throws std::invalid_argument unless p and g have the same shape, of at least one axis.
Var softmax_jacobian(Var p, Var g);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
