#include "models/data/source.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>

#include "engine/require.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

constexpr std::size_t kAtOnce = 1U << 16U;  // bytes that are read, and unpacked

}  // namespace

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
  file_.reset(std::fopen(path.c_str(), "rb"));
  if (!file_ && errno == ENOENT) fail_data("there is no file " + path + "; need " + need);
  if (!file_) fail_data(path + " cannot be opened (" + std::strerror(errno) + "); need " + need);
  have(2);
  if (bytes_.compare(0, 2, "\x1f\x8b") != 0) return;
  constexpr int kGzip = 16;
  gzip_.reset(new z_stream{});
  if (inflateInit2(gzip_.get(), MAX_WBITS + kGzip) != Z_OK) throw std::bad_alloc();
  packed_.swap(bytes_);
}

void Source::need_checksum() const {
  if (cut_short()) fail_data(path_ + " breaks off before its checksum; need an intact file");
}

// Adds what the file goes on with; false at its end.
bool Source::load(std::string& to) {
  const std::size_t before = to.size();
  to.resize(before + kAtOnce);
  to.resize(before + std::fread(&to[before], 1, kAtOnce, file_.get()));
  if (std::ferror(file_.get())) fail_to_read(std::strerror(errno));
  return to.size() > before;
}

// Adds what that unpacks to, which may be nothing yet; false at the file's end.
bool Source::unpack() {
  if (packed_.empty() && !load(packed_)) return false;
  if (!in_member_) inflateReset(gzip_.get());
  const std::size_t before = bytes_.size();
  bytes_.resize(before + kAtOnce);
  gzip_->next_in = reinterpret_cast<Bytef*>(packed_.data());
  gzip_->avail_in = static_cast<uInt>(packed_.size());
  gzip_->next_out = reinterpret_cast<Bytef*>(&bytes_[before]);
  gzip_->avail_out = static_cast<uInt>(kAtOnce);
  const int status = inflate(gzip_.get(), Z_NO_FLUSH);
  if (status == Z_MEM_ERROR) throw std::bad_alloc();
  if (status != Z_OK && status != Z_STREAM_END) fail_to_read(gzip_->msg);
  in_member_ = status == Z_OK;
  packed_.erase(0, packed_.size() - gzip_->avail_in);
  bytes_.resize(bytes_.size() - gzip_->avail_out);
  return true;
}

// Whether there are n bytes to be given.
bool Source::have(std::size_t n) {
  while (bytes_.size() - at_ < n) {
    bytes_.erase(0, at_);
    at_ = 0;
    if (!(gzip_ ? unpack() : load(bytes_))) return false;
  }
  return true;
}

std::string Source::peek(std::size_t n) {
  have(n);
  return bytes_.substr(at_, n);
}

std::size_t Source::read(unsigned char* to, std::size_t n) {
  std::size_t done = 0;
  while (done < n && have(1)) {
    const std::size_t piece = std::min(n - done, bytes_.size() - at_);
    std::memcpy(to + done, &bytes_[at_], piece);
    at_ += piece, done += piece;
  }
  return done;
}

bool Source::line(std::string& out) {
  out.clear();
  if (!have(1)) return false;
  ++line_number_;
  bool ended = false;
  while (!ended && have(1)) {
    const std::size_t end = std::min(bytes_.find('\n', at_), bytes_.size());
    if (out.size() + (end - at_) > longest_line_)
      fail_data(here() + " has more than " + std::to_string(longest_line_) + " characters; need " +
                need_);
    out.append(bytes_, at_, end - at_);
    ended = end < bytes_.size();
    at_ = ended ? end + 1 : end;
  }
  if (!ended && cut_short()) return false;
  if (!out.empty() && out.back() == '\r') out.pop_back();
  return true;
}

void Source::fail_to_read(const std::string& why) const {
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
