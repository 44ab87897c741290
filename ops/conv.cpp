#include "ops/conv.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/conv_geometry.hpp"
#include "ops/kernels/gather_gemm.hpp"
#include "ops/kernels/pair_sums.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

using Starts = std::vector<std::size_t, CachingAllocator<std::size_t>>;

Starts starts_at(std::size_t count, std::size_t distance) {
  Starts starts(count);
  for (std::size_t i = 0; i < count; ++i) starts[i] = i * distance;
  return starts;
}

// Planes of rows: from a plane to the next, and from a row to the next.
template <class P>
struct Planes {
  P* data;
  std::size_t plane, pitch;
};

// Rows are short: a call of memcpy for each would cost more than the copying.
void copy_planes(std::size_t planes, std::size_t rows, std::size_t width,
                 const Planes<const Scalar>& from, const Planes<Scalar>& to) {
  for (std::size_t k = 0; k < planes; ++k)
    for (std::size_t i = 0; i < rows; ++i)
      map_lanes(
          width, to.data + k * to.plane + i * to.pitch, false, [](Lane v) { return v; },
          from.data + k * from.plane + i * from.pitch);
}

// The windows of an image as a matrix: one row for each place in the kernel, one column for each
// window. With stride 1 nothing is copied for it but what padding needs: a row is the padded image
// itself from some pixel on, with windows one after the other and, between two rows of them, the
// kernel_w - 1 pixels where a window would run over the edge. Those columns count for nothing. With
// larger strides, and wherever it stands on the left, the matrix is a table of where its numbers
// are. A band of window rows is worked on at a time, to keep what is needed beside it small.
class Patches {
 public:
  static constexpr std::size_t kScratch = std::size_t{1} << 17;  // numbers, of one matrix

  // `beside`: as many rows may have a matrix that is kept beside this one.
  Patches(const ConvGeometry& s, std::size_t beside)
      : pitch(s.stride == 1 ? s.padded_width() : s.out_w),
        band(std::clamp<std::size_t>(
            kScratch / std::max<std::size_t>(std::max(s.kernel_size(), beside) * pitch, 1), 1,
            s.out_h)),
        most((band - 1) * pitch + s.out_w),
        s_(s),
        starts_(s.kernel_size()) {
    const std::size_t window = s.kernel_h * s.kernel_w;
    for (std::size_t k = 0; k < starts_.size(); ++k)
      starts_[k] = k / window * s.padded_plane() + k % window / s.kernel_w * s.padded_width() +
                   k % s.kernel_w;
    if (s.padded()) padded_ = zeros({s.c * s.padded_plane()});
  }

  const std::size_t pitch;  // from a window to the one below
  const std::size_t band;   // window rows at a time
  const std::size_t most;   // columns of such a band

  std::size_t length(std::size_t rows) const { return (rows - 1) * pitch + s_.out_w; }
  // f(first window row, window rows) for each band.
  template <class F>
  void bands(F f) const {
    for (std::size_t i = 0; i < s_.out_h; i += band) f(i, std::min(band, s_.out_h - i));
  }

  void read(const Scalar* image) {
    source_ = s_.padded() ? padded_.data() : image;
    if (s_.padded()) copy_planes(s_.c, s_.h, s_.w, {image, s_.h * s_.w, s_.w}, interior());
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
    Starts starts(band * s_.out_w);
    for (std::size_t k = 0; k < starts.size(); ++k)
      starts[k] = k / s_.out_w * s_.stride * s_.padded_width() + k % s_.out_w * s_.stride;
    return starts;
  }

