// A file of named things, the state of a training say. What is in it is said once, by one function
// that serves for saving and for loading:
//
//     void MyTraining::archive(Archive& a) {
//       a("weights", weights);
//       a("adam", adam);    // anything with a member archive(Archive&)
//       a("step", step);
//       a("rng", rng);
//     }
//     save_archive("run.checkpoint", "my program", [&](Archive& a) { training.archive(a); });
//     load_archive("run.checkpoint", "my program", [&](Archive& a) { training.archive(a); });
//
// Everything comes back to the bit. A file is an 8-byte magic word, the format's version, a
// checksum (zlib's crc32), the length of what follows, and that: the kind, and each thing as its
// name, its type and its numbers, in the machine's own order of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../engine/random.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// One direction of save_archive() or load_archive(). a(name, thing) writes the thing down, or
/// reads it back; names are read in the order in which they were written. Reading throws
/// std::runtime_error, naming the thing, where the file has another one, or one of another type or
/// shape: then the state is half old, half new, and no good.
class Archive {
 public:
  /// An empty one, to be written to.
  Archive() = default;
  /// One that reads what bytes() of another one gave.
  explicit Archive(std::string bytes) : bytes_(std::move(bytes)), loading_(true) {}

  bool loading() const { return loading_; }
  const std::string& bytes() const { return bytes_; }

  /// The file's tensor must have the shape of `t`.
  void operator()(const std::string& name, Tensor& t);
  /// As many of the same shapes; an empty vector takes what there is.
  void operator()(const std::string& name, std::vector<Tensor>& tensors);
  void operator()(const std::string& name, double& x);
  void operator()(const std::string& name, std::string& text);
  void operator()(const std::string& name, std::vector<double>& numbers);
  void operator()(const std::string& name, std::vector<std::size_t>& numbers);
  void operator()(const std::string& name, Rng& rng);
  /// Whole numbers and bool; one that the thing cannot hold is refused. Else anything with a member
  /// archive(Archive&), whose names go on after this one: "adam/rate".
  template <class T>
  void operator()(const std::string& name, T& thing) {
    if constexpr (std::is_integral_v<T>) {
      auto word = static_cast<std::uint64_t>(thing);
      whole(name, word);
      thing = static_cast<T>(word);
      if (static_cast<std::uint64_t>(thing) != word) out_of_range(name);
    } else if constexpr (std::is_floating_point_v<T>) {
      auto x = static_cast<double>(thing);
      (*this)(name, x);
      thing = static_cast<T>(x);
    } else {
      const std::string outer = within_;
      within_ += name + "/";
      thing.archive(*this);
      within_ = outer;
    }
  }

  /// Throws std::runtime_error if something is left to be read.
  void finish() const;

 private:
  enum class Type : std::uint8_t;
  void whole(const std::string& name, std::uint64_t& word);
  [[noreturn]] void out_of_range(const std::string& name) const;
  // Writes the thing's name and type, or checks that they are what comes next.
  void entry(const std::string& name, Type type);
  // `count` numbers, as they lie in memory.
  template <class T>
  void raw(T* numbers, std::size_t count);
  // How many there are of something that takes so many bytes, or more, each.
  std::size_t count(std::size_t now, std::size_t bytes_each);
  void contents(const std::string& name, Tensor& t, bool any_shape);
  [[noreturn]] void refuse_thing(const std::string& name, const std::string& why) const;

  std::string bytes_, within_;
  std::size_t at_ = 0;
  bool loading_ = false;
};

/// Writes a file of the given kind (a program's name, say) with what `state` puts into the archive.
/// Whatever happens on the way, power cuts included, the file is the old one or the new one, whole.
/// Throws std::system_error, naming the file and the reason, if it cannot be written; the old one
/// is still there. One writer at a time: `path`.tmp is its.
void save_archive(const std::string& path, const std::string& kind,
                  const std::function<void(Archive&)>& state);

/// Reads it back. Throws std::runtime_error, naming the file and the reason, if there is none, if
/// it is no archive, torn, longer than it should be, damaged, written by a newer version or of
/// another kind, and if `state` asks for other things than it holds. `state` is not called before
/// the file is known to be whole.
void load_archive(const std::string& path, const std::string& kind,
                  const std::function<void(Archive&)>& state);

/// Replaces a file as save_archive() does: `path`.tmp in the same folder, fsync, rename, fsync of
/// the folder. Throws as it does.
void write_durably(const std::string& path, const std::string& bytes);

/// crc32 of a tensor's shape and numbers, for telling whether data are still the same.
std::uint32_t checksum(const Tensor& t);

ARGTAPE_END
