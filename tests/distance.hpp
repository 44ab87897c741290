// How far apart two tensors are.
#pragma once

#include <cmath>

#include "engine/tensor.hpp"

/// |a - b| / |b|.
inline double relative_distance(const argtape::Tensor& a, const argtape::Tensor& b) {
  double off = 0, size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off += (a.data()[i] - b.data()[i]) * (a.data()[i] - b.data()[i]);
    size += b.data()[i] * b.data()[i];
  }
  return std::sqrt(off / size);
}
