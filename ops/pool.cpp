#include "ops/pool.hpp"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "engine/require.hpp"
#include "engine/simd/lane.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/conv_geometry.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr Scalar kNan = std::numeric_limits<Scalar>::quiet_NaN(),
                 kLeast = -std::numeric_limits<Scalar>::infinity();

// Pooling works plane by plane: each plane counts as an image of its own.
struct Pooling : ConvGeometry {
  std::size_t side, padding;
  Shape x_shape, y_shape;

  Pooling(const char* op, const Shape& x, std::size_t window, std::size_t stride,
          std::size_t padding)
      : ConvGeometry(op, x, window, window, stride == 0 ? window : stride, padding),
        side(window),
        padding(padding),
        x_shape(x),
        y_shape({x[0], x[1], out_h, out_w}) {
    if (h == 0 || w == 0) refuse(op, ": x is ", x, "; need images of at least one pixel");
    if (padding >= window)
      refuse(op, ": padding is ", padding, ", the window ", window,
             "; need less padding than window");
    n *= c;
    c = 1;
  }

  // Of window i along an axis the pixels inside the image: begin <= a < end; pixel a is at
  // i * stride + a - padding.
  struct Range {
    std::size_t begin, end;
  };
  Range pixels(std::size_t i, std::size_t size) const {
    const std::size_t at = i * stride;
    return {at < padding ? padding - at : 0, std::min(side, size + padding - at)};
  }
  // How many those are, for each window.
  std::vector<Scalar> counts(std::size_t size, std::size_t windows) const {
    std::vector<Scalar> counts(windows);
    for (std::size_t i = 0; i < windows; ++i) {
      const Range r = pixels(i, size);
      counts[i] = static_cast<Scalar>(r.end - r.begin);
    }
    return counts;
  }
  // Whether the windows lie side by side and cover each pixel once at most.
  bool tiles() const { return stride == side && padding == 0; }
  // f(first plane, the one after the last), on all threads.
  template <class F>
  void planes(F f) const {
    parallel_for(n, rows_of_grain(side * side * std::max(out_size(), h * w) / 4 + 1), f);
  }
};

// One plane with a border around it, and room behind each row for a lane that runs over.
class Bordered {
 public:
  Bordered(std::size_t h, std::size_t w, std::size_t border, Scalar filled)
      : pitch(w + 2 * border + kLane),
        border_(border),
        numbers_(full({(h + 2 * border) * pitch + kLane}, static_cast<double>(filled))) {}

  const std::size_t pitch;

  // The pixel i, j counted from the border's corner.
  Scalar* at(std::size_t i, std::size_t j) { return numbers_.data() + i * pitch + j; }
  Scalar* inside(std::size_t i) { return at(i + border_, border_); }
  void read(const Scalar* from, std::size_t h, std::size_t w) {
    for (std::size_t i = 0; i < h; ++i)
      map_lanes(
          w, inside(i), false, [](Lane x) { return x; }, from + i * w);
  }

 private:
  std::size_t border_;
  Tensor numbers_;
};

// f(i, j, n) for each lane of h rows of w numbers: n of them are meant, from i, j on.
template <class F>
void each_lane(std::size_t h, std::size_t w, F f) {
  for (std::size_t i = 0; i < h; ++i)
    for (std::size_t j = 0; j < w; j += kLane) f(i, j, std::min(kLane, w - j));
}

void store_lane(Lane x, Scalar* to, std::size_t n) {
  n == kLane ? x.store_unaligned(to) : store_some(x, to, n);
}

// NaN wins.
Scalar larger(Scalar m, Scalar v) { return v > m || v != v ? v : m; }
Lane larger(Lane m, Lane v) { return xsimd::select(v == v, xsimd::select(v > m, v, m), v); }
constexpr auto total = [](auto m, auto v) { return m + v; };

