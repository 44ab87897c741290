#include "ops/linalg.hpp"

#include <algorithm>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "ops/kernels/blas.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

[[noreturn]] void mismatch(const char* op, Var a, Var b, const char* needed) {
  refuse(op, ": a is ", a.shape(), ", b is ", b.shape(), "; need ", needed);
}

// A stack of products c += op(a) op(b) laid out for gemm: op(a) is (n, k), op(b) is (k, m). The
// leading axes say how far each of the three moves; one that stays where it is has step 0. For c
// that means a sum over the axis.
struct Stack {
  struct Axis {
    std::size_t length, a, b, c;
  };
  bool ta, tb;
  std::size_t n, m, k;
  xt::svector<Axis, 4> axes;
  std::size_t size = 1, c_size;  // products; numbers of c

  Stack(bool ta, bool tb, std::size_t n, std::size_t m, std::size_t k, const Shape& a,
        const Shape& b, const Shape& c)
      : ta(ta), tb(tb), n(n), m(m), k(k) {
    c_size = size_of(c);
    const std::size_t most = std::max({a.size(), b.size(), c.size()}) - 2;
    std::size_t step_a = n * k, step_b = k * m, step_c = n * m;
    // Outwards from the last; neighbours that all three run through alike join.
    for (std::size_t i = 0; i < most; ++i) {
      const auto length = [i](const Shape& s) {
        return s.size() > i + 2 ? s[s.size() - 3 - i] : std::size_t{1};
      };
      const std::size_t la = length(a), lb = length(b), lc = length(c);
      const Axis axis{std::min(la, std::min(lb, lc)) == 0 ? 0 : std::max({la, lb, lc}),
                      la == 1 ? 0 : step_a, lb == 1 ? 0 : step_b, lc == 1 ? 0 : step_c};
      step_a *= la, step_b *= lb, step_c *= lc;
      size *= axis.length;
      if (axis.length == 1) continue;
      if (!axes.empty()) {
        Axis& inner = axes.back();
        if (axis.a == inner.a * inner.length && axis.b == inner.b * inner.length &&
            axis.c == inner.c * inner.length) {
          inner.length *= axis.length;
          continue;
        }
      }
      axes.push_back(axis);
    }
    if (axes.empty()) return;
    // One b for all: the stack is rows like any other. One c for all: it is a longer sum.
    const Axis& last = axes.front();
    const bool rows = last.b == 0 && !ta && last.a == n * k && last.c == n * m;
    const bool sum = last.c == 0 && ta && !tb && last.a == n * k && last.b == k * m;
    if (!rows && !sum) return;
    (rows ? this->n : this->k) *= last.length;
    axes.erase(axes.begin(), axes.begin() + 1);
  }

  // `fresh`: c is written, not added to.
  void run(const Scalar* a, const Scalar* b, Scalar* c, bool fresh) const {
    if (size == 0 && fresh) std::fill(c, c + c_size, Scalar{0});
    if (size != 0) run(axes.size(), a, b, c, fresh);
  }

 private:
  void run(std::size_t depth, const Scalar* a, const Scalar* b, Scalar* c, bool fresh) const {
    if (depth == 0) return gemm(ta, tb, n, m, k, a, b, fresh ? 0 : 1, c);
    const Axis& axis = axes[depth - 1];
    for (std::size_t i = 0; i < axis.length; ++i)
      run(depth - 1, a + i * axis.a, b + i * axis.b, c + i * axis.c,
          fresh && (i == 0 || axis.c != 0));
  }
};

// op(a) op(b) over the last two axes, plus the rows of `shift` if there is one, of a shape whose
// leading axes may be stretched or, where they are shorter than those of a and b, summed over. Its
// derivatives are such products again.
Var product(const char* op, Var a, bool ta, Var b, bool tb, const Shape& shape, Var shift = {}) {
  const Shape& p = a.shape();
  const std::size_t rank = shape.size();
  Tensor y = shift.tape ? broadcast_to(shift.value(), shape) : uninitialised(shape);
  Stack(ta, tb, shape[rank - 2], shape[rank - 1], p[p.size() - (ta ? 2 : 1)], p, b.shape(), shape)
      .run(a.value().data(), b.value().data(), y.data(), !shift.tape);
  const auto backward = [ta, tb](BackwardContext& ctx) {
    const Var a = ctx.in(0), b = ctx.in(1), g = ctx.gradient();
    const auto give = [&](std::size_t i, Var p, bool tp, Var q, bool tq) {
      if (ctx.wants(i)) ctx.give(i, product("matmul", p, tp, q, tq, ctx.in(i).shape()));
    };
    ta ? give(0, b, tb, g, true) : give(0, g, false, b, !tb);
    tb ? give(1, g, true, a, ta) : give(1, a, !ta, g, false);
    if (ctx.inputs() == 3) ctx.pass(2);
  };
  return shift.tape ? a.tape->record(op, {a, b, shift}, std::move(y), backward)
                    : a.tape->record(op, {a, b}, std::move(y), backward);
}

// The shape of a product of rows by columns, the leading axes broadcast.
Shape product_shape(const char* op, Var a, Var b, std::size_t columns) {
  const Shape &p = a.shape(), &q = b.shape();
  Shape shape = broadcast_shape(op, Shape(p.begin(), p.end() - 2), Shape(q.begin(), q.end() - 2));
  shape.push_back(p[p.size() - 2]);
  shape.push_back(columns);
  return shape;
}

}  // namespace

Var matmul(Var a, Var b) {
  tape_of("matmul", {a, b});
  const Shape &p = a.shape(), &q = b.shape();
  if (p.size() < 2 || q.size() < 2 || p[p.size() - 1] != q[q.size() - 2])
    mismatch("matmul", a, b, "(..., n, k) and (..., k, m)");
  return product("matmul", a, false, b, false, product_shape("matmul", a, b, q[q.size() - 1]));
}

Var matmul_transposed(Var a, Var b) {
  tape_of("matmul_transposed", {a, b});
  const Shape &p = a.shape(), &q = b.shape();
  if (p.size() < 2 || q.size() < 2 || p[p.size() - 1] != q[q.size() - 1])
    mismatch("matmul_transposed", a, b, "(..., n, k) and (..., m, k)");
  const Shape shape = product_shape("matmul_transposed", a, b, q[q.size() - 2]);
  return product("matmul_transposed", a, false, b, true, shape);
}

Var dense(Var x, Var w, Var b) {
  tape_of("dense", {x, w, b});
  const Shape &p = x.shape(), &q = w.shape();
  if (p.size() < 2 || q.size() != 2 || p[p.size() - 1] != q[0] || b.shape() != Shape{q[1]})
    refuse("dense: x is ", p, ", w is ", q, ", b is ", b.shape(),
           "; need (..., n, k), (k, m) and (m,)");
  return product("dense", x, false, w, false, product_shape("dense", x, w, q[1]), b);
}

Var outer(Var a, Var b) {
  if (a.shape().size() != 1 || b.shape().size() != 1) mismatch("outer", a, b, "(n,) and (m,)");
  return matmul(reshape(a, {a.shape()[0], 1}), reshape(b, {1, b.shape()[0]}));
}

Var dot(Var a, Var b) {
  if (a.shape().size() != 1 || a.shape() != b.shape()) mismatch("dot", a, b, "(n,) and (n,)");
  return reshape(matmul(reshape(a, {1, a.shape()[0]}), reshape(b, {b.shape()[0], 1})), {});
}

ARGTAPE_END
