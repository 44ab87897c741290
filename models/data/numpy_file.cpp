#include "models/data/numpy_file.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "models/data/counted.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

struct NumpyHeader {
  char order = '<', kind = 'f';  // of the bytes; float, integer, unsigned or bool
  std::size_t item = 0;          // bytes
  bool fortran = false;
  std::vector<std::uint64_t> shape;
  std::string shape_text;
};

// What stands after 'key': in the header, a Python dictionary as text.
std::string value_of(const std::string& header, const std::string& key) {
  const std::size_t at = header.find("'" + key + "'");
  if (at == std::string::npos) return "";
  const std::size_t colon = header.find_first_not_of(" ", at + key.size() + 2);
  if (colon == std::string::npos || header[colon] != ':') return "";
  const std::size_t from = header.find_first_not_of(" ", colon + 1);
  return from == std::string::npos ? "" : header.substr(from);
}

// (3, 4) or (3,) as numbers; false for anything else.
bool parse_shape(const std::string& text, NumpyHeader& h) {
  const std::size_t end = text.find(')');
  if (text.empty() || text[0] != '(' || end == std::string::npos) return false;
  h.shape_text = text.substr(0, end + 1);
  for (std::string cell : cells_of(text.substr(1, end - 1))) {
    cell.erase(std::remove(cell.begin(), cell.end(), ' '), cell.end());
    if (cell.empty()) continue;
    std::uint64_t length = 0;
    const auto [stop, error] = std::from_chars(cell.data(), cell.data() + cell.size(), length);
    if (error != std::errc() || stop != cell.data() + cell.size()) return false;
    h.shape.push_back(length);
  }
  return true;
}

NumpyHeader parse_header(const std::string& path, const std::string& text) {
  NumpyHeader h;
  const std::string type = value_of(text, "descr"), fortran = value_of(text, "fortran_order"),
                    shape = value_of(text, "shape");
  const bool order = fortran.compare(0, 4, "True") == 0 || fortran.compare(0, 5, "False") == 0;
  if (type.empty() || !order || !parse_shape(shape, h))
    fail_data(path + " has a damaged NumPy header; need one with descr, fortran_order and shape");
  h.fortran = fortran[0] == 'T';
  const std::size_t quote = type.find('\'', 1);
  const std::string name =
      type[0] == '\'' && quote != std::string::npos ? type.substr(1, quote - 1) : type.substr(0, 1);
  const std::string of = name.size() == 3 ? name.substr(1) : "";
  const std::vector<std::string> known = {"f4", "f8", "i1", "i2", "i4", "i8",
                                          "u1", "u2", "u4", "u8", "b1"};
  if (std::find(known.begin(), known.end(), of) == known.end() ||
      std::string("<>=|").find(name[0]) == std::string::npos || (name[0] == '|' && of[1] != '1'))
    fail_data(path + " holds " + (name == "[" ? "structures" : "the type " + shown_cell(name)) +
              "; need float32, float64, integers or bool");
  h.order = name[0];
  h.kind = of[0];
  h.item = static_cast<std::size_t>(of[1] - '0');
  if (h.shape.size() != 1 && h.shape.size() != 2)
    fail_data(path + " has the shape " + h.shape_text + "; need (points, dimensions)");
  if (std::count(h.shape.begin(), h.shape.end(), 0) > 0)
    fail_data(path + " has the shape " + h.shape_text +
              "; need at least one point and one dimension");
  return h;
}

// One item as a number. The bytes are put in order by arithmetic, whatever this machine's order.
double item_of(const unsigned char* bytes, const NumpyHeader& h) {
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < h.item; ++i)
    bits = bits << 8U | bytes[h.order == '>' ? i : h.item - 1 - i];
  if (h.kind == 'b') return bits != 0;
  if (h.kind == 'u') return static_cast<double>(bits);
  if (h.kind == 'i') {
    const std::size_t unused = 64 - 8 * h.item;
    return static_cast<double>(static_cast<std::int64_t>(bits << unused) >> unused);
  }
  if (h.item == 4) {
    const auto half = static_cast<std::uint32_t>(bits);
    float value = 0;
    std::memcpy(&value, &half, sizeof value);
    return static_cast<double>(value);
  }
  double value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

}  // namespace

