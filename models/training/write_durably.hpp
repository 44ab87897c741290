// Files that are the old one or the new one, whatever happens.
#pragma once

#include <string>

#include "../../engine/scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Replaces a file: `path`.tmp in the same folder, fsync, rename, fsync of the folder. Whatever
/// happens on the way, power cuts included, the file is the old one or the new one, whole. A link
/// stays, and what it leads to is written; a file that is there keeps its mode. Throws
/// std::system_error, naming the file and the reason, if it cannot be written: the old one is still
/// there. So it does where nobody may write the file (mode 444, whoever asks), and where it is
/// no regular file. One writer at a time: `path`.tmp is its.
void write_durably(const std::string& path, const std::string& bytes);

/// Throws what write_durably() would, as far as one can know without writing: for asking before
/// long work.
void require_writable(const std::string& path);

ARGTAPE_END
