#include "engine/tape.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <ostream>
#include <set>

#include "engine/require.hpp"
#include "engine/system/append.hpp"

ARGTAPE_PUBLIC_BEGIN

Scalar Var::item() const {
  if (value().size() != 1) refuse("item: the value is ", shape(), "; need a single number");
  return *value().data();
}

std::string str(Var x) { return str(x.value()); }
std::ostream& operator<<(std::ostream& out, Var x) { return out << x.value(); }

void refuse_value(Var v) {
  if (!v.tape) refuse("value: the Var is empty; need one that an op or a tape gave");
  refuse<std::logic_error>("value: backward_and_release() has given back the value of ",
                           v.tape->node(v.index).op.name, " (node ", v.index,
                           "); read it before, or sweep with backward()");
}

void Tape::refuse_node(std::size_t index) const {
  refuse<std::out_of_range>("node: ", index, " of a tape of ", size(),
                            "; need one that is there, as long as it is");
}

Name::Name(const std::string& words) {
  static std::mutex mutex;
  static std::set<std::string>& kept = *new std::set<std::string>;  // nodes may outlive main()
  const std::lock_guard<std::mutex> lock(mutex);
  text_ = kept.insert(words).first->c_str();
}

std::ostream& operator<<(std::ostream& out, Name name) { return out << name.text_; }

static std::atomic<std::uint64_t> tapes_made{0};
static std::mutex tapes_mutex;
static Tape* newest = nullptr;
Tape::Tape() : serial_(++tapes_made) {
  const std::lock_guard<std::mutex> lock(tapes_mutex);
  before_ = newest;
  if (before_) before_->after_ = this;
  newest = this;
}
Tape::~Tape() {
  const std::lock_guard<std::mutex> lock(tapes_mutex);
  (after_ ? after_->before_ : newest) = before_;
  if (before_) before_->after_ = after_;
}

bool Tape::alive(const Tape* tape) {
  const std::lock_guard<std::mutex> lock(tapes_mutex);
  const Tape* found = newest;
  while (found && found != tape) found = found->before_;
  return found;
}

Var Tape::var(std::size_t index) {
  node(index);
  return at(index);
}

void Tape::truncate(std::size_t size) {
  if (nodes_.size() == size) return;
  while (nodes_.size() > size) nodes_.pop_back();
  while (!parameters_.empty() && parameters_.back() >= size) parameters_.pop_back();
  while (!borrowed_.empty() && borrowed_.back().first >= size) borrowed_.pop_back();
  if (temporary_) return;
  for (std::size_t i = 0; i < size; ++i)
    if (nodes_[i].first_use >= size) nodes_[i].first_use = 0;
}

namespace {
// Of at most 16 numbers, spread over all: an optimiser's step does not miss them.
std::uint64_t stamp_of(const Tensor& t) {
  std::uint64_t stamp = t.size();
  for (std::size_t length : t.shape()) stamp = stamp * 31 + length;
  for (std::size_t i = 0; i < t.size(); i += t.size() / 16 + 1) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, t.data() + i, sizeof(Scalar));
    stamp = (stamp ^ bits) * 0x9E3779B97F4A7C15u;
    stamp ^= stamp >> 32;
  }
  return stamp;
}
}  // namespace

void Tape::check_borrowed(const char* op) const {
  for (const auto& [i, stamp] : borrowed_)
    if (stamp_of(*nodes_[i].value) != stamp)
      refuse<std::logic_error>(op, ": ", nodes_[i].op.name, " (node ", i,
                               ") is borrowed, and has changed since it was recorded; need a new "
                               "tape after each update");
}

template <class Value>
Var Tape::leaf(Value&& value, Name name, bool parameter) {
  const OneThread::Hold hold(one_thread_, "tape");
  if (parameter && temporary_)
    refuse<std::logic_error>(
        "parameter: a sweep is running on this tape; need a tape of its own for a gradient inside "
        "a backward");
  const std::size_t index = nodes_.size();
  Node& n = nodes_.emplace_back(Op(name), std::forward<Value>(value));
  n.parameter = n.wants_gradient = parameter;
  try {
    if (n.value != &n.own && !temporary_)
      borrowed_.emplace_back(static_cast<std::uint32_t>(index), stamp_of(*n.value));
    if (parameter) parameters_.push_back(static_cast<std::uint32_t>(index));
  } catch (...) {
    truncate(index);
    throw;
  }
  return at(index);
}

Var Tape::parameter(Tensor value, Name name) { return leaf(std::move(value), name, true); }
Var Tape::constant(Tensor value, Name name) { return leaf(std::move(value), name, false); }

std::vector<Var> Tape::borrow_parameters(const std::vector<Tensor>& values) {
  std::vector<Var> vars;
  vars.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    vars.push_back(leaf(&values[i], Name("parameter " + std::to_string(i)), true));
  return vars;
}
Var Tape::borrow_constant(const Tensor& value, Name name) { return leaf(&value, name, false); }

Var Tape::record(Op op, Inputs inputs, Tensor value, Backward backward) {
  return append(op, inputs, std::move(value), std::move(backward));
}

Var Tape::record_same(Op op, Inputs inputs, std::size_t i, Backward backward) {
  const Tensor& value = inputs[i].value();
  // A sweep may move the values of what it makes.
  if (temporary_) return append(op, inputs, Tensor(value), std::move(backward));
  return append(op, inputs, &value, std::move(backward));
}

void Tape::check_finite(std::size_t index) {
  const Node& n = node(index);
  Worst before = Worst::finite;
  for (std::uint32_t in : n.inputs) before = std::max(before, worst_of(*nodes_[in].value));
  const Worst now = worst_of(*n.value);
  if (!n.inputs.empty() && now > before)
    throw NotFinite(
        n.op.name + ": node " + std::to_string(index) + " is " + str(now) + ", its inputs are not",
        at(index));
}

Tape& tape_of(const std::string& op, const Inputs& vars) {
  if (vars.size() == 0) refuse(op, ": no input given; need at least one");
  Tape* tape = vars[0].tape;
  for (std::size_t i = 0; i < vars.size(); ++i) {
    if (!vars[i].tape) refuse(op, ": input ", i, " is an empty Var; need a value on a tape");
    if (vars[i].tape != tape)
      refuse(op, ": input ", i, " stands on another tape; need all on one tape");
  }
  return *tape;
}

ARGTAPE_END
