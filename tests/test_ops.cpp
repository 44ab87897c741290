// Every op: its gradient at first and second order, its value against a plain definition, its
// errors.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "engine/broadcast.hpp"
#include "engine/gradcheck.hpp"
#include "engine/random.hpp"
#include "engine/report.hpp"
#include "engine/sweep.hpp"
#include "engine/threads.hpp"
#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/distance.hpp"
#include "ops/distributions.hpp"
#include "ops/elementwise.hpp"
#include "ops/expectation.hpp"
#include "ops/formula.hpp"
#include "ops/layer_norm.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/matching.hpp"
#include "ops/methods/method.hpp"
#include "ops/pool.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/names.hpp"
#include "ops/select.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/top_k.hpp"
#include "tests/distance.hpp"
#include "tests/forgotten.hpp"
#include "tests/refuses.hpp"
#include "tests/vjp_of.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity(),
                 kNan = std::numeric_limits<double>::quiet_NaN();

struct Row {
  std::string name;
  Function f;
  std::vector<Shape> shapes;
  double low = -2, high = 2;  // where the points lie
};

const Axes none;

// Axes of length 1 and 0, broadcasting, the same input twice, unused inputs and diamonds are among
// them.
const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"add", [](const Vars& v) { return v[0] + v[1]; }, {{2, 3}, {2, 3}}},
      {"add row", [](const Vars& v) { return v[0] + v[1]; }, {{2, 3}, {3}}},
      {"add column", [](const Vars& v) { return v[0] + v[1]; }, {{2, 1}, {2, 3}}},
      {"add number", [](const Vars& v) { return v[0] + v[1]; }, {{2, 3}, {}}},
      {"add empty", [](const Vars& v) { return v[0] + v[1]; }, {{0, 3}, {1, 3}}},
      {"add both ways", [](const Vars& v) { return v[0] + v[1]; }, {{2, 1, 4}, {3, 1}}},
      {"subtract", [](const Vars& v) { return v[0] - v[1]; }, {{2, 1}, {1, 3}}},
      {"multiply", [](const Vars& v) { return v[0] * v[1]; }, {{2, 3}, {2, 1}}},
      {"multiply long", [](const Vars& v) { return v[0] * v[1]; }, {{3, 37}, {37}}},
      {"multiply outer axes", [](const Vars& v) { return v[0] * v[1]; }, {{2, 3, 4}, {3, 1}}},
      {"multiply empty", [](const Vars& v) { return v[0] * v[1]; }, {{2, 0}, {2, 1}}},
      {"multiply itself", [](const Vars& v) { return v[0] * v[0]; }, {{2, 3}}},
      {"multiply itself stretched", [](const Vars& v) { return v[0] * reshape(v[0], {3, 1}); }, {{3}}},
      {"divide", [](const Vars& v) { return v[0] / v[1]; }, {{2, 3}, {3}}, 0.5, 2},
      {"unused input", [](const Vars& v) { return v[0] * v[0]; }, {{2, 3}, {4}}},
      {"diamond", [](const Vars& v) { const Var a = tanh(v[0]), b = exp(v[0]); return a * b + a / b; }, {{5}}},
      {"with numbers", [](const Vars& v) { return (1 - (2 * v[0] + 3 - 1) / 4) * 0.5 + 1.5 / (3 - v[0]) - 2; }, {{2, 3}}},
      {"number before", [](const Vars& v) { return 2.0 + v[0] * v[0]; }, {{3}}},
      {"negative", [](const Vars& v) { return -v[0] * v[0]; }, {{2, 3}}},
      {"exp", [](const Vars& v) { return exp(v[0]); }, {{2, 3}}},
      {"exp of a number", [](const Vars& v) { return exp(v[0]); }, {{}}},
      {"log", [](const Vars& v) { return log(v[0]); }, {{2, 9}}, 0.5, 3},
      {"tanh", [](const Vars& v) { return tanh(v[0]); }, {{1, 17}}},
      {"sigmoid", [](const Vars& v) { return sigmoid(v[0]); }, {{2, 3}}},
      {"relu above", [](const Vars& v) { return relu(v[0]) * v[0]; }, {{2, 3}}, 0.5, 2},
      {"relu below", [](const Vars& v) { return relu(v[0]) * v[0]; }, {{2, 3}}, -2, -0.5},
      {"softplus", [](const Vars& v) { return softplus(v[0]); }, {{2, 3}}},
      {"sqrt", [](const Vars& v) { return sqrt(v[0]); }, {{2, 3}}, 0.5, 3},
      {"sin", [](const Vars& v) { return sin(v[0]); }, {{2, 9}}},
      {"cos", [](const Vars& v) { return cos(v[0]); }, {{2, 9}}},
      {"erf", [](const Vars& v) { return erf(v[0]); }, {{2, 9}}},
      {"log1p", [](const Vars& v) { return log1p(v[0]); }, {{2, 9}}, -0.5, 3},
      {"expm1", [](const Vars& v) { return expm1(v[0]); }, {{2, 9}}},
      {"gelu", [](const Vars& v) { return gelu(v[0]); }, {{2, 9}}},
      {"silu", [](const Vars& v) { return silu(v[0]); }, {{2, 9}}},
      {"elu above", [](const Vars& v) { return elu(v[0], 0.7) * v[0]; }, {{2, 3}}, 0.5, 2},
      {"elu below", [](const Vars& v) { return elu(v[0], 0.7) * v[0]; }, {{2, 3}}, -2, -0.5},
      {"leaky_relu above", [](const Vars& v) { return leaky_relu(v[0], 0.2) * v[0]; }, {{2, 3}}, 0.5, 2},
      {"leaky_relu below", [](const Vars& v) { return leaky_relu(v[0], 0.2) * v[0]; }, {{2, 3}}, -2, -0.5},
      {"square", [](const Vars& v) { return square(v[0]); }, {{2, 3}}},
      {"pow 2.5", [](const Vars& v) { return pow(v[0], 2.5); }, {{2, 3}}, 0.5, 2},
      {"pow -1", [](const Vars& v) { return pow(v[0], -1); }, {{2, 3}}, 0.5, 2},
      {"pow 3 of negatives", [](const Vars& v) { return pow(v[0], 3.0); }, {{2, 3}}, -2, -0.5},
      {"pow 1, pow 0", [](const Vars& v) { return v[0] * pow(v[0], 1) + pow(v[0], 0); }, {{3}}},
      {"pow of two", [](const Vars& v) { return pow(v[0], v[1]); }, {{2, 3}, {3}}, 0.5, 2},
      {"abs", [](const Vars& v) { return abs(v[0]) * v[0]; }, {{2, 3}}, 0.5, 2},
      {"abs of negatives", [](const Vars& v) { return abs(v[0]) * v[0]; }, {{2, 3}}, -2, -0.5},
      {"clip inside", [](const Vars& v) { return clip(v[0], -3, 3) * v[0]; }, {{2, 3}}},
      {"clip outside", [](const Vars& v) { return clip(v[0], -0.1, 0.1) * v[0]; }, {{2, 3}}, 0.5, 2},
      {"maximum", [](const Vars& v) { return maximum(v[0], v[1] + 5) * v[0] + maximum(v[0] + 5, v[1]) * v[1]; }, {{2, 3}, {3}}},
      {"minimum", [](const Vars& v) { return minimum(v[0], v[1] + 5) * v[0] + minimum(v[0] + 5, v[1]) * v[1]; }, {{2, 3}, {3}}},
      {"where", [](const Vars& v) {
         const Var c = v[0].tape->constant(Tensor{1, 0, 2});
         return where(c, v[0] * v[0], v[1] * v[1]);
       }, {{2, 3}, {3}}},
      {"sum", [](const Vars& v) { return sum(v[0] * v[0]); }, {{2, 3}}},
      {"sum axis 0", [](const Vars& v) { return sum(v[0] * v[0], 0); }, {{2, 3}}},
      {"sum last axis, kept", [](const Vars& v) { return sum(v[0] * v[0], -1, keep_axes); }, {{2, 3, 4}}},
      {"sum two axes", [](const Vars& v) { return sum(v[0] * v[0], {0, 2}); }, {{2, 3, 4}}},
      {"sum of nothing", [](const Vars& v) { return sum(v[0] * v[0], 1); }, {{2, 0}}},
      {"sum no axes", [](const Vars& v) { return sum(v[0] * v[0], none); }, {{2, 3}}},
      {"mean", [](const Vars& v) { return mean(v[0] * v[0]); }, {{2, 3}}},
      {"mean axis 1", [](const Vars& v) { return mean(v[0] * v[0], 1); }, {{2, 3, 1}}},
      {"max", [](const Vars& v) { return max(v[0], 1) * sum(v[0], 1); }, {{3, 5}}},
      {"max of all", [](const Vars& v) { return max(v[0]) * max(v[0]); }, {{3, 5}}},
      {"min, kept", [](const Vars& v) { return min(v[0], 0, keep_axes) * v[0]; }, {{3, 5}}},
      {"logsumexp", [](const Vars& v) { return logsumexp(v[0]); }, {{3, 5}}},
      {"logsumexp axis 0, kept", [](const Vars& v) { return logsumexp(v[0], 0, keep_axes); }, {{3, 5}}},
      {"logsumexp middle axis", [](const Vars& v) { return logsumexp(v[0], 1); }, {{2, 3, 4}}},
      {"logsumexp long", [](const Vars& v) { return logsumexp(v[0], -1); }, {{2, 37}}},
      {"logsumexp, kept", [](const Vars& v) { return logsumexp(v[0], -1, keep_axes) * v[0]; }, {{2, 9}}},
      {"logsumexp of the last two", [](const Vars& v) { return logsumexp(v[0], {1, 2}); }, {{2, 3, 4}}},
      {"logsumexp of no row", [](const Vars& v) { return logsumexp(v[0], 1); }, {{0, 3}}},
      {"min long", [](const Vars& v) { return min(v[0], 1) * sum(v[0], 1); }, {{3, 21}}},
      {"variance axis 0, kept", [](const Vars& v) { return variance(v[0], 0, keep_axes) * v[0]; }, {{3, 5}}},
      {"variance of the last two", [](const Vars& v) { return variance(v[0], {2, 1}); }, {{2, 3, 4}}},
      {"variance of one", [](const Vars& v) { return variance(v[0], 1) + v[0]; }, {{3, 1}}},
      {"variance", [](const Vars& v) { return variance(v[0], 1); }, {{3, 5}}},
      {"variance of all", [](const Vars& v) { return variance(v[0]); }, {{3, 5}}},
      {"norm", [](const Vars& v) { return norm(v[0]); }, {{3, 5}}},
      {"prod", [](const Vars& v) { return prod(v[0]); }, {{3, 2}}},
      {"prod axis 0, kept", [](const Vars& v) { return prod(v[0], 0, keep_axes) * v[0]; }, {{3, 5}}},
      {"prod with zeros", [](const Vars& v) { return prod(v[0] * v[0].tape->constant(Tensor{{1, 0, 1, 1}, {1, 0, 0, 1}}) , 1); }, {{2, 4}}},
      {"prod of one", [](const Vars& v) { return prod(v[0], 1) * v[0]; }, {{3, 1}}},
      {"prod of nothing", [](const Vars& v) { return prod(v[0], 1); }, {{3, 0}}},
      {"cumsum", [](const Vars& v) { return cumsum(v[0] * v[0]); }, {{2, 5}}},
      {"cumsum middle axis", [](const Vars& v) { return cumsum(v[0] * v[0], 1); }, {{2, 3, 4}}},
      {"cumsum empty", [](const Vars& v) { return cumsum(v[0] * v[0], 0); }, {{0, 3}}},
      {"norm axis 0, kept", [](const Vars& v) { return norm(v[0], 0, keep_axes) * v[0]; }, {{3, 5}}},
      {"norm of the last two", [](const Vars& v) { return norm(v[0], {1, 2}); }, {{2, 3, 7}}},
      {"norm of no row", [](const Vars& v) { return norm(v[0], 1); }, {{0, 3}}},
      {"logsumexp of a number", [](const Vars& v) { return logsumexp(v[0]) * v[0]; }, {{}}},
      {"dense", [](const Vars& v) { return dense(v[0], v[1], v[2]); }, {{3, 4}, {4, 5}, {5}}},
      {"dense of a stack", [](const Vars& v) { return dense(v[0], v[1], v[2]) * 2.0; }, {{2, 3, 4}, {4, 2}, {2}}},
      {"dense below a sum", [](const Vars& v) { return sum(dense(v[0], v[1], v[2])); }, {{3, 4}, {4, 5}, {5}}},
      {"dense of nothing", [](const Vars& v) { return dense(v[0], v[1], v[2]); }, {{0, 4}, {4, 5}, {5}}},
      {"reshape", [](const Vars& v) { return reshape(v[0] * v[0], {3, 2}); }, {{2, 3}}},
      {"reshape empty", [](const Vars& v) { return reshape(v[0] * v[0], {3, 0}); }, {{0, 5}}},
      {"transpose", [](const Vars& v) { return transpose(v[0] * v[0]); }, {{2, 3}}},
      {"transpose 3", [](const Vars& v) { return transpose(v[0] * v[0], {1, 2, 0}); }, {{2, 3, 4}}},
      {"transpose empty", [](const Vars& v) { return transpose(v[0] * v[0]); }, {{2, 0, 1}}},
      {"transpose number", [](const Vars& v) { return transpose(v[0] * v[0]); }, {{}}},
      {"broadcast", [](const Vars& v) { return broadcast(v[0] * v[0], {2, 3, 4}); }, {{3, 1}}},
      {"concatenate", [](const Vars& v) { return concatenate({v[0] * v[0], v[1], v[0]}, 1); }, {{2, 3}, {2, 1}}},
      {"concatenate with empty", [](const Vars& v) { return concatenate({v[0] * v[0], v[1]}); }, {{2, 3}, {0, 3}}},
      {"stack", [](const Vars& v) { return stack({v[0] * v[0], v[1], v[0]}, -1); }, {{2, 3}, {2, 3}}},
      {"expand_dims", [](const Vars& v) { return expand_dims(v[0] * v[0], 1); }, {{2, 3}}},
      {"squeeze", [](const Vars& v) { return squeeze(v[0] * v[0], -2); }, {{2, 1, 3}}},
      {"slice", [](const Vars& v) { return slice(v[0] * v[0], 1, 3, -1); }, {{2, 4}}},
      {"slice nothing", [](const Vars& v) { return slice(v[0] * v[0], 1, 1); }, {{2, 4}}},
      {"element", [](const Vars& v) { return element(v[0] * v[0], 1); }, {{2, 3}}},
      {"permute", [](const Vars& v) { return permute(v[0], v[1]); }, {{2, 3, 4}, {3, 2}}},
      {"unpermute", [](const Vars& v) { return unpermute(v[0], v[1]); }, {{2, 3, 4}, {4, 2}}},
      {"pad", [](const Vars& v) { return pad(v[0] * v[0], 1, 2); }, {{2, 3}}},
      {"take", [](const Vars& v) { return take(v[0] * v[0], {2, 0, 2}, 1); }, {{2, 3}}},
      {"take rows",
       [](const Vars& v) { return take(v[0] * v[0], {1, 1, 0}); },
       {{2, 3}}},
      {"take nothing", [](const Vars& v) { return take(v[0] * v[0], {}, 0); }, {{2, 3}}},
      {"gather", [](const Vars& v) { return gather(v[0] * v[0], {5, 0, 0, 3}, {2, 2}); }, {{2, 3}}},
      {"scatter", [](const Vars& v) { return scatter(v[0] * v[0], {5, 0, 0}, {2, 3}); }, {{3}}},
      {"take_along_axis", [](const Vars& v) { return take_along_axis(v[0] * v[0], {2, 0, 1, 1, 0, 0}); }, {{2, 3}}},
      {"take_along_axis 0", [](const Vars& v) { return take_along_axis(v[0] * v[0], {1, 0, 1}, 0); }, {{2, 3}}},
      {"scatter_add", [](const Vars& v) { return scatter_add(v[0] * v[0], {3, 0, 1, 1, 3, 3}, 4); }, {{2, 3}}},
      {"scatter_add 0", [](const Vars& v) { return scatter_add(v[0] * v[0], {3, 0, 1, 1, 3, 3}, 4, -2); }, {{2, 3}}},
      {"flip", [](const Vars& v) { return flip(v[0] * v[0], 1) * v[0]; }, {{2, 3, 2}}},
      {"split", [](const Vars& v) { const Vars p = split(v[0], {1, 2}, 1); return p[0] * p[1] * p[1]; }, {{2, 3}}},
      {"matmul of vectors", [](const Vars& v) { return matmul(v[0], v[1]) * matmul(v[0], v[0]); }, {{3}, {3}}},
      {"matmul vector, stack", [](const Vars& v) { return matmul(v[0], v[1]); }, {{3}, {2, 3, 4}}},
      {"matmul stack, vector", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 4, 3}, {3}}},
      {"matmul matrix, vector of nothing", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 0}, {0}}},
      {"matmul", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 3}, {3, 4}}},
      {"matmul twice the same", [](const Vars& v) { return matmul(v[0], v[0]); }, {{3, 3}}},
      {"matmul three", [](const Vars& v) { return matmul(matmul(v[0], v[1]), v[0]); }, {{2, 3}, {3, 2}}},
      {"matmul ones", [](const Vars& v) { return matmul(v[0], v[1]); }, {{1, 3}, {3, 1}}},
      {"matmul of large ones, empty inside", [](const Vars& v) { return matmul(v[0], v[1]); }, {{20, 0}, {0, 30}}},
      {"matmul empty inside", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 0}, {0, 3}}},
      {"matmul empty outside", [](const Vars& v) { return matmul(v[0], v[1]); }, {{0, 3}, {3, 2}}},
      {"matmul batched", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 3, 4}, {2, 4, 2}}},
      {"matmul broadcast", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 1, 3, 4}, {3, 4, 2}}},
      {"matmul one for all", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 3, 4}, {4, 2}}},
      {"matmul one before all", [](const Vars& v) { return matmul(v[0], v[1]); }, {{3, 4}, {2, 4, 2}}},
      {"matmul three axes before", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 1, 3, 2, 2}, {2, 1, 2, 3}}},
      {"matmul stretched inside", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 3, 1, 4}, {2, 1, 4, 2}}},
      {"matmul of itself, stretched", [](const Vars& v) { return matmul(v[0], reshape(v[0], {3, 1, 2, 2})); }, {{3, 2, 2}}},
      {"matmul vectors", [](const Vars& v) { return matmul(v[0], v[1]); }, {{3, 1, 4}, {3, 4, 1}}},
      {"matmul columns", [](const Vars& v) { return matmul(v[0], v[1]); }, {{3, 5, 4}, {3, 4, 1}}},
      {"matmul no matrix", [](const Vars& v) { return matmul(v[0], v[1]); }, {{0, 2, 3}, {3, 2}}},
      {"matmul no matrix, stretched", [](const Vars& v) { return matmul(v[0], v[1]); }, {{0, 2, 3}, {1, 3, 2}}},
      {"matmul batched, empty inside", [](const Vars& v) { return matmul(v[0], v[1]); }, {{2, 2, 0}, {0, 3}}},
      {"matmul_transposed", [](const Vars& v) { return matmul_transposed(v[0], v[1]); }, {{2, 3}, {4, 3}}},
      {"matmul_transposed of itself", [](const Vars& v) { return matmul_transposed(v[0], v[0]); }, {{3, 2}}},
      {"matmul_transposed batched", [](const Vars& v) { return matmul_transposed(v[0], v[1]); }, {{2, 3, 4}, {2, 5, 4}}},
      {"matmul_transposed one for all", [](const Vars& v) { return matmul_transposed(v[0], v[1]); }, {{2, 3, 4}, {5, 4}}},
      {"matmul_transposed broadcast", [](const Vars& v) { return matmul_transposed(v[0], v[1]); }, {{2, 1, 3, 4}, {3, 1, 4}}},
      {"outer", [](const Vars& v) { return outer(v[0], v[1]); }, {{2}, {3}}},
      {"dot", [](const Vars& v) { return dot(v[0], v[1]) * dot(v[0], v[0]); }, {{3}, {3}}},
      {"squared_distances", [](const Vars& v) { return squared_distances(v[0], v[1]); }, {{5, 3}, {2, 3}}},
      {"squared_distances long", [](const Vars& v) { return squared_distances(v[0], v[1]); }, {{3, 19}, {6, 19}}},
      {"squared_distances itself", [](const Vars& v) { return squared_distances(v[0], v[0]); }, {{3, 2}}},
      {"squared_distances empty", [](const Vars& v) { return squared_distances(v[0], v[1]); }, {{0, 3}, {2, 3}}},
      {"squared_distances of nothing", [](const Vars& v) { return squared_distances(v[0], v[1]); }, {{4, 0}, {2, 0}}},
      {"softmax", [](const Vars& v) { return softmax(v[0]); }, {{2, 5}}},
      {"softmax long", [](const Vars& v) { return softmax(v[0]); }, {{2, 37}}},
      {"softmax axis 0", [](const Vars& v) { return softmax(v[0], 0); }, {{3, 2, 2}}},
      {"softmax of one", [](const Vars& v) { return softmax(v[0]) * v[0]; }, {{2, 1}}},
      {"softmax empty", [](const Vars& v) { return softmax(v[0]); }, {{0, 3}}},
      {"log_softmax", [](const Vars& v) { return log_softmax(v[0]); }, {{2, 5}}},
      {"log_softmax axis 1", [](const Vars& v) { return log_softmax(v[0], 1); }, {{2, 3, 2}}},
      {"log_softmax_vjp", [](const Vars& v) { return log_softmax_vjp(v[0], v[1]); }, {{2, 5}, {2, 5}}},
      {"log_softmax_vjp long", [](const Vars& v) { return log_softmax_vjp(v[0], v[1]); }, {{2, 37}, {2, 37}}},
      {"softmax_jacobian", [](const Vars& v) { return softmax_jacobian(v[0], v[1]); }, {{2, 5}, {2, 5}}},
      {"softmax_jacobian scaled", [](const Vars& v) { return softmax_jacobian(v[0], v[1], 0.3); }, {{2, 37}, {2, 37}}},
      {"relaxed_jacobian", [](const Vars& v) { return relaxed_jacobian(v[0], v[1]); }, {{2, 5}, {2, 5}}},
      {"relaxed_jacobian long", [](const Vars& v) { return relaxed_jacobian(v[0], v[1], 0.7); }, {{2, 37}, {2, 37}}},
      {"relaxed_jacobian very long", [](const Vars& v) { return relaxed_jacobian(v[0], v[1], 2); }, {{2, 1100}, {2, 1100}}},
      {"relaxed_jacobian with noise", [](const Vars& v) { return relaxed_jacobian(v[0], v[1], 0.7, v[2]); },
       {{2, 5}, {2, 5}, {2, 5}}},
      {"relaxed_jacobian empty", [](const Vars& v) { return relaxed_jacobian(v[0], v[1], 0.7); }, {{0, 5}, {0, 5}}},
      {"cross_entropy", [](const Vars& v) { return cross_entropy(v[0], {1, 0, 4}); }, {{3, 5}}},
      {"cross_entropy of many rows", [](const Vars& v) { return cross_entropy(v[0], {1, 0, 2, 2}); }, {{2, 2, 3}}},
      {"cross_entropy soft", [](const Vars& v) { return cross_entropy(v[0], softmax(v[1])); }, {{3, 5}, {3, 5}}},
      {"bce_with_logits", [](const Vars& v) { return bce_with_logits(v[0], v[1]); }, {{2, 3}, {3}}},
      {"squared_error", [](const Vars& v) { return squared_error(v[0], v[1]); }, {{2, 3}, {2, 1}}},
      {"kl_categorical", [](const Vars& v) { return kl_categorical(v[0], v[1]); }, {{2, 5}, {5}}},
      {"kl_categorical_uniform", [](const Vars& v) { return kl_categorical_uniform(v[0]); }, {{2, 5}}},
      {"kl_gaussian", [](const Vars& v) { return kl_gaussian(v[0], v[1]); }, {{2, 3}, {2, 3}}},
      {"kl_gaussian of two", [](const Vars& v) { return kl_gaussian(v[0], v[1], v[2], v[3]); }, {{2, 3}, {2, 3}, {2, 3}, {3}}},
      {"layer_norm", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{2, 5}, {5}, {5}}},
      {"layer_norm long", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{2, 3, 19}, {1, 19}, {1, 1, 19}}},
      {"layer_norm of many rows", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{300, 7}, {7}, {7}}},
      {"layer_norm of long rows", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{2, 1100}, {1100}, {1100}}},
      {"layer_norm of one", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]) * v[0]; }, {{3, 1}, {}, {1, 1}}},
      {"layer_norm twice", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]) * layer_norm(v[0], v[1], v[2]); }, {{3, 9}, {9}, {9}}},
      {"layer_norm of no row", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{0, 3}, {3}, {3}}},
      {"layer_norm over all axes", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{3, 4}, {3, 4}, {}}},
      {"layer_norm over two axes", [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {{2, 3, 5}, {3, 5}, {3, 5}}},
      {"layer_norm by itself", [](const Vars& v) { return layer_norm(v[0], v[0], v[0]); }, {{5}}},
      {"conv2d", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{2, 2, 4, 5}, {3, 2, 3, 2}}},
      {"conv2d stride, padding", [](const Vars& v) { return conv2d(v[0], v[1], 2, 1); }, {{1, 2, 5, 4}, {2, 2, 3, 3}}},
      {"conv2d with bias", [](const Vars& v) { return conv2d(v[0], v[1], v[2], {1, 2}, {2, 0}); }, {{2, 2, 3, 5}, {3, 2, 3, 2}, {3}}},
      {"conv2d with a stride of each axis", [](const Vars& v) { return conv2d(v[0], v[1], {2, 1}, {0, 1}); }, {{2, 9, 5, 4}, {2, 9, 2, 3}}},
      {"conv_transpose2d with bias", [](const Vars& v) { return conv_transpose2d(v[0], v[1], v[2], {1, 2}, {1, 0}); }, {{2, 3, 3, 2}, {3, 2, 3, 2}, {2}}},
      {"conv2d of one pixel", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{1, 1, 1, 1}, {1, 1, 1, 1}}},
      {"conv2d of no image", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{0, 1, 3, 3}, {2, 1, 2, 2}}},
      {"avg_pool2d twice", [](const Vars& v) { return avg_pool2d(v[0], 2) * avg_pool2d(v[0], 2); }, {{2, 2, 4, 4}}},
      {"conv2d of one pixel each", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{2, 3, 2, 3}, {4, 3, 1, 1}}},
      {"conv2d of one pixel each, apart", [](const Vars& v) { return conv2d(v[0], v[1], 2, 1); }, {{2, 3, 3, 4}, {2, 3, 1, 1}}},
      {"conv2d of many planes", [](const Vars& v) { return conv2d(v[0], v[1], 1, 1); }, {{2, 9, 4, 3}, {2, 9, 3, 2}}},
      {"conv2d of many kernels", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{2, 1, 4, 3}, {19, 1, 2, 2}}},
      {"conv2d with more padding than kernel", [](const Vars& v) { return conv2d(v[0], v[1], 1, 3); }, {{1, 8, 2, 3}, {2, 8, 2, 2}}},
      {"conv2d that skips pixels", [](const Vars& v) { return conv2d(v[0], v[1], 3); }, {{2, 2, 7, 6}, {2, 2, 2, 2}}},
      {"conv2d of no plane", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{1, 0, 3, 3}, {2, 0, 2, 2}}},
      {"conv2d of no plane, one pixel each", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{1, 0, 3, 3}, {2, 0, 1, 1}}},
      {"conv2d with no kernel", [](const Vars& v) { return conv2d(v[0], v[1]); }, {{1, 2, 3, 3}, {0, 2, 2, 2}}},
      {"conv2d of itself", [](const Vars& v) { return conv2d(v[0], v[0], 1, 1); }, {{2, 2, 2, 2}}},
      {"conv_transpose2d", [](const Vars& v) { return conv_transpose2d(v[0], v[1]); }, {{2, 3, 2, 3}, {3, 2, 3, 2}}},
      {"conv_transpose2d stride, padding", [](const Vars& v) { return conv_transpose2d(v[0], v[1], 2, 1); }, {{1, 2, 3, 2}, {2, 2, 3, 3}}},
      {"conv_transpose2d of one pixel", [](const Vars& v) { return conv_transpose2d(v[0], v[1]); }, {{2, 3, 1, 1}, {3, 2, 4, 4}}},
      {"conv_transpose2d to one pixel", [](const Vars& v) { return conv_transpose2d(v[0], v[1]); }, {{1, 1, 1, 1}, {1, 1, 1, 1}}},
      {"conv_transpose2d of no image", [](const Vars& v) { return conv_transpose2d(v[0], v[1]); }, {{0, 1, 3, 3}, {1, 2, 2, 2}}},
      {"conv_transpose2d of no plane", [](const Vars& v) { return conv_transpose2d(v[0], v[1]); }, {{1, 0, 3, 3}, {0, 2, 2, 2}}},
      {"conv_transpose2d of many planes", [](const Vars& v) { return conv_transpose2d(v[0], v[1], 1, 1); }, {{2, 2, 4, 3}, {2, 9, 3, 2}}},
      {"conv_transpose2d that skips pixels", [](const Vars& v) { return conv_transpose2d(v[0], v[1], 3); }, {{2, 2, 2, 3}, {2, 2, 2, 2}}},
      {"conv_transpose2d of itself", [](const Vars& v) { return conv_transpose2d(v[0], v[0], 1, 1); }, {{2, 2, 2, 2}}},
      {"max_pool2d that skips pixels", [](const Vars& v) { return max_pool2d(v[0], 2, 3) * 2; }, {{2, 2, 5, 6}}},
      {"avg_pool2d that skips pixels", [](const Vars& v) { return avg_pool2d(v[0] * v[0], 2, 3); }, {{2, 2, 5, 6}}},
      {"max_pool2d", [](const Vars& v) { return max_pool2d(v[0], 2) * 2; }, {{2, 2, 4, 4}}},
      {"max_pool2d overlapping", [](const Vars& v) { const Var y = max_pool2d(v[0], 3, 1, 1); return y * y; }, {{1, 2, 4, 4}}},
      {"avg_pool2d", [](const Vars& v) { return avg_pool2d(v[0] * v[0], 2); }, {{2, 2, 4, 4}}},
      {"avg_pool2d overlapping", [](const Vars& v) { return avg_pool2d(v[0] * v[0], 3, 1, 1); }, {{1, 2, 4, 3}}},
      {"Categorical::log_prob", [](const Vars& v) { return Categorical(v[0]).log_prob({1, 4}); }, {{2, 5}}},
      {"Categorical::from_probabilities", [](const Vars& v) { return Categorical::from_probabilities(softmax(v[0])).entropy(); }, {{2, 5}}},
      {"Bernoulli::log_prob", [](const Vars& v) { return Bernoulli(v[0]).log_prob(Tensor{1, 0, 1}); }, {{2, 3}}},
      {"Bernoulli::from_probabilities", [](const Vars& v) { return Bernoulli::from_probabilities(sigmoid(v[0])).entropy(); }, {{2, 3}}},
      {"Bernoulli::entropy", [](const Vars& v) { return Bernoulli(v[0]).entropy(); }, {{2, 3}}},
      {"Bernoulli::kl", [](const Vars& v) { return Bernoulli(v[0]).kl(Bernoulli(v[1])); }, {{2, 3}, {3}}},
      {"RelaxedCategorical::log_prob", [](const Vars& v) { return RelaxedCategorical(v[0], 0.7).log_prob(softmax(v[1])); }, {{2, 3}, {2, 3}}},
      {"RelaxedCategorical::sample", [](const Vars& v) { Rng rng(3); return RelaxedCategorical(v[0], 0.7).sample(rng); }, {{2, 3}}},
      {"Normal::log_prob", [](const Vars& v) { return Normal(v[0], exp(v[1])).log_prob(v[2]); }, {{2, 3}, {3}, {2, 1}}},
      {"Normal::entropy", [](const Vars& v) { return Normal(v[0], exp(v[1]) + v[1]).entropy(); }, {{2, 3}, {3}}, 0.5, 2},
      {"Normal::sample", [](const Vars& v) { Rng rng(3); return square(Normal(v[0], exp(v[1])).sample(rng)); }, {{2, 3}, {3}}},
      {"stop_gradient", [](const Vars& v) { return v[0] * v[0] + stop_gradient(v[1]) * 0.0; }, {{2, 3}, {2, 3}}},
      {"expectation", [](const Vars& v) {
         const Var t = v[1];
         return expectation(v[0], [t](Var z) { return sum(square(z - t), -1); });
       }, {{2, 3}, {3}}},
      {"soft argmax", [](const Vars& v) { return argmax(v[0], gumbel_softmax(0.7)); }, {{2, 4}}},
      {"Gumbel-softmax at frozen noise", [](const Vars& v) {
         return sample(v[0], gumbel_softmax(0.5), v[0].tape->constant(Rng(3).gumbel({2, 4})));
       }, {{2, 4}}},
  };
  return all;
}