bool is_numpy(Source& source) {
  constexpr int first = 0x93;
  return source.peek() == first;
}

NumberTable read_numpy(Source& source, const std::string& path, const std::string& need) {
  const std::string magic = "\x93NUMPY";
  std::vector<unsigned char> head(8);
  std::size_t got = source.read(head.data(), 8);
  const auto ends_early = [&](std::size_t after, std::uint64_t size, const std::string& why) {
    fail_data(path + " ends after " + counted(after, "byte") + "; need " + std::to_string(size) +
              ", " + why);
  };
  if (!std::equal(magic.begin(), magic.end(), head.begin(),
                  [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; }))
    fail_data(path + " begins as neither text nor a NumPy file does; need " + need);
  const unsigned version = head[6];
  if (got == 8 && (version < 1 || version > 3))
    fail_data(path + " has NumPy's format version " + std::to_string(version) + "; need 1 to 3");
  const std::size_t width = got < 8 || version == 1 ? 2 : 4;  // of the header's length
  head.resize(8 + width);
  if (got == 8) got += source.read(head.data() + 8, width);
  if (got < head.size()) ends_early(got, head.size(), "the least a NumPy file has");
  std::uint64_t length = 0;
  for (std::size_t i = width; i-- > 0;) length = length << 8U | head[8 + i];
  constexpr std::uint64_t longest = 1U << 20U;
  if (length > longest)
    fail_data(path + " promises a header of " + std::to_string(length) + " bytes; need at most " +
              std::to_string(longest));
  std::vector<unsigned char> header(length);
  got = source.read(header.data(), length);
  const std::uint64_t begin = head.size() + length;
  if (got < length) ends_early(head.size() + got, begin, "for its header");
  const NumpyHeader h = parse_header(path, {header.begin(), header.end()});

  const std::uint64_t n = h.shape[0], d = h.shape.size() == 2 ? h.shape[1] : 1;
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max() / 16;
  if (d > most / n)
    fail_data(path + " has the shape " + h.shape_text + ", more than a file can hold; need less");
  NumberTable table;
  const std::uint64_t size = n * d * h.item;
  std::vector<unsigned char> chunk(1U << 20U);
  for (std::uint64_t done = 0; done < size;) {
    const std::size_t want = std::min<std::uint64_t>(chunk.size(), size - done);
    const std::size_t came = source.read(chunk.data(), want);
    if (came < want)
      ends_early(begin + done + came, begin + size,
                 "as its header promises the shape " + h.shape_text);
    for (std::size_t i = 0; i < came; i += h.item) {
      const double value = item_of(chunk.data() + i, h);
      if (!std::isfinite(value)) {
        const std::uint64_t at = table.numbers.size();
        const std::uint64_t row = h.fortran ? at % n : at / d, column = h.fortran ? at / n : at % d;
        fail_data(path + ", row " + std::to_string(row + 1) + ", column " +
                  std::to_string(column + 1) + " is " + (std::isnan(value) ? "NaN" : "infinite") +
                  "; need a finite number");
      }
      table.numbers.push_back(value);
    }
    done += came;
  }
  unsigned char extra = 0;
  if (source.read(&extra, 1) != 0)
    fail_data(path + " goes on after the " + std::to_string(begin + size) +
              " bytes its header promises; need nothing there");
  if (source.cut_short()) fail_data(path + " breaks off before its checksum; need an intact file");
  table.size = n;
  table.dimensions = d;
  if (h.fortran) {
    const std::vector<double> by_column = std::move(table.numbers);
    table.numbers.resize(by_column.size());
    for (std::size_t j = 0; j < d; ++j)
      for (std::size_t i = 0; i < n; ++i) table.numbers[i * d + j] = by_column[j * n + i];
  }
  return table;
}

ARGTAPE_END
