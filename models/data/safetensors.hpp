// Private: several arrays in the format safetensors (https://huggingface.co/docs/safetensors): the
// length of a header in 8 bytes, the header in JSON, and raw numbers.
#pragma once

#include <map>
#include <string>

#include "arrays.hpp"

ARGTAPE_PRIVATE_BEGIN

using Metadata = std::map<std::string, std::string>;

/// The arrays in a file, and its metadata. Throws std::runtime_error if it is torn, damaged, none
/// of its kind or of a newer version. Metadata "argtape", the version, and "crc32", of the whole
/// file with eight zeros in place of the checksum itself, are checked where there are any.
Arrays read_safetensors(std::string file, Metadata& metadata);
/// The file, with both.
std::string write_safetensors(const Arrays& arrays, const Metadata& metadata);

ARGTAPE_END
