// Compiled twice, for float and for double. Each byte of a program decides one thing: an op, an
// input, an axis, a length. What is refused is left out and the program goes on, so that every
// string of bytes is a program. All numbers that it begins with float holds exactly.
#include "tests/fuzz/tape_program.hpp"

#include <cmath>

#include "engine/sweep.hpp"
#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/linalg.hpp"
#include "ops/matching.hpp"
#include "ops/pool.hpp"
#include "ops/rules/names.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/select.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/sort.hpp"
#include "ops/top_k.hpp"
#include "tests/menu.hpp"

namespace {

constexpr std::size_t kMostNumbers = 2048;  // of a value; larger ones are left out
constexpr Scalar kLargest = 16;             // values beyond it are brought back by tanh

// splitmix64 (G. Steele, D. Lea, C. Flood, 2014): the same in both libraries.
struct Numbers {
  std::uint64_t state;
  std::uint64_t word() {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111eb;
    return z ^ (z >> 31U);
  }
  // Multiples of 1 / parts in [-2, 2].
  Tensor tensor(const Shape& shape, std::uint64_t parts) {
    Tensor t = uninitialised(shape);
    for (Scalar& v : t)
      v = static_cast<Scalar>(word() % (4 * parts + 1)) / static_cast<Scalar>(parts) - 2;
    return t;
  }
};

struct Machine {
  explicit Machine(const std::string& program) : program(program) {}

  const std::string& program;
  std::size_t at = 0;
  Tape tape;
  Vars leaves, pool;
  Numbers numbers{1};
  Rng rng{1};
  bool own_noise = false;

  std::size_t byte() { return at < program.size() ? static_cast<unsigned char>(program[at++]) : 0; }
  std::size_t below(std::size_t n) { return byte() % n; }
  // Most lengths are small; every mistake is made now and then.
  std::size_t length() { return below(4); }
  bool rarely() { return below(16) == 15; }

