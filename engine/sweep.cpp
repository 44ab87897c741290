#include "engine/sweep.hpp"

#include <algorithm>
#include <memory>

#include "engine/broadcast.hpp"
#include "engine/cost_sets.hpp"
#include "engine/gradient_store.hpp"
#include "engine/release.hpp"
#include "engine/require.hpp"
#include "engine/system/sweep_door.hpp"

ARGTAPE_PUBLIC_BEGIN

enum class Result { numbers, nothing_but_numbers, vars };

namespace {
std::uint32_t nodes_up_to(const Inputs& costs) {
  std::uint32_t top = 0;
  for (const Var& c : costs) top = std::max(top, c.index + 1);
  return top;
}

// Whether a choice upstream needs to know which costs it feeds.
bool wants_costs(const Inputs& costs) {
  return std::any_of(costs.begin(), costs.end(),
                     [](Var c) { return c.tape->node(c.index).wants_costs; });
}

// A gradient in the shape of what it is for.
template <class T>
T fitted(const T& g, const Shape& shape) {
  if (g.shape() == shape) return g;
  if (size_of(g.shape()) == size_of(shape)) return reshaped(g, shape);
  return broadcasts_to(shape, g.shape()) ? sum_to(g, shape) : broadcast_to(g, shape);
}
}  // namespace

class Sweep {
 public:
  // For `keep`, and unless in Vars for all parameters.
  Sweep(const char* name, const Inputs& costs, const Inputs& keep, const Inputs& weights,
        Result result)
      : tape_(tape_of(name, costs)),
        hold_(tape_.one_thread_, "tape"),
        outer_(tape_.sweep_),
        result_(result),
        recorded_(result == Result::vars),
        was_temporary_(tape_.temporary_),
        counts_(tape_.counts),
        mark_(tape_.nodes_.size()),
        costs_(costs.begin(), costs.end()),
        weights_(weights.begin(), weights.end()),
        count_(nodes_up_to(costs)),
        sets_(count_, wants_costs(costs) ? costs.size() : 0),
        store_(tape_, count_, recorded_) {
    check(name, keep);
    for (const Var& v : keep) kept_.push_back(v.index);
    std::sort(kept_.begin(), kept_.end());
    kept_.erase(std::unique(kept_.begin(), kept_.end()), kept_.end());
    if (recorded_) {
      needed_.assign(mark_, 0);
      for (std::uint32_t k : kept_) needed_[k] = 1;
      for (std::uint32_t i = 0; i < count_; ++i) {
        const Node& n = tape_.nodes_[i];
        if (!n.wants_gradient && !n.wants_costs) continue;
        for (std::uint32_t in : n.inputs) needed_[i] |= needed_[in];
      }
    }
    tape_.temporary_ |= !recorded_;
    tape_.sweep_ = this;
  }
  ~Sweep() {
    tape_.temporary_ = was_temporary_;
    tape_.sweep_ = outer_;
    if (result_ == Result::nothing_but_numbers || !done_) tape_.counts = counts_;
    if (!recorded_ || !done_) tape_.truncate(mark_);
  }
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  void run(const TakeGradient* take = nullptr) {
    std::unique_ptr<Release> release;
    if (take) {
      if (outer_)
        refuse<std::logic_error>(
            "backward_and_release: a sweep is running on this tape; need a tape of its own for a "
            "last sweep inside a backward");
      tape_.spent_ = true;
      release = std::make_unique<Release>(tape_, costs_, count_, store_, *take);
    }
    start();
    BackwardContext ctx;
    ctx.sweep_ = this;
    ctx.tape_ = &tape_;
    ctx.store_ = &store_;
    for (std::uint32_t i = count_; i-- > 0;) {
      const Node& n = tape_.nodes_[i];
      if (needed(i) && (store_.has(i) || (n.wants_costs && sets_.feeds_any(i)))) visit(i, n, ctx);
      if (release) release->passed(i);
    }
    if (take) finish();
  }

