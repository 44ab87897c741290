#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/random.hpp"
#include "engine/threads.hpp"

using namespace argtape;

namespace {

struct Moments {
  double mean = 0, variance = 0;
  explicit Moments(const Tensor& t) {
    const double n = static_cast<double>(t.size());
    for (Scalar x : t) mean += static_cast<double>(x) / n;
    for (Scalar x : t)
      variance += (static_cast<double>(x) - mean) * (static_cast<double>(x) - mean) / n;
  }
};

// Largest distance between the empirical distribution and the true one, times sqrt(n): above 1.95
// with probability 0.001.
template <class F>
double kolmogorov_smirnov(Tensor t, F cdf) {
  std::sort(t.begin(), t.end());
  double worst = 0;
  const double n = static_cast<double>(t.size());
  for (std::size_t i = 0; i < t.size(); ++i) {
    const double p = cdf(static_cast<double>(t.data()[i])), k = static_cast<double>(i);
    worst = std::max({worst, std::abs(p - k / n), std::abs(p - (k + 1) / n)});
  }
  return worst * std::sqrt(n);
}

constexpr std::size_t kMany = 200000;

}  // namespace

TEST_CASE("philox gives the published words") {
  using Words = std::array<std::uint32_t, 4>;
  constexpr std::uint32_t all = 0xffffffffu;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) == Words{0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u});
  CHECK(philox({all, all, all, all}, {all, all}) ==
        Words{0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu});
  CHECK(philox({0x243f6a88u, 0x85a308d3u, 0x13198a2eu, 0x03707344u}, {0xa4093822u, 0x299f31d0u}) ==
        Words{0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u});
}

TEST_CASE("the first numbers of a stream are philox's words, whatever is drawn after them") {
  for (const std::uint64_t position : {std::uint64_t{0}, (std::uint64_t{1} << 59) + 3}) {
    Rng rng(0x0123456789abcdefull, position, 0x500000002ull);
    const Tensor u = rng.uniform({3});
    for (std::uint64_t i = 0; i < 3; ++i) {
      const std::uint64_t counter = 16 * position + i;  // 64 words are those of 16 counters
      const auto words = philox(
          {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 2, 5},
          {0x89abcdefu, 0x01234567u});
      CHECK(u.data()[i] == (static_cast<float>(words[0] >> 9) + 0.5f) * std::ldexp(1.0f, -23));
    }
  }
  // below(n): n times the first two as one, over 2^64.
  const auto word = [](std::uint32_t i) {
    return std::uint64_t{philox({i, 0, 0, 0}, {0x89abcdefu, 0x01234567u})[0]};
  };
  const std::uint64_t n = 1000003;
  CHECK(Rng(0x0123456789abcdefull).below(n) == (word(0) * n + (word(1) * n >> 32)) >> 32);
}

TEST_CASE("a seed and a position give the stream back; other seeds give others") {
  Rng a(7);
  a.normal({100});
  Rng b(a.seed(), a.position());
  CHECK(identical(a.gumbel({1000}), b.gumbel({1000})));
  CHECK_FALSE(identical(Rng(7).uniform({10}), Rng(8).uniform({10})));
  // The beginning of a long draw is that of a short one.
  const Tensor many = Rng(7).gumbel({1000}), few = Rng(7).gumbel({130});
  CHECK(std::equal(few.begin(), few.end(), many.begin()));
}

TEST_CASE("the same seed draws the same numbers, whatever the thread count") {
  const auto draw = [](int n) {
    set_threads(n);
    Rng rng(7);
    const std::vector<Tensor> all = {rng.uniform({100003}), rng.normal({100003}),
                                     rng.gumbel({100003})};
    set_threads(1);
    return all;
  };
  const std::vector<Tensor> one = draw(1), two = draw(2);
  for (std::size_t i = 0; i < one.size(); ++i) CHECK(identical(one[i], two[i]));
}

TEST_CASE("streams of one seed differ") {
  CHECK_FALSE(identical(Rng(7).uniform({100}), Rng(7, 0, 1).uniform({100})));
}

