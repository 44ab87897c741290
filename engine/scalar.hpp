// The one number type of the library. It is fixed when the library is built: float, or double in
// the second library (argtape-double). The inline namespace makes a mix of the two fail at link
// time.
#pragma once

#ifdef ARGTAPE_DOUBLE
#define ARGTAPE_ABI f64
#else
#define ARGTAPE_ABI f32
#endif

/// The same namespace for what the library exports: documented headers, and the sources that define
/// what they declare. All else is hidden, so that a program cannot come to depend on it.
#define ARGTAPE_API ARGTAPE_ABI __attribute__((visibility("default")))

namespace argtape {
inline namespace ARGTAPE_API {

#ifdef ARGTAPE_DOUBLE
using Scalar = double;
#else
using Scalar = float;
#endif

}  // namespace ARGTAPE_API
}  // namespace argtape
