#include "engine/sweep.hpp"

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <unordered_map>

#include "engine/broadcast.hpp"
#include "engine/system/parallel.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

class Sweep {
 public:
  // A sweep in numbers; or, if `recorded`, in Vars, restricted to what depends on `keep`.
  Sweep(const char* name, Inputs costs, Inputs keep, Inputs weights, bool recorded,
        bool looking = false);
  ~Sweep();
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  using Take = std::function<void(Var, Tensor&)>;
  // With `take` it is the tape's last sweep, which gives back what it has passed.
  void run(const Take* take = nullptr);
  void visit(std::uint32_t i, BackwardContext& ctx);
  Gradients numbers();
  std::vector<Var> vars(Inputs wrt);

 private:
  friend class BackwardContext;
  enum class Way : std::uint8_t { same, spread, reshaped };
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};

  bool visits(std::uint32_t i) const {
    const Node& n = tape_.nodes_[i];
    return (n.wants_gradient || n.wants_costs) && (needed_.empty() || needed_[i]);
  }
  bool wants(std::uint32_t i) const {
    return tape_.nodes_[i].wants_gradient && (needed_.empty() || needed_[i]);
  }
  bool arrived(std::uint32_t i) const {
    return recorded_ ? var_[i].tape != nullptr : slot_[i] != kNone;
  }

  // The tensor that gathers node i's gradient; a fresh one has the node's shape and no values yet.
  Tensor& open_slot(std::uint32_t i, bool& fresh);
  // Node i's gradient in the node's own shape: where it is the same along an axis, it may be kept
  // once.
  Tensor& whole(std::uint32_t i);
  void free_slot(std::uint32_t i) {
    idle_.push_back(slot_[i]);
    slot_[i] = kNone;
  }
  void add_numbers(std::uint32_t i, Tensor&& g);
  void add_copy(std::uint32_t i, const Tensor& g);
  void hand_on(const BackwardContext& ctx, std::uint32_t in, Way way, bool last);
  void add_var(std::uint32_t i, Var g);
  void settle(BackwardContext& ctx);
  // Notes that input i of the node has a gradient of the costs that the node's own came from.
  void mark_path(const BackwardContext& ctx, std::size_t i) {
    const auto& from = ctx.node_->op.needs_costs ? feeds_ : paths_;
    for (std::size_t w = 0; w < words_; ++w)
      paths_[ctx.node_->inputs[i] * words_ + w] |= from[ctx.index_ * words_ + w];
  }
  void truncate() {
    while (tape_.nodes_.size() > mark_) tape_.nodes_.pop_back();
  }
  [[noreturn]] void wrong_shape(const BackwardContext& ctx, std::uint32_t in,
                                const Shape& given) const;

  Tape& tape_;
  const bool recorded_, looking_, was_recording_;
  const Counts counts_;
  const std::size_t mark_;     // what stands above was made by this sweep
  const std::uint32_t count_;  // nodes up to the last cost
  std::vector<Var> costs_, weights_;
  std::vector<std::uint32_t> kept_;  // by rising index: their gradients stay
  std::vector<bool> keeps_;          // the same, by node; empty if only parameters are kept
  std::vector<char> needed_;         // empty: whatever the nodes want

  const std::size_t words_;           // of 64 costs each
  std::vector<std::uint64_t> feeds_;  // for each node the set of costs it feeds
  std::vector<std::uint64_t> paths_;  // those among them that a gradient came back from

  std::vector<Var> var_;             // if recorded
  std::vector<std::uint32_t> slot_;  // otherwise: which tensor of the pool
  std::deque<Tensor> pool_;
  std::vector<std::uint32_t> idle_;

  struct Given {
    std::uint32_t input;
    Var gradient;  // empty: the node's own, passed on
    Way way = Way::same;
  };
  std::vector<Given> given_;  // by the backward that is running

  void count_uses();
  void done_with(std::uint32_t i, const Take& take);
  // In the last sweep: the uses of each node by nodes not yet passed, and where they are counted.
  std::vector<std::uint32_t> uses_, counted_;
};