// Leaves numbers behind where the next tensors will stand: many of each size.
void fill_memory(double with) {
  std::vector<Tensor> gone;
  for (std::size_t size = 8; size <= 2048; size += size < 128 ? 8 : size / 4)
    for (int i = 0; i < 20; ++i) gone.push_back(full({size}, with));
}

// A value as a plain function of numbers, for tests of what ops compute.
Tensor value(const Function& f, const std::vector<Tensor>& points) {
  Tape tape;
  Vars v;
  for (const Tensor& p : points) v.push_back(tape.constant(p));
  return f(v).value();
}

}  // namespace

TEST_CASE(
    "every gradient is checked at first and second order, over axes of length 1 and 0, "
    "broadcasting, diamonds, and every mix of active inputs") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    Rng rng(11);
    std::vector<Tensor> points;
    for (const Shape& s : row.shapes) points.push_back(rng.uniform(s, row.low, row.high));
    const CheckResult result = check_gradient(row.f, points);
    INFO(result.report);
    CHECK(result.ok);
  }
}

TEST_CASE("no op's gradient is forgotten") {
  std::set<std::string> known = {
      "operator+", "operator-", "operator*", "operator/",  // under other names above
      // The checker has them at both orders in test_distributions,
      "Categorical::entropy", "Categorical::kl", "Normal::kl",
      // test_formula, test_gumbel_softmax_density, test_matching,
      "elementwise", "sum_of", "mean_of", "gumbel_softmax_log_prob", "exp_concrete_log_prob",
      "neural_sort", "soft_sort",
      // test_rules, test_select, test_sinkhorn, test_stochastic_networks,
      "conditional_gumbels", "select", "mixture", "sinkhorn", "logmeanexp",
      // and test_subset.
      "sort", "relaxed_top_k", "top_k_log_prob", "plackett_luce_log_prob",
      // Rules say what passes: test_rules and test_rule_properties.
      "argmax", "argmin", "sample", "top_k", "sample_top_k", "matching", "sample_matching",
      "Categorical::sample", "Bernoulli::sample",
      // What is computed has no derivative, or is handed on.
      "operator<", "operator<=", "operator>", "operator>=", "equal", "one_hot", "argsort",
      "indices_of", "noise_of", "hungarian", "residual", "combinations", "evaluate", "black_box",
      "Categorical::logits", "exponential_decay", "linear_decay"};
  for (const Row& row : rows()) known.insert(first_word(row.name));
  check_all_known(known, "has no row here, and is not said to be checked elsewhere");
}