  Gradients gradients() {
    Gradients g;
    g.tape_ = tape_.serial();
    std::vector<std::uint32_t> all;
    std::set_union(kept_.begin(), kept_.end(), tape_.parameters_.begin(), tape_.parameters_.end(),
                   std::back_inserter(all));
    g.entries_.reserve(all.size());
    for (std::uint32_t k : all) {
      const bool reached = k < count_ && store_.has(k);
      g.entries_.push_back({k, reached, reached ? std::move(store_.whole(k)) : zeros(shape_of(k)),
                            tape_.nodes_[k].op.name});
    }
    finish();
    return g;
  }

  std::vector<Var> vars(const Inputs& wrt) {
    std::vector<Var> found;
    for (const Var& v : wrt)
      found.push_back(v.index < count_ && store_.has(v.index)
                          ? store_.var(v.index)
                          : tape_.constant(zeros(v.shape()), "zero"));
    finish();
    return found;
  }

 private:
  friend class BackwardContext;
  friend struct SweepDoor;
  struct Given {
    std::uint32_t to;
    Var gradient;  // empty: the node's own, passed on
  };

  void finish() {
    if (result_ == Result::numbers)
      for (auto& learn : when_swept_)
        outer_ ? outer_->when_swept_.push_back(std::move(learn)) : learn();
    done_ = true;
  }

  void check(const char* name, const Inputs& keep) const {
    // Within its last sweep a backward may still differentiate what it records.
    if (tape_.spent_ && !tape_.temporary_)
      refuse<std::logic_error>(name,
                               ": backward_and_release() has swept this tape; need a new one");
    if (!tape_.spent_) tape_.check_borrowed(name);  // else parameters have moved on
    if (!weights_.empty() && weights_.size() != costs_.size())
      refuse(name, ": ", weights_.size(), " weights for ", costs_.size(),
             " costs; need one for each");
    if (!weights_.empty()) tape_of(name, weights_);
    for (std::size_t c = 0; c < weights_.size(); ++c) {
      const std::string weight = "weight " + std::to_string(c);
      if (weights_[c].tape != &tape_)
        refuse(name, ": ", weight, " stands on another tape than the costs");
      if (weights_[c].shape() != costs_[c].shape())
        refuse(name, ": ", weight, " is ", weights_[c].shape(), ", its cost is ", costs_[c].shape(),
               "; need the same shape");
    }
    for (const Var& v : keep) {
      if (v.tape != &tape_) refuse(name, ": a Var asked for stands on another tape than the costs");
      if (const Node& n = tape_.node(v.index); !n.wants_gradient)
        refuse(name, ": ", n.op.name, " (node ", v.index,
               ") depends on no parameter; make it one with tape.parameter() to get its gradient");
    }
  }

  bool needed(std::uint32_t i) const { return needed_.empty() || needed_[i]; }
  bool wants(std::uint32_t i) const { return tape_.nodes_[i].wants_gradient && needed(i); }
  bool keeps(std::uint32_t i, const Node& n) const {
    return n.parameter || (!kept_.empty() && std::binary_search(kept_.begin(), kept_.end(), i));
  }
  const Shape& shape_of(std::uint32_t i) const { return tape_.nodes_[i].value->shape(); }

  void start() {
    for (std::size_t c = 0; c < costs_.size(); ++c) {
      const std::uint32_t i = costs_[c].index;
      if (tape_.nodes_[i].wants_costs) sets_.start(i, c, wants(i));
      if (!wants(i)) continue;
      const Var slope =
          weights_.empty() ? tape_.constant(ones(costs_[c].shape()), "one") : weights_[c];
      recorded_ ? store_.add(i, slope) : store_.add_copy(i, slope.value());
    }
  }

