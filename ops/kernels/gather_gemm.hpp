// Matrix products whose factors' rows may start anywhere in memory: an image's windows are such
// rows, overlapping, and need not be copied out to be multiplied. For the library's own .cpp files.
#pragma once

#include <cstddef>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Rows that start at data + starts[i].
template <class P>
struct RowsAt {
  P* data;
  const std::size_t* starts;
};
/// Element (i, t) is data[rows[i] + columns[t]].
struct Left {
  const Scalar* data;
  const std::size_t *rows, *columns;
};

/// c = a b, or c += a b with `add`, when rows of c may overlap. c is (n, m), the sums are of k
/// terms. Terms are added in order, so sums do not depend on how the work is cut.
void gather_gemm(std::size_t n, std::size_t m, std::size_t k, const Left& a,
                 const RowsAt<const Scalar>& b, const RowsAt<Scalar>& c, bool add);

ARGTAPE_END
