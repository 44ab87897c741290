// Whether this build recycles memory: what looks for uses after free wants none (meson.build). That
// is the address sanitizer, memcheck and the assertions, under which a step takes up to forty times
// as long; what repeats an experiment for its statistics, or trains for its figures, is shorter
// there.
#pragma once

#ifdef ARGTAPE_NO_RECYCLING
constexpr bool kRecycles = false;
#else
constexpr bool kRecycles = true;
#endif
