#include "ops/sort.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/require.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// The rows along an axis: n numbers, so many apart, of which the first of row r stands at begin(r).
struct Strided {
  std::size_t n, apart = 1, count = 0;
  Strided(const Shape& shape, std::size_t axis) : n(shape[axis]) {
    for (std::size_t a = axis + 1; a < shape.size(); ++a) apart *= shape[a];
    if (n > 0) count = size_of(shape) / n;
  }
  std::size_t begin(std::size_t r) const { return r / apart * apart * n + r % apart; }
};

std::vector<std::size_t> sorted(const char* op, const Tensor& x, const Strided& rows, Order order) {
  std::vector<std::size_t> all(x.size()), row(rows.n);
  for (std::size_t r = 0; r < rows.count; ++r) {
    const Scalar* at = x.data() + rows.begin(r);
    const auto key = [&](std::size_t i) { return at[i * rows.apart]; };
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i : row)
      require(!std::isnan(key(i)), op, ": x has NaN in row ", r, "; need numbers");
    std::stable_sort(row.begin(), row.end(), [&](std::size_t a, std::size_t b) {
      return order == Order::ascending ? key(a) < key(b) : key(b) < key(a);
    });
    for (std::size_t i = 0; i < rows.n; ++i) all[rows.begin(r) + i * rows.apart] = row[i];
  }
  return all;
}

}  // namespace

std::vector<std::size_t> argsort(const Tensor& x, int axis, Order order) {
  return sorted("argsort", x, Strided(x.shape(), axis_of("argsort", axis, x.shape())), order);
}

Var sort(Var x, int axis, Order order) {
  const Strided rows(x.shape(), axis_of("sort", axis, x.shape()));
  std::vector<std::size_t> from = sorted("sort", x.value(), rows, order);
  for (std::size_t r = 0; r < rows.count; ++r)
    for (std::size_t i = 0; i < rows.n; ++i) {
      std::size_t& place = from[rows.begin(r) + i * rows.apart];
      place = rows.begin(r) + place * rows.apart;
    }
  return gather(x, from, x.shape());
}

ARGTAPE_END
