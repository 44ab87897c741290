#include "ops/kernels/elementwise_kernel.hpp"

#include <array>
#include <stdexcept>
#include <string>

#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// Faster than ==, which calls the standard library.
bool same(const Shape& a, const Shape& b) {
  if (&a == &b) return true;
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

// Of the shape of x, not set; for few numbers a copy is the fastest way to make it.
Tensor like(const Tensor& x) { return x.size() * sizeof(Scalar) <= 64 ? x : Tensor(x.shape()); }

// out = the formula of in[reads[0]], in[reads[1]], ..., which broadcast to `shape`, out's own: at
// once in the common case of few numbers, of which no input is stretched that is more than one.
void map(const Row::Formula& formula, const Shape& shape, std::size_t size, const Out& out,
         const Source* in) {
  static constexpr Index in_order[kReadable] = {0, 1, 2, 3, 4};
  Block blocks[kReadable];
  Scalar lanes[kReadable][kLane];
  Source read[kReadable];
  bool straight = size < 2 * kGrain;
  for (std::size_t i = 0; i < formula.count; ++i) {
    const Source& from = read[i] = in[formula.reads[i]];
    if (from.shape && same(*from.shape, shape))
      blocks[i] = run_of(from.data);
    else if (!from.shape || size_of(*from.shape) == 1)
      blocks[i] = lane_of(*from.data, lanes[i]);
    else
      straight = false;
  }
  if (straight) return formula.kernel(size, out, blocks, in_order);
  const bool stream = !out.base.data && streams(size);
  const BroadcastLoop loop(shape, read, formula.count);
  parallel_for(size, kGrain, [&](std::size_t begin, std::size_t end) {
    Block here[kReadable];
    BroadcastLoop::Blocks block(loop, begin, end, size, here);
    while (block.next()) {
      const Scalar* base = out.base.data ? out.base.data + block.at : nullptr;
      formula.kernel(block.n, {out.to + block.at, {base, out.base.along}, stream}, here, in_order);
    }
    if (stream) finish_streams();
  });
}

// `numbers` has bit k set where operand k is the next of `kept`, not the next input. It is known to
// the compiler: each is inlined.
[[gnu::always_inline]] inline void backward(BackwardContext& ctx, const Row& row, unsigned numbers,
                                            const Scalar* kept) {
  const bool in_vars = recorded(ctx);
  Var x[kReadable];
  Source sources[kReadable];
  const auto read = [&](Index at, Var v) {
    const Tensor& value = v.value();
    x[at] = v;
    sources[at] = {value.data(), &value.shape()};
  };
  std::size_t inputs = 0;
  for (Index k = 0; k < row.value.count; ++k) {
    if (numbers >> k & 1)
      sources[k] = {kept++, nullptr};
    else
      read(k, ctx.in(inputs++));
  }
  read(kValue, ctx.out());
  if (in_vars)
    x[kGradient] = ctx.gradient();
  else
    sources[kGradient] = arrived(ctx);
  const Tensor& value = ctx.out().value();
  std::size_t i = 0;
  for (Index k = 0; k < row.value.count; ++k) {
    if (numbers >> k & 1) continue;
    const Row::Slope& slope = row.slopes[k];
    if (!slope.kernel || !ctx.wants(i)) {
      // Nothing goes there.
    } else if (slope.passes) {
      ctx.pass(i);
    } else if (in_vars) {
      for (std::size_t r = 0; r < slope.count; ++r)
        if (Var& v = x[slope.reads[r]]; !v.tape)
          v = ctx.out().tape->constant(static_cast<double>(*sources[slope.reads[r]].data));
      ctx.give(i, slope.vars(x));
    } else {
      map(slope, value.shape(), value.size(), gradient_out(ctx, i), sources);
    }
    ++i;
  }
}

// std::function stores as much as a row and two floats in place: which operands are numbers is in
// the type.
template <unsigned numbers>
Backward backward_of(const Row& row, const Scalar* x) {
  std::array<Scalar, (numbers & 1) + (numbers >> 1 & 1) + (numbers >> 2)> kept{};
  std::size_t next = 0;
  for (std::size_t k = 0; k < kMostOperands; ++k)
    if (numbers >> k & 1) kept[next++] = x[k];
  return [&row, kept](BackwardContext& ctx) { backward(ctx, row, numbers, kept.data()); };
}

}  // namespace

Shape shape_of(const char* op, const Inputs& x) {
  tape_of(op, x);
  Shape shape = x[0].shape();
  try {
    for (const Var& v : x) shape = broadcast_shape(op, shape, v.shape());
  } catch (const std::invalid_argument&) {
    if (x.size() < 3) throw;
    std::string all = str(x[0].shape());
    for (std::size_t i = 1; i < x.size(); ++i)
      all += (i + 1 < x.size() ? ", " : " and ") + str(x[i].shape());
    refuse(op, ": operands are ", all, "; need shapes that broadcast");
  }
  return shape;
}

