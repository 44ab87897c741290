// BLAS as the library calls it. For the library's own .cpp files.
#pragma once

#include "../../engine/scalar.hpp"

#include <cstddef>

ARGTAPE_PRIVATE_BEGIN

/// c = op(a) op(b) + beta c for row-major matrices: op(a) is (n, k), op(b) is (k, m); `ta` and `tb`
/// say that a or b is stored transposed. The same bits for any number of threads.
void gemm(bool ta, bool tb, std::size_t n, std::size_t m, std::size_t k, const Scalar* a,
          const Scalar* b, Scalar beta, Scalar* c);

ARGTAPE_END
