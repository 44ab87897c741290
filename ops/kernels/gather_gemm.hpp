// Matrix products whose factors' rows may start anywhere in memory: an image's windows are such
// rows, overlapping, and need not be copied out to be multiplied. For the library's own .cpp files.
#pragma once

#include <cstddef>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// c = a b, or c += a b with `add`: c is (n, m), row i of it starting at c + i * pitch; the sums
/// are of k terms. Element (i, t) of a is a.data[a.rows[i] + a.columns[t]]; row t of b starts at
/// b.data + b.rows[t]. Terms are added in order, so sums do not depend on how the work is cut.
struct Left {
  const Scalar* data;
  const std::size_t *rows, *columns;
};
struct Right {
  const Scalar* data;
  const std::size_t* rows;
};
void gather_gemm(std::size_t n, std::size_t m, std::size_t k, const Left& a, const Right& b,
                 Scalar* c, std::size_t pitch, bool add);

ARGTAPE_END
