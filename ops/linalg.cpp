#include "ops/linalg.hpp"

#include <stdexcept>

#include "engine/sweep.hpp"
#include "ops/blas.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

[[noreturn]] void mismatch(const char* op, Var a, Var b, const char* needed) {
  throw std::invalid_argument(std::string(op) + ": a is " + str(a.shape()) + ", b is " +
                              str(b.shape()) + "; need " + needed);
}

// op(a) op(b) of matrices, or of equally many matrices each; its derivatives are such products
// again.
Var product(Var a, bool ta, Var b, bool tb) {
  const Shape &p = a.shape(), &q = b.shape();
  const std::size_t r = p.size();
  const std::size_t n = p[ta ? r - 1 : r - 2], k = p[ta ? r - 2 : r - 1], m = q[tb ? r - 2 : r - 1];
  Shape shape = p;
  shape[r - 2] = n;
  shape[r - 1] = m;
  Tensor y = uninitialised(shape);
  const std::size_t batch = r == 3 ? p[0] : 1;
  for (std::size_t i = 0; i < batch; ++i)
    gemm(ta, tb, n, m, k, a.value().data() + i * n * k, b.value().data() + i * k * m, 0,
         y.data() + i * n * m);
  return a.tape->record("matmul", {a, b}, std::move(y), [ta, tb](Arrival& at) {
    const Var a = at.in(0), b = at.in(1);
    if (!at.recorded() && a.shape().size() == 2) {
      // Straight into the gradients, without a product to copy from.
      const std::size_t n = at.out().shape()[0], m = at.out().shape()[1], k = a.shape()[ta ? 0 : 1];
      const Scalar* g = at.numbers().data();
      if (at.wants(0)) {
        const auto [to, fresh] = at.sink(0);
        if (ta)
          gemm(tb, true, k, n, m, b.value().data(), g, fresh ? 0 : 1, to);
        else
          gemm(false, !tb, n, k, m, g, b.value().data(), fresh ? 0 : 1, to);
      }
      if (at.wants(1)) {
        const auto [to, fresh] = at.sink(1);
        if (tb)
          gemm(true, ta, m, k, n, g, a.value().data(), fresh ? 0 : 1, to);
        else
          gemm(!ta, false, k, m, n, a.value().data(), g, fresh ? 0 : 1, to);
      }
      return;
    }
    const Var g = at.gradient();
    if (at.wants(0)) at.give(0, ta ? product(b, tb, g, true) : product(g, false, b, !tb));
    if (at.wants(1)) at.give(1, tb ? product(g, true, a, ta) : product(a, !ta, g, false));
  });
}

}  // namespace

Var matmul(Var a, Var b) {
  tape_of("matmul", {a, b});
  const Shape &p = a.shape(), &q = b.shape();
  const std::size_t ra = p.size(), rb = q.size();
  if (ra < 2 || rb < 2 || p[ra - 1] != q[rb - 2])
    mismatch("matmul", a, b, "(..., n, k) and (..., k, m)");
  if (ra == 2 && rb == 2) return product(a, false, b, false);
  const std::size_t n = p[ra - 2], k = p[ra - 1], m = q[rb - 1];
  Shape lead;
  if (rb == 2) {  // one matrix for all: the leading axes of a are rows like any other
    const std::size_t rows = k == 0 ? size_of(p) : size_of(p) / k;
    Shape shape = p;
    shape[ra - 1] = m;
    if (k != 0) return reshape(product(reshape(a, {rows, k}), false, b, false), shape);
  }
  lead = broadcast_shape("matmul", Shape(p.begin(), p.end() - 2), Shape(q.begin(), q.end() - 2));
  const auto many = [&](Var x, std::size_t rows, std::size_t columns) {
    std::vector<std::size_t> shape(lead.begin(), lead.end());
    shape.push_back(rows);
    shape.push_back(columns);
    const Shape full(shape.begin(), shape.end());
    return reshape(x.shape() == full ? x : broadcast(x, full), {size_of(lead), rows, columns});
  };
  const Var y = product(many(a, n, k), false, many(b, k, m), false);
  std::vector<std::size_t> shape(lead.begin(), lead.end());
  shape.push_back(n);
  shape.push_back(m);
  return reshape(y, Shape(shape.begin(), shape.end()));
}

Var outer(Var a, Var b) {
  if (a.shape().size() != 1 || b.shape().size() != 1) mismatch("outer", a, b, "(n,) and (m,)");
  return matmul(reshape(a, {a.shape()[0], 1}), reshape(b, {1, b.shape()[0]}));
}

Var dot(Var a, Var b) {
  if (a.shape().size() != 1 || a.shape() != b.shape()) mismatch("dot", a, b, "(n,) and (n,)");
  return reshape(matmul(reshape(a, {1, a.shape()[0]}), reshape(b, {b.shape()[0], 1})), {});
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
