// The best matching of rows to columns.
#pragma once

#include <vector>

#include "../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

enum class Best { largest, smallest };

/// For each row of each matrix of (..., n, m), n <= m, a column of its own, such that the sum of
/// the numbers there is the largest, or the smallest: row after row, matrix after matrix. On ties
/// one of the best, the same in each run. The Hungarian method (H. Kuhn, 1955) by shortest
/// augmenting paths (R. Jonker and A. Volgenant, 1987): about n^2 m operations at most, in double
/// whatever Scalar is.
///
/// -inf, or +inf for the smallest, forbids a pair. Throws std::invalid_argument for matrices with
/// more rows than columns (transpose them, then each column gets a row), or none, NaN or the other
/// infinity, and forbidden pairs that leave no matching.
std::vector<std::size_t> hungarian(const Tensor& weights, Best best = Best::largest);

ARGTAPE_END
