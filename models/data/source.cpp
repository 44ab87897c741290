#include "models/data/source.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "engine/require.hpp"

ARGTAPE_PRIVATE_BEGIN

std::string on_one_line(std::string words) {
  for (char& c : words)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return words;
}

void fail_data(const std::string& what) { refuse<std::runtime_error>("data: ", on_one_line(what)); }

Source::Source(const std::string& path, const std::string& need, std::size_t longest_line)
    : path_(path), need_(need), longest_line_(longest_line) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) fail_data(path + " is a folder; need " + need);
  errno = 0;
  file_.reset(gzopen(path.c_str(), "rb"));
  if (!file_ && errno == ENOENT) fail_data("there is no file " + path + "; need " + need);
  if (!file_) fail_data(path + " cannot be opened (" + std::strerror(errno) + "); need " + need);
}

bool Source::cut_short() const {
  int code = Z_OK;
  gzerror(file_.get(), &code);
  return code == Z_BUF_ERROR;
}

int Source::next() {
  const int c = gzgetc(file_.get());
  if (c < 0 && !gzeof(file_.get())) fail_to_read();
  return c;
}

int Source::peek() {
  const int c = next();
  if (c >= 0) gzungetc(c, file_.get());
  return c;
}

std::size_t Source::read(unsigned char* to, std::size_t n) {
  std::size_t done = 0;
  while (done < n) {
    const auto piece = static_cast<unsigned>(std::min<std::size_t>(n - done, 1U << 30));
    const int got = gzread(file_.get(), to + done, piece);
    if (got < 0) fail_to_read();
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

bool Source::line(std::string& out) {
  out.clear();
  int c = next();
  if (c < 0) return false;
  ++line_number_;
  for (; c >= 0 && c != '\n'; c = next()) {
    if (out.size() == longest_line_)
      fail_data(here() + " has more than " + std::to_string(longest_line_) + " characters; need " +
                need_);
    out.push_back(static_cast<char>(c));
  }
  if (c < 0 && cut_short()) return false;
  if (!out.empty() && out.back() == '\r') out.pop_back();
  return true;
}

void Source::fail_to_read() const {
  int code = Z_OK;
  std::string why = gzerror(file_.get(), &code);
  if (code == Z_ERRNO) why = std::strerror(errno);
  const std::string prefix = path_ + ": ";
  if (why.compare(0, prefix.size(), prefix) == 0) why.erase(0, prefix.size());
  fail_data(path_ + " cannot be read (" + why + "); need an intact file");
}

std::string shown_cell(std::string cell) {
  if (cell.size() > 20) cell = cell.substr(0, 20) + "...";
  for (char& c : cell)
    if (c < ' ' || c > '~') c = '?';
  return "'" + cell + "'";
}

CellNumber parse_number(const std::string& cell) {
  std::size_t first = cell.find_first_not_of(" \t");
  if (first == std::string::npos) return {};
  const std::size_t end = cell.find_last_not_of(" \t") + 1;
  if (cell[first] == '+' && first + 1 < end && cell[first + 1] != '-') ++first;
  CellNumber number;
  const auto [stop, error] = std::from_chars(cell.data() + first, cell.data() + end, number.value);
  number.reads = error != std::errc::invalid_argument && stop == cell.data() + end;
  number.held = number.reads && error == std::errc();
  return number;
}

double number_in(const std::string& cell) {
  const CellNumber number = parse_number(cell);
  return number.held ? number.value : std::nan("");
}

std::vector<std::string> cells_of(const std::string& line, char separator) {
  std::vector<std::string> cells;
  for (std::size_t from = 0, to = 0; to != std::string::npos; from = to + 1) {
    to = line.find(separator, from);
    cells.push_back(line.substr(from, to == std::string::npos ? to : to - from));
  }
  return cells;
}

ARGTAPE_END
