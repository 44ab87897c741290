// Files of a test's own.
#pragma once

#include <doctest/doctest.h>
#include <stdlib.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

/// A folder that lasts as long as the test, with a name that shells and parsers trip over.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "argtape test 'XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }
  std::string path() const { return path_.string(); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return *this / name;
  }

  std::string write_gz(const std::string& name, const std::string& bytes) const {
    const std::string path = *this / name;
    gzFile file = gzopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    CHECK(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) ==
          static_cast<int>(bytes.size()));
    CHECK(gzclose(file) == Z_OK);
    return path;
  }

 private:
  std::filesystem::path path_;
};

/// All bytes of a file.
inline std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}
