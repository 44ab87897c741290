// The one number type of the library. It is fixed when the library is built: float, or double in
// the second library (argtape-double). The inline namespace makes a mix of the two fail at link
// time.
#pragma once

#if __cplusplus < 201703L
#error "argtape needs C++17 or later (-std=c++17; in a notebook, the kernel C++17)"
#endif

#ifdef ARGTAPE_DOUBLE
#define ARGTAPE_ABI f64
#else
#define ARGTAPE_ABI f32
#endif

/// Around what the library exports: documented headers, and the sources that define what they
/// declare. All else is hidden, so that a program cannot come to depend on it.
#define ARGTAPE_PUBLIC_BEGIN \
  namespace argtape {        \
  inline namespace ARGTAPE_ABI __attribute__((visibility("default"))) {
/// Around what is the library's own.
#define ARGTAPE_PRIVATE_BEGIN \
  namespace argtape {         \
  inline namespace ARGTAPE_ABI {
#define ARGTAPE_END \
  }                 \
  }

ARGTAPE_PUBLIC_BEGIN

#ifdef ARGTAPE_DOUBLE
using Scalar = double;
#else
using Scalar = float;
#endif

ARGTAPE_END
