// The menu as tables, for tests that hold for every op: those that work number by number, each
// as a formula too, and as what that is of plain numbers; and those that work row by row.
#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include "engine/gradcheck.hpp"
#include "ops/formula.hpp"
#include "ops/gumbel_softmax_density.hpp"
#include "ops/layer_norm.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/shape.hpp"
#include "ops/soft_sort.hpp"
#include "ops/softmax.hpp"
#include "tests/properties/number.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

constexpr Scalar kNan = std::numeric_limits<Scalar>::quiet_NaN();

// ---- Number by number.

struct Word {
  const char* name;  // as ops/elementwise.hpp has it, and what of it
  std::size_t inputs;
  Function plain, fused;
  plain::Number (*defined)(const plain::Number* x);
};
#define ONE(name, ...)                                                                       \
  {                                                                                          \
    name, 1,                                                                                 \
        [](const Vars& v) {                                                                  \
          const Var x = v[0];                                                                \
          return Var(__VA_ARGS__);                                                           \
        },                                                                                   \
        [](const Vars& v) { return elementwise([](auto x) { return __VA_ARGS__; }, v[0]); }, \
        [](const plain::Number* v) {                                                         \
          const plain::Number x = v[0];                                                      \
          return plain::Number(__VA_ARGS__);                                                 \
        }                                                                                    \
  }
#define TWO(name, ...)                                                                \
  {                                                                                   \
    name, 2,                                                                          \
        [](const Vars& v) {                                                           \
          const Var x = v[0], z = v[1];                                               \
          return Var(__VA_ARGS__);                                                    \
        },                                                                            \
        [](const Vars& v) {                                                           \
          return elementwise([](auto x, auto z) { return __VA_ARGS__; }, v[0], v[1]); \
        },                                                                            \
        [](const plain::Number* v) {                                                  \
          const plain::Number x = v[0], z = v[1];                                     \
          return plain::Number(__VA_ARGS__);                                          \
        }                                                                             \
  }

const Word kOps[] = {ONE("exp", exp(x)),
                     ONE("log", log(x)),
                     ONE("tanh", tanh(x)),
                     ONE("sigmoid", sigmoid(x)),
                     ONE("relu", relu(x)),
                     ONE("softplus", softplus(x)),
                     ONE("sqrt", sqrt(x)),
                     ONE("sin", sin(x)),
                     ONE("cos", cos(x)),
                     ONE("erf", erf(x)),
                     ONE("log1p", log1p(x)),
                     ONE("expm1", expm1(x)),
                     ONE("gelu", gelu(x)),
                     ONE("silu", silu(x)),
                     ONE("elu", elu(x, 0.75)),
                     ONE("leaky_relu", leaky_relu(x)),
                     ONE("square", square(x)),
                     ONE("abs", abs(x)),
                     ONE("operator- of one", -x),
                     ONE("clip", clip(x, -1, 0.5)),
                     ONE("pow 3", pow(x, 3)),
                     ONE("pow of 2", pow(2, x)),
                     ONE("stop_gradient", stop_gradient(x)),
                     TWO("operator+", x + z),
                     TWO("operator- of two", x - z),
                     TWO("operator*", x* z),
                     TWO("operator/", x / z),
                     TWO("pow", pow(x, z)),
                     TWO("maximum", maximum(x, z)),
                     TWO("minimum", minimum(x, z)),
                     TWO("operator>", x > z),
                     TWO("operator<", x < z),
                     TWO("operator>=", x >= z),
                     TWO("operator<=", x <= z),
                     TWO("equal", equal(x, z)),
                     TWO("where", where(x, z, 1))};
// ---- Row by row: functions of (rows, K), along an axis, and of others of that shape.

