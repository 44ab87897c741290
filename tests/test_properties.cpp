// Every op of the menu against its definition in plain loops, in value and gradient, for random
// shapes and numbers; and that none is forgotten. Built for both libraries.
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/menu.hpp"
#include "tests/properties/tables.hpp"

using Tensors = std::vector<Tensor>;

namespace {

template <bool fused>
std::string word_is_its_definition(const Word& word, Draws& d) {
  const Shape shape = d.shape(0, 5);
  Tensors points = {d.any_numbers(shape)};
  if (word.inputs == 2) points.push_back(d.any_numbers(d.stretched_to(shape)));
  if (d.below(2)) std::reverse(points.begin(), points.end());
  return plain::wrong_with({points, fused ? word.fused : word.plain,
                            [&](const Arrays& x) {
                              return plain::each(
                                  x, [&](const Row& row) { return word.defined(row.data()); });
                            },
                            ""},
                           d);
}

}  // namespace

TEST_CASE("number by number, every op is what it is by definition, alone and in a formula") {
  for (const Word& word : kOps) {
    for_all(word.name, [&](Draws& d) { return word_is_its_definition<false>(word, d); });
    for_all(word.name + std::string(" in a formula"),
            [&](Draws& d) { return word_is_its_definition<true>(word, d); });
  }
}

namespace {
void check_all(const plain::Table& ops) {
  for (const plain::Defined& op : ops)
    for_all(op.name, [&](Draws& d) { return plain::wrong_with(op.example(d), d); });
}
}  // namespace

TEST_CASE("along axes, every op is what it is by definition") {
  check_all(kReductions);
  check_all(kLines);
}

TEST_CASE("what moves numbers is what it is by definition") { check_all(kMoves); }

TEST_CASE("row by row, every op is what it is by definition") { check_all(kRowByRow); }

TEST_CASE("products, windows and distances are what they are by definition") {
  check_all(kProducts);
  check_all(kWindows);
}

TEST_CASE("distributions are what they are by definition") { check_all(kDistributions); }

TEST_CASE("choices and solvers are what they are by definition") { check_all(kChoices); }

TEST_CASE("branches, expectations and formulas are what they are by definition") {
  check_all(kBranches);
  check_all(kFormulas);
}

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

}  // namespace

TEST_CASE("no op is forgotten") {
  std::set<std::string> defined;
  const auto add = [&](const auto& table) {
    for (const auto& op : table) {
      const std::string name = op.name;
      defined.insert(name.substr(0, name.find_first_of(" ,")));
    }
  };
  add(kOps);
  for (const plain::Table& table : {kReductions, kLines, kMoves, kRowByRow, kProducts, kWindows,
                                    kDistributions, kChoices, kBranches, kFormulas})
    add(table);
  // What is no op: what ops take (operand.hpp), what is under the formulas, a stream of its own,
  // and what a schedule is asked with.
  const std::set<std::string> helpers = {"gives",    "lambda",        "fits",
                                         "misfits",  "sum",           "elementwise",
                                         "rng_from", "Scheduled::at", "Scheduled::scheduled"};
  std::size_t headers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ARGTAPE_SOURCE_DIR "/ops")) {
    if (entry.path().extension() != ".hpp" || entry.path().filename() == "operand.hpp") continue;
    ++headers;
    for (const std::string& name : functions_of(entry.path()))
      CHECK_MESSAGE((defined.count(name) || helpers.count(name)),
                    name << " of " << entry.path().filename().string()
                         << " has no definition here; write one");
  }
  CHECK(headers > 20);
}
