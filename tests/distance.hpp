// How far apart two tensors are.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/tensor.hpp"

/// The largest |a - b| of two tensors of one shape; infinite where there is NaN.
inline double farthest(const argtape::Tensor& a, const argtape::Tensor& b) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  if (a.shape() != b.shape()) return inf;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double apart = std::abs(static_cast<double>(a.data()[i] - b.data()[i]));
    most = std::isnan(apart) ? inf : std::max(most, apart);
  }
  return most;
}

/// |a - b| / |b|.
inline double relative_distance(const argtape::Tensor& a, const argtape::Tensor& b) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += (a.data()[i] - b.data()[i]) * (a.data()[i] - b.data()[i]);
    size += b.data()[i] * b.data()[i];
  }
  return std::sqrt(off / size);
}
