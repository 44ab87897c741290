#include "ops/conv.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <type_traits>
#include <vector>

#include "engine/lanes.hpp"
#include "engine/parallel.hpp"
#include "engine/sweep.hpp"
#include "ops/row_product.hpp"
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

  std::size_t image() const { return c * h * w; }
  std::size_t kernel() const { return c * u * v; }
  std::size_t places() const { return oh * ow; }
  // The images with their padding around them.
  std::size_t padded_width() const { return w + 2 * padding; }
  std::size_t padded_plane() const { return (h + 2 * padding) * padded_width(); }
};

using Starts = std::vector<std::size_t, Recycler<std::size_t>>;

Starts starts_at(std::size_t count, std::size_t distance) {
  Starts starts(count);
  for (std::size_t i = 0; i < count; ++i) starts[i] = i * distance;
  return starts;
}

// The windows of an image as a matrix: one row for each place in the kernel, one column for each
// window. With stride 1 nothing is copied for it but what padding needs: a row is the padded image
// itself from some pixel on, with windows one after the other and, between two rows of them, the
// v - 1 pixels where a window would run over the edge. Those columns count for nothing. Otherwise
// the rows are copied out, a band of window rows at a time.
class Patches {
 public:
  static constexpr std::size_t kScratch = std::size_t{1} << 17;  // numbers, of one matrix

  Patches(const Windows& s, std::size_t channels)
      : pitch(s.stride == 1 ? s.padded_width() : s.ow),
        band(std::clamp<std::size_t>(
            kScratch / std::max<std::size_t>(std::max(s.kernel(), channels) * pitch, 1), 1, s.oh)),
        most(length(s, band)),
        s_(s),
        starts_(s.kernel()) {
    for (std::size_t k = 0; k < starts_.size(); ++k)
      starts_[k] = k / (s.u * s.v) * s.padded_plane() + k / s.v % s.u * s.padded_width() + k % s.v;
    if (s.padding != 0) padded_ = zeros({s.c * s.padded_plane()});
    if (s.stride == 1) return;
    columns_ = uninitialised({s.kernel() * most});
    column_starts_ = starts_at(s.kernel(), most);
  }

  const std::size_t pitch;  // from a window to the one below
  const std::size_t band;   // window rows at a time
  const std::size_t most;   // columns of such a band

  std::size_t length(const Windows& s, std::size_t rows) const { return (rows - 1) * pitch + s.ow; }
  std::size_t length(std::size_t rows) const { return length(s_, rows); }

  // f(first window row, window rows) for each band.
  template <class F>
  void bands(F f) const {
    for (std::size_t i = 0; i < s_.oh; i += band) f(i, std::min(band, s_.oh - i));
  }

  void read(const Scalar* image) {
    source_ = image;
    if (s_.padding == 0) return;
    source_ = padded_.data();
    interior(
        [](Scalar* inside, const Scalar* row, std::size_t n) { std::copy(row, row + n, inside); },
        image);
  }
  // The matrix for the image read, from kernel place `first` on.
  RowsAnywhere rows(std::size_t i, std::size_t rows, std::size_t first, std::size_t last) {
    const Scalar* from = source_ + i * s_.stride * s_.padded_width();
    if (s_.stride == 1) return {from, starts_.data() + first};
    for (std::size_t k = first; k < last; ++k) {
      Scalar* to = columns_.data() + column_starts_[k];
      const Scalar* line = from + starts_[k];
      for (std::size_t r = 0; r < rows; ++r, to += s_.ow, line += s_.stride * s_.padded_width())
        for (std::size_t j = 0; j < s_.ow; ++j) to[j] = line[j * s_.stride];
    }
    return {columns_.data(), column_starts_.data() + first};
  }

