#include "models/semi_supervised.hpp"

#include <algorithm>
#include <cmath>

#include "engine/require.hpp"
#include "models/training/classification.hpp"
#include "models/training/layers.hpp"
#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/distributions.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/gumbel_softmax.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/softmax.hpp"
#include "ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// A convolution, of kernels of `side` x `side` pixels, from so many planes to so many.
struct Layer {
  std::size_t from, to, side, stride, padding;
};
// 28 x 28 pixels to 14 x 14, 7 x 7 and 4 x 4; and the way back. A transposed convolution of a
// single pixel, which makes the first 4 x 4, is a dense layer.
constexpr Layer kLook[] = {{1, 16, 3, 2, 1}, {16, 32, 3, 2, 1}, {32, 64, 3, 2, 1}};
constexpr Layer kPaint[] = {{64, 32, 3, 2, 1}, {32, 16, 4, 2, 1}, {16, 1, 4, 2, 1}};
constexpr std::size_t kPlanes = 64, kSide = 4;

// The first layer of a network of two inputs, as dense() of both one behind the other: what the
// first makes is computed once, however many y there are for it.
Var dense_of_two(const Var* w, Var x, Var y) { return dense(x, w[0], w[1]) + matmul(y, w[2]); }

// The parameters of the networks, one layer after the other. How a training ends is a matter of its
// start: on 8,000 digits, seeds 0 to 2, one ends below what the labels alone teach, whatever the
// method; from glorot_uniform(), where the generator looks at z less at first, two did.
struct Start {
  std::vector<Tensor>& to;
  Rng& rng;
  Initialiser start = uniform_fan_in();

  void dense(std::size_t n, std::size_t m) {
    to.push_back(start.weights(n, m, rng));
    to.push_back(start.bias(n, m, rng));
  }
  void dense_of_two(std::size_t n, std::size_t k, std::size_t m) {
    const Tensor all = start.weights(n + k, m, rng);
    Tensor x = uninitialised({n, m}), y = uninitialised({k, m});
    std::copy_n(all.data(), n * m, x.data());
    std::copy_n(all.data() + n * m, k * m, y.data());
    to.insert(to.end(), {x, start.bias(n + k, m, rng), y});
  }
  // Kernels (a, b, side, side): (to, from, ...) for conv2d, (from, to, ...) for conv_transpose2d.
  void kernels(std::size_t a, std::size_t b, const Layer& l) {
    const std::size_t fan_in = l.from * l.side * l.side;
    to.push_back(reshaped(start.weights(fan_in, l.to, rng), {a, b, l.side, l.side}));
    to.push_back(start.bias(fan_in, l.to, rng));
  }
};

}  // namespace

SemiSupervised::SemiSupervised(const Dataset& data, const SemiSupervisedSizes& sizes, Rng& rng)
    : classes_(data.classes),
      latent_(sizes.latent),
      convolutions_(sizes.conv ? 2 * std::size(kLook) : 0) {
  const std::size_t pixels = data.height * data.width, hidden = sizes.hidden;
  const bool conv = sizes.conv;
  require(pixels > 0 && classes_ > 0, "SemiSupervised: images of ", pixels, " pixels, ", classes_,
          " classes; need at least 1 of each");
  require(sizes.classifier > 0 && hidden > 0 && latent_ > 0, "SemiSupervised: ", sizes.classifier,
          " and ", hidden, " hidden units, ", latent_,
          " numbers of style; need at least 1 of each");
  require(!conv || (data.height == 28 && data.width == 28), "SemiSupervised: images are ",
          data.height, " x ", data.width, "; need 28 x 28 for the convolutions");
  Start start{parameters, rng};
  const auto look = [&] {
    for (const Layer& l : kLook)
      if (conv) start.kernels(l.to, l.from, l);
    return conv ? kPlanes * kSide * kSide : pixels;
  };
  start.dense(look(), sizes.classifier);
  start.dense(sizes.classifier, classes_);
  inference_ = parameters.size();
  start.dense_of_two(look(), classes_, hidden);
  start.dense(hidden, 2 * latent_);
  generator_ = parameters.size();
  start.dense_of_two(latent_, classes_, hidden);
  start.dense(hidden, conv ? kPlanes * kSide * kSide : pixels);
  for (const Layer& l : kPaint)
    if (conv) start.kernels(l.from, l.to, l);
}

Var SemiSupervised::seen(const Var* w, Var x) const {
  if (convolutions_ == 0) return x;
  const std::size_t images = x.shape()[0];
  x = reshape(x, {images, 1, 28, 28});
  for (const Layer& l : kLook) {
    x = relu(conv2d(x, w[0], w[1], l.stride, l.padding));
    w += 2;
  }
  return reshape(x, {images, kPlanes * kSide * kSide});
}

