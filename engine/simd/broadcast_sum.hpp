// A tensor summed over the axes along which a smaller one is stretched to it.
#pragma once

#include <algorithm>
#include <numeric>
#include <vector>

#include "../system/parallel.hpp"
#include "broadcast_loop.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Above so many terms a sum is gathered in double: one of ever more floats stops growing.
constexpr std::size_t kManyTerms = 256;

// to[r * step] += the sum of row r, for rows one after the other from p on.
template <class Sum>
void sum_rows(const Scalar* p, std::size_t rows, std::size_t length, Sum* to, std::size_t step) {
  std::size_t r = 0;
  if (length < kLane) {
    // Whole lanes are loaded while they reach no further than the last row; and asked for ahead,
    // since loads that overlap do not look like a walk through memory.
    alignas(64) Scalar place[kLane];
    std::iota(place, place + kLane, Scalar{0});
    const auto inside = Lane::load_aligned(place) < Lane(static_cast<Scalar>(length));
    const std::size_t far = 25 * kLane, size = rows * length;
    for (std::size_t at = 0; at + kLane <= size; ++r, at += length, to += step) {
      __builtin_prefetch(p + std::min(at + far, size - 1));
      *to += lane_sum(xsimd::select(inside, Lane::load_unaligned(p + at), Lane(0)));
    }
  }
  for (p += r * length; r < rows; ++r, p += length, to += step)
    for (std::size_t i = 0; i < length; i += kManyTerms)
      *to += sum_of(p + i, std::min(kManyTerms, length - i));
}

// out[i] += x's numbers above it.
template <class Sum>
void gather_sums(const Tensor& x, const Shape& shape, Sum* out) {
  const Source small{nullptr, &shape};
  const StretchedAxes axes(x.shape(), &small, 1);
  const std::size_t length = axes.at(0).length, rows = axes.at(1).length;
  const std::size_t step = axes.at(1).steps[0];
  Walk walk(axes, 2);
  const Scalar* const end = x.data() + x.size();
  for (const Scalar* p = x.data(); p != end; p += rows * length, walk.next()) {
    Sum* to = out + walk.offsets[0];
    if (axes.at(0).steps[0] != 0) {
      parallel_for(length, std::max(std::size_t{64}, kGrain / rows),
                   [&](std::size_t begin, std::size_t end) {
                     for (const Scalar* from = p; from != p + rows * length; from += length)
#pragma omp simd
                       for (std::size_t i = begin; i < end; ++i) to[i] += from[i];
                   });
    } else if (rows > 1) {
      parallel_for(rows, kGrain / length + 1, [&](std::size_t begin, std::size_t end) {
        sum_rows(p + begin * length, end - begin, length, to + begin * step, step);
      });
    } else {
      // One sum: in blocks that do not depend on the threads.
      std::vector<double> blocks((length + kGrain - 1) / kGrain, 0.0);
      parallel_for(length, kGrain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; i += kGrain)
          sum_rows(p + i, 1, std::min(kGrain, end - i), &blocks[i / kGrain], 0);
      });
      for (double s : blocks) *to += static_cast<Sum>(s);
    }
  }
}

/// x summed to `shape`, which broadcasts to x's.
inline Tensor summed(const Tensor& x, const Shape& shape) {
  Tensor out = zeros(shape);
  if (out.size() == 0 || x.size() / out.size() <= kManyTerms) {
    gather_sums(x, shape, out.data());
    return out;
  }
  std::vector<double> sums(out.size(), 0);
  gather_sums(x, shape, sums.data());
  std::transform(sums.begin(), sums.end(), out.data(),
                 [](double v) { return static_cast<Scalar>(v); });
  return out;
}

ARGTAPE_END
