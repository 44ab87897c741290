#include "ops/conv.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "engine/simd/lane.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/conv_geometry.hpp"
#include "ops/kernels/gather_gemm.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

using Starts = std::vector<std::size_t, CachingAllocator<std::size_t>>;

Starts starts_at(std::size_t count, std::size_t distance) {
  Starts starts(count);
  for (std::size_t i = 0; i < count; ++i) starts[i] = i * distance;
  return starts;
}

// The windows of an image as a matrix: one row for each place in the kernel, one column for each
// window. With stride 1 nothing is copied for it but what padding needs: a row is the padded image
// itself from some pixel on, with windows one after the other and, between two rows of them, the
// v - 1 pixels where a window would run over the edge. Those columns count for nothing. With larger
// strides, and wherever it stands on the left, the matrix is a table of where its numbers are.
// A band of window rows is worked on at a time, to keep what is needed beside it small.
class Patches {
 public:
  static constexpr std::size_t kScratch = std::size_t{1} << 17;  // numbers, of one matrix

  // `beside`: as many rows may have a matrix that is kept beside this one.
  Patches(const ConvGeometry& s, std::size_t beside)
      : pitch(s.stride == 1 ? s.padded_width() : s.ow),
        band(std::clamp<std::size_t>(
            kScratch / std::max<std::size_t>(std::max(s.kernel(), beside) * pitch, 1), 1, s.oh)),
        most((band - 1) * pitch + s.ow),
        s_(s),
        starts_(s.kernel()) {
    for (std::size_t k = 0; k < starts_.size(); ++k)
      starts_[k] = k / (s.u * s.v) * s.padded_plane() + k / s.v % s.u * s.padded_width() + k % s.v;
    if (s.padded()) padded_ = zeros({s.c * s.padded_plane()});
  }

  const std::size_t pitch;  // from a window to the one below
  const std::size_t band;   // window rows at a time
  const std::size_t most;   // columns of such a band

  std::size_t length(std::size_t rows) const { return (rows - 1) * pitch + s_.ow; }
  // f(first window row, window rows) for each band.
  template <class F>
  void bands(F f) const {
    for (std::size_t i = 0; i < s_.oh; i += band) f(i, std::min(band, s_.oh - i));
  }

  void read(const Scalar* image) {
    source_ = image;
    if (!s_.padded()) return;
    source_ = padded_.data();
    interior(
        [](Scalar* inside, const Scalar* row, std::size_t n) { copy_or_add(row, n, inside, true); },
        image);
  }
  // The matrix of a band of the image read, with stride 1; or, as a left factor, its rows from
  // `first` on without the columns that count for nothing; or, so too, its transpose.
  Right rows(std::size_t i) const { return {band_from(i), starts_.data()}; }
  Left rows(std::size_t i, std::size_t first, const Starts& windows) const {
    return {band_from(i), starts_.data() + first, windows.data()};
  }
  Left columns(std::size_t i, const Starts& windows) const {
    return {band_from(i), windows.data(), starts_.data()};
  }
  Starts windows() const {
    Starts starts(band * s_.ow);
    for (std::size_t k = 0; k < starts.size(); ++k)
      starts[k] = k / s_.ow * s_.stride * s_.padded_width() + k % s_.ow * s_.stride;
    return starts;
  }

  // The transpose: begin(), add() for each band's matrix, end().
  void begin(Scalar* image, bool fresh) {
    target_ = s_.padded() ? padded_.data() : image;
    if (s_.padded() || fresh) std::fill(target_, target_ + s_.c * s_.padded_plane(), Scalar{0});
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
    if (!s_.padded()) return;
    interior([fresh](const Scalar* inside, Scalar* row,
                     std::size_t n) { copy_or_add(inside, n, row, fresh); },
             image);
  }

  // Rows are short: a call for each would cost more than the copying.
  static void copy_or_add(const Scalar* from, std::size_t n, Scalar* to, bool fresh) {
    map_lanes(
        n, to, !fresh, [](Lane v) { return v; }, from);
  }

 private:
  const Scalar* band_from(std::size_t i) const {
    return source_ + i * s_.stride * s_.padded_width();
  }
  template <class F, class P>
  void interior(F f, P* image) {
    Scalar* inside = padded_.data() + s_.above * s_.padded_width() + s_.beside;
    for (std::size_t plane = 0; plane < s_.c; ++plane, inside += s_.padded_plane())
      for (std::size_t i = 0; i < s_.h; ++i, image += s_.w)
        f(inside + i * s_.padded_width(), image, s_.w);
  }
  const ConvGeometry s_;
  Starts starts_;
  Tensor padded_;
  const Scalar* source_ = nullptr;
  Scalar* target_ = nullptr;
};

