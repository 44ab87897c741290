// MuProp. The letters in the formula are those of ops/methods/method.hpp.
#pragma once

#include "method.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// (f(D) - f(p) - <f'(p), D - p>) (D - p) + J(p) f'(p): the cost's linear expansion at the mean as
/// a control variate (Gu, Levine, Sutskever, Mnih, arXiv 1511.05176). Unbiased. Two evaluations,
/// one backward pass. The estimate throws NoPath for a black box.
Method muprop();

}  // namespace ARGTAPE_ABI
}  // namespace argtape
