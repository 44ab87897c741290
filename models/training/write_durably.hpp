// Files that are the old one or the new one, whatever happens.
#pragma once

#include <string>

#include "../../engine/scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Replaces a file: `path`.tmp in the same folder, fsync, rename, fsync of the folder. Whatever
/// happens on the way, power cuts included, the file is the old one or the new one, whole. Throws
/// std::system_error, naming the file and the reason, if it cannot be written; the old one is still
/// there. One writer at a time: `path`.tmp is its.
void write_durably(const std::string& path, const std::string& bytes);

ARGTAPE_END
