#include "ops/layer_norm.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/row_kernels.hpp"
#include "ops/reduce.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

Var centred(Var x) { return x - mean(x, {-1}, true); }
Var scale_of(Var centred, double epsilon) {
  return 1 / sqrt(mean(square(centred), {-1}, true) + epsilon);
}

// Whether v is one row of x, for all of x's rows.
bool one_row(const Shape& v, std::size_t length) {
  return size_of(v) == length && (length == 1 || v[v.size() - 1] == length);
}

// The gradients of gain and bias are summed over so many rows at a time, and these sums in double:
// a sum of ever more floats stops growing. Threads take whole blocks, so that it comes out the same
// for any number of them.
constexpr std::size_t kBlock = 256;

// For a row n = (x - mean) / deviation, with y = gain n + bias:
// dx = (gain g - <gain g> - n <gain g n>) / deviation, <> being the mean over the row;
// dgain = g n and dbias = g, summed over the rows.
void pass_back(BackwardContext& ctx, const Tensor& moments) {
  const Tensor &x = ctx.in(0).value(), &g = ctx.numbers();
  const Scalar* gain = ctx.in(1).value().data();
  const std::size_t length = x.shape()[x.shape().size() - 1], rows = x.size() / length,
                    blocks = (rows + kBlock - 1) / kBlock;
  const auto n = static_cast<double>(length);
  const bool to_x = ctx.wants(0), to_gain = ctx.wants(1), to_bias = ctx.wants(2);
  const BackwardContext::Sink sink = to_x ? ctx.sink(0) : BackwardContext::Sink{nullptr, false};
  Tensor gains = zeros({to_gain ? blocks : 0, length}),
         biases = zeros({to_bias ? blocks : 0, length});
  const auto pass_row = [&](std::size_t r) {
    const Scalar *v = x.data() + r * length, *u = g.data() + r * length;
    const Lane mean(moments.data()[2 * r]), scale(moments.data()[2 * r + 1]);
    const auto normal = [=](Lane v) { return (v - mean) * scale; };
    const std::size_t block = r / kBlock * length;
    if (to_gain)
      map_lanes(
          length, gains.data() + block, true, [=](Lane v, Lane u) { return normal(v) * u; }, v, u);
    if (to_bias)
      map_lanes(
          length, biases.data() + block, true, [](Lane u) { return u; }, u);
    if (!to_x) return;
    const double level = long_row_sum(
                     length, [](Lane u, Lane k) { return u * k; }, u, gain),
                 slope = long_row_sum(
                     length, [=](Lane v, Lane u, Lane k) { return normal(v) * u * k; }, v, u, gain);
    const Lane l(static_cast<Scalar>(level / n)), s(static_cast<Scalar>(slope / n));
    map_lanes(
        length, sink.data + r * length, !sink.fresh,
        [=](Lane v, Lane u, Lane k) { return scale * (u * k - l - normal(v) * s); }, v, u, gain);
  };
  parallel_for(blocks, rows_of_grain(length * kBlock), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin * kBlock; r < std::min(rows, end * kBlock); ++r) pass_row(r);
  });
  const auto pass_sums = [&](std::size_t input, const Tensor& sums) {
    const auto [to, fresh] = ctx.sink(input);
    for (std::size_t i = 0; i < length; ++i) {
      double total = 0;
      for (std::size_t b = 0; b < blocks; ++b)
        total += static_cast<double>(sums.data()[b * length + i]);
      to[i] = (fresh ? 0 : to[i]) + static_cast<Scalar>(total);
    }
  };
  if (to_gain) pass_sums(1, gains);
  if (to_bias) pass_sums(2, biases);
}

}  // namespace

Var layer_norm(Var x, Var gain, Var bias, double epsilon) {
  if (!(epsilon > 0))
    throw std::invalid_argument("layer_norm: epsilon is " + str(epsilon) + "; need more than 0");
  if (x.shape().empty() || x.shape()[x.shape().size() - 1] == 0)
    throw std::invalid_argument("layer_norm: x is " + str(x.shape()) +
                                "; need at least one number on the last axis");
  tape_of("layer_norm", {x, gain, bias});
  for (const Var& v : {gain, bias})
    if (!broadcasts_to(v.shape(), x.shape()))
      throw std::invalid_argument("layer_norm: x is " + str(x.shape()) + ", gain is " +
                                  str(gain.shape()) + ", bias is " + str(bias.shape()) +
                                  "; need gain and bias that broadcast to x");
  const std::size_t length = x.shape()[x.shape().size() - 1], rows = x.value().size() / length;
  if (!one_row(gain.shape(), length) || !one_row(bias.shape(), length)) {
    const Var c = centred(x);
    return c * scale_of(c, epsilon) * gain + bias;
  }
  Tensor y = uninitialised(x.shape()), moments = uninitialised({rows, 2});
  const Tensor &from = x.value(), &k = gain.value(), &b = bias.value();
  parallel_for(rows, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const Scalar* v = from.data() + r * length;
      const Moments m = row_moments(v, length);
      const Scalar s = 1 / std::sqrt(m.variance + static_cast<Scalar>(epsilon));
      moments.data()[2 * r] = m.mean;
      moments.data()[2 * r + 1] = s;
      const Lane mean(m.mean), scale(s);
      map_lanes(
          length, y.data() + r * length, false,
          [=](Lane v, Lane k, Lane b) { return (v - mean) * scale * k + b; }, v, k.data(),
          b.data());
    }
  });
  return x.tape->record("layer_norm", {x, gain, bias}, std::move(y),
                        [moments = std::move(moments), epsilon](BackwardContext& ctx) {
                          if (!ctx.recorded()) return pass_back(ctx, moments);
                          const Var g = ctx.gradient(), c = centred(ctx.in(0)),
                                    s = scale_of(c, epsilon);
                          const Var n = c * s, u = g * ctx.in(1);
                          if (ctx.wants(0))
                            ctx.give(0, s * (centred(u) - n * mean(u * n, {-1}, true)));
                          if (ctx.wants(1)) ctx.give(1, g * n);
                          ctx.give(2, g);
                        });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