TEST_CASE("gradients of what every op hands back: its vjp is an op like any other") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    Rng rng(17);
    std::vector<Tensor> points;
    for (const Shape& s : row.shapes) points.push_back(rng.uniform(s, row.low, row.high));
    points.push_back(rng.normal(value(row.f, points).shape()));
    const CheckResult result = check_gradient(vjp_of(row.f), points);
    INFO(result.report);
    CHECK(result.ok);
  }
}

TEST_CASE("no op's value or gradients depend on what stood in memory before") {
  for (const Row& row : rows()) {
    CAPTURE(row.name);
    const auto run = [&](double before) {
      Tape tape;
      Rng rng(23);
      Vars v;
      for (const Shape& s : row.shapes)
        v.push_back(tape.parameter(rng.uniform(s, row.low, row.high)));
      fill_memory(before);
      const Var y = row.f(v);
      v.push_back(tape.parameter(rng.normal(y.shape())));
      std::vector<Tensor> all = {y.value()};
      fill_memory(before);
      const Var slopes = vjp_of(row.f)(v);
      all.push_back(slopes.value());
      fill_memory(before);
      const Gradients bend = backward(slopes);
      for (const Var& x : v) all.push_back(bend[x]);
      return all;
    };
    CHECK(run(kNan) == run(7));
  }
}

