// What reads a program's bytes: each decides one thing, a length, an axis, an input, a rule.
#pragma once

#include "engine/sweep.hpp"
#include "ops/expectation.hpp"
#include "ops/rules/names.hpp"
#include "tests/menu.hpp"

namespace {

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
  Numbers numbers{1}, draw{0};
  double jitter = 0;  // of `draw`: how far values are moved, beside 1 and their size
  Rng rng{1};
  bool by_chance = false;         // see Swept
  std::vector<std::string> said;  // by name, what the running step is made of

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
    const Var x = leaf();
    const auto size = static_cast<double>(std::max<std::size_t>(1, x.value().size()));
    return moved(tape.constant(numbers.tensor(shape, 4)) + tanh(sum(x) / size));
  }
  // A hard choice is exact in either library. What scales a value scales its cotangent too, number
  // by number: gradients that cancel, as softmax's do in sum(softmax(x)), do so to within rounding
  // only.
  Var moved(Var v) {
    const auto whole = [](Scalar x) { return x == std::floor(x); };
    const Tensor& value = v.value();
    if (jitter == 0 || (tape.node(v.index).op.flow != Flow::exact &&
                        std::all_of(value.begin(), value.end(), whole)))
      return v;
    Tensor by[] = {uninitialised(v.shape()), uninitialised(v.shape())};
    for (Tensor& t : by)
      for (Scalar& x : t)
        x = static_cast<Scalar>(jitter * (static_cast<double>(draw.word() % 2001) / 1000 - 1));
    return v * tape.constant(by[0] + Scalar(1)) + tape.constant(std::move(by[1]));
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
  // One of a table of things that have a name.
  template <class Table>
  const auto& one_of(const Table& table) {
    const auto& one = table[below(std::size(table))];
    said.emplace_back(one.name);
    return one;
  }
  // Whether two rounded numbers are equal is chance.
  const Word& word() {
    const Word& op = one_of(kOps);
    by_chance = by_chance || op.name == std::string("equal");
    return op;
  }
  const std::string& rule_of(const std::vector<std::string>& names) {
    const std::string& name = names[below(names.size())];
    by_chance = by_chance || name == "gumbel-rao" || name == "perturbed" || name == "i-mle";
    said.push_back(name);
    return name;
  }
  Rule rule() { return rule_named(rule_of(rule_names()), tau()); }
  // Random numbers that the op draws itself.
  Rng& own_rng() {
    by_chance = true;
    return rng;
  }
  // How many of a row: each subset is tried, and of 36 numbers there are 7,140 of 3.
  std::size_t length_of_subset(Var x) {
    return std::min<std::size_t>(length(), is_long(x) ? 1 : 3);
  }
  static bool is_long(Var x) { return last(x) > 9; }
  // (n, d), whatever x is.
  Var rows(Var x) {
    return reshape(x, {x.value().size() / std::max<std::size_t>(1, last(x)), last(x)});
  }
  static std::size_t last(Var x) { return x.shape().empty() ? 1 : x.shape().back(); }
  // For a choice (..., K): a number each, of K that depend on a leaf, or of one choice or all of an
  // example's.
  Cost cost(std::size_t categories) {
    const Var w = made({categories});
    const int axes = below(4) == 0 ? 2 : 1;
    const auto over = [axes](Var x) { return axes == 1 ? sum(x, -1) : sum(x, {-2, -1}); };
    switch (below(4)) {
      case 0:
        return [=](Var z) {
          return black_box([](const std::vector<Tensor>& v) { return Tensor(v[0] * v[0]); },
                           {over(z * w)});
        };
      case 1:
        return [=](Var z) { return over(z * w); };
      default:
        return [=](Var z) { return over(square(z - w)); };
    }
  }
  std::vector<BranchOf> branches() {
    const Var w = any();
    return {[](Var x) { return square(x); }, [](Var x) { return tanh(x); },
            [w](Var x) { return x + w; }};
  }
};

}  // namespace
