// How many random cases the environment asks for.
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>

/// ARGTAPE_CASES; `otherwise` where it is not set. Throws std::invalid_argument unless it is a
/// whole number above 0.
inline long cases(long otherwise) {
  const char* text = std::getenv("ARGTAPE_CASES");
  if (text == nullptr) return otherwise;
  char* end = nullptr;
  const long n = std::strtol(text, &end, 10);
  if (*end != '\0' || n < 1)
    throw std::invalid_argument("ARGTAPE_CASES is '" + std::string(text) +
                                "'; need a whole number above 0");
  return n;
}
