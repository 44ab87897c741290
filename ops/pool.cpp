#include "ops/pool.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/conv_geometry.hpp"
#include "ops/kernels/row_kernels.hpp"

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

// One plane with its padding. Columns that leave the same when divided by the stride make a part of
// their own: so the pixels at one place of neighbouring windows are neighbours, whatever the
// stride. A lane may run over into the next row, and behind the last there is room.
class Plane {
 public:
  Plane(const Pooling& s, Scalar filled)
      : pitch((s.padded_width() - 1) / s.stride + 1),
        s_(s),
        parts_(std::min(s.stride, s.kernel_w)),
        numbers_(full({parts_ * part() + kLane}, static_cast<double>(filled))) {
    for (std::size_t a = 0; a < s.kernel_h; ++a)
      for (std::size_t b = 0; b < s.kernel_w; ++b)
        places.push_back(static_cast<std::size_t>(at(a, b) - at(0, 0)));
  }

  const std::size_t pitch;          // from a row to the next
  std::vector<std::size_t> places;  // from a window's first pixel to each of its pixels

  // The pixel i, j counted from the padding's corner.
  Scalar* at(std::size_t i, std::size_t j) {
    return numbers_.data() + j % s_.stride * part() + i * pitch + j / s_.stride;
  }
  void read(const Scalar* from) {
    // Rows one behind the other are read as one.
    const std::size_t rows = s_.w == pitch * s_.stride ? 1 : s_.h, n = s_.h * s_.w / rows;
    const auto sort_out = [&](std::size_t row, auto stride) {
      for (std::size_t j = 0; j < stride; ++j) {
        if ((j + s_.pad_w) % stride >= parts_) continue;  // between the windows
        Scalar* to = at(row, j + s_.pad_w);
        for (std::size_t k = j; k < n; k += stride) *to++ = from[k];
      }
    };
    Scalar* to = at(s_.pad_h, s_.pad_w);
    for (std::size_t i = 0; i < rows; ++i, from += n, to += pitch)
      if (s_.stride == 1)
        map_lanes(
            n, to, false, [](Lane x) { return x; }, from);
      else if (s_.stride == 2)
        sort_out(i + s_.pad_h, std::integral_constant<std::size_t, 2>());
      else
        sort_out(i + s_.pad_h, s_.stride);
  }

 private:
  std::size_t part() const { return (s_.h + 2 * s_.pad_h) * pitch; }

  const Pooling& s_;
  std::size_t parts_;
  Tensor numbers_;
};

