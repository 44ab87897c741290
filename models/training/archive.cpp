#include "models/training/archive.hpp"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN

enum class Archive::Type : std::uint8_t {
  whole,
  real,
  text,
  wholes,
  reals,
  floats,   // a tensor
  doubles,  // a tensor, in the second library
  tensors,
  rng,
};

namespace {

constexpr char kMagic[] = "argtape\x1a";  // an editor that ends lines in its own way would show
constexpr std::uint32_t kVersion = 1;

// What stands before the kind and the things.
struct Header {
  char magic[8];
  std::uint32_t version, checksum;  // of what follows the header
  std::uint64_t length;             // of the same
};

template <class T>
std::uint32_t checksum_of(const T* from, std::size_t count, std::uint32_t before = 0) {
  return static_cast<std::uint32_t>(
      crc32_z(before, reinterpret_cast<const Bytef*>(from), count * sizeof(T)));
}

const char* name_of(std::size_t type) {
  constexpr const char* names[] = {
      "a whole number",      "a number",        "a text",
      "whole numbers",       "numbers",         "a tensor of floats",
      "a tensor of doubles", "several tensors", "a random number generator"};
  return type < std::size(names) ? names[type] : "something unknown";
}

// A file descriptor, closed at the end.
class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode = 0)
      : fd_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  bool write(const char* bytes, std::size_t size) const {
    while (size > 0) {
      const ssize_t done = ::write(fd_, bytes, size);
      if (done < 0 && errno != EINTR) return false;
      if (done > 0) bytes += done, size -= static_cast<std::size_t>(done);
    }
    return true;
  }
  bool sync() const { return ::fsync(fd_) == 0; }
  // What was written may be refused only now.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

}  // namespace

void Archive::refuse_thing(const std::string& name, const std::string& why) const {
  refuse<std::runtime_error>("'", within_, name, "' ", why);
}

void Archive::out_of_range(const std::string& name) const {
  refuse_thing(name, "is too large for this program");
}

template <class T>
void Archive::raw(T* numbers, std::size_t count) {
  const std::size_t size = count * sizeof(T);
  if (!loading_) {
    bytes_.append(reinterpret_cast<const char*>(numbers), size);
    return;
  }
  require<std::runtime_error>(size <= bytes_.size() - at_, "it ends within a thing");
  if (size > 0) std::memcpy(numbers, bytes_.data() + at_, size);
  at_ += size;
}

std::size_t Archive::count(std::size_t now, std::size_t bytes_each) {
  std::uint64_t n = now;
  raw(&n, 1);
  if (loading_)
    require<std::runtime_error>(n <= (bytes_.size() - at_) / bytes_each, "it ends within a thing");
  return n;
}

void Archive::entry(const std::string& name, Type type) {
  const std::string wanted = within_ + name;
  std::string here = wanted;
  here.resize(count(here.size(), 1));
  raw(here.data(), here.size());
  std::uint8_t kind = static_cast<std::uint8_t>(type);
  raw(&kind, 1);
  require<std::runtime_error>(here == wanted, "it has '", here, "' where '", wanted, "' is needed");
  if (kind != static_cast<std::uint8_t>(type))
    refuse_thing(name, std::string("is ") + name_of(kind) + "; need " +
                           name_of(static_cast<std::uint8_t>(type)));
}

void Archive::contents(const std::string& name, Tensor& t, bool any_shape) {
  Shape shape = t.shape();
  shape.resize(count(shape.size(), sizeof(std::size_t)));
  raw(shape.data(), shape.size());
  if (loading_ && shape != t.shape()) {
    if (!any_shape) refuse_thing(name, "is " + str(shape) + "; need " + str(t.shape()));
    require<std::runtime_error>(size_of(shape) <= (bytes_.size() - at_) / sizeof(Scalar),
                                "it ends within a thing");
    t = uninitialised(shape);
  }
  raw(t.data(), t.size());
}

void Archive::operator()(const std::string& name, Tensor& t) {
  entry(name, sizeof(Scalar) == sizeof(float) ? Type::floats : Type::doubles);
  contents(name, t, false);
}

void Archive::operator()(const std::string& name, std::vector<Tensor>& tensors) {
  entry(name, Type::tensors);
  std::uint64_t scalar = sizeof(Scalar);
  raw(&scalar, 1);
  if (scalar != sizeof(Scalar))
    refuse_thing(name, "has numbers of " + std::to_string(scalar) + " bytes; need " +
                           std::to_string(sizeof(Scalar)));
  const bool any = tensors.empty();
  const std::size_t n = count(tensors.size(), sizeof(std::size_t));
  if (any)
    tensors.resize(n);
  else if (n != tensors.size())
    refuse_thing(name,
                 "are " + std::to_string(n) + " tensors; need " + std::to_string(tensors.size()));
  for (std::size_t i = 0; i < n; ++i)
    contents(name + "[" + std::to_string(i) + "]", tensors[i], any);
}

