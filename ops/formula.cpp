#include "ops/formula.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/elementwise_kernel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace formula {
namespace {

Program program_of(const char* op, const Lambda& f, std::size_t inputs) {
  const auto run = [&](const Tensor* value) {
    SymbolicTape tape(op, inputs, value);
    Var x[StretchedAxes::kMostInputs];
    for (std::size_t i = 0; i < inputs; ++i) x[i] = tape.var(i);
    return tape.program(f.call(f.f, x));
  };
  try {
    return run(nullptr);
  } catch (const std::logic_error&) {
    // With values to read, an op that may not stand in a formula comes so far as to be refused by
    // name.
    const Tensor value = ones({1, 1});
    run(&value);
    refuse(op,
           ": the formula reads a value, but is run once for all numbers; need functions of "
           "ops/elementwise.hpp");
  }
}

// Calls slope(node, k) for the operands k of the steps, from the last node on, to which a
// derivative may go: among what they lead to is a wanted input.
template <class Slope>
void each_slope(const Program& program, std::vector<bool> leads, Slope slope) {
  const auto each_operand = [&](std::size_t node, auto f) {
    const auto& [row, x, number] = program.steps[node - program.inputs];
    for (std::size_t k = 0; row && k < row->value.count; ++k)
      if (row->slopes[k].kernel && leads[x[k]]) f(k);
  };
  const std::size_t nodes = program.inputs + program.steps.size();
  leads.resize(nodes);
  for (std::size_t node = program.inputs; node < nodes; ++node)
    each_operand(node, [&](std::size_t) { leads[node] = true; });
  for (std::size_t node = nodes; node-- > program.inputs;)
    each_operand(node, [&](std::size_t k) { slope(node, k); });
}

std::vector<Var> inputs_of(const BackwardContext& ctx) {
  std::vector<Var> x;
  for (std::size_t i = 0; i < ctx.inputs(); ++i) x.push_back(ctx.in(i));
  return x;
}

// A program as kernels, which are run one after the other on each block. What they read and write
// are registers: the program's nodes, and the gradients for them.
class Machine {
 public:
  Machine(const Program& program, const Inputs& x);
  // Adds the derivatives for the inputs that want one, from the gradient that arrives, and leaves
  // out what is not needed then.
  void differentiate(const Source& gradient, bool value_needed);
  void put_result(const Out& out) { code_.back().to = out; }
  // Whether a derivative leads to input i; and where it is put.
  bool reaches(std::size_t i) const { return gradients_[i] != kNone; }
  void put_gradient(std::size_t i, const Out& out);
  // Over all of `shape`. sums[i] becomes the sum of the result's grain i, unless it is null.
  void run(const Shape& shape, double* sums) const;

 private:
  static constexpr Index kNone = ~Index{0};
  struct Instruction {
    const Row::Formula* formula;
    Index in[kReadable], out;
    Index base;   // what is added
    Out to = {};  // in place of the register's own numbers
  };
  void add(const Row::Formula& formula, const Index* readable, Index out, Index base);
  void run_block(std::size_t at, std::size_t n, bool stream, Block* registers) const;

