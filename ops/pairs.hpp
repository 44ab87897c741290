// Matrices in which some pairs of a row and a column are forbidden. For the library's own .cpp
// files.
#pragma once

#include <cstddef>

#include "../engine/scalar.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// Throws std::invalid_argument, in the name of `op`, unless the n by m numbers, n <= m, are finite
/// or `forbidden`, which is -inf or +inf, and the pairs left give each row a column of its own.
/// For the message, `what` is what one of the numbers is called, and `matrix` the number of the
/// matrix in its batch.
void check_pairs(const char* op, const char* what, Scalar forbidden, const Scalar* x, std::size_t n,
                 std::size_t m, std::size_t matrix);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
