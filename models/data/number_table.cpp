#include "models/data/number_table.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "engine/require.hpp"
#include "models/data/counted.hpp"
#include "models/data/npz.hpp"
#include "models/data/numpy_file.hpp"
#include "models/data/source.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

constexpr std::size_t kLongestLine = 1U << 20;  // a cell takes some twenty times its characters

// A label that is a number: a whole one, as it is written without a point.
std::string label_of(double x, const std::string& where) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  if (x != std::floor(x) || std::abs(x) > kExact)
    fail_data(where + " is " + str(x) + "; need a whole number or a word for a label");
  return std::to_string(static_cast<long long>(x));
}

// The place of the label among so many columns.
std::size_t place_of(const LabelColumn& label, std::size_t columns, const std::string& where) {
  const auto n = static_cast<std::ptrdiff_t>(columns);
  const std::ptrdiff_t at = label.index < 0 ? label.index + n : label.index;
  if (at < 0 || at >= n || n < 2)
    fail_data(where + " has " + counted(columns, "column") + "; need column " + label.words() +
              " for the labels, and others beside it");
  return static_cast<std::size_t>(at);
}

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

// A cell without blanks and quotation marks around it.
std::string bare(const std::string& cell) {
  constexpr char kAround[] = " \t\"'";
  const std::size_t from = cell.find_first_not_of(kAround);
  return from == std::string::npos ? ""
                                   : cell.substr(from, cell.find_last_not_of(kAround) + 1 - from);
}

// Whether a cell can be a name, of a column or a class.
bool is_name(const std::string& cell) {
  std::string plain = bare(cell);
  for (char& c : plain) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* missing : {"", "na", "n/a", "null", "none", "?", "-", "."})
    if (plain == missing) return false;
  return true;
}

class Csv {
 public:
  Csv(Source& source, const std::string& path, const std::string& need, const LabelColumn* label)
      : source_(source), path_(path), need_(need), label_(label) {}

  NumberTable read() {
    bool first = true;
    for (std::string line; source_.line(line);) {
      if (first && line.compare(0, 3, "\xef\xbb\xbf") == 0) line.erase(0, 3);  // Excel's mark
      if (line.find('\0') != std::string::npos)
        fail_data(source_.here() + " holds a zero byte, as no text does; need " + need_);
      if (line.find_first_not_of(" \t") == std::string::npos || line[0] == '#') continue;
      if (table_.size == 0) separator_ = separator_of(line);
      const std::vector<std::string> cells = split_cells(line, separator_);
      const bool names = first && std::none_of(cells.begin(), cells.end(), is_number) &&
                         std::any_of(cells.begin(), cells.end(), is_name);
      first = false;
      if (names) {
        header_ = line;
        header_line_ = source_.line_number();
        continue;
      }
      if (table_.size == 0) begin(cells.size());
      row(cells);
    }
    if (source_.cut_short())
      fail_data(path_ + " breaks off after " + counted(table_.size, "row") +
                "; need an intact file");
    if (table_.size == 0) fail_data(path_ + " holds no points; need a line of numbers for each");
    return std::move(table_);
  }

 private:
  // At the first line of numbers, which says how many columns there are.
  void begin(std::size_t columns) {
    columns_ = columns;
    first_line_ = source_.line_number();
    const std::vector<std::string> names = split_cells(header_, separator_);
    // As where a comma stands for the point in 0,5.
    if (header_line_ > 0 && names.size() != columns)
      fail_data(source_.here() + " has " + counted(columns, "cell") + "; need " +
                std::to_string(names.size()) + ", as the header in line " +
                std::to_string(header_line_) + " has");
    at_ = columns;
    if (label_ && label_->named()) {
      at_ = 0;
      while (at_ < names.size() && bare(names[at_]) != label_->name) ++at_;
      if (header_line_ == 0 || at_ == names.size() || columns < 2)
        fail_data(path_ + (header_line_ == 0 ? " has no header" : " has the columns " + header_) +
                  "; need a column " + label_->words() + " for the labels, and others beside it");
    } else if (label_) {
      at_ = place_of(*label_, columns, source_.here());
    }
    table_.dimensions = columns - (label_ ? 1 : 0);
  }

  void row(const std::vector<std::string>& cells) {
    if (cells.size() != columns_)
      fail_data(source_.here() + " has " + counted(cells.size(), "cell") + "; need " +
                std::to_string(columns_) + ", as line " + std::to_string(first_line_) + " has");
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const std::string where = source_.here() + ", column " + std::to_string(i + 1);
      const CellNumber number = parse_number(i == at_ ? bare(cells[i]) : cells[i]);
      if (i == at_ && !number.reads) {
        if (!is_name(cells[i])) fail_data(where + " is " + shown_cell(cells[i]) + "; need a label");
        table_.labels.push_back(bare(cells[i]));
        continue;
      }
      if (!number.held || !std::isfinite(number.value))
        fail_data(where + " is " + shown_cell(cells[i]) + "; need a " +
                  (!number.reads  ? "number"
                   : !number.held ? "number that a double can hold"
                                  : "finite number"));
      if (i == at_)
        table_.labels.push_back(label_of(number.value, where));
      else
        table_.numbers.push_back(number.value);
    }
    ++table_.size;
  }

  Source& source_;
  const std::string &path_, &need_;
  const LabelColumn* label_;
  NumberTable table_;
  char separator_ = ' ';
  std::string header_;
  std::size_t header_line_ = 0, first_line_ = 0, columns_ = 0, at_ = 0;
};