  // The transpose: begin(), add() for each band's matrix, end().
  void begin(Scalar* image, bool fresh) {
    target_ = s_.padding == 0 ? image : padded_.data();
    if (s_.padding != 0 || fresh) std::fill(target_, target_ + s_.c * s_.padded_plane(), Scalar{0});
  }
  void add(std::size_t i, std::size_t rows, const Scalar* matrix) {
    const std::size_t window = s_.u * s_.v, n = length(rows);
    // Plane by plane within: what was just written is not needed again at once.
    for (std::size_t place = 0; place < window; ++place)
      for (std::size_t k = place; k < starts_.size(); k += window) {
        const Scalar* from = matrix + k * most;
        Scalar* to = target_ + starts_[k] + i * s_.stride * s_.padded_width();
        if (s_.stride == 1) {
#pragma omp simd
          for (std::size_t j = 0; j < n; ++j) to[j] += from[j];
        } else {
          for (std::size_t r = 0; r < rows; ++r, from += s_.ow, to += s_.stride * s_.padded_width())
            for (std::size_t j = 0; j < s_.ow; ++j) to[j * s_.stride] += from[j];
        }
      }
  }
  void end(Scalar* image, bool fresh) {
    if (s_.padding == 0) return;
    interior(
        [fresh](const Scalar* inside, Scalar* row, std::size_t n) {
          if (fresh)
            std::copy(inside, inside + n, row);
          else
            for (std::size_t j = 0; j < n; ++j) row[j] += inside[j];
        },
        image);
  }

 private:
  template <class F, class P>
  void interior(F f, P* image) {
    for (std::size_t plane = 0; plane < s_.c; ++plane)
      for (std::size_t i = 0; i < s_.h; ++i, image += s_.w)
        f(padded_.data() + plane * s_.padded_plane() + (i + s_.padding) * s_.padded_width() +
              s_.padding,
          image, s_.w);
  }
  const Windows s_;
  Starts starts_, column_starts_;
  Tensor padded_, columns_;
  const Scalar* source_ = nullptr;
  Scalar* target_ = nullptr;
};

// A convolution of images with o kernels, and the two products that are its derivatives, written to
// `to` or added to it. Each takes whole images or whole rows of w, so that the sums do not depend
// on the number of threads.
struct Convolution : Windows {
  std::size_t o;
  Convolution(const Shape& x, const Shape& w, std::size_t stride, std::size_t padding)
      : Windows("conv2d", x, w[2], w[3], stride, padding), o(w[0]) {}

  std::size_t grain() const {
    return std::max<std::size_t>(1, (std::size_t{1} << 20) / (o * kernel() * places() + 1));
  }

  // y = w times the windows.
  void y(const Scalar* x, const Scalar* w, Scalar* to, bool fresh) const {
    const Starts w_rows = starts_at(o, kernel());
    parallel_for(n, grain(), [&](std::size_t begin, std::size_t end) {
      Patches patches(*this, o);
      const bool direct = patches.pitch == ow;
      Tensor part = uninitialised({direct ? 0 : o * patches.most});
      for (std::size_t k = begin; k < end; ++k) {
        patches.read(x + k * image());
        patches.bands([&](std::size_t i, std::size_t rows) {
          const RowsAnywhere windows = patches.rows(i, rows, 0, kernel());
          Scalar* band = to + k * o * places() + i * ow;
          const std::size_t length = patches.length(rows);
          if (direct)
            return row_product(o, length, kernel(), {w, w_rows.data()}, windows, band, places(),
                               !fresh);
          row_product(o, length, kernel(), {w, w_rows.data()}, windows, part.data(), patches.most,
                      false);
          lines(patches, rows, band, part.data(),
                [fresh](Scalar* y, const Scalar* p, std::size_t n) {
                  if (fresh)
                    std::copy(p, p + n, y);
                  else
                    for (std::size_t j = 0; j < n; ++j) y[j] += p[j];
                });
        });
      }
    });
  }

  // x = w^T y, each window's numbers added to its pixels.
  void x(const Scalar* y, const Scalar* w, Scalar* to, bool fresh) const {
    const Starts w_columns = starts_at(kernel(), 1), y_rows = starts_at(o, places());
    parallel_for(n, grain(), [&](std::size_t begin, std::size_t end) {
      Patches patches(*this, o);
      const bool direct = patches.pitch == ow;
      const Starts spread_rows = starts_at(o, patches.most);
      Tensor spread = zeros({direct ? 0 : o * patches.most}),
             columns = uninitialised({kernel() * patches.most});
      for (std::size_t k = begin; k < end; ++k) {
        patches.begin(to + k * image(), fresh);
        patches.bands([&](std::size_t i, std::size_t rows) {
          const Scalar* band = y + k * o * places() + i * ow;
          if (!direct)
            lines(patches, rows, band, spread.data(),
                  [](const Scalar* y, Scalar* p, std::size_t n) { std::copy(y, y + n, p); });
          row_product(kernel(), patches.length(rows), o, {w, w_columns.data(), kernel()},
                      direct ? RowsAnywhere{band, y_rows.data()}
                             : RowsAnywhere{spread.data(), spread_rows.data()},
                      columns.data(), patches.most, false);
          patches.add(i, rows, columns.data());
        });
        patches.end(to + k * image(), fresh);
      }
    });
  }

