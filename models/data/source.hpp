// Private: a file as the readers of data see it, plain or gzipped, and its cells as numbers.
#pragma once

#include <zlib.h>

#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "../../engine/scalar.hpp"

ARGTAPE_PRIVATE_BEGIN

/// Words that may hold a file's own, without what would end a line or drive a terminal.
std::string on_one_line(std::string words);
/// Throws std::runtime_error, "data: " and what it is given, on one line.
[[noreturn]] void fail_data(const std::string& what);

/// A file, plain or gzipped, as a stream of bytes; which it is, its first two bytes say. `need`
/// says in errors what it should have been. Throws std::runtime_error where the file cannot be
/// read, and for anything behind a gzipped one, which zlib's own gzread() drops.
class Source {
 public:
  Source(const std::string& path, const std::string& need, std::size_t longest_line = 4096);

  /// True if the stream ended where its compressed form broke off.
  bool cut_short() const { return in_member_; }
  /// Throws std::runtime_error if it did: the last bytes may be right while the checksum that says
  /// so is missing.
  void need_checksum() const;

  /// The next `n` bytes, which stay there; fewer only at the end of the stream.
  std::string peek(std::size_t n);
  /// Up to `n` bytes; fewer only at the end of the stream.
  std::size_t read(unsigned char* to, std::size_t n);
  /// The next line without its end; false when there is none, or none that is whole.
  bool line(std::string& out);

  /// The file and the line last read, for errors.
  std::string here() const { return path_ + ", line " + std::to_string(line_number_); }
  std::size_t line_number() const { return line_number_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct End {
    void operator()(z_stream* stream) const { inflateEnd(stream), delete stream; }
  };
  [[noreturn]] void fail_to_read(const std::string& why) const;
  bool load(std::string& to);
  bool unpack();
  bool have(std::size_t n);

  std::string path_, need_;
  std::unique_ptr<std::FILE, Close> file_;
  std::unique_ptr<z_stream, End> gzip_;  // of a gzipped file
  bool in_member_ = false;               // of which it has one or several
  std::string packed_, bytes_;  // what is still to be unpacked, and to be given from at_ on
  std::size_t at_ = 0, line_number_ = 0, longest_line_;
};

/// A cell as an error may show it: short, and on one line.
std::string shown_cell(std::string cell);

/// A cell read as a number, whatever the locale.
struct CellNumber {
  bool reads = false;  ///< it is written as one; NaN and infinity are too
  bool held = false;   ///< and a double holds it
  double value = 0;
};
CellNumber parse_number(const std::string& cell);
/// The cell as a number; NaN if it is anything else.
double number_in(const std::string& cell);

/// What stands between the separators of a line.
std::vector<std::string> cells_of(const std::string& line, char separator = ',');

ARGTAPE_END