TEST_CASE("NaN and infinity come through") {
  const Tensor odd{kNan, kInf, -kInf};
  for (const auto& f : std::vector<Function>{
           [](const Vars& v) { return relu(v[0]); }, [](const Vars& v) { return softplus(v[0]); },
           [](const Vars& v) { return clip(v[0], -1, 1); }, [](const Vars& v) { return abs(v[0]); },
           [](const Vars& v) { return max(v[0]); },
           [](const Vars& v) { return maximum(v[0], v[0]); }})
    CHECK(std::isnan(value(f, {odd}).data()[0]));
  CHECK(value([](const Vars& v) { return relu(v[0]); }, {odd}).data()[1] == kInf);
  CHECK(value([](const Vars& v) { return relu(v[0]); }, {odd}).data()[2] == 0);
  CHECK(value([](const Vars& v) { return maximum(v[0], v[0]); }, {odd}).data()[1] == kInf);
  for (const auto& f : std::vector<Function>{[](const Vars& v) { return maximum(v[0], v[1]); },
                                             [](const Vars& v) { return minimum(v[0], v[1]); }}) {
    const Tensor y = value(f, {Tensor{kNan, 1}, Tensor{1, kNan}});
    CHECK(std::isnan(y.data()[0]));
    CHECK(std::isnan(y.data()[1]));
  }
}

TEST_CASE("infinities that were asked for are no anomaly, and what is one is named beside them") {
  Tape tape;
  tape.detect_anomaly = true;
  const Var l = tape.parameter(Tensor{{0.5, 2, -1}}, "l"), x = tape.parameter(Tensor{1}, "x");
  Rng rng(2);
  const auto cost = [](Var z) { return sum(z * Tensor{1, 2, 4}, -1); };
  const Var masked = softmax(where(Tensor{1, 0, 0}, -kInf, l));
  backward(cost(masked));
  backward(maximum(l, -kInf) + minimum(l, kInf));
  for (const std::string& name : top_k_rule_names()) {
    CAPTURE(name);
    const Rule rule = top_k_rule_named(name);
    const Method method(rule, 4, 2);
    backward(method(l, cost, rng));
  }
  backward(expectation(l, 2, cost));
  backward(top_k_log_prob(l, tape.constant(Tensor{{1, 0, 1}})));
  backward(plackett_luce_log_prob(l, {2, 0}));
  const Categorical p(where(Tensor{1, 0, 0}, -kInf, l)), q(where(Tensor{1, 0, 0}, -kInf, 2 * l));
  backward(p.kl(q));
  backward(p.entropy());
  tape.detect_anomaly = false;
  const std::vector<StopLine> lines = stop_report(cost(masked) + log(x - 1), {l, x});
  CHECK(lines[1].words.find("log: node") != std::string::npos);
}

TEST_CASE("stop_gradient passes the value on, and nothing back") {
  Tape tape;
  const Var x = tape.parameter(Tensor{2, 3});
  CHECK(backward(x * stop_gradient(x))[x] == Tensor{2, 3});
  CHECK(stop_gradient(x).value() == Tensor{2, 3});
}

TEST_CASE("impossible categories, 0 to the 0, and far logits give no NaN") {
  Tape tape;
  const Var l = tape.parameter(Tensor{0, -kInf, 1}), m = tape.parameter(Tensor{1, -kInf, 1});
  const Var t = tape.constant(Tensor{1, 0, 0}), b = tape.constant(Tensor{1, 2, 3});
  const auto clean = [&](Var cost) {
    const Gradients g = backward(cost);
    for (Scalar v : g[l]) CHECK(std::isfinite(v));
    const Gradients again = backward(square(differentiate(cost, l)[0]));
    for (Scalar v : again[l]) CHECK(std::isfinite(v));
    CHECK(std::isfinite(cost.item()));
  };
  clean(cross_entropy(l, t));
  clean(cross_entropy(l, {2}));
  CHECK(cross_entropy(l, t).item() == doctest::Approx(cross_entropy(l, {0}).item()));
  clean(kl_categorical(l, m));
  clean(kl_categorical_uniform(l));
  clean(expectation(l, [&](Var z) { return sum(z * b, -1); }));
  CHECK(kl_categorical(m, tape.constant(Tensor{-kInf, 1, 1})).item() == kInf);
  CHECK(pow(tape.constant(Tensor{0, 2}), tape.constant(Tensor{0, 0})).value() == Tensor{1, 1});
  const Var zero = tape.parameter(Tensor{0.0});
  CHECK(backward(pow(zero, tape.constant(Tensor{1.0})))[zero] == Tensor{1.0});
  for (double far : {-800.0, 800.0}) {
    const Var x = tape.parameter(Tensor{far});
    const Var slope = differentiate(bce_with_logits(x, zero), x)[0];
    CHECK(backward(slope)[x] == Tensor{0.0});
  }
  CHECK(std::isnan(max_pool2d(tape.constant(tensor({1, 1, 2, 2}, {1, kNan, 0, 0})), 2).item()));
}

TEST_CASE("ties and kinks follow the stated rules") {
  Tape tape;
  const Var x = tape.parameter(Tensor{0, 0}), y = tape.parameter(Tensor{0, 1});
  const Gradients g = backward({relu(x), abs(x)});
  CHECK(g[x] == Tensor{0, 0});
  const Gradients h = backward(maximum(x, y));
  CHECK(h[x] == Tensor{0.5, 0});
  CHECK(h[y] == Tensor{0.5, 1});
  const Var ties = tape.parameter(Tensor{{1, 3, 3}, {2, 2, 2}});
  CHECK(backward(max(ties, 1))[ties] == Tensor{{0, 1, 0}, {1, 0, 0}});
  CHECK(backward(min(ties, 1))[ties] == Tensor{{1, 0, 0}, {1, 0, 0}});
  CHECK(backward(clip(ties, 2, 3))[ties] == Tensor{{0, 1, 1}, {1, 1, 1}});
  // 0 to the 0, 1 and 2, in numbers and in Vars.
  const Var a = tape.parameter(zeros({3})), b = tape.parameter(Tensor{0, 1, 2}), power = pow(a, b);
  const Gradients p = backward(power);
  const std::vector<Var> recorded = differentiate(power, {a, b});
  CHECK(p[a] == Tensor{0, 1, 0});
  CHECK(p[b] == Tensor{-kInf, 0, 0});
  CHECK(recorded[0].value() == p[a]);
  CHECK(recorded[1].value() == p[b]);
  const Var minus = tape.parameter(Tensor{-2}), zeroth = tape.parameter(Tensor{0});
  CHECK(backward(differentiate(pow(minus, zeroth), minus)[0])[zeroth] == Tensor{-0.5});
}

TEST_CASE("reductions of nothing, of large numbers, and of -inf alone") {
  CHECK(value([](const Vars& v) { return sum(v[0], 1); }, {zeros({2, 0})}) == Tensor{0, 0});
  check_close(value([](const Vars& v) { return logsumexp(v[0]); }, {Tensor{1000, 1000}}),
              full({}, 1000 + std::log(2.0)));
  CHECK(value([](const Vars& v) { return logsumexp(v[0]); }, {Tensor{-kInf, -kInf}}).data()[0] ==
        -kInf);
}

TEST_CASE("reductions of rows of every length, among NaN and infinities") {
  const auto of = [](Var (*f)(Var, const Axes&, KeepAxes), const Tensor& x) {
    return value([f](const Vars& v) { return f(v[0], {1, 2}, KeepAxes::no); }, {x});
  };
  for (std::size_t k : std::vector<std::size_t>{1, 2, 3, 7, 8, 9, 16, 23, 257, 700, 1600}) {
    CAPTURE(k);
    const std::size_t rows = 5;
    Tensor x = Rng(k).normal({rows, k, 1}) * 3.0;
    Tensor total = zeros({rows}), low = full({rows}, kInf), high = -low, logs = total, var = total;
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t i = 0; i < k; ++i) {
        const double v = x(r, i, 0);
        total(r) += v;
        low(r) = std::min(low(r), v);
        high(r) = std::max(high(r), v);
        logs(r) += std::exp(v);
      }
      for (std::size_t i = 0; i < k; ++i) {
        const double d = x(r, i, 0) - total(r) / static_cast<double>(k);
        var(r) += d * d / static_cast<double>(k);
      }
      logs(r) = std::log(logs(r));
    }
    check_close(of(sum, x), total, 1e-11);
    CHECK(of(min, x) == low);
    CHECK(of(max, x) == high);
    check_close(of(logsumexp, x), logs);
    check_close(of(variance, x), var);
    // A row's neighbours do not count, whatever they hold.
    x(1, k - 1, 0) = kNan;
    x(3, k / 2, 0) = kInf;
    const Tensor sums = of(sum, x), least = of(min, x), most = of(max, x), log = of(logsumexp, x);
    for (std::size_t r : {std::size_t{0}, std::size_t{2}, std::size_t{4}}) {
      CHECK(sums(r) == doctest::Approx(total(r)).epsilon(1e-11));
      CHECK(least(r) == low(r));
      CHECK(most(r) == high(r));
      CHECK(log(r) == doctest::Approx(logs(r)));
    }
    for (const Tensor& t : {sums, least, most, log}) CHECK(std::isnan(t(1)));
    CHECK((sums(3) == kInf && most(3) == kInf && log(3) == kInf));
    // NaN beside an infinity; and equal numbers, of which the first counts.
    if (k == 1) continue;
    x(3, 0, 0) = kNan;
    CHECK(std::isnan(of(logsumexp, x)(3)));
    CHECK((std::isnan(of(max, x)(3)) && std::isnan(of(min, x)(3))));
    Tape tape;
    Tensor ties = zeros({2, k});
    ties(0, 0) = -1, ties(1, 0) = 1;
    const Var t = tape.parameter(ties);
    const Gradients g = backward({max(t, 1), min(t, 1)});
    CHECK((g[t](0, 0) == 1 && g[t](0, 1) == 1 && g[t](1, 0) == 1 && g[t](1, 1) == 1));
  }
  CHECK(value([](const Vars& v) { return max(v[0]); }, {full({40}, -kInf)}).data()[0] == -kInf);
  CHECK(value([](const Vars& v) { return logsumexp(v[0]); }, {full({40}, -kInf)}).data()[0] ==
        -kInf);
}

