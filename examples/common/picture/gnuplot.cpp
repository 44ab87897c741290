#include "examples/common/picture/gnuplot.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <limits>
#include <locale>
#include <memory>
#include <stdexcept>
#include <system_error>

#include "examples/common/files.hpp"

extern char** environ;

namespace argtape_examples {

namespace {

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

// A file without a name, which holds `text`.
File scratch_file(const std::string& text = "") {
  File file(std::tmpfile(), &std::fclose);
  if (!file || std::fwrite(text.data(), 1, text.size(), file.get()) != text.size() ||
      std::fflush(file.get()) != 0) {
    throw std::runtime_error("no temporary file can be written for gnuplot: " +
                             std::generic_category().message(errno));
  }
  std::rewind(file.get());
  return file;
}

std::string contents(std::FILE* file) {
  std::rewind(file);
  std::string text;
  std::array<char, 65536> block;
  while (const std::size_t size = std::fread(block.data(), 1, block.size(), file)) {
    text.append(block.data(), size);
  }
  return text;
}

std::string last_line(std::string text) {
  text.erase(text.find_last_not_of(" \t\n") + 1);
  text.erase(0, text.rfind('\n') + 1);
  text.erase(0, text.find_first_not_of(" \t"));
  return text;
}

// Letters, spaces and what is not ASCII stand for themselves, all else is an octal escape: gnuplot
// expands `commands` and @macros before it looks at quotes, its single-quoted strings cannot begin
// with a quote, and its escapes swallow a digit that follows.
std::string gnuplot_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) {
      result += ' ';
    } else if (std::isalpha(code) != 0 || code == ' ' || code >= 0x80) {
      result += c;
    } else {
      result += '\\';
      for (const unsigned shift : {6u, 3u, 0u}) {
        result += static_cast<char>('0' + ((code >> shift) & 7u));
      }
    }
  }
  return result + '"';
}

// Hundredths are enough.
std::string pixels(double value) { return exact(std::round(100 * value) / 100); }

std::string place(Spot at) { return pixels(at.x) + ',' + pixels(at.y); }

}  // namespace

const Spot no_spot = {std::numeric_limits<double>::quiet_NaN(), 0};

bool is_there(Spot spot) { return !std::isnan(spot.x); }

Script::Script(double height, bool svg) {
  commands_.imbue(std::locale::classic());
  const std::string size = " enhanced size " + exact(canvas_width) + ',' + exact(height);
  commands_ << "set encoding utf8\n";
  if (svg) {
    commands_ << "set terminal svg" << size
              << " font 'sans-serif,14' background rgb 'white'\nmark = 0.6\n";
  } else {
    commands_ << "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n  set terminal pngcairo" << size
              << " font 'sans-serif,14' fontscale 0.82 background rgb 'white'\n} else {\n"
              << "  set terminal png truecolor" << size
              << " background rgb 'white'\n}\nmark = 1.2\n";
  }
  commands_ << "unset border\nunset tics\nunset key\nunset colorbox\n"
            << "set lmargin at screen 0\nset rmargin at screen 1\n"
            << "set bmargin at screen 0\nset tmargin at screen 1\n"
            << "set xrange [0:" << canvas_width << "]\nset yrange [0:" << height << "]\n";
}

void Script::set(const std::string& command) { commands_ << "set " << command << '\n'; }

void Script::text(const std::string& text, Spot at, const std::string& style,
                  const std::string& power) {
  const std::string quoted =
      power.empty() ? gnuplot_string(text) + " noenhanced" : "'" + text + "^{" + power + "}'";
  set("label " + quoted + " at " + place(at) + " front " + style);
}

void Script::line(Spot from, Spot to, const std::string& style) {
  set("arrow from " + place(from) + " to " + place(to) + " nohead " + style);
}

void Script::rectangle(Spot low, Spot high, const std::string& style) {
  set("object rectangle from " + place(low) + " to " + place(high) + ' ' + style);
}

void Script::plot(const std::string& rows, const std::string& how) {
  const std::string name = "$data" + std::to_string(blocks_++);
  commands_ << name << " << EOD\n" << rows << "EOD\n";
  plots_ += (plots_.empty() ? "plot " : ", ") + name + ' ' + how + " notitle";
}

std::string row(std::initializer_list<double> numbers) {
  std::string text;
  for (const double value : numbers) text += (text.empty() ? "" : " ") + pixels(value);
  return text + '\n';
}

std::string rows_of(const std::vector<Spot>& spots) {
  std::string rows;
  for (const Spot& spot : spots) rows += is_there(spot) ? row({spot.x, spot.y}) : "\n";
  return rows;
}

// No shell, and no name of a file in the script.
std::string run_gnuplot(const std::string& script, std::string& output) {
  const File input = scratch_file(script), drawn = scratch_file(), errors = scratch_file();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(input.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(drawn.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(errors.get()), STDERR_FILENO);
  std::string program = "gnuplot", no_user_settings = "-d";
  std::array<char*, 3> arguments = {program.data(), no_user_settings.data(), nullptr};
  pid_t child = 0;
  const int failure =
      ::posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) return "gnuplot was not found";

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return "gnuplot was lost";
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string reason = last_line(contents(errors.get()));
    return "gnuplot failed" + (reason.empty() ? "" : " (" + reason + ")");
  }
  output = contents(drawn.get());
  return output.empty() ? "gnuplot drew nothing" : "";
}

}  // namespace argtape_examples
