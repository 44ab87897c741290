// The rules for matchings (ops/matching.hpp) that put Sinkhorn's operator S where a choice has its
// softmax.
#pragma once

#include <variant>

#include "../sinkhorn.hpp"
#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// How far Sinkhorn's operator is taken: so many iterations, or to a tolerance.
using HowFar = std::variant<std::size_t, Converge>;

/// Forward S((X + G) / tau), doubly stochastic and no permutation, and its exact derivative (arXiv
/// 1802.08665, section 4.1). Biased as a gradient of the discrete problem. For matching(), without
/// noise.
Rule gumbel_sinkhorn(Temperature tau, HowFar far = Converge{});

/// Forward M(X), or M(X + G) for a draw; backward the derivative of S(X / tau), f' taken at the
/// permutation: straight-through, with Sinkhorn's operator for the softmax. Biased.
Rule straight_through_sinkhorn(Temperature tau = 1.0, HowFar far = Converge{});

/// The same with the draw's own noise, backward S((X + G) / tau). Biased.
Rule st_gumbel_sinkhorn(Temperature tau, HowFar far = Converge{});

ARGTAPE_END
