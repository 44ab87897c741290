#include "ops/methods/antithetic.hpp"

#include "engine/require.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// What f(b) - f(b') is worth for a variable with the log-odds a, where u has the log-odds v, and
// b - b' is `change`.
using Worth = Var (*)(Var a, Var v, Var change);

Method antithetic(const char* name, Worth worth) {
  return Method(name, 2, [=](Var logits, const Cost& f, Rng& rng) {
    const Shape& shape = logits.shape();
    require(!shape.empty() && shape.back() == 2, name, ": logits are ", shape,
            "; need (..., 2), binary variables");
    // The difference of two Gumbel numbers is logistic, the logit of a uniform u; and -g
    // that of 1 - u.
    Tape& tape = *logits.tape;
    const Var l = tape.borrow_constant(logits.value(), "logits"),
              g = tape.constant(rng.gumbel(shape), "gumbel noise"), b = sample(l, zero(), g),
              c = sample(l, zero(), -g), x = evaluate(b, f), y = evaluate(c, f),
              sign = tape.constant(Tensor{-1, 1});
    const auto difference = [&](Var v) { return sum(v * sign, -1, keep_axes); };
    const Var factor = worth(difference(logits), difference(g), difference(b - c) / 2);
    return with_gradient(name, (x + y) / 2, logits, beside(x - y, shape.size()) * (factor * sign));
  });
}

}  // namespace

Method arm() {
  return antithetic("arm", [](Var, Var v, Var) { return sigmoid(v) - 0.5; });
}

Method disarm() {
  return antithetic("disarm", [](Var a, Var, Var change) { return change / 2 * sigmoid(abs(a)); });
}

ARGTAPE_END
