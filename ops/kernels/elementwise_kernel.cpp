#include "ops/kernels/elementwise_kernel.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

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

// map() of in[which[0]], in[which[1]], ...: at once in the common case of few numbers, of which no
// input is stretched that is more than one.
void map_few(Kernel kernel, const Shape& shape, std::size_t size, const Out& out, const Source* in,
             const Index* which, std::size_t count) {
  Block blocks[kReadable];
  Scalar lanes[kReadable][kLane];
  Source read[kReadable];
  bool straight = size < 2 * kGrain;
  for (std::size_t i = 0; i < count; ++i) {
    const Index j = which[i];
    if (in[j].shape && same(*in[j].shape, shape))
      blocks[j] = run_of(in[j].data);
    else if (!in[j].shape || size_of(*in[j].shape) == 1)
      blocks[j] = lane_of(*in[j].data, lanes[j]);
    else
      straight = false;
    read[i] = in[j];
  }
  if (straight) return kernel(size, out, blocks, which);
  map(kernel, shape, out, read, count);
}

// The shape that the operands broadcast to.
Shape shape_of(const Row& row, Inputs x) {
  Shape shape = x[0].shape();
  try {
    for (const Var& v : x) shape = broadcast_shape(row.name, shape, v.shape());
  } catch (const std::invalid_argument&) {
    if (x.size() < 3) throw;
    refuse(row.name, ": operands are ", x[0].shape(), ", ", x[1].shape(), " and ", x[2].shape(),
           "; need shapes that broadcast");
  }
  return shape;
}

// `numbers` has bit k set where operand k is the next of `kept`, not the next input.
template <std::size_t operands, unsigned numbers>
void backward(BackwardContext& ctx, const Row& row, const Scalar* kept) {
  const bool in_vars = recorded(ctx);
  Var x[kReadable];
  Source sources[kReadable];
  std::size_t input_of[operands], inputs = 0;
  const auto read = [&](Index at, Var v) {
    const Tensor& value = v.value();
    x[at] = v;
    sources[at] = {value.data(), &value.shape()};
  };
  for (Index k = 0; k < operands; ++k) {
    if (numbers >> k & 1) {
      input_of[k] = ctx.inputs();
      sources[k] = {kept++, nullptr};
    } else {
      input_of[k] = inputs++;
      read(k, ctx.in(input_of[k]));
    }
  }
  read(kValue, ctx.out());
  if (in_vars)
    x[kGradient] = ctx.gradient();
  else
    sources[kGradient] = arrived(ctx);
  const Tensor& value = ctx.out().value();
  for (std::size_t k = 0; k < operands; ++k) {
    const Row::Slope& slope = row.slopes[k];
    const std::size_t i = input_of[k];
    if (i == ctx.inputs() || !slope.kernel || !ctx.wants(i)) continue;
    if (slope.passes) {
      ctx.pass(i);
    } else if (in_vars) {
      for (std::size_t r = 0; r < slope.count; ++r)
        if (Var& v = x[slope.reads[r]]; !v.tape)
          v = ctx.out().tape->constant(static_cast<double>(*sources[slope.reads[r]].data));
      ctx.give(i, slope.vars(x));
    } else {
      map_few(slope.kernel, value.shape(), value.size(), gradient_out(ctx, i), sources, slope.reads,
              slope.count);
    }
  }
}

// std::function stores as much as a row and two floats in place.
template <std::size_t operands, unsigned numbers>
Backward backward_of(const Row& row, const Operand* const* x) {
  std::array<Scalar, (numbers & 1) + (numbers >> 1 & 1) + (numbers >> 2)> kept{};
  std::size_t next = 0;
  for (std::size_t k = 0; k < operands; ++k)
    if (numbers >> k & 1) kept[next++] = static_cast<Scalar>(x[k]->number);
  return [&row, kept](BackwardContext& ctx) { backward<operands, numbers>(ctx, row, kept.data()); };
}
template <std::size_t operands, std::size_t... numbers>
Backward backward_of(const Row& row, const Operand* const* x, unsigned which,
                     std::index_sequence<numbers...>) {
  static constexpr Backward (*all[])(const Row&,
                                     const Operand* const*) = {backward_of<operands, numbers>...};
  return all[which](row, x);
}

}  // namespace

