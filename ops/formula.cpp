#include "ops/formula.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <string>

#include "engine/broadcast.hpp"
#include "engine/require.hpp"
#include "engine/system/parallel.hpp"
#include "ops/kernels/elementwise_kernel.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace formula {
namespace {

Program run_symbolic(const char* op, const Lambda& f, std::size_t inputs, const Tensor* value) {
  SymbolicTape tape(op, inputs, value);
  Var x[BroadcastLoop::kMostInputs];
  for (std::size_t i = 0; i < inputs; ++i) x[i] = tape.var(i);
  return tape.program(f.call(f.f, x));
}

Program program_of(const char* op, const Lambda& f, std::size_t inputs) {
  try {
    return run_symbolic(op, f, inputs, nullptr);
  } catch (const std::logic_error&) {
    // With values to read, an op that may not stand in a formula comes so far as to be refused by
    // name.
    const Tensor value = ones({1, 1});
    run_symbolic(op, f, inputs, &value);
    refuse(op,
           ": the formula reads a value, but is run once for all numbers; need functions of "
           "ops/elementwise.hpp");
  }
}

// The shape the inputs broadcast to.
Shape shape_of(const char* op, Inputs inputs) {
  tape_of(op, inputs);
  Shape shape = inputs[0].shape();
  for (const Var& x : inputs) shape = broadcast_shape(op, shape, x.shape());
  return shape;
}

// Which inputs and steps have a wanted input among what their derivatives lead to.
std::vector<bool> leads_to(const Program& program, std::vector<bool> wanted) {
  wanted.resize(program.inputs);
  for (const Program::Step& step : program.steps) {
    bool any = false;
    for (std::size_t k = 0; step.row && k < step.row->operands; ++k)
      any = any || (step.row->slopes[k].kernel && wanted[step.operands[k]]);
    wanted.push_back(any);
  }
  return wanted;
}

// Four sums side by side, none of which waits for the others.
double sum_of(const Scalar* x, std::size_t n) {
  Lane sums[4] = {Lane(0), Lane(0), Lane(0), Lane(0)};
  std::size_t i = 0;
  for (; i + 4 * kLane <= n; i += 4 * kLane)
    for (std::size_t k = 0; k < 4; ++k) sums[k] += Lane::load_unaligned(x + i + k * kLane);
  for (; i < n; i += kLane)
    sums[0] += n - i < kLane ? load_some(x + i, n - i) : Lane::load_unaligned(x + i);
  return static_cast<double>(lane_sum((sums[0] + sums[1]) + (sums[2] + sums[3])));
}

// A program as kernels, which are run one after the other on each block. What they read and write
// are registers: the inputs, the steps, the gradient that arrives for the result, and the gradients
// for steps and inputs.
class Machine {
 public:
  explicit Machine(const Program& program);
  void put_result(const Out& out) { code_.back().to = out; }
  // Adds the derivatives for the inputs that are wanted, and leaves out what is not needed then.
  void differentiate(const std::vector<bool>& wanted, bool value_needed);
  // Whether a derivative leads to input i; and where it is put.
  bool reaches(std::size_t i) const { return gradients_[i] != kNone; }
  void put_gradient(std::size_t i, const Out& out);
  // Over all of `shape`, from the inputs, and the gradient that arrives if there are derivatives.
  // sums[i] becomes the sum of the result's grain i, unless it is null.
  void run(const Shape& shape, const std::vector<Source>& inputs, double* sums) const;

 private:
  static constexpr Index kNone = ~Index{0};
  struct Instruction {
    Kernel kernel;
    std::size_t count;
    Index in[kReadable], out;
    Index base;   // what is added
    Out to = {};  // in place of the register's own numbers
  };
  void run_block(std::size_t at, std::size_t n, Block* registers) const;

