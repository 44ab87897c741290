#include "engine/random.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "engine/require.hpp"
#include "engine/simd/functions.hpp"
#include "engine/system/parallel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr std::uint32_t kMultiply0 = 0xD2511F53u, kMultiply1 = 0xCD9E8D57u;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

// One round on `n` counters side by side; the loop becomes vector instructions.
template <std::size_t n>
void philox_rounds(std::uint32_t (&c)[4][n], std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint64_t p0 = std::uint64_t{kMultiply0} * c[0][i];
      const std::uint64_t p1 = std::uint64_t{kMultiply1} * c[2][i];
      c[0][i] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1][i] ^ k0;
      c[1][i] = static_cast<std::uint32_t>(p1);
      c[2][i] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3][i] ^ k1;
      c[3][i] = static_cast<std::uint32_t>(p0);
    }
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
}

// Bits of a Scalar's significand, and the words one number takes.
constexpr int kDigits = std::numeric_limits<Scalar>::digits;
constexpr std::size_t kWords = sizeof(Scalar) / sizeof(std::uint32_t);
constexpr std::size_t kGroup = 64, kCounters = kGroup / 4;  // words, and counters, of a group
constexpr std::size_t kNumbers = kGroup / kWords;           // that one group makes
using Bits = std::conditional_t<kWords == 1, std::uint32_t, std::uint64_t>;

Bits bits_at(const std::uint32_t* words, std::size_t i, std::size_t numbers) {
  if constexpr (kWords == 1) {
    static_cast<void>(numbers);
    return words[i];
  } else {
    return std::uint64_t{words[i]} << 32 | words[numbers + i];
  }
}

// In (0, 1) on an even grid. One bit less than the significand holds, so that the half step added
// keeps the last number below 1.
void even_uniforms(const std::uint32_t* words, Scalar* out) {
  constexpr int bits = kDigits - 1;
  const auto step = static_cast<Scalar>(std::ldexp(1.0, -bits));
#pragma omp simd
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const Bits b = bits_at(words, i, kNumbers) >> (8 * static_cast<int>(sizeof(Bits)) - bits);
    out[i] = (static_cast<Scalar>(b) + Scalar(0.5)) * step;
  }
}

// In (0, 1), fine near 0: there every bit of the word counts, so that the logarithm has an honest
// tail.
void fine_uniforms(const std::uint32_t* words, Scalar* out) {
  const auto step = static_cast<Scalar>(std::ldexp(1.0, -8 * static_cast<int>(sizeof(Bits))));
  const Scalar below_one = 1 - std::numeric_limits<Scalar>::epsilon() / 2;
#pragma omp simd
  for (std::size_t i = 0; i < kNumbers; ++i) {
    const Scalar u = (static_cast<Scalar>(bits_at(words, i, kNumbers)) + Scalar(0.5)) * step;
    out[i] = u < below_one ? u : below_one;
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  std::uint32_t c[4][1] = {{counter[0]}, {counter[1]}, {counter[2]}, {counter[3]}};
  philox_rounds(c, key[0], key[1]);
  return {c[0][0], c[1][0], c[2][0], c[3][0]};
}

namespace {

// The words of one group: word w of counter i stands at w * kCounters + i.
#if defined(__AVX512F__)
// A word in the lower half of a 64-bit lane, where the multiplication wants it; what the upper half
// holds it does not see. Even counters in one register, odd ones in another.
void group_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t group,
                 std::uint32_t* words) {
  const __m512i lanes = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  __m512i c[2][4];
  for (int odd = 0; odd < 2; ++odd) {
    c[odd][0] =
        _mm512_add_epi64(_mm512_set1_epi64(static_cast<long long>(group * kCounters) + odd), lanes);
    c[odd][1] = _mm512_srli_epi64(c[odd][0], 32);
    c[odd][2] = _mm512_set1_epi64(static_cast<long long>(stream));
    c[odd][3] = _mm512_set1_epi64(static_cast<long long>(stream >> 32));
  }
  const __m512i m0 = _mm512_set1_epi64(kMultiply0), m1 = _mm512_set1_epi64(kMultiply1);
  __m512i k0 = _mm512_set1_epi64(static_cast<long long>(seed & 0xffffffffu)),
          k1 = _mm512_set1_epi64(static_cast<long long>(seed >> 32));
  const __m512i w0 = _mm512_set1_epi64(kWeyl0), w1 = _mm512_set1_epi64(kWeyl1);
  constexpr int exclusive_or = 0x96;  // of three
  for (int round = 0; round < 10; ++round) {
    for (auto& x : c) {
      const __m512i p0 = _mm512_mul_epu32(m0, x[0]), p1 = _mm512_mul_epu32(m1, x[2]);
      x[0] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), x[1], k0, exclusive_or);
      x[1] = p1;
      x[2] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), x[3], k1, exclusive_or);
      x[3] = p0;
    }
    k0 = _mm512_add_epi64(k0, w0);
    k1 = _mm512_add_epi64(k1, w1);
  }
  for (std::size_t w = 0; w < 4; ++w)
    _mm512_storeu_si512(words + w * kCounters,
                        _mm512_mask_blend_epi32(0xaaaa, c[0][w], _mm512_slli_epi64(c[1][w], 32)));
}
#else
void group_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t group,
                 std::uint32_t* words) {
  std::uint32_t c[4][kCounters];
  const std::uint64_t first = group * kCounters;
  for (std::size_t i = 0; i < kCounters; ++i) {
    c[0][i] = static_cast<std::uint32_t>(first + i);
    c[1][i] = static_cast<std::uint32_t>((first + i) >> 32);
    c[2][i] = static_cast<std::uint32_t>(stream);
    c[3][i] = static_cast<std::uint32_t>(stream >> 32);
  }
  philox_rounds(c, static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
  for (std::size_t w = 0; w < 4; ++w) std::copy(c[w], c[w] + kCounters, words + w * kCounters);
}
#endif

// n numbers, a group at a time, from what numbers(words, to) makes of the words of one group.
template <class Numbers>
void fill(std::uint64_t seed, std::uint64_t stream, std::uint64_t group, std::size_t n, Scalar* out,
          Numbers numbers) {
  parallel_for(n, kGrain, [&](std::size_t begin, std::size_t end) {
    alignas(64) std::uint32_t words[kGroup];
    alignas(64) Scalar last[kNumbers];
    for (std::size_t i = begin; i < end; i += kNumbers) {
      group_words(seed, stream, group + i / kNumbers, words);
      if (end - i >= kNumbers) {
        numbers(words, out + i);
      } else {
        numbers(words, last);
        std::copy(last, last + (end - i), out + i);
      }
    }
  });
}

}  // namespace

