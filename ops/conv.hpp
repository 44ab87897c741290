// Convolution over images (N, C, H, W), and its transpose, through matrix products.
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// y[n, o, i, j] = sum over c, u, v of w[o, c, u, v] x[n, c, i * stride + u - padding, j * stride +
/// v - padding], x being 0 outside; x is (N, C, H, W), w is (O, C, h, w). Throws
/// std::invalid_argument for other shapes, a stride or padding that is no number of pixels (a
/// stride of 0, a negative number as std::size_t), or a kernel larger than the padded image.
Var conv2d(Var x, Var w, std::size_t stride = 1, std::size_t padding = 0);

/// The transposed convolution, which is what conv2d with the same w, stride and padding passes back
/// to its images: y[n, c, i * stride + u - padding, j * stride + v - padding] += x[n, o, i, j] w[o,
/// c, u, v] for all o, i, j, u, v, what falls outside of y being left out. x is (N, O, H, W), w is
/// (O, C, h, w), y is (N, C, (H - 1) * stride + h - 2 * padding, (W - 1) * stride + w - 2 *
/// padding), the smallest images that conv2d makes (H, W) of. Throws std::invalid_argument for
/// other shapes, an axis of x or w without pixels, a stride or padding that is no number of pixels,
/// or padding that leaves no pixel.
Var conv_transpose2d(Var x, Var w, std::size_t stride = 1, std::size_t padding = 0);

ARGTAPE_END
