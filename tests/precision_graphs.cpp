// Compiled twice, for float and for double. The inputs are numbers that float holds exactly.
#include <cmath>

#include "models/argtape.hpp"
#include "tests/precision.hpp"

using namespace argtape;
using Vars = std::vector<Var>;

namespace {

Tensor input(std::uint64_t seed, const Shape& shape, double low = -1, double high = 1) {
  Tensor t = uninitialised(shape);
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto words =
        philox({static_cast<std::uint32_t>(i), 0, 0, 0}, {static_cast<std::uint32_t>(seed), 0});
    const double u = (words[0] >> 12) * 0x1p-20;
    t.data()[i] = static_cast<Scalar>(static_cast<float>(low + (high - low) * u));
  }
  return t;
}

// Gumbel noise that both libraries hold exactly.
Tensor gumbel(std::uint64_t seed, const Shape& shape) {
  Tensor t = input(seed, shape, 0, 1);
  for (Scalar& v : t)
    v = static_cast<Scalar>(
        static_cast<float>(-std::log(-std::log(static_cast<double>(v) * 0.999 + 0.0005))));
  return t;
}

struct Graph {
  const char* name;
  std::vector<Tensor> leaves;
  std::function<Var(const Vars&)> cost;
};

std::vector<std::size_t> labels(std::size_t n, std::size_t k) {
  std::vector<std::size_t> all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = i * 7 % k;
  return all;
}

std::vector<Graph> graphs() {
  return {{"network, cross-entropy",
           {input(1, {128, 200}), input(2, {200, 300}, -.1, .1), input(3, {300}),
            input(4, {300, 10}, -.1, .1), input(5, {10})},
           [](const Vars& v) {
             return mean(
                 cross_entropy(dense(relu(dense(v[0], v[1], v[2])), v[3], v[4]), labels(128, 10)));
           }},
          {"categorical autoencoder",
           {input(1, {50, 64}, 0, 1), input(2, {64, 60}, -.3, .3), input(3, {60}),
            input(4, {60, 64}, -.3, .3), input(5, {64})},
           [](const Vars& v) {
             Tape& tape = *v[0].tape;
             const Var l = reshape(dense(v[0], v[1], v[2]), {50, 6, 10});
             const Var z = sample(l, gumbel_softmax(0.7), tape.constant(gumbel(6, {50, 6, 10})));
             const Var x = dense(reshape(z, {50, 60}), v[3], v[4]);
             return sum(bce_with_logits(x, v[0])) / 50.0 + sum(kl_categorical_uniform(l)) / 50.0;
           }},
          {"hard choices",
           {input(1, {400, 30}, -3, 3), input(2, {30})},
           [](const Vars& v) {
             Tape& tape = *v[0].tape;
             const Var noise = tape.constant(gumbel(3, {400, 30}));
             Var total = tape.constant(0.0);
             for (const Rule& rule : {straight_through(), st_gumbel_softmax(0.8), reinmax(),
                                      score_function(leave_one_out())})
               total = total + square(sum(sample(v[0], rule, noise) * v[1], -1) - 0.3);
             return total;
           }},
          {"rows",
           {input(1, {300, 130}, -8, 8), input(2, {130}), input(3, {130})},
           [](const Vars& v) {
             return logsumexp(v[0], 1) + sum(softmax(v[0]) * v[1], 1) +
                    sum(log_softmax(v[0], 0) * v[1], 1) / 100.0 +
                    sum(square(layer_norm(v[0], v[1], v[2])), 1) + variance(v[0], 1) + max(v[0], 1);
           }},
          {"number by number",
           {input(1, {5000}, -4, 4), input(2, {5000}, 0.1, 4)},
           [](const Vars& v) {
             return tanh(v[0] * v[1]) + exp(v[0] / v[1] / 10.0) + log(v[1]) * sigmoid(v[0]) +
                    softplus(v[0]) * sqrt(v[1]) + pow(v[1], 1.7) + relu(v[0]) + square(v[0] - v[1]);
           }},
          {"one formula",
           {input(1, {40, 70}, -4, 4), input(2, {70}, 0.1, 4)},
           [](const Vars& v) {
             const auto f = [](auto x, auto y) {
               return tanh(x * y) + exp(x / y / 10.0) + log(y) * sigmoid(x) + softplus(x) * sqrt(y);
             };
             return sum(elementwise(f, v[0], v[1]), 1) + mean_of(f, v[0], v[1]);
           }},
          {"convolutions",
           {input(1, {4, 3, 12, 12}), input(2, {8, 3, 3, 3}), input(3, {4, 8, 5, 5}, -.1, .1)},
           [](const Vars& v) {
             const Var h = max_pool2d(relu(conv2d(v[0], v[1], 1, 1)), 2);
             return sum(square(avg_pool2d(conv2d(h, v[2], 1, 2), 3, 1, 1)), {1, 2, 3});
           }},
          {"branches",
           {input(1, {30, 400}), input(2, {400}), input(3, {400})},
           [](const Vars& v) {
             const std::vector<BranchOf> b = {[&](Var x) { return x * v[1]; },
                                              [&](Var x) { return tanh(x + v[2]); },
                                              [](Var x) { return square(x); }};
             const Var hard = argmax(slice(v[0], 0, 3, 1), straight_through()),
                       soft = softmax(slice(v[0], 3, 6, 1));
             return sum(
                 square(select(hard, v[0], b, Unchosen::as_scalars) + mixture(soft, v[0], b)), 1);
           }},
          {"Sinkhorn",
           {input(1, {5, 20, 20}, -2, 2), input(2, {5, 20, 1})},
           [](const Vars& v) {
             const Var p = sinkhorn(v[0], 0.5, 20);
             return sum(square(matmul(p, v[1]) - v[1]), {1, 2});
           }},
          {"k-means",
           {input(1, {500, 40}), input(2, {12, 40})},
           [](const Vars& v) {
             const Var d = sum(square(v[1]), 1) - 2.0 * matmul_transposed(v[0], v[1]);
             return sum_of([](auto a, auto b) { return square(a - b); }, v[0],
                           take(v[1], indices_of(argmin(d, zero()))));
           }},
          {"a million terms",
           {input(1, {1000, 1000}), input(2, {1000})},
           [](const Vars& v) { return mean(square(v[0] + v[1])) + mean(square(v[0] * v[1])); }},
          {"second order", {input(1, {30, 20}), input(2, {20, 5})}, [](const Vars& v) {
             const Var l = matmul(v[0], v[1]);
             const Var slope = differentiate(cross_entropy(tanh(l) * 2.0, labels(30, 5)), v[1])[0];
             return sum(square(slope));
           }}};
}

}  // namespace

#ifdef ARGTAPE_DOUBLE
std::vector<Computed> computed_in_double() {
#else
std::vector<Computed> computed_in_float() {
#endif
  std::vector<Computed> all;
  for (const Graph& graph : graphs()) {
    Tape tape;
    const Vars leaves = tape.borrow_parameters(graph.leaves);
    const Var cost = graph.cost(leaves);
    const Gradients g = backward(cost);
    const auto note = [&](const std::string& what, const Tensor& t) {
      all.push_back({std::string(graph.name) + ", " + what, {t.begin(), t.end()}});
    };
    note("cost", cost.value());
    for (std::size_t i = 0; i < leaves.size(); ++i)
      note("gradient " + std::to_string(i), g[leaves[i]]);
  }
  return all;
}
