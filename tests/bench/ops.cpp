// What has no peer, one line each: convolution, pooling, normalisation, every rule, second order.
#include <cmath>
#include <utility>

#include "models/argtape.hpp"
#include "tests/bench/harness.hpp"

using namespace argtape;
using bench::Named;
using bench::Noise;
using bench::Workload;

namespace {

using Vars = std::vector<Var>;
using Function = std::function<Var(const Vars&)>;

double sum_of_magnitudes(const Tensor& t) {
  double s = 0;
  for (Scalar v : t) s += std::abs(static_cast<double>(v));
  return s;
}

std::vector<Tensor> tensors(const std::vector<Shape>& shapes) {
  std::vector<Tensor> all;
  for (const Shape& shape : shapes) all.push_back(bench::uniform(1 + all.size(), shape, -1, 1));
  return all;
}

// The check is what the step returns while it is checking.
Workload checked(std::function<double(Noise&)> step) {
  return {step, [step] {
            Noise noise{true};
            return std::vector<double>{step(noise)};
          }};
}

// The gradients that `sweep` finds for the parameters.
Workload swept(std::vector<Tensor> parameters, std::function<Gradients(const Vars&)> sweep) {
  return checked([parameters = std::move(parameters), sweep = std::move(sweep)](Noise& noise) {
    Tape tape;
    const Vars p = tape.borrow_parameters(parameters);
    const Gradients gradients = sweep(p);
    double sum = 0;
    for (std::size_t i = 0; noise.checking && i < p.size(); ++i)
      sum += sum_of_magnitudes(gradients[p[i]]);
    return sum;
  });
}

Workload forward(const std::vector<Shape>& shapes, const Function& f) {
  return checked([inputs = tensors(shapes), f](Noise& noise) {
    Tape tape;
    Vars x;
    for (const Tensor& t : inputs) x.push_back(tape.borrow_constant(t));
    const Var y = f(x);
    return noise.checking ? sum_of_magnitudes(y.value()) : 0;
  });
}

Workload forward_and_backward(const std::vector<Shape>& shapes, const Function& f) {
  std::vector<Tensor> inputs = tensors(shapes);
  Tape tape;
  Tensor weights = bench::uniform(0, f(tape.borrow_parameters(inputs)).shape(), -1, 1);
  return swept(std::move(inputs), [weights = std::move(weights), f](const Vars& p) {
    return backward(f(p), {}, p[0].tape->borrow_constant(weights));
  });
}

// The Hessian's block of the first parameter and each, times a vector.
Workload hessian_vector(const std::vector<Shape>& shapes, const Function& loss) {
  return swept(tensors(shapes), [v = bench::uniform(0, shapes[0], -1, 1), loss](const Vars& p) {
    const Var slope = differentiate(loss(p), p[0])[0];
    return backward(slope, {}, p[0].tape->borrow_constant(v));
  });
}

// Ten samples of each choice, which leave-one-out needs, with a linear cost for each. The noise is
// given, so that drawing it is not what is measured; a rule that reads none gets an argmax.
template <class Draw, class Solve>
Workload choice(const Rule& rule, const Shape& shape, const Axes& chosen, Draw draw, Solve solve) {
  Shape repeated{10};
  repeated.insert(repeated.end(), shape.begin(), shape.end());
  return swept({broadcast_to(bench::uniform(1, shape, -2, 2), repeated)},
               [=, noise = Rng(1).gumbel(repeated),
                cost = bench::uniform(2, repeated, -1, 1)](const Vars& p) {
                 Tape& tape = *p[0].tape;
                 const Var z = rule.needs_draw || rule.reads_noise
                                   ? draw(p[0], rule, tape.borrow_constant(noise))
                                   : solve(p[0], rule);
                 return backward(sum(z * tape.borrow_constant(cost), chosen));
               });
}

Workload categories(const std::string& rule, std::size_t k) {
  return choice(
      rule_named(rule), {10000 / k, k}, {-1},
      [](Var l, const Rule& r, Var noise) { return sample(l, r, noise); },
      [](Var l, const Rule& r) { return argmax(l, r); });
}

Workload subsets(const std::string& rule, std::size_t n) {
  const std::size_t k = 3;
  return choice(
      top_k_rule_named(rule), {10000 / n, n}, {-1},
      [=](Var l, const Rule& r, Var noise) { return sample_top_k(l, k, r, noise); },
      [=](Var l, const Rule& r) { return top_k(l, k, r); });
}

Workload permutations(const std::string& rule) {
  return choice(
      matching_rule_named(rule), {10, 10, 10}, {-2, -1},
      [](Var l, const Rule& r, Var noise) { return sample_matching(l, r, noise); },
      [](Var l, const Rule& r) { return matching(l, r); });
}

std::vector<Named> workloads() {
  std::vector<Named> all;
  const auto op = [&](const std::string& name, const std::vector<Shape>& shapes,
                      const Function& f) {
    all.push_back({name + "/forward", [=] { return forward(shapes, f); }});
    all.push_back({name, [=] { return forward_and_backward(shapes, f); }});
  };
  const Shape images{100, 8, 14, 14};  // the architecture search's
  const auto conv = [&](const std::string& name, std::size_t side, std::size_t stride) {
    op(name, {images, {8, 8, side, side}},
       [=](const Vars& v) { return conv2d(v[0], v[1], stride, side / 2); });
  };
  conv("conv2d_1x1", 1, 1);
  conv("conv2d_3x3", 3, 1);
  conv("conv2d_5x5", 5, 1);
  conv("conv2d_3x3_stride_2", 3, 2);
  op("max_pool2d_2x2", {images}, [](const Vars& v) { return max_pool2d(v[0], 2); });
  op("max_pool2d_3x3", {images}, [](const Vars& v) { return max_pool2d(v[0], 3, 1, 1); });
  op("layer_norm", {{1000, 256}, {256}, {256}},
     [](const Vars& v) { return layer_norm(v[0], v[1], v[2]); });

  for (const std::string& rule : rule_names())
    for (std::size_t k : {10u, 100u})
      all.push_back({rule + "/" + std::to_string(k), [=] { return categories(rule, k); }});
  for (const std::string& rule : top_k_rule_names())
    for (std::size_t n : {10u, 100u})
      all.push_back({"top_k/" + rule + "/" + std::to_string(n), [=] { return subsets(rule, n); }});
  for (const std::string& rule : matching_rule_names())
    all.push_back({"matching/" + rule, [=] { return permutations(rule); }});

  const std::vector<std::size_t> labels = bench::integers(3, 100, 10);
  all.push_back({"hessian_vector/dense", [=] {
                   return hessian_vector(
                       {{64, 128}, {128}, {128, 10}, {10}},
                       [x = bench::uniform(9, {100, 64}), labels](const Vars& p) {
                         const Var h = tanh(dense(p[0].tape->borrow_constant(x), p[0], p[1]));
                         return cross_entropy(dense(h, p[2], p[3]), labels);
                       });
                 }});
  all.push_back({"hessian_vector/conv", [=] {
                   return hessian_vector({{8, 8, 3, 3}, {392}, {392}, {392, 10}, {10}},
                                         [x = bench::uniform(9, images), labels](const Vars& p) {
                                           Var h =
                                               conv2d(p[0].tape->borrow_constant(x), p[0], 1, 1);
                                           h = reshape(max_pool2d(h, 2), {100, 392});
                                           h = layer_norm(h, p[1], p[2]);
                                           return cross_entropy(dense(h, p[3], p[4]), labels);
                                         });
                 }});
  return all;
}

}  // namespace

int main(int argc, char** argv) { return bench::run(argc, argv, workloads()); }
