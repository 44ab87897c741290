// The first cell of every notebook: argtape's headers, its library, and how the kernel shows its
// values. It stands alone in its cell, since a kernel looks up a cell's symbols before it runs the
// cell. After `#define ARGTAPE_DOUBLE` all is in double.
#pragma once

#include <dlfcn.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>
#include <xcpp/xdisplay.hpp>

#include "display.hpp"

namespace notebook {

#ifdef ARGTAPE_DOUBLE
inline const char* const kLibrary = "libargtape-double-notebook";
#else
inline const char* const kLibrary = "libargtape-notebook";
#endif
#ifdef __APPLE__
inline const char* const kEnding = ".dylib";
#else
inline const char* const kEnding = ".so";
#endif

/// Loads the library, says what it is, and on stderr what else is missing. All kernels find the
/// symbols of what was loaded so; what they have of their own says little when it fails.
inline bool load_library() {
  const std::string header = __FILE__, file = std::string(kLibrary) + kEnding;
  const std::size_t folder = header.rfind('/') + 1;  // 0: the kernel's own
  // A library that was asked for and cannot be loaded is an error: another one could be older.
  const char* const chosen = std::getenv("ARGTAPE_BUILD");
  std::string places[2] = {
      (chosen ? std::string(chosen) + "/" : header.substr(0, folder) + "../../build/") + file,
      chosen ? "" : file};
  std::string errors;
  void* library = nullptr;
  for (const std::string& place : places) {
    if (library || place.empty()) continue;
    library = dlopen(place.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (!library) errors += std::string("  ") + dlerror() + "\n";
  }
  if (!library)
    throw std::runtime_error(
        "argtape's library for notebooks cannot be loaded:\n" + errors +
        "Build it with `examples/run 01`, or name the folder it is in in ARGTAPE_BUILD; "
        "then restart the kernel.");
  using Words = const char* (*)();
  std::cerr << reinterpret_cast<Words>(dlsym(library, "argtape_notebook_missing"))();
  std::cout << reinterpret_cast<Words>(dlsym(library, "argtape_notebook_line"))() << std::endl;
  return true;
}

inline const bool loaded = load_library();

/// The embedded digits, wherever the notebook stands.
inline argtape::Dataset digits() {
  const std::string header = __FILE__;
  argtape::Dataset all = argtape::load_digits(header.substr(0, header.rfind('/') + 1) + "../data");
  all.name = "UCI digits";
  return all;
}

template <class T>
nlohmann::json json_of(const T& value) {
  // A kernel sends what is shown at once, and text when it is flushed: the text before goes first.
  std::cout << std::flush;
  const Bundle shown = bundle(value);
  nlohmann::json json;
  json["text/plain"] = shown.text;
  if (!shown.html.empty()) json["text/html"] = shown.html;
  if (!shown.svg.empty()) json["image/svg+xml"] = shown.svg;
  return json;
}

// A kernel looks for these in the namespace of what is shown. It has a template of its own for
// everything, so they are no templates.
inline nlohmann::json mime_bundle_repr(const Table& x) { return json_of(x); }
inline nlohmann::json mime_bundle_repr(const Progress& x) { return json_of(x); }

inline void Progress::step(const std::string& words) {
  if (!due(words)) return;
  xcpp::display(*this, xeus::xguid(id_.c_str()), shown_);
  shown_ = true;
}

}  // namespace notebook

namespace argtape_examples {

inline nlohmann::json mime_bundle_repr(const Picture& x) { return notebook::json_of(x); }

}  // namespace argtape_examples

ARGTAPE_PRIVATE_BEGIN

inline nlohmann::json mime_bundle_repr(const Tensor& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const Var& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const Tape& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const Gradients& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const Rule& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const std::vector<Rule>& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const Method& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const std::vector<Method>& x) {
  return notebook::json_of(x);
}
inline nlohmann::json mime_bundle_repr(const Measure& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const std::vector<Measure>& x) {
  return notebook::json_of(x);
}
inline nlohmann::json mime_bundle_repr(const CheckResult& x) { return notebook::json_of(x); }
inline nlohmann::json mime_bundle_repr(const std::vector<StopLine>& x) {
  return notebook::json_of(x);
}

ARGTAPE_END
