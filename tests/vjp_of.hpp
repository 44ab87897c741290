// What an op hands back to its inputs, for the gradient checker: its vjp is an op like any other.
#pragma once

#include <vector>

#include "engine/gradcheck.hpp"
#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/shape.hpp"

// The gradients that f's inputs get, one after the other, as a function of the inputs and, last, of
// the gradient that arrives at f's value.
inline argtape::Function vjp_of(const argtape::Function& f) {
  using namespace argtape;
  return [f](const std::vector<Var>& v) {
    std::vector<Var> at(v.begin(), v.end() - 1), found;
    // Something to differentiate for, also where the checker holds an input fixed.
    for (Var& x : at) x = x + x.tape->parameter(zeros(x.shape()));
    for (Var g : differentiate(f(at), at, v.back()))
      found.push_back(reshape(g, {g.value().size()}));
    return concatenate(found);
  };
}
