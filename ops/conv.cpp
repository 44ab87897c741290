#include "ops/conv.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "ops/blas.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// Where windows stand on images: n images of c planes, h x w pixels; windows of u x v pixels, oh x
// ow of them.
struct Windows {
  std::size_t n, c, h, w, u, v, stride, padding, oh, ow;

  Windows(const char* op, const Shape& x, std::size_t u, std::size_t v, std::size_t stride,
          std::size_t padding)
      : n(0), c(0), h(0), w(0), u(u), v(v), stride(stride), padding(padding), oh(0), ow(0) {
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

  // For window row i and kernel row a the image row, if it is inside.
  static bool inside(std::size_t i, std::size_t a, std::size_t stride, std::size_t padding,
                     std::size_t size, std::size_t& at) {
    at = i * stride + a;
    if (at < padding || at - padding >= size) return false;
    at -= padding;
    return true;
  }

  // Calls f(place in the image, place in the matrix) for each kernel place (rows) and window
  // (columns) inside image k; outside(place in the matrix) for the others.
  template <class F, class Outside>
  void unfold(F f, Outside outside) const {
    std::size_t m = 0;
    for (std::size_t plane = 0; plane < c; ++plane)
      for (std::size_t a = 0; a < u; ++a)
        for (std::size_t b = 0; b < v; ++b)
          for (std::size_t i = 0; i < oh; ++i) {
            std::size_t row, column;
            const bool row_inside = inside(i, a, stride, padding, h, row);
            for (std::size_t j = 0; j < ow; ++j, ++m)
              if (row_inside && inside(j, b, stride, padding, w, column))
                f((plane * h + row) * w + column, m);
              else
                outside(m);
          }
  }
  std::size_t image() const { return c * h * w; }
  std::size_t kernel() const { return c * u * v; }
  std::size_t places() const { return oh * ow; }
};

// The three products of a convolution, each the derivative of the others: y from (x, w), x from (y,
// w), w from (x, y).
Var conv_y(Var x, Var w, std::size_t stride, std::size_t padding);
Var conv_x(Var y, Var w, const Shape& x_shape, std::size_t stride, std::size_t padding);
Var conv_w(Var x, Var y, const Shape& w_shape, std::size_t stride, std::size_t padding);

Windows windows_of(const Shape& x, const Shape& w, std::size_t stride, std::size_t padding) {
  return Windows("conv2d", x, w[2], w[3], stride, padding);
}

Var conv_y(Var x, Var w, std::size_t stride, std::size_t padding) {
  const Windows s = windows_of(x.shape(), w.shape(), stride, padding);
  const std::size_t o = w.shape()[0];
  Tensor y = uninitialised({s.n, o, s.oh, s.ow}), columns = uninitialised({s.kernel(), s.places()});
  for (std::size_t k = 0; k < s.n; ++k) {
    const Scalar* image = x.value().data() + k * s.image();
    s.unfold([&](std::size_t p, std::size_t m) { columns.data()[m] = image[p]; },
             [&](std::size_t m) { columns.data()[m] = 0; });
    gemm(false, false, o, s.places(), s.kernel(), w.value().data(), columns.data(), 0,
         y.data() + k * o * s.places());
  }
  return x.tape->record("conv2d", {x, w}, std::move(y), [stride, padding](Arrival& at) {
    if (at.wants(0)) at.give(0, conv_x(at.gradient(), at.in(1), at.in(0).shape(), stride, padding));
    if (at.wants(1)) at.give(1, conv_w(at.in(0), at.gradient(), at.in(1).shape(), stride, padding));
  });
}

Var conv_x(Var y, Var w, const Shape& x_shape, std::size_t stride, std::size_t padding) {
  const Windows s = windows_of(x_shape, w.shape(), stride, padding);
  const std::size_t o = w.shape()[0];
  Tensor x = zeros(x_shape), columns = uninitialised({s.kernel(), s.places()});
  for (std::size_t k = 0; k < s.n; ++k) {
    gemm(true, false, s.kernel(), s.places(), o, w.value().data(),
         y.value().data() + k * o * s.places(), 0, columns.data());
    Scalar* image = x.data() + k * s.image();
    s.unfold([&](std::size_t p, std::size_t m) { image[p] += columns.data()[m]; },
             [](std::size_t) {});
  }
  return y.tape->record("conv2d to x", {y, w}, std::move(x), [stride, padding](Arrival& at) {
    if (at.wants(0)) at.give(0, conv_y(at.gradient(), at.in(1), stride, padding));
    if (at.wants(1)) at.give(1, conv_w(at.gradient(), at.in(0), at.in(1).shape(), stride, padding));
  });
}

Var conv_w(Var x, Var y, const Shape& w_shape, std::size_t stride, std::size_t padding) {
  const Windows s = windows_of(x.shape(), w_shape, stride, padding);
  const std::size_t o = w_shape[0];
  Tensor w = zeros(w_shape), columns = uninitialised({s.kernel(), s.places()});
  for (std::size_t k = 0; k < s.n; ++k) {
    const Scalar* image = x.value().data() + k * s.image();
    s.unfold([&](std::size_t p, std::size_t m) { columns.data()[m] = image[p]; },
             [&](std::size_t m) { columns.data()[m] = 0; });
    gemm(false, true, o, s.kernel(), s.places(), y.value().data() + k * o * s.places(),
         columns.data(), 1, w.data());
  }
  return x.tape->record("conv2d to w", {x, y}, std::move(w), [stride, padding](Arrival& at) {
    if (at.wants(0)) at.give(0, conv_x(at.in(1), at.gradient(), at.in(0).shape(), stride, padding));
    if (at.wants(1)) at.give(1, conv_y(at.in(0), at.gradient(), stride, padding));
  });
}

// Pooling works plane by plane: each plane counts as an image of its own.
Windows pooling(const char* op, Var x, std::size_t window, std::size_t stride,
                std::size_t padding) {
  Windows s(op, x.shape(), window, window, stride == 0 ? window : stride, padding);
  if (s.h == 0 || s.w == 0)
    throw std::invalid_argument(std::string(op) + ": x is " + str(x.shape()) +
                                "; need images of at least one pixel");
  if (padding >= window)
    throw std::invalid_argument(std::string(op) + ": padding is " + std::to_string(padding) +
                                ", the window " + std::to_string(window) +
                                "; need less padding than window");
  s.n *= s.c;
  s.c = 1;
  return s;
}

Var pool_means(Var x, const Windows& s, const Shape& shape);

// The transpose of pool_means: hands each window's number back to its pixels.
Var pool_spread(Var y, const Windows& s, const Shape& shape) {
  Tensor x = zeros(shape);
  std::vector<Scalar> pixels(s.places(), 0);
  s.unfold([&](std::size_t, std::size_t m) { pixels[m % s.places()] += 1; }, [](std::size_t) {});
  for (std::size_t k = 0; k < s.n; ++k) {
    const Scalar* from = y.value().data() + k * s.places();
    Scalar* to = x.data() + k * s.image();
    s.unfold([&](std::size_t p,
                 std::size_t m) { to[p] += from[m % s.places()] / pixels[m % s.places()]; },
             [](std::size_t) {});
  }
  return y.tape->record("avg_pool2d to x", {y}, std::move(x), [s](Arrival& at) {
    at.give(0, pool_means(at.gradient(), s, at.in(0).shape()));
  });
}

Var pool_means(Var x, const Windows& s, const Shape& shape) {
  Tensor y = zeros(shape);
  std::vector<Scalar> pixels(s.places(), 0);
  s.unfold([&](std::size_t, std::size_t m) { pixels[m % s.places()] += 1; }, [](std::size_t) {});
  for (std::size_t k = 0; k < s.n; ++k) {
    const Scalar* from = x.value().data() + k * s.image();
    Scalar* to = y.data() + k * s.places();
    s.unfold([&](std::size_t p, std::size_t m) { to[m % s.places()] += from[p]; },
             [](std::size_t) {});
    for (std::size_t i = 0; i < s.places(); ++i) to[i] /= pixels[i];
  }
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](Arrival& at) {
    at.give(0, pool_spread(at.gradient(), s, at.in(0).shape()));
  });
}

}  // namespace

