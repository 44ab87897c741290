// The one file that sees RapidCheck, whose headers take long to read.
#include "tests/properties/falsified.hpp"

#include <rapidcheck.h>

#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "tests/cases.hpp"

namespace {

constexpr std::size_t kDecisions = 2048;
constexpr int kTries = 5000;  // to make a failure smaller: all would take the decisions' square

struct Case {
  Decisions decisions;
};
// What a case decides, the property says in its own words.
void showValue(const Case& c, std::ostream& out) { out << c.decisions.size() << " decisions"; }

// splitmix64 (G. Steele, D. Lea, C. Flood, 2014): RapidCheck's own generator is a cipher.
Case drawn(std::uint64_t state) {
  Case c;
  while (c.decisions.size() < kDecisions) {
    std::uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111eb;
    z ^= z >> 31U;
    for (int part = 0; part < 4; ++part, z >>= 16U)
      c.decisions.push_back(static_cast<std::uint16_t>(z));
  }
  return c;
}

const auto smaller = [](const Case& c) {
  const auto lower = [](std::uint16_t n) { return rc::shrink::towards(n, std::uint16_t{0}); };
  return rc::seq::map(rc::seq::concat(rc::shrink::removeChunks(c.decisions),
                                      rc::shrink::eachElement(c.decisions, lower)),
                      [](Decisions decisions) { return Case{std::move(decisions)}; });
};

}  // namespace

namespace rc {
template <>
struct Arbitrary<Case> {
  static Gen<Case> arbitrary() {
    return [](const Random& random, int) {
      return shrinkable::shrinkRecur(drawn(Random(random).next()), smaller);
    };
  }
};
}  // namespace rc

std::string falsified(const std::string& subject,
                      const std::function<std::string(const Decisions&)>& property) {
  setenv("RC_PARAMS", "seed=1", 0);  // else it would be another one each time
  rc::detail::TestParams params = rc::detail::configuration().testParams;
  params.maxSuccess = static_cast<int>(cases(params.maxSuccess));
  rc::detail::TestMetadata metadata;
  metadata.id = metadata.description = subject;
  int tries = 0;
  std::string smallest;
  const auto holds = [&](const Case& c) {
    if (tries == kTries) return;
    const std::string wrong = property(c.decisions);
    if (tries > 0 || !wrong.empty()) ++tries;
    if (wrong.empty()) return;
    smallest = wrong;
    throw std::runtime_error(wrong);
  };
  const auto result = rc::detail::checkTestable(holds, metadata, params);
  if (result.is<rc::detail::SuccessResult>()) return "";
  std::ostringstream text;
  text << subject << ": " << smallest << "\n";
  rc::detail::printResultMessage(result, text);
  return text.str();
}