// An array's number i, which must be finite.
double finite_at(const Arrays& arrays, const Array& array, std::size_t i, const std::string& path) {
  const double x =
      number_at(arrays.bytes.data() + array.begin + i * array.element.size, array.element);
  const std::size_t width = array.shape.size() > 1 ? array.count() / array.shape[0] : 1;
  if (!std::isfinite(x))
    fail_data(path + ", row " + std::to_string(i / width + 1) + ", column " +
              std::to_string(i % width + 1) + " is " + (std::isnan(x) ? "NaN" : "infinite") +
              "; need a finite number");
  return x;
}

NumberTable of_npy(Source& source, const std::string& path, const LabelColumn* label) {
  Arrays arrays;
  read_numpy(
      [&](char* to, std::size_t n) { return source.read(reinterpret_cast<unsigned char*>(to), n); },
      "data: " + path, "", arrays);
  source.need_checksum();
  const Array& array = arrays.list[0];
  const Shape& shape = array.shape;
  if (shape.size() != 1 && shape.size() != 2)
    fail_data(path + " has the shape " + str(shape) + "; need (points, dimensions)");
  if (array.count() == 0)
    fail_data(path + " has the shape " + str(shape) +
              "; need at least one point and one dimension");
  const std::size_t columns = shape.size() == 2 ? shape[1] : 1;
  if (label && label->named())
    fail_data(path + " has no names of columns; need the labels' column as a number");
  const std::size_t at = label ? place_of(*label, columns, path) : columns;
  NumberTable table{shape[0], columns - (label ? 1 : 0), {}, {}};
  for (std::size_t i = 0; i < array.count(); ++i) {
    const double x = finite_at(arrays, array, i, path);
    if (i % columns == at)
      table.labels.push_back(label_of(x, path + ", row " + std::to_string(i / columns + 1) +
                                             ", column " + std::to_string(at + 1)));
    else
      table.numbers.push_back(x);
  }
  return table;
}

// The labels are one array, all others are put side by side.
NumberTable of_npz(Source& source, const std::string& path, const LabelColumn& label) {
  std::string bytes;
  for (std::size_t got = 1; got > 0;) {
    const std::size_t before = bytes.size();
    bytes.resize(before + (1U << 20U));
    got = source.read(reinterpret_cast<unsigned char*>(&bytes[before]), bytes.size() - before);
    bytes.resize(before + got);
  }
  source.need_checksum();
  Arrays arrays;
  try {
    arrays = read_npz(bytes);
  } catch (const std::runtime_error& error) {
    fail_data(path + " cannot be read: " + error.what());
  }
  const auto found = std::find_if(arrays.list.begin(), arrays.list.end(),
                                  [&](const Array& a) { return a.name == label.name; });
  if (found == arrays.list.end() || found->shape.size() != 1 || found->count() == 0)
    fail_data(path + " has no labels " + label.words() + "; need an array of that name, (n,)");
  NumberTable table{found->count(), 0, {}, {}};
  for (std::size_t i = 0; i < table.size; ++i)
    table.labels.push_back(label_of(finite_at(arrays, *found, i, path + ", " + label.words()),
                                    path + ", label " + std::to_string(i + 1)));
  for (const Array& a : arrays.list) {
    if (a.name == label.name) continue;
    if (a.shape.empty() || a.shape[0] != table.size)
      fail_data(path + ", '" + a.name + "' has the shape " + str(a.shape) + "; need " +
                counted(table.size, "row") + ", one for each label");
    table.dimensions += a.count() / table.size;
  }
  if (table.dimensions == 0)
    fail_data(path + " holds labels alone; need an array of features, (n, d), beside them");
  for (std::size_t row = 0; row < table.size; ++row)
    for (const Array& a : arrays.list) {
      if (a.name == label.name) continue;
      const std::size_t width = a.count() / table.size;
      for (std::size_t i = row * width; i < (row + 1) * width; ++i)
        table.numbers.push_back(finite_at(arrays, a, i, path + ", '" + a.name + "'"));
    }
  return table;
}

}  // namespace

NumberTable read_number_table(const std::string& path, const std::string& need,
                              const LabelColumn* label) {
  Source source(path, need, kLongestLine);
  if (source.peek(1) == kNumpyBegins) return of_npy(source, path, label);
  if (label && is_npz(source.peek(4))) return of_npz(source, path, *label);
  return Csv(source, path, need, label).read();
}

Tensor numbers_of(const NumberTable& table, const std::string& path, const std::string& row) {
  Tensor numbers = uninitialised({table.size, table.dimensions});
  for (std::size_t i = 0; i < table.numbers.size(); ++i) {
    const double x = table.numbers[i];
    const bool held = std::abs(x) <= static_cast<double>(std::numeric_limits<Scalar>::max());
    if (!held || (x != 0 && static_cast<Scalar>(x) == 0))
      fail_data(path + ", " + row + " " + std::to_string(i / table.dimensions + 1) + ", column " +
                std::to_string(i % table.dimensions + 1) + " is " + str(x) +
                "; need a number that the library's Scalar can hold");
    numbers.data()[i] = static_cast<Scalar>(x);
  }
  return numbers;
}

ARGTAPE_END
