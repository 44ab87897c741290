// Stands in for the header of this name that a Jupyter kernel brings: what would be shown is
// printed, for tests/notebooks.py to read.
#pragma once

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace xcpp {

template <class T>
nlohmann::json mime_bundle_repr(const T& value) {
  std::ostringstream text;
  text << value;
  nlohmann::json bundle;
  bundle["text/plain"] = text.str();
  return bundle;
}

template <class T>
void display(const T& value) {
  using ::xcpp::mime_bundle_repr;
  std::cout << "\n@@shown " << mime_bundle_repr(value).dump() << std::endl;
}

}  // namespace xcpp