  const Program& program_;
  const Index result_;
  Index registers_;              // their number: nodes come first
  std::vector<Source> sources_;  // for the inputs, and the gradient that arrives
  std::vector<bool> wanted_;     // inputs
  std::vector<Instruction> code_;
  std::vector<Index> gradients_;  // for inputs and steps
};

Machine::Machine(const Program& program, const Inputs& x)
    : program_(program),
      result_(static_cast<Index>(program.inputs + program.steps.size()) - 1),
      registers_(result_ + 1) {
  for (const Var& v : x) {
    sources_.push_back({v.value().data(), &v.shape()});
    wanted_.push_back(v.tape->node(v.index).wants_gradient);
  }
  auto node = static_cast<Index>(program.inputs);
  for (const auto& [row, operands, number] : program.steps) {
    if (row) add(row->value, operands, node, kNone);
    ++node;
  }
}

void Machine::add(const Row::Formula& formula, const Index* readable, Index out, Index base) {
  code_.push_back({&formula, {}, out, base});
  for (std::size_t i = 0; i < formula.count; ++i) code_.back().in[i] = readable[formula.reads[i]];
}

void Machine::differentiate(const Source& gradient, bool value_needed) {
  sources_.push_back(gradient);
  gradients_.assign(registers_, kNone);
  gradients_.back() = static_cast<Index>(program_.inputs - 1);
  each_slope(program_, wanted_, [&](std::size_t node, std::size_t k) {
    const auto& [row, x, number] = program_.steps[node - program_.inputs];
    const Index g = gradients_[node];
    Index& sum = gradients_[x[k]];
    if (g == kNone) return;
    if (row->slopes[k].passes && sum == kNone && x[k] >= program_.inputs) {
      sum = g;
      return;
    }
    const Index readable[kReadable] = {x[0], x[1], x[2], static_cast<Index>(node), g};
    add(row->slopes[k], readable, registers_, sum);
    sum = registers_++;
  });
  std::vector<bool> needed(registers_, false);
  for (std::size_t i = 0; i < program_.inputs; ++i)
    if (reaches(i)) needed[gradients_[i]] = true;
  needed[result_] = value_needed;
  const auto unneeded = [&](const Instruction& c) {
    if (!needed[c.out]) return true;
    for (std::size_t i = 0; i < c.formula->count; ++i) needed[c.in[i]] = true;
    if (c.base != kNone) needed[c.base] = true;
    return false;
  };
  code_.erase(code_.begin(), std::remove_if(code_.rbegin(), code_.rend(), unneeded).base());
}

void Machine::put_gradient(std::size_t i, const Out& out) {
  const Index g = gradients_[i];
  if (out.base.data)  // at the end, since an input that is given twice is gathered at one place
    code_.push_back({&kCopy.value, {g}, registers_++, kNone, out});
  else
    std::find_if(code_.begin(), code_.end(), [g](const auto& c) { return c.out == g; })->to = out;
}

void Machine::run(const Shape& shape, double* sums) const {
  constexpr std::size_t least = BroadcastLoop::kBlock, line = 64 / sizeof(Scalar);
  // Fewer registers are longer: what is done once a block is then done less often.
  const std::size_t size = std::max(least, 16 * least / registers_ / line * line);
  const bool stream = streams(size_of(shape));
  const BroadcastLoop loop(shape, sources_.data(), sources_.size());
  parallel_for(size_of(shape), kGrain, [&](std::size_t begin, std::size_t end) {
    Tensor own = uninitialised({registers_, size});
    std::vector<Block> registers(registers_);
    for (std::size_t r = 0; r < registers_; ++r) registers[r] = run_of(own.data() + r * size);
    for (std::size_t s = 0; s < program_.steps.size(); ++s)
      if (const std::size_t r = program_.inputs + s; !program_.steps[s].row)
        registers[r] = lane_of(program_.steps[s].number, own.data() + r * size);
    for (std::size_t from = begin; from < end; from += kGrain) {
      BroadcastLoop::Blocks block(loop, from, std::min(from + kGrain, end), size, registers.data());
      while (block.next()) {
        for (std::size_t j = 0; stream && j < sources_.size(); ++j)
          for (std::size_t i = 0; registers[j].along && i < size; i += line)
            __builtin_prefetch(registers[j].data + 2 * size + i);
        run_block(block.at, block.n, stream, registers.data());
        if (sums)
          sums[from / kGrain] +=
              static_cast<double>(argtape::sum_of(registers[result_].data, block.n));
      }
    }
    finish_streams();
  });
}

void Machine::run_block(std::size_t at, std::size_t n, bool stream, Block* registers) const {
  for (const Instruction& c : code_) {
    Block& result = registers[c.out];
    const bool adds = c.to.base.data;
    if (c.to.to) result.data = c.to.to + at;
    const Block base = c.base != kNone ? registers[c.base] : adds ? result : Block{nullptr, 0};
    const Out out{const_cast<Scalar*>(result.data), base, stream && c.to.to && !adds};
    c.formula->kernel(n, out, registers, c.in);
  }
}

// The derivatives in Vars, for a recorded sweep: the program is recorded, op by op.
void give_vars(BackwardContext& ctx, const Program& program, const Shape& shape, double factor) {
  Tape& tape = *ctx.out().tape;
  std::vector<Var> v = inputs_of(ctx);
  const Var g = factor == 1 ? ctx.gradient() : ctx.gradient() * factor;
  v.push_back(g.shape() == shape ? g : broadcast_to(g, shape));
  for (const auto& [row, x, number] : program.steps) {
    const Operand operands[] = {v[x[0]], v[x[1]], v[x[2]]};
    const Operand* const all[] = {operands, operands + 1, operands + 2};
    v.push_back(row ? apply(*row, all) : tape.constant(static_cast<double>(number)));
  }
  std::vector<bool> wanted;
  for (std::size_t i = 0; i < ctx.inputs(); ++i) wanted.push_back(ctx.wants(i));
  std::vector<Var> gradients(v.size());
  gradients.back() = v[program.inputs - 1];
  each_slope(program, wanted, [&](std::size_t node, std::size_t k) {
    const auto& [row, x, number] = program.steps[node - program.inputs];
    if (!gradients[node].tape) return;
    const Var readable[kReadable] = {v[x[0]], v[x[1]], v[x[2]], v[node], gradients[node]};
    const Var slope = row->slopes[k].vars(readable);
    Var& sum = gradients[x[k]];
    sum = sum.tape ? sum + slope : slope;
  });
  for (std::size_t i = 0; i < ctx.inputs(); ++i)
    if (gradients[i].tape) ctx.give(i, gradients[i]);
}

void backward(BackwardContext& ctx, const Program& program) {
  const Var out = ctx.out();
  const Shape& shape = out.shape();
  if (recorded(ctx)) return give_vars(ctx, program, shape, 1);
  Machine machine(program, inputs_of(ctx));
  machine.differentiate(arrived(ctx), false);
  for (std::size_t i = 0; i < ctx.inputs(); ++i) {
    if (machine.reaches(i)) machine.put_gradient(i, gradient_out(ctx, i));
  }
  machine.run(shape, nullptr);
}

// What a sum keeps for its backward.
struct Sum {
  Program program;
  Shape shape;
  Scalar factor;
  using Slopes = std::vector<std::pair<std::size_t, Tensor>>;  // by input
  Slopes slopes;                                               // gone when a sweep took them