  const Program& program_;
  const Index arriving_;
  Index registers_;
  std::vector<Instruction> code_;
  std::vector<Index> gradients_;  // for inputs and steps
};

Machine::Machine(const Program& program)
    : program_(program),
      arriving_(static_cast<Index>(program.inputs + program.steps.size())),
      registers_(arriving_ + 1) {
  for (std::size_t s = 0; s < program.steps.size(); ++s) {
    const auto& [row, x, number] = program.steps[s];
    if (row)
      code_.push_back({row->value,
                       row->operands,
                       {x[0], x[1], x[2]},
                       static_cast<Index>(program.inputs + s),
                       kNone});
  }
}

void Machine::differentiate(const std::vector<bool>& wanted, bool value_needed) {
  const std::vector<bool> leads = leads_to(program_, wanted);
  gradients_.assign(arriving_, kNone);
  gradients_.back() = arriving_;
  for (Index node = arriving_; node-- > program_.inputs;) {
    const auto& [row, x, number] = program_.steps[node - program_.inputs];
    const Index g = gradients_[node];
    for (std::size_t k = 0; row && g != kNone && k < row->operands; ++k) {
      if (!row->slopes[k].kernel || !leads[x[k]]) continue;
      Index& sum = gradients_[x[k]];
      if (row->slopes[k].passes && sum == kNone && x[k] >= program_.inputs) {
        sum = g;
        continue;
      }
      const Index readable[kReadable] = {x[0], x[1], x[2], node, g};
      Instruction c{row->slopes[k].kernel, row->slopes[k].count, {}, registers_++, sum};
      for (std::size_t i = 0; i < c.count; ++i) c.in[i] = readable[row->slopes[k].reads[i]];
      code_.push_back(c);
      sum = c.out;
    }
  }
  std::vector<bool> needed(registers_, false);
  for (std::size_t i = 0; i < program_.inputs; ++i)
    if (reaches(i)) needed[gradients_[i]] = true;
  needed[arriving_ - 1] = value_needed;
  const auto unneeded = [&](const Instruction& c) {
    if (!needed[c.out]) return true;
    for (std::size_t i = 0; i < c.count; ++i) needed[c.in[i]] = true;
    if (c.base != kNone) needed[c.base] = true;
    return false;
  };
  code_.erase(code_.begin(), std::remove_if(code_.rbegin(), code_.rend(), unneeded).base());
}

void Machine::put_gradient(std::size_t i, const Out& out) {
  const Index g = gradients_[i];
  if (out.base.data)  // at the end, since an input that is given twice is gathered at one place
    code_.push_back({kRow<kCopy>.value, 1, {g}, registers_++, kNone, out});
  else
    std::find_if(code_.begin(), code_.end(), [g](const auto& c) { return c.out == g; })->to = out;
}

void Machine::run(const Shape& shape, const std::vector<Source>& inputs, double* sums) const {
  constexpr std::size_t size = BroadcastLoop::kBlock;
  const BroadcastLoop loop(shape, inputs.data(), inputs.size());
  parallel_for(size_of(shape), kGrain, [&](std::size_t begin, std::size_t end) {
    Tensor own = uninitialised({registers_, size});
    std::vector<Block> registers(registers_);
    for (std::size_t r = 0; r < registers_; ++r) registers[r] = run_of(own.data() + r * size);
    for (std::size_t s = 0; s < program_.steps.size(); ++s)
      if (const std::size_t r = program_.inputs + s; !program_.steps[s].row)
        registers[r] = lane_of(program_.steps[s].number, own.data() + r * size);
    for (std::size_t from = begin; from < end; from += kGrain) {
      BroadcastLoop::Blocks block(loop, from, std::min(from + kGrain, end), size);
      while (block.next()) {
        for (std::size_t j = 0; j < program_.inputs; ++j) registers[j] = block.in[j];
        if (inputs.size() > program_.inputs) registers[arriving_] = block.in[program_.inputs];
        for (std::size_t j = 0; j < inputs.size(); ++j)
          for (std::size_t i = 0; block.in[j].along && i < size; i += 64 / sizeof(Scalar))
            __builtin_prefetch(block.in[j].data + 2 * size + i);
        run_block(block.at, block.n, registers.data());
        if (sums) sums[from / kGrain] += sum_of(registers[arriving_ - 1].data, block.n);
      }
    }
    finish_streams();
  });
}

void Machine::run_block(std::size_t at, std::size_t n, Block* registers) const {
  for (const Instruction& c : code_) {
    Block& result = registers[c.out];
    if (c.to.to) result.data = c.to.to + at;
    Out out{const_cast<Scalar*>(result.data), {nullptr, 0}, c.to.stream};
    if (c.base != kNone)
      out.base = registers[c.base];
    else if (c.to.base.data)
      out.base = result;
    c.kernel(n, out, registers, c.in);
  }
}

std::vector<Source> sources(Inputs x) {
  std::vector<Source> all;
  for (const Var& v : x) all.push_back({v.value().data(), &v.shape()});
  return all;
}

std::vector<Var> inputs_of(const BackwardContext& ctx) {
  std::vector<Var> x;
  for (std::size_t i = 0; i < ctx.inputs(); ++i) x.push_back(ctx.in(i));
  return x;
}

std::vector<bool> wanted_by(const BackwardContext& ctx) {
  std::vector<bool> wanted;
  for (std::size_t i = 0; i < ctx.inputs(); ++i) wanted.push_back(ctx.wants(i));
  return wanted;
}

// Of a result so large that no cache would hold it.
bool streams(const Shape& shape) { return size_of(shape) * sizeof(Scalar) >= kPastCaches; }

// The derivatives in Vars, for a recorded sweep: the program is recorded, op by op.
void give_vars(BackwardContext& ctx, const Program& program, const Shape& shape, double factor) {
  Tape& tape = *ctx.out().tape;
  std::vector<Var> v = inputs_of(ctx);
  for (const auto& [row, x, number] : program.steps) {
    const Operand operands[] = {v[x[0]], v[x[1]], v[x[2]]};
    const Operand* const all[] = {operands, operands + 1, operands + 2};
    v.push_back(row ? apply(*row, all) : tape.constant(static_cast<double>(number)));
  }
  const std::vector<bool> leads = leads_to(program, wanted_by(ctx));
  std::vector<Var> gradients(v.size());
  const Var arriving = factor == 1 ? ctx.gradient() : ctx.gradient() * factor;
  gradients.back() = arriving.shape() == shape ? arriving : broadcast_to(arriving, shape);
  for (std::size_t s = program.steps.size(); s-- > 0;) {
    const auto& [row, x, number] = program.steps[s];
    const Var g = gradients[program.inputs + s], y = v[program.inputs + s];
    if (!row || !g.tape) continue;
    const Var readable[kReadable] = {v[x[0]], v[x[1]], v[x[2]], y, g};
    for (std::size_t k = 0; k < row->operands; ++k) {
      if (!row->slopes[k].vars || !leads[x[k]]) continue;
      const Var slope = row->slopes[k].vars(readable);
      Var& sum = gradients[x[k]];
      sum = sum.tape ? sum + slope : slope;
    }
  }
  for (std::size_t i = 0; i < program.inputs; ++i)
    if (gradients[i].tape) ctx.give(i, gradients[i]);
}

void backward(BackwardContext& ctx, const Program& program) {
  const Shape& shape = ctx.out().shape();
  if (recorded(ctx)) return give_vars(ctx, program, shape, 1);
  Machine machine(program);
  machine.differentiate(wanted_by(ctx), false);
  for (std::size_t i = 0; i < program.inputs; ++i) {
    if (!machine.reaches(i)) continue;
    Out out = gradient_out(ctx, i);
    out.stream = !out.base.data && streams(shape);
    machine.put_gradient(i, out);
  }
  std::vector<Source> inputs = sources(inputs_of(ctx));
  inputs.push_back(arrived(ctx));
  machine.run(shape, inputs, nullptr);
}

// What a sum keeps for its backward.
struct Sum {
  Program program;
  Shape shape;
  Scalar factor;
  std::vector<std::pair<std::size_t, Tensor>> slopes;  // by input; gone when a sweep took them

