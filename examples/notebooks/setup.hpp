// The first cell of every notebook: argtape, its library, and how its types are shown. It stands
// alone in its cell, since a kernel looks up a cell's symbols before it runs the cell.
#pragma once

#if __has_include("../../models/argtape.hpp")
#include "../../models/argtape.hpp"
#else
#include <argtape/argtape.hpp>
#endif

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>
#include <xcpp/xdisplay.hpp>

#if defined(__CLING__)
// xeus-cling. Its kernels start in the notebook's folder; they search LD_LIBRARY_PATH too.
#pragma cling add_library_path("../../build")
#pragma cling add_library_path("$CONDA_PREFIX/lib")
#pragma cling load("libargtape")
#elif defined(__CLANG_REPL__)
// xeus-cpp, which passes over such pragmas in silence.
#include <dlfcn.h>

#include <cstdlib>

namespace notebook {

inline bool load_library() {
  const std::string here = __FILE__;
#ifdef __APPLE__
  const std::string file = "libargtape.dylib";
#else
  const std::string file = "libargtape.so";
#endif
  const std::string built = here.substr(0, here.rfind('/') + 1) + "../../build/" + file;
  std::vector<std::string> places = {built, file};
  // A library that was asked for and cannot be loaded is an error: another one could be older.
  if (const char* chosen = std::getenv("ARGTAPE_LIBRARY")) places = {chosen};
  std::string errors;
  for (const std::string& place : places) {
    if (dlopen(place.c_str(), RTLD_NOW | RTLD_GLOBAL)) return true;
    errors += std::string("  ") + dlerror() + "\n";
  }
  throw std::runtime_error("argtape's library cannot be loaded:\n" + errors +
                           "Build it with examples/run, or name its file in ARGTAPE_LIBRARY; "
                           "then restart the kernel.");
}

inline const bool loaded = load_library();

}  // namespace notebook
#endif

ARGTAPE_PRIVATE_BEGIN

/// A tape is shown as its picture, where Graphviz is installed, and else as text.
inline nlohmann::json mime_bundle_repr(const Tape& tape) {
  nlohmann::json bundle;
  bundle["text/plain"] = to_text(tape);
  const std::string svg = to_svg(tape);
  if (!svg.empty()) bundle["image/svg+xml"] = svg;
  return bundle;
}

inline nlohmann::json mime_bundle_repr(const Tensor& tensor) {
  nlohmann::json bundle;
  bundle["text/plain"] = str(tensor);
  return bundle;
}

ARGTAPE_END

namespace notebook {

inline std::string number(double x, int digits = 4) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, x);
  return text;
}

/// "0.041 ± 0.055": the error to two digits, and x as far as those reach; x alone where the error
/// is but rounding.
inline std::string with_error(double x, double error) {
  if (!(error > 1e-7)) return number(x);
  const int decimals = std::max(0, 1 - static_cast<int>(std::floor(std::log10(error))));
  char text[96];
  std::snprintf(text, sizeof text, "%.*f ± %.*f", decimals, x, decimals, error);
  return text;
}

/// Rows of text, the first one a header.
struct Table {
  std::vector<std::vector<std::string>> rows;
};

inline nlohmann::json mime_bundle_repr(const Table& table) {
  const auto width = [](const std::string& s) {
    // In UTF-8 every character has one byte that does not continue another.
    return std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xC0) != 0x80; });
  };
  std::vector<std::ptrdiff_t> widths;
  for (const auto& row : table.rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  }
  std::string text, html = "<table>";
  for (const auto& row : table.rows) {
    const std::string tag = &row == &table.rows[0] ? "th" : "td";
    html += "<tr>";
    for (std::size_t i = 0; i < row.size(); ++i) {
      html += "<" + tag + ">" + row[i] + "</" + tag + ">";
      text += row[i] + std::string(static_cast<std::size_t>(widths[i] - width(row[i]) + 2), ' ');
    }
    html += "</tr>";
    text += "\n";
  }
  nlohmann::json bundle;
  bundle["text/plain"] = text;
  bundle["text/html"] = html + "</table>";
  return bundle;
}

}  // namespace notebook
