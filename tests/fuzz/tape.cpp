// Random programs on the tape give the same numbers in every way of sweeping, and in float nearly
// those of double.
#include <algorithm>
#include <cmath>
#include <map>

#include "tests/fuzz/tape_program.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using Numbers = std::vector<std::vector<double>>;
constexpr double kJitter = 0x1p-19;  // 16 units of float's last place
// A tie may be broken alike a few times: what differs is looked at more closely.
constexpr int kDraws = 3, kCloser = 64;

bool same_shapes(const Numbers& p, const Numbers& q) {
  return std::equal(p.begin(), p.end(), q.begin(), q.end(),
                    [](const auto& a, const auto& b) { return a.size() == b.size(); });
}

// How far p and q are apart, number by number; `most` is where both end.
Numbers apart(const Numbers& p, const Numbers& q, std::size_t most) {
  Numbers to;
  for (std::size_t i = 0; i < std::min({p.size(), q.size(), most}); ++i) {
    to.emplace_back();
    for (std::size_t k = 0; k < p[i].size(); ++k) to[i].push_back(std::abs(p[i][k] - q[i][k]));
  }
  return to;
}

double largest_of(const std::vector<double>& numbers) {
  double largest = 0;
  for (double x : numbers) largest = std::max(largest, std::abs(x));
  return largest;
}

struct Library {
  const char* name;
  Swept (*swept)(const std::string&, Way, double, int);
};
constexpr Library kDouble = {"double", swept_in_double}, kFloat = {"float", swept_in_float};

// What the results move by when all values on the way do; empty if they cannot be compared.
Numbers moved(const Library& library, const std::string& program, Way way, const Swept& plain,
              int draws) {
  Numbers all = apart(plain.numbers, plain.numbers, plain.numbers.size());
  for (int draw = 1; draw <= draws; ++draw) {
    const Swept other = library.swept(program, way, kJitter, draw);
    if (!other.comparable || other.refused != plain.refused || other.steps != plain.steps ||
        !same_shapes(other.numbers, plain.numbers))
      return {};
    const Numbers by = apart(other.numbers, plain.numbers, all.size());
    for (std::size_t i = 0; i < all.size(); ++i)
      for (std::size_t k = 0; k < all[i].size(); ++k) all[i][k] = std::max(all[i][k], by[i][k]);
  }
  return all;
}

// What rounding in double moves, of what float's does.
Numbers in_double(Numbers moves) {
  for (std::vector<double>& of_one : moves)
    for (double& by : of_one) by *= 0x1p-29;
  return moves;
}

// A value, or a gradient, moves by as much as its like: where one number of it does, all may.
std::string differ(const std::string& what, const Swept& p, const Swept& q, const Numbers& moves,
                   double rounding) {
  const Numbers by = apart(p.numbers, q.numbers, moves.size());
  for (std::size_t i = 0; i < by.size(); ++i) {
    const double bound = 64 * largest_of(moves[i]) + rounding * (1 + largest_of(q.numbers[i]));
    for (std::size_t k = 0; k < by[i].size(); ++k)
      if (!(by[i][k] <= bound))
        return what + ": number " + std::to_string(k) + " of " + std::to_string(i) + " is " +
               std::to_string(p.numbers[i][k]) + " and " + std::to_string(q.numbers[i][k]) +
               ", bound " + std::to_string(bound) + "; " + q.steps;
  }
  return "";
}

constexpr Way kWays[] = {Way::backward, Way::recorded, Way::released};

// In the order of kWays; `wrong` says what is wrong in a library alone.
std::vector<Swept> swept(const Library& library, const std::string& program, std::string& wrong) {
  std::vector<Swept> all;
  for (Way way : kWays) {
    all.push_back(library.swept(program, way, 0, 0));
    const Swept& now = all.back();
    const std::string where = std::string("; in ") + library.name + ", " + now.steps;
    if (!now.fault.empty()) wrong = now.fault + where;
    // Second order may be refused where the first is not.
    if (way == Way::released && now.refused.empty() != all[0].refused.empty())
      wrong = "one way refuses, '" + now.refused + all[0].refused + "', another does not" + where;
  }
  return all;
}

// Whether float's numbers are to be like double's: they did not end where double's go on.
bool beside(const Swept& single, const Swept& exact) {
  return single.comparable && !single.by_chance && single.at_the_end == exact.at_the_end;
}

// Float beside double. What is rounded within an op, where terms may be large and cancel, is seen
// where float's own results move.
std::string differ(const std::string& what, const std::string& program, Way way,
                   const Swept& single, const Swept& exact, Numbers moves, double rounding) {
  if (differ(what, single, exact, moves, rounding).empty()) return "";
  const Numbers own = moved(kFloat, program, way, single, kCloser);
  for (std::size_t i = 0; i < std::min(own.size(), moves.size()); ++i)
    for (std::size_t k = 0; k < own[i].size(); ++k) moves[i][k] = std::max(moves[i][k], own[i][k]);
  return own.empty() ? "" : differ(what, single, exact, moves, rounding);
}

// Double in its ways, and float beside it.
std::string differ(const std::string& program, const std::vector<Swept>& exact,
                   const std::vector<Swept>& single, int draws) {
  const Swept& first = exact[0];
  const Numbers moves = moved(kDouble, program, Way::backward, first, draws);
  if (moves.empty()) return "";
  std::string wrong = differ("recorded and not", exact[1], first, in_double(moves), 1e-9);
  if (wrong.empty()) wrong = differ("released and not", exact[2], first, in_double(moves), 1e-9);
  for (std::size_t i = 0; i < single.size() && wrong.empty() && beside(single[i], first); ++i) {
    const Swept& now = single[i];
    if (now.steps != first.steps) return "float does " + now.steps + "and double " + first.steps;
    wrong = differ("float and double", program, kWays[i], now, first, moves, 1e-4);
  }
  if (!wrong.empty() || !exact[1].comparable || !exact[1].refused.empty()) return wrong;
  const Numbers bend = moved(kDouble, program, Way::recorded, exact[1], draws);
  Swept turned = exact[1];  // what differentiate() and backward() made of the gradients
  const auto second = turned.numbers.begin() + static_cast<std::ptrdiff_t>(first.numbers.size());
  std::rotate(second, second + (turned.numbers.end() - second) / 2, turned.numbers.end());
  wrong = differ("second order recorded and not", turned, exact[1], in_double(bend), 1e-9);
  if (!wrong.empty() || !beside(single[1], first)) return wrong;
  return differ("second order in float and double", program, Way::recorded, single[1], exact[1],
                bend, 1e-3);
}

std::map<std::string, std::uint64_t> counts;

std::string fault(const std::string& program) {
  std::string wrong;
  const std::vector<Swept> exact = swept(kDouble, program, wrong),
                           single = swept(kFloat, program, wrong);
  if (!wrong.empty() || !exact[0].comparable || !exact[0].refused.empty()) return wrong;
  wrong = differ(program, exact, single, kDraws);
  if (!wrong.empty()) wrong = differ(program, exact, single, kCloser);
  if (wrong.empty())
    for (const std::string& name : exact[0].reached) ++counts[name];
  return wrong;
}

}  // namespace

Target tape_target() {
  return {"tape", [] { return std::vector<std::string>{}; }, fault,
          [] {
            std::map<std::string, std::uint64_t> all = counts;
            for (const std::string& name : reachable()) all.emplace(name, 0);
            return all;
          }};
}