// y = f(each, i, j) for lanes of windows, from row i, column j on, of planes that read(plane, k)
// reads, `padding` around them; each(g) calls g(v) for one pixel of the windows after the other.
template <class Read, class F>
Tensor pooled(const Pooling& s, Scalar padding, Read read, F f) {
  Tensor y = uninitialised(s.y_shape);
  s.planes([&](std::size_t begin, std::size_t end) {
    Plane plane(s, padding);
    const std::vector<std::size_t> places = plane.places;
    for (std::size_t k = begin; k < end; ++k) {
      read(plane, k);
      for (std::size_t i = 0; i < s.out_h; ++i) {
        const Scalar* row = plane.at(i * s.stride, 0);
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
    Plane plane(s, kMinusInf);
    const std::vector<std::size_t> places = plane.places;
    std::vector<std::size_t> pixels;  // from a window's first pixel to its others, in an image
    for (std::size_t p = 0; p < places.size(); ++p)
      pixels.push_back(p / s.kernel_w * s.w + p % s.kernel_w);
    alignas(64) Scalar first[kLane];  // the place that equals the largest, if that is a number
    for (std::size_t k = begin; k < end; ++k) {
      plane.read(x.data() + k * s.image_size());
      for (std::size_t i = 0; i < s.out_h; ++i)
        for (std::size_t j = 0; j < s.out_w; j += kLane) {
          const std::size_t number = k * s.out_size() + i * s.out_w;
          const Lane largest = InMemory{y.data() + number, s.out_w}(j);
          const Scalar* window = plane.at(i * s.stride, 0) + j;
          Lane found(-1);
          for (std::size_t p = places.size(); p-- > 0;)
            found = xsimd::select(Lane::load_unaligned(window + places[p]) == largest,
                                  Lane(static_cast<Scalar>(p)), found);
          xsimd::select(largest > Lane(kMinusInf), found, Lane(-1)).store_aligned(first);
          // The first NaN; or the first pixel inside, where all are -inf as the padding is.
          const auto no_number = [&](std::size_t t) {
            const auto inside = [&](std::size_t at) { return std::max(at, s.pad_h) - s.pad_h; };
            std::size_t p = 0;
            if (std::isnan(y.data()[number + j + t]))
              while (!std::isnan(window[t + places[p]])) ++p;
            return inside(i * s.stride + p / s.kernel_w) * s.w +
                   inside((j + t) * s.stride + p % s.kernel_w);
          };
          // With padding the first pixel's number wraps around, and back again.
          const std::size_t corner = (i * s.stride - s.pad_h) * s.w + j * s.stride - s.pad_w,
                            plane_at = k * s.image_size(), n = std::min(kLane, s.out_w - j);
          for (std::size_t t = 0; t < n; ++t)
            f(number + j + t,
              plane_at + (first[t] < 0 ? no_number(t)
                                       : corner + t * s.stride +
                                             pixels[static_cast<std::size_t>(first[t])]));
        }
    }
  });
}

// How many pixels inside the image the windows from row i, column j on have.
auto counts_of(const Pooling& s) {
  const auto along = [&](std::size_t size, std::size_t windows) {
    std::vector<Scalar> counts(windows + kLane, 1);
    for (std::size_t i = 0; i < windows; ++i)
      counts[i] = static_cast<Scalar>(std::min(i * s.stride + s.kernel_h, size + s.pad_h) -
                                      std::max(i * s.stride, s.pad_h));
    return counts;
  };
  return [down = along(s.h, s.out_h), across = along(s.w, s.out_w)](std::size_t i, std::size_t j) {
    return Lane(down[i]) * Lane::load_unaligned(across.data() + j);
  };
}

template <class Each>
[[gnu::always_inline]] inline Lane sum_of(Each each) {
  Lane sum(0);
  each([&sum](Lane v) { sum += v; });
  return sum;
}

auto planes_of(const Pooling& s, Var x) {
  return [from = x.value().data(), size = s.image_size()](Plane& plane, std::size_t k) {
    plane.read(from + k * size);
  };
}

// The transpose of average pooling: each pixel's sum over the windows that it stands in.
Tensor spread_means(Pooling s, const Scalar* y) {
  const auto read = [y, s, counts = counts_of(s)](Plane& part, std::size_t k) {
    Scalar* to = part.at(s.kernel_h - 1 - s.pad_h, s.kernel_w - 1 - s.pad_w);
    for (std::size_t i = 0; i < s.out_h; ++i, to += s.stride * part.pitch) {
      const InMemory numbers{y + k * s.out_size() + i * s.out_w, s.out_w};
      store_lanes(s.out_w, to, [&](std::size_t j) { return numbers(j) / counts(i, j); });
      for (std::size_t j = s.out_w - 1; s.stride > 1 && j > 0; --j)  // apart, as the windows are
        to[j * s.stride] = std::exchange(to[j], Scalar{0});
    }
  };
  s.mirror();
  std::swap(s.x_shape, s.y_shape);
  return pooled(s, 0, read, [](auto each, std::size_t, std::size_t) { return sum_of(each); });
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
  const auto mean = [counts = counts_of(s)](auto each, std::size_t i, std::size_t j) {
    return sum_of(each) / counts(i, j);
  };
  Tensor y = pooled(s, 0, planes_of(s, x), mean);
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, avg_pool2d_vjp(ctx.gradient(), s));
  });
}

Var avg_pool2d_vjp(Var g, const Pooling& s) {
  return g.tape->record("avg_pool2d_vjp", {g}, spread_means(s, g.value().data()),
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
  Tensor y = pooled(s, kMinusInf, planes_of(s, x), largest);
  return x.tape->record("max_pool2d", {x}, std::move(y), [s](BackwardContext& ctx) {
    ctx.give(0, handed<true>(ctx.in(0), ctx.out(), ctx.gradient(), s));
  });
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  return avg_pool2d(x, Pooling("avg_pool2d", x.shape(), window, stride, padding));
}

ARGTAPE_END