// put(i, j, n, numbers) for each lane of h x w windows of a bordered plane with stride 1: what f
// makes of a window's pixels, beginning with `first`.
template <class F, class Put>
void each_window(std::size_t h, std::size_t w, std::size_t side, Bordered& x, Scalar first, F f,
                 Put put) {
  each_lane(h, w, [&](std::size_t i, std::size_t j, std::size_t n) {
    Lane y(first);
    for (std::size_t a = 0; a < side; ++a)
      for (std::size_t b = 0; b < side; ++b) y = f(y, Lane::load_unaligned(x.at(i + a, j + b)));
    put(i, j, n, y);
  });
}

// The same for the windows of `s`: where their stride is more than 1, column by column and then row
// by row.
template <class F, class Put>
void each_window(const Pooling& s, Bordered& x, Scalar first, F f, Put put) {
  if (s.stride == 1) return each_window(s.out_h, s.out_w, s.side, x, first, f, put);
  Tensor columns = uninitialised({x.pitch});
  alignas(64) Scalar some[kLane];
  for (std::size_t i = 0; i < s.out_h; ++i) {
    for (std::size_t j = 0; j < s.padded_width(); j += kLane) {
      Lane y(first);
      for (std::size_t a = 0; a < s.side; ++a)
        y = f(y, Lane::load_unaligned(x.at(i * s.stride + a, j)));
      y.store_unaligned(columns.data() + j);
    }
    each_lane(1, s.out_w, [&](std::size_t, std::size_t j, std::size_t n) {
      Lane y(first);
      for (std::size_t b = 0; b < s.side; ++b) {
        for (std::size_t k = 0; k < n; ++k) some[k] = columns.data()[(j + k) * s.stride + b];
        y = f(y, Lane::load_aligned(some));
      }
      put(i, j, n, y);
    });
  }
}

// f(side, window's number, its first pixel's number) for each window of planes that are laid with
// tiles; the compiler knows the side if it is the usual one.
template <class F>
void each_tile(const Pooling& s, F f) {
  const auto all = [&](auto side) {
    s.planes([&](std::size_t begin, std::size_t end) {
      for (std::size_t k = begin; k < end; ++k)
        for (std::size_t i = 0; i < s.out_h; ++i) {
          const std::size_t window = k * s.out_size() + i * s.out_w,
                            pixel = k * s.image_size() + i * side * s.w;
          for (std::size_t j = 0; j < s.out_w; ++j) f(side, window + j, pixel + j * s.side);
        }
    });
  };
  s.side == 2 ? all(std::integral_constant<std::size_t, 2>()) : all(s.side);
}

// y = finish(the numbers of a window brought together by f, beginning with `first`; how many pixels
// of it are inside the image).
template <class F, class Finish>
Tensor pooled(const Pooling& s, const Tensor& x, Scalar first, F f, Finish finish) {
  Tensor y = uninitialised(s.y_shape);
  const Scalar* from = x.data();
  Scalar* to = y.data();
  if (s.tiles()) {
    each_tile(s, [=, w = s.w, count = static_cast<Scalar>(s.side * s.side)](
                     auto side, std::size_t window, std::size_t pixel) {
      Scalar v = first;
      for (std::size_t a = 0; a < side; ++a)
        for (std::size_t b = 0; b < side; ++b) v = f(v, from[pixel + a * w + b]);
      to[window] = finish(v, count);
    });
    return y;
  }
  const std::vector<Scalar> down = s.counts(s.h, s.out_h), across = s.counts(s.w, s.out_w);
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered image(s.h, s.w, s.padding, first);
    for (std::size_t k = begin; k < end; ++k) {
      image.read(from + k * s.image_size(), s.h, s.w);
      each_window(s, image, first, f, [&](std::size_t i, std::size_t j, std::size_t n, Lane v) {
        const Scalar* counts = across.data() + j;
        const Lane count = n == kLane ? Lane::load_unaligned(counts) : load_some(counts, n, 1);
        store_lane(finish(v, Lane(down[i]) * count), to + k * s.out_size() + i * s.out_w + j, n);
      });
    }
  });
  return y;
}

