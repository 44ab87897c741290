// The float library against the double one, on the same graphs from the same numbers.
#include <doctest/doctest.h>

#include <cmath>

#include "tests/distance.hpp"
#include "tests/precision.hpp"

TEST_CASE("float's values and gradients are within 1e-5 of double's") {
  const std::vector<Computed> a = computed_in_float(), b = computed_in_double();
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    CAPTURE(a[i].name);
    REQUIRE(a[i].name == b[i].name);
    REQUIRE(a[i].numbers.size() == b[i].numbers.size());
    double error = 0, largest = 0;
    for (std::size_t k = 0; k < a[i].numbers.size(); ++k) {
      error = worse(error, std::abs(a[i].numbers[k] - b[i].numbers[k]));
      largest = worse(largest, std::abs(b[i].numbers[k]));
    }
    REQUIRE(largest > 0);
    CHECK(error / largest < 1e-5);
  }
}