namespace {
constexpr std::size_t kWorthReleasing = 1024;  // numbers; less than that costs more than it saves

std::uint32_t nodes_up_to(Inputs costs) {
  std::uint32_t top = 0;
  for (const Var& c : costs) top = std::max(top, c.index + 1);
  return top;
}
}  // namespace

Sweep::Sweep(const char* name, Inputs costs, Inputs keep, Inputs weights, bool recorded,
             bool looking)
    : tape_(tape_of(name, costs)),
      recorded_(recorded),
      looking_(looking),
      was_recording_(tape_.recording_),
      counts_(tape_.counts),
      mark_(tape_.nodes_.size()),
      count_(nodes_up_to(costs)),
      costs_(costs.begin(), costs.end()),
      weights_(weights.begin(), weights.end()),
      words_((costs.size() + 63) / 64) {
  if (tape_.spent_)
    throw std::logic_error(std::string(name) +
                           ": backward_and_release() has swept this tape; need a new one");
  if (weights.size() != 0 && weights.size() != costs.size())
    throw std::invalid_argument(std::string(name) + ": " + std::to_string(weights.size()) +
                                " weights for " + std::to_string(costs.size()) +
                                " costs; need one for each");
  if (weights.size() != 0) tape_of(name, weights_);
  for (std::size_t c = 0; c < weights.size(); ++c)
    if (weights[c].tape != &tape_)
      throw std::invalid_argument(std::string(name) + ": weight " + std::to_string(c) +
                                  " stands on another tape than the costs");
    else if (weights[c].shape() != costs[c].shape())
      throw std::invalid_argument(std::string(name) + ": weight " + std::to_string(c) + " is " +
                                  str(weights[c].shape()) + ", its cost is " +
                                  str(costs[c].shape()) + "; need the same shape");
  for (const Var& v : keep) {
    if (v.tape != &tape_)
      throw std::invalid_argument(std::string(name) +
                                  ": a Var asked for stands on another tape than the costs");
    if (!tape_.nodes_[v.index].wants_gradient)
      throw std::invalid_argument(std::string(name) + ": " + tape_.nodes_[v.index].op.name +
                                  " (node " + std::to_string(v.index) +
                                  ") depends on no parameter; make it one with "
                                  "tape.parameter() to get its gradient");
    kept_.push_back(v.index);
  }
  if (recorded) {
    needed_.assign(mark_, 0);
    for (std::uint32_t k : kept_) needed_[k] = 1;
    for (std::uint32_t i = 0; i < count_; ++i) {
      const Node& n = tape_.nodes_[i];
      if (!n.wants_gradient && !n.wants_costs) continue;
      for (std::uint32_t in : n.inputs) needed_[i] |= needed_[in];
    }
    var_.resize(count_);
  } else {
    kept_.insert(kept_.end(), tape_.parameters_.begin(), tape_.parameters_.end());
    if (keep.size() != 0) {
      keeps_.assign(mark_, false);
      for (std::uint32_t k : kept_) keeps_[k] = true;
    }
    slot_.assign(count_, kNone);
    tape_.recording_ = false;  // until the end of this sweep
  }
  std::sort(kept_.begin(), kept_.end());
  kept_.erase(std::unique(kept_.begin(), kept_.end()), kept_.end());
  feeds_.assign(count_ * words_, 0);
  paths_ = feeds_;
}

Sweep::~Sweep() {
  tape_.recording_ = was_recording_;
  if (looking_) tape_.counts = counts_;
  if (!recorded_) truncate();
}

void Sweep::count_uses() {
  uses_.assign(count_, 0);
  counted_.resize(count_);
  std::unordered_map<const Tensor*, std::uint32_t> first;
  for (std::uint32_t i = 0; i < count_; ++i) {
    const Node& n = tape_.nodes_[i];
    // A tensor borrowed more than once is one parameter, whose uses count together.
    counted_[i] = n.value == &n.own ? i : first.emplace(n.value, i).first->second;
    for (std::uint32_t in : n.inputs) ++uses_[counted_[in]];
  }
}