  // The transpose: begin(), add() for each band's matrix, end().
  void begin(Scalar* image) {
    target_ = s_.padded() ? padded_.data() : image;
    std::fill(target_, target_ + s_.c * s_.padded_plane(), Scalar{0});
  }
  void add(std::size_t i, std::size_t rows, const Scalar* matrix) {
    const std::size_t window = s_.kernel_h * s_.kernel_w, down = s_.stride * s_.padded_width();
    // Plane by plane within: what was just written is not needed again at once. Row by row: what
    // counts for nothing may be NaN, where a weight is infinite.
    for (std::size_t place = 0; place < window; ++place)
      for (std::size_t k = place; k < starts_.size(); k += window) {
        const Scalar* from = matrix + k * most;
        Scalar* to = target_ + starts_[k] + i * down;
        for (std::size_t r = 0; r < rows; ++r, from += pitch, to += down)
          if (s_.stride == 1)
            map_lanes(
                s_.out_w, to, true, [](Lane v) { return v; }, from);
          else
            for (std::size_t j = 0; j < s_.out_w; ++j) to[j * s_.stride] += from[j];
      }
  }
  void end(Scalar* image) {
    if (!s_.padded()) return;
    const Planes<Scalar> inside = interior();
    copy_planes(s_.c, s_.h, s_.w, {inside.data, inside.plane, inside.pitch},
                {image, s_.h * s_.w, s_.w});
  }

 private:
  const Scalar* band_from(std::size_t i) const {
    return source_ + i * s_.stride * s_.padded_width();
  }
  Planes<Scalar> interior() {
    return {padded_.data() + s_.pad_h * s_.padded_width() + s_.pad_w, s_.padded_plane(),
            s_.padded_width()};
  }
  const ConvGeometry s_;
  Starts starts_;
  Tensor padded_;
  const Scalar* source_ = nullptr;
  Scalar* target_ = nullptr;
};

// Images are cut among threads so that each has this many terms to add at least.
std::size_t images_of_grain(const ConvGeometry& s, std::size_t o) {
  return std::max<std::size_t>(1,
                               (std::size_t{1} << 20) / (o * s.kernel_size() * s.out_size() + 1));
}

// to[i * to_pitch + j] = from[j * from_pitch + i] for i < n, j < m: a matrix turned around.
void turn(const Scalar* from, std::size_t from_pitch, std::size_t n, std::size_t m, Scalar* to,
          std::size_t to_pitch) {
  for (std::size_t i = 0; i < n; ++i, to += to_pitch)
    for (std::size_t j = 0; j < m; ++j) to[j] = from[j * from_pitch + i];
}

std::size_t whole_lanes(std::size_t n) { return (n + kLane - 1) / kLane * kLane; }

// o planes for each image, with stride 1: w, of o rows, times the windows.
void correlate_straight(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w,
                        Scalar* to) {
  parallel_for(s.n, images_of_grain(s, o), [&](std::size_t begin, std::size_t end) {
    Patches patches(s, o);
    const bool direct = patches.pitch == s.out_w;
    Tensor part = uninitialised({direct ? 0 : o * patches.most});
    for (std::size_t k = begin; k < end; ++k) {
      patches.read(x + k * s.image_size());
      patches.bands([&](std::size_t i, std::size_t rows) {
        Scalar* y = to + k * o * s.out_size() + i * s.out_w;
        gather_gemm(o, patches.length(rows), s.kernel_size(), w, patches.rows(i),
                    direct ? y : part.data(), direct ? s.out_size() : patches.most, false);
        if (!direct)
          copy_planes(o, rows, s.out_w, {part.data(), patches.most, patches.pitch},
                      {y, s.out_size(), s.out_w});
      });
    }
  });
}

// The same with any stride: the windows' transpose times w's.
void correlate_turned(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w,
                      Scalar* to) {
  const std::size_t width = whole_lanes(o);
  Tensor turned = zeros({s.kernel_size() * width});
  for (std::size_t channel = 0; channel < o; ++channel)
    for (std::size_t k = 0; k < s.kernel_size(); ++k)
      turned.data()[k * width + channel] = w.data[w.rows[channel] + w.columns[k]];
  const Starts w_rows = starts_at(s.kernel_size(), width);
  parallel_for(s.n, images_of_grain(s, o), [&](std::size_t begin, std::size_t end) {
    Patches patches(s, width);
    const Starts windows = patches.windows();
    Tensor part = uninitialised({windows.size() * width});
    for (std::size_t k = begin; k < end; ++k) {
      patches.read(x + k * s.image_size());
      patches.bands([&](std::size_t i, std::size_t rows) {
        gather_gemm(rows * s.out_w, width, s.kernel_size(), patches.columns(i, windows),
                    {turned.data(), w_rows.data()}, part.data(), width, false);
        turn(part.data(), width, o, rows * s.out_w, to + k * o * s.out_size() + i * s.out_w,
             s.out_size());
      });
    }
  });
}