TEST_CASE("softmax does not overflow, and -inf is a category of probability 0") {
  check_close(value([](const Vars& v) { return softmax(v[0]); }, {Tensor{1000, 1001, -kInf}}),
              Tensor{1 / (1 + std::exp(1.0)), 1 / (1 + std::exp(-1.0)), 0});
  check_close(value([](const Vars& v) { return log_softmax(v[0]); }, {Tensor{-1000, 0}}),
              Tensor{-1000, 0});
  const Tensor near = Rng(6).normal({2, 700});  // a long row too
  for (Var (*f)(Var) : {+[](Var l) { return softmax(l); }, +[](Var l) { return log_softmax(l); },
                        +[](Var l) { return argmax(l, gumbel_softmax(0.5)); }})
    check_close(value([f](const Vars& v) { return f(v[0]); }, {near + 1024}),
                value([f](const Vars& v) { return f(v[0]); }, {near}));
  check_close(value([](const Vars& v) { return bce_with_logits(v[0], v[1]); },
                    {Tensor{1000, -1000, 0}, Tensor{1, 0, 0.5}}),
              Tensor{0, 0, std::log(2.0)});
}

TEST_CASE("a row without a softmax: NaN, and where it is left out it passes nothing back") {
  const Tensor one_hot_rows = Tensor{{1, 0, 0}, {0, 1, 0}};
  const std::vector<std::pair<const char*, std::function<Var(Var)>>> all = {
      {"softmax",
       [](Var l) {
         return sum(softmax(l) * l.tape->constant(Tensor{1, 2, 4}), -1);
       }},
      {"log_softmax",
       [](Var l) {
         return sum(log_softmax(l) * l.tape->constant(Tensor{1, 2, 4}), -1);
       }},
      {"cross_entropy",
       [](Var l) {
         return cross_entropy(l, {0, 1});
       }},
      {"cross_entropy soft",
       [&](Var l) { return cross_entropy(l, l.tape->constant(one_hot_rows)); }},
      {"kl_categorical", [](Var l) { return kl_categorical(l, l.tape->constant(zeros({3}))); }},
      {"kl_categorical of the second",
       [](Var l) {
         return kl_categorical(l.tape->constant(zeros({2, 3})), l);
       }},
      {"kl_categorical_uniform", [](Var l) { return kl_categorical_uniform(l); }}};
  for (const auto& op : all)
    for (double bad : {-kInf, kInf, kNan}) {
      const auto& f = op.second;
      CAPTURE(std::string(op.first));
      CAPTURE(bad);
      Tape tape;
      const Var l = tape.parameter(Tensor{{bad, bad, bad}, {1, 2, 4}});
      const Var cost = f(l), used = where(tape.constant(Tensor{0, 1}), cost, 0.0);
      CHECK(std::isnan(cost.value()(0)));
      const Tensor g = backward(used)[l], recorded = differentiate(used, l)[0].value();
      CHECK(g == recorded);
      const Tensor alone = [&] {
        const Var row = tape.parameter(Tensor{{1, 2, 4}, {1, 2, 4}});
        return backward(f(row))[row];
      }();
      for (std::size_t k = 0; k < 3; ++k) {
        CHECK(g(0, k) == 0);
        CHECK(g(1, k) == doctest::Approx(alone(1, k)));
      }
      // And what is used of it is no 0.
      const Tensor poisoned = backward(cost)[l];
      CHECK(std::isnan(poisoned(0, 0)));
    }
}

TEST_CASE("losses refuse operands of which neither has the result's shape") {
  Tape tape;
  const Var column = tape.constant(zeros({3, 1})), flat = tape.constant(zeros({3}));
  const std::string words =
      ": a is (3, 1), b is (3,); need one of the two shapes for the result, which is (3, 3)";
  const std::vector<std::pair<std::string, std::function<Var(Var, Var)>>> all = {
      {"squared_error", [](Var a, Var b) { return squared_error(a, b); }},
      {"bce_with_logits", [](Var a, Var b) { return bce_with_logits(a, b); }},
      {"cross_entropy", [](Var a, Var b) { return cross_entropy(a, b); }},
      {"kl_categorical", [](Var a, Var b) { return kl_categorical(a, b); }},
      {"kl_gaussian", [](Var a, Var b) { return kl_gaussian(a, b); }}};
  for (const auto& [name, f] : all)
    CHECK_THROWS_WITH_AS(f(column, flat), (name + words).c_str(), std::invalid_argument);
  CHECK(squared_error(tape.constant(zeros({2, 3})), flat).shape() == Shape{2, 3});
  // Number by number there are no shapes.
  const Var in_one = elementwise([](auto a, auto b) { return squared_error(a, b); }, flat, flat);
  CHECK(in_one.shape() == Shape{3});
}

TEST_CASE("divergences of normals in closed form; layer_norm has the mean and spread it is given") {
  // KL(N(1, 4) || N(0, 1)) = (4 + 1 - 1 - log 4) / 2; KL(N(1, 4) || N(3, 9)) = log(3/2) + (4 + 4) /
  // 18 - 1/2.
  check_close(value([](const Vars& v) { return kl_gaussian(v[0], v[1]); },
                    {Tensor{1.0}, Tensor{std::log(4.0)}}),
              full({}, (4 - std::log(4.0)) / 2));
  check_close(value([](const Vars& v) { return kl_gaussian(v[0], v[1], v[2], v[3]); },
                    {Tensor{1.0}, Tensor{std::log(4.0)}, Tensor{3.0}, Tensor{std::log(9.0)}}),
              full({}, std::log(1.5) + 8.0 / 18 - 0.5));
  const Tensor n = value([](const Vars& v) { return layer_norm(v[0], v[1], v[2], 1e-12); },
                         {Rng(5).normal({1, 4}), full({4}, 2), full({4}, 3)});
  double mean = 0, squares = 0;
  for (std::size_t k = 0; k < 4; ++k) mean += n.data()[k] / 4;
  for (std::size_t k = 0; k < 4; ++k) squares += (n.data()[k] - 3) * (n.data()[k] - 3) / 4;
  CHECK(mean == doctest::Approx(3));
  CHECK(squares == doctest::Approx(4));
}

TEST_CASE("layer_norm in one pass is what its formula says, for every shape of gain and bias") {
  Rng rng(12);
  for (std::size_t k : std::vector<std::size_t>{1, 3, 8, 13, 300})
    for (const auto& shapes : std::vector<std::pair<Shape, Shape>>{
             {{k}, {k}}, {{1, 1, k}, {1, k}}, {{}, {k}}, {{k}, {1, 1}}, {{}, {1}}}) {
      const Shape &gain = shapes.first, &bias = shapes.second;
      CAPTURE(k);
      CAPTURE(str(gain));
      const Tensor x = rng.normal({3, 2, k}), a = rng.normal(gain), b = rng.normal(bias);
      const Tensor found =
          value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {x, a, b});
      const Tensor expected = value(
          [](const Vars& v) {
            const Var scale = sqrt(variance(v[0], -1, keep_axes) + 1e-5);
            return (v[0] - mean(v[0], -1, keep_axes)) / scale * v[1] + v[2];
          },
          {x, a, b});
      check_close(found, expected);
    }
}

TEST_CASE("max pooling: the first of equal pixels gets the gradient, or the first NaN") {
  Tensor x0 = zeros({2, 3, 7, 19});
  Rng rng(3);
  for (Scalar& v : x0) v = static_cast<Scalar>(rng.below(3));  // many are equal
  x0(0, 1, 2, 3) = x0(0, 1, 3, 3) = x0(1, 2, 6, 18) = static_cast<Scalar>(kNan);
  x0(1, 1, 0, 0) = x0(1, 1, 0, 1) = x0(1, 1, 1, 0) = x0(1, 1, 1, 1) = -static_cast<Scalar>(kInf);
  for (const auto& [window, stride, padding] : {std::array<std::size_t, 3>{2, 2, 0},
                                                {3, 3, 0},
                                                {3, 1, 1},
                                                {2, 1, 1},
                                                {3, 2, 1},
                                                {2, 3, 0},
                                                {5, 1, 4},
                                                {1, 1, 0}}) {
    Tape tape;
    const Var x = tape.parameter(x0), y = max_pool2d(x, window, stride, padding);
    const Shape shape = y.shape();
    const Tensor g0 = Rng(4).normal(shape);
    Tensor expected = zeros(x0.shape());
    for (std::size_t n = 0; n < 2; ++n)
      for (std::size_t c = 0; c < 3; ++c)
        for (std::size_t i = 0; i < shape[2]; ++i)
          for (std::size_t j = 0; j < shape[3]; ++j) {
            Scalar* best = nullptr;
            Scalar most = 0;
            for (std::size_t a = i * stride; a < i * stride + window; ++a)
              for (std::size_t b = j * stride; b < j * stride + window; ++b) {
                if (a < padding || b < padding || a >= 7 + padding || b >= 19 + padding) continue;
                const Scalar v = x0(n, c, a - padding, b - padding);
                if (best && !(v > most) && !(std::isnan(v) && !std::isnan(most))) continue;
                best = &expected(n, c, a - padding, b - padding);
                most = v;
              }
            *best += g0(n, c, i, j);
            CHECK((y.value()(n, c, i, j) == most ||
                   (std::isnan(most) && std::isnan(y.value()(n, c, i, j)))));
          }
    const Var g = tape.constant(g0);
    const Tensor found = backward(y, {}, g)[x], recorded = differentiate(y, x, g)[0].value();
    for (std::size_t i = 0; i < expected.size(); ++i) {
      CHECK(found.data()[i] == doctest::Approx(expected.data()[i]));
      CHECK(recorded.data()[i] == doctest::Approx(expected.data()[i]));
    }
    // Added to what is there already.
    const Tensor twice = backward({y, 1.0 * x}, {}, {g, tape.constant(ones(x0.shape()))})[x];
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(twice.data()[i] == doctest::Approx(expected.data()[i] + 1));
  }
}

TEST_CASE("layer_norm goes over the axes that its gain or bias has") {
  Rng rng(31);
  const Tensor x = rng.normal({2, 3, 5}), gain = rng.normal({3, 5}), one = rng.normal({});
  const auto expected = [](Var x, Var gain, Var bias) {
    const Axes axes{-2, -1};
    const Var scale = sqrt(variance(x, axes, keep_axes) + 1e-5);
    return (x - mean(x, axes, keep_axes)) / scale * gain + bias;
  };
  for (const auto& both : std::vector<std::pair<Tensor, Tensor>>{
           {gain, gain + 1.0}, {gain, one}, {one, gain}, {reshaped(gain, {1, 3, 5}), gain}}) {
    const Tensor &a = both.first, &b = both.second;
    CAPTURE(str(a.shape()));
    check_close(value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); }, {x, a, b}),
                value([&](const Vars& v) { return expected(v[0], v[1], v[2]); }, {x, a, b}));
  }
  Tape tape;
  const auto of = [&](const Shape& shape) { return tape.constant(ones(shape)); };
  refuses(
      [&] {
        layer_norm(of({4, 4}), of({4, 1}), of({}));
      },
      "layer_norm: x is (4, 4), gain is (4, 1), bias is (); need of each one number, or the "
      "shape of x's last axes");
  refuses(
      [&] {
        layer_norm(of({2, 3, 5}), of({3, 5}), of({5}));
      },
      "layer_norm: x is (2, 3, 5), gain is (3, 5), bias is (5,); need of each one number, or "
      "the shape of x's last axes");
}

