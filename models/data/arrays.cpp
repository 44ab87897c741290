#include "models/data/arrays.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/require.hpp"
#include "engine/system/memory.hpp"

ARGTAPE_PRIVATE_BEGIN

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "files are read and written as numbers lie in memory, the lowest byte first");

const std::vector<ElementName> kElements = {
    {{Element::real, 2}, "float16", "F16"},   {{Element::real, 4}, "float32", "F32"},
    {{Element::real, 8}, "float64", "F64"},   {{Element::brain, 2}, "bfloat16", "BF16"},
    {{Element::whole, 1}, "int8", "I8"},      {{Element::whole, 2}, "int16", "I16"},
    {{Element::whole, 4}, "int32", "I32"},    {{Element::whole, 8}, "int64", "I64"},
    {{Element::natural, 1}, "uint8", "U8"},   {{Element::natural, 2}, "uint16", "U16"},
    {{Element::natural, 4}, "uint32", "U32"}, {{Element::natural, 8}, "uint64", "U64"},
    {{Element::truth, 1}, "bool", "BOOL"},
};

const char* name_of(Element element) {
  return std::find_if(kElements.begin(), kElements.end(),
                      [=](const ElementName& e) { return e.element == element; })
      ->name;
}

std::uint64_t word_at(const char* at, Element element) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, at, element.size);
  if (element.kind == Element::truth) return bits != 0;
  if (element.kind != Element::whole) return bits;
  const std::size_t unused = 64 - 8 * element.size;
  return static_cast<std::uint64_t>(static_cast<std::int64_t>(bits << unused) >> unused);
}

double number_at(const char* at, Element element) {
  const std::uint64_t word = word_at(at, element);
  if (element.kind == Element::whole) return static_cast<double>(static_cast<std::int64_t>(word));
  if (element.is_whole()) return static_cast<double>(word);
  if (element.size == 8) {
    double value = 0;
    std::memcpy(&value, at, sizeof value);
    return value;
  }
  if (element.kind == Element::brain || element.size == 4) {  // bfloat16: the upper half of a float
    const auto bits = static_cast<std::uint32_t>(word << (element.size == 2 ? 16 : 0));
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return static_cast<double>(value);
  }
  const int exponent = static_cast<int>(word >> 10U & 31U), fraction = word & 1023U;
  const double sign = word >> 15U ? -1 : 1;
  if (exponent == 31)
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  return sign * std::ldexp(exponent ? 1024 + fraction : fraction, std::max(exponent, 1) - 25);
}

bool is_text(const std::string& name) {
  const auto at = [&](std::size_t i) -> std::uint32_t {
    return i < name.size() ? static_cast<unsigned char>(name[i]) : 0;
  };
  for (std::size_t i = 0, length = 0; i < name.size(); i += length) {
    const std::uint32_t lead = at(i);
    length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    std::uint32_t code = length == 1 ? lead : lead & (0xffU >> (length + 1));
    for (std::size_t j = 1; j < length; ++j) {
      if (at(i + j) >> 6U != 2) return false;
      code = code << 6U | (at(i + j) & 63U);
    }
    constexpr std::uint32_t kLeast[] = {1, 0x80, 0x800, 0x10000};  // no code in more bytes than due
    const bool surrogate = code >> 11U == 0xd800 >> 11U;
    if (lead >> 6U == 2 || lead >= 0xf8 || code < kLeast[length - 1] || code > 0x10ffff ||
        surrogate)
      return false;
  }
  return true;
}

std::uint64_t bytes_of(const std::string& label, const std::vector<std::uint64_t>& shape,
                       Element element) {
  // As size_of() does it counts what stands beside an axis of length 0.
  std::uint64_t bytes = element.size;
  std::string words;
  bool fits = true;
  for (std::uint64_t n : shape) {
    words += (words.empty() ? "" : ", ") + std::to_string(n);
    fits = fits && n <= kMostBytes / bytes;
    if (fits && n > 0) bytes *= n;
  }
  if (!fits)
    refuse<std::runtime_error>(label, " has the shape (", words, shape.size() == 1 ? ",)" : ")",
                               ", more than memory can hold; need less");
  return std::count(shape.begin(), shape.end(), 0) > 0 ? 0 : bytes;
}

ARGTAPE_END
