#include "models/training/write_durably.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <optional>
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
  bool set_mode(mode_t mode) const { return ::fchmod(fd_, mode) == 0; }
  bool sync() const { return ::fsync(fd_) == 0; }
  // What was written may be refused only now.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_;
};

[[noreturn]] void fail(const std::string& path, int reason, const std::string& what = "") {
  throw std::system_error(reason, std::generic_category(), "cannot write '" + path + "'" + what);
}

// What is written for a path.
struct Target {
  std::filesystem::path file;  // behind all links
  std::optional<mode_t> mode;  // of the one that is there

  std::string folder() const { return file.has_parent_path() ? file.parent_path() : "."; }
  std::string next() const { return file.string() + ".tmp"; }
};

Target target_of(const std::string& path) {
  constexpr mode_t kModes = 07777, kAnyMayWrite = 0222;
  Target target{path, {}};
  struct stat now {};
  if (::stat(path.c_str(), &now) == 0)
    target.mode = now.st_mode & kModes;
  else if (errno != ENOENT)
    fail(path, errno);
  if (target.mode && S_ISDIR(now.st_mode)) fail(path, EISDIR);
  if (target.mode && !S_ISREG(now.st_mode)) fail(path, ENOTSUP, ", which is no regular file");
  if (target.mode && (*target.mode & kAnyMayWrite) == 0) fail(path, EACCES);
  if (target.mode && ::access(path.c_str(), W_OK) != 0) fail(path, errno);
  std::error_code none;  // stat() has found the end of the links
  while (std::filesystem::is_symlink(target.file, none))
    target.file = target.file.parent_path() / std::filesystem::read_symlink(target.file, none);
  const std::string through = ", through '" + target.next() + "'";
  if (::lstat(target.next().c_str(), &now) == 0) {
    if (S_ISDIR(now.st_mode)) fail(path, EISDIR, through);
  } else if (errno != ENOENT) {
    fail(path, errno, through);
  }
  return target;
}

}  // namespace

void require_writable(const std::string& path) {
  if (::access(target_of(path).folder().c_str(), W_OK | X_OK) != 0) fail(path, errno);
}

void write_durably(const std::string& path, const std::string& bytes) {
  const Target target = target_of(path);
  const std::string next = target.next(), folder = target.folder();  // from here on no memory
  const auto must = [&](bool done) {
    if (done) return;
    const int reason = errno;
    ::unlink(next.c_str());
    fail(path, reason);
  };
  {
    ::unlink(next.c_str());  // one that was killed has left it, of whatever mode
    Descriptor file(next, O_WRONLY | O_CREAT | O_EXCL, target.mode ? *target.mode : 0666);
    must(static_cast<bool>(file));
    must(!target.mode || file.set_mode(*target.mode));
    must(file.write(bytes.data(), bytes.size()));
    must(file.sync());
    must(file.close());
  }
  must(std::rename(next.c_str(), target.file.c_str()) == 0);
  // The new name must be on the disk too. Some file systems cannot be asked; there is no remedy.
  const Descriptor entry(folder, O_RDONLY | O_DIRECTORY);
  if (entry) entry.sync();
}

ARGTAPE_END
