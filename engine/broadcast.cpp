#include "engine/broadcast.hpp"

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "engine/simd/row_sums.hpp"
#include "engine/system/bundles.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

void require_fits(const char* op, const Shape& small, const Shape& large) {
  if (!broadcasts_to(small, large))
    throw std::invalid_argument(std::string(op) + ": " + str(small) + " does not broadcast to " +
                                str(large));
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
                        [](BackwardContext& ctx) { SweepDoor::pass_broadcast(ctx, 0); });
}

Var broadcast_to(Var x, const Shape& shape) {
  return x.tape->record("broadcast", {x}, broadcast_to(x.value(), shape), [](BackwardContext& ctx) {
    ctx.give(0, sum_to(ctx.gradient(), ctx.in(0).shape()));
  });
}

Var reshaped(Var x, const Shape& shape) {
  return x.tape->record("reshape", {x}, reshaped(x.value(), shape),
                        [](BackwardContext& ctx) { SweepDoor::pass_reshaped(ctx, 0); });
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
