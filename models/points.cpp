#include "models/points.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "models/source.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

constexpr char kNeed[] = "a CSV or NumPy file of points";
constexpr std::size_t kLongestLine = 1U << 24;
constexpr int kNumpy = 0x93;  // no text begins so

std::string counted(std::size_t n, const char* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

// ---- CSV ----

char separator_of(const std::string& line) {
  for (char c : {';', '\t', ','})
    if (line.find(c) != std::string::npos) return c;
  return ' ';
}

std::vector<std::string> split_cells(const std::string& line, char separator) {
  if (separator != ' ') return cells_of(line, separator);
  std::vector<std::string> cells = cells_of(line, ' ');
  cells.erase(std::remove(cells.begin(), cells.end(), ""), cells.end());
  return cells;
}

bool is_number(const std::string& cell) { return parse_number(cell).reads; }

PointTable read_csv(Source& source, const std::string& path) {
  PointTable table;
  char separator = ' ';
  std::size_t first_line = 0;
  bool first = true;
  for (std::string line; source.line(line);) {
    if (first && line.compare(0, 3, "\xef\xbb\xbf") == 0) line.erase(0, 3);  // Excel's mark
    if (line.find('\0') != std::string::npos)
      fail_data(source.here() + " holds a zero byte, as no text does; need " + kNeed);
    if (line.find_first_not_of(" \t") == std::string::npos || line[0] == '#') continue;
    if (table.size == 0) separator = separator_of(line);
    const std::vector<std::string> cells = split_cells(line, separator);
    const bool header = first && std::none_of(cells.begin(), cells.end(), is_number);
    first = false;
    if (header) continue;
    if (table.size == 0) {
      table.dimensions = cells.size();
      first_line = source.line_number();
    }
    if (cells.size() != table.dimensions)
      fail_data(source.here() + " has " + counted(cells.size(), "cell") + "; need " +
                std::to_string(table.dimensions) + ", as line " + std::to_string(first_line) +
                " has");
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const CellNumber number = parse_number(cells[i]);
      if (!number.held || !std::isfinite(number.value))
        fail_data(source.here() + ", column " + std::to_string(i + 1) + " is " +
                  shown_cell(cells[i]) + "; need a " +
                  (!number.reads  ? "number"
                   : !number.held ? "number that a double can hold"
                                  : "finite number"));
      table.numbers.push_back(number.value);
    }
    ++table.size;
  }
  if (source.cut_short())
    fail_data(path + " breaks off after " + counted(table.size, "row") + "; need an intact file");
  if (table.size == 0) fail_data(path + " holds no points; need a line of numbers for each");
  return table;
}

// ---- NumPy ----

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

PointTable read_numpy(Source& source, const std::string& path) {
  const std::string magic = "\x93NUMPY";
  std::vector<unsigned char> head(8);
  std::size_t got = source.read(head.data(), 8);
  const auto ends_early = [&](std::size_t after, std::uint64_t need, const std::string& why) {
    fail_data(path + " ends after " + counted(after, "byte") + "; need " + std::to_string(need) +
              ", " + why);
  };
  if (!std::equal(magic.begin(), magic.end(), head.begin(),
                  [](char a, unsigned char b) { return static_cast<unsigned char>(a) == b; }))
    fail_data(path + " begins as neither text nor a NumPy file does; need " + kNeed);
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
  PointTable table;
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

}  // namespace

std::vector<double> PointTable::origin() const {
  const double n = static_cast<double>(size);
  std::vector<double> origin(dimensions);
  for (std::size_t j = 0; j < dimensions; ++j) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < size; ++i) mean += numbers[i * dimensions + j] / n;
    for (std::size_t i = 0; i < size; ++i)
      variance += std::pow(numbers[i * dimensions + j] - mean, 2) / n;
    // Of a column that is all the same number, that number; of one whose squares overflow, none.
    const double grid = variance > 0 ? std::exp2(std::floor(std::log2(variance) / 2)) : 0;
    origin[j] = grid == 0 ? numbers[j] : std::isfinite(grid) ? std::round(mean / grid) * grid : 0;
  }
  return origin;
}

Tensor PointTable::tensor(const std::vector<double>& origin) const {
  if (!origin.empty() && origin.size() != dimensions)
    throw std::invalid_argument("PointTable: an origin of " + std::to_string(origin.size()) +
                                " numbers for " + std::to_string(dimensions) +
                                " dimensions; need one each, or none");
  Tensor points = uninitialised({size, dimensions});
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const double x = numbers[i] - (origin.empty() ? 0 : origin[i % dimensions]);
    if (!(std::abs(x) <= static_cast<double>(std::numeric_limits<Scalar>::max())))
      throw std::invalid_argument("PointTable: row " + std::to_string(i / dimensions + 1) +
                                  ", column " + std::to_string(i % dimensions + 1) + " is " +
                                  str(x) + "; need a number that the library's Scalar can hold");
    points.data()[i] = static_cast<Scalar>(x);
  }
  return points;
}

PointTable read_points(const std::string& path) {
  Source source(path, kNeed, kLongestLine);
  return source.peek() == kNumpy ? read_numpy(source, path) : read_csv(source, path);
}

Tensor separated_points(std::size_t n, std::size_t d, std::size_t clusters, double spread,
                        Rng& rng) {
  if (n == 0 || d == 0 || clusters == 0 || !(spread >= 0))
    throw std::invalid_argument("separated_points: " + std::to_string(n) + " points in " +
                                std::to_string(d) + " dimensions around " +
                                std::to_string(clusters) + " centres, with spread " + str(spread) +
                                "; need at least 1 of each, and a spread of 0 or more");
  const Tensor centres = rng.uniform({clusters, d});
  Tensor points = rng.normal({n, d});
  for (std::size_t i = 0; i < points.size(); ++i)
    points.data()[i] = centres.data()[i / d % clusters * d + i % d] +
                       static_cast<Scalar>(spread) * points.data()[i];
  return points;
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
