#include "models/data/safetensors.hpp"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <set>

#include "engine/require.hpp"
#include "models/data/source.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

constexpr char kVersion[] = "1", kNoChecksum[] = "00000000";
constexpr std::size_t kLengthSize = 8, kLongestHeader = 100'000'000;  // the format's own bound

[[noreturn]] void damaged(const std::string& why) {
  refuse<std::runtime_error>("it is damaged: ", why);
}

// The JSON of a header, read from left to right: objects, texts, and lists of whole numbers.
class Json {
 public:
  explicit Json(const std::string& text) : text_(text) {}

  // value(name) reads the value of each member in turn, each name once.
  template <class Value>
  void object(Value value) {
    std::set<std::string> names;
    need('{');
    if (skip('}')) return;
    do {
      const std::string name = string();
      if (!names.insert(name).second) damaged("two things are called '" + name + "'");
      need(':');
      value(name);
    } while (skip(','));
    need('}');
  }

  std::string string() {
    need('"');
    std::string out;
    for (;;) {
      const char c = next();
      if (c == '"') break;
      if (c == '\\')
        escape(out);
      else
        out += c;
    }
    if (!is_text(out)) damaged("its header has " + shown_cell(out) + ", no text in UTF-8");
    return out;
  }

  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> out;
    need('[');
    if (skip(']')) return out;
    do {
      blanks();
      std::uint64_t number = 0;
      const char* begin = text_.data() + at_;
      const auto [stop, error] = std::from_chars(begin, text_.data() + text_.size(), number);
      if (error != std::errc() || (*begin == '0' && stop > begin + 1))
        damaged("its header has no whole number where one is needed");
      at_ = static_cast<std::size_t>(stop - text_.data());
      out.push_back(number);
    } while (skip(','));
    need(']');
    return out;
  }

  void end() {
    blanks();
    if (at_ != text_.size()) damaged("its header goes on after its end");
  }

 private:
  char next() {
    if (at_ == text_.size()) damaged("its header ends too early");
    return text_[at_++];
  }
  void blanks() {
    while (at_ < text_.size() && std::strchr(" \t\r\n", text_[at_]) && text_[at_] != '\0') ++at_;
  }
  bool skip(char c) {
    blanks();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void need(char c) {
    if (!skip(c))
      damaged(std::string("its header has no ") + c + " at byte " + std::to_string(at_));
  }

  void escape(std::string& out) {
    constexpr char kEscaped[] = "\"\\/bfnrt", kMeaning[] = "\"\\/\b\f\n\r\t";
    const char c = next();
    if (c == 'u') return unicode(out);
    const char* at = c == '\0' ? nullptr : std::strchr(kEscaped, c);
    if (!at) damaged("its header has an unknown escape");
    out += kMeaning[at - kEscaped];
  }

  std::uint32_t hex4() {
    std::uint32_t code = 0;
    if (text_.size() - at_ < 4) damaged("its header ends too early");
    const auto [stop, error] =
        std::from_chars(text_.data() + at_, text_.data() + at_ + 4, code, 16);
    if (error != std::errc() || stop != text_.data() + at_ + 4)
      damaged("its header has an unknown escape");
    at_ += 4;
    return code;
  }

  // \uXXXX, two of them beyond the first 65536 characters, in UTF-8.
  void unicode(std::string& out) {
    std::uint32_t code = hex4();
    if (code >= 0xd800 && code < 0xdc00 && text_.compare(at_, 2, "\\u") == 0) {
      at_ += 2;
      const std::uint32_t low = hex4();
      if (low >= 0xdc00 && low < 0xe000)  // else half of a character is left, which is no text
        code = 0x10000 + ((code - 0xd800) << 10U) + (low - 0xdc00);
    }
    const auto tail = [&](unsigned shift) {
      out += static_cast<char>(0x80U | (code >> shift & 0x3fU));
    };
    if (code < 0x80)
      out += static_cast<char>(code);
    else if (code < 0x800)
      out += static_cast<char>(0xc0U | code >> 6U), tail(0);
    else if (code < 0x10000)
      out += static_cast<char>(0xe0U | code >> 12U), tail(6), tail(0);
    else
      out += static_cast<char>(0xf0U | code >> 18U), tail(12), tail(6), tail(0);
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text)
    if (static_cast<unsigned char>(c) < ' ') {
      constexpr char kDigits[] = "0123456789abcdef";
      out += std::string("\\u00") + kDigits[c >> 4] + kDigits[c & 15];
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  return out + '"';
}

std::string checksum_of(const std::string& file) {
  auto crc = static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(file.data()), file.size()));
  std::string digits(8, '0');
  for (std::size_t i = 8; i-- > 0; crc >>= 4U) digits[i] = "0123456789abcdef"[crc & 15U];
  return digits;
}

// What argtape says of a file of its own must hold.
void check_own(std::string& file, const Metadata& metadata) {
  const auto version = metadata.find("argtape"), sum = metadata.find("crc32");
  if (version == metadata.end() && sum == metadata.end()) return;
  if (version == metadata.end() || sum == metadata.end())
    damaged("of its metadata argtape and crc32 one is missing");
  require<std::runtime_error>(version->second == kVersion, "its format is version ",
                              version->second, "; need ", kVersion);
  const std::string before = "\"crc32\":\"";
  const std::size_t at = file.find(before + sum->second + '"', kLengthSize) + before.size();
  if (sum->second.size() != 8 || at < before.size()) damaged("its checksum is none");
  file.replace(at, 8, kNoChecksum);
  if (checksum_of(file) != sum->second) damaged("its checksum is wrong");
}

