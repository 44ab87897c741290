// Stands in for the header of this name that a Jupyter kernel brings: what would be shown is
// printed, for tests/notebooks.py to read. What is shown again in another's place has its id.
#pragma once

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace xeus {
using xguid = std::string;
}  // namespace xeus

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
void display(const T& value, const xeus::xguid& id = "", bool = false) {
  using ::xcpp::mime_bundle_repr;
  const std::string shown = mime_bundle_repr(value).dump();  // first, since it may throw
  std::cout << "\n@@shown " << id << " " << shown << std::endl;
}

}  // namespace xcpp