void correlate(const ConvGeometry& s, std::size_t o, const Scalar* x, const Left& w, Scalar* to) {
  // In terms to add, as measured: straight ahead the columns that count for nothing cost time too;
  // turned, the rest of the last lane of channels does, and each number turned back costs 32.
  const std::size_t k = s.kernel_size(),
                    straight = o * k * whole_lanes((s.out_h - 1) * s.padded_width() + s.out_w),
                    turned = s.out_size() * (whole_lanes(o) * (k + k / 16) + o * 32);
  (s.stride != 1 || turned < straight ? correlate_turned : correlate_straight)(s, o, x, w, to);
}

// The lane at sums + (i m + j) kLane gets every kLane-th term of <a_i, b_j> added.
struct InnerProducts {
  static constexpr std::size_t kRows = kTileRows, kColumns = 3;
  std::size_t length, m, pitch;
  const Scalar *rows, *data;
  const std::size_t* starts;
  Scalar* sums;

  const Scalar* a(std::size_t i) const { return rows + i * pitch; }
  const Scalar* b(std::size_t j) const { return data + starts[j]; }
  static Lane term(Lane x, Lane y, Lane sum) { return xsimd::fma(x, y, sum); }
  void put(std::size_t i, std::size_t j, Lane sum) const {
    Scalar* to = sums + (i * m + j) * kLane;
    (Lane::load_unaligned(to) + sum).store_unaligned(to);
  }
};

// A convolution y of images x with o kernels w, and the two products that are its derivatives. Each
// takes whole images or whole rows of w, so that the sums do not depend on the number of threads.
struct Convolution : ConvGeometry {
  std::size_t o;
  Convolution(const char* op, const Shape& x, const Shape& w, std::size_t stride,
              std::size_t padding)
      : ConvGeometry(op, x, w[2], w[3], stride, padding), o(w[0]) {}

  // w times the windows.
  void forward(const Scalar* x, const Scalar* w, Scalar* y) const {
    const Starts rows = starts_at(o, kernel_size()), columns = starts_at(kernel_size(), 1);
    correlate(*this, o, x, {w, rows.data(), columns.data()}, y);
  }

  void input_vjp(const Scalar* y, const Scalar* w, Scalar* x) const {
    // Fewer than eight planes would leave registers idle; and the padding of y times an infinite
    // weight is NaN, which has no business here.
    if (stride == 1 && pad_h < kernel_h && pad_w < kernel_w && c >= 8 &&
        std::all_of(w, w + o * kernel_size(), [](Scalar v) { return std::isfinite(v); }))
      mirrored(y, w, x);
    else
      handed_back(y, w, x);
  }

  void weight_vjp(const Scalar* x, const Scalar* y, Scalar* w) const {
    // Few rows for each thread would have it turn y around, or spread it, for too little.
    const std::size_t grain = std::max<std::size_t>(32, images_of_grain(*this, o) / (n + 1));
    // In terms to add: with few planes in y most of a lane of them would be empty.
    const bool straight =
        stride == 1 &&
        o * whole_lanes((out_h - 1) * padded_width() + out_w) * 5 / 4 < out_size() * whole_lanes(o);
    parallel_for(kernel_size(), grain, [&](std::size_t begin, std::size_t end) {
      straight ? weight_straight(x, y, begin, end, w) : weight_turned(x, y, begin, end, w);
    });
  }

 private:
  // An image's y from window row i on.
  Planes<const Scalar> band_of(const Scalar* y, std::size_t image, std::size_t i) const {
    return {y + image * o * out_size() + i * out_w, out_size(), out_w};
  }