Var apply(const Row& row, const Operand* const* x) {
  const std::size_t operands = row.value.count;
  Var vars[kMostOperands];
  std::size_t count = 0;
  Tape* tape = nullptr;
  bool one_tape = true;
  for (std::size_t k = 0; k < operands; ++k) {
    if (x[k]->is_number) continue;
    Var& v = vars[count];  // not copied whole: what was just written in parts would be waited for
    v.tape = x[k]->var.tape;
    v.index = x[k]->var.index;
    if (count++ == 0) tape = v.tape;
    one_tape = one_tape && v.tape == tape;
  }
  const Inputs inputs(vars, count);
  if (!tape || !one_tape) tape_of(row.name, inputs);  // says what is wrong
  if (SymbolicTape* symbolic = SymbolicTape::of(*tape)) return symbolic->add(row, x);
  Scalar numbers[kMostOperands];
  Source sources[kMostOperands];
  const Tensor* first = nullptr;
  bool alike = true;
  unsigned which = 0;
  for (std::size_t k = 0; k < operands; ++k) {
    if (x[k]->is_number) {
      which |= 1u << k;
      numbers[k] = static_cast<Scalar>(x[k]->number);
      sources[k] = {&numbers[k], nullptr};
      continue;
    }
    const Tensor& value = x[k]->var.value();
    if (!first) first = &value;
    alike = alike && same(value.shape(), first->shape());
    sources[k] = {value.data(), &value.shape()};
  }
  const auto value = [&] {
    Tensor y = alike ? like(*first) : uninitialised(shape_of(row.name.c_str(), inputs));
    map(row.value, alike ? first->shape() : y.shape(), y.size(), {y.data()}, sources);
    return y;
  };
  Op op(row.name);
  if (row.why_cut) {
    op.flow = Flow::cut;
    op.why_cut = row.why_cut;
  }
  static constexpr Backward (*backwards[])(const Row&, const Scalar*) = {
      backward_of<0>, backward_of<1>, backward_of<2>, backward_of<3>,
      backward_of<4>, backward_of<5>, backward_of<6>};
  const auto make = [](const void* of) { return (*static_cast<decltype(&value)>(of))(); };
  return SweepDoor::record(*tape, op, inputs, {make, &value},
                           row.why_cut ? Backward{} : backwards[which](row, numbers));
}

bool recorded(const BackwardContext& ctx) { return SweepDoor::recorded(ctx); }

Source arrived(const BackwardContext& ctx) {
  const Tensor& g = SweepDoor::unexpanded(ctx);
  return {g.data(), &g.shape()};
}

Out gradient_out(BackwardContext& ctx, std::size_t i) {
  const Shape& shape = ctx.out().shape();
  if (ctx.in(i).shape() == shape) {
    const auto [to, fresh] = SweepDoor::sink(ctx, i);
    return {to, {fresh ? nullptr : to, ~std::size_t{0}}};
  }
  // The sweep sums it when it is filled.
  Tensor whole = uninitialised(shape);
  Scalar* to = whole.data();
  ctx.give(i, ctx.out().tape->constant(std::move(whole), "gradient"));
  return {to};
}

SymbolicTape::SymbolicTape(const char* op, std::size_t inputs, const Tensor* value)
    : value_(value) {
  formula_ = op;
  program_.inputs = inputs + 1;
  for (std::size_t i = 0; i <= inputs; ++i) nodes_.emplace_back(Op("input"), value);
}

Var SymbolicTape::add(const Row& row, const Operand* const* x) {
  Program::Step step;
  step.row = &row;
  for (std::size_t k = 0; k < row.value.count; ++k)
    step.operands[k] = x[k]->is_number ? constant(x[k]->number).index : x[k]->var.index;
  const std::size_t index = nodes_.size();
  program_.steps.resize(index - program_.inputs);  // those before are constants
  program_.steps.push_back(step);
  nodes_.emplace_back(Op(row.name), value_);
  return var(index);
}

Program SymbolicTape::program(Operand result) {
  Var y = result.is_number ? constant(result.number) : result.var;
  require(y.tape == this, formula_,
          ": the formula gives a Var from outside of it; need one computed from its inputs, or a "
          "number");
  const auto is_step = [&](std::size_t s) {
    return s < program_.steps.size() && program_.steps[s].row;
  };
  if (!is_step(y.index - program_.inputs)) y = apply<kCopy>(y);
  program_.steps.resize(y.index - program_.inputs + 1);
  for (std::size_t s = 0; s < program_.steps.size(); ++s) {
    if (is_step(s)) continue;
    const Tensor& t = *node(program_.inputs + s).value;
    require(t.size() == 1, formula_, ": the formula uses a constant of shape ", t.shape(),
            "; need single numbers, or an input for it");
    program_.steps[s].number = *t.data();
  }
  return std::move(program_);
}

ARGTAPE_END
