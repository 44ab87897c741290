#include "ops/pool.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/kernels/windows.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// Pooling works plane by plane: each plane counts as an image of its own.
struct Pooling : ConvGeometry {
  Shape x_shape, y_shape;

  Pooling(const char* op, const Shape& x, std::size_t window, std::size_t stride,
          std::size_t padding)
      : ConvGeometry(op, x, window, window, stride == 0 ? window : stride, padding),
        x_shape(x),
        y_shape({x[0], x[1], out_h, out_w}) {
    if (h == 0 || w == 0) refuse(op, ": x is ", x, "; need images of at least one pixel");
    if (padding >= window)
      refuse(op, ": padding is ", padding, ", the window ", window,
             "; need less padding than window");
    n *= c;
    c = 1;
  }
  // f(first plane, the one after the last), on all threads.
  template <class F>
  void planes(F f) const {
    parallel_for(n, rows_of_grain(kernel_size() * std::max(out_size(), h * w) / 4 + 1), f);
  }
};

// y = f(each, i, j) for lanes of windows, from row i, column j on, of each plane with `padding`
// around it; each(g) calls g(v) for one pixel of the windows after the other.
template <class F>
Tensor pooled(const Pooling& s, const Tensor& x, double padding, F f) {
  Tensor y = uninitialised(s.y_shape);
  s.planes([&](std::size_t begin, std::size_t end) {
    Windows plane(s, 1, padding);
    const auto places = plane.places;
    for (std::size_t k = begin; k < end; ++k) {
      plane.read(x.data() + k * s.image_size());
      for (std::size_t i = 0; i < s.out_h; ++i) {
        const Scalar* row = plane.data() + i * plane.pitch;
        store_lanes(s.out_w, y.data() + k * s.out_size() + i * s.out_w, [&](std::size_t j) {
          const auto each = [&](auto g) {
            for (std::size_t place : places) g(Lane::load_unaligned(row + place + j));
          };
          return f(each, i, j);
        });
      }
    }
  });
  return y;
}

// f(window's number, its largest pixel's number): the first that equals y, or the first NaN.
template <class F>
void each_winner(const Pooling& s, const Tensor& x, const Tensor& y, F f) {
  s.planes([&](std::size_t begin, std::size_t end) {
    Windows plane(s, 1, kMinusInf);
    const auto places = plane.places;
    std::vector<std::size_t> pixels;  // from a window's first pixel to its others, in an image
    for (std::size_t p = 0; p < places.size(); ++p)
      pixels.push_back(p / s.kernel_w * s.w + p % s.kernel_w);
    alignas(64) Scalar first[kLane];  // the place that equals the largest, if that is a number
    for (std::size_t k = begin; k < end; ++k) {
      plane.read(x.data() + k * s.image_size());
      for (std::size_t i = 0; i < s.out_h; ++i)
        for (std::size_t j = 0; j < s.out_w; j += kLane) {
          const std::size_t row = k * s.out_size() + i * s.out_w, number = row + j;
          const Scalar* window = plane.data() + i * plane.pitch + j;
          const Lane largest = InMemory{y.data() + row, s.out_w}(j);
          Lane found(-1);
          for (std::size_t p = places.size(); p-- > 0;)
            found = xsimd::select(Lane::load_unaligned(window + places[p]) == largest,
                                  Lane(static_cast<Scalar>(p)), found);
          xsimd::select(largest > Lane(kMinusInf), found, Lane(-1)).store_aligned(first);
          // The first NaN; or the first pixel inside, where all are -inf as the padding is.
          const auto no_number = [&](std::size_t t) {
            std::size_t p = 0;
            if (std::isnan(y.data()[number + t])) {
              while (!std::isnan(window[t + places[p]])) ++p;
              return p;
            }
            const auto outside = [](std::size_t pad, std::size_t at) {
              return std::max(pad, at) - at;
            };
            return outside(s.pad_h, i * s.stride_h) * s.kernel_w +
                   outside(s.pad_w, (j + t) * s.stride_w);
          };
          // With padding the first pixel's number wraps around, and back again.
          const std::size_t corner =
              k * s.image_size() + (i * s.stride_h - s.pad_h) * s.w + j * s.stride_w - s.pad_w;
          for (std::size_t t = 0, n = std::min(kLane, s.out_w - j); t < n; ++t) {
            const std::size_t p = first[t] < 0 ? no_number(t) : static_cast<std::size_t>(first[t]);
            f(number + t, corner + t * s.stride_w + pixels[p]);
          }
        }
    }
  });
}

