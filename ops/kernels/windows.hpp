// The windows of convolutions and pooling: where they stand, and images as they are read through
// them. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "../../engine/require.hpp"
#include "../../engine/simd/lane.hpp"
#include "../conv.hpp"

ARGTAPE_PRIVATE_BEGIN

inline void require_pixels(const char* op, Pixels stride, Pixels padding) {
  for (std::size_t p : {padding.h, padding.w})
    require(p <= kMostBytes, op, ": padding is ", p, "; need a number of pixels");
  for (std::size_t s : {stride.h, stride.w})
    require(s > 0 && s <= kMostBytes, op, ": stride is ", s,
            "; need a number of pixels, at least 1");
}

/// n images of c planes, h x w pixels; out_h x out_w windows of kernel_h x kernel_w pixels.
struct ConvGeometry {
  std::size_t n = 0, c = 0, h = 0, w = 0, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
              out_h = 0, out_w = 0;

  ConvGeometry(const char* op, const Shape& x, std::size_t kernel_h, std::size_t kernel_w,
               Pixels stride, Pixels padding)
      : kernel_h(kernel_h), kernel_w(kernel_w), pad_h(padding.h), pad_w(padding.w) {
    if (x.size() != 4) refuse(op, ": x is ", x, "; need (N, C, H, W)");
    require_pixels(op, stride, padding);
    n = x[0], c = x[1], h = x[2], w = x[3];
    if (kernel_h == 0 || kernel_w == 0 || padded_height() < kernel_h || padded_width() < kernel_w)
      refuse(op, ": x is ", x, " with padding ", Shape{pad_h, pad_w}, ", the window is ",
             Shape{kernel_h, kernel_w}, "; need a window of at least one pixel that fits in");
    size_of({c, padded_height(), padded_width()});  // refuses what memory does not hold
    // A longer stride leaves one window, too.
    stride_h = std::min(stride.h, padded_height());
    stride_w = std::min(stride.w, padded_width());
    out_h = (padded_height() - kernel_h) / stride_h + 1;
    out_w = (padded_width() - kernel_w) / stride_w + 1;
  }

  /// Numbers of an image, of a kernel, of one plane of the result.
  std::size_t image_size() const { return c * h * w; }
  std::size_t kernel_size() const { return c * kernel_h * kernel_w; }
  std::size_t out_size() const { return out_h * out_w; }
  /// Whether windows stand one pixel apart.
  bool by_one() const { return stride_h == 1 && stride_w == 1; }
  /// The images with their padding around them.
  bool padded() const { return pad_h != 0 || pad_w != 0; }
  std::size_t padded_height() const { return h + 2 * pad_h; }
  std::size_t padded_width() const { return w + 2 * pad_w; }
};

/// For rows so short that a call of memcpy would cost more than the copying.
inline void copy_row(std::size_t n, const Scalar* from, Scalar* to) {
  map_lanes(
      n, to, false, [](Lane x) { return x; }, from);
}

/// An image with its padding, pixels sorted into parts: those whose columns leave the same when
/// divided by the stride across, and their rows when divided by `row_parts`, 1 or the stride down.
/// So the pixels at one place of neighbouring windows are neighbours, whatever the stride: place k
/// of window (i, j) stands at i * pitch + j + places[k]. A lane may run over the end.
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
