// How far apart numbers and tensors are; wherever there is NaN, no bound on it holds.
#pragma once

#include <doctest/doctest.h>

#include <cmath>

#include "engine/tensor.hpp"

/// The larger of two; NaN if one of them is.
inline double worse(double a, double b) { return std::isnan(a) || a >= b ? a : b; }

/// The largest |a - b| of two tensors of one shape.
inline double farthest(const argtape::Tensor& a, const argtape::Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most =
        worse(most, std::abs(static_cast<double>(a.data()[i]) - static_cast<double>(b.data()[i])));
  return most;
}

/// Each |found - expected| is at most tolerance (1 + |expected|).
inline void check_close(const argtape::Tensor& found, const argtape::Tensor& expected,
                        double tolerance = 1e-13) {
  REQUIRE(found.shape() == expected.shape());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(std::abs(found.data()[i] - expected.data()[i]) <=
          tolerance * (1 + std::abs(expected.data()[i])));
  }
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