// Node i has been passed: its value goes, unless it was the caller's, and a parameter whose last
// use it was is complete.
void Sweep::done_with(std::uint32_t i, const Take& take) {
  Node& n = tape_.nodes_[i];
  const auto hand_over = [&](std::uint32_t counted) {
    uses_[counted] = kNone;
    for (std::uint32_t p : tape_.parameters_) {
      if (p >= count_ || counted_[p] != counted || slot_[p] == kNone) continue;
      take(tape_.var(p), whole(p));
      free_slot(p);
    }
  };
  for (std::uint32_t in : n.inputs)
    if (--uses_[counted_[in]] == 0 && tape_.nodes_[in].inputs.empty()) hand_over(counted_[in]);
  if (n.parameter && uses_[counted_[i]] == 0) hand_over(counted_[i]);  // nobody used it
  n.backward = nullptr;
  const bool cost =
      std::any_of(costs_.begin(), costs_.end(), [i](const Var& c) { return c.index == i; });
  const bool borrowed = n.value != &n.own && n.inputs.empty();
  if (borrowed || n.parameter || cost) return;
  n.value = nullptr;
  if (n.own.size() >= kWorthReleasing) n.own.resize(Shape{0});
}

void Sweep::run(const Take* take) {
  if (take) {
    tape_.spent_ = true;
    const auto same_as_input = [](const Node& n) { return n.value != &n.own && !n.inputs.empty(); };
    for (const Var& c : costs_) {  // a cost stays where the input it is the same as goes
      Node& n = tape_.nodes_[c.index];
      if (!same_as_input(n)) continue;
      n.own = *n.value;
      n.value = &n.own;
    }
    for (std::size_t i = count_; i < tape_.nodes_.size(); ++i)  // what is behind the costs goes too
      if (Node& n = tape_.nodes_[i]; same_as_input(n)) n.value = nullptr;
    count_uses();
  }
  for (std::size_t c = 0; c < costs_.size(); ++c) {
    const std::uint32_t i = costs_[c].index;
    feeds_[i * words_ + c / 64] |= std::uint64_t{1} << (c % 64);
    if (!wants(i)) continue;
    paths_[i * words_ + c / 64] |= std::uint64_t{1} << (c % 64);
    if (recorded_)
      add_var(i, weights_.empty() ? tape_.constant(ones(costs_[c].shape()), "one") : weights_[c]);
    else
      add_numbers(i, weights_.empty() ? ones(costs_[c].shape()) : Tensor(weights_[c].value()));
  }
  BackwardContext at;
  at.sweep_ = this;
  at.tape_ = &tape_;
  for (std::uint32_t i = count_; i-- > 0;) {
    visit(i, at);
    if (take) done_with(i, *take);
  }
}

void Sweep::visit(std::uint32_t i, BackwardContext& ctx) {
  const std::uint64_t* feeds = &feeds_[i * words_];
  if (std::all_of(feeds, feeds + words_, [](std::uint64_t w) { return w == 0; }) || !visits(i))
    return;
  const Node& n = tape_.nodes_[i];
  for (std::uint32_t in : n.inputs)
    for (std::size_t w = 0; w < words_; ++w) feeds_[in * words_ + w] |= feeds[w];
  const bool here = arrived(i);
  if (n.backward) {
    if (n.op.refuses_no_path && !std::equal(feeds, feeds + words_, &paths_[i * words_]))
      throw NoPath(n.op.name +
                   ": no differentiable path from this choice to the cost; use "
                   "score_function(), or make the path differentiable");
    if (here || n.op.needs_costs) {
      ctx.node_ = &n;
      ctx.index_ = i;
      ctx.gradient_ = recorded_ && here ? var_[i] : Var{};
      n.backward(ctx);
      settle(ctx);
    }
  }
  if (!recorded_ && here && slot_[i] != kNone && !n.parameter && (keeps_.empty() || !keeps_[i]))
    free_slot(i);
}