  double run(const Inputs& x) {
    Slopes found;
    Machine machine(program, x);
    machine.differentiate({&factor, nullptr}, true);
    found.reserve(x.size());  // a few numbers stand in the tensor itself, which must not move
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!machine.reaches(i)) continue;
      found.emplace_back(i, uninitialised(shape));
      machine.put_gradient(i, {found.back().second.data()});
    }
    std::vector<double> sums((size_of(shape) + kGrain - 1) / kGrain, 0.0);
    machine.run(shape, sums.data());
    for (auto& [i, slope] : found)
      if (x[i].shape() != shape) slope = sum_to(slope, x[i].shape());
    slopes = std::move(found);
    return std::accumulate(sums.begin(), sums.end(), 0.0);
  }
  void backward(BackwardContext& ctx) {
    if (recorded(ctx)) return give_vars(ctx, program, shape, static_cast<double>(factor));
    if (slopes.empty()) run(inputs_of(ctx));
    Slopes taken = std::exchange(slopes, {});  // scaled below: none may be left to the next
    const Scalar g = *ctx.gradient().value().data();
    for (auto& [i, slope] : taken) {
      if (g != 1)
        map_lanes(
            slope.size(), slope.data(), false, [g](Lane x) { return times(Lane(g), x); },
            slope.data());
      ctx.give(i, ctx.out().tape->constant(std::move(slope), "gradient"));
    }
  }
};

}  // namespace

Var elementwise(const char* name, Lambda f, Inputs x) {
  if (x[0].tape && SymbolicTape::of(*x[0].tape)) {  // a formula in a formula
    const Operand y = f.call(f.f, x.begin());
    return y.is_number ? x[0].tape->constant(y.number) : y.var;
  }
  const Shape shape = shape_of(name, x);
  const auto program = std::make_shared<const Program>(program_of(name, f, x.size()));
  Tensor y = uninitialised(shape);
  Machine machine(*program, x);
  machine.put_result({y.data()});
  machine.run(shape, nullptr);
  return x[0].tape->record(name, {x.begin(), x.size()}, std::move(y),
                           [program](BackwardContext& ctx) { backward(ctx, *program); });
}

Var sum(const char* name, bool mean, Lambda f, Inputs x) {
  const Shape shape = shape_of(name, x);
  const std::size_t size = size_of(shape);
  if (mean && size == 0) refuse(name, ": the inputs are ", shape, "; need at least one number");
  const double factor = mean ? 1 / static_cast<double>(size) : 1;
  const auto sum = std::make_shared<Sum>(
      Sum{program_of(name, f, x.size()), shape, static_cast<Scalar>(factor), {}});
  return x[0].tape->record(name, {x.begin(), x.size()}, full({}, sum->run(x) * factor),
                           [sum](BackwardContext& ctx) { sum->backward(ctx); });
}

}  // namespace formula
ARGTAPE_END
