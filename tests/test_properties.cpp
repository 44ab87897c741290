// Every op of the menu against its definition in plain loops, in value and gradient, for random
// shapes and numbers; and that none is forgotten. Built for both libraries.
#include "tests/forgotten.hpp"
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

TEST_CASE("no op is forgotten") {
  std::set<std::string> known;
  const auto add = [&](const auto& table) {
    for (const auto& op : table) known.insert(first_word(op.name));
  };
  add(kOps);
  for (const plain::Table& table : {kReductions, kLines, kMoves, kRowByRow, kProducts, kWindows,
                                    kDistributions, kChoices, kBranches, kFormulas})
    add(table);
  check_all_known(known, "has no definition here; write one");
}
