#include "ops/conv.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "engine/threads.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/gather_gemm.hpp"
#include "ops/kernels/pair_sums.hpp"
#include "ops/kernels/windows.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

using Starts = std::vector<std::size_t, CachingAllocator<std::size_t>>;

Starts starts_at(std::size_t count, std::size_t distance) {
  Starts starts(count);
  for (std::size_t i = 0; i < count; ++i) starts[i] = i * distance;
  return starts;
}

std::size_t whole_lanes(std::size_t n) { return (n + kLane - 1) / kLane * kLane; }

// A convolution y of images x with o kernels w.
struct Convolution : ConvGeometry {
  std::size_t o;
  Convolution(const char* op, const Shape& x, const Shape& w, Pixels stride, Pixels padding)
      : ConvGeometry(op, x, w[2], w[3], stride, padding), o(w[0]) {}
  // f(first image, the one after the last), on all threads, each with many terms to add.
  // So many terms are worth another thread.
  std::size_t images_of_grain() const {
    return (std::size_t{1} << 19) / (o * kernel_size() * out_size() + 1) + 1;
  }
  template <class F>
  void each_images(F f) const {
    parallel_for(n, images_of_grain(), f);
  }
  // f(begin, end) for places in the kernels: in as few pieces as threads, since each turns y
  // around, or spreads it; and of not too few places.
  template <class F>
  void each_places(F f) const {
    const std::size_t share = kernel_size() / static_cast<std::size_t>(threads()),
                      few = images_of_grain() * kernel_size() / (n + 1);
    parallel_for(kernel_size(), std::max({std::size_t{16}, share, few}), f);
  }
};

// The windows of an image as a matrix: one row for each place in the kernel, one column for each
// window. Nothing is copied for it: a row is the sorted image from some pixel on, with windows one
// after the other and, between two rows of them, pixels where a window would run over the edge.
// Those columns, the gaps, count for nothing, and y's planes are given the same. A band of window
// rows is worked on at a time, to keep what is needed beside it small.
class Patches : public Windows {
 public:
  // At most so many window rows go together: with one there are no gaps.
  Patches(const Convolution& s, std::size_t together)
      : Windows(s, s.stride_h),
        band(std::clamp<std::size_t>(kScratch / (std::max(s.kernel_size(), s.o) * pitch + 1), 1,
                                     together)),
        s_(s),
        gaps_(pitch != s.out_w),
        width_(gaps_ ? whole_lanes(band * pitch) : s.out_size()),
        starts_(starts_at(s.o, width_)),
        planes_(zeros({gaps_ ? s.o * width_ : 0})) {}

  const std::size_t band;  // window rows of one

  // Where its first window stands; its rows of windows; its columns; where y has it.
  struct Band {
    std::size_t first, rows, columns, in_y;
  };
  // f(band) for each of an image's.
  template <class F>
  void bands(std::size_t image, F f) const {
    for (std::size_t i = 0; i < s_.out_h; i += band) {
      const std::size_t rows = std::min(band, s_.out_h - i);
      f(Band{i * pitch, rows, (rows - 1) * pitch + s_.out_w,
             image * s_.o * s_.out_size() + i * s_.out_w});
    }
  }

  // f(where the first window stands, band) for each of the images begin..end of x.
  template <class F>
  void each_band(const Tensor& x, std::size_t begin, std::size_t end, F f) {
    for (std::size_t k = begin; k < end; ++k) {
      const Scalar* image = x.data() + k * s_.image_size();
      const bool as_it_is = s_.by_one() && !s_.padded();
      if (!as_it_is) read(image);
      bands(k, [&](const Band& band) { f((as_it_is ? image : data()) + band.first, band); });
    }
  }
  // A band of y with gaps; and room for one, from which it is then written to y.
  RowsAt<const Scalar> planes(const Scalar* y, const Band& band) {
    each_row(band, [&](std::size_t in_y, std::size_t here) {
      copy_row(s_.out_w, y + in_y, planes_.data() + here);
    });
    return {gaps_ ? planes_.data() : y + band.in_y, starts_.data()};
  }
  RowsAt<Scalar> room(Scalar* y, const Band& band) {
    return {gaps_ ? planes_.data() : y + band.in_y, starts_.data()};
  }
  void write_planes(Scalar* y, const Band& band) const {
    each_row(band, [&](std::size_t in_y, std::size_t here) {
      copy_row(s_.out_w, planes_.data() + here, y + in_y);
    });
  }