Tensor& Sweep::open_slot(std::uint32_t i, bool& fresh) {
  fresh = slot_[i] == kNone;
  if (fresh) {
    if (idle_.empty()) {
      idle_.push_back(static_cast<std::uint32_t>(pool_.size()));
      pool_.emplace_back();
    }
    slot_[i] = idle_.back();
    idle_.pop_back();
    pool_[slot_[i]].resize(tape_.nodes_[i].value->shape());
    return pool_[slot_[i]];
  }
  return whole(i);
}

Tensor& Sweep::whole(std::uint32_t i) {
  Tensor& t = pool_[slot_[i]];
  const Shape& shape = tape_.nodes_[i].value->shape();
  if (t.shape() != shape) t = broadcast_to(t, shape);
  return t;
}

void Sweep::add_numbers(std::uint32_t i, Tensor&& g) {
  if (slot_[i] != kNone) return add_to(whole(i), g);
  bool fresh;
  open_slot(i, fresh) = std::move(g);
}

void Sweep::add_copy(std::uint32_t i, const Tensor& g) {
  bool fresh;
  Tensor& t = open_slot(i, fresh);
  if (!fresh) return add_to(t, g.size() == t.size() ? g : broadcast_to(g, t.shape()));
  if (g.size() != t.size()) t.resize(g.shape());
  parallel_for(g.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    std::copy(g.data() + begin, g.data() + end, t.data() + begin);
  });
}

// The node's own gradient, on to an input.
void Sweep::hand_on(const BackwardContext& ctx, std::uint32_t in, Way way, bool last) {
  const Shape &shape = tape_.nodes_[in].value->shape(), &from = ctx.out().shape();
  if ((way == Way::spread && !broadcasts_to(from, shape)) ||
      (way == Way::reshaped && size_of(from) != size_of(shape)))
    wrong_shape(ctx, in, from);
  const bool alike = way == Way::spread || (way == Way::same && shape == ctx.out().shape());
  const Tensor& own = alike ? pool_[slot_[ctx.index_]] : whole(ctx.index_);
  if (!alike && way == Way::same) {
    if (!broadcasts_to(shape, own.shape())) wrong_shape(ctx, in, own.shape());
    return add_numbers(in, sum_to(own, shape));
  }
  if (last && slot_[in] == kNone && (keeps_.empty() || !keeps_[ctx.index_])) {
    std::swap(slot_[in], slot_[ctx.index_]);  // nobody else will ask for it
    if (way == Way::reshaped) pool_[slot_[in]].reshape(shape);
    return;
  }
  add_copy(in, own);
}

void Sweep::add_var(std::uint32_t i, Var g) { var_[i] = arrived(i) ? add_same(var_[i], g) : g; }

// What a backward gave is added up only when it is done, so that its last use of a value may take
// it instead of copying it.
void Sweep::settle(BackwardContext& ctx) {
  for (std::size_t k = 0; k < given_.size(); ++k) {
    const std::uint32_t in = ctx.node_->inputs[given_[k].input];
    const Var g = given_[k].gradient;
    const Shape& shape = tape_.nodes_[in].value->shape();
    if (recorded_) {
      Var v = g.tape ? g : ctx.gradient();
      if (given_[k].way == Way::spread) v = broadcast_to(v, shape);
      if (!broadcasts_to(shape, v.shape())) wrong_shape(ctx, in, v.shape());
      add_var(in, v.shape() == shape ? v : sum_to(v, shape));
      continue;
    }
    const auto is_own = [&](const Given& o) {
      return !o.gradient.tape || (ctx.gradient_.tape && o.gradient.index == ctx.gradient_.index);
    };
    const bool own = is_own(given_[k]);
    const bool last =
        std::none_of(given_.begin() + static_cast<std::ptrdiff_t>(k) + 1, given_.end(),
                     [&](const Given& o) { return own ? is_own(o) : o.gradient.index == g.index; });
    if (own) {
      hand_on(ctx, in, given_[k].way, last);
      continue;
    }
    if (g.shape() != shape) {
      if (!broadcasts_to(shape, g.shape())) wrong_shape(ctx, in, g.shape());
      add_numbers(in, sum_to(g.value(), shape));
      continue;
    }
    Node* temporary = g.index >= mark_ ? &tape_.nodes_[g.index] : nullptr;
    if (last && temporary && temporary->value == &temporary->own && slot_[in] == kNone)
      add_numbers(in, std::move(temporary->own));
    else
      add_copy(in, g.value());
  }
  given_.clear();
  if (!recorded_) truncate();
}

