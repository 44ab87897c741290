// Private: several arrays in NumPy's format .npz, a zip archive with an .npy file for each.
#pragma once

#include <string>

#include "arrays.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Whether a file is one, by its first four bytes.
bool is_npz(const std::string& file);

/// The arrays in a file, as np.savez() or np.savez_compressed() writes it. Throws
/// std::runtime_error if it is torn or damaged, and for what np.load() alone could read.
Arrays read_npz(const std::string& file);
/// The file, uncompressed. Throws std::runtime_error for 4 GB or more.
std::string write_npz(const Arrays& arrays);

ARGTAPE_END