 private:
  static constexpr std::size_t kScratch = std::size_t{1} << 17;  // numbers, of one matrix

  // f(where it stands in y, and with gaps) for each row of the planes, if there are gaps.
  template <class F>
  void each_row(const Band& band, F f) const {
    for (std::size_t plane = 0; gaps_ && plane < s_.o; ++plane)
      for (std::size_t r = 0; r < band.rows; ++r)
        f(band.in_y + plane * s_.out_size() + r * s_.out_w, plane * width_ + r * pitch);
  }

  const Convolution s_;
  const bool gaps_;
  const std::size_t width_;
  const Starts starts_;
  Tensor planes_;
};

// w times the windows.
Tensor correlated(const Tensor& x, const Tensor& w, const Convolution& s) {
  Tensor y = uninitialised({s.n, s.o, s.out_h, s.out_w});
  const Starts rows = starts_at(s.o, s.kernel_size()), columns = starts_at(s.kernel_size(), 1);
  s.each_images([&](std::size_t begin, std::size_t end) {
    Patches patches(s, s.out_h);
    patches.each_band(x, begin, end, [&](const Scalar* first, const Patches::Band& band) {
      gather_gemm(s.o, band.columns, s.kernel_size(), {w.data(), rows.data(), columns.data()},
                  {first, patches.places.data()}, patches.room(y.data(), band), false);
      patches.write_planes(y.data(), band);
    });
  });
  return y;
}

// x with stride 1: the windows of y, with as much padding as a kernel reaches over the edge, times
// the kernels turned by half a circle.
Tensor mirrored(const Tensor& y, const Tensor& w, const Convolution& s) {
  Tensor turned = uninitialised({s.c, s.o, s.kernel_h, s.kernel_w});
  const std::size_t window = s.kernel_h * s.kernel_w;
  for (std::size_t k = 0; k < turned.size(); ++k) {
    const std::size_t plane = k / window, from = plane % s.o * s.c + plane / s.o;
    turned.data()[k] = w.data()[from * window + window - 1 - k % window];
  }
  Convolution back = s;
  std::swap(back.c, back.o);
  std::swap(back.h, back.out_h);
  std::swap(back.w, back.out_w);
  back.pad_h = s.kernel_h - 1 - s.pad_h, back.pad_w = s.kernel_w - 1 - s.pad_w;
  return correlated(y, turned, back);
}

// w transposed times y, each window's numbers added to its pixels.
Tensor handed_back(const Tensor& y, const Tensor& w, const Convolution& s) {
  // In a gap, as in padding, 0 times an infinite weight is NaN, which has no business here.
  const bool finite = worst_of(w) == Worst::finite;
  // With few planes in x registers would be idle, with many in y there is nothing to gain.
  if (finite && s.by_one() && s.pad_h < s.kernel_h && s.pad_w < s.kernel_w && s.c >= 8 && s.o <= 16)
    return mirrored(y, w, s);
  Tensor x = uninitialised({s.n, s.c, s.h, s.w});
  // Plane by plane within each place: what was just written is not needed again at once.
  Starts order(s.kernel_size());
  for (std::size_t k = 0, window = s.kernel_h * s.kernel_w; k < order.size(); ++k)
    order[k] = k % s.c * window + k / s.c;
  Tensor turned = uninitialised({order.size(), s.o});
  for (std::size_t k = 0; k < order.size(); ++k)
    for (std::size_t o = 0; o < s.o; ++o)
      turned.data()[k * s.o + o] = w.data()[o * order.size() + order[k]];
  const Starts rows = starts_at(order.size(), s.o), columns = starts_at(s.o, 1);
  s.each_images([&](std::size_t begin, std::size_t end) {
    Patches patches(s, finite ? s.out_h : 1);
    Starts to;
    for (std::size_t k : order) to.push_back(patches.places[k]);
    for (std::size_t k = begin; k < end; ++k) {
      patches.clear();
      patches.bands(k, [&](const Patches::Band& band) {
        gather_gemm(s.kernel_size(), band.columns, s.o,
                    {turned.data(), rows.data(), columns.data()}, patches.planes(y.data(), band),
                    {patches.data() + band.first, to.data()}, true);
      });
      patches.write(x.data() + k * s.image_size());
    }
  });
  return x;
}