template <class Each>
[[gnu::always_inline]] inline Lane sum_of(Each each) {
  Lane sum(0);
  each([&sum](Lane v) { sum += v; });
  return sum;
}

// How many pixels inside the image each window of a plane has.
Tensor counts_of(Pooling s) {
  s.n = 1;
  s.y_shape = {s.out_h, s.out_w};
  return pooled(s, ones({s.h, s.w}), 0,
                [](auto each, std::size_t, std::size_t) { return sum_of(each); });
}

// The transpose of average pooling: each pixel's sum over the windows that it stands in.
Tensor spread_means(const Pooling& s, const Tensor& y) {
  Tensor x = uninitialised(s.x_shape);
  s.planes([&, counts = counts_of(s)](std::size_t begin, std::size_t end) {
    Windows plane(s, 1);
    Tensor means = uninitialised({s.out_w});
    for (std::size_t k = begin; k < end; ++k) {
      plane.clear();
      for (std::size_t i = 0; i < s.out_h; ++i) {
        const std::size_t row = i * s.out_w;
        map_lanes(
            s.out_w, means.data(), false, [](Lane sum, Lane count) { return sum / count; },
            y.data() + k * s.out_size() + row, counts.data() + row);
        for (std::size_t place : plane.places)
          map_lanes(
              s.out_w, plane.data() + i * plane.pitch + place, true, [](Lane v) { return v; },
              means.data());
      }
      plane.write(x.data() + k * s.image_size());
    }
  });
  return x;
}

// Each window's number added to the pixel that won it, which is a constant; or, the transpose, each
// window's number from that pixel.
template <bool to_pixels>
Var handed(Var x, Var y, Var g, const Pooling& s) {
  Tensor to = zeros(to_pixels ? s.x_shape : s.y_shape);
  each_winner(s, x.value(), y.value(),
              [from = g.value().data(), to = to.data()](std::size_t window, std::size_t pixel) {
                to[to_pixels ? pixel : window] += from[to_pixels ? window : pixel];
              });
  const Name name = to_pixels ? Name("max_pool2d_vjp") : Name("max_pool2d_jvp");
  return g.tape->record(name, {g}, std::move(to), [x, y, s](BackwardContext& ctx) {
    ctx.give(0, handed<!to_pixels>(x, y, ctx.gradient(), s));
  });
}

Var avg_pool2d_vjp(Var g, const Pooling& s);

Var avg_pool2d(Var x, const Pooling& s) {
  const auto mean = [&s, counts = counts_of(s)](auto each, std::size_t i, std::size_t j) {
    return sum_of(each) / InMemory{counts.data() + i * s.out_w, s.out_w, 1}(j);
  };
  Tensor y = pooled(s, x.value(), 0, mean);
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, avg_pool2d_vjp(ctx.gradient(), s));
  });
}

Var avg_pool2d_vjp(Var g, const Pooling& s) {
  return g.tape->record("avg_pool2d_vjp", {g}, spread_means(s, g.value()),
                        [s](BackwardContext& ctx) { ctx.give(0, avg_pool2d(ctx.gradient(), s)); });
}

}  // namespace

Var max_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("max_pool2d", x.shape(), window, stride, padding);
  const auto largest = [](auto each, std::size_t, std::size_t) {
    Lane most(kMinusInf);
    auto numbers = most == most;
    each([&](Lane v) {
      numbers = numbers & (v == v);
      most = xsimd::max(most, v);
    });
    return xsimd::select(numbers, most, Lane(kNaN));
  };
  Tensor y = pooled(s, x.value(), kMinusInf, largest);
  return x.tape->record("max_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, handed<true>(ctx.in(0), ctx.out(), ctx.gradient(), s));
  });
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  return avg_pool2d(x, Pooling("avg_pool2d", x.shape(), window, stride, padding));
}

ARGTAPE_END