// The number of the first pixel of plane k's window i, j that is NaN, as one of them is.
std::size_t first_nan(const Pooling& s, const Scalar* x, std::size_t k, std::size_t i,
                      std::size_t j) {
  const Pooling::Range down = s.pixels(i, s.h), across = s.pixels(j, s.w);
  for (std::size_t a = down.begin; a < down.end; ++a)
    for (std::size_t b = across.begin; b < across.end; ++b) {
      const std::size_t at =
          k * s.image_size() + (i * s.stride + a - s.padding) * s.w + j * s.stride + b - s.padding;
      if (x[at] != x[at]) return at;
    }
  return k * s.image_size();  // not reached
}

// f(window's number, its largest pixel's number, the first that equals y) for each window of planes
// that are laid with tiles.
template <class F>
void each_tile_winner(const Pooling& s, const Scalar* x, const Scalar* y, F f) {
  each_tile(s, [=, w = s.w](auto side, std::size_t window, std::size_t pixel) {
    const Scalar most = y[window];
    std::size_t place = pixel;
    if (most != most) {
      while (x[place] == x[place]) place += (place - pixel) % w + 1 < side ? 1 : w + 1 - side;
    } else {  // backwards, so that the first is the last to be noted; without a branch
      for (std::size_t a = side; a-- > 0;)
        for (std::size_t b = side; b-- > 0;) {
          const std::size_t at = pixel + a * w + b;
          place = x[at] < most ? place : at;
        }
    }
    f(window, place);
  });
}

// The same for windows that may overlap.
template <class F>
void each_winner(const Pooling& s, const Scalar* x, const Scalar* y, F f) {
  if (s.tiles()) return each_tile_winner(s, x, y, f);
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered image(s.h, s.w, s.padding, kNan);
    // From a window's first pixel to its others: in a plane, and in a bordered one.
    std::vector<std::size_t> pixels(s.side * s.side), bordered(pixels.size());
    for (std::size_t p = 0; p < pixels.size(); ++p) {
      pixels[p] = p / s.side * s.w + p % s.side;
      bordered[p] = p / s.side * image.pitch + p % s.side;
    }
    alignas(64) Scalar first[kLane];  // of the window's pixels, that equals the largest; or -1
    for (std::size_t k = begin; k < end; ++k) {
      image.read(x + k * s.image_size(), s.h, s.w);
      each_lane(s.out_h, s.out_w, [&](std::size_t i, std::size_t j, std::size_t n) {
        const std::size_t window = k * s.out_size() + i * s.out_w + j;
        const Scalar *from = image.at(i * s.stride, j * s.stride), *most = y + window;
        if (s.stride == 1) {
          const Lane largest = n == kLane ? Lane::load_unaligned(most) : load_some(most, n);
          Lane found(-1);
          for (std::size_t p = pixels.size(); p-- > 0;)
            found = xsimd::select(Lane::load_unaligned(from + bordered[p]) == largest,
                                  Lane(static_cast<Scalar>(p)), found);
          found.store_aligned(first);
        } else {
          for (std::size_t t = 0; t < n; ++t) {
            first[t] = -1;
            for (std::size_t p = pixels.size(); p-- > 0;)
              first[t] =
                  from[t * s.stride + bordered[p]] == most[t] ? static_cast<Scalar>(p) : first[t];
          }
        }
        // With padding the first pixel's number wraps around, and back again.
        const std::size_t corner =
            k * s.image_size() + (i * s.stride - s.padding) * s.w + j * s.stride - s.padding;
        for (std::size_t t = 0; t < n; ++t)
          f(window + t, first[t] < 0
                            ? first_nan(s, x, k, i, j + t)
                            : corner + t * s.stride + pixels[static_cast<std::size_t>(first[t])]);
      });
    }
  });
}

