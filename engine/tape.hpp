// The tape: the list of everything that was computed, in the order in which it was computed. That
// order is a topological order already, so the reverse sweep (engine/sweep.hpp) is a loop
// backwards.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "backward.hpp"
#include "system/one_thread.hpp"
#include "system/stable_vector.hpp"
#include "tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

class Tape;
class [[gnu::visibility("hidden")]] Sweep;
class [[gnu::visibility("hidden")]] GradientStore;
class [[gnu::visibility("hidden")]] Release;
class [[gnu::visibility("hidden")]] SymbolicTape;
struct [[gnu::visibility("hidden")]] SweepDoor;

/// A value on a tape: a tape and an index, copied freely. It is valid as long as its tape.
struct Var {
  Var() {}
  Tape* tape = nullptr;
  std::uint32_t index = 0;

  const Tensor& value() const;
  const Shape& shape() const;
  /// The number, where there is just one. Throws std::invalid_argument otherwise.
  Scalar item() const;
  /// x[i] of the first axis, counted from the end if i is negative, as element() has it
  /// (ops/shape.hpp); x[i][j] goes on.
  template <class Index>
  Var operator[](Index i) const {
    return element(*this, i);
  }

  // What a Var is not made of, and does not turn into.
  template <class T, std::enable_if_t<std::is_arithmetic_v<T>, int> = 0>
  Var(T) = delete;  // a number is a value on a tape: tape.constant(0.0)
  template <class T, std::enable_if_t<xt::is_xexpression<T>::value, int> = 0>
  Var(const T&) = delete;  // a tensor is one on a tape: tape.constant(t), tape.parameter(t)
  Var(const std::vector<Var>&) = delete;  // one of several: differentiate(y, x)[0]
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  explicit operator T() const = delete;  // y.item() is its number; x > 0 a Var, for where(c, a, b)
  Var(const Var&) = default;
  Var& operator=(const Var&) & = default;
  Var& operator=(const Var&) && = delete;  // a Var's numbers do not change: where(), concatenate()
};
std::string str(Var x);
std::ostream& operator<<(std::ostream& out, Var x);
template <class V, class = std::enable_if_t<std::is_same_v<V, Var>>>
std::ostream& operator<<(std::ostream& out, const std::vector<V>&) {
  static_assert(!std::is_same_v<V, Var>, "Vars are printed one by one: std::cout << v[0]");
  return out;
}

/// The inputs of an op: {a, b} or a vector of Vars. It points at them, so it is made where it is
/// passed on: `Inputs costs{a, b}; backward(costs)` does not compile, since the braces are gone by
/// then.
class Inputs {
 public:
  explicit Inputs(const Inputs&) = default;
  Inputs(Inputs&) = delete;  // Inputs point at Vars, and are made where passed on: backward({x, w})
  Inputs(std::initializer_list<Var> vars) : size_(vars.size()) { data_ = vars.begin(); }
  Inputs(const std::vector<Var>& vars) : data_(vars.data()), size_(vars.size()) {}
  Inputs(const Var& var) : data_(&var), size_(1) {}
  template <class T, class = std::enable_if_t<xt::is_xexpression<T>::value>>
  Inputs(const T&) = delete;  // a tensor is a Var on a tape: tape.constant(t)
  Inputs(const Var* data, std::size_t size) : data_(data), size_(size) {}
  const Var* begin() const { return data_; }
  const Var* end() const { return data_ + size_; }
  std::size_t size() const { return size_; }
  const Var& operator[](std::size_t i) const { return data_[i]; }

 private:
  const Var* data_ = nullptr;
  std::size_t size_ = 0;
};

/// What a node hands back to its inputs.
enum class Flow : std::uint8_t {
  exact,      ///< its derivative
  surrogate,  ///< something in place of a derivative that does not exist
  cut,        ///< nothing, whatever arrives
};

/// An op's name: a literal, which is not copied (an array of const char is taken for one); or other
/// words, and those are kept for good, once for each name.
class Name {
 public:
  template <std::size_t n>
  constexpr Name(const char (&literal)[n]) : text_(literal) {}
  template <std::size_t n>
  Name(char (&buffer)[n]) : Name(std::string(buffer)) {}
  template <class Pointer, class = std::enable_if_t<std::is_pointer_v<Pointer> &&
                                                    std::is_convertible_v<Pointer, const char*>>>
  Name(const Pointer& words) : Name(std::string(words)) {}
  Name(const std::string& words);

