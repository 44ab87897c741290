// Work cut into pieces for the library's threads (engine/threads.hpp). What a piece computes must
// not depend on how the work was cut: then results are the same for any number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "../threads.hpp"

namespace argtape {

/// So many numbers are worth a thread of their own, when each takes a few instructions.
constexpr std::size_t kGrain = 16384;

/// Calls work(context, begin, end) for pieces that cover 0..n, whole multiples of `grain` but the
/// last, and returns when all are done. Inside a piece it runs on the spot.
void run_pieces(std::size_t n, std::size_t grain,
                void (*work)(void* context, std::size_t begin, std::size_t end), void* context);

/// f(begin, end) for pieces that cover 0..n; in one piece if n < 2 grain. If pieces throw, the
/// exception of the first of them, in order of place, is thrown again.
template <class F>
void parallel_for(std::size_t n, std::size_t grain, F&& f) {
  if (n == 0) return;
  if (n < 2 * grain || threads() == 1) return f(std::size_t{0}, n);
  using Function = std::remove_reference_t<F>;
  run_pieces(
      n, grain,
      [](void* context, std::size_t begin, std::size_t end) {
        (*static_cast<Function*>(context))(begin, end);
      },
      const_cast<std::remove_const_t<Function>*>(&f));
}

/// The grain for rows of so many numbers each. A short one takes as long as one of 64.
constexpr std::size_t rows_of_grain(std::size_t row) {
  return std::max<std::size_t>(1, kGrain / std::max<std::size_t>(64, row));
}

}  // namespace argtape
