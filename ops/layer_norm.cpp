#include "ops/layer_norm.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/rows.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// What is kept of the rows: the mean of each, and 1 / deviation. Epsilon is one number, or one for
// each row.
struct Normal {
  struct Row {
    Mean mean;
    Scalar scale;
    // n = (x - mean) / deviation.
    auto normalised() const {
      return
          [centred = mean.subtracted(), scale = Lane(scale)](Lane v) { return centred(v) * scale; };
    }
  };
  Rows rows;
  Tensor epsilon;
  std::vector<Row, CachingAllocator<Row>> kept;

  Normal(const Shape& x, Tensor epsilon) : rows(x), epsilon(std::move(epsilon)), kept(rows.count) {}
  void measure(std::size_t r, const Scalar* row) {
    const Moments m = row_moments(row, rows.length);
    kept[r] = {m.mean, 1 / std::sqrt(m.variance + epsilon.data()[epsilon.size() == 1 ? 0 : r])};
  }
};
using Kept = std::shared_ptr<Normal>;

// A shape without the axes of length 1 at its front.
Shape without_ones(const Shape& shape) {
  return Shape(std::find_if(shape.begin(), shape.end(), [](std::size_t n) { return n != 1; }),
               shape.end());
}
Var row_of(Var x, double value) { return x.tape->constant(full({x.shape().back()}, value), "row"); }
Var mean_of_rows(Var x) { return mean(x, -1, keep_axes); }

// J (gain g) for one row, where J u = (u - <u> - n <u n>) / deviation, <> being the mean over the
// row. Sums are gathered in double, a stretch at a time.
void pass_row_back(std::size_t length, const Scalar* x, const Scalar* g, const Scalar* gain,
                   const Normal::Row& row, Scalar* to) {
  const auto centred = row.mean.subtracted();
  const Lane scale(row.scale);
  double level = 0, slope = 0;
  for (std::size_t i = 0; i < length; i += kSumBlock) {
    Lane sum(0), products(0);
    map_lanes(
        std::min(kSumBlock, length - i), to + i, false,
        [&, centred](Lane v, Lane u, Lane k) {
          const Lane w = u * k;
          sum += w;
          products += centred(v) * w;
          return w;
        },
        x + i, g + i, gain + i);
    level += static_cast<double>(lane_sum(sum));
    slope += static_cast<double>(lane_sum(products));
  }
  const auto over = [n = static_cast<double>(length)](double sum) {
    return Lane(static_cast<Scalar>(sum / n));
  };
  const Lane l = over(level), s = scale * scale * over(slope);
  map_lanes(
      length, to, false, [=](Lane v, Lane w) { return scale * (w - l - centred(v) * s); }, x, to);
}

// The gradients for x, gain and bias, those that are wanted, of y = n gain + bias: in one pass,
// while g is at hand. For x it is J (gain g). For gain it is g n and for bias g, summed over kBlock
// rows at a time, and then these sums: a sum of ever more floats stops growing. Threads take whole
// blocks, so that it comes out the same for any number of them.
constexpr std::size_t kBlock = 256;

std::array<Tensor, 3> gradients_of(Var x, Var gain, Var g, const Normal& normal,
                                   const std::array<bool, 3>& wanted) {
  const std::size_t count = normal.rows.count, length = normal.rows.length,
                    blocks = (count + kBlock - 1) / kBlock;
  const Scalar *from = x.value().data(), *gains = gain.value().data(), *slopes = g.value().data();
  Tensor to = uninitialised(wanted[0] ? x.shape() : Shape{0}),
         to_gain = zeros({wanted[1] ? blocks : 0, length}),
         to_bias = zeros({wanted[2] ? blocks : 0, length});
  parallel_for(blocks, rows_of_grain(length * kBlock), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin * kBlock; r < std::min(count, end * kBlock); ++r) {
      const Scalar *v = from + r * length, *u = slopes + r * length;
      const std::size_t block = r / kBlock * length;
      if (wanted[0]) pass_row_back(length, v, u, gains, normal.kept[r], to.data() + r * length);
      if (wanted[1])
        map_lanes(
            length, to_gain.data() + block, true,
            [n = normal.kept[r].normalised()](Lane v, Lane u) { return n(v) * u; }, v, u);
      if (wanted[2])
        map_lanes(
            length, to_bias.data() + block, true, [](Lane u) { return u; }, u);
    }
  });
  return {std::move(to), sum_to(to_gain, {1, length}), sum_to(to_bias, {1, length})};
}

Var normalised(Var x, Var gain, Var bias, const Kept& kept, bool first = false);
Var layer_norm_vjp(Var x, Var gain, Var g, const Kept& kept, Tensor&& value);

Var layer_norm_vjp(Var x, Var gain, Var g, const Kept& kept) {
  return layer_norm_vjp(x, gain, g, kept,
                        std::move(gradients_of(x, gain, g, *kept, {true, false, false})[0]));
}

