// Matchings in matrices where some pairs of a row and a column are forbidden. For the library's own
// .cpp files.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "../hungarian.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Throws std::invalid_argument, in the name of `op`, unless the n by m numbers, n <= m, are finite
/// or `forbidden`, which is -inf or +inf, and the pairs left give each row a column of its own.
/// For the message, `what` is what one of the numbers is called, and `matrix` the number of the
/// matrix in its batch.
void check_pairs(const std::string& op, const char* what, Scalar forbidden, const Scalar* x,
                 std::size_t n, std::size_t m, std::size_t matrix);

/// hungarian(), which throws in the name of `op`, calling the numbers `what`.
[[gnu::visibility("hidden")]] std::vector<std::size_t> best_columns(const std::string& op,
                                                                    const char* what,
                                                                    const Tensor& weights,
                                                                    Best best);

ARGTAPE_END
