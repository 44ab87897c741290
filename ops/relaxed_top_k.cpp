#include "ops/relaxed_top_k.hpp"

#include <limits>

#include "engine/require.hpp"
#include "ops/choice.hpp"
#include "ops/elementwise.hpp"
#include "ops/kernels/logits.hpp"
#include "ops/kernels/settings.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/decision.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/softmax.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// log(1 - softmax(z)). At the largest, where 1 - p may round to 0, it is taken from the others.
Var log_complement(Var z, Var p) {
  const Var first = argmax(z.tape->borrow_constant(z.value()), zero()),
            others = logsumexp(where(first, kMinusInf, z), -1, keep_axes);
  return where(first, others - logsumexp(z, -1, keep_axes), log(1 - where(first, 0.0, p)));
}

}  // namespace

Var relaxed_top_k(Var x, std::size_t k, double tau) {
  tape_of("relaxed_top_k", {x});
  require_temperature("relaxed_top_k", tau);
  require(!x.shape().empty() && k >= 1 && k <= x.shape().back(), "relaxed_top_k: k is ", k,
          ", x is ", x.shape(), "; need (..., n) with 1 <= k <= n");
  require_possible("relaxed_top_k", x.value(), k);
  // So low that nothing is left of it in a softmax, and still a number.
  constexpr Scalar lowest = -std::numeric_limits<Scalar>::max() / 32;
  Var a = without_offset(x), total;  // beside a large one log(1 - p) would be lost
  for (std::size_t j = 0; j < k; ++j) {
    const Var z = maximum((j > 0 ? without_offset(a) : a) / tau, lowest), p = softmax(z);
    total = j > 0 ? total + p : p;
    if (j + 1 < k) a = a + log_complement(z, p);
  }
  return total;
}

ARGTAPE_END
