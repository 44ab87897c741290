// Points to be clustered: read from a file, or made.
#pragma once

#include <cstddef>
#include <string>

#include "../../engine/random.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The points (n, dim) of a CSV or NumPy file, plain or gzipped; which it is, its first byte says.
///
/// CSV: a line for each point. A first line without any number is a header, and skipped, if it has
/// as many cells as the points, and at least one of them is a name: empty cells and marks of a
/// missing value (NA, N/A, null, none, ?, -, .) are none, so that a first point of nothing else is
/// refused as any other would be. A line has at most 2^20 characters. Blank lines and lines that
/// begin with # are skipped wherever they stand. The first point's line tells the separator: a
/// semicolon, a tab or a comma, looked for in this order, or else blanks. A decimal comma is not
/// understood.
///
/// NumPy: format versions 1 to 3, little or big endian, float16, float32, float64, all integers and
/// bool, C or Fortran order. An array (n,) is n points in one dimension.
///
/// Throws std::runtime_error, with the file and the line or row, if there is no such file, if it
/// is empty, cut short or longer than its header says, if the rows differ in length, and for
/// text, NaN, infinity and numbers that the library's Scalar cannot hold, those that are not 0 and
/// would become 0 among them. Memory grows with what
/// the file holds, never with what a header promises.
Tensor read_points(const std::string& path);

/// n points around `clusters` centres: a centre is uniform in (0, 1)^d, a point its centre and
/// normal noise of deviation `spread`; point i belongs to centre i % clusters. Throws
/// std::invalid_argument if n, d or clusters is 0, and unless spread >= 0 is finite.
Tensor separated_points(std::size_t n, std::size_t d, std::size_t clusters, double spread,
                        Rng& rng);

ARGTAPE_END
