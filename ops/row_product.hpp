// Matrix products whose factors' rows may start anywhere in memory: an image's windows are such
// rows, overlapping, and need not be copied out to be multiplied. For the library's own .cpp files.
#pragma once

#include <cstddef>

#include "../engine/scalar.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// The rows of a matrix: element (i, j) is data[starts[i] + j * step].
struct RowsAnywhere {
  const Scalar* data;
  const std::size_t* starts;
  std::size_t step = 1;
};

/// c = a b, or c += a b with `add`; a is (n, k), b is (k, m) and of step 1, row i of c starts at c
/// + i * pitch. Sums run in order of k, so that they do not depend on how the work is cut.
void row_product(std::size_t n, std::size_t m, std::size_t k, const RowsAnywhere& a,
                 const RowsAnywhere& b, Scalar* c, std::size_t pitch, bool add);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
