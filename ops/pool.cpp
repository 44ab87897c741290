#include "ops/pool.hpp"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "engine/simd/lane.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/conv_geometry.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

constexpr Scalar kNan = std::numeric_limits<Scalar>::quiet_NaN(),
                 kLeast = -std::numeric_limits<Scalar>::infinity();

// Pooling works plane by plane: each plane counts as an image of its own.
struct Pooling : ConvGeometry {
  std::size_t padding;
  Pooling(const char* op, const Shape& x, std::size_t window, std::size_t stride,
          std::size_t padding)
      : ConvGeometry(op, x, window, window, stride == 0 ? window : stride, padding),
        padding(padding) {
    if (h == 0 || w == 0)
      throw std::invalid_argument(std::string(op) + ": x is " + str(x) +
                                  "; need images of at least one pixel");
    if (padding >= window)
      throw std::invalid_argument(std::string(op) + ": padding is " + std::to_string(padding) +
                                  ", the window " + std::to_string(window) +
                                  "; need less padding than window");
    n *= c;
    c = 1;
  }

  // Of window i along an axis the pixels inside the image: begin <= a < end; pixel a is at
  // i * stride + a - padding.
  struct Range {
    std::size_t begin, end;
  };
  Range pixels(std::size_t i, std::size_t size, std::size_t window) const {
    const std::size_t at = i * stride;
    return {at < padding ? padding - at : 0, std::min(window, size + padding - at)};
  }
  // How many those are, for each window.
  std::vector<Scalar> counts(std::size_t size, std::size_t window, std::size_t windows) const {
    std::vector<Scalar> counts(windows);
    for (std::size_t i = 0; i < windows; ++i) {
      const Range r = pixels(i, size, window);
      counts[i] = static_cast<Scalar>(r.end - r.begin);
    }
    return counts;
  }
  // Whether the windows lie side by side and cover each pixel once at most.
  bool tiles() const { return stride == kernel_h && padding == 0; }
  // f(first plane, the one after the last), on all threads.
  template <class F>
  void planes(F f) const {
    parallel_for(n, rows_of_grain(kernel_h * kernel_w * std::max(out_size(), h * w) / 4 + 1), f);
  }
};

// One plane with a border around it, and room behind each row for a lane that runs over.
class Bordered {
 public:
  Bordered(std::size_t h, std::size_t w, std::size_t border, Scalar filled)
      : pitch(w + 2 * border + kLane),
        h_(h),
        w_(w),
        border_(border),
        numbers_(full({(h + 2 * border) * pitch + kLane}, static_cast<double>(filled))) {}

  const std::size_t pitch;

  // The pixel i, j counted from the border's corner.
  Scalar* at(std::size_t i, std::size_t j) { return numbers_.data() + i * pitch + j; }
  Scalar* inside(std::size_t i) { return at(i + border_, border_); }
  void read(const Scalar* plane) {
    for (std::size_t i = 0; i < h_; ++i)
      map_lanes(
          w_, inside(i), false, [](Lane x) { return x; }, plane + i * w_);
  }

 private:
  std::size_t h_, w_, border_;
  Tensor numbers_;
};

// f(numbers from j on, how many of them are meant) for each lane of a row of n numbers.
template <class F>
void lanes_of(std::size_t n, F f) {
  for (std::size_t j = 0; j < n; j += kLane) f(j, std::min(kLane, n - j));
}

void store_lane(Lane x, Scalar* to, std::size_t n, bool add) {
  if (n == kLane) {
    (add ? x + Lane::load_unaligned(to) : x).store_unaligned(to);
    return;
  }
  store_some(add ? x + load_some(to, n) : x, to, n);
}

Lane load_lane(const Scalar* from, std::size_t n, Scalar rest = 0) {
  return n == kLane ? Lane::load_unaligned(from) : load_some(from, n, rest);
}

constexpr auto larger = [](Lane m, Lane v) {
  return xsimd::select(v == v, xsimd::select(v > m, v, m), v);  // NaN wins
};
constexpr auto total = [](Lane m, Lane v) { return m + v; };

