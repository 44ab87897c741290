// A wrong call is told, in these words.
#pragma once

#include <doctest/doctest.h>

#include <stdexcept>
#include <string>

/// f() throws std::invalid_argument with this message.
template <class F>
void refuses(F f, const std::string& message) {
  CHECK_THROWS_WITH_AS(f(), message.c_str(), std::invalid_argument);
}
