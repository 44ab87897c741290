#include "engine/random.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "engine/refuse_row.hpp"
#include "engine/require.hpp"
#include "engine/simd/functions.hpp"
#include "engine/system/parallel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr std::uint32_t kMultiply0 = 0xD2511F53u, kMultiply1 = 0xCD9E8D57u;
constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;

// Words in the lower halves of 64-bit numbers, where the multiplication wants them: what the upper
// halves hold it does not see. (Left to compilers, it is one of all 64 bits.)
typedef std::uint64_t Wide __attribute__((vector_size(sizeof(Lane))));
Wide multiply(Wide x, std::uint32_t y) {
#if defined(__AVX512F__)
  return (Wide)_mm512_mul_epu32((__m512i)x, _mm512_set1_epi64(y));
#elif defined(__AVX2__)
  return (Wide)_mm256_mul_epu32((__m256i)x, _mm256_set1_epi64x(y));
#elif defined(__SSE2__) && !defined(__AVX__)
  return (Wide)_mm_mul_epu32((__m128i)x, _mm_set1_epi64x(y));
#else
  return (x & 0xffffffffu) * y;
#endif
}

template <std::size_t n>
void philox_rounds(Wide (&c)[n][4], std::uint64_t key) {
  std::uint64_t k0 = key & 0xffffffffu, k1 = key >> 32;
  for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1)
    for (auto& x : c) {
      const Wide p0 = multiply(x[0], kMultiply0), p1 = multiply(x[2], kMultiply1);
      x[0] = (p1 >> 32) ^ x[1] ^ k0;
      x[1] = p1;
      x[2] = (p0 >> 32) ^ x[3] ^ k1;
      x[3] = p0;
    }
}

// The words one number takes.
constexpr std::size_t kWords = sizeof(Scalar) / sizeof(std::uint32_t);
constexpr std::size_t kGroup = 64, kCounters = kGroup / 4;  // words, and counters, of a group
constexpr std::size_t kNumbers = kGroup / kWords;           // that one group makes
using Bits = std::conditional_t<kWords == 1, std::uint32_t, std::uint64_t>;

// In (0, 1), from so many of each word's bits. With one bit less than the significand holds they
// are an even grid, whose last number the half step added keeps below 1. With all of them they are
// fine near 0, so that the logarithm has an honest tail.
constexpr int kAll = 8 * static_cast<int>(sizeof(Bits)),
              kEven = std::numeric_limits<Scalar>::digits - 1;
template <int bits>
void uniforms(const std::uint32_t* words, Scalar* out) {
  const auto step = static_cast<Scalar>(std::ldexp(1.0, -bits));
  const Scalar below_one = 1 - std::numeric_limits<Scalar>::epsilon() / 2;
#pragma omp simd
  for (std::size_t i = 0; i < kNumbers; ++i) {
    Bits b = words[i];
    if (kWords == 2) b = static_cast<Bits>(std::uint64_t{b} << 32 | words[kNumbers + i]);
    const Scalar u = (static_cast<Scalar>(b >> (kAll - bits)) + Scalar(0.5)) * step;
    out[i] = u < below_one ? u : below_one;
  }
}

// The words of one group: word w of counter i stands at w * kCounters + i. Even counters are in one
// vector, odd ones in another.
void group_words(std::uint64_t seed, std::uint64_t stream, std::uint64_t group,
                 std::uint32_t* words) {
  constexpr std::size_t lanes = sizeof(Wide) / sizeof(std::uint64_t);
  for (std::size_t at = 0; at < kCounters; at += 2 * lanes) {
    Wide c[2][4];
    for (std::size_t odd : {0u, 1u}) {
      for (std::size_t i = 0; i < lanes; ++i) c[odd][0][i] = group * kCounters + at + 2 * i + odd;
      c[odd][1] = c[odd][0] >> 32;
      c[odd][2] = Wide{} + stream;
      c[odd][3] = Wide{} + (stream >> 32);
    }
    philox_rounds(c, seed);
    for (std::size_t w = 0; w < 4; ++w) {
      const Wide both = (c[0][w] & 0xffffffffu) | c[1][w] << 32;
      std::memcpy(words + w * kCounters + at, &both, sizeof both);
    }
  }
}

// A word stretched to 0..n-1; the bias of at most n / 2^64 is beyond measure.
std::size_t stretched(const std::uint32_t* words, std::size_t n) {
  __extension__ using Wider = unsigned __int128;
  const std::uint64_t word = std::uint64_t{words[0]} << 32 | words[1];
  return static_cast<std::size_t>(Wider{word} * n >> 64);
}

}  // namespace

