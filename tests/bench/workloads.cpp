// The workloads that the engine shares with its peers: the same names, shapes and inputs, and
// figures that prove it. Weights are stored (in, out) here, the peers' (out, in) transposed.
#include <algorithm>
#include <cmath>
#include <memory>

#include "models/argtape.hpp"
#include "tests/bench/harness.hpp"

using namespace argtape;
using bench::Noise;
using bench::Workload;

namespace {

constexpr double kRate = 1e-5;  // small: the timed steps repeat one batch and must not saturate

Tensor gumbel_of(Tensor u) {
  for (Scalar& v : u) v = -std::log(-std::log(std::max(v, Scalar(1e-10))));
  return u;
}

// Where noise comes from, in a step or in its check.
struct Source {
  Rng rng{1};
  Tensor gumbel(const Shape& shape, Noise& noise) {
    if (!noise.checking) return rng.gumbel(shape);
    return gumbel_of(bench::uniform(1000 + noise.requests++, shape));
  }
  Var sample(Var logits, const Rule& rule, Noise& noise) {
    if (!noise.checking) return argtape::sample(logits, rule, rng);
    return argtape::sample(logits, rule, logits.tape->constant(gumbel(logits.shape(), noise)));
  }
};

double sum_of_magnitudes(const Tensor& t) {
  double s = 0;
  for (Scalar v : t) s += std::abs(static_cast<double>(v));
  return s;
}

struct Network {
  std::vector<Tensor> parameters;
  explicit Network(const std::vector<std::size_t>& sizes) {
    for (std::size_t l = 0; l + 1 < sizes.size(); ++l) {
      const double r = 1 / std::sqrt(static_cast<double>(sizes[l]));
      Tape tape;
      parameters.push_back(
          transpose(tape.constant(bench::uniform(100 + 2 * l, {sizes[l + 1], sizes[l]}, -r, r)))
              .value());
      parameters.push_back(bench::uniform(101 + 2 * l, {sizes[l + 1]}, -r, r));
    }
  }
};

// Losses of the first two steps.
Workload two_steps(std::function<double(Noise&)> step) {
  return {step, [step] {
            Noise noise{true};
            const double first = step(noise);
            return std::vector<double>{first, step(noise)};
          }};
}

Workload mlp_step() {
  struct State {
    Tensor x = bench::uniform(1, {128, 784});
    std::vector<std::size_t> labels = bench::integers(2, 128, 10);
    Network net{{784, 256, 256, 10}};
    Adam adam{kRate};
  };
  auto s = std::make_shared<State>();
  return two_steps([s](Noise& noise) {
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(s->net.parameters);
    Var h = relu(dense(tape.borrow_constant(s->x), p[0], p[1]));
    h = relu(dense(h, p[2], p[3]));
    const Var loss = mean(cross_entropy(dense(h, p[4], p[5]), s->labels));
    s->adam.step(s->net.parameters, p, loss);
    return noise.checking ? static_cast<double>(loss.item()) : 0;
  });
}

Tensor binary_images(std::size_t n) {
  Tensor x = bench::uniform(1, {n, 784});
  for (Scalar& v : x) v = v < Scalar(0.5) ? 1 : 0;
  return x;
}

Workload catvae(bool hard) {
  struct State {
    Tensor x = binary_images(100);
    Network net{{784, 512, 256, 300, 256, 512, 784}};
    Adam adam{kRate};
    Source source;
    Rule rule;
  };
  auto s = std::make_shared<State>();
  s->rule = hard ? st_gumbel_softmax(1) : gumbel_softmax(1);
  return two_steps([s](Noise& noise) {
    const std::size_t b = 100, v = 30, k = 10;
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(s->net.parameters);
    const Var x = tape.borrow_constant(s->x);
    Var h = relu(dense(x, p[0], p[1]));
    h = relu(dense(h, p[2], p[3]));
    const Var logits = reshape(dense(h, p[4], p[5]), {b, v, k});
    const Var kl = sum(kl_categorical_uniform(logits)) / static_cast<double>(b);
    h = reshape(s->source.sample(logits, s->rule, noise), {b, v * k});
    h = relu(dense(h, p[6], p[7]));
    h = relu(dense(h, p[8], p[9]));
    const Var loss = sum(bce_with_logits(dense(h, p[10], p[11]), x)) / static_cast<double>(b) + kl;
    s->adam.step(s->net.parameters, p, loss);
    return noise.checking ? static_cast<double>(loss.item()) : 0;
  });
}

Workload sbn_step() {
  struct State {
    Tensor x, t;
    Network net{{392, 200, 200, 392}};
    Adam adam{kRate};
    Source source;
    Rule rule = st_gumbel_softmax(1);
  };
  auto s = std::make_shared<State>();
  {
    Tape tape;
    const Var images = tape.constant(binary_images(100));
    s->x = slice(images, 0, 392, 1).value();
    s->t = slice(images, 392, 784, 1).value();
  }
  return two_steps([s](Noise& noise) {
    const std::size_t b = 100, v = 20, k = 10;
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(s->net.parameters);
    Var h = tape.borrow_constant(s->x);
    for (std::size_t l = 0; l < 2; ++l) {
      const Var logits = reshape(dense(h, p[2 * l], p[2 * l + 1]), {b, v, k});
      h = reshape(s->source.sample(logits, s->rule, noise), {b, v * k});
    }
    const Var loss = sum(bce_with_logits(dense(h, p[4], p[5]), tape.borrow_constant(s->t))) /
                     static_cast<double>(b);
    s->adam.step(s->net.parameters, p, loss);
    return noise.checking ? static_cast<double>(loss.item()) : 0;
  });
}

// The argmin is a node with the zero rule: a constant.
Workload kmeans() {
  struct State {
    Tensor data = bench::uniform(1, {1000, 200});
    std::vector<Tensor> batches, centroids{uninitialised({20, 200})};
    Sgd sgd{0.01};
    std::size_t at = 0;
  };
  auto s = std::make_shared<State>();
  for (std::size_t c = 0; c < 20; ++c)
    std::copy_n(s->data.data() + c * 50 * 200, 200, s->centroids[0].data() + c * 200);
  for (std::size_t b = 0; b < 10; ++b) {
    s->batches.push_back(uninitialised({100, 200}));
    std::copy_n(s->data.data() + b * 100 * 200, 100 * 200, s->batches[b].data());
  }
  return two_steps([s](Noise& noise) {
    Tape tape;
    const std::vector<Var> p = tape.borrow_parameters(s->centroids);
    const Var x = tape.borrow_constant(s->batches[s->at]);
    s->at = (s->at + 1) % 10;
    const Var distances = squared_distances(x, p[0]);
    const Var loss = sum(argmin(distances, zero()) * distances);
    s->sgd.step(s->centroids, p, loss);
    return noise.checking ? static_cast<double>(loss.item()) : 0;
  });
}

// A loss of leaves alone: the loss, and the sum of |gradient| of each leaf.
struct Leaves {
  std::vector<Tensor> leaves, gradients;
  std::function<Var(const std::vector<Var>&, Noise&)> loss;
};
Workload with_gradients(std::shared_ptr<Leaves> s) {
  return {[s](Noise& noise) {
            s->gradients.clear();
            Tape tape;
            backward_and_release(s->loss(tape.borrow_parameters(s->leaves), noise),
                                 [&](Var, Tensor& g) { s->gradients.push_back(std::move(g)); });
            return 0.0;
          },
          [s] {
            Noise noise{true};
            Tape tape;
            const std::vector<Var> p = tape.borrow_parameters(s->leaves);
            const Var loss = s->loss(p, noise);
            std::vector<double> check(1 + p.size());
            check[0] = static_cast<double>(loss.item());
            backward_and_release(loss, [&](Var v, Tensor& g) {
              const auto at =
                  std::find_if(p.begin(), p.end(), [v](Var q) { return q.index == v.index; });
              check[1 + static_cast<std::size_t>(at - p.begin())] = sum_of_magnitudes(g);
            });
            return check;
          }};
}

Workload chain_small() {
  auto s = std::make_shared<Leaves>();
  s->leaves = {bench::uniform(1, {16}, -1, 1)};
  s->loss = [m = bench::uniform(2, {16}, 0.99, 1.01), d = bench::uniform(3, {16}, -1e-3, 1e-3)](
                const std::vector<Var>& p, Noise&) {
    Tape& tape = *p[0].tape;
    const Var factor = tape.borrow_constant(m), shift = tape.borrow_constant(d);
    Var h = p[0];
    for (int i = 0; i < 1000; ++i) h = i % 3 == 0 ? tanh(h) : i % 3 == 1 ? h * factor : h + shift;
    return sum(h);
  };
  return with_gradients(s);
}

Workload elementwise_large() {
  auto s = std::make_shared<Leaves>();
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    s->leaves.push_back(bench::uniform(seed, {4000000}, -2, 2));
  s->loss = [](const std::vector<Var>& p, Noise&) {
    return mean(tanh(p[0] * p[1] + p[2]) * sigmoid(p[0]));
  };
  return with_gradients(s);
}

// The same as one formula; its line is named so.
Workload elementwise_large_fused() {
  auto s = std::make_shared<Leaves>();
  for (std::uint64_t seed = 1; seed <= 3; ++seed)
    s->leaves.push_back(bench::uniform(seed, {4000000}, -2, 2));
  s->loss = [](const std::vector<Var>& p, Noise&) {
    return mean_of([](auto x, auto w, auto b) { return tanh(x * w + b) * sigmoid(x); }, p[0], p[1],
                   p[2]);
  };
  return with_gradients(s);
}

Workload gumbel_large(bool fixed) {
  auto s = std::make_shared<Leaves>();
  s->leaves = {bench::uniform(1, {10000, 100}, -2, 2)};
  s->loss = [fixed, source = std::make_shared<Source>(), c = bench::uniform(2, {10000, 100}, -1, 1),
             noise_once = fixed ? gumbel_of(bench::uniform(1000, {10000, 100})) : Tensor{},
             rule = gumbel_softmax(0.5)](const std::vector<Var>& p, Noise& noise) {
    Tape& tape = *p[0].tape;
    const Var y = fixed ? sample(p[0], rule, tape.borrow_constant(noise_once))
                        : source->sample(p[0], rule, noise);
    return sum_of([](auto p, auto q) { return p * q; }, y, tape.borrow_constant(c));
  };
  return with_gradients(s);
}

Workload xent_large() {
  auto s = std::make_shared<Leaves>();
  s->leaves = {bench::uniform(1, {4096, 1000}, -2, 2)};
  s->loss = [labels = bench::integers(2, 4096, 1000)](const std::vector<Var>& p, Noise&) {
    return mean(cross_entropy(p[0], labels));
  };
  return with_gradients(s);
}

Workload sinkhorn_step() {
  auto s = std::make_shared<Leaves>();
  const std::size_t b = 50, n = 50;
  s->leaves = {bench::uniform(1, {b, n, n}, -1, 1)};
  Tensor x = bench::uniform(2, {b, 1, n}), sorted = x;  // x^T: (x^T P)^T is P^T x
  for (std::size_t i = 0; i < b; ++i) std::sort(sorted.data() + i * n, sorted.data() + (i + 1) * n);
  s->loss = [x, sorted, source = std::make_shared<Source>()](const std::vector<Var>& p,
                                                             Noise& noise) {
    Tape& tape = *p[0].tape;
    const Var logits = p[0] + tape.constant(source->gumbel(p[0].shape(), noise));
    const Var shuffle = sinkhorn(logits, 1, 20);
    return mean(
        squared_error(matmul(tape.borrow_constant(x), shuffle), tape.borrow_constant(sorted)));
  };
  return with_gradients(s);
}

// Each row of theta is a draw of its own; row gradients are the estimates.
Workload estimator_study() {
  struct State {
    std::vector<Tensor> theta;
    Tensor t = bench::uniform(2, {10});
    Source source;
    std::vector<Rule> rules = {score_function(), score_function(leave_one_out()),
                               straight_through(), st_gumbel_softmax(1), gumbel_softmax(1)};
  };
  auto s = std::make_shared<State>();
  s->theta = {broadcast_to(bench::uniform(1, {10}, -1, 1), {10000, 10})};
  const auto draw = [s](const Rule& rule, Noise& noise) {
    Tape tape;
    const Var theta = tape.borrow_parameters(s->theta)[0], t = tape.borrow_constant(s->t);
    const Var cost = sum(squared_error(s->source.sample(theta, rule, noise), t), -1);
    return backward(cost)[theta];
  };
  return {[=](Noise& noise) {
            for (const Rule& rule : s->rules) draw(rule, noise);
            return 0.0;
          },
          [=] {
            Noise noise{true};
            std::vector<double> check;
            for (const Rule& rule : s->rules) check.push_back(sum_of_magnitudes(draw(rule, noise)));
            return check;
          }};
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run(argc, argv,
                    {{"mlp_step", mlp_step},
                     {"catvae_step", [] { return catvae(false); }},
                     {"catvae_st_step", [] { return catvae(true); }},
                     {"sbn_step", sbn_step},
                     {"sinkhorn_step", sinkhorn_step},
                     {"kmeans_step", kmeans},
                     {"kmeans_loop_step", kmeans},
                     {"chain_small", chain_small},
                     {"elementwise_large", elementwise_large},
                     {"elementwise_large_fused", elementwise_large_fused},
                     {"gumbel_large", [] { return gumbel_large(false); }},
                     {"gumbel_large_fixednoise", [] { return gumbel_large(true); }},
                     {"xent_large", xent_large},
                     {"estimator_study", estimator_study}});
}
