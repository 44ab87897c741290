#include "examples/common/picture/gnuplot.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <system_error>

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

}  // namespace

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
