// What a random case decides (tests/properties/falsified.hpp), in shapes and numbers.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "engine/tensor.hpp"
#include "tests/properties/falsified.hpp"

/// What a case decides, one thing after the other.
class Draws {
 public:
  using Scalar = argtape::Scalar;
  using Tensor = argtape::Tensor;
  using Shape = argtape::Shape;
  using Limits = std::numeric_limits<Scalar>;

  explicit Draws(const Decisions& decisions) : decisions_(decisions) {}

  /// A number in 0..n-1 that falls with the decision.
  std::size_t below(std::size_t n) { return next() * n >> 16; }
  bool often() { return below(4) != 0; }
  bool rarely() { return below(8) == 7; }
  template <class T>
  T one_of(std::initializer_list<T> all) {
    return all.begin()[below(all.size())];
  }

  /// A multiple of 1 / parts in [-most, most].
  Scalar fraction(std::size_t parts, std::size_t most) {
    const std::size_t n = below(2 * parts * most + 1), half = (n + 1) / 2;
    const Scalar size = static_cast<Scalar>(half) / static_cast<Scalar>(parts);
    return n % 2 == 0 ? size : -size;
  }
  /// Any digits, in (-1, 1).
  Scalar digits() {
    const std::uint64_t high = next(), middle = next(), low = next();
    const Scalar size = std::ldexp(static_cast<Scalar>(high << 31 | middle << 15 | low >> 1), -47);
    return low % 2 == 0 ? size : -size;
  }
  /// Quarters, of which many are equal, and numbers with all digits; now and then a small or large
  /// one.
  Scalar number() {
    const std::size_t kind = below(8);
    if (kind < 4) return fraction(4, 3);
    if (kind < 7) return 3 * digits();
    const int exponent = static_cast<int>(below(33)) - 16;
    return std::ldexp(digits(), exponent);
  }
  /// The ends of the range, infinities and NaN among them.
  Scalar any_number() {
    if (below(3) < 2) return number();
    return one_of<Scalar>({0, Scalar(-0.0), 1, -1, Limits::max(), -Limits::max(), Limits::min(),
                           Limits::denorm_min(), Limits::infinity(), -Limits::infinity(),
                           Limits::quiet_NaN()});
  }

  template <class F>
  Tensor filled(const Shape& shape, F number) {
    Tensor t(shape);
    for (Scalar& v : t) v = number();
    return t;
  }
  Tensor numbers(const Shape& shape) {
    return filled(shape, [&] { return number(); });
  }
  Tensor any_numbers(const Shape& shape) {
    return filled(shape, [&] { return any_number(); });
  }
  /// From `least` on, above 0.
  Tensor positive(const Shape& shape, double least) {
    return filled(shape, [&] { return std::abs(number()) + static_cast<Scalar>(least); });
  }
  /// Multiples of 1 / parts, whose sums are exact.
  Tensor fractions(const Shape& shape, std::size_t parts, std::size_t most) {
    return filled(shape, [&] { return fraction(parts, most); });
  }
  /// To weigh numbers with; of some nothing arrives.
  Tensor weights(const Shape& shape) {
    return filled(shape, [&] { return below(4) == 3 ? Scalar(0) : 1 + digits(); });
  }

  /// The length of an axis: 0 and 1 among them, and such as fill a register, and not quite.
  std::size_t length() { return one_of<std::size_t>({1, 2, 3, 0, 2, 1, 4, 5, 3, 2, 8, 9, 17, 33}); }
  /// At least 1, and no more than `most`.
  std::size_t some(std::size_t most) { return 1 + below(most); }
  /// A shape of `least` to `most` axes and no more than 200 numbers.
  Shape shape(std::size_t least, std::size_t most) {
    Shape s(least + below(most - least + 1));
    std::size_t room = 200;
    for (std::size_t a = s.size(); a-- > 0;) {
      s[a] = std::min(length(), room);
      room /= std::max<std::size_t>(s[a], 1);
    }
    return s;
  }
  /// What stretches to `shape`: fewer axes, or some of length 1.
  Shape stretched_to(const Shape& shape) {
    Shape s(shape.begin() + static_cast<std::ptrdiff_t>(rarely() ? below(shape.size() + 1) : 0),
            shape.end());
    for (std::size_t& n : s)
      if (!often()) n = 1;
    return s;
  }
  /// An axis of such a tensor, counted from either end.
  int axis(const Shape& shape) {
    const auto rank = static_cast<int>(shape.size());
    return static_cast<int>(below(2 * shape.size())) - rank;
  }
  /// 0..n-1 in some order.
  std::vector<std::size_t> permutation(std::size_t n) {
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (std::size_t i = 0; i + 1 < n; ++i) std::swap(order[i], order[i + below(n - i)]);
    return order;
  }
  std::vector<std::size_t> indices(std::size_t count, std::size_t bound) {
    std::vector<std::size_t> all(count);
    for (std::size_t& i : all) i = below(bound);
    return all;
  }

 private:
  std::uint64_t next() { return at_ < decisions_.size() ? decisions_[at_++] : 0; }
  const Decisions& decisions_;
  std::size_t at_ = 0;
};

/// Holds a property against random cases; it says what is wrong, or "".
template <class Property>
void for_all(const std::string& subject, Property property) {
  const std::string test = doctest::getContextOptions()->currentTest->m_name;
  const std::string wrong =
      falsified(test + ": " + subject, [&](const Decisions& decisions) -> std::string {
        Draws draws(decisions);
        return property(draws);
      });
  CHECK_MESSAGE(wrong.empty(), wrong);
}
