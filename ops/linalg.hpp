// Matrix products, through BLAS. A tensor beside a Var is a constant.
#pragma once

#include "operand.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Matrix product of the last two axes: (..., n, k) times (..., k, m) gives (..., n, m); leading
/// axes broadcast. A vector (k,) on the left is a matrix of one row, on the right one of one
/// column, and that axis is not in the result: (n, k) times (k,) gives (n,), (k,) times (k,) a
/// number. Throws std::invalid_argument for other shapes.
Var matmul(const Operand& a, const Operand& b);
/// a b^T over the last two axes, b as it stands: (..., n, k) and (..., m, k) give (..., n, m), the
/// inner products of a's rows with b's; leading axes broadcast. Throws std::invalid_argument for
/// other shapes.
Var matmul_transposed(const Operand& a, const Operand& b);
/// x w + b, a layer of a network, in one op: (..., n, k), (k, m) and (m,) give (..., n, m). Throws
/// std::invalid_argument for other shapes.
Var dense(const Operand& x, const Operand& w, const Operand& b);
/// (n,) and (m,) give the matrix a_i b_j.
Var outer(const Operand& a, const Operand& b);
/// (n,) and (n,) give the number sum_i a_i b_i.
Var dot(const Operand& a, const Operand& b);

ARGTAPE_END