  // Places begin..end of the kernels, w = y times the windows transposed: as its own transpose,
  // windows times y^T, for y is the smaller one to turn around.
  void weight_turned(const Scalar* x, const Scalar* y, std::size_t begin, std::size_t end,
                     Scalar* w) const {
    const std::size_t width = whole_lanes(o);
    Patches patches(*this, o);
    const Starts windows = patches.windows(), y_rows = starts_at(windows.size(), width);
    Tensor turned = zeros({windows.size() * width}), total = zeros({(end - begin) * width});
    for (std::size_t k = 0; k < n; ++k) {
      patches.read(x + k * image_size());
      patches.bands([&](std::size_t i, std::size_t rows) {
        turn(band_of(y, k, i).data, out_size(), rows * out_w, o, turned.data(), width);
        gather_gemm(end - begin, width, rows * out_w, patches.rows(i, begin, windows),
                    {turned.data(), y_rows.data()}, total.data(), width, true);
      });
    }
    turn(total.data(), width, o, end - begin, w + begin, kernel_size());
  }

  // The same for stride 1 with lanes of windows: y's planes with gaps where columns count for
  // nothing, times the windows' rows.
  void weight_straight(const Scalar* x, const Scalar* y, std::size_t begin, std::size_t end,
                       Scalar* w) const {
    Patches patches(*this, o);
    const std::size_t width = whole_lanes(patches.most), m = end - begin;
    Tensor spread = zeros({o * width}), sums = zeros({o * m * kLane});
    for (std::size_t k = 0; k < n; ++k) {
      patches.read(x + k * image_size());
      patches.bands([&](std::size_t i, std::size_t rows) {
        if (rows < patches.band) std::fill(spread.begin(), spread.end(), Scalar{0});
        copy_planes(o, rows, out_w, band_of(y, k, i), {spread.data(), width, patches.pitch});
        const Right windows = patches.rows(i);
        pair_sums(InnerProducts{patches.length(rows), m, width, spread.data(), windows.data,
                                windows.rows + begin, sums.data()},
                  0, o, m);
      });
    }
    bool finite = true;
    for (std::size_t k = 0; k < o * m; ++k) {
      const Scalar total = lane_sum(Lane::load_unaligned(sums.data() + k * kLane));
      w[k / m * kernel_size() + begin + k % m] = total;
      finite = finite && std::isfinite(total);
    }
    // In a gap 0 times an infinite pixel is NaN, which has no business here.
    if (!finite) weight_turned(x, y, begin, end, w);
  }

  // x with stride 1: the windows of y, with as much padding as a kernel reaches over the edge,
  // times the kernels turned by half a circle.
  void mirrored(const Scalar* y, const Scalar* kernels, Scalar* x) const {
    ConvGeometry back = *this;
    back.mirror();
    back.c = o;
    const std::size_t window = kernel_h * kernel_w;
    const Starts rows = starts_at(c, window);
    Starts columns(back.kernel_size());
    for (std::size_t k = 0; k < columns.size(); ++k)
      columns[k] = k / window * kernel_size() + window - 1 - k % window;
    correlate(back, c, y, {kernels, rows.data(), columns.data()}, x);
  }

  // x = w^T y, each window's numbers added to its pixels.
  void handed_back(const Scalar* y, const Scalar* w, Scalar* x) const {
    const Starts w_rows = starts_at(kernel_size(), 1), w_columns = starts_at(o, kernel_size());
    parallel_for(n, images_of_grain(*this, o), [&](std::size_t begin, std::size_t end) {
      Patches patches(*this, o);
      const bool direct = patches.pitch == out_w;
      const Starts y_rows = starts_at(o, direct ? out_size() : patches.most);
      Tensor spread = zeros({direct ? 0 : o * patches.most}),
             columns = uninitialised({kernel_size() * patches.most});
      for (std::size_t k = begin; k < end; ++k) {
        patches.begin(x + k * image_size());
        patches.bands([&](std::size_t i, std::size_t rows) {
          const Planes<const Scalar> band = band_of(y, k, i);
          if (!direct)
            copy_planes(o, rows, out_w, band, {spread.data(), patches.most, patches.pitch});
          gather_gemm(kernel_size(), patches.length(rows), o, {w, w_rows.data(), w_columns.data()},
                      {direct ? band.data : spread.data(), y_rows.data()}, columns.data(),
                      patches.most, false);
          patches.add(i, rows, columns.data());
        });
        patches.end(x + k * image_size());
      }
    });
  }
};

