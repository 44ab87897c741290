#include "ops/distance.hpp"

#include <algorithm>
#include <stdexcept>

#include "engine/simd/lane.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// So many rows by so many centres stay in registers at a time.
#if defined(__AVX512F__)
constexpr std::size_t kTileRows = 4;  // 32 registers
#else
constexpr std::size_t kTileRows = 2;
#endif
constexpr std::size_t kTileCentres = 4;

// y[r * k + j] = |x_r - c_j|^2 for r < rows, j < centres.
template <std::size_t rows, std::size_t centres>
void tile(std::size_t d, std::size_t k, const Scalar* x, const Scalar* c, Scalar* y) {
  Lane sum[rows][centres];
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (std::size_t j = 0; j < centres; ++j) sum[r][j] = Lane(0);
  const auto add = [&](auto load) {
    Lane row[rows];
#pragma GCC unroll 4
    for (std::size_t r = 0; r < rows; ++r) row[r] = load(x + r * d);
#pragma GCC unroll 4
    for (std::size_t j = 0; j < centres; ++j) {
      const Lane centre = load(c + j * d);
#pragma GCC unroll 4
      for (std::size_t r = 0; r < rows; ++r) {
        const Lane difference = row[r] - centre;
        sum[r][j] = xsimd::fma(difference, difference, sum[r][j]);
      }
    }
  };
  std::size_t t = 0;
  for (; t + kLane <= d; t += kLane)
    add([t](const Scalar* p) { return Lane::load_unaligned(p + t); });
  if (t < d) add([=](const Scalar* p) { return load_some(p + t, d - t); });
#pragma GCC unroll 4
  for (std::size_t r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (std::size_t j = 0; j < centres; ++j) y[r * k + j] = lane_sum(sum[r][j]);
}

// A few rows' distances to all centres.
template <std::size_t rows>
void tiles(std::size_t d, std::size_t k, const Scalar* x, const Scalar* c, Scalar* y) {
  std::size_t j = 0;
  for (; j + kTileCentres <= k; j += kTileCentres)
    tile<rows, kTileCentres>(d, k, x, c + j * d, y + j);
  for (; j < k; ++j) tile<rows, 1>(d, k, x, c + j * d, y + j);
}

Tensor distances(const Tensor& x, const Tensor& c) {
  const std::size_t n = x.shape()[0], d = x.shape()[1], k = c.shape()[0];
  Tensor y = uninitialised({n, k});
  parallel_for(n, rows_of_grain(k * d), [&](std::size_t i, std::size_t end) {
    for (; i + kTileRows <= end; i += kTileRows)
      tiles<kTileRows>(d, k, x.data() + i * d, c.data(), y.data() + i * k);
    for (; i < end; ++i) tiles<1>(d, k, x.data() + i * d, c.data(), y.data() + i * k);
  });
  return y;
}

// to += 2 g (p - q), d numbers each.
void add_difference(std::size_t d, Scalar* to, Scalar g, const Scalar* p, const Scalar* q) {
  const Lane twice(2 * g);
  map_lanes(
      d, to, true, [=](Lane a, Lane b) { return twice * (a - b); }, p, q);
}

// The gradient 2 sum_j g_ij (x_i - c_j) for x, or 2 sum_i g_ij (c_j - x_i) for the centres. Either
// way a piece of the result sums in the same order, however the work was cut.
void backward_of(BackwardContext& ctx) {
  const Tensor &g = ctx.numbers(), &x = ctx.in(0).value(), &c = ctx.in(1).value();
  const std::size_t n = x.shape()[0], d = x.shape()[1], k = c.shape()[0];
  for (std::size_t which : {std::size_t{0}, std::size_t{1}}) {
    if (!ctx.wants(which)) continue;
    const auto [data, fresh] = ctx.sink(which);
    Scalar* to = data;
    if (fresh) std::fill_n(to, (which ? k : n) * d, Scalar{0});
    const auto rows = [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = which ? 0 : begin; i < (which ? n : end); ++i)
        for (std::size_t j = which ? begin : 0; j < (which ? end : k); ++j) {
          const Scalar slope = g.data()[i * k + j];
          if (slope == 0) continue;
          const Scalar *row = x.data() + i * d, *centre = c.data() + j * d;
          which ? add_difference(d, to + j * d, slope, centre, row)
                : add_difference(d, to + i * d, slope, row, centre);
        }
    };
    which ? parallel_for(k, rows_of_grain(n * d / std::max<std::size_t>(k, 1)), rows)
          : parallel_for(n, rows_of_grain(d), rows);
  }
}

}  // namespace

Var squared_distances(Var x, Var centres) {
  const Shape &p = x.shape(), &q = centres.shape();
  if (p.size() != 2 || q.size() != 2 || p[1] != q[1])
    throw std::invalid_argument("squared_distances: x is " + str(p) + ", centres are " + str(q) +
                                "; need (n, d) and (k, d)");
  return tape_of("squared_distances", {x, centres})
      .record("squared_distances", {x, centres}, distances(x.value(), centres.value()),
              [](BackwardContext& ctx) {
                if (!ctx.recorded()) return backward_of(ctx);
                const Shape& shape = ctx.in(1).shape();
                if (shape[0] == 0) return;
                // Both are counted from the first centre: the products would lose the digits of
                // points far from 0.
                Tensor first = uninitialised({1, shape[1]});
                std::copy_n(ctx.in(1).value().data(), shape[1], first.data());
                const Var g = ctx.gradient(), origin = g.tape->constant(std::move(first), "origin"),
                          x = ctx.in(0) - origin, c = ctx.in(1) - origin;
                if (ctx.wants(0)) ctx.give(0, 2 * (sum(g, {1}, true) * x - matmul(g, c)));
                if (!ctx.wants(1)) return;
                const Var g_transposed = transpose(g);
                ctx.give(1, 2 * (sum(g_transposed, {1}, true) * c - matmul(g_transposed, x)));
              });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
