#include "ops/kernels/elementwise_kernel.hpp"

#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "engine/system/sweep_door.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// So few numbers are copied faster than anything is decided about them.
bool is_small(const Tensor& x) { return x.size() <= kNumbersInside; }

// Of the shape of x, not set.
Tensor like(const Tensor& x) { return is_small(x) ? x : Tensor(x.shape()); }

// What formulas read, for a result of `shape`. It is straight where no operand is stretched that is
// more than one number: then blocks are all there is to it.
struct Readable {
  explicit Readable(const Shape& shape) : shape(shape) {}
  void set(Index at, const Source& from) {
    sources[at] = from;
    if (from.shape && *from.shape == shape)
      blocks[at] = run_of(from.data);
    else if (!from.shape || (size_of(*from.shape) == 1 && from.shape->size() <= shape.size()))
      blocks[at] = lane_of(*from.data, lanes[at]);
    else
      straight = false, blocks[at].along = 0;  // not a run
  }
  void set(Index at, const Tensor& value) { set(at, Source{value.data(), &value.shape()}); }

  /// Whether it has the result's shape.
  bool runs(Index at) const { return blocks[at].along != 0; }

  const Shape& shape;
  bool straight = true;
  Source sources[kReadable];
  Block blocks[kReadable];
  Scalar lanes[kReadable][kLane];
};

