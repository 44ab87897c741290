#include "models/data/npz.hpp"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "engine/require.hpp"
#include "models/data/numpy_file.hpp"
#include "models/data/source.hpp"

ARGTAPE_PRIVATE_BEGIN
namespace {

// Numbers as zip has them, the lowest byte first; PKWARE's APPNOTE has the fields.
void put(std::string& to, std::uint64_t x, std::size_t bytes) {
  for (; bytes-- > 0; x >>= 8U) to += static_cast<char>(x & 255U);
}

// How the file begins, an entry of its directory, and its end, with which an empty one begins.
constexpr char kBegins[] = "PK\x03\x04", kEntryBegins[] = "PK\x01\x02", kEnds[] = "PK\x05\x06";
constexpr std::size_t kLocalSize = 30, kEntrySize = 46, kEndSize = 22;

class Zip {
 public:
  explicit Zip(const std::string& file) : file_(file) {}

  Arrays arrays() const {
    const std::size_t end = find_end(), count = number(end + 10, 2);
    std::size_t at = number(end + 16, 4);
    Arrays arrays;
    for (std::size_t i = 0; i < count; ++i) at = read_entry(at, arrays);
    require<std::runtime_error>(at == end,
                                "it is damaged: its list of arrays does not end where "
                                "it should");
    return arrays;
  }

 private:
  std::uint64_t number(std::size_t at, std::size_t bytes) const {
    if (at > file_.size() || bytes > file_.size() - at)
      refuse<std::runtime_error>("it is torn, or of 4 GB and more");
    return word_at(&file_[at], {Element::natural, bytes});
  }
  std::string text(std::size_t at, std::size_t bytes) const {
    number(at, 0), number(at + bytes, 0);
    return file_.substr(at, bytes);
  }

  // Where the end begins: as far from the file's as it says that the comment behind it is long. A
  // comment may hold what looks like an end.
  std::size_t find_end() const {
    for (std::size_t comment = 0; comment <= 0xffff && comment + kEndSize <= file_.size();
         ++comment) {
      const std::size_t end = file_.size() - kEndSize - comment;
      if (file_.compare(end, 4, kEnds) == 0 && number(end + 20, 2) == comment) return end;
    }
    refuse<std::runtime_error>("it is torn: its end is not that of a zip archive");
  }

  // Whether the header before a file has the method, the checksum and the sizes that its entry has.
  // All ones instead say that an extra field has them; zeros, where a flag allows for it, that they
  // stand behind the file.
  bool agree(std::size_t header, std::size_t entry) const {
    constexpr std::uint64_t kBehind = 8, kInExtra = 0xffffffff;
    const bool behind = (number(entry + 8, 2) & kBehind) != 0;
    const auto same = [&](std::size_t at, std::size_t bytes) {
      const std::uint64_t said = number(header + at, bytes);
      return said == number(entry + at + 2, bytes) || said == kInExtra || (behind && said == 0);
    };
    return same(8, 2) && same(14, 4) && same(18, 4) && same(22, 4);
  }

  // An entry of the directory at the end, and the file that it tells of; gives where the next is.
  std::size_t read_entry(std::size_t at, Arrays& arrays) const {
    const std::size_t name_size = number(at + 28, 2), local = number(at + 42, 4);
    std::string name = text(at + kEntrySize, name_size);
    if (text(at, 4) != kEntryBegins || text(local, 4) != kBegins ||
        text(local + kLocalSize, number(local + 26, 2)) != name || !agree(local, at))
      refuse<std::runtime_error>("it is damaged: its list of arrays is wrong");
    const std::size_t dot = name.size() < 4 ? std::string::npos : name.size() - 4;
    require<std::runtime_error>(is_text(name), "it is damaged: its list has ", shown_cell(name),
                                ", no text in UTF-8");
    require<std::runtime_error>(dot != std::string::npos && name.substr(dot) == ".npy", "'", name,
                                "' in it is no .npy file; need a .npz file of arrays alone");
    name.resize(dot);
    const std::size_t packed = number(at + 20, 4),
                      from = local + kLocalSize + name_size + number(local + 28, 2);
    number(from, 0), number(from + packed, 0);
    const std::string npy =
        unpacked(name, number(at + 8, 2), number(at + 10, 2), from, packed, number(at + 24, 4));
    if (crc32_z(0, reinterpret_cast<const Bytef*>(npy.data()), npy.size()) != number(at + 16, 4))
      refuse<std::runtime_error>("'", name, "' is damaged: its checksum is wrong");
    std::size_t read = 0;
    read_numpy(
        [&](char* to, std::size_t n) {
          n = std::min(n, npy.size() - read);
          std::memcpy(to, npy.data() + read, n);
          read += n;
          return n;
        },
        "'" + name + "'", name, arrays);
    return at + kEntrySize + name_size + number(at + 30, 2) + number(at + 32, 2);
  }

