#include "examples/common/files.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace argtape_examples {

namespace fs = std::filesystem;

std::string exact(double value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string formatted(std::chars_format format, int digits, double value) {
  std::array<char, 400> buffer;  // a double's 309 digits, its sign and its decimals
  char* const end = buffer.data() + buffer.size();
  return {buffer.data(), std::to_chars(buffer.data(), end, value, format, digits).ptr};
}

std::string number(double value, int digits) {
  if (std::isnan(value)) return "-";
  if (value == 0) return "0";
  const std::string text = formatted(std::chars_format::general, digits, value);
  const double size = std::abs(value);
  if (text.find('e') != std::string::npos && size >= 1 && std::round(size) < 1e6) {
    return formatted(std::chars_format::fixed, 0, value);
  }
  return text;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) {
    result += c;
    if (c == '"') result += c;
  }
  return result + '"';
}

std::size_t text_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

void write_file(const fs::path& path, const std::string& text) {
  const auto fail = [&path](const std::string& reason) {
    throw std::runtime_error("cannot write '" + path.string() + "': " + reason);
  };
  std::error_code error;
  const fs::file_status before = fs::symlink_status(path, error);
  const fs::file_type type = before.type();
  if (type == fs::file_type::directory) fail("it is a folder");
  const bool replace = type == fs::file_type::not_found || type == fs::file_type::regular;
  fs::path target = path;
  if (replace) target += "." + std::to_string(::getpid()) + ".tmp";
  errno = 0;
  std::ofstream file(target, std::ios::binary);
  // Who may read the file is for its owner to say; still empty, the new one gives nothing away.
  if (type == fs::file_type::regular) fs::permissions(target, before.permissions(), error);
  file << text;
  file.close();
  if (!file) {
    const std::string reason = std::generic_category().message(errno);
    if (replace) fs::remove(target, error);
    fail(reason);
  }
  if (!replace) return;
  fs::rename(target, path, error);
  if (error) {
    const std::string reason = error.message();
    fs::remove(target, error);
    fail(reason);
  }
}

}  // namespace argtape_examples
