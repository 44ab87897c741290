// The digits of the programs that train on them.
#pragma once

#include <string>

#include <argtape/argtape.hpp>

namespace argtape_examples {

// Those in the folder, under its name; the embedded ones if it is empty.
inline argtape::Dataset digits_in(const std::string& folder) {
  if (!folder.empty()) return argtape::load_digits(folder);
  argtape::Dataset digits = argtape::load_digits(ARGTAPE_DATA_DIR);
  digits.name = "UCI digits";
  return digits;
}

}  // namespace argtape_examples
