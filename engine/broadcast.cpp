#include "engine/broadcast.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <vector>

#include "engine/simd/lane.hpp"
#include "engine/sweep.hpp"
#include "engine/system/parallel.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

void require_fits(const char* op, const Shape& small, const Shape& large) {
  if (!broadcasts_to(small, large))
    throw std::invalid_argument(std::string(op) + ": " + str(small) + " does not broadcast to " +
                                str(large));
}

// A bundle of rows of the large tensor, one after the other in memory. In the small one a row
// starts `step` numbers after the one before, and runs along with it or, unless `moving`, is one
// number.
struct Bundle {
  std::size_t small, large, step, rows, length;
  bool moving;
};

// Calls inner(bundle) for all of the large tensor, in memory order.
template <class Inner>
void along_rows(const Shape& small, const Shape& large, Inner inner) {
  const std::size_t rank = large.size();
  if (size_of(large) == 0) return;
  if (rank == 0) return inner(Bundle{0, 0, 0, 1, 1, true});
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
  const std::size_t rows = outer == 0 ? 1 : large[outer - 1];
  Bundle b{0, 0, outer == 0 ? 0 : stride[outer - 1], rows, length, moving};
  if (outer > 0) --outer;
  std::size_t& s = b.small;
  for (;;) {
    inner(b);
    b.large += rows * length;
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

Scalar sum_of(const Scalar* p, std::size_t n) {
  Lane total(0);
  std::size_t i = 0;
  for (; i + kLane <= n; i += kLane) total += Lane::load_unaligned(p + i);
  if (i < n) total += load_some(p + i, n - i);
  return lane_sum(total);
}

// to[r * step] += the sum of row r, for rows one after the other from p on.
template <class Sum>
void sum_rows(const Scalar* p, std::size_t rows, std::size_t length, Sum* to, std::size_t step) {
  std::size_t r = 0;
  if (length < kLane) {
    // Whole lanes are loaded while they reach no further than the last row; and asked for ahead,
    // since loads that overlap do not look like a walk through memory.
    alignas(64) Scalar place[kLane];
    std::iota(place, place + kLane, Scalar{0});
    const auto inside = Lane::load_aligned(place) < Lane(static_cast<Scalar>(length));
    const std::size_t far = 25 * kLane, size = rows * length;
    for (std::size_t at = 0; at + kLane <= size; ++r, at += length, to += step) {
      __builtin_prefetch(p + std::min(at + far, size - 1));
      *to += lane_sum(xsimd::select(inside, Lane::load_unaligned(p + at), Lane(0)));
    }
  }
  for (p += r * length; r < rows; ++r, p += length, to += step)
    for (std::size_t i = 0; i < length; i += kManyTerms)
      *to += sum_of(p + i, std::min(kManyTerms, length - i));
}

// out[i] += x's numbers above it.
template <class Sum>
void gather_sums(const Tensor& x, const Shape& shape, Sum* out) {
  along_rows(shape, x.shape(), [&x, out](const Bundle& b) {
    const Scalar* p = x.data() + b.large;
    Sum* to = out + b.small;
    if (b.moving) {
      parallel_for(b.length, std::max(std::size_t{64}, kGrain / b.rows),
                   [&](std::size_t begin, std::size_t end) {
                     for (std::size_t r = 0; r < b.rows; ++r) {
                       const Scalar* from = p + r * b.length;
                       Sum* sums = to + r * b.step;
#pragma omp simd
                       for (std::size_t i = begin; i < end; ++i) sums[i] += from[i];
                     }
                   });
    } else if (b.rows > 1 && b.step > 0) {
      parallel_for(b.rows, rows_of_grain(b.length), [&](std::size_t begin, std::size_t end) {
        sum_rows(p + begin * b.length, end - begin, b.length, to + begin * b.step, b.step);
      });
    } else {
      // One sum: in blocks that do not depend on the threads.
      const std::size_t n = b.rows * b.length;
      std::vector<double> blocks((n + kGrain - 1) / kGrain, 0.0);
      parallel_for(n, kGrain, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; i += kGrain)
          sum_rows(p + i, 1, std::min(kGrain, end - i), &blocks[i / kGrain], 0);
      });
      for (double s : blocks) *to += static_cast<Sum>(s);
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
  along_rows(x.shape(), shape, [&x, &out](const Bundle& b) {
    parallel_for(b.rows, rows_of_grain(b.length), [&](std::size_t begin, std::size_t end) {
      for (std::size_t r = begin; r < end; ++r) {
        const Scalar* p = x.data() + b.small + r * b.step;
        Scalar* o = out.data() + b.large + r * b.length;
        if (b.moving)
          std::copy(p, p + b.length, o);
        else
          std::fill(o, o + b.length, *p);
      }
    });
  });
  return out;
}

void add_to(Tensor& a, const Tensor& b) {
  Scalar* p = a.data();
  const Scalar* q = b.data();
  const std::size_t n = a.size();
  parallel_for(n, kGrain, [=](std::size_t begin, std::size_t end) {
#pragma omp simd
    for (std::size_t i = begin; i < end; ++i) p[i] += q[i];
  });
}

Var sum_to(Var x, const Shape& shape) {
  return x.tape->record("sum", {x}, sum_to(x.value(), shape),
                        [](BackwardContext& ctx) { ctx.pass_spread(0); });
}

Var broadcast_to(Var x, const Shape& shape) {
  return x.tape->record("broadcast", {x}, broadcast_to(x.value(), shape), [](BackwardContext& ctx) {
    ctx.give(0, sum_to(ctx.gradient(), ctx.in(0).shape()));
  });
}

Var add_same(Var a, Var b) {
  Tensor sum = a.value();
  add_to(sum, b.value());
  return a.tape->record("add", {a, b}, std::move(sum), [](BackwardContext& ctx) {
    ctx.pass(0);
    ctx.pass(1);
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