template <class Numbers>
Tensor Rng::draw(const Shape& shape, Numbers numbers) {
  Tensor out = uninitialised(shape);
  fill(seed_, stream_, position_, out.size(), out.data(), numbers);
  position_ += (out.size() + kNumbers - 1) / kNumbers;
  return out;
}

void Rng::next_group(std::uint32_t* words) { group_words(seed_, stream_, position_++, words); }

Tensor Rng::uniform(const Shape& shape) { return draw(shape, even_uniforms); }

Tensor Rng::uniform(const Shape& shape, double low, double high) {
  if (!(low < high) || std::isinf(low) || std::isinf(high))
    refuse("uniform: the interval is ", low, "..", high, "; need low < high, both finite");
  Tensor u = uniform(shape);
  const auto a = static_cast<Scalar>(low), b = static_cast<Scalar>(high);
  // Rounding may reach the ends, which are not in the interval.
  const Lane least(std::nextafter(a, b)), most(std::nextafter(b, a));
  map_lanes(
      u.size(), u.data(), false,
      [=](Lane x) {
        return xsimd::min(xsimd::max(Lane(a) + (Lane(b) - Lane(a)) * x, least), most);
      },
      u.data());
  return u;
}

Tensor Rng::normal(const Shape& shape) {
  return draw(shape, [](const std::uint32_t* words, Scalar* out) {
    alignas(64) Scalar u[kNumbers];
    fine_uniforms(words, u);
    constexpr std::size_t half = kNumbers / 2;
    constexpr auto turn = static_cast<Scalar>(6.283185307179586477);
    for (std::size_t i = 0; i < half; i += kLane) {
      const Lane radius = lane_sqrt(Lane(-2) * lane_log(Lane::load_aligned(u + i)));
      const auto [sine, cosine] = xsimd::sincos(Lane(turn) * Lane::load_aligned(u + half + i));
      (radius * cosine).store_unaligned(out + i);
      (radius * sine).store_unaligned(out + half + i);
    }
  });
}

Tensor Rng::gumbel(const Shape& shape) {
  return draw(shape, [](const std::uint32_t* words, Scalar* out) {
    // u and 1 - u are distributed alike; the second is fine where the Gumbel number is large.
    fine_uniforms(words, out);
    map_lanes(kNumbers, out, false, lane_gumbel, out);
  });
}

std::vector<std::size_t> Rng::categorical(const Tensor& logits) {
  const Shape& shape = logits.shape();
  if (shape.empty() || shape[shape.size() - 1] == 0)
    refuse("categorical: logits are ", shape, "; need at least one category on the last axis");
  const std::size_t k = shape[shape.size() - 1], rows = logits.size() / k;
  const Tensor noise = gumbel(shape);
  std::vector<std::size_t> drawn(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const Scalar *l = logits.data() + r * k, *g = noise.data() + r * k;
    for (std::size_t i = 0; i < k; ++i) {
      if (std::isnan(l[i])) refuse("categorical: logits have NaN in row ", r, "; need numbers");
      if (l[i] + g[i] > l[drawn[r]] + g[drawn[r]]) drawn[r] = i;
    }
    if (l[drawn[r]] == -std::numeric_limits<Scalar>::infinity())
      refuse("categorical: logits are all -inf in row ", r,
             "; need at least one possible category");
  }
  return drawn;
}

namespace {
// A word stretched to 0..n-1; the bias of at most n / 2^64 is beyond measure.
std::size_t scaled(std::uint64_t word, std::size_t n) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::size_t>(Wide{word} * n >> 64);
}
}  // namespace

std::vector<std::size_t> Rng::permutation(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::uint32_t words[kGroup];
  std::size_t used = kGroup;
  for (std::size_t i = n; i > 1; --i) {
    if (used == kGroup) {
      next_group(words);
      used = 0;
    }
    const std::uint64_t word = std::uint64_t{words[used]} << 32 | words[used + 1];
    used += 2;
    std::swap(order[i - 1], order[scaled(word, i)]);
  }
  return order;
}

std::size_t Rng::below(std::size_t n) {
  if (n == 0) refuse("below: n is 0; need at least 1");
  std::uint32_t words[kGroup];
  next_group(words);
  return scaled(std::uint64_t{words[0]} << 32 | words[1], n);
}

ARGTAPE_END
