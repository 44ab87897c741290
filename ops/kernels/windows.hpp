// The windows of images, as convolutions and pooling read them. For the library's own .cpp files.
#pragma once

#include <cstddef>
#include <vector>

#include "../../engine/simd/lane.hpp"
#include "conv_geometry.hpp"

ARGTAPE_PRIVATE_BEGIN

/// For rows so short that a call of memcpy would cost more than the copying.
inline void copy_row(std::size_t n, const Scalar* from, Scalar* to) {
  map_lanes(
      n, to, false, [](Lane x) { return x; }, from);
}

/// An image with its padding, pixels sorted into parts: those whose columns leave the same when
/// divided by the stride, and their rows when divided by `row_parts`, 1 or the stride. So the
/// pixels at one place of neighbouring windows are neighbours, whatever the stride: place k of
/// window (i, j) stands at i * pitch + j + places[k]. A lane may run over the end.
class Windows {
 public:
  Windows(const ConvGeometry& s, std::size_t row_parts, double padding = 0);

  std::size_t pitch;
  std::vector<std::size_t, CachingAllocator<std::size_t>> places;
  Scalar* data() { return numbers_.data(); }

  void read(const Scalar* image);
  /// What now stands where the image was read.
  void write(Scalar* image) const;
  void clear();

 private:
  // So many pixels of a plane, a stride apart in the image and one after the other here.
  struct Run {
    std::size_t pixel, place, length;
  };
  const std::size_t planes_, stride_, pixels_;  // pixels of a plane in the image,
  std::size_t plane_;                           // and numbers of one here
  std::vector<Run, CachingAllocator<Run>> runs_;
  Tensor numbers_;
};

ARGTAPE_END
