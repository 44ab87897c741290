#include "models/training/write_durably.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

ARGTAPE_PUBLIC_BEGIN
namespace {

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

ARGTAPE_END