template <std::size_t operands>
Var apply_to(const Row& row, const Operand* const* x) {
  Var vars[operands];
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
  Scalar numbers[operands];
  Source sources[operands];
  const Shape* shape = nullptr;
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
    if (!shape) shape = &value.shape();
    alike = alike && same(value.shape(), *shape);
    sources[k] = {value.data(), &value.shape()};
  }
  Tensor y = uninitialised(alike ? *shape : shape_of(row, inputs));
  map_few(row.value, alike ? *shape : y.shape(), y.size(), {y.data()}, sources, kInOrder, operands);
  Op op(row.name);
  if (!row.why_cut)
    return tape->record(
        std::move(op), inputs, std::move(y),
        backward_of<operands>(row, x, which, std::make_index_sequence<(1 << operands) - 1>{}));
  op.flow = Flow::cut;
  op.why_cut = row.why_cut;
  return tape->record(std::move(op), inputs, std::move(y), {});
}
template Var apply_to<1>(const Row&, const Operand* const*);
template Var apply_to<2>(const Row&, const Operand* const*);
template Var apply_to<3>(const Row&, const Operand* const*);

Var apply(const Row& row, const Operand* const* x) {
  return (row.operands == 1 ? apply_to<1> : row.operands == 2 ? apply_to<2> : apply_to<3>)(row, x);
}

void map(Kernel kernel, const Shape& shape, const Out& out, const Source* in, std::size_t count) {
  const std::size_t size = size_of(shape);
  const bool stream = !out.base.data && size * sizeof(Scalar) >= kPastCaches;
  const BroadcastLoop loop(shape, in, count);
  parallel_for(size, kGrain, [&](std::size_t begin, std::size_t end) {
    BroadcastLoop::Blocks block(loop, begin, end, size);
    while (block.next()) {
      const Scalar* base = out.base.data ? out.base.data + block.at : nullptr;
      kernel(block.n, {out.to + block.at, {base, out.base.along}, stream}, block.in, kInOrder);
    }
    if (stream) finish_streams();
  });
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
  program_.inputs = inputs;
  for (std::size_t i = 0; i < inputs; ++i) nodes_.emplace_back(Op("input"), value);
}

// Steps for the constants that were recorded since the last step.
void SymbolicTape::add_constants() {
  for (std::size_t i = program_.inputs + program_.steps.size(); i < size(); ++i) {
    const Tensor& t = *node(i).value;
    if (t.size() != 1)
      refuse(formula_, ": the formula uses a constant of shape ", t.shape(),
             "; need single numbers, or an input for it");
    program_.steps.push_back({nullptr, {}, *t.data()});
  }
}

Var SymbolicTape::add(const Row& row, const Operand* const* x) {
  Program::Step step;
  step.row = &row;
  for (std::size_t k = 0; k < row.operands; ++k)
    step.operands[k] = x[k]->is_number ? constant(x[k]->number).index : x[k]->var.index;
  add_constants();
  program_.steps.push_back(step);
  const std::size_t index = nodes_.size();
  nodes_.emplace_back(Op(row.name), value_);
  return var(index);
}

Program SymbolicTape::program(Operand result) {
  Var y = result.is_number ? constant(result.number) : result.var;
  if (y.tape != this)
    refuse(formula_,
           ": the formula gives a Var from outside of it; need one computed from its inputs, or a "
           "number");
  add_constants();
  const auto is_step = [&] {
    return y.index >= program_.inputs && program_.steps[y.index - program_.inputs].row;
  };
  if (!is_step()) y = apply<kCopy>(y);
  program_.steps.resize(y.index - program_.inputs + 1);
  return std::move(program_);
}

ARGTAPE_END
