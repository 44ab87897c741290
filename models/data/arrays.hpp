// Private: named arrays as files hold them, of whatever kind of number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../../engine/tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

/// A kind of number.
struct Element {
  enum Kind : char { real = 'f', brain = 'g', whole = 'i', natural = 'u', truth = 'b' } kind;
  std::size_t size;  ///< bytes

  bool is_whole() const { return kind != real && kind != brain; }
  bool operator==(Element b) const { return kind == b.kind && size == b.size; }
  bool operator!=(Element b) const { return !(*this == b); }
};
constexpr Element kScalar{Element::real, sizeof(Scalar)}, kDouble{Element::real, 8},
    kNatural{Element::natural, 8}, kWhole{Element::whole, 8}, kByte{Element::natural, 1};

/// All that can be read: its name, as NumPy has it, and in safetensors files.
struct ElementName {
  Element element;
  const char *name, *safetensors;
};
extern const std::vector<ElementName> kElements;
const char* name_of(Element element);

/// A number, its lowest byte first: an integer, with its sign in all 64 bits; any number as a
/// double, to which an integer of more than 53 bits is rounded.
std::uint64_t word_at(const char* at, Element element);
double number_at(const char* at, Element element);

struct Array {
  std::string name;
  Element element;
  Shape shape;
  std::size_t begin;  ///< where its numbers begin in `bytes`, in C's order
  bool taken = false;

  std::size_t count() const { return size_of(shape); }
  std::size_t size() const { return count() * element.size; }
};

struct Arrays {
  std::string bytes;
  std::vector<Array> list;
};

/// Whether a name is UTF-8 without a zero byte: all that files of both formats can hold, and JSON.
bool is_text(const std::string& name);

/// The bytes that so many numbers take. Throws std::runtime_error, after `label`, for a shape that
/// no tensor has, as it is more than memory can hold.
std::uint64_t bytes_of(const std::string& label, const std::vector<std::uint64_t>& shape,
                       Element element);

ARGTAPE_END
