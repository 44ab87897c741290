// Plain arrays, a vector register at a time. For the library's own .cpp files: it includes xsimd,
// which no public header does.
#pragma once

#include <algorithm>
#include <cstddef>
#include <xsimd/xsimd.hpp>

#include "scalar.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// As many Scalars as a register holds. Formulas written as generic lambdas take Lanes as they do
/// Vars.
using Lane = xsimd::batch<Scalar>;
constexpr std::size_t kLane = Lane::size;

/// The first n < kLane numbers from p; the rest of the lane is `rest`.
inline Lane load_some(const Scalar* p, std::size_t n, Scalar rest = 0) {
  alignas(64) Scalar some[kLane];
  std::fill(std::copy(p, p + n, some), some + kLane, rest);
  return Lane::load_aligned(some);
}
inline void store_some(Lane x, Scalar* p, std::size_t n) {
  alignas(64) Scalar some[kLane];
  x.store_aligned(some);
  std::copy(some, some + n, p);
}

/// The sum of a lane's numbers. (xsimd's own changed its name with version 9.)
inline Scalar lane_sum(Lane x) {
  alignas(64) Scalar each[kLane];
  x.store_aligned(each);
  Scalar s = 0;
  for (Scalar v : each) s += v;
  return s;
}

/// out[i] = f(in[i]...) for i < n; with `add`, out[i] += f(in[i]...).
template <class F, class... P>
void map_lanes(std::size_t n, Scalar* out, bool add, F f, const P*... in) {
  std::size_t i = 0;
  if (add)
    for (; i + kLane <= n; i += kLane)
      (Lane::load_unaligned(out + i) + Lane(f(Lane::load_unaligned(in + i)...)))
          .store_unaligned(out + i);
  else
    for (; i + kLane <= n; i += kLane)
      Lane(f(Lane::load_unaligned(in + i)...)).store_unaligned(out + i);
  if (i == n) return;
  const Lane last = f(load_some(in + i, n - i)...);
  store_some(add ? load_some(out + i, n - i) + last : last, out + i, n - i);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