  Shape shape() {
    Shape s(below(6));
    for (std::size_t& n : s) n = below(8) == 0 ? 0 : 1 + below(3);
    return s;
  }
  // Each as often as the other, but the last few more often: so that chains are made.
  Var any() {
    const std::size_t last = std::min<std::size_t>(pool.size(), 4);
    return below(2) ? pool[pool.size() - 1 - below(last)] : pool[below(pool.size())];
  }
  Var leaf() { return leaves[below(leaves.size())]; }
  // Any, or one of x's shape: in what follows it x itself is the last resort.
  Var like(Var x) {
    const std::size_t from = below(pool.size());
    if (rarely()) return pool[from];
    for (std::size_t i = 0; i < pool.size(); ++i)
      if (const Var v = pool[(from + i) % pool.size()]; v.shape() == x.shape()) return v;
    return x;
  }
  int axis(Var x) {
    const auto rank = static_cast<int>(x.shape().size());
    return static_cast<int>(below(2 * x.shape().size() + (rank == 0))) - rank +
           (rarely() ? 2 * rank : 0);
  }
  std::size_t length_at(Var x, int axis) { return x.shape()[axis_of("fuzz", axis, x.shape())]; }
  std::vector<std::size_t> indices(std::size_t count, std::size_t bound) {
    std::vector<std::size_t> all(count);
    for (std::size_t& i : all) i = below(bound + (rarely() ? 1 : 0) + (bound == 0));
    return all;
  }
  double tau() { return rarely() ? 0 : 0.5 + 0.25 * static_cast<double>(below(8)); }
  Var noise(Var x) { return tape.constant(numbers.tensor(x.shape(), 64)); }
  // A tensor of this shape, of which each number depends on a leaf.
  Var made(const Shape& shape) {
    return tape.constant(numbers.tensor(shape, 4)) + tanh(sum(leaf()));
  }
  // A category's logits for each row of x, or for all.
  Var logits_for(Var x, std::size_t categories) {
    if (x.shape().empty() || below(4) == 0) return made({categories});
    return made({x.shape()[0], categories});
  }
  // The last two axes as images, the rest as a batch.
  Var images(Var x) {
    const std::size_t rank = x.shape().size();
    const std::size_t h = rank < 2 ? 1 : x.shape()[rank - 2],
                      w = rank < 1 ? 1 : x.shape()[rank - 1];
    return reshape(x, {h * w == 0 ? 0 : x.value().size() / (h * w), 1, h, w});
  }
  const std::string& rule_of(const std::vector<std::string>& names) {
    const std::string& name = names[below(names.size())];
    own_noise = own_noise || name == "gumbel-rao" || name == "perturbed" || name == "i-mle";
    return name;
  }
  Rule rule() { return rule_named(rule_of(rule_names()), tau()); }
  std::vector<BranchOf> branches() {
    const Var w = any();
    return {[](Var x) { return square(x); }, [](Var x) { return tanh(x); },
            [w](Var x) { return x + w; }};
  }
};

struct Step {
  const char* name;
  Var (*run)(Machine& m);
};

Vars inputs(Machine& m, std::size_t count) {
  Vars x = {m.any()};
  while (x.size() < count) x.push_back(m.below(2) ? m.any() : m.like(x[0]));
  return x;
}

// Beside the menu's tables, each as often as its neighbours.
const Step kSteps[] = {
    {"number by number",
     [](Machine& m) {
       const Word& op = kOps[m.below(std::size(kOps))];
       const Vars x = inputs(m, op.inputs);
       return m.below(2) ? op.fused(x) : op.plain(x);
     }},
    {"number by number",
     [](Machine& m) {
       const Word& op = kOps[m.below(std::size(kOps))];
       return op.plain(inputs(m, op.inputs));
     }},
    {"row by row",
     [](Machine& m) {
       const RowOp& op = kRowOps[m.below(std::size(kRowOps))];
       const Vars x = inputs(m, op.inputs);
       // The table's cross-entropies look for rows.
       return x[0].shape().empty() ? sum(x[0]) : op.f(x, m.axis(x[0]));
     }},
    {"sum of axes",
     [](Machine& m) {
       const Var x = m.any();
       Axes axes = {m.axis(x)};
       if (m.below(2)) axes.push_back(m.axis(x));
       return m.below(2) ? sum(x, axes) : logsumexp(x, axes, keep_axes);
     }},
    {"reshape",
     [](Machine& m) {
       const Var x = m.any();
       return reshape(x, {-1, static_cast<int>(m.length())});
     }},
    {"transpose",
     [](Machine& m) {
       const Var x = m.any();
       return m.below(2) ? transpose(x) : transpose(x, {m.axis(x), m.axis(x)});
     }},
    {"expand_dims",
     [](Machine& m) {
       const Var x = m.any();
       return expand_dims(x, m.axis(x));
     }},
    {"squeeze",
     [](Machine& m) {
       const Var x = m.any();
       return squeeze(x, m.axis(x));
     }},
    {"broadcast",
     [](Machine& m) {
       const Var x = m.any();
       Shape to = {m.length()};
       for (std::size_t n : x.shape()) to.push_back(n == 1 ? m.length() : n);
       return broadcast(x, to);
     }},
    {"concatenate",
     [](Machine& m) {
       const Vars x = inputs(m, 2);
       return concatenate(x, m.axis(x[0]));
     }},
    {"stack",
     [](Machine& m) {
       const Vars x = inputs(m, 1 + m.below(3));
       return stack(x, m.axis(x[0]));
     }},
    {"slice",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       const std::size_t n = m.length_at(x, axis), begin = m.below(n + 1);
       return slice(x, begin, begin + m.below(n - begin + 1) + (m.rarely() ? 1 : 0), axis,
                    1 + m.below(2));
     }},
    {"element",
     [](Machine& m) {
       const Var x = m.any();
       return x[static_cast<int>(m.below(5)) - 2];
     }},
    {"pad",
     [](Machine& m) {
       const Var x = m.any();
       const std::size_t before = m.length(), after = m.length();
       return pad(x, before, after, m.axis(x));
     }},
    {"take",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       return take(x, m.indices(m.length(), m.length_at(x, axis)), axis);
     }},
    {"gather",
     [](Machine& m) {
       const Var x = m.any();
       const Shape to = {m.length(), m.length()};
       return gather(x, m.indices(to[0] * to[1], x.value().size()), to);
     }},
    {"scatter",
     [](Machine& m) {
       const Var x = m.any();
       const Shape to = {m.length(), m.length()};
       return scatter(x, m.indices(x.value().size(), to[0] * to[1]), to);
     }},
    {"take_along_axis",
     [](Machine& m) {
       const Var x = m.any();
       const int axis = m.axis(x);
       const std::size_t n = m.length_at(x, axis), rows = n == 0 ? 1 : x.value().size() / n;
       return take_along_axis(x, m.indices(rows * m.length(), n), axis);
     }},
    {"scatter_add",
     [](Machine& m) {
       const Var x = m.any();
       const std::size_t n = m.length();
       return scatter_add(x, m.indices(x.value().size(), n), n, m.axis(x));
     }},
    {"split",
     [](Machine& m) {
       const Var x = m.any();
       const Vars parts = split(x, static_cast<int>(m.length()), m.axis(x));
       return parts.at(m.below(parts.size() + (parts.empty() ? 1 : 0)));
     }},
    {"matmul",
     [](Machine& m) {
       const Var a = m.any();
       const std::size_t k = a.shape().empty() ? 1 : a.shape().back();
       switch (m.below(4)) {
         case 0:
           return matmul(a, m.any());
         case 1:
           return matmul(a, m.made({k, m.length()}));
         case 2:
           return matmul_transposed(a, m.like(a));
         default:
           return dense(a, m.made({k, 2}), m.made({2}));
       }
     }},
    {"outer",
     [](Machine& m) {
       const Var a = reshape(m.any(), {-1});
       return m.below(2) ? outer(a, m.below(2) ? m.any() : a) : dot(a, m.like(a));
     }},
    {"conv2d",
     [](Machine& m) {
       const Var x = m.images(m.any());
       const Shape kernel = {1 + m.below(2), x.shape()[1], 1 + m.below(2), 1 + m.below(3)};
       const Var w = m.made(kernel);
       const Pixels stride(1 + m.below(2), 1 + m.length() % 3), padding(m.below(2), m.below(3));
       switch (m.below(3)) {
         case 0:
           return conv2d(x, w, stride, padding);
         case 1:
           return conv2d(x, w, m.made({kernel[0]}), stride, padding);
         default:
           return conv_transpose2d(x, transpose(w, {1, 0, 2, 3}), stride, padding);
       }
     }},
    {"pool",
     [](Machine& m) {
       const Var x = m.images(m.any());
       const std::size_t window = 1 + m.below(2), stride = m.length(), padding = m.below(3);
       return m.below(2) ? max_pool2d(x, window, stride, padding)
                         : avg_pool2d(x, window, stride, padding);
     }},
    {"sort",
     [](Machine& m) {
       const Var x = m.any();
       return sort(x, m.axis(x), m.below(2) ? Order::ascending : Order::descending);
     }},
    {"sinkhorn",
     [](Machine& m) -> Var {
       const Var a = m.any(), x = matmul_transposed(a, m.like(a));
       const double tau = m.tau();
       if (m.below(2)) return sinkhorn(x, tau, m.length());
       return sinkhorn(x, tau, Converge{1e-5, 100});
     }},
    {"argmax",
     [](Machine& m) {
       const Var x = m.any();
       return m.below(2) ? argmax(x, m.rule(), m.axis(x)) : argmin(x, m.rule(), m.axis(x));
     }},
    {"sample",
     [](Machine& m) {
       const Var x = m.any();
       return sample(x, m.rule(), m.rarely() ? m.any() : m.noise(x), m.axis(x));
     }},
    {"top_k",
     [](Machine& m) {
       const Var x = m.any();
       const Rule rule = top_k_rule_named(m.rule_of(top_k_rule_names()), m.tau());
       const std::size_t k = m.length();
       return m.below(2) ? top_k(x, k, rule, m.axis(x))
                         : sample_top_k(x, k, rule, m.noise(x), m.axis(x));
     }},
    {"top_k_log_prob",
     [](Machine& m) {
       const Var x = m.any();
       return top_k_log_prob(x, top_k(x, m.length(), zero()));
     }},
    {"matching",
     [](Machine& m) {
       const Var x = m.any();
       const Rule rule = matching_rule_named(m.rule_of(matching_rule_names()), m.tau());
       return m.below(2) ? matching(x, rule) : sample_matching(x, rule, m.noise(x));
     }},
    {"permute",
     [](Machine& m) {
       const Var p = m.any();
       return m.below(2) ? permute(p, m.any()) : unpermute(p, m.any());
     }},
    {"select",
     [](Machine& m) {
       const Var x = m.any(), logits = m.logits_for(x, m.rarely() ? m.length() : 3);
       const Var choice =
           m.below(2) ? argmax(logits, m.rule()) : sample(logits, m.rule(), m.noise(logits));
       const Unchosen others = m.below(2) ? Unchosen::nothing : Unchosen::as_scalars;
       return m.below(2) ? select(choice, x, m.branches(), others)
                         : mixture(m.below(2) ? choice : softmax(logits), x, m.branches());
     }},
    {"differentiate", [](Machine& m) {
       const Var cost = m.any();
       return differentiate(cost, m.leaf())[0];
     }}};

