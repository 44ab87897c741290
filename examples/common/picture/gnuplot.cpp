// Scripts for gnuplot, and what it makes of them. gnuplot-iostream would only send them: it gives
// no answer back, and asks for Boost.
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <locale>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

std::string rest_of(std::FILE* file) {
  std::string text;
  std::array<char, 65536> block;
  while (const std::size_t size = std::fread(block.data(), 1, block.size(), file))
    text.append(block.data(), size);
  return text;
}

}  // namespace

// Letters, spaces and what is not ASCII stand for themselves, all else is an octal escape: gnuplot
// expands `commands` and @macros before it looks at quotes, its single-quoted strings cannot begin
// with a quote, and its escapes swallow a digit that follows. Tic labels are printf formats.
std::string gnuplot_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : utf8(text)) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) {
      result += ' ';
    } else if (std::isalpha(code) != 0 || code == ' ' || code >= 0x80) {
      result += c;
    } else {
      result += '\\';
      for (const unsigned shift : {6u, 3u, 0u})
        result += static_cast<char>('0' + ((code >> shift) & 7u));
    }
  }
  return result + '"';
}

std::string shortened(std::string text, std::size_t width) {
  if (text_width(text) <= width) return text;
  // Byte by byte: with its first byte a character is gone.
  while (!text.empty() && text_width(text) >= width) text.pop_back();
  return text + "…";
}

// No text of the picture's and no file's name reaches the shell. One that waits for something is
// stopped, where the system can.
std::string run_gnuplot(const std::string& script, std::string& problem) {
  const File input(std::tmpfile(), &std::fclose), errors(std::tmpfile(), &std::fclose);
  if (!input || !errors || std::fputs(script.c_str(), input.get()) < 0 ||
      std::fflush(input.get()) != 0)
    throw std::runtime_error("no temporary file can be written for gnuplot: " +
                             std::generic_category().message(errno) + "; make room for one");
  std::rewind(input.get());
  const auto name = [](const File& file) {
    return "/dev/fd/" + std::to_string(fileno(file.get()));
  };
  const std::string limit = "t=; command -v timeout >/dev/null && t='timeout 60'; $t ";
  std::FILE* output =
      popen((limit + "gnuplot -d " + name(input) + " 2>" + name(errors)).c_str(), "r");
  if (output == nullptr) throw std::runtime_error("no process can be started for gnuplot");
  std::string drawn = rest_of(output);
  const int status = pclose(output);
  if (status == 0 && !drawn.empty()) return drawn;
  std::rewind(errors.get());
  std::string reason = rest_of(errors.get());
  reason.erase(reason.find_last_not_of(" \t\n") + 1);
  reason.erase(0, reason.rfind('\n') + 1);
  constexpr int command_not_found = 127;
  // With that status ends also one that is there, for which there is too little memory.
  if (WIFEXITED(status) && WEXITSTATUS(status) == command_not_found &&
      reason.find("shared libraries") == std::string::npos)
    problem =
        "gnuplot was not found: for pictures install gnuplot-nox with apt, or gnuplot from "
        "conda-forge";
  else
    problem = "gnuplot failed (" + (reason.empty() ? "it gave no reason" : reason) + ")";
  return "";
}

void write_head(std::ostream& script, const Picture& picture, double height) {
  constexpr double largest = 17, smallest = 10, fits_at_largest = 92;
  constexpr std::size_t most = 150;
  const auto width = static_cast<double>(text_width(picture.title) + 1);
  script << "set terminal svg noenhanced size " << canvas_width << ',' << height
         << " font 'sans-serif,14' background 'white'\nset encoding utf8\n"
         << "set datafile separator ','\nunset key\nunset colorbox\nset label "
         << gnuplot_string(shortened(picture.title, most)) << " at screen 0.5, screen "
         << 1 - 20 / height << " center font ',"
         << std::clamp(largest * fits_at_largest / width, smallest, largest) << "'\n";
}

std::string script_for(const Picture& picture) {
  std::ostringstream script;
  script.imbue(std::locale::classic());
  script.precision(10);
  if (!picture.images.empty())
    write_images(script, picture);
  else if (picture.series[0].kind == Series::Kind::surface)
    write_surface(script, picture);
  else
    write_plot(script, picture);
  return script.str();
}

}  // namespace argtape_examples