void Sweep::wrong_shape(const BackwardContext& ctx, std::uint32_t in, const Shape& given) const {
  const auto& inputs = ctx.node_->inputs;
  const auto i = std::find(inputs.begin(), inputs.end(), in) - inputs.begin();
  throw std::logic_error(ctx.op() + ": backward gave a gradient of shape " + str(given) +
                         " for input " + std::to_string(i) + " of shape " +
                         str(tape_.nodes_[in].value->shape()));
}

bool BackwardContext::wants(std::size_t i) const { return sweep_->wants(node_->inputs[i]); }
bool BackwardContext::recorded() const { return sweep_->recorded_; }
bool BackwardContext::has_gradient() const { return sweep_->arrived(index_); }

Var BackwardContext::gradient() {
  require_gradient();
  if (!gradient_.tape) gradient_ = tape_->borrow_constant(numbers(), "gradient");
  return gradient_;
}

const Tensor& BackwardContext::numbers() const {
  if (recorded())
    throw std::logic_error(
        op() +
        ": backward asked for numbers() in a recorded sweep; write the gradient in "
        "Vars with gradient(), or ask recorded() first");
  require_gradient();
  return sweep_->whole(index_);
}

const Tensor& BackwardContext::compact() const {
  if (recorded()) return numbers();  // which says what is wrong
  require_gradient();
  return sweep_->pool_[sweep_->slot_[index_]];
}

void BackwardContext::require_gradient() const {
  if (!has_gradient())
    throw std::logic_error(
        op() + ": backward asked for a gradient, but none arrived; ask has_gradient() first");
}

void BackwardContext::give(std::size_t i, Var gradient) {
  if (!wants(i)) return;
  if (gradient.tape != tape_)
    throw std::logic_error(op() + ": backward gave a gradient that stands on another tape");
  sweep_->given_.push_back({static_cast<std::uint32_t>(i), gradient});
  sweep_->mark_path(*this, i);
}

void BackwardContext::give(std::size_t i, Tensor&& gradient) {
  if (wants(i)) give(i, tape_->constant(std::move(gradient), "gradient"));
}

void BackwardContext::pass(std::size_t i) {
  if (!wants(i)) return;
  sweep_->given_.push_back({static_cast<std::uint32_t>(i), Var{}});
  sweep_->mark_path(*this, i);
}

void BackwardContext::pass_spread(std::size_t i) {
  pass(i);
  if (wants(i)) sweep_->given_.back().way = Sweep::Way::spread;
}

void BackwardContext::pass_reshaped(std::size_t i) {
  if (recorded())
    throw std::logic_error(
        op() + ": backward asked for pass_reshaped() in a recorded sweep; ask recorded() first");
  pass(i);
  if (wants(i)) sweep_->given_.back().way = Sweep::Way::reshaped;
}

BackwardContext::Sink BackwardContext::sink(std::size_t i) {
  if (recorded())
    throw std::logic_error(op() +
                           ": backward asked for sink() in a recorded sweep; ask recorded() first");
  sweep_->mark_path(*this, i);
  bool fresh;
  Tensor& t = sweep_->open_slot(node_->inputs[i], fresh);
  return {t.data(), fresh};
}

