#include "models/training/archive.hpp"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <new>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "engine/require.hpp"
#include "models/data/npz.hpp"
#include "models/data/safetensors.hpp"
#include "models/data/source.hpp"
#include "models/training/write_durably.hpp"

ARGTAPE_PUBLIC_BEGIN

namespace {

bool any(Element) { return true; }
bool whole_ones(Element element) { return element.is_whole(); }
bool bytes_only(Element element) { return element == kByte; }

void require_text(const std::string& name) {
  require(is_text(name), "save: the name ", shown_cell(name),
          " is no text; need UTF-8 without a zero byte");
}

// How its name ends.
std::string format_of(const std::string& path) {
  const std::size_t dot = path.rfind('.');
  const std::string ending = dot == std::string::npos ? "" : path.substr(dot);
  require(ending == ".safetensors" || ending == ".npz", "save: '", path,
          "' ends in neither .safetensors nor .npz; need a name that does");
  return ending;
}

}  // namespace

struct Archive::Contents {
  Arrays arrays;
  Metadata metadata;

  void add(const std::string& name, Element element, const Shape& shape, const void* numbers) {
    require_text(name);
    if (name == "__metadata__") refuse("save: the name '", name, "' is the format's; need another");
    for (const Array& other : arrays.list)
      if (other.name == name)
        refuse("save: two things are called '", name, "'; need a name for each");
    arrays.list.push_back({name, element, shape, arrays.bytes.size()});
    arrays.bytes.append(static_cast<const char*>(numbers), arrays.list.back().size());
  }

  // The array of this name, to be read; null if there is none.
  const Array* take(const std::string& name) {
    for (Array& array : arrays.list)
      if (array.name == name) {
        array.taken = true;
        return &array;
      }
    return nullptr;
  }

  // Some of the names that were not asked for.
  std::string left() const {
    constexpr std::size_t kShown = 5;
    std::string words;
    std::size_t n = 0;
    for (const Array& array : arrays.list)
      if (!array.taken && ++n <= kShown) words += (n > 1 ? ", '" : "'") + array.name + "'";
    return n > kShown ? words + " and " + std::to_string(n - kShown) + " more" : words;
  }

  // What is called `name`, if it is so many axes of a kind that `fits`.
  const Array& need(const std::string& name, std::size_t axes, bool fits(Element),
                    const char* kind) {
    const Array* array = take(name);
    if (!array)
      refuse<std::runtime_error>("it has no '", name, "'", left().empty() ? "" : ", but " + left());
    if (!fits(array->element) || array->shape.size() != axes)
      refuse<std::runtime_error>("'", name, "' is ", name_of(array->element), " ", array->shape,
                                 "; need ", kind);
    return *array;
  }

  // Its numbers as T: exactly, or rounded to a T of the same range.
  template <class T>
  void read(const Array& array, Element element, T* to) const {
    const char* from = arrays.bytes.data() + array.begin;
    if (array.element == element) {
      if (array.size() > 0) std::memcpy(to, from, array.size());
      return;
    }
    for (std::size_t i = 0; i < array.count(); ++i, from += array.element.size) {
      if constexpr (std::is_integral_v<T>) {
        to[i] = word_at(from, array.element);
      } else {
        const double x = number_at(from, array.element);
        to[i] = static_cast<T>(x);
        if (array.element.is_whole() ? word_of(to[i], array.element) != word_at(from, array.element)
                                     : std::isfinite(x) && !std::isfinite(to[i]))
          refuse<std::runtime_error>(
              "'", array.name, "' has ",
              (array.element.is_whole() ? digits_at(from, array.element) : str(x)), " at ", i,
              "; need numbers that can be held");
      }
    }
  }

 private:
  // All of a whole number's digits, which a double may not hold.
  static std::string digits_at(const char* from, Element element) {
    const std::uint64_t word = word_at(from, element);
    return element.kind == Element::whole ? std::to_string(static_cast<std::int64_t>(word))
                                          : std::to_string(word);
  }
  // What word_at() gives for a number in this form; something else where there is none.
  template <class T>
  static std::uint64_t word_of(T x, Element element) {
    constexpr T kEnd = 18446744073709551616.0;  // 2^64
    if (element.kind == Element::whole)
      return x < kEnd / 2 ? static_cast<std::uint64_t>(static_cast<std::int64_t>(x)) : 0;
    return x < kEnd ? static_cast<std::uint64_t>(x) : 0;
  }
};

Archive::Archive() : contents_(std::make_unique<Contents>()) {}
Archive::~Archive() = default;

Archive::Archive(const std::string& bytes) : Archive() {
  loading_ = true;
  contents_->arrays =
      is_npz(bytes) ? read_npz(bytes) : read_safetensors(bytes, contents_->metadata);
}

std::string Archive::bytes() const {
  return write_safetensors(contents_->arrays, contents_->metadata);
}

void Archive::refuse_thing(const std::string& name, const std::string& why) const {
  refuse<std::runtime_error>("'", within_, name, "' ", why);
}

void Archive::out_of_range(const std::string& name) const {
  refuse_thing(name, "is a number that this program's type cannot hold");
}

void Archive::tensor(const std::string& name, Tensor& t, bool any_shape) {
  const std::string whole_name = within_ + name;
  if (!loading_) return contents_->add(whole_name, kScalar, t.shape(), t.data());
  const Array* array = contents_->take(whole_name);
  const Array& found = array ? *array : contents_->need(whole_name, 0, any, "");
  if (found.shape != t.shape()) {
    if (!any_shape) refuse_thing(name, "is " + str(found.shape) + "; need " + str(t.shape()));
    t = uninitialised(found.shape);
  }
  contents_->read(found, kScalar, t.data());
}

