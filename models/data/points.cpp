#include "models/data/points.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/require.hpp"
#include "models/data/counted.hpp"
#include "models/data/numpy_file.hpp"
#include "models/data/source.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

constexpr char kNeed[] = "a CSV or NumPy file of points";
constexpr std::size_t kLongestLine = 1U << 20;  // a cell takes some twenty times its characters

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

// Whether a cell can be the name of a column.
bool is_name(const std::string& cell) {
  std::string plain;
  for (char c : cell)
    if (c != ' ' && c != '\t' && c != '"' && c != '\'')
      plain += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* missing : {"", "na", "n/a", "null", "none", "?", "-", "."})
    if (plain == missing) return false;
  return true;
}

NumberTable read_csv(Source& source, const std::string& path) {
  NumberTable table;
  char separator = ' ';
  std::string header;
  std::size_t header_line = 0, first_line = 0;
  bool first = true;
  for (std::string line; source.line(line);) {
    if (first && line.compare(0, 3, "\xef\xbb\xbf") == 0) line.erase(0, 3);  // Excel's mark
    if (line.find('\0') != std::string::npos)
      fail_data(source.here() + " holds a zero byte, as no text does; need " + kNeed);
    if (line.find_first_not_of(" \t") == std::string::npos || line[0] == '#') continue;
    if (table.size == 0) separator = separator_of(line);
    const std::vector<std::string> cells = split_cells(line, separator);
    const bool names = first && std::none_of(cells.begin(), cells.end(), is_number) &&
                       std::any_of(cells.begin(), cells.end(), is_name);
    first = false;
    if (names) {
      header = line;
      header_line = source.line_number();
      continue;
    }
    if (table.size == 0) {
      table.dimensions = cells.size();
      first_line = source.line_number();
      const std::size_t named = split_cells(header, separator).size();
      // As where a comma stands for the point in 0,5.
      if (header_line > 0 && named != cells.size())
        fail_data(source.here() + " has " + counted(cells.size(), "cell") + "; need " +
                  std::to_string(named) + ", as the header in line " + std::to_string(header_line) +
                  " has");
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

}  // namespace

Tensor read_points(const std::string& path) {
  Source source(path, kNeed, kLongestLine);
  const NumberTable table =
      is_numpy(source) ? read_numpy(source, path, kNeed) : read_csv(source, path);
  Tensor points = uninitialised({table.size, table.dimensions});
  for (std::size_t i = 0; i < table.numbers.size(); ++i) {
    const double x = table.numbers[i];
    const bool held = std::abs(x) <= static_cast<double>(std::numeric_limits<Scalar>::max());
    if (!held || (x != 0 && static_cast<Scalar>(x) == 0))
      fail_data(path + ", point " + std::to_string(i / table.dimensions + 1) + ", column " +
                std::to_string(i % table.dimensions + 1) + " is " + str(x) +
                "; need a number that the library's Scalar can hold");
    points.data()[i] = static_cast<Scalar>(x);
  }
  return points;
}

Tensor separated_points(std::size_t n, std::size_t d, std::size_t clusters, double spread,
                        Rng& rng) {
  if (n == 0 || d == 0 || clusters == 0 || !(spread >= 0 && std::isfinite(spread)))
    refuse("separated_points: ", n, " points in ", d, " dimensions around ", clusters,
           " centres, with spread ", spread,
           "; need at least 1 of each, and a finite spread of 0 or more");
  const Tensor centres = rng.uniform({clusters, d});
  Tensor points = rng.normal({n, d});
  for (std::size_t i = 0; i < points.size(); ++i)
    points.data()[i] = centres.data()[i / d % clusters * d + i % d] +
                       static_cast<Scalar>(spread) * points.data()[i];
  return points;
}

ARGTAPE_END
