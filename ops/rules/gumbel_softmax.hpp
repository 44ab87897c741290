// The rules that differentiate softmax((l + g) / tau), with the draw's own noise g or with what it
// may have been. The letters in the formulas are those of ops/rules/rule.hpp.
#pragma once

#include <cstdint>

#include "../temperature.hpp"
#include "rule.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Forward softmax((l + g) / tau), which is not one-hot, and its exact derivative (Jang, Gu, Poole,
/// arXiv 1611.01144; Maddison, Mnih, Teh, arXiv 1611.00712). Biased as a gradient of the discrete
/// problem. For argmax, without noise: the soft argmax.
Rule gumbel_softmax(Temperature tau);

/// Forward D, backward J(softmax((l + g) / tau)) f' / tau (arXiv 1611.01144, section 2.2). Biased.
Rule st_gumbel_softmax(Temperature tau);

/// Forward D, backward the mean over `draws` Gumbel noises, given D, of J(softmax((l + g) / tau))
/// f' / tau (Gumbel-Rao: Paulus, Maddison, Krause, arXiv 2010.04838). The first is the node's own
/// noise, so with one draw it is st_gumbel_softmax(); with more its mean is the same and its
/// variance lower. The further noise is made from the bits of the node's own and from `seed`: a
/// replay sees it again. Biased. Costs draws x K numbers a choice. Throws std::invalid_argument for
/// no draw.
Rule gumbel_rao(Temperature tau, std::size_t draws = 10, std::uint64_t seed = 0);

ARGTAPE_END