void map_in_blocks(const Row::Formula& formula, const Readable& in, std::size_t size,
                   const Out& out) {
  static constexpr Index in_order[kReadable] = {0, 1, 2, 3, 4};
  Source read[kReadable];
  for (std::size_t i = 0; i < formula.count; ++i) read[i] = in.sources[formula.reads[i]];
  const bool stream = !out.base.data && streams(size);
  const BroadcastLoop loop(in.shape, read, formula.count);
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

// out = the formula of what it reads, which broadcasts to the shape: at once for few numbers.
inline void map(const Row::Formula& formula, const Readable& in, std::size_t size, const Out& out) {
  if (in.straight && size < 2 * kGrain)
    formula.kernel(size, out, in.blocks, formula.reads);
  else
    map_in_blocks(formula, in, size, out);
}

// `numbers` has bit k set where operand k is a number, not the next input.
void backward_in_vars(BackwardContext& ctx, const Row& row, unsigned numbers, const Scalar* kept) {
  Var x[kReadable];
  const Scalar* number[kMostOperands];
  std::size_t inputs = 0;
  for (std::size_t k = 0; k < row.value.count; ++k)
    if (numbers >> k & 1)
      number[k] = kept++;
    else
      x[k] = ctx.in(inputs++);
  x[kValue] = ctx.out();
  x[kGradient] = ctx.gradient();
  std::size_t i = 0;
  for (std::size_t k = 0; k < row.value.count; ++k) {
    if (numbers >> k & 1) continue;
    const Row::Slope& slope = row.slopes[k];
    if (slope.kernel && ctx.wants(i)) {
      for (std::size_t r = 0; r < slope.count; ++r)
        if (Var& v = x[slope.reads[r]]; !v.tape)
          v = ctx.out().tape->constant(static_cast<double>(*number[slope.reads[r]]));
      slope.passes ? ctx.pass(i) : ctx.give(i, slope.vars(x));
    }
    ++i;
  }
}

// Where the gradient for an input is put that has the result's shape.
inline Out in_place(BackwardContext& ctx, std::size_t i) {
  const auto [to, fresh] = SweepDoor::sink(ctx, i);
  return {to, {fresh ? nullptr : to, ~std::size_t{0}}};
}

// `numbers` is known to the compiler: each is inlined.
[[gnu::always_inline]] inline void backward(BackwardContext& ctx, const Row& row, unsigned numbers,
                                            const Scalar* kept) {
  if (recorded(ctx)) return backward_in_vars(ctx, row, numbers, kept);
  const Node& out = SweepDoor::node(ctx);
  const Tape& tape = *ctx.out().tape;
  const Node* in[kMostOperands];
  Readable x(out.value->shape());
  std::size_t i = 0;
  for (Index k = 0; k < row.value.count; ++k)
    if (numbers >> k & 1) {
      x.set(k, Source{kept++, nullptr});
    } else {
      in[k] = &tape.node(out.inputs[i++]);
      x.set(k, *in[k]->value);
    }
  x.set(kValue, *out.value);
  x.set(kGradient, SweepDoor::unexpanded(ctx));
  i = 0;
  for (Index k = 0; k < row.value.count; ++k) {
    if (numbers >> k & 1) continue;
    const Row::Slope& slope = row.slopes[k];
    if (slope.kernel && in[k]->wants_gradient) {
      if (slope.passes && !(x.straight && is_small(*out.value)))
        ctx.pass(i);
      else
        map(slope, x, out.value->size(), x.runs(k) ? in_place(ctx, i) : gradient_out(ctx, i));
    }
    ++i;
  }
}

// A backward has room for a row and two numbers: which operands they are is in the type.
template <unsigned numbers>
Backward backward_of(const Row& row, const Scalar* x) {
  std::array<Scalar, (numbers & 1) + (numbers >> 1 & 1) + (numbers >> 2)> kept{};
  std::size_t next = 0;
  for (std::size_t k = 0; k < kMostOperands; ++k)
    if (numbers >> k & 1) kept[next++] = x[k];
  return [&row, kept](BackwardContext& ctx) { backward(ctx, row, numbers, kept.data()); };
}

// An infinite number too has a node: what it makes infinite is not to be blamed for it.
bool needs_node(const Operand& x) {
  return x.tensor || (x.is_number && !std::isfinite(static_cast<Scalar>(x.number)));
}

Var apply_beside_constants(const Row& row, const Operand* const* x) {
  Tape& tape = tape_among(row.op.name.c_str(), x, row.value.count);
  Operand own[] = {0.0, 0.0, 0.0};
  const Operand* all[kMostOperands];
  for (std::size_t k = 0; k < row.value.count; ++k) {
    if (needs_node(*x[k])) own[k] = x[k]->on(tape);
    all[k] = needs_node(*x[k]) ? &own[k] : x[k];
  }
  return apply(row, all);
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
  bool one_tape = true;
  for (std::size_t k = 0; k < operands; ++k) {
    if (needs_node(*x[k])) return apply_beside_constants(row, x);
    if (x[k]->is_number) continue;
    Var& v = vars[count++];  // not copied whole: what was just written in parts would be waited for
    v.tape = x[k]->var.tape;
    v.index = x[k]->var.index;
    one_tape &= v.tape == vars[0].tape;
  }
  const Inputs inputs(vars, count);
  Tape* const tape = one_tape && vars[0].tape ? vars[0].tape : &tape_of(row.op.name, inputs);
  if (SymbolicTape* symbolic = SymbolicTape::of(*tape)) return symbolic->add(row, x);
  Scalar numbers[kMostOperands];
  unsigned which = 0;
  const auto set_all = [&](Readable& in) {
    for (Index k = 0; k < operands; ++k) {
      if (x[k]->is_number) {
        which |= 1u << k;
        numbers[k] = static_cast<Scalar>(x[k]->number);
        in.set(k, Source{&numbers[k], nullptr});
      } else {
        in.set(k, x[k]->var.value());
      }
    }
  };
  const Tensor& first = vars[0].value();
  Readable alike(first.shape());
  set_all(alike);
  const auto value = [&] {
    Tensor y = alike.straight ? like(first) : uninitialised(shape_of(row.op.name.c_str(), inputs));
    if (alike.straight) {
      map(row.value, alike, y.size(), {y.data()});
    } else {
      Readable stretched(y.shape());
      set_all(stretched);
      map(row.value, stretched, y.size(), {y.data()});
    }
    return y;
  };
  static constexpr Backward (*backwards[])(const Row&, const Scalar*) = {
      backward_of<0>, backward_of<1>, backward_of<2>, backward_of<3>,
      backward_of<4>, backward_of<5>, backward_of<6>};
  return SweepDoor::record(*tape, row.op, inputs, value, backwards[which](row, numbers));
}

bool recorded(const BackwardContext& ctx) { return SweepDoor::recorded(ctx); }

Source arrived(const BackwardContext& ctx) {
  const Tensor& g = SweepDoor::unexpanded(ctx);
  return {g.data(), &g.shape()};
}

Out gradient_out(BackwardContext& ctx, std::size_t i) {
  const Var out = ctx.out();
  const Shape& shape = out.shape();
  if (ctx.in(i).shape() == shape) return in_place(ctx, i);
  // The sweep sums it when it is filled.
  const Var whole = out.tape->constant(uninitialised(shape), "gradient");
  ctx.give(i, whole);
  return {const_cast<Scalar*>(whole.value().data())};
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
  nodes_.emplace_back(row.op, value_);
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