Var layer_norm_vjp(Var x, Var gain, Var g, const Kept& kept, Tensor&& value) {
  return x.tape->record(
      "layer_norm_vjp", {x, gain, g}, std::move(value), [kept](BackwardContext& ctx) {
        const Var x = ctx.in(0), gain = ctx.in(1), g = ctx.in(2), v = ctx.out(), u = ctx.gradient();
        const Var one = row_of(x, 1), back = layer_norm_vjp(x, one, u, kept);  // J is symmetric
        if (ctx.wants(1)) ctx.give(1, g * back);
        if (ctx.wants(2)) ctx.give(2, gain * back);
        if (!ctx.wants(0)) return;
        // d n = J dx, and d (1 / deviation) = -<n dx> / deviation^2.
        const Var n = normalised(x, one, row_of(x, 0), kept),
                  scale = 1 / sqrt(variance(x, -1, keep_axes) + x.tape->constant(kept->epsilon));
        ctx.give(0, -scale * (n * mean_of_rows(u * v) + back * mean_of_rows(n * g * gain) +
                              v * mean_of_rows(n * u)));
      });
}

Var layer_norm_gain_vjp(Var x, Var g, const Kept& kept, Tensor&& value) {
  return x.tape->record("layer_norm_gain_vjp", {x, g}, std::move(value),
                        [kept](BackwardContext& ctx) {
                          const Var x = ctx.in(0), u = ctx.gradient();
                          if (ctx.wants(0)) ctx.give(0, layer_norm_vjp(x, u, ctx.in(1), kept));
                          if (ctx.wants(1)) ctx.give(1, normalised(x, u, row_of(x, 0), kept));
                        });
}

Var layer_norm_bias_vjp(Var g, Tensor&& value) {
  return g.tape->record("layer_norm_bias_vjp", {g}, std::move(value), [](BackwardContext& ctx) {
    ctx.give(0, broadcast_to(ctx.gradient(), ctx.in(0).shape()));
  });
}

// n gain + bias, for gain and bias of one row; the first time the rows are measured on the way.
Var normalised(Var x, Var gain, Var bias, const Kept& kept, bool first) {
  Tensor y = uninitialised(x.shape());
  const Scalar *from = x.value().data(), *k = gain.value().data(), *b = bias.value().data();
  Scalar* to = y.data();
  Normal& normal = *kept;
  normal.rows.each([=, &normal](std::size_t r, std::size_t at) {
    if (first) normal.measure(r, from + at);
    map_lanes(
        normal.rows.length, to + at, false,
        [n = normal.kept[r].normalised()](Lane v, Lane k, Lane b) { return n(v) * k + b; },
        from + at, k, b);
  });
  if (first) {  // rows whose squares overflow are counted in units of their own, epsilon too
    Shape shape = x.shape();
    shape.back() = 1;
    Tensor units = ones(shape);
    for (std::size_t r = 0; r < units.size(); ++r)
      if (!(normal.kept[r].scale > 0))
        units.data()[r] = rescaled_moments(from + r * normal.rows.length, normal.rows.length).unit;
    if (units != ones(shape)) {
      Tensor epsilon = normal.epsilon * units * units;
      for (Scalar& e : epsilon) e = std::max(e, std::numeric_limits<Scalar>::min());  // not 0
      return normalised(x * x.tape->constant(units, "units"), gain, bias,
                        std::make_shared<Normal>(x.shape(), epsilon), true);
    }
  }
  return x.tape->record("layer_norm", {x, gain, bias}, std::move(y), [kept](BackwardContext& ctx) {
    const Var x = ctx.in(0), gain = ctx.in(1), g = ctx.gradient();
    auto [to, to_gain, to_bias] =
        gradients_of(x, gain, g, *kept, {ctx.wants(0), ctx.wants(1), ctx.wants(2)});
    if (ctx.wants(0)) ctx.give(0, layer_norm_vjp(x, gain, g, kept, std::move(to)));
    if (ctx.wants(1))
      ctx.give(1, layer_norm_gain_vjp(x, g, kept, reshaped(std::move(to_gain), gain.shape())));
    if (ctx.wants(2))
      ctx.give(2, layer_norm_bias_vjp(g, reshaped(std::move(to_bias), ctx.in(2).shape())));
  });
}

}  // namespace

Var layer_norm(Var x, Var gain, Var bias, double epsilon) {
  if (!(static_cast<Scalar>(epsilon) > 0 && std::isfinite(static_cast<Scalar>(epsilon))))
    refuse("layer_norm: epsilon is ", epsilon, "; need more than 0, and finite");
  const Shape& shape = x.shape();
  if (shape.empty() || shape.back() == 0)
    refuse("layer_norm: x is ", shape, "; need at least one number on the last axis");
  tape_of("layer_norm", {x, gain, bias});
  const Shape a = without_ones(gain.shape()), b = without_ones(bias.shape()),
              row = !a.empty()   ? a
                    : !b.empty() ? b
                                 : Shape{shape.back()};
  if (row.size() > shape.size() || row != Shape(shape.end() - row.size(), shape.end()) ||
      size_of(row) == 0 || (!b.empty() && b != row))
    refuse("layer_norm: x is ", shape, ", gain is ", gain.shape(), ", bias is ", bias.shape(),
           "; need of each one number, or the shape of x's last axes");
  const std::size_t length = size_of(row);
  const auto as_row = [length](Var v) {
    return v.value().size() == length ? v : broadcast(reshape(v, {1}), {length});
  };
  if (row.size() == 1)
    return normalised(x, as_row(gain), as_row(bias),
                      std::make_shared<Normal>(shape, full({}, epsilon)), true);
  const auto flat = [&](Var v) { return reshape(as_row(v), {length}); };
  const Var rows = reshape(x, {x.value().size() / length, length});
  return reshape(layer_norm(rows, flat(gain), flat(bias), epsilon), shape);
}

ARGTAPE_END