struct RowOp {
  const char* name;
  std::size_t inputs;
  std::function<Var(const Vars&, int axis)> f;
  bool by_axis = true;  // may go along another axis
  double offset = 0;  // what is added to the value for a common offset of 1; NaN: it depends on it
  bool permutes = true;  // a result for each category moves with it
};
const RowOp kRowOps[] = {
    {"sum", 1, [](const Vars& v, int a) { return sum(v[0], a); }, true, kNan},
    {"mean", 1, [](const Vars& v, int a) { return mean(v[0], a); }, true, 1},
    {"max", 1, [](const Vars& v, int a) { return max(v[0], a); }, true, 1, false},
    {"min", 1, [](const Vars& v, int a) { return min(v[0], a); }, true, 1, false},
    {"variance", 1, [](const Vars& v, int a) { return variance(v[0], a); }},
    {"logsumexp", 1, [](const Vars& v, int a) { return logsumexp(v[0], a); }, true, 1},
    {"softmax", 1, [](const Vars& v, int a) { return softmax(v[0], a); }},
    {"log_softmax", 1, [](const Vars& v, int a) { return log_softmax(v[0], a); }},
    {"norm", 1, [](const Vars& v, int a) { return norm(v[0], a); }, true, kNan},
    {"prod", 1, [](const Vars& v, int a) { return prod(v[0], a); }, true, kNan},
    {"cumsum", 1, [](const Vars& v, int a) { return cumsum(v[0], a); }, true, kNan, false},
    {"flip", 1, [](const Vars& v, int a) { return flip(v[0], a); }, true, 1, false},
    {"softmax_jacobian", 2,
     [](const Vars& v, int) { return softmax_jacobian(softmax(v[0]), v[1], 0.5); }, false, kNan},
    {"relaxed_jacobian", 2, [](const Vars& v, int) { return relaxed_jacobian(v[0], v[1], 0.5); },
     false, kNan},
    {"relaxed_jacobian of one", 1,
     [](const Vars& v, int) { return relaxed_jacobian(v[0], softmax(stop_gradient(v[0])), 0.7); },
     false},
    {"gumbel_softmax_log_prob", 1,
     [](const Vars& v, int) {
       return gumbel_softmax_log_prob(softmax(stop_gradient(v[0])), v[0], 0.7);
     },
     false},
    {"exp_concrete_log_prob", 1,
     [](const Vars& v, int) {
       return exp_concrete_log_prob(log_softmax(stop_gradient(v[0])), v[0], 0.7);
     },
     false},
    {"log_softmax_vjp", 2,
     [](const Vars& v, int) { return log_softmax_vjp(log_softmax(v[0]), v[1]); }, false, kNan},
    {"kl_gaussian", 2, [](const Vars& v, int) { return kl_gaussian(v[0], v[1] * 0.5); }, false,
     kNan},
    {"cross_entropy", 1,
     [](const Vars& v, int) {
       return cross_entropy(v[0], std::vector<std::size_t>(v[0].shape()[0], 0));
     },
     false, 0, false},
    {"cross_entropy soft", 1,
     [](const Vars& v, int) { return cross_entropy(v[0], softmax(stop_gradient(v[0]) * 0.5)); },
     false},
    {"kl_categorical", 1, [](const Vars& v, int) { return kl_categorical(v[0], v[0] * 0.5); },
     false},
    {"kl_categorical_uniform", 1, [](const Vars& v, int) { return kl_categorical_uniform(v[0]); },
     false},
    {"bce_with_logits", 2, [](const Vars& v, int) { return bce_with_logits(v[0], v[1]); }, false,
     kNan},
    {"squared_error", 2, [](const Vars& v, int) { return squared_error(v[0], v[1]); }, false},
    {"layer_norm", 1,
     [](const Vars& v, int) {
       return layer_norm(v[0], v[0].tape->constant(2.0), v[0].tape->constant(1.0));
     },
     false},
    {"neural_sort", 1, [](const Vars& v, int) { return sum(neural_sort(v[0], 1), -1); }, false},
    {"soft_sort", 1, [](const Vars& v, int) { return sum(soft_sort(v[0], 1), -1); }, false}};

}  // namespace