  // w = y times the windows transposed: as its own transpose, windows times y^T, for y is the
  // smaller one to turn around.
  void w(const Scalar* x, const Scalar* y, Scalar* to, bool fresh) const {
    const std::size_t width = (o + kLane - 1) / kLane * kLane;
    parallel_for(kernel(), std::max<std::size_t>(16, grain() / std::max<std::size_t>(n, 1)),
                 [&](std::size_t begin, std::size_t end) {
                   Patches patches(*this, o);
                   const Starts y_columns = starts_at(patches.most, width);
                   Tensor turned = zeros({patches.most * width}),
                          total = zeros({(end - begin) * width});
                   for (std::size_t k = 0; k < n; ++k) {
                     patches.read(x + k * image());
                     patches.bands([&](std::size_t i, std::size_t rows) {
                       const Scalar* band = y + k * o * places() + i * ow;
                       for (std::size_t channel = 0; channel < o; ++channel)
                         for (std::size_t r = 0; r < rows; ++r) {
                           const Scalar* from = band + channel * places() + r * ow;
                           Scalar* column = turned.data() + r * patches.pitch * width + channel;
                           for (std::size_t j = 0; j < ow; ++j) column[j * width] = from[j];
                         }
                       row_product(end - begin, width, patches.length(rows),
                                   patches.rows(i, rows, begin, end),
                                   {turned.data(), y_columns.data()}, total.data(), width, true);
                     });
                   }
                   for (std::size_t channel = 0; channel < o; ++channel)
                     for (std::size_t k = begin; k < end; ++k) {
                       Scalar& v = to[channel * kernel() + k];
                       v = (fresh ? 0 : v) + total.data()[(k - begin) * width + channel];
                     }
                 });
  }

 private:
  // f(line of y, its place in the matrix, length) for each line of a band, in every channel.
  template <class F, class Y, class P>
  void lines(const Patches& patches, std::size_t rows, Y* y, P* matrix, F f) const {
    for (std::size_t channel = 0; channel < o; ++channel)
      for (std::size_t r = 0; r < rows; ++r)
        f(y + channel * places() + r * ow, matrix + channel * patches.most + r * patches.pitch, ow);
  }
};

// As nodes, each the derivative of the others: y from (x, w), x from (y, w), w from (x, y).
Var conv_y(Var x, Var w, const Convolution& conv);
Var conv_x(Var y, Var w, const Convolution& conv);
Var conv_w(Var x, Var y, const Convolution& conv);

template <class F>
void into(Arrival& at, std::size_t i, F f) {
  if (!at.wants(i)) return;
  const auto [to, fresh] = at.sink(i);
  f(to, fresh);
}

Var conv_y(Var x, Var w, const Convolution& conv) {
  Tensor y = uninitialised({conv.n, conv.o, conv.oh, conv.ow});
  conv.y(x.value().data(), w.value().data(), y.data(), true);
  return x.tape->record("conv2d", {x, w}, std::move(y), [conv](Arrival& at) {
    const Var x = at.in(0), w = at.in(1);
    if (at.recorded()) {
      if (at.wants(0)) at.give(0, conv_x(at.gradient(), w, conv));
      if (at.wants(1)) at.give(1, conv_w(x, at.gradient(), conv));
      return;
    }
    const Scalar *g = at.numbers().data(), *p = x.value().data(), *q = w.value().data();
    into(at, 0, [&](Scalar* to, bool fresh) { conv.x(g, q, to, fresh); });
    into(at, 1, [&](Scalar* to, bool fresh) { conv.w(p, g, to, fresh); });
  });
}

Var conv_x(Var y, Var w, const Convolution& conv) {
  Tensor x = uninitialised({conv.n, conv.c, conv.h, conv.Windows::w});
  conv.x(y.value().data(), w.value().data(), x.data(), true);
  return y.tape->record("conv2d to x", {y, w}, std::move(x), [conv](Arrival& at) {
    const Var y = at.in(0), w = at.in(1);
    if (at.recorded()) {
      if (at.wants(0)) at.give(0, conv_y(at.gradient(), w, conv));
      if (at.wants(1)) at.give(1, conv_w(at.gradient(), y, conv));
      return;
    }
    const Scalar *g = at.numbers().data(), *p = y.value().data(), *q = w.value().data();
    into(at, 0, [&](Scalar* to, bool fresh) { conv.y(g, q, to, fresh); });
    into(at, 1, [&](Scalar* to, bool fresh) { conv.w(g, p, to, fresh); });
  });
}

