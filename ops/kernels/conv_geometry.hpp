// Where the windows of convolutions and pooling stand. For the library's own .cpp files.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>

#include "../../engine/tensor.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// n images of c planes, h x w pixels; windows of u x v pixels, oh x ow of them.
struct ConvGeometry {
  std::size_t n, c, h, w, u, v, stride, above, beside, oh, ow;  // padding above, and beside

  ConvGeometry(const char* op, const Shape& x, std::size_t u, std::size_t v, std::size_t stride,
               std::size_t padding)
      : n(0),
        c(0),
        h(0),
        w(0),
        u(u),
        v(v),
        stride(stride),
        above(padding),
        beside(padding),
        oh(0),
        ow(0) {
    const auto fail = [&](const std::string& given, const char* needed) {
      throw std::invalid_argument(std::string(op) + ": " + given + "; need " + needed);
    };
    if (x.size() != 4) fail("x is " + str(x), "(N, C, H, W)");
    if (stride == 0) fail("stride is 0", "at least 1");
    n = x[0], c = x[1], h = x[2], w = x[3];
    if (u == 0 || v == 0 || h + 2 * padding < u || w + 2 * padding < v)
      fail("x is " + str(x) + " with padding " + std::to_string(padding) + ", the window is (" +
               std::to_string(u) + ", " + std::to_string(v) + ")",
           "a window of at least one pixel that fits in");
    oh = (h + 2 * padding - u) / stride + 1;
    ow = (w + 2 * padding - v) / stride + 1;
  }

  std::size_t image() const { return c * h * w; }
  std::size_t kernel() const { return c * u * v; }
  std::size_t places() const { return oh * ow; }
  /// The images with their padding around them.
  bool padded() const { return above != 0 || beside != 0; }
  std::size_t padded_width() const { return w + 2 * beside; }
  std::size_t padded_plane() const { return (h + 2 * above) * padded_width(); }
};

}  // namespace ARGTAPE_ABI
}  // namespace argtape
