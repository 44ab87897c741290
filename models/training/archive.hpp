// Saving and loading: parameters, optimisers, whole trainings, in files that others can open.
//
//     save("model.safetensors", model);   // anything with `parameters`; std::vector<Tensor>; or a
//     load("model.safetensors", model);   // std::map of names to tensors
//     save("model.npz", model);           // for np.load()
//
// What is in a file is said once, by one function that serves for saving and for loading:
//
//     const auto training = [&](Archive& a) {   // or a member archive(Archive&)
//       a("model", model);
//       a("adam", adam);
//       a("step", step);
//       a("rng", rng);
//     };
//     save("run.safetensors", training);
//     load("run.safetensors", training);
//
// Everything comes back to the bit. A name in a file is what leads to a thing: "adam.mean.0",
// "model.parameters.3". Tensors are F32 (F64 in the second library), whole numbers U64 or I64,
// others F64, texts U8, random numbers' state U64: seed, position and stream.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../engine/random.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

class Archive;
template <class T, class = void>
struct HasArchive : std::false_type {};
template <class T>
struct HasArchive<T, std::void_t<decltype(std::declval<T&>().archive(std::declval<Archive&>()))>>
    : std::true_type {};
template <class T, class = void>
struct HasParameters : std::false_type {};
template <class T>
struct HasParameters<T, std::enable_if_t<std::is_same_v<decltype((std::declval<T&>().parameters)),
                                                        std::vector<Tensor>&>>> : std::true_type {};

/// One direction of save() or load(). a(name, thing) writes the thing down, or reads it back;
/// reading throws std::runtime_error, naming the thing, where the file has none of that name, or
/// one of another kind or shape: then the state is half old, half new, and no good.
class Archive {
 public:
  /// An empty one, to be written to.
  Archive();
  /// One that reads what bytes() of another one gave.
  explicit Archive(const std::string& bytes);
  ~Archive();
  Archive(const Archive&) = delete;
  Archive& operator=(const Archive&) = delete;

  bool loading() const { return loading_; }
  /// What it holds, as a safetensors file.
  std::string bytes() const;
  /// Throws std::runtime_error if something is left to be read.
  void finish() const;

  /// The file's tensor must have the shape of `t`. float64, float16 and bfloat16 are rounded to
  /// Scalar; a number out of its range is refused, and an integer that it cannot hold.
  void operator()(const std::string& name, Tensor& t);
  void operator()(const std::string& name, double& x);
  void operator()(const std::string& name, std::string& text);
  void operator()(const std::string& name, std::vector<double>& numbers);
  void operator()(const std::string& name, std::vector<std::size_t>& numbers);
  void operator()(const std::string& name, Rng& rng);
  /// Whole numbers and bool; one that the thing cannot hold is refused. Else all that things()
  /// takes, whose names go on after this one: "adam.rate".
  template <class T>
  void operator()(const std::string& name, T& thing) {
    if constexpr (std::is_integral_v<T>) {
      auto word = static_cast<std::uint64_t>(thing);
      whole(name, word, std::is_signed_v<T>);
      if (!loading_) return;
      thing = static_cast<T>(word);
      if (static_cast<std::uint64_t>(thing) != word) out_of_range(name);
    } else if constexpr (std::is_floating_point_v<T>) {
      auto x = static_cast<double>(thing);
      (*this)(name, x);
      if (!loading_) return;
      thing = static_cast<T>(x);
      if (std::isfinite(x) && !std::isfinite(thing)) out_of_range(name);
    } else {
      const std::string outer = within_;
      within_ += name + ".";
      things(thing);
      within_ = outer;
    }
  }

  /// As many of the same shapes; an empty vector takes what there is.
  void things(std::vector<Tensor>& tensors);
  /// The same names; an empty map takes what there is.
  void things(std::map<std::string, Tensor>& tensors);
  /// A function of an Archive; anything with a member archive(Archive&), or `parameters`.
  template <class T>
  void things(T& thing) {
    if constexpr (std::is_invocable_v<T&, Archive&>) {
      thing(*this);
    } else if constexpr (HasArchive<T>::value) {
      thing.archive(*this);
    } else {
      static_assert(
          HasParameters<T>::value,
          "argtape: what is saved or loaded is a number, text, Tensor, Rng, a list or map "
          "of tensors, or has `parameters` or a member archive(Archive&); and is not const");
      (*this)("parameters", thing.parameters);
    }
  }

 private:
  friend void save_archive(const std::string&, const std::function<void(Archive&)>&,
                           const std::string&);
  friend void load_archive(const std::string&, const std::function<void(Archive&)>&,
                           const std::string&);
  struct Contents;
  void whole(const std::string& name, std::uint64_t& word, bool is_signed);
  [[noreturn]] void out_of_range(const std::string& name) const;
  [[noreturn]] void refuse_thing(const std::string& name, const std::string& why) const;
  void tensor(const std::string& name, Tensor& t, bool any_shape);
  template <class T>
  void list(const std::string& name, std::vector<T>& numbers);

  std::unique_ptr<Contents> contents_;
  std::string within_;
  bool loading_ = false;
};

/// What save() and load() do, for any thing.
void save_archive(const std::string& path, const std::function<void(Archive&)>& things,
                  const std::string& kind);
void load_archive(const std::string& path, const std::function<void(Archive&)>& things,
                  const std::string& kind);

/// Writes a .safetensors or .npz file, which its name says, as write_durably() does. A kind (a
/// program's name, say), for .safetensors alone, stands in its metadata, beside a checksum of the
/// whole. Throws std::invalid_argument for any other name, and for two things of one name, and
/// std::system_error, naming the file and the reason, if it cannot be written; the old one is still
/// there.
///
/// The name of each thing is UTF-8 without a zero byte, as the readers of such files need.
template <class T>
void save(const std::string& path, const T& thing, const std::string& kind = "") {
  // An archive that saves changes nothing.
  save_archive(
      path, [&](Archive& a) { a.things(const_cast<T&>(thing)); }, kind);
}

/// Throws what save() would for this path, as far as one can know without writing: for asking
/// before a long training.
void require_savable(const std::string& path);

/// Reads it back, or a file that others wrote. Throws std::runtime_error, naming the file and the
/// reason, if there is none, if it is neither, torn, damaged, of a newer version or of another kind
/// than the one given, and unless it holds what `thing` asks for and nothing else. Nothing is
/// changed before the file is known to be whole.
template <class T>
void load(const std::string& path, T&& thing, const std::string& kind = "") {
  load_archive(
      path, [&](Archive& a) { a.things(thing); }, kind);
}

/// crc32 of a tensor's shape and numbers, for telling whether data are still the same.
std::uint32_t checksum(const Tensor& t);

ARGTAPE_END