  std::string unpacked(const std::string& name, std::uint64_t flags, std::uint64_t method,
                       std::size_t from, std::size_t packed, std::size_t size) const {
    constexpr std::uint64_t kEncrypted = 1, kStored = 0, kDeflated = 8;
    require<std::runtime_error>((flags & kEncrypted) == 0, "'", name,
                                "' is encrypted; need a plain one");
    require<std::runtime_error>(method == kStored || method == kDeflated, "'", name,
                                "' is compressed by method ", method,
                                "; need none, or deflate, as np.savez_compressed() does");
    if (method == kStored && packed == size) return file_.substr(from, packed);
    constexpr std::size_t kMostDense = 1032;  // bytes that deflate makes of one
    z_stream stream{};
    std::string whole(size <= packed * kMostDense ? size : 0, '\0');
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
    int status = Z_OK;
    for (std::size_t in = 0, out = 0; status == Z_OK || status == Z_BUF_ERROR;) {
      constexpr std::size_t kAtOnce = 1U << 30U;
      const auto piece = static_cast<uInt>(std::min(kAtOnce, packed - in)),
                 room = static_cast<uInt>(std::min(kAtOnce, whole.size() - out));
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(&file_[from + in]));
      stream.next_out = reinterpret_cast<Bytef*>(&whole[out]);
      stream.avail_in = piece, stream.avail_out = room;
      status = inflate(&stream, Z_NO_FLUSH);
      const std::size_t read = piece - stream.avail_in, written = room - stream.avail_out;
      in += read, out += written;
      if (read + written == 0) break;
    }
    const bool fine =
        status == Z_STREAM_END && stream.total_in == packed && stream.total_out == size;
    inflateEnd(&stream);
    require<std::runtime_error>(fine && method == kDeflated, "'", name,
                                "' is damaged: it does not unpack");
    return whole;
  }

  const std::string& file_;
};

}  // namespace

bool is_npz(const std::string& file) {
  return file.compare(0, 4, kBegins) == 0 || file.compare(0, 4, kEnds) == 0;
}

Arrays read_npz(const std::string& file) { return Zip(file).arrays(); }

std::string write_npz(const Arrays& arrays) {
  constexpr std::uint64_t kVersion = 20, kNamesInUtf8 = 1U << 11U, kFirstOf1980 = 33;
  std::string file, directory;
  for (const Array& array : arrays.list) {
    const std::string header = numpy_header(array), name = array.name + ".npy";
    const char* numbers = arrays.bytes.data() + array.begin;
    const std::uint64_t size = header.size() + array.size(), at = file.size();
    const auto bytes = [](const char* p) { return reinterpret_cast<const Bytef*>(p); };
    const std::uint64_t crc =
        crc32_z(crc32_z(0, bytes(header.data()), header.size()), bytes(numbers), array.size());
    std::string what;  // what both places say of it
    for (std::uint64_t word :
         {kVersion, kNamesInUtf8, std::uint64_t{0}, std::uint64_t{0}, kFirstOf1980})
      put(what, word, 2);
    put(what, crc, 4), put(what, size, 4), put(what, size, 4);
    put(what, name.size(), 2), put(what, 0, 2);
    file.append(kBegins, 4).append(what).append(name).append(header).append(numbers, array.size());
    directory.append(kEntryBegins, 4);
    put(directory, kVersion, 2);
    directory += what;
    put(directory, 0, 10), put(directory, at, 4);
    directory += name;
    require<std::runtime_error>(
        file.size() + directory.size() < 0xffffffffU && name.size() < 0xffff &&
            arrays.list.size() < 0xffff,
        "a .npz file takes less than 4 GB, and fewer than 65535 arrays; need "
        "a .safetensors file");
  }
  std::string end(kEnds, 4);
  put(end, 0, 4);
  put(end, arrays.list.size(), 2), put(end, arrays.list.size(), 2);
  put(end, directory.size(), 4), put(end, file.size(), 4), put(end, 0, 2);
  return file + directory + end;
}

ARGTAPE_END