  operator std::string() const { return text_; }
  constexpr const char* c_str() const { return text_; }
  friend std::string operator+(Name name, const std::string& words) { return name.text_ + words; }
  friend bool operator==(Name a, std::string_view b) { return a.text_ == b; }
  friend std::ostream& operator<<(std::ostream& out, Name name);

 private:
  const char* text_;
};

/// An op as the tape knows it. Just a name will do for one with a derivative.
struct Op {
  Name name;  ///< as shown in messages and pictures: "matmul", "sample[reinmax]"
  Flow flow = Flow::exact;
  bool needs_costs = false;  ///< its backward asks for the costs the node feeds, not for a gradient
  bool refuses_no_path = false;  ///< feeding a cost without a differentiable path to it is an error
  const char* why_cut;           ///< for Flow::cut, in words for the stop report

  template <class Words, class = std::enable_if_t<std::is_convertible_v<Words, Name>>>
  constexpr Op(Words&& name) : Op(Name(name)) {}
  constexpr Op(Name name, Flow flow = Flow::exact, const char* why_cut = "")
      : name(name), flow(flow), why_cut(why_cut) {}
};

/// What a tape has counted since it was made, in examples (rows of a batch), not in calls.
struct Counts {
  std::size_t evaluations = 0;   ///< of a cost function, through evaluate() (ops/choice.hpp)
  std::size_t backwards = 0;     ///< gradients of a cost that reached a choice and were used there
  std::size_t solver_calls = 0;  ///< of a rule that solves a problem again in its backward
};

struct Node {
  Node(const Op& op, Tensor&& value, std::size_t inputs = 0)
      : op(op), inputs(inputs), value(&own), own(std::move(value)) {}
  Node(const Op& op, const Tensor* value, std::size_t inputs = 0)
      : op(op), inputs(inputs), value(value) {}
  /// The value as make() returns it, which stands here from the beginning.
  template <class Make, class = std::invoke_result_t<const Make&>>
  Node(const Op& op, const Make& make, std::size_t inputs)
      : op(op), inputs(inputs), value(&own), own(make()) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  Op op;
  // In this order a few numbers of `own` stand in a cache line of their own, the last.
  Backward backward;  // empty where nobody upstream wants anything
  SmallVector<std::uint32_t, OnResize::leave_unset> inputs;
  const Tensor* value = nullptr;  // where the value stands
  bool parameter = false;         // a leaf whose gradient is wanted
  bool wants_gradient = false;    // a gradient arriving here goes on to some parameter
  bool wants_costs = false;       // upstream a choice needs to know which costs it feeds
  std::uint32_t first_use = 0;    // the first node that has it for an input; 0: none
  Tensor own;  // unused where `value` points at a tensor of the caller's or an input's
};

/// A node made a NaN, or an infinity, that was not among what it was made of: its value out of its
/// inputs' values, or a gradient out of the one that arrived.
class NotFinite : public std::domain_error {
 public:
  NotFinite(const std::string& words, Var node) : std::domain_error(words), node(node) {}
  Var node;
};

/// Records operations. Neither copied nor moved, since Vars point at it; made anew for each
/// training step, in a local scope. Parameters are plain tensors that live outside and outlive it.
/// Threads that record at once have a tape each. One that is handed on may be recorded, swept and
/// read by one thread after the other; one that records or sweeps while another is at it is refused
/// with std::logic_error. (Not if both begin within the same few nanoseconds, nor if it only reads:
/// then nothing is known of the outcome, and the thread sanitizer tells.)
class Tape {
 public:
  Tape();
  ~Tape();
  Tape(const Tape&) = delete;  // Vars point at the one tape: hand on a Tape&
  Tape& operator=(const Tape&) = delete;

  /// A leaf whose gradient is wanted. The name shows in reports. Throws std::logic_error from
  /// inside a backward.
  Var parameter(Tensor value, Name name = "parameter");
  /// A leaf that wants no gradient.
  Var constant(Tensor value, Name name = "constant");
  template <class T, class = std::enable_if_t<std::is_arithmetic_v<T>>>
  Var constant(T value) {  // a template, since constant({1.0}) is a list
    return constant(Tensor(static_cast<Scalar>(value)));
  }
  Var parameter(...) = delete;  // its value, then its name: tape.parameter(t, "w")
  Var constant(...) = delete;   // its value, then its name: tape.constant(t, "x")
  /// One parameter for each tensor of a model, and a constant, read where they stand instead of
  /// copied: they must outlive the tape and keep still until its last sweep. One that has changed
  /// since is refused by the next sweep (std::logic_error), as far as a few of its numbers show it.
  std::vector<Var> borrow_parameters(const std::vector<Tensor>& values);
  Var borrow_constant(const Tensor& value, Name name = "constant");
  // A temporary would not outlive the tape: tape.constant(...), tape.parameter(...).
  std::vector<Var> borrow_parameters(std::vector<Tensor>&&) = delete;  // must outlive the tape
  Var borrow_constant(Tensor&&, Name = "constant") = delete;           // must outlive the tape
  template <class E>
  Var borrow_constant(const xt::xexpression<E>&, Name = "") = delete;  // must outlive the tape