  [[gnu::always_inline]] void visit(std::uint32_t i, const Node& n, BackwardContext& ctx) {
    if (n.wants_costs)
      for (std::uint32_t in : n.inputs) sets_.hand_on_feeds(i, in);
    if (n.backward) {
      if (n.op.refuses_no_path && !sets_.has_all_paths(i))
        refuse<NoPath>(
            n.op.name,
            ": no differentiable path from this choice to the cost; use score_function(), "
            "or make the path differentiable");
      if (store_.has(i) || n.op.needs_costs) {
        ctx.node_ = &n;
        ctx.index_ = i;
        ctx.gradient_ = recorded_ && store_.has(i) ? store_.var(i) : Var{};
        n.backward(ctx);
        if (!given_.empty()) settle(ctx);
        if (!recorded_ && tape_.size() > mark_) tape_.truncate(mark_);
        if (tape_.detect_anomaly) check_finite(i);
      }
    } else if (tape_.spent_ && n.wants_gradient && !n.inputs.empty()) {
      refuse<std::logic_error>(
          n.op.name,
          ": the last sweep has passed this node, and its backward is gone; need "
          "backward() for a rule that differentiates what is behind it");
    }
    if (!keeps(i, n)) store_.drop(i);
  }

  // What has arrived at nodes passed before was finite.
  void check_finite(std::uint32_t i) const {
    const Node& n = tape_.nodes_[i];
    for (std::uint32_t in : n.inputs)
      if (store_.has(in))
        if (const Worst worst = worst_of(store_.gathered(in)); worst != Worst::finite)
          throw NotFinite(n.op.name + ": the gradient that node " + std::to_string(i) +
                              " hands back is " + str(worst) + ", the one that arrived is not",
                          tape_.at(i));
  }

  // What a backward gave is added up only when it is done, so that its last use of a value may take
  // it instead of copying it.
  void settle(BackwardContext& ctx) {
    for (auto g = given_.begin(); g != given_.end(); ++g)
      deliver(ctx, *g, std::none_of(g + 1, given_.end(), [g](const Given& later) {
                return later.gradient.tape == g->gradient.tape &&
                       later.gradient.index == g->gradient.index;
              }));
    given_.clear();
  }

  void deliver(BackwardContext& ctx, const Given& given, bool last) {
    const auto& [to, g] = given;
    if (recorded_) return store_.add(to, fitted(g.tape ? g : ctx.gradient(), shape_of(to)));
    if (!g.tape) return deliver_own(ctx.index_, to, last);
    Node* temporary = g.index >= mark_ ? &tape_.nodes_[g.index] : nullptr;
    if (g.shape() != shape_of(to))
      store_.add(to, fitted(g.value(), shape_of(to)));
    else if (last && temporary && temporary->value == &temporary->own && !store_.has(to))
      store_.add(to, std::move(temporary->own));
    else
      store_.add_copy(to, g.value());
  }

  // A node's own gradient, on to an input, in numbers. Where it is stretched, it is kept small.
  void deliver_own(std::uint32_t from, std::uint32_t to, bool last) {
    const Shape &own = shape_of(from), &shape = shape_of(to);
    const bool reshapes = own != shape && size_of(own) == size_of(shape);
    if (own != shape && !reshapes && broadcasts_to(shape, own))
      return store_.add(to, sum_to(store_.whole(from), shape));
    if (reshapes) store_.whole(from);
    if (!last || store_.has(to) || keeps(from, tape_.nodes_[from]))
      return store_.add_copy(to, store_.gathered(from));
    if (reshapes) store_.whole(from).reshape(shape);  // nobody else will ask for it
    store_.move(from, to);
  }

  void give(BackwardContext& ctx, std::size_t i, Var gradient, bool fits) {
    const std::uint32_t to = ctx.input(i);
    if (!fits)
      refuse<std::logic_error>(ctx.op(), ": backward gave a gradient of shape ",
                               gradient.tape ? gradient.shape() : shape_of(ctx.index_),
                               " for input ", i, " of shape ", shape_of(to));
    const bool own = ctx.gradient_.tape && gradient.index == ctx.gradient_.index;
    given_.push_back({to, own ? Var{} : gradient});
    sets_.hand_on_paths(ctx.index_, to, ctx.node_->op.needs_costs);
  }