// Each of the three is linear in its two inputs, and the others are its derivatives.
Var transposed(Var y, Var w, const Convolution& conv);
Var weight_vjp(Var x, Var y, const Convolution& conv);

Var forward(Var x, Var w, const Convolution& conv) {
  Tensor y = uninitialised({conv.n, conv.o, conv.out_h, conv.out_w});
  conv.forward(x.value().data(), w.value().data(), y.data());
  return x.tape->record("conv2d", {x, w}, std::move(y), [conv](BackwardContext& ctx) {
    if (ctx.wants(0)) ctx.give(0, transposed(ctx.gradient(), ctx.in(1), conv));
    if (ctx.wants(1)) ctx.give(1, weight_vjp(ctx.in(0), ctx.gradient(), conv));
  });
}

Var transposed(Var y, Var w, const Convolution& conv) {
  Tensor x = uninitialised({conv.n, conv.c, conv.h, conv.w});
  conv.input_vjp(y.value().data(), w.value().data(), x.data());
  return y.tape->record("conv_transpose2d", {y, w}, std::move(x), [conv](BackwardContext& ctx) {
    if (ctx.wants(0)) ctx.give(0, forward(ctx.gradient(), ctx.in(1), conv));
    if (ctx.wants(1)) ctx.give(1, weight_vjp(ctx.gradient(), ctx.in(0), conv));
  });
}

Var weight_vjp(Var x, Var y, const Convolution& conv) {
  Tensor w = uninitialised({conv.o, conv.c, conv.kernel_h, conv.kernel_w});
  conv.weight_vjp(x.value().data(), y.value().data(), w.data());
  return x.tape->record("conv2d_weight_vjp", {x, y}, std::move(w), [conv](BackwardContext& ctx) {
    if (ctx.wants(0)) ctx.give(0, transposed(ctx.in(1), ctx.gradient(), conv));
    if (ctx.wants(1)) ctx.give(1, forward(ctx.in(0), ctx.gradient(), conv));
  });
}

}  // namespace

Var conv2d(Var x, Var w, std::size_t stride, std::size_t padding) {
  tape_of("conv2d", {x, w});
  if (x.shape().size() != 4 || w.shape().size() != 4 || x.shape()[1] != w.shape()[1])
    refuse("conv2d: x is ", x.shape(), ", w is ", w.shape(),
           "; need (N, C, H, W) and (O, C, h, w)");
  return forward(x, w, Convolution("conv2d", x.shape(), w.shape(), stride, padding));
}

namespace {
// The length of an axis that a convolution makes `pixels` windows of.
std::size_t spread_length(std::size_t pixels, std::size_t kernel, std::size_t stride,
                          std::size_t padding) {
  constexpr const char* op = "conv_transpose2d";
  require(padding <= kMostBytes, op, ": padding is ", padding, "; need a number of pixels");
  require(stride > 0 && stride <= kMostBytes, op, ": stride is ", stride,
          "; need a number of pixels, at least 1");
  require(pixels > 0 && kernel > 0, op, ": an axis of ", pixels, " pixels, the kernel's of ",
          kernel, "; need at least one of each");
  const std::size_t padded = size_of({pixels - 1, stride}) + kernel;
  require(padded > 2 * padding, op, ": an axis of ", pixels, " pixels comes out ", padded,
          " long, with padding ", padding, " at either end; need less padding");
  return padded - 2 * padding;
}
}  // namespace

Var conv_transpose2d(Var x, Var w, std::size_t stride, std::size_t padding) {
  tape_of("conv_transpose2d", {x, w});
  const Shape &p = x.shape(), &q = w.shape();
  if (p.size() != 4 || q.size() != 4 || p[1] != q[0])
    refuse("conv_transpose2d: x is ", p, ", w is ", q, "; need (N, O, H, W) and (O, C, h, w)");
  const Shape image = {p[0], q[1], spread_length(p[2], q[2], stride, padding),
                       spread_length(p[3], q[3], stride, padding)};
  return transposed(x, w, Convolution("conv_transpose2d", image, q, stride, padding));
}

ARGTAPE_END