// The lane at sums + (i m + j) kLane gets every kLane-th term of <a_i, b_j> added.
struct InnerProducts {
  static constexpr std::size_t kRows = kTileRows, kColumns = 3;
  std::size_t length, m;
  RowsAt<const Scalar> a_rows, b_rows;
  Scalar* sums;

  const Scalar* a(std::size_t i) const { return a_rows.data + a_rows.starts[i]; }
  const Scalar* b(std::size_t j) const { return b_rows.data + b_rows.starts[j]; }
  static Lane term(Lane x, Lane y, Lane sum) { return xsimd::fma(x, y, sum); }
  void put(std::size_t i, std::size_t j, Lane sum) const {
    Scalar* to = sums + (i * m + j) * kLane;
    (Lane::load_unaligned(to) + sum).store_unaligned(to);
  }
};

// y times the windows transposed: with lanes of windows, for so few sums that they stay in the
// nearest cache. Threads share the places in the kernels, so that no sum depends on their number.
Tensor weights(const Tensor& x, const Tensor& y, const Convolution& s) {
  Tensor w = uninitialised({s.o, s.c, s.kernel_h, s.kernel_w});
  s.each_places([&](std::size_t begin, std::size_t end) {
    Patches patches(s, s.out_h);
    const std::size_t m = end - begin;
    Tensor sums = zeros({s.o * m * kLane});
    patches.each_band(x, 0, s.n, [&](const Scalar* first, const Patches::Band& band) {
      const RowsAt<const Scalar> windows{first, patches.places.data() + begin};
      const auto planes = patches.planes(y.data(), band);
      pair_sums(InnerProducts{band.columns, m, planes, windows, sums.data()}, 0, s.o, m);
    });
    for (std::size_t k = 0; k < s.o * m; ++k)
      w.data()[k / m * s.kernel_size() + begin + k % m] =
          lane_sum(Lane::load_unaligned(sums.data() + k * kLane));
  });
  return w;
}

// to[i * to_pitch + j] = from[j * from_pitch + i] for i < n, j < m: a matrix turned around.
void turn(const Scalar* from, std::size_t from_pitch, std::size_t n, std::size_t m, Scalar* to,
          std::size_t to_pitch) {
  for (std::size_t i = 0; i < n; ++i, to += to_pitch)
    for (std::size_t j = 0; j < m; ++j) to[j] = from[j * from_pitch + i];
}

// The same as its own transpose, the windows times y's, for y is the smaller one to turn around:
// with lanes of y's planes, and without gaps.
Tensor weights_turned(const Tensor& x, const Tensor& y, const Convolution& s) {
  Tensor w = uninitialised({s.o, s.c, s.kernel_h, s.kernel_w});
  s.each_places([&](std::size_t begin, std::size_t end) {
    Patches patches(s, s.out_h);
    const std::size_t width = whole_lanes(s.o), most = patches.band * s.out_w;
    Starts windows;
    for (std::size_t k = 0; k < most; ++k)
      windows.push_back(k / s.out_w * patches.pitch + k % s.out_w);
    const Starts y_rows = starts_at(most, width), w_rows = starts_at(end - begin, width);
    Tensor turned = zeros({most * width}), sums = zeros({(end - begin) * width});
    patches.each_band(x, 0, s.n, [&](const Scalar* first, const Patches::Band& band) {
      const std::size_t terms = band.rows * s.out_w;
      turn(y.data() + band.in_y, s.out_size(), terms, s.o, turned.data(), width);
      gather_gemm(end - begin, width, terms, {first, patches.places.data() + begin, windows.data()},
                  {turned.data(), y_rows.data()}, {sums.data(), w_rows.data()}, true);
    });
    turn(sums.data(), width, s.o, end - begin, w.data() + begin, s.kernel_size());
  });
  return w;
}