  /// Any other xtensor expression of this library's Scalar, evaluated.
  template <class E>
  Var parameter(const xt::xexpression<E>& value, Name name = "parameter") {
    return parameter(evaluated(value), name);
  }
  template <class E>
  Var constant(const xt::xexpression<E>& value, Name name = "constant") {
    return constant(evaluated(value), name);
  }

  /// Appends a node: what an op does once it has computed its value. Throws std::invalid_argument
  /// if an input is not on this tape, and std::bad_alloc: as with leaves, there is no node then.
  /// `backward` is dropped at once where no input wants anything.
  Var record(Op op, Inputs inputs, Tensor value, Backward backward);
  /// The same for an op whose value is input i's, which is not copied.
  Var record_same(Op op, Inputs inputs, std::size_t i, Backward backward);

  std::size_t size() const { return nodes_.size(); }
  /// A number that no other tape of the program has had, as an address may have.
  std::uint64_t serial() const { return serial_; }
  const std::vector<std::uint32_t>& parameter_indices() const { return parameters_; }
  /// Throws std::out_of_range beyond the last.
  const Node& node(std::size_t index) const {
    if (index >= nodes_.size()) refuse_node(index);
    return nodes_[index];
  }
  /// Throws NotFinite if node `index` has a NaN or an infinity in its value, and no input has.
  void check_finite(std::size_t index);
  /// Node `index` as a Var. Throws std::out_of_range beyond the last.
  Var var(std::size_t index);
  /// Whether there is a tape at this address, for who is given a Var that its tape may not outlive.
  static bool alive(const Tape* tape);

  Counts counts;
  /// For looking for errors: the first node that makes a NaN or an infinity is refused with
  /// NotFinite, where it is recorded or where a sweep passes it. Each value is looked at once more.
  bool detect_anomaly = false;

 private:
  friend class BackwardContext;
  friend class Sweep;
  friend class Release;
  friend class SymbolicTape;
  friend struct SweepDoor;
  Var at(std::size_t index) {
    Var v;
    v.tape = this;
    v.index = static_cast<std::uint32_t>(index);
    return v;
  }
  [[noreturn]] void refuse_node(std::size_t index) const;
  void truncate(std::size_t size);
  void check_borrowed(const char* op) const;
  template <class Value>
  Var append(const Op& op, const Inputs& inputs, Value&& value, Backward&& backward);
  template <class Value>
  Var leaf(Value&& value, Name name, bool parameter);
  template <class E>
  static Tensor evaluated(const xt::xexpression<E>& value) {
    static_assert(std::is_same_v<typename E::value_type, Scalar>,
                  "argtape: the array's numbers are not the library's Scalar (float, or double in "
                  "argtape-double); convert it with xt::cast<argtape::Scalar>(x)");
    return Tensor(value);
  }

  const std::uint64_t serial_;
  OneThread one_thread_;
  Tape *before_ = nullptr, *after_ = nullptr;  // in the list of all tapes that are there
  StableVector<Node> nodes_;
  std::vector<std::uint32_t> parameters_;
  std::vector<std::pair<std::uint32_t, std::uint64_t>> borrowed_;  // with the stamp of its numbers
  bool spent_ = false;                                             // by backward_and_release()
  bool temporary_ = false;         // what is recorded now goes when the running backward returns
  Sweep* sweep_ = nullptr;         // that is running: the innermost
  const char* formula_ = nullptr;  // the op whose formula is recorded here, and nothing else
};

/// The tape all of `vars` stand on. Throws std::invalid_argument, in the name of `op`, if there are
/// two tapes, or none.
Tape& tape_of(const std::string& op, const Inputs& vars);

/// Throws std::invalid_argument: a Var made by hand stands on no tape; or std::logic_error: its
/// value is gone.
[[noreturn]] void refuse_value(Var v);

inline const Tensor& Var::value() const {
  const Tensor* value = tape ? tape->node(index).value : nullptr;
  if (!value) refuse_value(*this);
  return *value;
}
inline const Shape& Var::shape() const { return value().shape(); }

ARGTAPE_END