// The transpose of average pooling: hands each window's number back to its pixels.
void spread_means(const Pooling& s, const Scalar* y, Scalar* x) {
  if (s.tiles()) {
    std::fill_n(x, s.n * s.image_size(), Scalar{0});
    return each_tile(s, [=, w = s.w, count = static_cast<Scalar>(s.side * s.side)](
                            auto side, std::size_t window, std::size_t pixel) {
      const Scalar part = y[window] / count;
      for (std::size_t a = 0; a < side; ++a)
        for (std::size_t b = 0; b < side; ++b) x[pixel + a * w + b] = part;
    });
  }
  const std::vector<Scalar> down = s.counts(s.h, s.out_h), across = s.counts(s.w, s.out_w);
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered part(s.h + 2 * s.padding + 1 - s.side, s.w + 2 * s.padding + 1 - s.side,
                  s.side - 1 - s.padding, 0);  // with room for as many windows as stride 1 has
    for (std::size_t k = begin; k < end; ++k) {
      const Scalar* from = y + k * s.out_size();
      for (std::size_t i = 0; i < s.out_h; ++i, from += s.out_w) {
        Scalar* to = part.inside(i * s.stride);
        const Lane count(down[i]);
        if (s.stride == 1)
          map_lanes(
              s.out_w, to, false, [=](Lane v, Lane c) { return v / (count * c); }, from,
              across.data());
        else
          for (std::size_t j = 0; j < s.out_w; ++j)
            to[j * s.stride] = from[j] / (down[i] * across[j]);
      }
      // The sum over the windows that a pixel stands in.
      each_window(s.h, s.w, s.side, part, 0, total,
                  [&](std::size_t i, std::size_t j, std::size_t n, Lane v) {
                    store_lane(v, x + k * s.image_size() + i * s.w + j, n);
                  });
    }
  });
}

// The two are each other's transpose; the pixels that won are constants.
Var max_pool2d_jvp(Var x, Var y, Var u, const Pooling& s);

Var max_pool2d_vjp(Var x, Var y, Var g, const Pooling& s) {
  Tensor to = zeros(s.x_shape);
  each_winner(s, x.value().data(), y.value().data(),
              [from = g.value().data(), to = to.data()](std::size_t window, std::size_t pixel) {
                to[pixel] += from[window];
              });
  return g.tape->record("max_pool2d_vjp", {g}, std::move(to), [x, y, s](BackwardContext& ctx) {
    ctx.give(0, max_pool2d_jvp(x, y, ctx.gradient(), s));
  });
}

Var max_pool2d_jvp(Var x, Var y, Var u, const Pooling& s) {
  Tensor to = uninitialised(s.y_shape);
  each_winner(s, x.value().data(), y.value().data(),
              [from = u.value().data(), to = to.data()](std::size_t window, std::size_t pixel) {
                to[window] = from[pixel];
              });
  return u.tape->record("max_pool2d_jvp", {u}, std::move(to), [x, y, s](BackwardContext& ctx) {
    ctx.give(0, max_pool2d_vjp(x, y, ctx.gradient(), s));
  });
}

Var avg_pool2d_vjp(Var g, const Pooling& s);

Var avg_pool2d(Var x, const Pooling& s) {
  Tensor y = pooled(s, x.value(), 0, total, [](auto v, auto count) { return v / count; });
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, avg_pool2d_vjp(ctx.gradient(), s));
  });
}

Var avg_pool2d_vjp(Var g, const Pooling& s) {
  Tensor x = uninitialised(s.x_shape);
  spread_means(s, g.value().data(), x.data());
  return g.tape->record("avg_pool2d_vjp", {g}, std::move(x),
                        [s](BackwardContext& ctx) { ctx.give(0, avg_pool2d(ctx.gradient(), s)); });
}

}  // namespace

Var max_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("max_pool2d", x.shape(), window, stride, padding);
  Tensor y = pooled(
      s, x.value(), kLeast, [](auto m, auto v) { return larger(m, v); },
      [](auto v, auto) { return v; });
  return x.tape->record("max_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, max_pool2d_vjp(ctx.in(0), ctx.out(), ctx.gradient(), s));
  });
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  return avg_pool2d(x, Pooling("avg_pool2d", x.shape(), window, stride, padding));
}

ARGTAPE_END