TEST_CASE("logsumexp among infinities: forbidden numbers get nothing, +inf all") {
  Tape tape;
  const Var x = tape.parameter(tensor({6, 3}, {-kInf, -kInf, -kInf, 0, -kInf, 0, kInf, 1, -kInf,
                                               kInf, 5, kInf, kNan, 0, 0, 1, 1, 1}));
  const Var y = logsumexp(x, 1);
  CHECK(y.value()(0) == -kInf);
  CHECK(y.value()(1) == doctest::Approx(std::log(2)));
  CHECK((y.value()(2) == kInf && y.value()(3) == kInf));
  const Var seed = tape.constant(Tensor{2, 2, 2, 2, 2, 0});
  const Tensor slope = backward(y, {}, seed)[x];
  const std::vector<double> expected = {0, 0, 0, 1, 0, 1, 2, 0, 0, 1, 0, 1};
  for (std::size_t i = 0; i < expected.size(); ++i) CHECK(slope.data()[i] == expected[i]);
  for (std::size_t k = 0; k < 3; ++k) CHECK((std::isnan(slope(4, k)) && slope(5, k) == 0));
  // A row left out, whatever it holds, gets nothing, at first and second order.
  const Var kept = tape.constant(Tensor{0, 1, 0, 0, 0, 1}),
            cost = where(kept, logsumexp(x, 1), 0.0);
  const Var first = differentiate(cost, x)[0];
  const Tensor second = backward(square(first))[x];
  for (std::size_t r = 0; r < 6; ++r)
    for (std::size_t k = 0; k < 3; ++k) {
      if (r == 1 || r == 5) continue;
      CHECK(first.value()(r, k) == 0);
      if (r != 4) CHECK(second(r, k) == 0);
    }
  for (std::size_t k = 0; k < 3; ++k) CHECK(std::isfinite(second(1, k)));
  const Var spread = where(kept, variance(x, 1), 0.0);
  const Gradients g = backward(spread);
  for (std::size_t k = 0; k < 3; ++k)
    CHECK((g[x](0, k) == 0 && g[x](3, k) == 0 && g[x](4, k) == 0));
  const Var number = tape.parameter(full({}, 3));
  CHECK(backward(logsumexp(number))[number] == full({}, 1));
}

TEST_CASE("norm against its definition; at 0 its gradient is 0") {
  const Tensor x = Rng(32).normal({3, 4, 5});
  Tensor expected = zeros({4});
  for (std::size_t i = 0; i < 60; ++i) expected(i / 5 % 4) += x.data()[i] * x.data()[i];
  for (Scalar& v : expected) v = std::sqrt(v);
  check_close(value([](const Vars& v) { return norm(v[0], {0, 2}); }, {x}), expected);
  Tape tape;
  const Var p = tape.parameter(Tensor{{0, 0}, {3, -4}, {0, 0}});
  const Gradients g = backward(norm(p, 1));
  CHECK(g[p] == Tensor{{0, 0}, {0.6, -0.8}, {0, 0}});
  CHECK(norm(p).value() == full({}, 5));
  const Var slope = differentiate(norm(p, 1), p)[0];
  const Gradients again = backward(square(slope - 1.0));
  for (Scalar v : again[p]) CHECK(std::isfinite(v));
  // What arrives at nothing is nothing, also where the norm is infinite.
  const Var far = tape.parameter(Tensor{{kInf, 1}, {3, 4}});
  const Tensor passed = backward(norm(far, 1), {}, tape.constant(Tensor{0, 1}))[far];
  CHECK(passed == Tensor{{0, 0}, {0.6, 0.8}});
  CHECK(norm(far, 1).value()(0) == kInf);
  CHECK(std::isnan(norm(tape.constant(Tensor{kNan, kInf})).item()));
}

TEST_CASE("sizes that callers give as negative numbers are refused before they are used") {
  const std::size_t minus_one = static_cast<std::size_t>(-1), half = std::size_t{1} << 63;
  Tape tape;
  const Var x = tape.constant(ones({1, 2, 4, 4})), w = tape.constant(ones({3, 2, 3, 3})),
            kernels = tape.constant(ones({2, 3, 3, 3}));
  for (std::size_t padding : {minus_one, minus_one - 1, half, half + 1, std::size_t{1} << 47}) {
    const std::string shown = std::to_string(static_cast<std::ptrdiff_t>(padding));
    CAPTURE(shown);
    CHECK_THROWS_WITH_AS(conv2d(x, w, 1, padding),
                         ("conv2d: padding is " + shown + "; need a number of pixels").c_str(),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(
        conv_transpose2d(x, kernels, 1, padding),
        ("conv_transpose2d: padding is " + shown + "; need a number of pixels").c_str(),
        std::invalid_argument);
    CHECK_THROWS_AS(conv_transpose2d(x, kernels, padding), std::invalid_argument);
    CHECK_THROWS_AS(max_pool2d(x, 2, 1, padding), std::invalid_argument);
    CHECK_THROWS_AS(avg_pool2d(x, padding, 1, padding - 1), std::invalid_argument);
    CHECK_THROWS_AS(conv2d(x, w, padding), std::invalid_argument);
    CHECK_THROWS_AS(max_pool2d(x, 2, padding), std::invalid_argument);
    CHECK_THROWS_AS(max_pool2d(x, padding), std::invalid_argument);
    CHECK_THROWS_AS(pad(x, padding, 1, 3), std::invalid_argument);
    CHECK_THROWS_AS(pad(x, 1, padding, 3), std::invalid_argument);
    CHECK_THROWS_AS(slice(x, padding, padding + 1), std::invalid_argument);
    CHECK_THROWS_AS(slice(x, 0, padding), std::invalid_argument);
    CHECK_THROWS_AS(take(x, {padding}), std::invalid_argument);
    CHECK_THROWS_AS(gather(x, {padding}, {1}), std::invalid_argument);
    CHECK_THROWS_AS(gather(x, {0}, {padding}), std::exception);
    CHECK_THROWS_AS(scatter(x, {0}, {padding}), std::exception);
    CHECK_THROWS_AS(one_hot({0, 1}, padding), std::length_error);
    CHECK_THROWS_AS(broadcast(w, {padding, 3, 2, 3, 3}), std::length_error);
    CHECK_THROWS_AS(reshape(x, {padding, 2}), std::exception);
    CHECK_THROWS_AS(zeros({padding, 3}), std::length_error);
  }
  // More than memory holds, though each number alone could be meant.
  const std::size_t much = std::size_t{1} << 40;
  CHECK_THROWS_AS(conv2d(x, w, 1, much), std::length_error);
  CHECK_THROWS_AS(conv2d(x, w, much, much), std::length_error);
  CHECK_THROWS_AS(conv_transpose2d(x, kernels, much), std::length_error);
  CHECK_THROWS_AS(conv_transpose2d(x, kernels, 1, much), std::invalid_argument);
  CHECK_THROWS_AS(max_pool2d(x, much, 1, much - 1), std::length_error);
  // A stride as long as one likes leaves one window, and one window has none beside it.
  CHECK(conv_transpose2d(tape.constant(ones({1, 1, 1, 1})), tape.constant(ones({1, 1, 2, 2})), much)
            .value() == ones({1, 1, 2, 2}));
  CHECK(conv2d(x, w, much).value() == full({1, 3, 1, 1}, 18));
  CHECK(max_pool2d(x, 2, much).value() == ones({1, 2, 1, 1}));
  const Var p = tape.parameter(ones({1, 1, 2, 3}));
  CHECK(backward(avg_pool2d(p, 2, much, 1))[p] == tensor({1, 1, 2, 3}, {1, 0, 0, 0, 0, 0}));
}

TEST_CASE("squares that overflow: layer_norm, variance and norm of numbers that do not") {
  const double huge = 1e200;
  check_close(value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); },
                    {Tensor{{-huge, huge}, {1, 2}}, ones({2}), zeros({2})}),
              value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); },
                    {Tensor{{-1e5, 1e5}, {1, 2}}, ones({2}), zeros({2})}),
              1e-9);
  for (double large : {1e160, 4.0}) {  // each row is measured by itself
    const Tensor rows{{1, 1.25, 1.5}, {large, 1.25 * large, 1.5 * large}};
    check_close(value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); },
                      {rows, ones({3}), zeros({3})}),
                value([](const Vars& v) { return layer_norm(v[0], v[1], v[2]); },
                      {Tensor{{1, 1.25, 1.5}, {100, 125, 150}}, ones({3}), zeros({3})}),
                1e-4);
  }
  Tape tape;
  const Var x = tape.parameter(Tensor{{1, 2, 4}, {1.5e308, -1.5e308, 0.3e308}});
  check_close(backward(variance(x, 1))[x] * 0.9,
              Tensor{{-0.8, -0.2, 1}, {0.84e308, -0.96e308, 0.12e308}});
  check_close(value([](const Vars& v) { return norm(v[0]); }, {Tensor{3 * huge, 4 * huge}}),
              full({}, 5 * huge));
  check_close(value([](const Vars& v) { return variance(v[0]); }, {Tensor{-1e154, 1e154, 0, 0}}),
              full({}, 0.5e308));
}

TEST_CASE("transposed convolution against plain loops, and as the convolution's transpose") {
  Rng rng(8);
  for (std::size_t stride = 1; stride <= 3; ++stride)
    for (std::size_t padding = 0; padding <= 2; ++padding)
      for (std::size_t planes : {std::size_t{3}, std::size_t{9}}) {
        CAPTURE(stride);
        CAPTURE(padding);
        const std::size_t n = 2, o = 4, h = 5, w = 4, u = 4, s = 3;
        const Tensor x = rng.normal({n, o, h, w}), k = rng.normal({o, planes, u, s});
        Tensor y = zeros(
            {n, planes, (h - 1) * stride + u - 2 * padding, (w - 1) * stride + s - 2 * padding});
        for (std::size_t b = 0; b < n; ++b)
          for (std::size_t e = 0; e < o; ++e)
            for (std::size_t i = 0; i < h; ++i)
              for (std::size_t j = 0; j < w; ++j)
                for (std::size_t d = 0; d < planes; ++d)
                  for (std::size_t p = 0; p < u; ++p)
                    for (std::size_t q = 0; q < s; ++q) {
                      // Above or left of the image the difference wraps around to something large.
                      const std::size_t r = i * stride + p - padding, t = j * stride + q - padding;
                      if (r < y.shape()[2] && t < y.shape()[3])
                        y(b, d, r, t) += x(b, e, i, j) * k(e, d, p, q);
                    }
        Tape tape;
        const Var vx = tape.parameter(x), vk = tape.parameter(k),
                  found = conv_transpose2d(vx, vk, stride, padding);
        check_close(found.value(), y, 1e-11);
        // <conv_transpose2d(x, k), a> = <x, conv2d(a, k)> for any images a, as the sweep has it.
        const Var a = tape.parameter(rng.normal(y.shape())), forth = conv2d(a, vk, stride, padding);
        CHECK(sum(found * a).item() == doctest::Approx(sum(vx * forth).item()));
        check_close(backward(found, {}, a)[vx], forth.value());
        CHECK(identical(backward(forth, {}, vx)[a], found.value()));
      }
}

