// Refusing in words: "op: what you gave; what is needed".
#pragma once

#include <stdexcept>
#include <string>
#include <type_traits>

#include "tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A part of a message: words as they stand, numbers and shapes as str() writes them. A size that
/// was given as a negative number is one.
template <class T>
std::string in_words(const T& part) {
  if constexpr (std::is_same_v<T, std::size_t>)
    return std::to_string(static_cast<std::ptrdiff_t>(part));
  else if constexpr (std::is_integral_v<T>)
    return std::to_string(part);
  else if constexpr (std::is_convertible_v<const T&, std::string>)
    return part;
  else
    return str(part);
}

/// Throws the error, with all parts put together.
template <class Error = std::invalid_argument, class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
  throw Error((std::string() + ... + in_words(parts)));
}

/// The same unless it holds: require(b.shape() == a.shape(), "dot: a is ", a.shape(), ", b is ",
/// b.shape(), "; need the same shape").
template <class Error = std::invalid_argument, class... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) refuse<Error>(parts...);
}

ARGTAPE_END
