// BLAS as the library calls it. For the library's own .cpp files.
#pragma once

#include "../../engine/scalar.hpp"

#include <cstddef>

ARGTAPE_PRIVATE_BEGIN

/// c = op(a) op(b) + beta c for row-major matrices: op(a) is (n, k), op(b) is (k, m); `ta` and `tb`
/// say that a or b is stored transposed. With another number of threads the last digits may differ:
/// BLAS rounds differently where it works on another part of the result.
void gemm(bool ta, bool tb, std::size_t n, std::size_t m, std::size_t k, const Scalar* a,
          const Scalar* b, Scalar beta, Scalar* c);

ARGTAPE_END
