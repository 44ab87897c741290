// Random numbers from a counter: the number at a place of the stream depends on the seed and the
// place alone, so that a run repeats whatever the thread count or the width of the machine's
// registers.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "system/one_thread.hpp"
#include "tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Philox4x32-10 of J. Salmon, M. Moraes, R. Dror and D. Shaw, "Parallel random numbers: as easy as
/// 1, 2, 3" (SC 2011): four random words from a counter and a key.
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter,
                                    std::array<std::uint32_t, 2> key);

/// A stream of random numbers. Its whole state is the seed, the position and the number of the
/// stream, for a checkpoint to keep; streams of the same seed and another number are independent.
/// Each has 2^60 positions of 64 words, after which it begins anew.
/// Threads that draw at once have an Rng each, Rng(seed, 0, number): one that two of them draw from
/// refuses the second with std::logic_error. A step that throws may have drawn: one that is to be
/// made again draws from a copy.
class Rng {
 public:
  Rng() = delete;  // its seed is given, so that a run can be repeated: Rng rng(1)
  explicit Rng(std::uint64_t seed, std::uint64_t position = 0, std::uint64_t stream = 0)
      : seed_(seed), position_(position), stream_(stream) {}

  /// Uniform in the open interval (0, 1).
  Tensor uniform(const Shape& shape);
  /// Uniform in (low, high). Throws std::invalid_argument unless low < high, both finite, and a
  /// Scalar lies between them.
  Tensor uniform(const Shape& shape, double low, double high);
  /// Normal with mean 0 and variance 1 (Box-Muller).
  Tensor normal(const Shape& shape);
  /// Standard Gumbel, -log(-log u). In float its values lie in [-2.9, 22.9], in double in
  /// [-3.7, 44.4].
  Tensor gumbel(const Shape& shape);
  /// For each row of logits (..., K) the index k, with probability softmax(logits)_k; -inf is an
  /// impossible category. Throws std::invalid_argument, naming the row, for NaN, +inf or no
  /// possible category.
  std::vector<std::size_t> categorical(const Tensor& logits);
  /// 0..n-1 in random order, each order equally likely.
  std::vector<std::size_t> permutation(std::size_t n);
  /// A random integer in 0..n-1. Throws std::invalid_argument for n = 0.
  std::size_t below(std::size_t n);

  std::uint64_t seed() const { return seed_; }
  std::uint64_t position() const { return position_; }
  std::uint64_t stream() const { return stream_; }

 private:
  // Words come in groups, those of 16 counters; a call always starts with a fresh group.
  template <class Numbers>
  Tensor draw(const Shape& shape, Numbers numbers);

  std::uint64_t seed_, position_, stream_;
  OneThread one_thread_;
};

ARGTAPE_END