Var SemiSupervised::classify(const std::vector<Var>& w, Var x) const {
  Rng none(0);
  return classify(w, x, 0, none);
}

Var SemiSupervised::classify(const std::vector<Var>& w, Var x, double rate, Rng& rng) const {
  const Var* v = &w[convolutions_];
  const Var h = relu(dense(seen(w.data(), dropout(x, 0.4 * rate, rng)), v[0], v[1]));
  return dense(dropout(h, rate, rng), v[2], v[3]);
}

SemiSupervised::Style SemiSupervised::infer(const std::vector<Var>& w, Var x, Var y) const {
  const Var* v = &w[inference_ + convolutions_];
  const Var h = relu(dense_of_two(v, seen(&w[inference_], x), y)), style = dense(h, v[3], v[4]);
  return {slice(style, 0, latent_, -1), slice(style, latent_, 2 * latent_, -1)};
}

Var SemiSupervised::generate(const std::vector<Var>& w, Var y, Var z) const {
  const Var* v = &w[generator_];
  const Var made = dense(relu(dense_of_two(v, z, y)), v[3], v[4]);
  if (convolutions_ == 0) return made;
  Shape shape = made.shape();
  Var x = reshape(made, {made.value().size() / shape.back(), kPlanes, kSide, kSide});
  for (const Layer& l : kPaint) {
    v += 2;
    x = conv_transpose2d(relu(x), v[3], v[4], l.stride, l.padding);
  }
  shape.back() = 28 * 28;
  return reshape(x, shape);
}

Var SemiSupervised::labelled_bound(const std::vector<Var>& w, Var x, Var y, Var noise) const {
  const auto [mean, log_variance] = infer(w, x, y);
  const Var z = mean + exp(0.5 * log_variance) * noise;
  const Var log_likelihood = -sum(bce_with_logits(generate(w, y, z), x), -1);
  const double log_prior = -std::log(static_cast<double>(classes_));
  return log_likelihood + log_prior - kl_gaussian(mean, log_variance);
}

Var SemiSupervised::marginal_bound(const std::vector<Var>& w, Var x, Var logits, Var noise) const {
  Tensor each = zeros({classes_, 1, classes_});
  for (std::size_t k = 0; k < classes_; ++k) each(k, 0, k) = 1;
  const Var bounds = labelled_bound(w, x, x.tape->constant(std::move(each), "classes"), noise);
  return sum(softmax(logits) * transpose(bounds), -1) + Categorical(logits).entropy();
}

Var SemiSupervised::sampled_bound(const std::vector<Var>& w, Var x, Var logits, const Rule& rule,
                                  Var noise, Rng& rng) const {
  const Categorical q(logits);
  const Var y = q.sample(rule, rng);
  return labelled_bound(w, x, y, noise) + q.entropy();
}

const std::vector<std::string>& semi_supervised_methods() {
  static const std::vector<std::string> all = {"labels-only", "marginalised", "gumbel-softmax",
                                               "st-gumbel-softmax"};
  return all;
}

namespace {

// The first digits of each class.
Dataset first_of_each(const Dataset& digits, std::size_t labels) {
  std::vector<std::size_t> rows, found(digits.classes, 0);
  for (std::size_t i = 0; i < digits.size(); ++i)
    if (found[digits.labels[i]]++ < labels) rows.push_back(i);
  for (std::size_t k = 0; k < digits.classes; ++k)
    require(found[k] >= labels, "SemiSupervisedTraining: ", found[k], " digits of class ", k,
            "; need ", labels, " with a label");
  return take(digits, rows);
}

SemiSupervisedSettings checked(const SemiSupervisedSettings& s) {
  const std::vector<std::string>& methods = semi_supervised_methods();
  std::string all;
  for (const std::string& m : methods) all += (all.empty() ? "" : ", ") + m;
  require(std::find(methods.begin(), methods.end(), s.method) != methods.end(),
          "SemiSupervisedTraining: the method is '", s.method, "'; need one of ", all);
  require(s.labels > 0 && s.batch > 0 && s.steps > 0,
          "SemiSupervisedTraining: labels, batch and steps are ", s.labels, ", ", s.batch, ", ",
          s.steps, "; need at least 1 of each");
  require(s.alpha > 0 && std::isfinite(s.alpha), "SemiSupervisedTraining: alpha is ", s.alpha,
          "; need more than 0, and finite");
  require(s.labelled_weight >= 0 && std::isfinite(s.labelled_weight),
          "SemiSupervisedTraining: labelled_weight is ", s.labelled_weight,
          "; need at least 0, and finite");
  require(s.decline >= 0 && s.decline <= 1, "SemiSupervisedTraining: decline is ", s.decline,
          "; need 0 <= decline <= 1");
  return s;
}

}  // namespace