Var conv2d(Var x, Var w, std::size_t stride, std::size_t padding) {
  tape_of("conv2d", {x, w});
  if (x.shape().size() != 4 || w.shape().size() != 4 || x.shape()[1] != w.shape()[1])
    throw std::invalid_argument("conv2d: x is " + str(x.shape()) + ", w is " + str(w.shape()) +
                                "; need (N, C, H, W) and (O, C, h, w)");
  return conv_y(x, w, stride, padding);
}

Var max_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Windows s = pooling("max_pool2d", x, window, stride, padding);
  constexpr std::size_t none = ~std::size_t{0};
  std::vector<std::size_t> best(s.n * s.places(), none);
  for (std::size_t k = 0; k < s.n; ++k) {
    const Scalar* v = x.value().data() + k * s.image();
    s.unfold(
        [&](std::size_t p, std::size_t m) {
          std::size_t& b = best[k * s.places() + m % s.places()];
          const Scalar best_yet = b == none ? 0 : v[b - k * s.image()];
          if (b == none || v[p] > best_yet || (std::isnan(v[p]) && !std::isnan(best_yet)))
            b = k * s.image() + p;
        },
        [](std::size_t) {});
  }
  return gather(x, best, {x.shape()[0], x.shape()[1], s.oh, s.ow});
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Windows s = pooling("avg_pool2d", x, window, stride, padding);
  return pool_means(x, s, {x.shape()[0], x.shape()[1], s.oh, s.ow});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