// Images are cut among threads so that each has this many terms to add at least.
std::size_t images_of_grain(const ConvGeometry& s, std::size_t o) {
  return std::max<std::size_t>(1, (std::size_t{1} << 20) / (o * s.kernel() * s.places() + 1));
}

// to[channel * distance + j] = columns[j * width + channel], or added to it: a matrix turned
// around.
void turn(const Scalar* columns, std::size_t width, std::size_t channels, std::size_t n, Scalar* to,
          std::size_t distance, bool fresh) {
  for (std::size_t channel = 0; channel < channels; ++channel, to += distance)
    for (std::size_t j = 0; j < n; ++j) to[j] = (fresh ? 0 : to[j]) + columns[j * width + channel];
}

std::size_t whole_lanes(std::size_t n) { return (n + kLane - 1) / kLane * kLane; }

// o planes for each image, with stride 1: w, of o rows, times the windows; written to `to` or added
// to it.
void correlate_straight(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w,
                        Scalar* to, bool fresh) {
  parallel_for(s.n, images_of_grain(s, o), [&](std::size_t begin, std::size_t end) {
    Patches patches(s, o);
    const bool direct = patches.pitch == s.ow;
    Tensor part = uninitialised({direct ? 0 : o * patches.most});
    for (std::size_t k = begin; k < end; ++k) {
      patches.read(x + k * s.image());
      patches.bands([&](std::size_t i, std::size_t rows) {
        Scalar* y = to + k * o * s.places() + i * s.ow;
        gather_gemm(o, patches.length(rows), s.kernel(), w, patches.rows(i),
                    direct ? y : part.data(), direct ? s.places() : patches.most, direct && !fresh);
        if (direct) return;
        for (std::size_t channel = 0; channel < o; ++channel)
          for (std::size_t r = 0; r < rows; ++r)
            Patches::copy_or_add(part.data() + channel * patches.most + r * patches.pitch, s.ow,
                                 y + channel * s.places() + r * s.ow, fresh);
      });
    }
  });
}

// The same with any stride: the windows' transpose times w's.
void correlate_turned(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w,
                      Scalar* to, bool fresh) {
  const std::size_t width = whole_lanes(o);
  Tensor turned = zeros({s.kernel() * width});
  for (std::size_t channel = 0; channel < o; ++channel)
    for (std::size_t k = 0; k < s.kernel(); ++k)
      turned.data()[k * width + channel] = w.data[w.rows[channel] + w.columns[k]];
  const Starts w_rows = starts_at(s.kernel(), width);
  parallel_for(s.n, images_of_grain(s, o), [&](std::size_t begin, std::size_t end) {
    Patches patches(s, width);
    const Starts windows = patches.windows();
    Tensor part = uninitialised({windows.size() * width});
    for (std::size_t k = begin; k < end; ++k) {
      patches.read(x + k * s.image());
      patches.bands([&](std::size_t i, std::size_t rows) {
        gather_gemm(rows * s.ow, width, s.kernel(), patches.columns(i, windows),
                    {turned.data(), w_rows.data()}, part.data(), width, false);
        turn(part.data(), width, o, rows * s.ow, to + k * o * s.places() + i * s.ow, s.places(),
             fresh);
      });
    }
  });
}

void correlate(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w, Scalar* to,
               bool fresh) {
  // In terms to add, as measured: straight ahead the columns that count for nothing cost time too;
  // turned, the rest of the last lane of channels does, and each number turned back costs 32.
  const std::size_t k = s.kernel(),
                    straight = o * k * whole_lanes((s.oh - 1) * s.padded_width() + s.ow),
                    turned = s.places() * (whole_lanes(o) * (k + k / 16) + o * 32);
  (s.stride != 1 || turned < straight ? correlate_turned : correlate_straight)(s, o, x, w, to,
                                                                               fresh);
}

// A convolution of images with o kernels, and the two products that are its derivatives, written to
// `to` or added to it. Each takes whole images or whole rows of w, so that the sums do not depend
// on the number of threads.
struct Convolution : ConvGeometry {
  std::size_t o;
  Convolution(const Shape& x, const Shape& w, std::size_t stride, std::size_t padding)
      : ConvGeometry("conv2d", x, w[2], w[3], stride, padding), o(w[0]) {}

  // y = w times the windows.
  void y(const Scalar* x, const Scalar* w, Scalar* to, bool fresh) const {
    const Starts rows = starts_at(o, kernel()), columns = starts_at(kernel(), 1);
    correlate(*this, o, x, {w, rows.data(), columns.data()}, to, fresh);
  }

  void x(const Scalar* y, const Scalar* w, Scalar* to, bool fresh) const {
    // Fewer than eight planes would leave registers idle.
    if (stride == 1 && above < u && beside < v && c >= 8)
      mirrored(y, w, to, fresh);
    else
      handed_back(y, w, to, fresh);
  }

