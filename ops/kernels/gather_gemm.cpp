#include "ops/kernels/gather_gemm.hpp"

#include <algorithm>

#include "ops/kernels/pair_sums.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// A tile of c stays in registers while k goes by: kTileRows rows of so many lanes each. The last
// lane may be cut short.
constexpr std::size_t kTileLanes = 2;

struct Factors {
  std::size_t k;
  Left a;
  RowsAt<const Scalar> b;
  RowsAt<Scalar> c;
  bool add;
};

// Not inlined, as pair_tile() is not.
template <std::size_t rows, std::size_t lanes, bool cut>
[[gnu::noinline]] void tile(const Factors& f, std::size_t i, std::size_t j, std::size_t last) {
  const Scalar* a[rows];
  Lane sum[rows][lanes], v[lanes];
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
    a[r] = f.a.data + f.a.rows[i + r];
    for (std::size_t l = 0; l < lanes; ++l) sum[r][l] = Lane(0);
  }
  const auto is_cut = [](std::size_t l) { return cut && l + 1 == lanes; };
  const Scalar* from = f.b.data + j;
  const std::size_t *columns = f.a.columns, *starts = f.b.starts;
  for (std::size_t t = 0, k = f.k; t < k; ++t) {
    const Scalar* b = from + starts[t];
    const std::size_t at = columns[t];
    for (std::size_t l = 0; l < lanes; ++l)
      v[l] = is_cut(l) ? load_some(b + l * kLane, last) : Lane::load_unaligned(b + l * kLane);
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r) {
      const Lane w(a[r][at]);
      for (std::size_t l = 0; l < lanes; ++l) sum[r][l] = xsimd::fma(w, v[l], sum[r][l]);
    }
  }
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
    Scalar* c = f.c.data + f.c.starts[i + r] + j;
    for (std::size_t l = 0; l < lanes; ++l, c += kLane) {
      if (is_cut(l))
        store_some(f.add ? load_some(c, last) + sum[r][l] : sum[r][l], c, last);
      else
        (f.add ? Lane::load_unaligned(c) + sum[r][l] : sum[r][l]).store_unaligned(c);
    }
  }
}

// A column of tiles: as many full ones as fit, then ever smaller ones.
template <std::size_t rows, std::size_t lanes, bool cut>
void tiles(const Factors& f, std::size_t i, std::size_t n, std::size_t j, std::size_t last) {
  for (; i + rows <= n; i += rows) tile<rows, lanes, cut>(f, i, j, last);
  if constexpr (rows > 1) tiles<rows / 2, lanes, cut>(f, i, n, j, last);
}

}  // namespace

void gather_gemm(std::size_t n, std::size_t m, std::size_t k, const Left& a,
                 const RowsAt<const Scalar>& b, const RowsAt<Scalar>& c, bool add) {
  if (k == 0) {  // the factors may not even be there
    if (!add)
      for (std::size_t i = 0; i < n; ++i) std::fill_n(c.data + c.starts[i], m, Scalar{0});
    return;
  }
  const Factors f{k, a, b, c, add};
  std::size_t j = 0;
  for (; j + kTileLanes * kLane <= m; j += kTileLanes * kLane)
    tiles<kTileRows, kTileLanes, false>(f, 0, n, j, 0);
  const std::size_t left = m - j;
  if (left > kLane)
    tiles<kTileRows, 2, true>(f, 0, n, j, left - kLane);
  else if (left == kLane)
    tiles<kTileRows, 1, false>(f, 0, n, j, 0);
  else if (left > 0)
    tiles<kTileRows, 1, true>(f, 0, n, j, left);
}

ARGTAPE_END
