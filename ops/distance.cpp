#include "ops/distance.hpp"

#include <algorithm>
#include <cstdint>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/pair_sums.hpp"
#include "ops/linalg.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// y[i * k + j] = |x_i - c_j|^2.
struct Distances {
  static constexpr std::size_t kRows = kTileRows / 2, kColumns = 4;
  std::size_t length, k;
  const Scalar *x, *centres;
  Scalar* y;

  const Scalar* a(std::size_t i) const { return x + i * length; }
  const Scalar* b(std::size_t j) const { return centres + j * length; }
  static Lane term(Lane x, Lane c, Lane sum) { return xsimd::fma(x - c, x - c, sum); }
  void put(std::size_t i, std::size_t j, Lane sum) const { y[i * k + j] = lane_sum(sum); }
};

Tensor distances(const Tensor& x, const Tensor& c) {
  const std::size_t n = x.shape()[0], d = x.shape()[1], k = c.shape()[0];
  Tensor y = uninitialised({n, k});
  const Distances all{d, k, x.data(), c.data(), y.data()};
  parallel_for(n, rows_of_grain(k * d),
               [&](std::size_t begin, std::size_t end) { pair_sums(all, begin, end, k); });
  return y;
}

// What squared_distances() hands back to x, 2 sum_j g_ij (x_i - c_j), or to the centres, 2 sum_i
// g_ij (c_j - x_i). Either way a piece of the result sums in the same order, however the work was
// cut.
Tensor differences(const Tensor& g, const Tensor& x, const Tensor& c, bool to_centres) {
  const std::size_t n = x.shape()[0], d = x.shape()[1], k = c.shape()[0];
  Tensor y = zeros({to_centres ? k : n, d});
  const std::size_t length = to_centres ? n * d / std::max<std::size_t>(k, 1) : d;
  parallel_for(to_centres ? k : n, rows_of_grain(length), [&](std::size_t begin, std::size_t end) {
    const auto [i_begin, i_end] = to_centres ? std::pair(std::size_t{0}, n) : std::pair(begin, end);
    const auto [j_begin, j_end] = to_centres ? std::pair(begin, end) : std::pair(std::size_t{0}, k);
    for (std::size_t i = i_begin; i < i_end; ++i)
      for (std::size_t first = j_begin; first < j_end; first += 64) {
        const Scalar* slopes = g.data() + i * k + first;
        std::uint64_t left = 0;  // a bit for each that is not 0: few are, and no branch guesses it
        for (std::size_t b = 0; b < std::min<std::size_t>(64, j_end - first); ++b)
          left |= std::uint64_t{slopes[b] != 0} << b;
        for (; left != 0; left &= left - 1) {
          const auto b = static_cast<std::size_t>(__builtin_ctzll(left)), j = first + b;
          const Lane twice((to_centres ? -2 : 2) * slopes[b]);
          map_lanes(
              d, y.data() + (to_centres ? j : i) * d, true,
              [=](Lane x, Lane c) { return twice * (x - c); }, x.data() + i * d, c.data() + j * d);
        }
      }
  });
  return y;
}

Var squared_distances_vjp(Var g, Var x, Var c, bool to_centres) {
  return g.tape->record(
      "squared_distances_vjp", {g, x, c}, differences(g.value(), x.value(), c.value(), to_centres),
      [to_centres](BackwardContext& ctx) {
        // For the centres all is turned around.
        const std::size_t own = to_centres ? 2 : 1, other = 3 - own;
        const Var u = ctx.gradient(), a = ctx.in(own), b = ctx.in(other);
        const Var g = to_centres ? transpose(ctx.in(0)) : ctx.in(0);
        if (ctx.wants(own)) ctx.give(own, 2 * (u * sum(g, 1, keep_axes)));
        if (ctx.wants(other)) ctx.give(other, -2 * matmul(transpose(g), u));
        if (!ctx.wants(0) || u.value().size() == 0) return;
        // Both are counted from one of them: the products would lose the digits of points far
        // from 0.
        const Var origin = a.tape->constant(slice(a, 0, 1).value(), "origin"),
                  slopes =
                      2 * (sum(u * (a - origin), 1, keep_axes) - matmul_transposed(u, b - origin));
        ctx.give(0, to_centres ? transpose(slopes) : slopes);
      });
}

}  // namespace

Var squared_distances(const Operand& rows, const Operand& others) {
  const auto [x, centres] = together("squared_distances", rows, others);
  const Shape &p = x.shape(), &q = centres.shape();
  if (p.size() != 2 || q.size() != 2 || p[1] != q[1])
    refuse("squared_distances: x is ", p, ", centres are ", q, "; need (n, d) and (k, d)");
  return tape_of("squared_distances", {x, centres})
      .record("squared_distances", {x, centres}, distances(x.value(), centres.value()),
              [](BackwardContext& ctx) {
                const Var x = ctx.in(0), c = ctx.in(1), g = ctx.gradient();
                if (ctx.wants(0)) ctx.give(0, squared_distances_vjp(g, x, c, false));
                if (ctx.wants(1)) ctx.give(1, squared_distances_vjp(g, x, c, true));
              });
}

ARGTAPE_END
