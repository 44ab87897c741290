// Numbers and texts as files hold them, and writing a file whole.
#pragma once

#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>

namespace argtape_examples {

// The shortest text that reads back as the same double, whatever the locale.
std::string exact(double value);

// As printf writes %f, %e and %g, but the same in every locale.
std::string formatted(std::chars_format format, int digits, double value);

// `digits` significant digits: "0.0123", "1.2e-05"; whole numbers below a million in full; "-" for
// NaN.
std::string number(double value, int digits = 3);

std::string csv_field(const std::string& text);

// Nothing is there where the system cannot look: the name may be too long, a folder on the way
// closed.
std::filesystem::file_status status_of(const std::filesystem::path& path) noexcept;

// As write_durably() (models/training/write_durably.hpp) does; but a pipe or a device, such as
// /dev/stdout, is written to.
void write_file(const std::filesystem::path& path, const std::string& text);
// Throws what write_file() would, as far as one can know without writing.
void require_writable_file(const std::filesystem::path& path);

// What is no UTF-8 in it replaced by U+FFFD.
std::string utf8(const std::string& text);

// Characters as the reader counts them: code points, not bytes.
std::size_t text_width(const std::string& text);

// The text as HTML has it, between tags or quotes, in UTF-8.
std::string html_text(const std::string& text);

}  // namespace argtape_examples