Var conv_w(Var x, Var y, const Convolution& conv) {
  Tensor w = uninitialised({conv.o, conv.c, conv.u, conv.v});
  conv.w(x.value().data(), y.value().data(), w.data(), true);
  return x.tape->record("conv2d to w", {x, y}, std::move(w), [conv](Arrival& at) {
    const Var x = at.in(0), y = at.in(1);
    if (at.recorded()) {
      if (at.wants(0)) at.give(0, conv_x(y, at.gradient(), conv));
      if (at.wants(1)) at.give(1, conv_y(x, at.gradient(), conv));
      return;
    }
    const Scalar *g = at.numbers().data(), *p = x.value().data(), *q = y.value().data();
    into(at, 0, [&](Scalar* to, bool fresh) { conv.x(q, g, to, fresh); });
    into(at, 1, [&](Scalar* to, bool fresh) { conv.y(p, g, to, fresh); });
  });
}

// Pooling works plane by plane: each plane counts as an image of its own.
struct Pooling : Windows {
  Pooling(const char* op, const Shape& x, std::size_t window, std::size_t stride,
          std::size_t padding)
      : Windows(op, x, window, window, stride == 0 ? window : stride, padding) {
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

  // Along an axis of `size` pixels: the windows begin <= i < end that have their pixel a inside the
  // image; it is i * stride + a - padding there.
  struct Range {
    std::size_t begin, end;
  };
  Range inside(std::size_t a, std::size_t size, std::size_t windows) const {
    const std::size_t begin = a < padding ? (padding - a + stride - 1) / stride : 0;
    const std::size_t end = a < size + padding ? (size + padding - a - 1) / stride + 1 : 0;
    return {std::min(begin, windows), std::min(end, windows)};
  }
  // Of window i the pixels inside the image: begin <= a < end.
  Range pixels(std::size_t i, std::size_t size, std::size_t window) const {
    const std::size_t at = i * stride;
    return {at < padding ? padding - at : 0, std::min(window, size + padding - at)};
  }
  std::vector<Scalar> counts(std::size_t size, std::size_t window, std::size_t windows) const {
    std::vector<Scalar> counts(windows);
    for (std::size_t i = 0; i < windows; ++i) {
      const Range r = pixels(i, size, window);
      counts[i] = static_cast<Scalar>(r.end - r.begin);
    }
    return counts;
  }

  // f(row of windows, pixel row, first pixel in it, number b of the pixel, windows) for each pixel
  // row of window row i and each of the window's columns: window j of the range has its pixel
  // `stride` behind the one before.
  template <class F>
  void rows(std::size_t i, F f) const {
    const Range as = pixels(i, h, u);
    for (std::size_t a = as.begin; a < as.end; ++a)
      for (std::size_t b = 0; b < v; ++b) {
        const Range js = inside(b, w, ow);
        if (js.begin < js.end)
          f(a * v + b, (i * stride + a - padding) * w + js.begin * stride + b - padding, js);
      }
  }
};

Var pool_means(Var x, const Pooling& s, const Shape& shape);

// The transpose of pool_means: hands each window's number back to its pixels.
void spread(const Pooling& s, const Scalar* y, Scalar* x, bool fresh) {
  if (fresh) std::fill(x, x + s.n * s.image(), Scalar{0});
  const std::vector<Scalar> down = s.counts(s.h, s.u, s.oh), across = s.counts(s.w, s.v, s.ow);
  std::vector<Scalar> part(s.ow);
  for (std::size_t k = 0; k < s.n; ++k, x += s.image())
    for (std::size_t i = 0; i < s.oh; ++i, y += s.ow) {
      for (std::size_t j = 0; j < s.ow; ++j) part[j] = y[j] / (down[i] * across[j]);
      s.rows(i, [&](std::size_t, std::size_t pixel, Pooling::Range js) {
        Scalar* to = x + pixel;
        for (std::size_t j = js.begin; j < js.end; ++j, to += s.stride) *to += part[j];
      });
    }
}

Var pool_spread(Var y, const Pooling& s, const Shape& shape) {
  Tensor x = uninitialised(shape);
  spread(s, y.value().data(), x.data(), true);
  return y.tape->record("avg_pool2d to x", {y}, std::move(x), [s](Arrival& at) {
    at.give(0, pool_means(at.gradient(), s, at.in(0).shape()));
  });
}

Var pool_means(Var x, const Pooling& s, const Shape& shape) {
  Tensor y = zeros(shape);
  const std::vector<Scalar> down = s.counts(s.h, s.u, s.oh), across = s.counts(s.w, s.v, s.ow);
  const Scalar* from = x.value().data();
  Scalar* to = y.data();
  for (std::size_t k = 0; k < s.n; ++k, from += s.image())
    for (std::size_t i = 0; i < s.oh; ++i, to += s.ow) {
      s.rows(i, [&](std::size_t, std::size_t pixel, Pooling::Range js) {
        const Scalar* p = from + pixel;
        for (std::size_t j = js.begin; j < js.end; ++j, p += s.stride) to[j] += *p;
      });
      for (std::size_t j = 0; j < s.ow; ++j) to[j] /= down[i] * across[j];
    }
  return x.tape->record("avg_pool2d", {x}, std::move(y), [s](Arrival& at) {
    if (at.recorded()) return at.give(0, pool_spread(at.gradient(), s, at.in(0).shape()));
    const auto [sink, fresh] = at.sink(0);
    spread(s, at.numbers().data(), sink, fresh);
  });
}

}  // namespace