bool BackwardContext::dry_run() const { return sweep_->looking_; }

std::vector<BackwardContext::DownstreamCost> BackwardContext::downstream_costs() const {
  const std::uint64_t* feeds = &sweep_->feeds_[index_ * sweep_->words_];
  std::vector<DownstreamCost> fed;
  for (std::size_t c = 0; c < sweep_->costs_.size(); ++c)
    if (feeds[c / 64] >> (c % 64) & 1)
      fed.push_back({sweep_->costs_[c], sweep_->weights_.empty() ? Var{} : sweep_->weights_[c]});
  return fed;
}

Tensor BackwardContext::costs(const Shape& rows) const {
  Tensor total = zeros(rows);
  for (const DownstreamCost& fed : downstream_costs()) {
    Tensor cost = fed.cost.value();
    if (fed.weight.tape) cost *= fed.weight.value();
    // Sum what the choices do not tell apart, then hand the rest to every choice below.
    Shape summed = cost.shape(), lined_up = rows;
    for (std::size_t a = 0; a < summed.size(); ++a) {
      if (a < rows.size() && rows[a] != 1 && summed[a] != 1 && rows[a] != summed[a])
        throw std::invalid_argument(node_->op.name + ": a cost is " + str(cost.shape()) +
                                    ", the choices are " + str(rows) +
                                    "; need costs lined up with the leading axes of the choices");
      if (a >= rows.size() || rows[a] == 1) summed[a] = 1;
    }
    for (std::size_t a = 0; a < rows.size(); ++a) lined_up[a] = a < summed.size() ? summed[a] : 1;
    add_to(total, broadcast_to(reshaped(sum_to(cost, summed), lined_up), rows));
  }
  return total;
}

Gradients Sweep::numbers() {
  Gradients g;
  g.tape_ = &tape_;
  g.entries_.reserve(kept_.size());
  for (std::uint32_t k : kept_) {
    const bool reached = k < count_ && slot_[k] != kNone;
    g.entries_.push_back(
        {k, reached, reached ? std::move(whole(k)) : zeros(tape_.nodes_[k].value->shape())});
  }
  return g;
}

std::vector<Var> Sweep::vars(Inputs wrt) {
  std::vector<Var> found;
  for (const Var& v : wrt)
    found.push_back(v.index < count_ && arrived(v.index)
                        ? var_[v.index]
                        : tape_.constant(zeros(v.shape()), "zero"));
  return found;
}

const Gradients::Entry& Gradients::entry(Var v) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), v.index,
                                   [](const Entry& e, std::uint32_t i) { return e.index < i; });
  if (v.tape != tape_ || at == entries_.end() || at->index != v.index)
    throw std::invalid_argument(
        "gradients: node " + std::to_string(v.index) +
        " is neither a parameter of this tape nor among the Vars asked for");
  return *at;
}

const Tensor& Gradients::operator[](Var v) const { return entry(v).gradient; }
bool Gradients::reached(Var v) const { return entry(v).reached; }

Gradients backward(Inputs costs, Inputs also, Inputs weights) {
  Sweep sweep("backward", costs, also, weights, false);
  sweep.run();
  return sweep.numbers();
}

void backward_and_release(Inputs costs, const std::function<void(Var, Tensor&)>& take) {
  Sweep sweep("backward_and_release", costs, {}, {}, false);
  sweep.run(&take);
}

Gradients dry_run(Inputs costs, Inputs also) {
  Sweep sweep("look", costs, also, {}, false, true);
  sweep.run();
  return sweep.numbers();
}

std::vector<Var> differentiate(Inputs costs, Inputs wrt, Inputs weights) {
  Sweep sweep("differentiate", costs, wrt, weights, true);
  sweep.run();
  return sweep.vars(wrt);
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