  void w(const Scalar* x, const Scalar* y, Scalar* to, bool fresh) const {
    // Few rows for each thread would have it turn y around, or spread it, for too little.
    const std::size_t grain = std::max<std::size_t>(32, images_of_grain(*this, o) / (n + 1));
    // In terms to add: with few planes in y most of a lane of them would be empty.
    const bool straight = stride == 1 && o * whole_lanes((oh - 1) * padded_width() + ow) * 5 / 4 <
                                             places() * whole_lanes(o);
    parallel_for(kernel(), grain, [&](std::size_t begin, std::size_t end) {
      straight ? w_straight(x, y, begin, end, to, fresh) : w_turned(x, y, begin, end, to, fresh);
    });
  }

 private:
  // Places begin..end of the kernels, w = y times the windows transposed: as its own transpose,
  // windows times y^T, for y is the smaller one to turn around.
  void w_turned(const Scalar* x, const Scalar* y, std::size_t begin, std::size_t end, Scalar* to,
                bool fresh) const {
    const std::size_t width = whole_lanes(o);
    Patches patches(*this, o);
    const Starts windows = patches.windows(), y_rows = starts_at(windows.size(), width);
    Tensor turned = zeros({windows.size() * width}), total = zeros({(end - begin) * width});
    for (std::size_t k = 0; k < n; ++k) {
      patches.read(x + k * image());
      patches.bands([&](std::size_t i, std::size_t rows) {
        const Scalar* from = y + k * o * places() + i * ow;
        for (std::size_t channel = 0; channel < o; ++channel, from += places())
          for (std::size_t j = 0; j < rows * ow; ++j) turned.data()[j * width + channel] = from[j];
        gather_gemm(end - begin, width, rows * ow, patches.rows(i, begin, windows),
                    {turned.data(), y_rows.data()}, total.data(), width, true);
      });
    }
    turn(total.data(), width, o, end - begin, to + begin, kernel(), fresh);
  }

  // The same for stride 1 with lanes of windows: y's planes with gaps where columns count for
  // nothing, times the windows' rows.
  void w_straight(const Scalar* x, const Scalar* y, std::size_t begin, std::size_t end, Scalar* to,
                  bool fresh) const {
    Patches patches(*this, o);
    const std::size_t width = whole_lanes(patches.most), m = end - begin;
    Tensor spread = zeros({o * width}), sums = zeros({o * m * kLane});
    for (std::size_t k = 0; k < n; ++k) {
      patches.read(x + k * image());
      patches.bands([&](std::size_t i, std::size_t rows) {
        if (rows < patches.band) std::fill(spread.begin(), spread.end(), Scalar{0});
        for (std::size_t channel = 0; channel < o; ++channel)
          for (std::size_t r = 0; r < rows; ++r)
            Patches::copy_or_add(y + (k * o + channel) * places() + (i + r) * ow, ow,
                                 spread.data() + channel * width + r * patches.pitch, true);
        const Right windows = patches.rows(i);
        add_inner_products(o, m, patches.length(rows), spread.data(), width,
                           {windows.data, windows.rows + begin}, sums.data());
      });
    }
    std::vector<Scalar> total(o * m);
    for (std::size_t k = 0; k < o * m; ++k)
      total[k] = lane_sum(Lane::load_unaligned(sums.data() + k * kLane));
    // In a gap 0 times an infinite pixel is NaN, which has no business here.
    if (!std::all_of(total.begin(), total.end(), [](Scalar v) { return std::isfinite(v); }))
      return w_turned(x, y, begin, end, to, fresh);
    for (std::size_t k = 0; k < o * m; ++k) {
      Scalar& w = to[k / m * kernel() + begin + k % m];
      w = fresh ? total[k] : w + total[k];
    }
  }

  // x with stride 1: the windows of y, with as much padding as a kernel reaches over the edge,
  // times the kernels turned by half a circle.
  void mirrored(const Scalar* y, const Scalar* w, Scalar* to, bool fresh) const {
    ConvGeometry back = *this;
    back.c = o, back.h = oh, back.w = ow, back.oh = h, back.ow = ConvGeometry::w;
    back.above = u - 1 - above, back.beside = v - 1 - beside;
    const std::size_t window = u * v;
    const Starts rows = starts_at(c, window);
    Starts columns(back.kernel());
    for (std::size_t k = 0; k < columns.size(); ++k)
      columns[k] = k / window * kernel() + window - 1 - k % window;
    correlate(back, c, y, {w, rows.data(), columns.data()}, to, fresh);
  }

