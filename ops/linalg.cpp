#include "ops/linalg.hpp"

#include <algorithm>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/simd/broadcast_loop.hpp"
#include "engine/sweep.hpp"
#include "ops/kernels/blas.hpp"
#include "ops/shape.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

[[noreturn]] void mismatch(const char* op, Var a, Var b, const char* needed) {
  refuse(op, ": a is ", a.shape(), ", b is ", b.shape(), "; need ", needed);
}

std::size_t from_end(const Tensor& t, std::size_t i) { return t.shape()[t.dimension() - i]; }

Shape leading(const Shape& shape) { return Shape(shape.begin(), shape.end() - 2); }

// A stack of products c = op(a) op(b), or c += op(a) op(b) unless it is `fresh`. The leading axes
// say how far each of the three moves; one that stays where it is has step 0. For c that means a
// sum over the axis.
void multiply(const Tensor& a, bool ta, const Tensor& b, bool tb, Tensor& c, bool fresh) {
  // op(a) is (n, k), op(b) is (k, m).
  std::size_t n = from_end(c, 2), m = from_end(c, 1), k = from_end(a, ta ? 2 : 1);
  if (std::max({a.dimension(), b.dimension(), c.dimension()}) == 2)
    return gemm(ta, tb, n, m, k, a.data(), b.data(), fresh ? 0 : 1, c.data());
  const std::size_t size_a = n * k, size_b = k * m, size_c = n * m;
  const Shape of_a = leading(a.shape()), of_b = leading(b.shape()), of_c = leading(c.shape());
  const Source moving[] = {{a.data(), &of_a}, {b.data(), &of_b}, {c.data(), &of_c}};
  const StretchedAxes axes(broadcast_shape("matmul", broadcast_shape("matmul", of_a, of_b), of_c),
                           moving, 3);
  const auto [length, steps] = axes.at(0);
  // One b for all: the stack is rows like any other. One c for all: it is a longer sum.
  const bool rows = !ta && steps[0] == 1 && steps[1] == 0 && steps[2] == 1,
             terms = ta && !tb && steps[0] == 1 && steps[1] == 1 && steps[2] == 0;
  if (rows) n *= length;
  if (terms) k *= length;
  const std::size_t first = rows || terms ? 1 : 0;
  std::size_t products = 1;
  bool sums = false;  // whether several products go to one place
  for (std::size_t i = first; i < axes.axes.size(); ++i) {
    products *= axes.axes[i].length;
    sums = sums || axes.axes[i].steps[2] == 0;
  }
  if (fresh && (sums || products == 0)) std::fill(c.begin(), c.end(), Scalar{0});
  for (Walk walk(axes, first); products > 0; --products, walk.next())
    gemm(ta, tb, n, m, k, a.data() + walk.offsets[0] * size_a, b.data() + walk.offsets[1] * size_b,
         fresh && !sums ? 0 : 1, c.data() + walk.offsets[2] * size_c);
}

// op(a) op(b) over the last two axes, plus the rows of `shift` if there is one, of a shape whose
// leading axes may be stretched or, where they are shorter than those of a and b, summed over. Its
// derivatives are such products again.
Var product(Name op, Var a, bool ta, Var b, bool tb, const Shape& shape, Var shift = {}) {
  Tensor y = shift.tape ? broadcast_to(shift.value(), shape) : uninitialised(shape);
  multiply(a.value(), ta, b.value(), tb, y, !shift.tape);
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
  Shape shape = broadcast_shape(op, leading(p), leading(q));
  shape.push_back(p[p.size() - 2]);
  shape.push_back(columns);
  return shape;
}

}  // namespace

Var matmul(const Operand& left, const Operand& right) {
  auto [a, b] = together("matmul", left, right);
  tape_of("matmul", {a, b});
  const Shape &p = a.shape(), &q = b.shape();
  const bool row = p.size() == 1, column = q.size() == 1;
  if (p.empty() || q.empty() || p.back() != q[q.size() - (column ? 1 : 2)])
    mismatch("matmul", a, b, "(..., n, k) and (..., k, m), or (k,) for either");
  if (row) a = expand_dims(a, 0);
  if (column) b = expand_dims(b, 1);
  Var y = product("matmul", a, false, b, false, product_shape("matmul", a, b, b.shape().back()));
  if (column) y = squeeze(y, -1);
  return row ? squeeze(y, column ? -1 : -2) : y;
}

Var matmul_transposed(const Operand& left, const Operand& right) {
  const auto [a, b] = together("matmul_transposed", left, right);
  tape_of("matmul_transposed", {a, b});
  const Shape &p = a.shape(), &q = b.shape();
  if (p.size() < 2 || q.size() < 2 || p.back() != q.back())
    mismatch("matmul_transposed", a, b, "(..., n, k) and (..., m, k)");
  const Shape shape = product_shape("matmul_transposed", a, b, q[q.size() - 2]);
  return product("matmul_transposed", a, false, b, true, shape);
}

Var dense(const Operand& input, const Operand& weights, const Operand& bias) {
  const auto [x, w, b] = together("dense", input, weights, bias);
  tape_of("dense", {x, w, b});
  const Shape &p = x.shape(), &q = w.shape();
  if (p.size() < 2 || q.size() != 2 || p[p.size() - 1] != q[0] || b.shape() != Shape{q[1]})
    refuse("dense: x is ", p, ", w is ", q, ", b is ", b.shape(),
           "; need (..., n, k), (k, m) and (m,)");
  return product("dense", x, false, w, false, product_shape("dense", x, w, q[1]), b);
}

Var outer(const Operand& x, const Operand& y) {
  const auto [a, b] = together("outer", x, y);
  if (a.shape().size() != 1 || b.shape().size() != 1) mismatch("outer", a, b, "(n,) and (m,)");
  return matmul(expand_dims(a, 1), expand_dims(b, 0));
}

Var dot(const Operand& x, const Operand& y) {
  const auto [a, b] = together("dot", x, y);
  if (a.shape().size() != 1 || a.shape() != b.shape()) mismatch("dot", a, b, "(n,) and (n,)");
  return matmul(a, b);
}

ARGTAPE_END