void Archive::operator()(const std::string& name, Tensor& t) { tensor(name, t, false); }

void Archive::things(std::vector<Tensor>& tensors) {
  const bool takes_any = loading_ && tensors.empty();
  if (loading_) {
    std::size_t n = 0;
    while (contents_->take(within_ + std::to_string(n))) ++n;
    if (takes_any) tensors.resize(n);
    if (n != tensors.size())
      refuse<std::runtime_error>("'", within_.substr(0, within_.size() - !within_.empty()),
                                 "' are ", n, " tensors; need ", tensors.size());
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) tensor(std::to_string(i), tensors[i], takes_any);
}

void Archive::things(std::map<std::string, Tensor>& tensors) {
  const bool takes_any = loading_ && tensors.empty();
  if (takes_any)
    for (const Array& array : contents_->arrays.list)
      if (!array.taken && array.name.compare(0, within_.size(), within_) == 0)
        tensors[array.name.substr(within_.size())];
  for (auto& [name, t] : tensors) tensor(name, t, takes_any);
}

void Archive::whole(const std::string& name, std::uint64_t& word, bool is_signed) {
  if (!loading_) return contents_->add(within_ + name, is_signed ? kWhole : kNatural, {}, &word);
  const Array& array = contents_->need(within_ + name, 0, whole_ones, "a whole number");
  contents_->read(array, is_signed ? kWhole : kNatural, &word);
  // Beyond 63 bits a word is one thing with a sign and another one without.
  if (word >> 63U && is_signed != (array.element.kind == Element::whole)) out_of_range(name);
}

void Archive::operator()(const std::string& name, double& x) {
  if (!loading_) return contents_->add(within_ + name, kDouble, {}, &x);
  contents_->read(contents_->need(within_ + name, 0, any, "a number"), kDouble, &x);
}

void Archive::operator()(const std::string& name, std::string& text) {
  if (!loading_) return contents_->add(within_ + name, kByte, {text.size()}, text.data());
  const Array& array = contents_->need(within_ + name, 1, bytes_only, "a text: uint8 (n,)");
  text = array.size() ? contents_->arrays.bytes.substr(array.begin, array.size()) : "";
}

template <class T>
void Archive::list(const std::string& name, std::vector<T>& numbers) {
  constexpr bool kIntegers = std::is_integral_v<T>;
  constexpr Element kEach = kIntegers ? kNatural : kDouble;
  if (!loading_) return contents_->add(within_ + name, kEach, {numbers.size()}, numbers.data());
  const Array& array = contents_->need(within_ + name, 1, kIntegers ? whole_ones : any,
                                       kIntegers ? "whole numbers (n,)" : "numbers (n,)");
  numbers.resize(array.count());
  contents_->read(array, kEach, numbers.data());
  if constexpr (kIntegers)
    for (T n : numbers)
      if (array.element.kind == Element::whole && n >> 63U)
        refuse_thing(name, "has negative numbers");
}

void Archive::operator()(const std::string& name, std::vector<double>& numbers) {
  list(name, numbers);
}

void Archive::operator()(const std::string& name, std::vector<std::size_t>& numbers) {
  list(name, numbers);
}

void Archive::operator()(const std::string& name, Rng& rng) {
  std::vector<std::size_t> state = {rng.seed(), rng.position(), rng.stream()};
  list(name, state);
  if (state.size() != 3)
    refuse_thing(
        name, "are " + std::to_string(state.size()) + " numbers; need seed, position and stream");
  rng = Rng(state[0], state[1], state[2]);
}

void Archive::finish() const {
  const std::string left = contents_->left();
  require<std::runtime_error>(left.empty(), "it has ", left, " too; need nothing more");
}

std::uint32_t checksum(const Tensor& t) {
  const auto more = [](std::uint32_t before, const auto* from, std::size_t count) {
    return static_cast<std::uint32_t>(
        crc32_z(before, reinterpret_cast<const Bytef*>(from), count * sizeof *from));
  };
  return more(more(0, t.shape().data(), t.shape().size()), t.data(), t.size());
}

void require_savable(const std::string& path) {
  format_of(path);
  require_writable(path);
}

void save_archive(const std::string& path, const std::function<void(Archive&)>& things,
                  const std::string& kind) {
  const std::string ending = format_of(path);
  require_text(kind);
  require(ending == ".safetensors" || kind.empty(), "save: '", path, "' is to be of the kind '",
          kind, "'; need a .safetensors file for that");
  Archive archive;
  if (!kind.empty()) archive.contents_->metadata["kind"] = kind;
  things(archive);
  write_durably(path, ending == ".npz" ? write_npz(archive.contents_->arrays) : archive.bytes());
}

void load_archive(const std::string& path, const std::function<void(Archive&)>& things,
                  const std::string& kind) {
  try {
    std::error_code ignored;
    require<std::runtime_error>(!std::filesystem::is_directory(path, ignored), "it is a folder");
    std::ifstream file(path, std::ios::binary);
    require<std::runtime_error>(file.is_open(), std::generic_category().message(errno));
    Archive archive(std::string{std::istreambuf_iterator<char>(file), {}});
    const std::string of = archive.contents_->metadata["kind"];
    if (!kind.empty() && of != kind)
      refuse<std::runtime_error>("it is one of ", of.empty() ? "no kind" : of, "; need one of ",
                                 kind);
    things(archive);
    archive.finish();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {  // a length that no tensor has, too
    refuse<std::runtime_error>("cannot load '", path, "': ", on_one_line(error.what()));
  }
}

ARGTAPE_END
