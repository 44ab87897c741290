// Private: what does not fit is refused, in one line.
#pragma once

#include <stdexcept>
#include <string>

#include "../engine/scalar.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

[[noreturn]] inline void refuse(const char* op, const std::string& given, const std::string& need) {
  throw std::invalid_argument(std::string(op) + ": " + given + "; need " + need);
}
inline void require(bool holds, const char* op, const std::string& given, const std::string& need) {
  if (!holds) refuse(op, given, need);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
