#include "engine/broadcast.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "engine/sweep.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

void require_fits(const char* op, const Shape& small, const Shape& large) {
  if (!broadcasts_to(small, large))
    throw std::invalid_argument(std::string(op) + ": " + str(small) + " does not broadcast to " +
                                str(large));
}

// Calls inner(offset in small, offset in large, length, whether small moves along) for each stretch
// of the large tensor's last axis, in memory order.
template <class Inner>
void along_rows(const Shape& small, const Shape& large, Inner inner) {
  const std::size_t rank = large.size();
  if (size_of(large) == 0) return;
  if (rank == 0) return inner(0, 0, 1, true);
  const std::size_t missing = rank - small.size();
  xt::svector<std::size_t, 4> stride(rank, 0), at(rank, 0);
  std::size_t step = 1;
  for (std::size_t i = small.size(); i-- > 0;) {
    if (small[i] != 1) stride[missing + i] = step;
    step *= small[i];
  }
  // Axes next to each other that the small tensor runs through alike count as one long row.
  std::size_t outer = rank - 1, length = large[outer];
  bool moving = stride[outer] == 1 || length == 1, still = stride[outer] == 0;
  while (outer > 0) {
    const std::size_t d = large[outer - 1];
    const bool joins_moving = moving && (d == 1 || stride[outer - 1] == length);
    const bool joins_still = still && (d == 1 || stride[outer - 1] == 0);
    if (!joins_moving && !joins_still) break;
    moving = joins_moving;
    still = joins_still;
    length *= d;
    --outer;
  }
  std::size_t s = 0, l = 0;
  for (;;) {
    inner(s, l, length, moving);
    l += length;
    std::size_t axis = outer;
    for (;;) {
      if (axis == 0) return;
      --axis;
      s += stride[axis];
      if (++at[axis] < large[axis]) break;
      s -= stride[axis] * large[axis];
      at[axis] = 0;
    }
  }
}

}  // namespace

namespace {

// Above so many terms a sum is gathered in double: one of ever more floats stops growing.
constexpr std::size_t kManyTerms = 256;

// out[i] += x's numbers above it.
template <class Sum>
void gather_sums(const Tensor& x, const Shape& shape, Sum* out) {
  const Scalar* p = x.data();
  along_rows(shape, x.shape(), [&](std::size_t s, std::size_t l, std::size_t n, bool moving) {
    if (moving) {
#pragma omp simd
      for (std::size_t i = 0; i < n; ++i) out[s + i] += p[l + i];
      return;
    }
    for (std::size_t begin = 0; begin < n; begin += kManyTerms) {
      const std::size_t end = std::min(n, begin + kManyTerms);
      Scalar total = 0;
#pragma omp simd reduction(+ : total)
      for (std::size_t i = begin; i < end; ++i) total += p[l + i];
      out[s] += total;
    }
  });
}

}  // namespace

Tensor sum_to(const Tensor& x, const Shape& shape) {
  require_fits("sum_to", shape, x.shape());
  Tensor out = zeros(shape);
  if (out.size() == 0 || x.size() / out.size() <= kManyTerms) {
    gather_sums(x, shape, out.data());
    return out;
  }
  std::vector<double> sums(out.size(), 0);
  gather_sums(x, shape, sums.data());
  std::transform(sums.begin(), sums.end(), out.data(),
                 [](double v) { return static_cast<Scalar>(v); });
  return out;
}

Tensor broadcast_to(const Tensor& x, const Shape& shape) {
  require_fits("broadcast_to", x.shape(), shape);
  Tensor out = uninitialised(shape);
  Scalar* o = out.data();
  const Scalar* p = x.data();
  along_rows(x.shape(), shape, [&](std::size_t s, std::size_t l, std::size_t n, bool moving) {
    if (moving)
      std::copy(p + s, p + s + n, o + l);
    else
      std::fill(o + l, o + l + n, p[s]);
  });
  return out;
}

void add_to(Tensor& a, const Tensor& b) {
  Scalar* p = a.data();
  const Scalar* q = b.data();
  const std::size_t n = a.size();
#pragma omp simd
  for (std::size_t i = 0; i < n; ++i) p[i] += q[i];
}

Var sum_to(Var x, const Shape& shape) {
  return x.tape->record("sum", {x}, sum_to(x.value(), shape),
                        [](Arrival& at) { at.pass_spread(0); });
}

Var broadcast_to(Var x, const Shape& shape) {
  return x.tape->record("broadcast", {x}, broadcast_to(x.value(), shape),
                        [](Arrival& at) { at.give(0, sum_to(at.gradient(), at.in(0).shape())); });
}

Var add_same(Var a, Var b) {
  Tensor sum = a.value();
  add_to(sum, b.value());
  return a.tape->record("add", {a, b}, std::move(sum), [](Arrival& at) {
    at.pass(0);
    at.pass(1);
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