Tensor jittered(const Tensor& t, double by, Numbers& numbers) {
  Tensor factor = uninitialised(t.shape());
  for (Scalar& v : factor)
    v = static_cast<Scalar>(1 + by * (static_cast<double>(numbers.word() % 2001) / 1000 - 1));
  return factor;
}

// Runs the program's steps; gives the costs.
Vars run(Machine& m, Swept& to, double jitter, Numbers draw) {
  m.numbers.state = m.byte();
  const auto keep = [&](Var v) {
    bool whole = true;
    for (Scalar x : v.value()) whole = whole && x == std::round(x);
    if (jitter > 0 && !whole) v = v * m.tape.constant(jittered(v.value(), jitter, draw));
    m.pool.push_back(v);
  };
  for (std::size_t n = 1 + m.below(3); m.leaves.size() < n;) {
    m.leaves.push_back(m.tape.parameter(m.numbers.tensor(m.shape(), 4)));
    keep(m.leaves.back());
  }
  for (std::size_t n = 1 + m.below(24); n > 0 && m.at < m.program.size(); --n) {
    const Step& step = kSteps[m.below(std::size(kSteps))];
    to.steps += std::string(step.name);
    try {
      Var y = step.run(m);
      to.steps += " " + str(y.shape());
      if (y.value().size() > kMostNumbers) continue;
      bool small = true;
      for (Scalar x : y.value()) small = small && std::abs(x) <= kLargest;
      if (!small && !m.rarely()) y = tanh(y);
      to.comparable = to.comparable && worst_of(y.value()) == Worst::finite;
      keep(y);
    } catch (const std::invalid_argument& error) {
      if (std::string(error.what()).find("; ") == std::string::npos)
        to.fault = std::string("an error that does not say what is needed: ") + error.what();
      to.steps += " refused";
    } catch (const std::length_error&) {  // more numbers than memory holds
      to.steps += " refused";
    } catch (const std::out_of_range&) {  // the fuzzer's own
      to.steps += " left out";
    }
    to.steps += "; ";
  }
  to.comparable = to.comparable && !m.own_noise;
  Vars costs = {m.pool.back()};
  if (m.below(4) == 0) costs.push_back(m.any());
  return costs;
}

