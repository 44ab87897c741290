// The one number type of the library. It is fixed when the library is built: float, or double in
// the second library (argtape-double). The inline namespace makes a mix of the two fail at link
// time.
#pragma once

#ifdef ARGTAPE_DOUBLE
#define ARGTAPE_ABI f64
#else
#define ARGTAPE_ABI f32
#endif

namespace argtape {
inline namespace ARGTAPE_ABI {

#ifdef ARGTAPE_DOUBLE
using Scalar = double;
#else
using Scalar = float;
#endif

}  // namespace ARGTAPE_ABI
}  // namespace argtape
