// Sums over two rows at a time, sum_t term(a_i[t], b_j[t]), for all pairs of rows. For the
// library's own .cpp files.
#pragma once

#include "../../engine/simd/lane.hpp"

ARGTAPE_PRIVATE_BEGIN

// A tile of the sums stays in registers while t goes by: so many rows by a few columns.
#if defined(__AVX512F__)
constexpr std::size_t kTileRows = 8;  // 32 registers
#else
constexpr std::size_t kTileRows = 4;
#endif

// x, in a register: gcc 12 would read it from memory again, for each row.
inline Lane kept(Lane x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x.data));
#endif
  return x;
}

// Inlined beside one another the tiles would not have registers enough for their pointers.
template <std::size_t rows, std::size_t columns, class F>
[[gnu::noinline]] void pair_tile(const F& f, std::size_t i, std::size_t j) {
  const Scalar *a[rows], *b[columns];
  Lane sum[rows][columns];
  for (std::size_t c = 0; c < columns; ++c) b[c] = f.b(j + c);
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r) {
    a[r] = f.a(i + r);
    for (std::size_t c = 0; c < columns; ++c) sum[r][c] = Lane(0);
  }
  const auto add = [&](auto load) {
    Lane v[columns];
    for (std::size_t c = 0; c < columns; ++c) v[c] = kept(load(b[c]));
#pragma GCC unroll 8
    for (std::size_t r = 0; r < rows; ++r) {
      const Lane w = load(a[r]);
      for (std::size_t c = 0; c < columns; ++c) sum[r][c] = F::term(w, v[c], sum[r][c]);
    }
  };
  std::size_t t = 0;
  for (; t + kLane <= f.length; t += kLane)
    add([t](const Scalar* p) { return Lane::load_unaligned(p + t); });
  if (t < f.length) add([&](const Scalar* p) { return load_some(p + t, f.length - t); });
#pragma GCC unroll 8
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t c = 0; c < columns; ++c) f.put(i + r, j + c, sum[r][c]);
}

/// f.put(i, j, sum of F::term(a, b, sum so far) over lanes of the rows f.a(i) and f.b(j), of
/// f.length numbers each) for begin <= i < end and j < m, in tiles of F::kRows by F::kColumns.
template <class F, std::size_t rows = F::kRows>
void pair_sums(const F& f, std::size_t begin, std::size_t end, std::size_t m) {
  std::size_t i = begin;
  for (; i + rows <= end; i += rows) {
    std::size_t j = 0;
    for (; j + F::kColumns <= m; j += F::kColumns) pair_tile<rows, F::kColumns>(f, i, j);
    for (; j < m; ++j) pair_tile<rows, 1>(f, i, j);
  }
  if constexpr (rows > 1) pair_sums<F, rows / 2>(f, i, end, m);
}

ARGTAPE_END