using Range = std::pair<std::uint64_t, std::uint64_t>;

// One array's entry, its numbers as they stand in the file from `data` on.
Array read_entry(Json& json, const std::string& name, std::size_t data, Range& place) {
  Array array{name, kByte, {}, 0};
  std::size_t fields = 0;
  std::string type;
  std::vector<std::uint64_t> shape, range;
  json.object([&](const std::string& field) {
    ++fields;
    if (field == "dtype")
      type = json.string();
    else if (field == "shape")
      shape = json.numbers();
    else if (field == "data_offsets")
      range = json.numbers();
    else
      damaged("'" + name + "' has the unknown field '" + field + "'");
  });
  if (fields != 3) damaged("'" + name + "' lacks one of dtype, shape and data_offsets");
  const auto known = std::find_if(kElements.begin(), kElements.end(),
                                  [&](const ElementName& e) { return type == e.safetensors; });
  require<std::runtime_error>(known != kElements.end(), "'", name, "' is of the type ", type,
                              "; need F16, BF16, F32, F64, integers or BOOL");
  array.element = known->element;
  if (range.size() != 2 || range[1] < range[0] ||
      range[1] - range[0] != bytes_of("'" + name + "'", shape, array.element))
    damaged("the place of '" + name + "' does not fit its shape");
  array.shape = Shape(shape.begin(), shape.end());
  array.begin = data + range[0];
  place = {range[0], range[1]};
  return array;
}

}  // namespace

Arrays read_safetensors(std::string file, Metadata& metadata) {
  const std::uint64_t length =
      file.size() < kLengthSize ? 0 : word_at(file.data(), {Element::natural, kLengthSize});
  if (file.size() < kLengthSize || length > kLongestHeader ||
      (file.size() > kLengthSize && file[kLengthSize] != '{'))
    refuse<std::runtime_error>("it is neither a .safetensors nor a .npz file");
  const std::size_t data = kLengthSize + length;
  require<std::runtime_error>(data <= file.size(), "it is torn: ", file.size(),
                              " bytes; need more for its header");
  const std::string header = file.substr(kLengthSize, length);
  Json json(header);
  Arrays arrays;
  std::vector<Range> places;  // of which none may overlap, nor leave a gap
  json.object([&](const std::string& name) {
    if (name == "__metadata__")
      return json.object([&](const std::string& key) { metadata[key] = json.string(); });
    arrays.list.push_back(read_entry(json, name, data, places.emplace_back()));
  });
  json.end();
  std::sort(places.begin(), places.end());
  std::uint64_t whole = 0;
  for (const auto& [begin, end] : places) whole = std::max(whole, end);
  require<std::runtime_error>(file.size() - data == whole, "it is torn: ", file.size() - data,
                              " bytes of ", std::to_string(whole), " behind its header");
  check_own(file, metadata);
  std::uint64_t used = 0;
  for (const auto& [begin, end] : places) {
    if (begin != used) damaged("its arrays do not stand one behind the other");
    used = end;
  }
  arrays.bytes = std::move(file);
  return arrays;
}

std::string write_safetensors(const Arrays& arrays, const Metadata& metadata) {
  // The widest numbers first, so that all of them lie where a machine wants them.
  std::vector<const Array*> order;
  for (const Array& array : arrays.list) order.push_back(&array);
  std::stable_sort(order.begin(), order.end(), [](const Array* a, const Array* b) {
    return a->element.size > b->element.size;
  });
  const std::string before =
      std::string(R"({"__metadata__":{"argtape":")") + kVersion + R"(","crc32":")";
  std::string header = before + kNoChecksum + '"';
  for (const auto& [key, value] : metadata) header += "," + quoted(key) + ":" + quoted(value);
  header += "}";
  std::size_t at = 0;
  for (const Array* array : order) {
    const auto type = std::find_if(kElements.begin(), kElements.end(), [&](const ElementName& e) {
      return e.element == array->element;
    });
    header += "," + quoted(array->name) + ":{\"dtype\":\"" + type->safetensors + "\",\"shape\":[";
    for (std::size_t i = 0; i < array->shape.size(); ++i)
      header += (i ? "," : "") + std::to_string(array->shape[i]);
    header += "],\"data_offsets\":[" + std::to_string(at) + "," +
              std::to_string(at + array->size()) + "]}";
    at += array->size();
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  require<std::runtime_error>(header.size() <= kLongestHeader,
                              "the names take more than 100 MB; need shorter ones");
  const std::uint64_t length = header.size();
  std::string file(reinterpret_cast<const char*>(&length), kLengthSize);
  file.reserve(kLengthSize + header.size() + at);
  file += header;
  for (const Array* array : order) file.append(arrays.bytes, array->begin, array->size());
  return file.replace(kLengthSize + before.size(), 8, checksum_of(file));
}

ARGTAPE_END
