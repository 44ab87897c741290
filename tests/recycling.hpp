// Whether this build recycles memory: what looks for uses after free wants none (meson.build).
#pragma once

#ifdef ARGTAPE_NO_RECYCLING
constexpr bool kRecycles = false;
#else
constexpr bool kRecycles = true;
#endif
