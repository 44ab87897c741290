// Stands in for the header of this name that a Jupyter kernel brings: what would be shown is
// printed, for tests/notebooks.py to read. What is shown again in another's place has its id. As
// in a kernel, text waits until it is flushed, and what is shown does not wait.
#pragma once

#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <streambuf>
#include <string>

namespace xeus {
using xguid = std::string;
}  // namespace xeus

namespace xcpp {

/// In front of what std::cout had.
class Held : public std::stringbuf {
 public:
  Held() : out_(std::cout.rdbuf()) { std::cout.rdbuf(this); }
  ~Held() override {
    std::cout.flush();
    std::cout.rdbuf(out_);
  }
  int sync() override {
    send(str());
    str("");
    return 0;
  }
  void send(const std::string& text) {
    out_->sputn(text.data(), static_cast<std::streamsize>(text.size()));
    out_->pubsync();
  }

 private:
  std::streambuf* out_;
};
inline Held held;

template <class T>
nlohmann::json mime_bundle_repr(const T& value) {
  std::ostringstream text;
  text << value;
  nlohmann::json bundle;
  bundle["text/plain"] = text.str();
  return bundle;
}

template <class T>
void display(const T& value, const xeus::xguid& id = "", bool = false) {
  using ::xcpp::mime_bundle_repr;
  const std::string shown = mime_bundle_repr(value).dump();  // first, since it may throw
  held.send("\n@@shown " + id + " " + shown + "\n");
}

}  // namespace xcpp
