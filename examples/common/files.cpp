#include "examples/common/files.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "models/training/write_durably.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;

fs::file_status status_of(const fs::path& path) noexcept {
  std::error_code ignored;
  return fs::status(path, ignored);
}

namespace {

// What has a reader, and no old text to be replaced. A standard stream may lead to a file, in which
// what was printed stays.
bool is_stream(const fs::path& path) {
  std::error_code ignored;
  const fs::file_type type = status_of(path).type();
  return type == fs::file_type::fifo || type == fs::file_type::character ||
         fs::equivalent(path, "/dev/stdout", ignored) ||
         fs::equivalent(path, "/dev/stderr", ignored);
}

[[noreturn]] void fail(const fs::path& path) {
  throw std::system_error(errno, std::generic_category(), "cannot write '" + path.string() + "'");
}

}  // namespace

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

std::string utf8(const std::string& text) {
  using Json = nlohmann::json;
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::size_t text_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

void write_file(const fs::path& path, const std::string& text) {
  if (!is_stream(path)) return argtape::write_durably(path, text);
  errno = 0;
  std::ofstream file(path, std::ios::binary | std::ios::app);
  if (!(file << text << std::flush)) fail(path);
}

void require_writable_file(const fs::path& path) {
  if (!is_stream(path)) return argtape::require_writable(path);
  if (::access(path.c_str(), W_OK) != 0) fail(path);
}

std::string html_text(const std::string& text) {
  std::string all;
  for (const char c : utf8(text)) {
    if (c == '&')
      all += "&amp;";
    else if (c == '<')
      all += "&lt;";
    else if (c == '>')
      all += "&gt;";
    else if (c == '"')
      all += "&quot;";
    else
      all += c;
  }
  return all;
}

}  // namespace argtape_examples