// y[i, j] = the windows' numbers of a bordered plane brought together by f, beginning with `first`:
// windows u x v with stride 1, or with a larger one, column by column and then row by row.
template <class F, class Put>
void each_window(const Pooling& s, Bordered& x, Scalar first, F f, Put put) {
  if (s.stride == 1) {
    for (std::size_t i = 0; i < s.out_h; ++i)
      lanes_of(s.out_w, [&](std::size_t j, std::size_t n) {
        Lane y(first);
        for (std::size_t a = 0; a < s.kernel_h; ++a)
          for (std::size_t b = 0; b < s.kernel_w; ++b)
            y = f(y, Lane::load_unaligned(x.at(i + a, j + b)));
        put(i, j, n, y);
      });
    return;
  }
  Tensor columns = uninitialised({x.pitch});
  alignas(64) Scalar some[kLane];
  for (std::size_t i = 0; i < s.out_h; ++i) {
    lanes_of(s.padded_width(), [&](std::size_t j, std::size_t) {
      Lane y(first);
      for (std::size_t a = 0; a < s.kernel_h; ++a)
        y = f(y, Lane::load_unaligned(x.at(i * s.stride + a, j)));
      y.store_unaligned(columns.data() + j);
    });
    lanes_of(s.out_w, [&](std::size_t j, std::size_t n) {
      Lane y(first);
      for (std::size_t b = 0; b < s.kernel_w; ++b) {
        for (std::size_t k = 0; k < n; ++k) some[k] = columns.data()[(j + k) * s.stride + b];
        y = f(y, Lane::load_aligned(some));
      }
      put(i, j, n, y);
    });
  }
}

// f(window's number, its first pixel's number) for each window of a plane that is laid with tiles.
template <class F>
void each_tile(const Pooling& s, F f) {
  for (std::size_t i = 0; i < s.out_h; ++i)
    for (std::size_t j = 0; j < s.out_w; ++j)
      f(i * s.out_w + j, i * s.kernel_h * s.w + j * s.kernel_h);
}

// f with the side of the tiles, which the compiler knows if it is the usual one.
template <class F>
void with_side(const Pooling& s, F f) {
  s.kernel_h == 2 ? f(std::integral_constant<std::size_t, 2>()) : f(s.kernel_h);
}

// The same over all planes: f(side, window's number, its first pixel's number).
template <class F>
void tiled_planes(const Pooling& s, F f) {
  with_side(s, [&](auto side) {
    s.planes([&](std::size_t begin, std::size_t end) {
      for (std::size_t k = begin; k < end; ++k)
        each_tile(s, [&](std::size_t window, std::size_t pixel) {
          f(side, k * s.out_size() + window, k * s.image_size() + pixel);
        });
    });
  });
}

// The pixel of a plane that is the largest of window i, j: the first that equals it.
std::size_t largest_pixel(const Pooling& s, const Scalar* plane, std::size_t i, std::size_t j,
                          Scalar largest) {
  const Pooling::Range down = s.pixels(i, s.h, s.kernel_h), across = s.pixels(j, s.w, s.kernel_w);
  for (std::size_t a = down.begin; a < down.end; ++a)
    for (std::size_t b = across.begin; b < across.end; ++b) {
      const std::size_t at = (i * s.stride + a - s.padding) * s.w + j * s.stride + b - s.padding;
      if (plane[at] == largest || (plane[at] != plane[at] && largest != largest)) return at;
    }
  return 0;  // not reached: the largest is one of them
}

// The same for all windows, counted in all planes.
std::vector<std::size_t> largest_pixels(const Pooling& s, const Scalar* x, const Scalar* y) {
  std::vector<std::size_t> all(s.n * s.out_size());
  std::size_t* to = all.data();
  for (std::size_t k = 0; k < s.n; ++k)
    for (std::size_t i = 0; i < s.out_h; ++i)
      for (std::size_t j = 0; j < s.out_w; ++j)
        *to++ = k * s.image_size() + largest_pixel(s, x + k * s.image_size(), i, j, *y++);
  return all;
}

void largest(const Pooling& s, const Scalar* from, Scalar* to) {
  if (s.tiles())
    return tiled_planes(s, [=, w = s.w](auto side, std::size_t window, std::size_t pixel) {
      Scalar most = kLeast;
      for (std::size_t a = 0; a < side; ++a)
        for (std::size_t b = 0; b < side; ++b) {
          const Scalar v = from[pixel + a * w + b];
          most = v > most || v != v ? v : most;
        }
      to[window] = most;
    });
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered image(s.h, s.w, s.padding, kLeast);
    for (std::size_t k = begin; k < end; ++k) {
      image.read(from + k * s.image_size());
      each_window(s, image, kLeast, larger,
                  [&](std::size_t i, std::size_t j, std::size_t n, Lane v) {
                    store_lane(v, to + k * s.out_size() + i * s.out_w + j, n, false);
                  });
    }
  });
}

