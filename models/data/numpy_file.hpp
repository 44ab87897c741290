// Private: an array in NumPy's format, .npy.
#pragma once

#include <functional>
#include <string>

#include "arrays.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Gives up to n bytes; fewer only at the end.
using ReadBytes = std::function<std::size_t(char* to, std::size_t n)>;

/// How a file of NumPy begins, and no text.
constexpr char kNumpyBegins[] = "\x93";

/// Reads an array from its beginning to the end of the file, and adds it to `to`, in C's order.
/// Memory grows with what there is, never with what the header promises. Throws std::runtime_error
/// with `label`, which says where it is.
void read_numpy(const ReadBytes& read, const std::string& label, const std::string& name,
                Arrays& to);

/// What stands before an array's numbers, format version 1.
std::string numpy_header(const Array& array);

ARGTAPE_END