TEST_CASE("average pooling and its gradient, for images wider than a register") {
  struct Case {
    std::size_t window, stride, padding;
  };
  const std::vector<Case> cases = {{3, 1, 1}, {5, 1, 2}, {5, 1, 4}, {3, 2, 1}, {2, 1, 1},
                                   {3, 3, 2}, {4, 2, 3}, {2, 2, 0}, {3, 1, 0}};
  for (const std::size_t w : {std::size_t{17}, std::size_t{19}})
    for (const Case& c : cases) {
      CAPTURE(w);
      CAPTURE(c.window);
      CAPTURE(c.stride);
      CAPTURE(c.padding);
      Rng rng(11);
      const Tensor x0 = rng.normal({2, 3, 7, w});
      const std::size_t oh = (7 + 2 * c.padding - c.window) / c.stride + 1,
                        ow = (w + 2 * c.padding - c.window) / c.stride + 1;
      const Tensor g0 = rng.normal({2, 3, oh, ow});
      Tensor y0 = zeros({2, 3, oh, ow}), dx = zeros({2, 3, 7, w});
      for (std::size_t n = 0; n < 2; ++n)
        for (std::size_t d = 0; d < 3; ++d)
          for (std::size_t i = 0; i < oh; ++i)
            for (std::size_t j = 0; j < ow; ++j) {
              std::vector<std::pair<std::size_t, std::size_t>> pixels;
              for (std::size_t a = i * c.stride; a < i * c.stride + c.window; ++a)
                for (std::size_t b = j * c.stride; b < j * c.stride + c.window; ++b)
                  if (a >= c.padding && b >= c.padding && a < 7 + c.padding && b < w + c.padding)
                    pixels.emplace_back(a - c.padding, b - c.padding);
              const auto count = static_cast<double>(pixels.size());
              for (const auto& [a, b] : pixels) {
                y0(n, d, i, j) += x0(n, d, a, b) / count;
                dx(n, d, a, b) += g0(n, d, i, j) / count;
              }
            }
      Tape tape;
      const Var x = tape.parameter(x0), y = avg_pool2d(x, c.window, c.stride, c.padding),
                g = tape.constant(g0);
      check_close(y.value(), y0);
      check_close(backward(y, {}, g)[x], dx);
      check_close(differentiate(y, x, g)[0].value(), dx);
      // Added to what is there already.
      check_close(backward({y, 1.0 * x}, {}, {g, tape.constant(ones(x0.shape()))})[x], dx + 1.0);
    }
}

TEST_CASE("convolution and its gradients against plain loops, for images of every size") {
  struct Case {
    Shape x, w;
    std::size_t stride, padding;
  };
  const std::vector<Case> cases = {
      {{2, 1, 28, 28}, {4, 1, 5, 5}, 1, 0},    {{2, 8, 8, 8}, {16, 8, 3, 3}, 1, 1},
      {{2, 16, 8, 8}, {3, 16, 5, 5}, 1, 2},    {{1, 9, 12, 12}, {33, 9, 3, 3}, 1, 1},
      {{3, 10, 4, 4}, {17, 10, 1, 1}, 1, 0},   {{2, 8, 9, 11}, {9, 8, 3, 3}, 2, 1},
      {{2, 3, 11, 9}, {5, 3, 2, 4}, 3, 2},     {{1, 16, 40, 38}, {3, 16, 3, 3}, 1, 1},
      {{1, 16, 81, 78}, {18, 16, 3, 3}, 2, 0}, {{2, 8, 3, 1}, {2, 8, 3, 1}, 1, 0},
      {{1, 12, 1, 200}, {2, 12, 1, 7}, 1, 0},  {{1, 2, 3, 3}, {2, 2, 2, 2}, 1, 4}};
  for (const Case& c : cases) {
    CAPTURE(str(c.x));
    CAPTURE(str(c.w));
    Rng rng(13);
    const Tensor x = rng.normal(c.x), w = rng.normal(c.w);
    const std::size_t oh = (c.x[2] + 2 * c.padding - c.w[2]) / c.stride + 1,
                      ow = (c.x[3] + 2 * c.padding - c.w[3]) / c.stride + 1;
    const Tensor u = rng.normal({c.x[0], c.w[0], oh, ow});
    Tensor y = zeros(u.shape()), dx = zeros(c.x), dw = zeros(c.w);
    for (std::size_t n = 0; n < c.x[0]; ++n)
      for (std::size_t d = 0; d < c.x[1]; ++d)
        for (std::size_t i = 0; i < oh; ++i)
          for (std::size_t j = 0; j < ow; ++j)
            for (std::size_t a = 0; a < c.w[2]; ++a)
              for (std::size_t b = 0; b < c.w[3]; ++b) {
                // Above or left of the image the difference wraps around to something large.
                const std::size_t p = i * c.stride + a - c.padding,
                                  q = j * c.stride + b - c.padding;
                if (p >= c.x[2] || q >= c.x[3]) continue;
                for (std::size_t o = 0; o < c.w[0]; ++o) {
                  y(n, o, i, j) += x(n, d, p, q) * w(o, d, a, b);
                  dx(n, d, p, q) += u(n, o, i, j) * w(o, d, a, b);
                  dw(o, d, a, b) += u(n, o, i, j) * x(n, d, p, q);
                }
              }
    Tape tape;
    const Var vx = tape.parameter(x), vw = tape.parameter(w);
    const Var found = conv2d(vx, vw, c.stride, c.padding);
    CHECK(farthest(found.value(), y) <= 1e-11);
    const Gradients g = backward(found * tape.constant(u));
    CHECK(farthest(g[vx], dx) <= 1e-11);
    CHECK(farthest(g[vw], dw) <= 1e-11);
    // Added to what is there already, and the same with two threads.
    const Gradients more = backward({found * tape.constant(u), sum(vx), sum(vw)});
    CHECK(farthest(more[vx], dx + 1.0) <= 1e-11);
    CHECK(farthest(more[vw], dw + 1.0) <= 1e-11);
    set_threads(2);
    const Var again = conv2d(vx, vw, c.stride, c.padding);
    const Gradients h = backward(again * tape.constant(u));
    set_threads(1);
    CHECK(identical(again.value(), found.value()));
    CHECK(identical(h[vx], g[vx]));
    CHECK(identical(h[vw], g[vw]));
  }
}

TEST_CASE("an infinite pixel makes of the kernels' gradient only what it stands beside infinite") {
  Rng rng(24);
  Tensor x = rng.normal({1, 1, 12, 12}), w = rng.normal({8, 1, 3, 3});
  x(0, 0, 0, 0) = kInf;
  Tape tape;
  const Var p = tape.constant(x), q = tape.parameter(w);
  const Tensor found = backward(conv2d(p, q, 1, 1))[q];
  for (std::size_t o = 0; o < 8; ++o)
    for (std::size_t u = 0; u < 3; ++u)
      for (std::size_t v = 0; v < 3; ++v) {
        double expected = 0;
        for (std::size_t i = 0; i < 12; ++i)
          for (std::size_t j = 0; j < 12; ++j)
            if (i + u >= 1 && i + u <= 12 && j + v >= 1 && j + v <= 12)
              expected += x(0, 0, i + u - 1, j + v - 1);
        if (std::isfinite(expected))
          CHECK(found(o, 0, u, v) == doctest::Approx(expected));
        else
          CHECK(found(o, 0, u, v) == expected);
      }
}

TEST_CASE("an infinite weight makes of the images' gradient only what it stood on infinite") {
  Rng rng(25);
  for (std::size_t planes : {std::size_t{1}, std::size_t{9}})
    for (std::size_t stride : {std::size_t{1}, std::size_t{2}}) {
      Tensor w = xt::abs(rng.normal({2, planes, 3, 3}));
      w(0, 0, 1, 1) = kInf;
      Tape tape;
      const Var p = tape.parameter(rng.normal({1, planes, 7, 7})),
                y = conv2d(p, tape.constant(w), stride);
      const Tensor found = backward(y)[p];
      for (std::size_t i = 0; i < 7; ++i)
        for (std::size_t j = 0; j < 7; ++j) {
          CAPTURE(i);
          CAPTURE(j);
          double expected = 0;
          for (std::size_t o = 0; o < 2; ++o)
            for (std::size_t a = 0; a < 3; ++a)
              for (std::size_t b = 0; b < 3; ++b)
                if (i >= a && j >= b && (i - a) % stride == 0 && (j - b) % stride == 0 &&
                    (i - a) / stride < y.shape()[2] && (j - b) / stride < y.shape()[3])
                  expected += w(o, 0, a, b);
          if (std::isfinite(expected))
            CHECK(found(0, 0, i, j) == doctest::Approx(expected));
          else
            CHECK(found(0, 0, i, j) == expected);
        }
    }
}

TEST_CASE("matrix products cut among threads against plain loops: along rows, columns, a vector") {
  Rng rng(21);
  for (const Shape& s : {Shape{601, 33, 41}, {33, 601, 41}, {601, 1, 1001}, {1, 601, 1001}}) {
    CAPTURE(str(s));
    const std::size_t n = s[0], m = s[1], k = s[2];
    const Tensor a = rng.normal({n, k}), b = rng.normal({k, m}), g = rng.normal({n, m});
    Tensor y = zeros({n, m}), to_a = zeros({n, k}), to_b = zeros({k, m});
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < m; ++j)
        for (std::size_t l = 0; l < k; ++l) {
          y(i, j) += a(i, l) * b(l, j);
          to_a(i, l) += g(i, j) * b(l, j);
          to_b(l, j) += g(i, j) * a(i, l);
        }
    std::vector<Tensor> alone;
    for (int threads : {1, 2, 3, 7}) {
      set_threads(threads);
      Tape tape;
      const Var p = tape.parameter(a), q = tape.parameter(b), product = matmul(p, q);
      const Gradients gradients = backward(product, {}, tape.constant(g));
      set_threads(1);
      const std::vector<Tensor> found = {product.value(), gradients[p], gradients[q]},
                                plain = {y, to_a, to_b};
      if (threads == 1) alone = found;
      for (std::size_t i = 0; i < 3; ++i) {
        check_close(found[i], plain[i]);
        CHECK(identical(found[i], alone[i]));
      }
    }
  }
}

TEST_CASE("sums cut among threads against plain loops: along each axis, and of all") {
  const std::size_t n = 3, m = 20000, k = 5;
  const Tensor x = Rng(22).normal({n, m, k});
  Tensor over_n = zeros({1, m, k}), over_m = zeros({n, 1, k}), over_k = zeros({n, m, 1}),
         all = zeros({1, 1, 1});
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < m; ++j)
      for (std::size_t l = 0; l < k; ++l) {
        over_n(0, j, l) += x(i, j, l);
        over_m(i, 0, l) += x(i, j, l);
        over_k(i, j, 0) += x(i, j, l);
        all(0, 0, 0) += x(i, j, l);
      }
  for (int threads : {1, 2, 3}) {
    set_threads(threads);
    for (const Tensor* expected : {&over_n, &over_m, &over_k, &all})
      CHECK(farthest(sum_to(x, expected->shape()), *expected) < 1e-9);
  }
  set_threads(1);
}

TEST_CASE("squared distances and their gradients against plain loops, whoever is far away") {
  Rng rng(21);
  const std::vector<std::size_t> rows{1, 2, 3, 4, 5, 9}, centres{1, 3, 4, 5, 8, 11},
      lengths{1, 7, 8, 9, 16, 33};
  for (std::size_t n : rows)
    for (std::size_t k : centres)
      for (std::size_t d : lengths) {
        const Tensor x = 1e6 + rng.uniform({n, d}), c = 1e6 + rng.uniform({k, d});
        Tensor g = rng.normal({n, k}), y = zeros({n, k}), dx = zeros({n, d}), dc = zeros({k, d});
        for (std::size_t i = 0; i < n; ++i) g(i, i % k) = i % 2 ? 1 : 0;  // which is skipped
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < k; ++j)
            for (std::size_t t = 0; t < d; ++t) {
              const double difference = x(i, t) - c(j, t);
              y(i, j) += difference * difference;
              dx(i, t) += 2 * g(i, j) * difference;
              dc(j, t) -= 2 * g(i, j) * difference;
            }
        Tape tape;
        const Var p = tape.parameter(x), q = tape.parameter(c), found = squared_distances(p, q);
        check_close(found.value(), y);
        const Gradients gradients = backward(found, {}, tape.constant(g));
        CHECK(farthest(gradients[p], dx) < 1e-12);
        CHECK(farthest(gradients[q], dc) < 1e-12);
        const std::vector<Var> recorded = differentiate(found, {p, q}, tape.constant(g));
        CHECK(farthest(recorded[0].value(), dx) < 1e-12);
        CHECK(farthest(recorded[1].value(), dc) < 1e-12);
      }
  // Where nothing arrives nothing goes back, from whoever is infinitely far.
  Tape tape;
  const Var far = tape.parameter(Tensor{{kInf}, {1}}), near = tape.parameter(Tensor{{0}, {3}});
  const Var weight = tape.constant(Tensor{{0, 0}, {1, 1}});
  const Gradients there = backward(squared_distances(far, near), {}, weight);
  CHECK(there[far] == Tensor{{0}, {-2}});
  CHECK(there[near] == Tensor{{-2}, {4}});
  // The same bit for bit for any number of threads.
  const Tensor x = rng.uniform({2001, 40}), c = rng.uniform({21, 40}), g = rng.normal({2001, 21});
  Tensor first[3];
  for (int threads : {1, 2, 3}) {
    set_threads(threads);
    Tape tape;
    const Var p = tape.parameter(x), q = tape.parameter(c), found = squared_distances(p, q);
    const Gradients gradients = backward(found, {}, tape.constant(g));
    if (threads == 1) first[0] = found.value(), first[1] = gradients[p], first[2] = gradients[q];
    CHECK(identical(found.value(), first[0]));
    CHECK(identical(gradients[p], first[1]));
    CHECK(identical(gradients[q], first[2]));
  }
  set_threads(1);
}