SemiSupervisedTraining::SemiSupervisedTraining(const Dataset& digits,
                                               const SemiSupervisedSettings& settings)
    : digits_(digits),
      settings_(checked(settings)),
      start_(settings.seed),
      order_(settings.seed, 0, 1),
      noise_(settings.seed, 0, 2),
      network_(digits, settings.sizes, start_),
      labelled_(first_of_each(digits, settings.labels)),
      adam_(settings.rate) {
  const Schedule tau = exponential_decay(1, settings.tau_rate, 0.5);
  rule_ = settings.method == "st-gumbel-softmax" ? st_gumbel_softmax(tau) : gumbel_softmax(tau);
}

Var SemiSupervisedTraining::objective(Tape& tape, const std::vector<Var>& w) {
  const auto images = [&](const Dataset& digits) {
    return tape.constant(binarised(digits, order_).images, "images");
  };
  const auto noise = [&](const Shape& shape) {
    return tape.constant(noise_.normal(shape), "noise");
  };
  const std::size_t k = network_.classes(), latent = network_.latent(), batch = settings_.batch;

  const auto classify = [&](Var x) { return network_.classify(w, x, settings_.dropout, noise_); };

  const Var x = images(labelled_), y = tape.constant(one_hot(labelled_.labels, k), "labels");
  const Var log_q = -cross_entropy(classify(x), labelled_.labels);
  const Var bound_xy = network_.labelled_bound(w, x, y, noise({labelled_.size(), latent}));
  const Var labelled = mean(settings_.labelled_weight * bound_xy + settings_.alpha * log_q);
  if (settings_.method == "labels-only") return labelled;

  std::vector<std::size_t> rows(batch);
  for (std::size_t& r : rows) r = order_.below(digits_.size());
  const Var u = images(take(digits_, rows));
  Var logits = classify(u);
  if (step_ < settings_.warm_up) logits = stop_gradient(logits);
  const Var bound =
      settings_.method == "marginalised"
          ? network_.marginal_bound(w, u, logits, noise({k, batch, latent}))
          : network_.sampled_bound(w, u, logits, rule_.at(step_), noise({batch, latent}), noise_);
  return labelled + mean(bound);
}

void SemiSupervisedTraining::step() {
  const double left = static_cast<double>(settings_.steps) - static_cast<double>(step_),
               declining = settings_.decline * static_cast<double>(settings_.steps);
  adam_.rate = settings_.rate * (left < declining ? std::max(left, 1.0) / declining : 1);
  Tape tape;
  const std::vector<Var> w = tape.borrow_parameters(network_.parameters);
  const Var j = objective(tape, w);
  if (!std::isfinite(j.item()))
    throw std::runtime_error("SemiSupervisedTraining: the objective is " +
                             str(static_cast<double>(j.item())) + " in step " +
                             std::to_string(step_ + 1) + "; need finite numbers");
  adam_.step(network_.parameters, w, -j);
  ++step_;
}

void SemiSupervisedTraining::archive(Archive& a) {
  a("parameters", network_.parameters);
  a("adam", adam_);
  a("order", order_);
  a("noise", noise_);
  a("step", step_);
}

namespace {
// f(tape, parameters, the images of some digits, their labels) for all digits, a few at a time.
template <class F>
void each_part(const SemiSupervised& network, const Dataset& digits, F f) {
  constexpr std::size_t kAtOnce = 250;
  for (std::size_t from = 0; from < digits.size(); from += kAtOnce) {
    std::vector<std::size_t> rows(std::min(kAtOnce, digits.size() - from));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = from + i;
    Tape tape;
    std::vector<Var> w;
    for (const Tensor& p : network.parameters) w.push_back(tape.borrow_constant(p));
    f(tape, w, take(digits, rows));
  }
}
}  // namespace

double accuracy(const SemiSupervised& network, const Dataset& digits) {
  std::vector<std::size_t> predicted;
  each_part(network, digits, [&](Tape& tape, const std::vector<Var>& w, const Dataset& part) {
    const Var x = tape.constant(part.images);
    const std::vector<std::size_t> found = indices_of(argmax(network.classify(w, x), zero()));
    predicted.insert(predicted.end(), found.begin(), found.end());
  });
  return accuracy(predicted, digits.labels);
}

double mean_bound(const SemiSupervised& network, const Dataset& digits, Rng& rng) {
  double total = 0;
  each_part(network, digits, [&](Tape& tape, const std::vector<Var>& w, const Dataset& part) {
    const Var x = tape.constant(binarised(part, rng).images),
              noise = tape.constant(rng.normal({network.classes(), part.size(), network.latent()}));
    total += static_cast<double>(
        sum(network.marginal_bound(w, x, network.classify(w, x), noise)).item());
  });
  return total / static_cast<double>(digits.size());
}

ARGTAPE_END
