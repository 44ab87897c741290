// Whether a test knows every op: the functions that the headers of ops/ declare.
#pragma once

#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace {

bool is_part_of_a_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
// The function that a line of a header declares, or "": what stands before the first bracket,
// behind a type. The others are types' own, in the class that is open.
std::string declared(const std::string& line, const std::string& type) {
  const std::size_t indent = line.find_first_not_of(' '), bracket = line.find('(');
  if (indent != (type.empty() ? 0U : 2U) || bracket == std::string::npos) return "";
  if (line.find(" = delete") != std::string::npos || !is_part_of_a_name(line[indent])) return "";
  std::size_t begin = bracket;
  const std::size_t sign = line.find("operator");
  if (sign < bracket) begin = sign;
  while (begin > indent && is_part_of_a_name(line[begin - 1])) --begin;
  if (begin == indent || line[begin - 1] != ' ') return "";
  const std::string before = line.substr(indent, begin - indent);
  for (const char* other :
       {"template", "using ", "class ", "struct ", "return ", "=", "constexpr", "explicit"})
    if (before.find(other) != std::string::npos) return "";
  return (type.empty() ? "" : type + "::") + line.substr(begin, bracket - begin);
}
// All functions that a header's namespace, and its classes, have for everybody.
std::set<std::string> functions_of(const std::filesystem::path& header) {
  std::ifstream file(header);
  std::set<std::string> all;
  std::string type;
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("class ", 0) == 0 && line.back() == '{')
      type = line.substr(6, line.find(' ', 6) - 6);
    if (line == " private:" || line == "};") type.clear();
    if (const std::string name = declared(line, type); !name.empty()) all.insert(name);
  }
  return all;
}
// Of an op's name in a table: "sum axis 0" is of sum.
std::string first_word(const std::string& name) { return name.substr(0, name.find_first_of(" ,")); }

void check_all_known(std::set<std::string> known, const std::string& otherwise) {
  // What is no op: what ops take (operand.hpp), what is under the formulas, a stream of its own,
  // and what a schedule is asked with.
  known.insert({"gives", "lambda", "rng_from", "Scheduled::at", "Scheduled::scheduled"});
  std::size_t headers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ARGTAPE_SOURCE_DIR "/ops")) {
    if (entry.path().extension() != ".hpp" || entry.path().filename() == "operand.hpp") continue;
    ++headers;
    for (const std::string& name : functions_of(entry.path()))
      CHECK_MESSAGE(known.count(name),
                    name << " of " << entry.path().filename().string() << " " << otherwise);
  }
  CHECK(headers > 20);
}

}  // namespace