// Each of the three is linear in its two inputs, and the others are its derivatives.
Var transposed(Var y, Var w, const Convolution& conv);
Var weight_vjp(Var x, Var y, const Convolution& conv);

Var forward(Var x, Var w, const Convolution& conv) {
  return x.tape->record("conv2d", {x, w}, correlated(x.value(), w.value(), conv),
                        [conv](BackwardContext& ctx) {
                          if (ctx.wants(0))
                            ctx.give(0, transposed(ctx.gradient(), ctx.in(1), conv));
                          if (ctx.wants(1))
                            ctx.give(1, weight_vjp(ctx.in(0), ctx.gradient(), conv));
                        });
}

Var transposed(Var y, Var w, const Convolution& conv) {
  return y.tape->record("conv_transpose2d", {y, w}, handed_back(y.value(), w.value(), conv),
                        [conv](BackwardContext& ctx) {
                          if (ctx.wants(0)) ctx.give(0, forward(ctx.gradient(), ctx.in(1), conv));
                          if (ctx.wants(1))
                            ctx.give(1, weight_vjp(ctx.gradient(), ctx.in(0), conv));
                        });
}

Var weight_vjp(Var x, Var y, const Convolution& conv) {
  Tensor w;
  const bool few = conv.o * conv.kernel_size() <= 2048;
  if (few) w = weights(x.value(), y.value(), conv);
  // In a gap 0 times an infinite pixel is NaN, which has no business here.
  if (!few || worst_of(w) != Worst::finite) w = weights_turned(x.value(), y.value(), conv);
  return x.tape->record("conv2d_weight_vjp", {x, y}, std::move(w), [conv](BackwardContext& ctx) {
    if (ctx.wants(0)) ctx.give(0, transposed(ctx.in(1), ctx.gradient(), conv));
    if (ctx.wants(1)) ctx.give(1, forward(ctx.in(0), ctx.gradient(), conv));
  });
}

}  // namespace

Var conv2d(Var x, Var w, Pixels stride, Pixels padding) {
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
  require(pixels > 0 && kernel > 0, op, ": an axis of ", pixels, " pixels, the kernel's of ",
          kernel, "; need at least one of each");
  const std::size_t padded = size_of({pixels - 1, stride}) + kernel;
  require(padded > 2 * padding, op, ": an axis of ", pixels, " pixels comes out ", padded,
          " long, with padding ", padding, " at either end; need less padding");
  return padded - 2 * padding;
}

// A number b[c] more in each plane c of images y.
Var with_bias(const char* op, Var y, Var b) {
  const std::size_t planes = y.shape()[1];
  require(b.shape() == Shape{planes}, op, ": b is ", b.shape(), "; need (", planes, ",)");
  return y + reshape(b, {planes, 1, 1});
}
}  // namespace

Var conv2d(Var x, Var w, Bias bias, Pixels stride, Pixels padding) {
  return with_bias("conv2d", conv2d(x, w, stride, padding), bias.b);
}

Var conv_transpose2d(Var x, Var w, Pixels stride, Pixels padding) {
  tape_of("conv_transpose2d", {x, w});
  const Shape &p = x.shape(), &q = w.shape();
  if (p.size() != 4 || q.size() != 4 || p[1] != q[0])
    refuse("conv_transpose2d: x is ", p, ", w is ", q, "; need (N, O, H, W) and (O, C, h, w)");
  require_pixels("conv_transpose2d", stride, padding);
  const Shape image = {p[0], q[1], spread_length(p[2], q[2], stride.h, padding.h),
                       spread_length(p[3], q[3], stride.w, padding.w)};
  return transposed(x, w, Convolution("conv_transpose2d", image, q, stride, padding));
}

Var conv_transpose2d(Var x, Var w, Bias bias, Pixels stride, Pixels padding) {
  return with_bias("conv_transpose2d", conv_transpose2d(x, w, stride, padding), bias.b);
}

ARGTAPE_END