std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key) {
  Wide c[1][4];
  for (std::size_t w = 0; w < 4; ++w) c[0][w] = Wide{} + counter[w];
  philox_rounds(c, std::uint64_t{key[1]} << 32 | key[0]);
  for (std::size_t w = 0; w < 4; ++w) counter[w] = static_cast<std::uint32_t>(c[0][w][0]);
  return counter;
}

// Numbers from what numbers(words, to) makes of the words of one group, a group at a time.
template <class Numbers>
Tensor Rng::draw(const Shape& shape, Numbers numbers) {
  const OneThread::Hold hold(one_thread_, "rng");
  Tensor out = uninitialised(shape);
  // A number takes far more than a few instructions.
  parallel_for(out.size(), kGrain / 4, [&](std::size_t begin, std::size_t end) {
    alignas(64) std::uint32_t words[kGroup];
    alignas(64) Scalar last[kNumbers];
    for (std::size_t i = begin; i < end; i += kNumbers) {
      group_words(seed_, stream_, position_ + i / kNumbers, words);
      Scalar* to = out.data() + i;
      numbers(words, end - i < kNumbers ? last : to);
      if (end - i < kNumbers) std::copy(last, last + (end - i), to);
    }
  });
  position_ += (out.size() + kNumbers - 1) / kNumbers;
  return out;
}

Tensor Rng::uniform(const Shape& shape) { return draw(shape, uniforms<kEven>); }

Tensor Rng::uniform(const Shape& shape, double low, double high) {
  const auto a = static_cast<Scalar>(low), b = static_cast<Scalar>(high);
  require(low < high && std::isfinite(a) && std::isfinite(b), "uniform: the interval is ", low,
          "..", high, "; need low < high, both finite");
  // Rounding may reach the ends, which are not in the interval.
  const Scalar least = std::nextafter(a, b), most = std::nextafter(b, a);
  require(least < b, "uniform: no number lies inside of ", str(Tensor{a, b}, 17),
          "; need a wider interval");
  // Halves, of which the difference is finite.
  const Scalar scale = std::isinf(b - a) ? Scalar(0.5) : Scalar(1);
  return draw(shape, [=](const std::uint32_t* words, Scalar* out) {
    uniforms<kEven>(words, out);
    map_lanes(
        kNumbers, out, false,
        [=](Lane x) {
          const Lane y = Lane(a * scale) + (Lane(b * scale) - Lane(a * scale)) * x;
          return xsimd::min(xsimd::max(y * Lane(1 / scale), Lane(least)), Lane(most));
        },
        out);
  });
}

Tensor Rng::normal(const Shape& shape) {
  return draw(shape, [](const std::uint32_t* words, Scalar* out) {
    alignas(64) Scalar u[kNumbers];
    uniforms<kAll>(words, u);
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
    uniforms<kAll>(words, out);
    map_lanes(
        kNumbers, out, false, [](Lane u) { return lane_gumbel(u); }, out);
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
    const Scalar largest = *std::max_element(l, l + k);
    if (!std::isfinite(largest) || std::any_of(l, l + k, [](Scalar v) { return std::isnan(v); }))
      refuse_row("categorical", logits, r);
    // A large number that a row has in common would swallow the noise.
    const auto perturbed = [&](std::size_t i) { return l[i] - largest + g[i]; };
    for (std::size_t i = 0; i < k; ++i)
      if (perturbed(i) > perturbed(drawn[r])) drawn[r] = i;
  }
  return drawn;
}

std::vector<std::size_t> Rng::permutation(std::size_t n) {
  const OneThread::Hold hold(one_thread_, "rng");
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::uint32_t words[kGroup];
  std::size_t used = kGroup;
  for (std::size_t i = n; i > 1; --i, used += 2) {
    if (used == kGroup) {
      group_words(seed_, stream_, position_++, words);
      used = 0;
    }
    std::swap(order[i - 1], order[stretched(words + used, i)]);
  }
  return order;
}

std::size_t Rng::below(std::size_t n) {
  require(n > 0, "below: n is 0; need at least 1");
  const OneThread::Hold hold(one_thread_, "rng");
  std::uint32_t words[kGroup];
  group_words(seed_, stream_, position_++, words);
  return stretched(words, n);
}

ARGTAPE_END
