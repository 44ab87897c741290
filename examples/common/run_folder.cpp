#include "examples/common/run_folder.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "examples/common/files.hpp"
#include "examples/common/json_form.hpp"
#include "examples/common/program.hpp"
#include "models/training/write_durably.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;
using Json = RunFolder::Json;

namespace {

constexpr double kWhole = 10000;  // in a lock, so that no locale has a say
// What every run's manifest has.
const Json kForm = {{"program", ""}, {"cells", {""}}};

std::optional<std::string> contents(const std::string& path) {
  if (!fs::is_regular_file(status_of(path))) return std::nullopt;  // a pipe's end may never come
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Json read_json(const std::string& path, const Json& form, const std::string& advice) {
  const std::optional<std::string> text = contents(path);
  if (!text)
    throw std::runtime_error("cannot read '" + path + "': " +
                             (fs::is_regular_file(status_of(path))
                                  ? std::generic_category().message(errno)
                                  : "it is no regular file; " + advice));
  Json json = Json::parse(*text, nullptr, false);
  if (json.is_discarded()) throw std::runtime_error("'" + path + "' is damaged; " + advice);
  const std::string words = unlike(json, form);
  if (!words.empty())
    throw std::runtime_error("'" + path + "' is not as this version writes it: " + words + "; " +
                             advice);
  return json;
}

void write_json(const std::string& path, const Json& json) {
  argtape::write_durably(path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// "steps is 2000 there and 3000 here; ..."; empty if they agree. Of the cells only what no setting
// explains.
std::string differences(const Json& there, const Json& here) {
  std::string words;
  const auto differ = [&](const std::string& key, const std::string& a, const std::string& b) {
    words += (words.empty() ? "" : "; ") + key + " is " + a + " there and " + b + " here";
  };
  for (const auto& [key, value] : here.items())
    if (key != "cells" && (!there.contains(key) || there[key] != value))
      differ(key, there.contains(key) ? there[key].dump() : "not set", value.dump());
  for (const auto& [key, value] : there.items())
    if (!here.contains(key)) differ(key, value.dump(), "not set");
  if (words.empty() && there.value("cells", Json()) != here.value("cells", Json()))
    words = "its cells are others";
  return words;
}

}  // namespace

std::string RunFolder::file(const std::string& cell, const char* ending) const {
  std::string name = cell;
  std::replace(name.begin(), name.end(), '/', ',');
  return (path_ / (name + ending)).string();
}

bool RunFolder::there(const std::string& cell, const char* ending) const {
  return ::access(file(cell, ending).c_str(), F_OK) == 0;
}

void RunFolder::start(const Json& manifest) const {
  const std::string name = "--run: '" + path_.string() + "' ";
  if (fs::exists(status_of(manifest_file()))) {
    const Json old = this->manifest(kForm);
    std::size_t finished = 0;
    for (const std::string cell : old.at("cells")) finished += done(cell);
    throw WrongCall(name + "holds a run of " + old.at("program").get<std::string>() + ", " +
                    std::to_string(finished) + " of " + std::to_string(old.at("cells").size()) +
                    " cells done; --resume goes on with it, --table shows it, or name another "
                    "folder");
  }
  std::error_code error;
  fs::create_directories(path_, error);
  if (error)
    throw WrongCall(name + "cannot be created (" + error.message() + "); name another folder");
  for (const fs::directory_entry& entry : fs::directory_iterator(path_))
    if (entry.path().extension() != ".tmp")
      throw WrongCall(name + "is not empty and holds no run; name an empty folder, or a new one");
  write_json(manifest_file(), manifest);
}

void RunFolder::resume(const Json& manifest) const {
  require_same(manifest);
  for (const std::string cell : manifest.at("cells")) {
    fs::remove(file(cell, ".error"));
    if (done(cell)) tidy(cell);
  }
}

Json RunFolder::manifest(const Json& form) const {
  if (!fs::exists(status_of(manifest_file())))
    throw WrongCall("--run: '" + path_.string() + "' holds no run; need the folder of one");
  return read_json(manifest_file(), form, "name another folder");
}

void RunFolder::require_same(const Json& manifest) const {
  const Json old = this->manifest(kForm);
  const std::string words = differences(old, manifest);
  if (!words.empty())
    throw WrongCall("--run: '" + path_.string() + "' holds another run, where " + words +
                    "; give its settings, or name another folder");
}

Json RunFolder::result(const std::string& cell, const Json& form) const {
  return read_json(result_file(cell), form, "remove it, and --resume computes it anew");
}

void RunFolder::finish(const std::string& cell, const Json& result) const {
  write_json(result_file(cell), result);
  tidy(cell);
}

void RunFolder::tidy(const std::string& cell) const {
  for (const char* ending :
       {".safetensors", ".safetensors.tmp", ".network.safetensors.tmp", ".error.tmp", ".lock"}) {
    std::error_code ignored;
    fs::remove(file(cell, ending), ignored);
  }
}

std::optional<std::string> RunFolder::failure(const std::string& cell) const {
  return contents(file(cell, ".error"));
}

void RunFolder::fail(const std::string& cell, const std::string& reason) const {
  argtape::write_durably(file(cell, ".error"), reason);
}

double RunFolder::progress(const std::string& cell) const {
  if (done(cell)) return 1;
  const int said = std::atoi(contents(file(cell, ".lock")).value_or("0").c_str());
  return std::clamp(said / kWhole, 0.0, 1.0);
}

bool RunFolder::at_work(const std::string& cell) const {
  const int file = ::open(this->file(cell, ".lock").c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool free = ::flock(file, LOCK_SH | LOCK_NB) == 0;
  ::close(file);
  return !free;
}

CellLock::CellLock(const RunFolder& folder, const std::string& cell) {
  const std::string path = folder.file(cell, ".lock");
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  held_ = file_ >= 0 && ::flock(file_, LOCK_EX | LOCK_NB) == 0;
  if (held_ || (file_ >= 0 && errno == EWOULDBLOCK)) return;
  const int reason = errno;
  if (file_ >= 0) ::close(file_);
  throw std::system_error(reason, std::generic_category(), "cannot lock '" + path + "'");
}

CellLock::~CellLock() { ::close(file_); }

void CellLock::say(double progress) const {
  char text[16];
  const int length = std::snprintf(text, sizeof text, "%5d\n",
                                   static_cast<int>(kWhole * std::clamp(progress, 0.0, 1.0)));
  // It matters to nobody but who watches.
  if (::pwrite(file_, text, static_cast<std::size_t>(length), 0) < 0) return;
}

}  // namespace argtape_examples
