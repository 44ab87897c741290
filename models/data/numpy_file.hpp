// Private: arrays in NumPy's format, .npy.
#pragma once

#include <string>
#include <vector>

#include "source.hpp"

ARGTAPE_PRIVATE_BEGIN

/// `size` rows of `dimensions` numbers, in double whatever the library's Scalar.
struct NumberTable {
  std::size_t size = 0, dimensions = 0;
  std::vector<double> numbers;  ///< row by row
};

/// Whether a file begins as a NumPy file does, and no text.
bool is_numpy(Source& source);

/// The array in a file from its beginning on; see read_points(). `path` and `need` are for errors:
/// where it is, and what it should have been.
NumberTable read_numpy(Source& source, const std::string& path, const std::string& need);

ARGTAPE_END
