// Convolution over images (N, C, H, W), through matrix products.
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// y[n, o, i, j] = sum over c, u, v of w[o, c, u, v] x[n, c, i * stride + u - padding, j * stride +
/// v - padding], x being 0 outside; x is (N, C, H, W), w is (O, C, h, w). Throws
/// std::invalid_argument for other shapes, a stride or padding that is no number of pixels (a
/// stride of 0, a negative number as std::size_t), or a kernel larger than the padded image.
Var conv2d(Var x, Var w, std::size_t stride = 1, std::size_t padding = 0);

ARGTAPE_END
