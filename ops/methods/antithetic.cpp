#include "ops/methods/antithetic.hpp"

#include <cmath>
#include <stdexcept>
#include <utility>

#include "ops/elementwise.hpp"
#include "ops/kernels/axis.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

// factor(a, u, b, b') is what an example's f(b) - f(b') is worth for each of its variables.
template <class Factor>
Method antithetic(const char* name, Factor factor) {
  Method method;
  method.name = name;
  method.samples = 2;
  method.estimate = [=](Var logits, const Cost& f, Rng& rng) {
    const Shape& shape = logits.shape();
    if (shape.empty() || shape[shape.size() - 1] != 2)
      throw std::invalid_argument(std::string(name) + ": logits are " + str(shape) +
                                  "; need (..., 2), binary variables");
    Tape& tape = *logits.tape;
    // The difference of two Gumbel numbers is logistic, the logit of a uniform one. With it b is
    // what sample() would choose.
    const Tensor noise = rng.gumbel(shape);
    Tensor first = uninitialised(shape), second = first, worth = first;
    for (std::size_t i = 0; i < first.size(); i += 2) {
      const Scalar *l = logits.value().data() + i, *g = noise.data() + i;
      const double a = static_cast<double>(l[1]) - static_cast<double>(l[0]);
      const double logit = static_cast<double>(g[1]) - static_cast<double>(g[0]);
      const bool b = l[1] + g[1] > l[0] + g[0], c = a > logit;
      first.data()[i] = b ? 0 : 1;
      first.data()[i + 1] = b ? 1 : 0;
      second.data()[i] = c ? 0 : 1;
      second.data()[i + 1] = c ? 1 : 0;
      const auto w = static_cast<Scalar>(factor(a, 1 / (1 + std::exp(-logit)), b, c));
      worth.data()[i] = -w;
      worth.data()[i + 1] = w;
    }
    const Var x = evaluate(f, tape.constant(std::move(first), "choice")),
              y = evaluate(f, tape.constant(std::move(second), "choice"));
    return with_gradient(name, (x + y) / 2, logits,
                         beside(x - y, shape.size()) * tape.constant(std::move(worth)));
  };
  return method;
}

}  // namespace

Method arm() {
  return antithetic("arm", [](double, double u, bool, bool) { return u - 0.5; });
}

Method disarm() {
  return antithetic("disarm", [](double a, double, bool b, bool c) {
    return b == c ? 0 : (b ? 0.5 : -0.5) / (1 + std::exp(-std::abs(a)));
  });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