TEST_CASE("noise lies in the open interval, and uniforms are uniform") {
  const Tensor u = Rng(1).uniform({kMany});
  CHECK(*std::min_element(u.begin(), u.end()) > 0);
  CHECK(*std::max_element(u.begin(), u.end()) < 1);
  CHECK(kolmogorov_smirnov(u, [](double x) { return x; }) < 1.95);
  const Tensor v = Rng(1).uniform({1000}, -3, -1);
  const Tensor narrow = Rng(1).uniform({1000000}, 1, 1.001);
  CHECK(*std::min_element(narrow.begin(), narrow.end()) > 1);
  CHECK(*std::max_element(narrow.begin(), narrow.end()) < 1.001f);
  CHECK(*std::min_element(v.begin(), v.end()) > -3);
  CHECK(*std::max_element(v.begin(), v.end()) < -1);
  CHECK_THROWS_WITH_AS(Rng(1).uniform({2}, 1, 1),
                       "uniform: the interval is 1..1; need low < high, both finite",
                       std::invalid_argument);
}

TEST_CASE("uniforms over the whole range, and between neighbours") {
  const Tensor wide = Rng(1).uniform({kMany}, -3e38, 3e38);
  CHECK(kolmogorov_smirnov(wide, [](double x) { return (x / 3e38 + 1) / 2; }) < 1.95);
  const Tensor one = Rng(1).uniform({100}, 16777216, 16777220);
  for (Scalar x : one) CHECK(x == 16777218);
  CHECK_THROWS_WITH_AS(Rng(1).uniform({2}, 16777216, 16777218),
                       "uniform: no number lies inside of {16777216, 16777218}; need a wider "
                       "interval",
                       std::invalid_argument);
  CHECK_THROWS_AS(Rng(1).uniform({2}, 1, 1 + 1e-9), std::invalid_argument);
  CHECK_THROWS_AS(Rng(1).uniform({2}, 0, 1e39), std::invalid_argument);
}

TEST_CASE("normals are normal, and neighbours are uncorrelated") {
  const Tensor x = Rng(2).normal({kMany});
  CHECK(kolmogorov_smirnov(x, [](double v) { return 0.5 * std::erfc(-v / std::sqrt(2.0)); }) <
        1.95);
  const Moments m(x);
  CHECK(std::abs(m.mean) < 4 / std::sqrt(kMany));
  CHECK(std::abs(m.variance - 1) < 4 * std::sqrt(2.0 / kMany));
  for (std::size_t lag : {std::size_t{1}, std::size_t{16}, std::size_t{32}, std::size_t{64}}) {
    double sum = 0;
    for (std::size_t i = lag; i < x.size(); ++i)
      sum += static_cast<double>(x.data()[i]) * static_cast<double>(x.data()[i - lag]);
    CAPTURE(lag);
    CHECK(std::abs(sum / static_cast<double>(x.size())) < 4 / std::sqrt(kMany));
  }
}

TEST_CASE("Gumbel numbers are those of the stream's words, to float's precision") {
  const Tensor g = Rng(11).gumbel({64});
  for (std::uint32_t block = 0; block < 16; ++block) {
    const auto words = philox({block, 0, 0, 0}, {11, 0});
    for (std::size_t w = 0; w < 4; ++w) {
      const double u = (static_cast<double>(words[w]) + 0.5) * std::ldexp(1.0, -32);
      const double expected = -std::log(-std::log1p(-u)),
                   found = static_cast<double>(g(w * 16 + block));
      CHECK(std::abs(found - expected) <= 1e-6 * (1 + std::abs(expected)) + 2e-7 / (1 - u));
    }
  }
}

