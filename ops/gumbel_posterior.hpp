// Gumbel noise given what was chosen with it.
#pragma once

#include "../engine/random.hpp"
#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// log p + g, where p = softmax(logits) and g is Gumbel noise, given that its argmax is the one-hot
/// `choice`: made from fresh Gumbel `noise` h of the same shape (..., K), which may have axes in
/// front that the others lack, as h_D at D, and -log(e^-(log p_i + h_i) + e^-h_D) at the others. It
/// is differentiable in the logits. (Maddison, Tarlow, Minka, "A* sampling", 2014; Tucker et al.,
/// arXiv 1703.07370.) Throws std::invalid_argument for shapes that do not fit, and for a choice
/// that is not one-hot.
Var conditional_gumbels(Var logits, Var choice, Var noise);

/// A stream of random numbers that depends on the seed and on each bit of `from`, and so is met
/// again where the same draw is replayed.
Rng rng_from(const Tensor& from, std::uint64_t seed);

ARGTAPE_END
