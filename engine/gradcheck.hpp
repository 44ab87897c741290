// The gradient checker, for whoever writes an op: one random direction, one random cotangent, two
// orders.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// A function of tensors: takes one Var for each point given to the checker, all on one tape.
struct Function : std::function<Var(const std::vector<Var>& points)> {
  using std::function<Var(const std::vector<Var>&)>::function;
  template <class F, class Points = const std::vector<Var>&,
            std::enable_if_t<!std::is_invocable_r_v<Var, F&, Points>, int> = 0>
  Function(F) = delete;  // it is [](const std::vector<Var>& v) { return tanh(v[0]); }
};

struct CheckOptions {
  std::uint64_t seed = 1;
  /// 1: the gradient; 2: the gradient of the gradient too.
  int order = 2;
  /// How far apart the two sides may be, relative to the gradient's norm.
  double tolerance = sizeof(Scalar) == 8 ? 1e-6 : 5e-3;
  /// How far the points are moved along the direction.
  double step = sizeof(Scalar) == 8 ? 1e-3 : 3e-2;
};

struct CheckResult {
  bool ok = true;
  double error = 0;    ///< the largest seen, relative to the gradient's norm and to rounding
  std::string report;  ///< what failed: order, which inputs were active, expected and found
  explicit operator bool() const { return ok; }
};
std::ostream& operator<<(std::ostream& out, const CheckResult& result);  // "right", or the report

/// Compares, for a random direction v and a random cotangent u, <u, f(x + tv)>' at t = 0, by
/// central differences of fourth order, with <v, gradient of <u, f>>. It does so for every mix of
/// active and constant points (up to four points; beyond, for each alone and all together), for the
/// gradient in numbers and for the recorded one, and then for the gradient of <w, gradient>. Four
/// evaluations a difference whatever the sizes; a derivative off by 0.05 % is rejected in double.
/// Where a kink is nearer than the step, the step is halved until the sides agree, up to six times;
/// if they never do, the report says whether the differences agree among themselves. What rounding
/// makes of a difference is allowed for: of each number on the way a few last digits times its
/// gradient, as a root of the sum of squares; and where the gradient vanishes at the point, a
/// ten-millionth of what it is a step away. Throws std::invalid_argument for an order other than 1
/// and 2.
CheckResult check_gradient(const Function& f, const std::vector<Tensor>& points,
                           CheckOptions options = {});

ARGTAPE_END
