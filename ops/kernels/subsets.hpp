// The subsets of k out of n, numbered in lexicographic order. For the library's own .cpp files.
#pragma once

#include <algorithm>

#include "../expectation.hpp"

ARGTAPE_PRIVATE_BEGIN

/// How many there are; where there are more than kMostCombinations, some number above that.
inline std::size_t count_subsets(std::size_t n, std::size_t k) {
  if (k > n) return 0;
  std::size_t count = 1;
  for (std::size_t i = 0; i < std::min(k, n - k) && count <= kMostCombinations; ++i)
    count = count * (n - i) / (i + 1);
  return count;
}

/// f(i) for each i in the subset of that number.
template <class F>
void each_in_subset(std::size_t n, std::size_t k, std::size_t number, F f) {
  for (std::size_t i = 0; k > 0; ++i) {
    const std::size_t with_i = count_subsets(n - i - 1, k - 1);
    if (number < with_i)
      f(i), --k;
    else
      number -= with_i;
  }
}

ARGTAPE_END