Var conv2d(Var x, Var w, std::size_t stride, std::size_t padding) {
  tape_of("conv2d", {x, w});
  if (x.shape().size() != 4 || w.shape().size() != 4 || x.shape()[1] != w.shape()[1])
    throw std::invalid_argument("conv2d: x is " + str(x.shape()) + ", w is " + str(w.shape()) +
                                "; need (N, C, H, W) and (O, C, h, w)");
  return conv_y(x, w, Convolution(x.shape(), w.shape(), stride, padding));
}

Var max_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("max_pool2d", x.shape(), window, stride, padding);
  // Of each window in a row its largest number yet, and which of its pixels that is. The number of
  // the pixel is as wide as a Scalar, so that the two go through registers side by side.
  using Which = std::conditional_t<sizeof(Scalar) == 4, std::uint32_t, std::uint64_t>;
  std::vector<Scalar> largest(s.ow);
  std::vector<Which> which(s.ow);
  std::vector<std::size_t> best(s.n * s.places());
  const Scalar* image = x.value().data();
  std::size_t* place = best.data();
  for (std::size_t k = 0; k < s.n; ++k)
    for (std::size_t i = 0; i < s.oh; ++i, place += s.ow) {
      const std::size_t top = s.pixels(i, s.h, s.u).begin;
      for (std::size_t j = 0; j < s.ow; ++j) {
        largest[j] = -std::numeric_limits<Scalar>::infinity();
        which[j] = static_cast<Which>(top * s.v + s.pixels(j, s.w, s.v).begin);
      }
      s.rows(i, [&](std::size_t number, std::size_t pixel, Pooling::Range js) {
        const Scalar* from = image + k * s.image() + pixel;
        Scalar* most = largest.data() + js.begin;
        Which* at = which.data() + js.begin;
        const std::size_t n = js.end - js.begin, stride = s.stride;
        const auto candidate = static_cast<Which>(number);
        for (std::size_t j = 0; j < n; ++j) {
          const Scalar v = from[j * stride], m = most[j];
          const bool better = (v > m) | ((v != v) & (m == m));  // NaN wins
          most[j] = better ? v : m;
          at[j] = better ? candidate : at[j];
        }
      });
      for (std::size_t j = 0; j < s.ow; ++j)
        place[j] = k * s.image() + (i * s.stride + which[j] / s.v - s.padding) * s.w +
                   j * s.stride + which[j] % s.v - s.padding;
    }
  return gather(x, best, {x.shape()[0], x.shape()[1], s.oh, s.ow});
}

Var avg_pool2d(Var x, std::size_t window, std::size_t stride, std::size_t padding) {
  const Pooling s("avg_pool2d", x.shape(), window, stride, padding);
  return pool_means(x, s, {x.shape()[0], x.shape()[1], s.oh, s.ow});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