// Hands each window's number to its largest pixel. With stride 1 each pixel looks at the windows it
// stands in: `which` has the number of the winning pixel in each.
void spread_largest(const Pooling& s, const Scalar* x, const Scalar* y, const Scalar* g, Scalar* to,
                    bool fresh) {
  if (s.tiles()) {
    if (fresh) std::fill_n(to, s.n * s.image_size(), Scalar{0});
    return tiled_planes(s, [=, w = s.w](auto side, std::size_t window, std::size_t pixel) {
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
      to[place] += g[window];
    });
  }
  s.planes([&](std::size_t begin, std::size_t end) {
    const std::size_t around = s.kernel_h - 1 - s.padding;
    Bordered image(s.h, s.w, s.padding, kNan), which(s.out_h, s.out_w, around, -1),
        slope(s.out_h, s.out_w, around, 0);
    for (std::size_t k = begin; k < end; ++k) {
      const Scalar *plane = x + k * s.image_size(), *largest = y + k * s.out_size(),
                   *arrived = g + k * s.out_size();
      Scalar* sink = to + k * s.image_size();
      if (s.stride != 1 ||
          std::any_of(largest, largest + s.out_size(), [](Scalar v) { return v != v; })) {
        if (fresh) std::fill_n(sink, s.image_size(), Scalar{0});
        for (std::size_t i = 0; i < s.out_h; ++i)
          for (std::size_t j = 0; j < s.out_w; ++j)
            sink[largest_pixel(s, plane, i, j, *largest++)] += *arrived++;
        continue;
      }
      image.read(plane);
      slope.read(arrived);
      for (std::size_t i = 0; i < s.out_h; ++i)
        lanes_of(s.out_w, [&](std::size_t j, std::size_t n) {
          const Lane most = load_lane(largest + i * s.out_w + j, n, kNan);
          Lane first(-1);
          for (std::size_t number = s.kernel_h * s.kernel_w; number-- > 0;)
            first = xsimd::select(Lane::load_unaligned(image.at(i + number / s.kernel_w,
                                                                j + number % s.kernel_w)) == most,
                                  Lane(static_cast<Scalar>(number)), first);
          store_lane(first, which.inside(i) + j, n, false);
        });
      for (std::size_t i = 0; i < s.h; ++i)
        lanes_of(s.w, [&](std::size_t j, std::size_t n) {
          Lane sum(0);
          for (std::size_t number = 0; number < s.kernel_h * s.kernel_w; ++number) {
            const std::size_t a = i + s.kernel_h - 1 - number / s.kernel_w,
                              b = j + s.kernel_w - 1 - number % s.kernel_w;
            sum += xsimd::select(
                Lane::load_unaligned(which.at(a, b)) == Lane(static_cast<Scalar>(number)),
                Lane::load_unaligned(slope.at(a, b)), Lane(0));
          }
          store_lane(sum, sink + i * s.w + j, n, !fresh);
        });
    }
  });
}

Var pool_means(Var x, const Pooling& s, const Shape& shape);

