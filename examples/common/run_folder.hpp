// The folder of a long run, which is all that there is to know about it (examples/common/grid.hpp).
//
//     grid.json                 what the grid is: the program, all settings that change a number,
//                               the names of its cells
//     binary,st,0.json          the result of the cell binary/st/0
//     binary,st,0.safetensors   its checkpoint, until it has a result
//     binary,st,0.lock          locked while somebody works on it; says how far that is
//     binary,st,0.error         why it failed, until it is tried again
//     binary,st,0.network.safetensors   with --save: what it has trained
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace argtape_examples {

class RunFolder {
 public:
  using Json = nlohmann::ordered_json;

  explicit RunFolder(std::filesystem::path path) : path_(std::move(path)) {}

  // A new run, in a folder that is empty or not there yet. Throws WrongCall if it holds anything.
  void start(const Json& manifest) const;
  // An old one, to be gone on with; what failed will be tried again. Throws as require_same() does.
  void resume(const Json& manifest) const;
  // Throws WrongCall if the folder holds no run, or another one, saying what differs.
  void require_same(const Json& manifest) const;
  // What the folder has, if it is like `form` (examples/common/json_form.hpp).
  Json manifest(const Json& form) const;

  std::string manifest_file() const { return (path_ / "grid.json").string(); }
  std::string checkpoint(const std::string& cell) const { return file(cell, ".safetensors"); }
  bool has_checkpoint(const std::string& cell) const { return there(cell, ".safetensors"); }
  std::string network(const std::string& cell) const { return file(cell, kNetwork); }
  bool has_network(const std::string& cell) const { return there(cell, kNetwork); }

  std::string result_file(const std::string& cell) const { return file(cell, ".json"); }
  bool done(const std::string& cell) const { return there(cell, ".json"); }
  Json result(const std::string& cell, const Json& form) const;
  // Writes it, and tidies up. Throws std::system_error if it cannot be written.
  void finish(const std::string& cell, const Json& result) const;
  // Removes the checkpoint and the lock of a cell that is done. Whoever opened the lock before it
  // went will get it, and finds the result then.
  void tidy(const std::string& cell) const;

  std::optional<std::string> failure(const std::string& cell) const;
  void fail(const std::string& cell, const std::string& reason) const;
  // Whether there is nothing to be done about it: it has a result, or failed in this run.
  bool settled(const std::string& cell) const { return done(cell) || there(cell, ".error"); }

  // 0..1, as far as those at work have said.
  double progress(const std::string& cell) const;
  bool at_work(const std::string& cell) const;

 private:
  friend class CellLock;
  static constexpr char kNetwork[] = ".network.safetensors";
  std::string file(const std::string& cell, const char* ending) const;
  bool there(const std::string& cell, const char* ending) const;

  std::filesystem::path path_;
};

// A cell is somebody's: the lock is the kernel's, and falls when its holder ends, however he does.
class CellLock {
 public:
  // Throws std::system_error where the file system has no locks, or no room.
  CellLock(const RunFolder& folder, const std::string& cell);
  ~CellLock();
  CellLock(const CellLock&) = delete;
  CellLock& operator=(const CellLock&) = delete;

  // False: somebody else has it.
  explicit operator bool() const { return held_; }
  void say(double progress) const;

 private:
  int file_;
  bool held_;
};

}  // namespace argtape_examples
