// How well classes were told apart.
#pragma once

#include <cstddef>
#include <vector>

#include "../../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The share of the examples whose predicted class is the label; the classes are indices, as
/// indices_of() gives them for a choice. Throws std::invalid_argument unless there are as many of
/// both, and at least one.
double accuracy(const std::vector<std::size_t>& predicted, const std::vector<std::size_t>& labels);

/// How many examples of class i were predicted as class j: (classes, classes). Throws as accuracy()
/// does, and for an index that is not below `classes`.
Tensor confusion_matrix(const std::vector<std::size_t>& predicted,
                        const std::vector<std::size_t>& labels, std::size_t classes);

ARGTAPE_END