  double run(Inputs x, const std::vector<bool>& wanted) {
    Machine machine(program);
    std::vector<Source> inputs = sources(x);
    machine.differentiate(wanted, true);
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!machine.reaches(i)) continue;
      slopes.emplace_back(i, uninitialised(shape));
      machine.put_gradient(i, {slopes.back().second.data(), {nullptr, 0}, streams(shape)});
    }
    inputs.push_back({&factor, nullptr});
    std::vector<double> sums((size_of(shape) + kGrain - 1) / kGrain, 0.0);
    machine.run(shape, inputs, sums.data());
    for (auto& [i, slope] : slopes)
      if (x[i].shape() != shape) slope = sum_to(slope, x[i].shape());
    double total = 0;
    for (double s : sums) total += s;
    return total;
  }
  void backward(BackwardContext& ctx) {
    if (recorded(ctx)) return give_vars(ctx, program, shape, static_cast<double>(factor));
    if (slopes.empty()) run(inputs_of(ctx), wanted_by(ctx));
    const Scalar g = *ctx.gradient().value().data();
    for (auto& [i, slope] : slopes) {
      if (g != 1) slope *= g;
      ctx.give(i, ctx.out().tape->constant(std::move(slope), "gradient"));
    }
    slopes.clear();
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
  Machine machine(*program);
  machine.put_result({y.data(), {nullptr, 0}, streams(shape)});
  machine.run(shape, sources(x), nullptr);
  return x[0].tape->record(name, x, std::move(y),
                           [program](BackwardContext& ctx) { backward(ctx, *program); });
}

Var sum(const char* name, bool mean, Lambda f, Inputs x) {
  const Shape shape = shape_of(name, x);
  const std::size_t size = size_of(shape);
  if (mean && size == 0) refuse(name, ": the inputs are ", shape, "; need at least one number");
  const double factor = mean ? 1 / static_cast<double>(size) : 1;
  const auto sum = std::make_shared<Sum>(
      Sum{program_of(name, f, x.size()), shape, static_cast<Scalar>(factor), {}});
  std::vector<bool> wanted;
  for (const Var& v : x) wanted.push_back(v.tape->node(v.index).wants_gradient);
  const double total = sum->run(x, wanted);
  return x[0].tape->record(name, x, full({}, total * factor),
                           [sum](BackwardContext& ctx) { sum->backward(ctx); });
}

}  // namespace formula
ARGTAPE_END
