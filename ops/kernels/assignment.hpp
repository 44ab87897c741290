// hungarian() for the ops that stand on it. For the library's own .cpp files.
#pragma once

#include <string>
#include <vector>

#include "../hungarian.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Throws std::invalid_argument, in the name of `op`, unless each row can have a column of its own.
[[gnu::visibility("hidden")]] void require_assignable(const std::string& op, const char* what,
                                                      const Shape& shape);

/// hungarian(), which throws in the name of `op`, calling a number `what`; of the weights and noise
/// of the same shape, if there is some, added in double: float would lose it beside large weights.
[[gnu::visibility("hidden")]] std::vector<std::size_t> best_columns(const std::string& op,
                                                                    const char* what,
                                                                    const Tensor& weights,
                                                                    Best best,
                                                                    const Tensor* noise = nullptr);

ARGTAPE_END
