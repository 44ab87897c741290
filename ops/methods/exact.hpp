// The method without an error: enumeration.
#pragma once

#include "method.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// expectation() as a method: all combinations, no noise.
Method enumeration();

}  // namespace ARGTAPE_ABI
}  // namespace argtape
