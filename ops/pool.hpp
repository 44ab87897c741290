// Pooling over images (N, C, H, W).
#pragma once

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The largest number of each window of window x window pixels; padding never wins, and the first
/// of equal ones gets the gradient. stride 0 stands for the window's size. Throws
/// std::invalid_argument for other shapes, padding of a window or more, a stride that is no number
/// of pixels, or a window larger than the padded image.
Var max_pool2d(Var x, std::size_t window, std::size_t stride = 0, std::size_t padding = 0);

/// The mean of each window's pixels inside the image (padding is not counted); otherwise as
/// max_pool2d.
Var avg_pool2d(Var x, std::size_t window, std::size_t stride = 0, std::size_t padding = 0);

ARGTAPE_END
