#include "engine/random.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>

#include "engine/lanes.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
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
void even_uniforms(const std::uint32_t* words, std::size_t n, Scalar* out) {
  constexpr int bits = kDigits - 1;
  const auto step = static_cast<Scalar>(std::ldexp(1.0, -bits));
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) {
    const Bits b = bits_at(words, i, n) >> (8 * static_cast<int>(sizeof(Bits)) - bits);
    out[i] = (static_cast<Scalar>(b) + Scalar(0.5)) * step;
  }
}

// In (0, 1), fine near 0: there every bit of the word counts, so that the logarithm has an honest
// tail.
void fine_uniforms(const std::uint32_t* words, std::size_t n, Scalar* out) {
  const auto step = static_cast<Scalar>(std::ldexp(1.0, -8 * static_cast<int>(sizeof(Bits))));
  const Scalar below_one = 1 - std::numeric_limits<Scalar>::epsilon() / 2;
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) {
    const Scalar u = (static_cast<Scalar>(bits_at(words, i, n)) + Scalar(0.5)) * step;
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

void Rng::next_group(std::uint32_t* words) {
  constexpr std::size_t n = kGroup / 4;
  std::uint32_t c[4][n];
  const std::uint64_t first = position_++ * n;
  for (std::size_t i = 0; i < n; ++i) {
    c[0][i] = static_cast<std::uint32_t>(first + i);
    c[1][i] = static_cast<std::uint32_t>((first + i) >> 32);
    c[2][i] = static_cast<std::uint32_t>(stream_);
    c[3][i] = static_cast<std::uint32_t>(stream_ >> 32);
  }
  philox_rounds(c, static_cast<std::uint32_t>(seed_), static_cast<std::uint32_t>(seed_ >> 32));
  for (std::size_t w = 0; w < 4; ++w) std::copy(c[w], c[w] + n, words + w * n);
}

namespace {
// Fills `out` a group at a time with what numbers(words, n, to) makes of the words of one group.
template <class Next, class Numbers>
Tensor fill(const Shape& shape, std::size_t group, Next next, Numbers numbers) {
  Tensor out = uninitialised(shape);
  alignas(64) std::uint32_t words[64];
  alignas(64) Scalar last[64];
  const std::size_t per_group = group / kWords;
  for (std::size_t i = 0; i < out.size(); i += per_group) {
    next(words);
    const std::size_t left = out.size() - i;
    if (left >= per_group) {
      numbers(words, per_group, out.data() + i);
    } else {
      numbers(words, per_group, last);
      std::copy(last, last + left, out.data() + i);
    }
  }
  return out;
}
}  // namespace

Tensor Rng::uniform(const Shape& shape) {
  return fill(
      shape, kGroup, [this](std::uint32_t* w) { next_group(w); }, even_uniforms);
}

Tensor Rng::uniform(const Shape& shape, double low, double high) {
  if (!(low < high) || std::isinf(low) || std::isinf(high))
    throw std::invalid_argument("uniform: the interval is " + str(low) + ".." + str(high) +
                                "; need low < high, both finite");
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
  return fill(
      shape, kGroup, [this](std::uint32_t* w) { next_group(w); },
      [](const std::uint32_t* words, std::size_t n, Scalar* out) {
        alignas(64) Scalar u[64];
        fine_uniforms(words, n, u);
        const std::size_t half = n / 2;
        constexpr auto turn = static_cast<Scalar>(6.283185307179586477);
        for (std::size_t i = 0; i < half; i += kLane) {
          const Lane radius = xsimd::sqrt(Lane(-2) * lane_log(Lane::load_aligned(u + i)));
          const auto [sine, cosine] = xsimd::sincos(Lane(turn) * Lane::load_aligned(u + half + i));
          (radius * cosine).store_unaligned(out + i);
          (radius * sine).store_unaligned(out + half + i);
        }
      });
}

Tensor Rng::gumbel(const Shape& shape) {
  return fill(
      shape, kGroup, [this](std::uint32_t* w) { next_group(w); },
      [](const std::uint32_t* words, std::size_t n, Scalar* out) {
        // u and 1 - u are distributed alike; the second is fine where the Gumbel number is large.
        fine_uniforms(words, n, out);
        map_lanes(n, out, false, lane_gumbel, out);
      });
}

std::vector<std::size_t> Rng::categorical(const Tensor& logits) {
  const Shape& shape = logits.shape();
  if (shape.empty() || shape[shape.size() - 1] == 0)
    throw std::invalid_argument("categorical: logits are " + str(shape) +
                                "; need at least one category on the last axis");
  const std::size_t k = shape[shape.size() - 1], rows = logits.size() / k;
  const Tensor noise = gumbel(shape);
  std::vector<std::size_t> drawn(rows);
  for (std::size_t r = 0; r < rows; ++r) {
    const Scalar *l = logits.data() + r * k, *g = noise.data() + r * k;
    for (std::size_t i = 0; i < k; ++i) {
      if (std::isnan(l[i]))
        throw std::invalid_argument("categorical: logits have NaN in row " + std::to_string(r) +
                                    "; need numbers");
      if (l[i] + g[i] > l[drawn[r]] + g[drawn[r]]) drawn[r] = i;
    }
    if (l[drawn[r]] == -std::numeric_limits<Scalar>::infinity())
      throw std::invalid_argument("categorical: logits are all -inf in row " + std::to_string(r) +
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
  if (n == 0) throw std::invalid_argument("below: n is 0; need at least 1");
  std::uint32_t words[kGroup];
  next_group(words);
  return scaled(std::uint64_t{words[0]} << 32 | words[1], n);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
