// Private: numbers with what they count.
#pragma once

#include <cstddef>
#include <string>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// "1 point", "2 points".
inline std::string counted(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

ARGTAPE_END