// The transpose of pool_means: hands each window's number back to its pixels.
void spread(const Pooling& s, const Scalar* y, Scalar* x, bool fresh) {
  if (s.tiles()) {
    if (fresh) std::fill_n(x, s.n * s.image_size(), Scalar{0});
    return tiled_planes(s, [=, w = s.w, count = static_cast<Scalar>(s.kernel_h * s.kernel_w)](
                               auto side, std::size_t window, std::size_t pixel) {
      const Scalar part = y[window] / count;
      for (std::size_t a = 0; a < side; ++a)
        for (std::size_t b = 0; b < side; ++b) x[pixel + a * w + b] += part;
    });
  }
  const std::vector<Scalar> down = s.counts(s.h, s.kernel_h, s.out_h),
                            across = s.counts(s.w, s.kernel_w, s.out_w);
  Pooling back = s;  // with stride 1: the sums over the windows that a pixel stands in
  back.out_h = s.h, back.out_w = s.w;
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered part(s.out_h, s.out_w, s.kernel_h - 1 - s.padding, 0);
    Tensor row = uninitialised({s.padded_width()});
    for (std::size_t k = begin; k < end; ++k) {
      const Scalar* from = y + k * s.out_size();
      Scalar* to = x + k * s.image_size();
      if (s.stride != 1 && fresh) std::fill_n(to, s.image_size(), Scalar{0});
      for (std::size_t i = 0; i < s.out_h; ++i) {
        const Lane count(down[i]);
        map_lanes(
            s.out_w, part.inside(i), false, [=](Lane v, Lane c) { return v / (count * c); },
            from + i * s.out_w, across.data());
        if (s.stride == 1) continue;
        std::fill(row.begin(), row.end(), Scalar{0});
        for (std::size_t j = 0; j < s.out_w; ++j)
          for (std::size_t b = 0; b < s.kernel_w; ++b)
            row.data()[j * s.stride + b] += part.inside(i)[j];
        const Pooling::Range rows = s.pixels(i, s.h, s.kernel_h);
        for (std::size_t a = rows.begin; a < rows.end; ++a)
          map_lanes(
              s.w, to + (i * s.stride + a - s.padding) * s.w, true, [](Lane v) { return v; },
              row.data() + s.padding);
      }
      if (s.stride == 1)
        each_window(back, part, 0, total, [&](std::size_t i, std::size_t j, std::size_t n, Lane v) {
          store_lane(v, to + i * s.w + j, n, !fresh);
        });
    }
  });
}

Var pool_spread(Var y, const Pooling& s, const Shape& shape) {
  Tensor x = uninitialised(shape);
  spread(s, y.value().data(), x.data(), true);
  return y.tape->record("avg_pool2d to x", {y}, std::move(x), [s](BackwardContext& ctx) {
    ctx.give(0, pool_means(ctx.gradient(), s, ctx.in(0).shape()));
  });
}

void means(const Pooling& s, const Scalar* from, Scalar* to) {
  if (s.tiles())
    return tiled_planes(s, [=, w = s.w, count = static_cast<Scalar>(s.kernel_h * s.kernel_w)](
                               auto side, std::size_t window, std::size_t pixel) {
      Scalar sum = 0;
      for (std::size_t a = 0; a < side; ++a)
        for (std::size_t b = 0; b < side; ++b) sum += from[pixel + a * w + b];
      to[window] = sum / count;
    });
  const std::vector<Scalar> down = s.counts(s.h, s.kernel_h, s.out_h),
                            across = s.counts(s.w, s.kernel_w, s.out_w);
  s.planes([&](std::size_t begin, std::size_t end) {
    Bordered image(s.h, s.w, s.padding, 0);
    for (std::size_t k = begin; k < end; ++k) {
      image.read(from + k * s.image_size());
      each_window(s, image, 0, total, [&](std::size_t i, std::size_t j, std::size_t n, Lane v) {
        const Lane count = Lane(down[i]) * load_lane(across.data() + j, n, 1);
        store_lane(v / count, to + k * s.out_size() + i * s.out_w + j, n, false);
      });
    }
  });
}

Var pool_means(Var x, const Pooling& s, const Shape& shape) {
  Tensor y = uninitialised(shape);
  means(s, x.value().data(), y.data());
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    if (ctx.recorded()) return ctx.give(0, pool_spread(ctx.gradient(), s, ctx.in(0).shape()));
    const auto [sink, fresh] = ctx.sink(0);
    spread(s, ctx.numbers().data(), sink, fresh);
  });
}

}  // namespace

Var max_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("max_pool2d", x.shape(), window, stride, padding);
  Tensor y = uninitialised({x.shape()[0], x.shape()[1], s.out_h, s.out_w});
  largest(s, x.value().data(), y.data());
  return x.tape->record("max_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    const Tensor &x = ctx.in(0).value(), &y = ctx.out().value();
    if (ctx.recorded())
      return ctx.give(0, scatter(ctx.gradient(), largest_pixels(s, x.data(), y.data()), x.shape()));
    const Scalar* g = ctx.numbers().data();
    const auto [sink, fresh] = ctx.sink(0);
    spread_largest(s, x.data(), y.data(), g, sink, fresh);
  });
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("avg_pool2d", x.shape(), window, stride, padding);
  return pool_means(x, s, {x.shape()[0], x.shape()[1], s.out_h, s.out_w});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