TEST_CASE("Gumbel numbers have Gumbel's distribution, also in the tail") {
  const Tensor g = Rng(3).gumbel({kMany});
  CHECK(kolmogorov_smirnov(g, [](double v) { return std::exp(-std::exp(-v)); }) < 1.95);
  const Moments m(g);
  CHECK(std::abs(m.mean - 0.5772156649) < 4 * 1.2825 / std::sqrt(kMany));
  CHECK(std::abs(m.variance - 1.6449340668) < 4 * std::sqrt(4.4 * 1.645 * 1.645 / kMany));
  for (Scalar x : g) REQUIRE(std::isfinite(x));
  // 20 million draws: beyond 12 lie 20e6 (1 - exp(-e^-12)) = 122.9 on average, beyond 14.5
  // lie 10.1. Noise patched with an epsilon, or cut at 24 bits, misses these or makes far too many.
  Rng rng(4);
  double beyond_12 = 0, beyond_14 = 0, largest = 0;
  for (int i = 0; i < 20; ++i)
    for (Scalar x : rng.gumbel({1000000})) {
      beyond_12 += x > 12;
      beyond_14 += x > Scalar(14.5);
      largest = std::max(largest, static_cast<double>(x));
    }
  CHECK(std::abs(beyond_12 - 122.9) < 4 * std::sqrt(122.9));
  CHECK(std::abs(beyond_14 - 10.1) < 4 * std::sqrt(10.1));
  CHECK(largest < 24);
}

TEST_CASE("categorical draws come with the softmax's frequencies (chi-square)") {
  const std::vector<double> p = {0.05, 0.1, 0.15, 0.3, 0.4};
  Tensor logits = zeros({kMany, 5});
  for (std::size_t i = 0; i < logits.size(); ++i)
    logits.data()[i] = static_cast<Scalar>(std::log(p[i % 5]) + 3);
  std::vector<double> count(5);
  for (std::size_t k : Rng(5).categorical(logits)) ++count[k];
  double chi = 0;
  for (std::size_t k = 0; k < 5; ++k) {
    const double expected = p[k] * static_cast<double>(kMany);
    chi += (count[k] - expected) * (count[k] - expected) / expected;
  }
  CHECK(chi < 18.47);  // exceeded with probability 0.001, 4 degrees of freedom
  const Tensor noise = Rng(5).gumbel({4, 5});  // the same draws, by the Gumbel-max trick
  const std::vector<std::size_t> drawn = Rng(5).categorical(zeros({4, 5}));
  for (std::size_t r = 0; r < 4; ++r) {
    const Scalar* g = noise.data() + 5 * r;
    CHECK(drawn[r] == static_cast<std::size_t>(std::max_element(g, g + 5) - g));
  }
  const Scalar nan = std::numeric_limits<Scalar>::quiet_NaN();
  const Scalar inf = std::numeric_limits<Scalar>::infinity();
  CHECK(Rng(1).categorical(Tensor{{-inf, 1}, {-5, -inf}}) == std::vector<std::size_t>{1, 0});
  CHECK_THROWS_WITH_AS(Rng(1).categorical(Tensor{{1, 2}, {inf, 0}}),
                       "categorical: logits have +inf in row 1; need numbers",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(Rng(1).categorical(Tensor{{1, 2}, {1, nan}}),
                       "categorical: logits have NaN in row 1; need numbers",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      Rng(1).categorical(full({2, 2}, -std::numeric_limits<double>::infinity())),
      "categorical: logits are all -inf in row 0; need at least one possible category",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      Rng(1).categorical(zeros({2, 0})),
      "categorical: logits are (2, 0); need at least one category on the last axis",
      std::invalid_argument);
}

TEST_CASE("permutations are permutations, each order equally likely") {
  Rng rng(6);
  for (std::size_t n : {std::size_t{0}, std::size_t{1}, std::size_t{2}, std::size_t{100}}) {
    std::vector<std::size_t> p = rng.permutation(n);
    std::sort(p.begin(), p.end());
    for (std::size_t i = 0; i < n; ++i) CHECK(p[i] == i);
  }
  std::vector<double> count(6);
  for (int i = 0; i < 60000; ++i) {
    const std::vector<std::size_t> p = rng.permutation(3);
    ++count[p[0] * 2 + (p[1] > p[2])];
  }
  double chi = 0;
  for (double c : count) chi += (c - 10000) * (c - 10000) / 10000;
  CHECK(chi < 20.52);  // 5 degrees of freedom
  std::vector<double> low(7);
  for (int i = 0; i < 70000; ++i) ++low[rng.below(7)];
  chi = 0;
  for (double c : low) chi += (c - 10000) * (c - 10000) / 10000;
  CHECK(chi < 22.46);
  CHECK_THROWS_WITH_AS(rng.below(0), "below: n is 0; need at least 1", std::invalid_argument);
}