TEST_CASE("each op refuses shapes, axes and numbers that do not fit, in its own name") {
  Tape tape;
  const Var m = tape.constant(zeros({2, 3})), v = tape.constant(zeros({3})),
            e = tape.constant(zeros({2, 0})), n = tape.constant(1.0),
            x = tape.constant(zeros({1, 2, 4, 4})), w = tape.constant(zeros({1, 3, 3, 3}));
  refuses([&] { m* tape.constant(zeros({2})); },
          "multiply: a is (2, 3), b is (2,); need equal lengths, or 1, on each axis, counted from "
          "the last");
  refuses(
      [&] { m + tape.constant(zeros({2})); },
      "add: a is (2, 3), b is (2,); need equal lengths, or 1, on each axis, counted from the last");
  refuses([&] { clip(m, 1, 0); }, "clip: low is 1, high is 0; need low <= high");
  refuses([&] { sum(m, 2); }, "sum: axis 2 of (2, 3); need -2..1");
  refuses([&] { sum(m, {0, -2}); }, "sum: axis -2 of (2, 3) is given twice; need each once");
  refuses([&] { mean(e, 1); },
          "mean: x is (2, 0), empty along the axes; need at least one element");
  refuses(
      [&] {
        squared_distances(m, tape.constant(zeros({2, 2})));
      },
      "squared_distances: x is (2, 3), centres are (2, 2); need (n, d) and (k, d)");
  refuses([&] { squared_distances(v, m); },
          "squared_distances: x is (3,), centres are (2, 3); need (n, d) and (k, d)");
  refuses([&] { max(e, 1); }, "max: x is (2, 0), empty along the axes; need at least one element");
  refuses([&] { logsumexp(e); },
          "logsumexp: x is (2, 0), empty along the axes; need at least one element");
  refuses([&] { reshape(m, {4}); }, "reshape: x is (2, 3); cannot become (4,)");
  refuses([&] { transpose(m, {0}); }, "transpose: 1 axes for (2, 3); need each axis once");
  refuses([&] { transpose(m, {0, 0}); }, "transpose: 2 axes for (2, 3); need each axis once");
  refuses([&] { broadcast(m, {3, 3}); }, "broadcast: x is (2, 3); does not stretch to (3, 3)");
  refuses(
      [&] {
        concatenate({m, v});
      },
      "concatenate: part 1 is (3,), part 0 is (2, 3); need equal lengths on all axes but 0");
  refuses([&] { stack({m, v}); }, "stack: part 1 is (3,), part 0 is (2, 3); need equal shapes");
  refuses([&] { concatenate({}); }, "concatenate: no input given; need at least one");
  CHECK(expand_dims(m, 0).shape() == Shape{1, 2, 3});
  CHECK(expand_dims(m, -1).shape() == Shape{2, 3, 1});
  CHECK(squeeze(expand_dims(m, 1), 1).value() == m.value());
  CHECK(sum(m, 0).value() == sum(m, {0}).value());
  CHECK(sum(m, -1, keep_axes).shape() == Shape{2, 1});
  refuses([&] { squeeze(m, 1); }, "squeeze: axis 1 of (2, 3); need length 1");
  refuses([&] { expand_dims(m, 3); }, "expand_dims: axis 3 of (1, 1, 1); need -3..2");
  refuses([&] { slice(m, 2, 4, 1); }, "slice: 2..4 of axis 1 of (2, 3); need begin <= end <= 3");
  refuses([&] { take(m, {3}, 1); }, "take: index 3 on axis 1 of (2, 3); need less than 3");
  refuses([&] { gather(m, {6}, {1}); }, "gather: index 6 into (2, 3); need less than 6");
  refuses([&] { scatter(v, {0}, {2}); }, "scatter: 1 indices for (3,); need 3");
  refuses([&] { one_hot({3}, 3); }, "one_hot: label 3 at 0; need less than 3");
  refuses([&] { matmul(m, m); },
          "matmul: a is (2, 3), b is (2, 3); need (..., n, k) and (..., k, m), or (k,) for either");
  refuses(
      [&] {
        matmul_transposed(m, tape.constant(zeros({3, 2})));
      },
      "matmul_transposed: a is (2, 3), b is (3, 2); need (..., n, k) and (..., m, k)");
  refuses(
      [&] {
        matmul_transposed(tape.constant(zeros({2, 2, 3})), tape.constant(zeros({3, 2, 3})));
      },
      "matmul_transposed: a is (2,), b is (3,); need equal lengths, or 1, on each axis, counted "
      "from the last");
  refuses([&] { dense(m, m, v); },
          "dense: x is (2, 3), w is (2, 3), b is (3,); need (..., n, k), (k, m) and (m,)");
  refuses([&] { outer(m, v); }, "outer: a is (2, 3), b is (3,); need (n,) and (m,)");
  const std::size_t many = std::size_t{1} << 32;
  for (const Shape& s : {Shape{many, 0, 0}, {0, many, 0}, {0, 0, many}}) {
    const std::string what = "matmul: " + str(Shape{s[0], s[1]}) + " times " +
                             str(Shape{s[1], s[2]}) + "; need lengths that BLAS can count";
    const Var a = tape.constant(zeros({s[0], s[1]})), b = tape.constant(zeros({s[1], s[2]}));
    CHECK_THROWS_WITH_AS(matmul(a, b), what.c_str(), std::length_error);
  }
  refuses([&] { dot(m, m); }, "dot: a is (2, 3), b is (2, 3); need (n,) and (n,)");
  refuses([&] { softmax(n); }, "softmax: axis -1 of (); a single number has no axes");
  refuses([&] { softmax_jacobian(m, v); },
          "softmax_jacobian: p is (2, 3), g is (3,); need the same shape, (..., K)");
  refuses([&] { relaxed_jacobian(m, v); },
          "relaxed_jacobian: x is (2, 3), g is (3,); need the same shape, (..., K)");
  refuses([&] { relaxed_jacobian(m, m, 1, n); },
          "relaxed_jacobian: noise is (), g is (2, 3); need the same shape, (..., K)");
  refuses([&] { log_softmax_vjp(n, n); },
          "log_softmax_vjp: y is (), g is (); need the same shape, (..., K)");
  refuses([&] { cross_entropy(m, {0}); },
          "cross_entropy: logits are (2, 3), labels are 1; need one label for each row");
  refuses([&] { cross_entropy(m, {0, 3}); }, "cross_entropy: label 3 in row 1; need less than 3");
  refuses([&] { cross_entropy(n, {0}); }, "cross_entropy: logits are (); need (..., K)");
  refuses([&] { layer_norm(m, v, v, 0); },
          "layer_norm: epsilon is 0; need more than 0, and finite");
  refuses([&] { layer_norm(e, n, n); },
          "layer_norm: x is (2, 0); need at least one number on the last axis");
  refuses([&] { conv2d(x, w); },
          "conv2d: x is (1, 2, 4, 4), w is (1, 3, 3, 3); need (N, C, H, W) and (O, C, h, w)");
  refuses(
      [&] {
        conv2d(x, tape.constant(zeros({1, 2, 5, 5})));
      },
      "conv2d: x is (1, 2, 4, 4) with padding (0, 0), the window is (5, 5); need a window of at "
      "least "
      "one pixel that fits in");
  refuses(
      [&] {
        conv2d(x, tape.constant(zeros({1, 2, 3, 0})));
      },
      "conv2d: x is (1, 2, 4, 4) with padding (0, 0), the window is (3, 0); need a window of at "
      "least "
      "one pixel that fits in");
  refuses(
      [&] {
        conv2d(x, tape.constant(zeros({1, 2, 3, 3})), 0);
      },
      "conv2d: stride is 0; need a number of pixels, at least 1");
  refuses([&] { conv_transpose2d(x, w); },
          "conv_transpose2d: x is (1, 2, 4, 4), w is (1, 3, 3, 3); need (N, O, H, W) and (O, C, h, "
          "w)");
  refuses(
      [&] {
        conv_transpose2d(x, tape.constant(zeros({2, 1, 3, 3})), 0);
      },
      "conv_transpose2d: stride is 0; need a number of pixels, at least 1");
  refuses(
      [&] {
        conv_transpose2d(x, tape.constant(zeros({2, 1, 0, 3})));
      },
      "conv_transpose2d: an axis of 4 pixels, the kernel's of 0; need at least one of each");
  refuses(
      [&] {
        conv_transpose2d(x, tape.constant(zeros({2, 1, 3, 3})), 1, 3);
      },
      "conv_transpose2d: an axis of 4 pixels comes out 6 long, with padding 3 at either end; "
      "need less padding");
  refuses([&] { max_pool2d(m, 2); }, "max_pool2d: x is (2, 3); need (N, C, H, W)");
  refuses([&] { avg_pool2d(x, 2, 1, 2); },
          "avg_pool2d: padding is 2, the window 2; need less padding than window");
  refuses([&] { where(m, tape.constant(zeros({2})), v); },
          "where: operands are (2, 3), (2,) and (3,); need shapes that broadcast");
  Tape other;
  refuses(
      [&] {
        m* other.constant(zeros({2, 3}));
      },
      "multiply: input 1 stands on another tape; need all on one tape");
  refuses(
      [&] {
        where(m, other.constant(zeros({2, 3})), m);
      },
      "where: input 1 stands on another tape; need all on one tape");
}

TEST_CASE("losses at the ends of the range have the values that mathematics gives") {
  constexpr double inf = std::numeric_limits<double>::infinity();
  Tape tape;
  const Var x = tape.parameter(Tensor{-inf, inf, -inf, inf}),
            y = bce_with_logits(x, tape.constant(Tensor{0, 1, 1, 0.25}));
  CHECK(y.value() == Tensor{0, 0, inf, inf});
  CHECK(backward(y)[x] == Tensor{0, 0, -1, 0.75});
  // Two Gaussians that are all but points.
  const Var m = tape.parameter(Tensor{{0, 1}}), v = tape.parameter(Tensor{{-1500, -1500}}),
            kl = kl_gaussian(m, v, m, v);
  CHECK(kl.value() == Tensor{0});
  CHECK(backward(kl)[m] == Tensor{{0, 0}});
  CHECK(backward(kl)[v] == Tensor{{0, 0}});
}

TEST_CASE("a mixture's weights: where nothing arrives an infinite output adds nothing") {
  Tape tape;
  const Var x = tape.parameter(Tensor{1, 2}), w = tape.parameter(Tensor{0.5, 0.5});
  const Var mixed = mixture(w, {[&] { return x; }, [&] { return log(x - 1); }});
  const Var y = sum(where(tape.constant(Tensor{0, 1}), mixed, 0.0));
  CHECK(backward(y)[w] == Tensor{2, 0});
  CHECK(differentiate(y, w)[0].value() == Tensor{2, 0});
}
