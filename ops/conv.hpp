// Images: convolution and pooling over (N, C, H, W), through matrix products.
#pragma once

#include "../engine/tape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

/// y[n, o, i, j] = sum over c, u, v of w[o, c, u, v] x[n, c, i * stride + u - padding, j * stride +
/// v - padding], x being 0 outside; x is (N, C, H, W), w is (O, C, h, w). Throws
/// std::invalid_argument for other shapes, stride 0, or a kernel larger than the padded image.
Var conv2d(Var x, Var w, std::size_t stride = 1, std::size_t padding = 0);

/// The largest number of each window of window x window pixels; padding never wins, and the first
/// of equal ones gets the gradient. stride 0 stands for the window's size. Throws
/// std::invalid_argument for other shapes, padding of a window or more, or a window larger than the
/// padded image.
Var max_pool2d(Var x, std::size_t window, std::size_t stride = 0, std::size_t padding = 0);

/// The mean of each window's pixels inside the image (padding is not counted); otherwise as
/// max_pool2d.
Var avg_pool2d(Var x, std::size_t window, std::size_t stride = 0, std::size_t padding = 0);

}  // namespace ARGTAPE_ABI
}  // namespace argtape