void note(Swept& to, const Tensor& t) {
  to.comparable = to.comparable && worst_of(t) == Worst::finite;
  to.numbers.emplace_back(t.begin(), t.end());
}

// backward() is the same each time, and leaves the tape as it was.
void sweep_backward(Machine& m, const Vars& costs, Swept& to) {
  const std::size_t size = m.tape.size();
  const Gradients dry = dry_run(costs), again = dry_run(costs), g = backward(costs);
  for (Var x : m.leaves) {
    note(to, g[x]);
    if (!identical(g[x], dry[x]) || !identical(dry[x], again[x]))
      to.fault = "a sweep differs from the one before";
    if (g[x].shape() != x.shape()) to.fault = "a gradient of another shape";
  }
  if (m.tape.size() != size) to.fault = "backward() left nodes";
}

void sweep_recorded(Machine& m, const Vars& costs, Swept& to) {
  const Vars slopes = differentiate(costs, m.leaves);
  for (Var g : slopes) note(to, g.value());
  const Vars bends = differentiate(slopes, m.leaves);
  const Gradients g = backward(slopes);
  for (std::size_t i = 0; i < bends.size(); ++i) {
    note(to, bends[i].value());
    note(to, g[m.leaves[i]]);
  }
}

void sweep_and_release(Machine& m, const Vars& costs, Swept& to) {
  std::vector<Tensor> all;
  for (Var x : m.leaves) all.push_back(zeros(x.shape()));
  backward_and_release(costs, [&](Var x, Tensor& g) {
    for (std::size_t i = 0; i < all.size(); ++i)
      if (m.leaves[i].index == x.index) all[i] = g;
  });
  for (const Tensor& g : all) note(to, g);
  try {
    backward(costs);
    to.fault = "a tape was swept after its last sweep";
  } catch (const std::logic_error&) {
  }
}

void check_usable(Machine& m, Swept& to) {
  const Var x = m.leaves[0], y = sum(x * x);
  if (!identical(backward(y)[x], Tensor(2 * x.value())))
    to.fault = "the tape is not usable afterwards";
}

Swept swept(const std::string& program, Way way, double jitter, int draw) {
  Swept to;
  Machine m(program);
  const Vars costs = run(m, to, jitter, Numbers{static_cast<std::uint64_t>(draw)});
  for (Var cost : costs) note(to, cost.value());
  const std::size_t size = m.tape.size();
  try {
    if (way == Way::backward) sweep_backward(m, costs, to);
    if (way == Way::recorded) sweep_recorded(m, costs, to);
    if (way == Way::released) sweep_and_release(m, costs, to);
  } catch (const std::invalid_argument& error) {
    to.refused = error.what();
    if (way != Way::recorded && m.tape.size() != size)
      to.fault = "a sweep that was refused left nodes";
  }
  if (way != Way::released) check_usable(m, to);
  return to;
}

}  // namespace

#ifdef ARGTAPE_DOUBLE
Swept swept_in_double(const std::string& program, Way way, double jitter, int draw) {
#else
Swept swept_in_float(const std::string& program, Way way, double jitter, int draw) {
#endif
  return swept(program, way, jitter, draw);
}
