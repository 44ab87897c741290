// What several rules are made of. For the library's own .cpp files.
#pragma once

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>

#include "../../engine/system/parallel.hpp"
#include "../elementwise.hpp"
#include "../kernels/row_kernels.hpp"
#include "rule.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

// Below, logits / tau would leave float's range; so cold a softmax is an argmax anyway.
constexpr double kLeastTau = 1e-20;

// A rule for a temperature: at once for a number, at each step for a schedule.
template <class Make>
Rule with(Temperature tau, const char* name, double least, Make make) {
  const auto checked = [=](double t) {
    if (!(t >= kLeastTau) || std::isinf(t) || t < least)
      throw std::invalid_argument(
          std::string(name) + ": tau is " + str(t) + "; need " +
          (least > 0 || t > 0 ? "at least " + str(std::max(least, kLeastTau)) : "more than 0"));
    Rule rule = make(t);
    rule.name = name;
    return rule;
  };
  if (!tau.scheduled()) return checked(tau.at(0));
  Rule rule = checked(tau.at(0));
  rule.backward = nullptr;
  rule.scheduled = [=](std::size_t step) { return checked(tau.at(step)); };
  return rule;
}

inline Var over(Var x, double tau) { return tau == 1 ? x : x / tau; }

// A shortcut that works row by row: f(row of the logits with their noise, row of the choice's
// value, row of f', scratch, where to put the gradient, whether to add it). The scratch is as long
// as a row; if `long_rows` only where that is more than kShortRow lanes.
template <class F>
std::function<void(BackwardContext&)> by_rows(F f, bool long_rows = false) {
  return [f, long_rows](BackwardContext& ctx) {
    const Tensor &logits = ctx.in(0).value(), &value = ctx.out().value();
    const std::size_t k = logits.shape()[logits.dimension() - 1];
    const Scalar* noise = ctx.inputs() == 2 ? ctx.in(1).value().data() : nullptr;
    const Scalar* slope = ctx.numbers().data();
    const auto [to, fresh] = ctx.sink(0);
    const auto sink = to;
    const bool add = !fresh;
    parallel_for(logits.size() / k, rows_of_grain(k), [&](std::size_t begin, std::size_t end) {
      Tensor scratch = uninitialised({!long_rows || k > kShortRow * kLane ? k : 0});
      for (std::size_t i = begin * k; i < end * k; i += k)
        f(NoisyRow{logits.data() + i, noise ? noise + i : nullptr, k}, value.data() + i, slope + i,
          scratch.data(), sink + i, add);
    });
  };
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
