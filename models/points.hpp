// Points to be clustered: read from a file, or made.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "../engine/random.hpp"
#include "../engine/tensor.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// A table as it was read: `size` rows of `dimensions` numbers, in double whatever the library's
/// Scalar, so that an origin can be taken away before they are rounded.
struct PointTable {
  std::size_t size = 0, dimensions = 0;
  std::vector<double> numbers;  // row by row

  /// The mean of each column, rounded to a multiple of the power of two below its standard
  /// deviation: taking it away keeps whole numbers whole, and equal distances equal.
  std::vector<double> origin() const;
  /// The points less an origin, (size, dimensions). Far from 0 a float's digits go into where the
  /// points are, and none is left for how far apart they lie. Throws
  /// std::invalid_argument if `origin` has another number of dimensions, or for a number that the
  /// library's Scalar cannot hold.
  Tensor tensor(const std::vector<double>& origin = {}) const;
};

/// The points of a CSV or NumPy file, plain or gzipped; which it is, its first byte says.
///
/// CSV: a line for each point. A first line without any number is a header, and skipped; so are
/// blank lines and lines that begin with #, wherever they stand. The first point's line tells the
/// separator: a semicolon, a tab or a comma, looked for in this order, or else blanks.
///
/// NumPy: format versions 1 to 3, little or big endian, float32, float64, all integers and bool, C
/// or Fortran order. An array (n,) is n points in one dimension.
///
/// Throws std::runtime_error, with the file and the line or row, if there is no such file, if it
/// is empty, cut short or longer than its header says, if the rows differ in length, and for
/// text, NaN and infinity. Memory grows with what the file holds, never with what a header
/// promises.
PointTable read_points(const std::string& path);

/// n points around `clusters` centres: a centre is uniform in (0, 1)^d, a point its centre and
/// normal noise of deviation `spread`; point i belongs to centre i % clusters. Throws
/// std::invalid_argument for a zero among the numbers, and unless spread >= 0.
Tensor separated_points(std::size_t n, std::size_t d, std::size_t clusters, double spread,
                        Rng& rng);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