void Archive::whole(const std::string& name, std::uint64_t& word) {
  entry(name, Type::whole);
  raw(&word, 1);
}

void Archive::operator()(const std::string& name, double& x) {
  entry(name, Type::real);
  raw(&x, 1);
}

void Archive::operator()(const std::string& name, std::string& text) {
  entry(name, Type::text);
  text.resize(count(text.size(), 1));
  raw(text.data(), text.size());
}

void Archive::operator()(const std::string& name, std::vector<double>& numbers) {
  entry(name, Type::reals);
  numbers.resize(count(numbers.size(), sizeof(double)));
  raw(numbers.data(), numbers.size());
}

void Archive::operator()(const std::string& name, std::vector<std::size_t>& numbers) {
  entry(name, Type::wholes);
  numbers.resize(count(numbers.size(), sizeof(std::size_t)));
  raw(numbers.data(), numbers.size());
}

void Archive::operator()(const std::string& name, Rng& rng) {
  entry(name, Type::rng);
  std::uint64_t state[] = {rng.seed(), rng.position(), rng.stream()};
  raw(state, 3);
  rng = Rng(state[0], state[1], state[2]);
}

void Archive::finish() const {
  require<std::runtime_error>(!loading_ || at_ == bytes_.size(),
                              "it has more in it than is needed");
}

void write_durably(const std::string& path, const std::string& bytes) {
  const std::string next = path + ".tmp";
  const std::size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const auto must = [&](bool done) {
    if (done) return;
    const int reason = errno;
    ::unlink(next.c_str());
    throw std::system_error(reason, std::generic_category(), "cannot write '" + path + "'");
  };
  {
    Descriptor file(next, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    must(static_cast<bool>(file));
    must(file.write(bytes.data(), bytes.size()));
    must(file.sync());
    must(file.close());
  }
  must(std::rename(next.c_str(), path.c_str()) == 0);
  // The new name must be on the disk too. Some file systems cannot be asked; there is no remedy.
  const Descriptor entry(folder, O_RDONLY | O_DIRECTORY);
  if (entry) entry.sync();
}

std::uint32_t checksum(const Tensor& t) {
  return checksum_of(t.data(), t.size(), checksum_of(t.shape().data(), t.shape().size()));
}

void save_archive(const std::string& path, const std::string& kind,
                  const std::function<void(Archive&)>& state) {
  Archive archive;
  std::string of = kind;
  archive("kind", of);
  state(archive);
  const std::string& bytes = archive.bytes();
  Header header{{}, kVersion, checksum_of(bytes.data(), bytes.size()), bytes.size()};
  std::memcpy(header.magic, kMagic, sizeof header.magic);
  write_durably(path, std::string(reinterpret_cast<const char*>(&header), sizeof header) + bytes);
}

void load_archive(const std::string& path, const std::string& kind,
                  const std::function<void(Archive&)>& state) {
  try {
    std::ifstream file(path, std::ios::binary);
    require<std::runtime_error>(file.is_open(), std::generic_category().message(errno));
    Header header{};
    file.read(reinterpret_cast<char*>(&header), sizeof header);
    require<std::runtime_error>(
        file.gcount() >= 8 && std::memcmp(header.magic, kMagic, sizeof header.magic) == 0,
        "it is no archive of argtape's");
    require<std::runtime_error>(file.gcount() == sizeof header, "it is torn");
    require<std::runtime_error>(header.version == kVersion, "its format is version ",
                                header.version, "; need ", kVersion);
    std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    require<std::runtime_error>(bytes.size() == header.length, "it is torn: ", bytes.size(),
                                " bytes of ", header.length);
    require<std::runtime_error>(checksum_of(bytes.data(), bytes.size()) == header.checksum,
                                "it is damaged: its checksum is wrong");
    Archive archive(std::move(bytes));
    std::string of;
    archive("kind", of);
    require<std::runtime_error>(of == kind, "it is one of ", of, "; need one of ", kind);
    state(archive);
    archive.finish();
  } catch (const std::runtime_error& error) {
    refuse<std::runtime_error>("cannot load '", path, "': ", error.what());
  }
}

ARGTAPE_END
