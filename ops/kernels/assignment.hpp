// hungarian() for the ops that stand on it. For the library's own .cpp files.
#pragma once

#include <string>
#include <vector>

#include "../hungarian.hpp"

ARGTAPE_PRIVATE_BEGIN

/// hungarian(), which throws in the name of `op`, calling a number `what`.
[[gnu::visibility("hidden")]] std::vector<std::size_t> best_columns(const std::string& op,
                                                                    const char* what,
                                                                    const Tensor& weights,
                                                                    Best best);

ARGTAPE_END
