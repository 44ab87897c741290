// Convolution over images (N, C, H, W), and its transpose, through matrix products.
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Numbers of pixels down and across: {2, 1}, or 2 for both.
struct Pixels {
  Pixels(std::size_t both) : h(both), w(both) {}
  Pixels(std::size_t h, std::size_t w) : h(h), w(w) {}
  std::size_t h, w;
};

/// What is added to each plane. (Not a Var, which a number in its place, or {2}, might mean to
/// become.)
struct Bias {
  template <class V, class = std::enable_if_t<std::is_convertible_v<const V&, Var>>>
  Bias(const V& b) : b(b) {}
  Var b;
};

/// y[n, o, i, j] = b[o] + sum over c, u, v of w[o, c, u, v] x[n, c, i * stride + u - padding, j *
/// stride + v - padding], x being 0 outside; x is (N, C, H, W), w is (O, C, h, w), b, if there is
/// one, (O,). Stride and padding may be others for i and j: conv2d(x, w, {2, 1}, {1, 0}). Throws
/// std::invalid_argument for other shapes, a stride or padding that is no number of pixels (a
/// stride of 0, a negative number as std::size_t), or a kernel larger than the padded image.
Var conv2d(Var x, Var w, Pixels stride = 1, Pixels padding = 0);
Var conv2d(Var x, Var w, Bias bias, Pixels stride = 1, Pixels padding = 0);

/// The transposed convolution, which is what conv2d with the same w, stride and padding passes back
/// to its images: y[n, c, i * stride + u - padding, j * stride + v - padding] += x[n, o, i, j] w[o,
/// c, u, v] for all o, i, j, u, v, what falls outside of y being left out. x is (N, O, H, W), w is
/// (O, C, h, w), y is (N, C, (H - 1) * stride + h - 2 * padding, (W - 1) * stride + w - 2 *
/// padding), the smallest images that conv2d makes (H, W) of; b, if there is one, is (C,). Throws
/// std::invalid_argument for other shapes, an axis of x or w without pixels, a stride or padding
/// that is no number of pixels, or padding that leaves no pixel.
Var conv_transpose2d(Var x, Var w, Pixels stride = 1, Pixels padding = 0);
Var conv_transpose2d(Var x, Var w, Bias bias, Pixels stride = 1, Pixels padding = 0);

ARGTAPE_END