  // x = w^T y, each window's numbers added to its pixels.
  void handed_back(const Scalar* y, const Scalar* w, Scalar* to, bool fresh) const {
    const Starts w_rows = starts_at(kernel(), 1), w_columns = starts_at(o, kernel());
    parallel_for(n, images_of_grain(*this, o), [&](std::size_t begin, std::size_t end) {
      Patches patches(*this, o);
      const bool direct = patches.pitch == ow;
      const Starts y_rows = starts_at(o, direct ? places() : patches.most);
      Tensor spread = zeros({direct ? 0 : o * patches.most}),
             columns = uninitialised({kernel() * patches.most});
      for (std::size_t k = begin; k < end; ++k) {
        patches.begin(to + k * image(), fresh);
        patches.bands([&](std::size_t i, std::size_t rows) {
          const Scalar* from = y + k * o * places() + i * ow;
          if (!direct)
            for (std::size_t channel = 0; channel < o; ++channel)
              for (std::size_t r = 0; r < rows; ++r)
                Patches::copy_or_add(from + channel * places() + r * ow, ow,
                                     spread.data() + channel * patches.most + r * patches.pitch,
                                     true);
          gather_gemm(kernel(), patches.length(rows), o, {w, w_rows.data(), w_columns.data()},
                      {direct ? from : spread.data(), y_rows.data()}, columns.data(), patches.most,
                      false);
          patches.add(i, rows, columns.data());
        });
        patches.end(to + k * image(), fresh);
      }
    });
  }
};

// As nodes, each the derivative of the others: y from (x, w), x from (y, w), w from (x, y).
Var conv_y(Var x, Var w, const Convolution& conv);
Var conv_x(Var y, Var w, const Convolution& conv);
Var conv_w(Var x, Var y, const Convolution& conv);

template <class F>
void into(BackwardContext& ctx, std::size_t i, F f) {
  if (!ctx.wants(i)) return;
  const auto [to, fresh] = ctx.sink(i);
  f(to, fresh);
}

Var conv_y(Var x, Var w, const Convolution& conv) {
  Tensor y = uninitialised({conv.n, conv.o, conv.oh, conv.ow});
  conv.y(x.value().data(), w.value().data(), y.data(), true);
  return x.tape->record("conv2d", {x, w}, std::move(y), [conv](BackwardContext& ctx) {
    const Var x = ctx.in(0), w = ctx.in(1);
    if (ctx.recorded()) {
      if (ctx.wants(0)) ctx.give(0, conv_x(ctx.gradient(), w, conv));
      if (ctx.wants(1)) ctx.give(1, conv_w(x, ctx.gradient(), conv));
      return;
    }
    const Scalar *g = ctx.numbers().data(), *p = x.value().data(), *q = w.value().data();
    into(ctx, 0, [&](Scalar* to, bool fresh) { conv.x(g, q, to, fresh); });
    into(ctx, 1, [&](Scalar* to, bool fresh) { conv.w(p, g, to, fresh); });
  });
}

Var conv_x(Var y, Var w, const Convolution& conv) {
  Tensor x = uninitialised({conv.n, conv.c, conv.h, conv.ConvGeometry::w});
  conv.x(y.value().data(), w.value().data(), x.data(), true);
  return y.tape->record("conv2d to x", {y, w}, std::move(x), [conv](BackwardContext& ctx) {
    const Var y = ctx.in(0), w = ctx.in(1);
    if (ctx.recorded()) {
      if (ctx.wants(0)) ctx.give(0, conv_y(ctx.gradient(), w, conv));
      if (ctx.wants(1)) ctx.give(1, conv_w(ctx.gradient(), y, conv));
      return;
    }
    const Scalar *g = ctx.numbers().data(), *p = y.value().data(), *q = w.value().data();
    into(ctx, 0, [&](Scalar* to, bool fresh) { conv.y(g, q, to, fresh); });
    into(ctx, 1, [&](Scalar* to, bool fresh) { conv.w(g, p, to, fresh); });
  });
}

Var conv_w(Var x, Var y, const Convolution& conv) {
  Tensor w = uninitialised({conv.o, conv.c, conv.u, conv.v});
  conv.w(x.value().data(), y.value().data(), w.data(), true);
  return x.tape->record("conv2d to w", {x, y}, std::move(w), [conv](BackwardContext& ctx) {
    const Var x = ctx.in(0), y = ctx.in(1);
    if (ctx.recorded()) {
      if (ctx.wants(0)) ctx.give(0, conv_x(y, ctx.gradient(), conv));
      if (ctx.wants(1)) ctx.give(1, conv_y(x, ctx.gradient(), conv));
      return;
    }
    const Scalar *g = ctx.numbers().data(), *p = x.value().data(), *q = y.value().data();
    into(ctx, 0, [&](Scalar* to, bool fresh) { conv.x(q, g, to, fresh); });
    into(ctx, 1, [&](Scalar* to, bool fresh) { conv.y(p, g, to, fresh); });
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

}  // namespace ARGTAPE_ABI
}  // namespace argtape