  Tape& tape_;
  const OneThread::Hold hold_;
  Sweep* const outer_;  // in a backward of which it runs
  const Result result_;
  const bool recorded_, was_temporary_;
  const Counts counts_;
  const std::size_t mark_;  // what stands above was made by this sweep
  const std::vector<Var> costs_, weights_;
  const std::uint32_t count_;        // nodes up to the last cost
  std::vector<std::uint32_t> kept_;  // by rising index: their gradients stay, as all parameters' do
  std::vector<char> needed_;         // in Vars: whether it depends on `keep`
  CostSets sets_;
  GradientStore store_;
  std::vector<Given> given_;  // by the backward that is running
  std::vector<std::function<void()>> when_swept_;
  bool done_ = false;  // if not, ~Sweep puts the tape and its counts back
};

void BackwardContext::refuse_input(std::size_t i) const {
  refuse<std::out_of_range>(op(), ": backward asked for input ", i, "; need one of ", inputs(),
                            ", counted from 0");
}

bool BackwardContext::wants(std::size_t i) const { return sweep_->wants(input(i)); }
bool BackwardContext::has_gradient() const { return sweep_->store_.has(index_); }
bool BackwardContext::dry_run() const { return sweep_->result_ == Result::nothing_but_numbers; }

Var BackwardContext::gradient() {
  if (!has_gradient())
    refuse<std::logic_error>(
        op(), ": backward asked for a gradient, but none arrived; ask has_gradient() first");
  if (!gradient_.tape) gradient_ = tape_->borrow_constant(sweep_->store_.whole(index_), "gradient");
  return gradient_;
}

void BackwardContext::give(std::size_t i, Var gradient) {
  if (!wants(i)) return;
  if (gradient.tape != tape_)
    refuse<std::logic_error>(op(), ": backward gave a gradient that stands on another tape");
  sweep_->give(*this, i, gradient, broadcasts_to(in(i).shape(), gradient.shape()));
}

void BackwardContext::pass(std::size_t i) {
  if (wants(i)) sweep_->give(*this, i, Var{}, broadcasts_to(in(i).shape(), out().shape()));
}

void BackwardContext::when_swept(std::function<void()> learn) {
  sweep_->when_swept_.push_back(std::move(learn));
}

std::vector<DownstreamCost> BackwardContext::downstream_costs() const {
  if (!node_->wants_costs)
    refuse<std::logic_error>(op(), ": backward asked for the costs; need an Op with needs_costs");
  std::vector<DownstreamCost> all;
  for (std::size_t c = 0; c < sweep_->costs_.size(); ++c)
    if (sweep_->sets_.feeds(index_, c))
      all.push_back({sweep_->costs_[c], sweep_->weights_.empty() ? Var{} : sweep_->weights_[c]});
  return all;
}

void SweepDoor::hand_on_paths(BackwardContext& ctx, std::size_t i) {
  ctx.sweep_->sets_.hand_on_paths(ctx.index_, ctx.input(i), ctx.node_->op.needs_costs);
}

void SweepDoor::pass(BackwardContext& ctx, std::size_t i) {
  if (!ctx.wants(i)) return;
  const Var out = ctx.out(), in = ctx.in(i);
  const Shape &from = out.shape(), &to = in.shape();
  ctx.sweep_->give(ctx, i, Var{}, size_of(from) == size_of(to) || broadcasts_to(from, to));
}

Gradients backward(Inputs costs, Inputs also, Inputs weights) {
  Sweep sweep("backward", costs, also, weights, Result::numbers);
  sweep.run();
  return sweep.gradients();
}

void backward_and_release(Inputs costs, const TakeGradient& take) {
  Sweep sweep("backward_and_release", costs, {}, {}, Result::numbers);
  require(take != nullptr,
          "backward_and_release: the function is empty; need one to take gradients");
  sweep.run(&take);
}

Gradients dry_run(Inputs costs, Inputs also) {
  Sweep sweep("dry_run", costs, also, {}, Result::nothing_but_numbers);
  sweep.run();
  return sweep.gradients();
}

std::vector<Var> differentiate(Inputs costs, Inputs wrt, Inputs weights) {
  Sweep sweep("differentiate", costs, wrt, weights, Result::vars);
  sweep.run();
  return sweep.vars(wrt);
}

ARGTAPE_END
