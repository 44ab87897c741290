#include <doctest/doctest.h>

#include <cmath>

#include "models/argtape.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

Split digits() {
  const Dataset all = load_digits(ARGTAPE_DATA_DIR);
  return split(all, default_train_size(all));
}

Dataset of_size(std::size_t height, std::size_t width, std::size_t classes) {
  Dataset data;
  data.height = height;
  data.width = width;
  data.classes = classes;
  return data;
}

// Images of 2 x 2 pixels, three classes, one number of style: small enough to sum and integrate all
// that the bounds are about. Weights are larger than training starts with, biases not zero.
struct Tiny {
  static constexpr std::size_t kClasses = 3, kPixels = 4, kNodes = 801;
  static constexpr double kStep = 0.02;  // of the integrals, which reach from -8 to 8

  Rng rng{5};
  SemiSupervised network{of_size(2, 2, kClasses), {6, 6, 1, false}, rng};
  Tensor nodes = zeros({kNodes, 1});

  Tiny() {
    for (Tensor& p : network.parameters) p = p + 0.3 * rng.normal(p.shape());
    for (std::size_t i = 0; i < kNodes; ++i) nodes(i, 0) = -8 + kStep * static_cast<double>(i);
  }
  static double log_normal(double z) { return -(z * z + std::log(2 * std::acos(-1.0))) / 2; }

  // Image number i, as often as there are nodes; class y so too.
  static Tensor image(std::size_t i, std::size_t times = kNodes) {
    Tensor x = uninitialised({times, kPixels});
    for (std::size_t k = 0; k < x.size(); ++k)
      x.data()[k] = static_cast<double>(i >> k % kPixels & 1);
    return x;
  }
  static Tensor label(std::size_t y, std::size_t times = kNodes) {
    return one_hot(std::vector<std::size_t>(times, y), kClasses);
  }
};

// One image's exact quantities: sums over y, integrals over z.
struct Exact {
  double log_p = 0;                       // log p(x)
  double log_joint[Tiny::kClasses] = {};  // log p(x, y)
  double q[Tiny::kClasses] = {};          // q(y|x)
  double labelled[Tiny::kClasses] = {};   // L(x, y), the model's, z integrated over its noise
  double definition = 0;  // E_q(y,z|x) [log p(x|y,z) + log p(y) + log p(z) - log q(y,z|x)]
  double misprint = 0;    // the same with - q(y,z|x) at the end, as printed
  double entropy = 0;     // of q(y|x)

  Exact(const Tiny& t, std::size_t image) {
    Tape tape;
    std::vector<Var> w;
    for (const Tensor& p : t.network.parameters) w.push_back(tape.borrow_constant(p));
    const Var x = tape.constant(Tiny::image(image)), nodes = tape.constant(t.nodes);
    const Var chances = softmax(t.network.classify(w, x));
    double p = 0;
    for (std::size_t k = 0; k < Tiny::kClasses; ++k) {
      q[k] = chances.value()(0, k);
      entropy -= q[k] * std::log(q[k]);
      const Var y = tape.constant(Tiny::label(k));
      const Tensor bounds = t.network.labelled_bound(w, x, y, nodes).value();
      const auto [mean, log_variance] = t.network.infer(w, x, y);
      const double m = mean.value()(0, 0), s = std::exp(log_variance.value()(0, 0) / 2);
      const auto log_likelihood = [&](Var z) {
        return Tensor((-sum(bce_with_logits(t.network.generate(w, y, z), x), -1)).value());
      };
      const Tensor prior = log_likelihood(nodes), posterior = log_likelihood(m + s * nodes);
      const double log_prior = -std::log(static_cast<double>(Tiny::kClasses));
      double joint = 0;
      for (std::size_t i = 0; i < Tiny::kNodes; ++i) {
        const double e = t.nodes(i, 0), weight = Tiny::kStep * std::exp(Tiny::log_normal(e));
        joint += weight * std::exp(prior(i));
        labelled[k] += weight * bounds(i);
        const double log_density = std::log(q[k] / s) + Tiny::log_normal(e);
        const double log_all = posterior(i) + log_prior + Tiny::log_normal(m + s * e);
        definition += q[k] * weight * (log_all - log_density);
        misprint += q[k] * weight * (log_all - std::exp(log_density));
      }
      log_joint[k] = std::log(joint) + log_prior;
      p += std::exp(log_joint[k]);
    }
    log_p = std::log(p);
  }
  double marginal() const {
    double u = entropy;
    for (std::size_t k = 0; k < Tiny::kClasses; ++k) u += q[k] * labelled[k];
    return u;
  }
};

}  // namespace

TEST_CASE("the bounds by enumeration: the document is right where it corrects the paper") {
  const Tiny tiny;
  double total = 0;
  for (std::size_t image = 0; image < 16; ++image) {
    CAPTURE(image);
    const Exact exact(tiny, image);
    total += std::exp(exact.log_p);
    for (std::size_t k = 0; k < Tiny::kClasses; ++k)
      CHECK(exact.labelled[k] < exact.log_joint[k] + 1e-10);
    // The document: U(x) = sum_y q(y|x) L(x, y) + H(q(y|x)) is the expectation that it is derived
    // from, with log q(y, z|x) in it, and a bound.
    const double u = exact.marginal();
    CHECK(u == doctest::Approx(exact.definition).epsilon(1e-10));
    CHECK(u < exact.log_p);
    // The paper's equation 9 has q(y, z|x) there, without the logarithm. As log q <= q - 1, that is
    // lower by 1 at least, and not what its equation 10 goes on with.
    CHECK(exact.misprint <= u - 1);
    // Equation 10, sum_y q(y|x) (-L(x, y) + H), is the document's sum for the paper's L, which is
    // minus the bound. With the document's L it would be above 0, and no bound.
    double with_its_sign = exact.entropy;
    for (std::size_t k = 0; k < Tiny::kClasses; ++k)
      with_its_sign -= exact.q[k] * exact.labelled[k];
    CHECK(with_its_sign > 0);
  }
  CHECK(total == doctest::Approx(1).epsilon(1e-10));  // so log p(x) is what it says
}

TEST_CASE("the bounds are tight where q is the posterior") {
  // With a generator that does not look at z, p(z|x, y) is the prior, and q(y|x) is Bayes' rule.
  Tiny tiny;
  std::vector<Tensor>& p = tiny.network.parameters;
  p[9] = zeros(p[9].shape());                     // z, in the generator
  p[7] = zeros(p[7].shape()), p[8] = zeros({2});  // mean and log variance of q(z|x, y)
  for (std::size_t image = 0; image < 16; image += 5) {
    const Exact exact(tiny, image);
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(p);
    const Var x = tape.constant(Tiny::image(image, 1));
    Tensor posterior = uninitialised({1, Tiny::kClasses});
    for (std::size_t k = 0; k < Tiny::kClasses; ++k) {
      CHECK(exact.labelled[k] == doctest::Approx(exact.log_joint[k]).epsilon(1e-10));
      posterior(0, k) = exact.log_joint[k];
    }
    const Var noise = tape.constant(Rng(1).normal({Tiny::kClasses, 1, 1}));
    const Var u = tiny.network.marginal_bound(w, x, tape.constant(posterior), noise);
    CHECK(u.value()(0) == doctest::Approx(exact.log_p).epsilon(1e-10));
    CHECK(exact.marginal() < exact.log_p);
  }
}

TEST_CASE("every class at once is class by class, and a hard draw's mean") {
  for (bool conv : {false, true}) {
    CAPTURE(conv);
    Rng rng(3);
    const std::size_t k = 4, b = 3, side = conv ? 28 : 3;
    const SemiSupervised network(of_size(side, side, k), {7, 8, 2, conv}, rng);
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(network.parameters);
    const Var x = tape.constant(rng.uniform({b, side * side})), logits = network.classify(w, x);
    const Tensor noise = rng.normal({k, b, 2});
    const Var q = softmax(logits), log_q = log_softmax(logits);
    Var expected = -sum(q * log_q, -1);
    for (std::size_t c = 0; c < k; ++c) {
      const Var y = tape.constant(one_hot(std::vector<std::size_t>(b, c), k));
      const Var z = slice(tape.constant(noise), c, c + 1);
      const Var l = network.labelled_bound(w, x, y, reshape(z, {b, 2}));
      expected = expected + reshape(slice(q, c, c + 1, 1), {b}) * l;
    }
    const Var found = network.marginal_bound(w, x, logits, tape.constant(noise));
    REQUIRE(found.shape() == Shape{b});
    for (std::size_t i = 0; i < b; ++i)
      CHECK(found.value()(i) == doctest::Approx(expected.value()(i)).epsilon(1e-12));
    const Tensor cotangent = rng.normal({b});
    const Gradients g = backward(found, {}, tape.constant(cotangent)),
                    h = backward(expected, {}, tape.constant(cotangent));
    for (const Var& v : w) CHECK(norm(Tensor(g[v] - h[v])) < 1e-10 * (1 + norm(h[v])));
  }
  const Tiny tiny;
  const std::size_t draws = 40000;
  const Exact exact(tiny, 6);
  Tape tape;
  Rng rng(8);
  std::vector<Var> w;
  for (const Tensor& p : tiny.network.parameters) w.push_back(tape.borrow_constant(p));
  const Var x = tape.constant(Tiny::image(6, draws));
  const Tensor u = tiny.network
                       .sampled_bound(w, x, tiny.network.classify(w, x), st_gumbel_softmax(0.5),
                                      tape.constant(rng.normal({draws, 1})), rng)
                       .value();
  double mean = 0, squares = 0;
  for (Scalar v : u) mean += v / draws, squares += v * v / draws;
  CHECK(std::abs(mean - exact.marginal()) < 4 * std::sqrt((squares - mean * mean) / draws));
}

TEST_CASE("gradients of the bounds, by differences, in every parameter") {
  Rng rng(4);
  const SemiSupervised network(of_size(2, 2, 3), {5, 4, 2, false}, rng);
  const Tensor x = rng.uniform({2, 4}), all = rng.normal({3, 2, 2}), one = rng.normal({2, 2});
  const CheckResult summed = check_gradient(
      [&](const std::vector<Var>& w) {
        const Var images = w[0].tape->constant(x), noise = w[0].tape->constant(all);
        return network.marginal_bound(w, images, network.classify(w, images), noise);
      },
      network.parameters);
  CHECK_MESSAGE(summed, summed.report);
  // Gumbel-softmax has the relaxation's own derivative.
  const CheckResult drawn = check_gradient(
      [&](const std::vector<Var>& w) {
        const Var images = w[0].tape->constant(x), noise = w[0].tape->constant(one);
        Rng same(6);
        return network.sampled_bound(w, images, network.classify(w, images), gumbel_softmax(0.7),
                                     noise, same);
      },
      network.parameters);
  CHECK_MESSAGE(drawn, drawn.report);
}

namespace {
SemiSupervisedSettings quick(const std::string& method) {
  SemiSupervisedSettings s;
  s.method = method;
  s.sizes.classifier = s.sizes.hidden = 64;
  s.labels = 5;
  s.steps = 400;
  s.warm_up = 100;
  s.rate = 3e-3;
  return s;
}
}  // namespace

TEST_CASE("training: digits without labels teach the generator, the class summed out or drawn") {
  const Split data = digits();
  double labels_alone = 0;
  for (const std::string& method : semi_supervised_methods()) {
    CAPTURE(method);
    const SemiSupervisedSettings settings = quick(method);
    SemiSupervisedTraining training(data.train, settings);
    Rng rng(1);
    const double before = mean_bound(training.network(), data.test, rng);
    while (training.steps_done() < settings.steps) training.step();
    CHECK(accuracy(training.network(), data.test) > 0.7);
    const double after = mean_bound(training.network(), data.test, rng);
    CHECK(after > before + 15);
    if (method == "labels-only")
      labels_alone = after;
    else
      CHECK(after > labels_alone + 1);
  }
}

TEST_CASE("in the warm-up digits without labels do not teach q(y|x), afterwards they do") {
  const Split data = digits();
  const auto classifier = [&](const std::string& method, std::size_t steps) {
    SemiSupervisedSettings settings = quick(method);
    settings.warm_up = 3;
    SemiSupervisedTraining training(data.train, settings);
    for (std::size_t i = 0; i < steps; ++i) training.step();
    const std::vector<Tensor>& p = training.network().parameters;
    return std::vector<Tensor>(p.begin(), p.begin() + 4);
  };
  for (std::size_t steps : {std::size_t{1}, std::size_t{5}}) {
    const std::vector<Tensor> one = classifier("marginalised", steps),
                              other = classifier("gumbel-softmax", steps);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(identical(one[i], other[i]) == (steps == 1));
  }
}

TEST_CASE("dropout keeps the mean, and what it drops is 0") {
  Tape tape;
  Rng rng(9);
  const Var x = tape.parameter(full({40000}, 3)), y = dropout(x, 0.2, rng);
  double mean = 0;
  for (Scalar v : y.value()) {
    CHECK((v == 0 || v == doctest::Approx(3.75)));
    mean += v / 40000;
  }
  CHECK(std::abs(mean - 3) < 4 * 1.5 / 200);  // the deviation of one is 3 sqrt(0.2 / 0.8)
  CHECK(norm(Tensor(backward(y)[x] * 3.0 - y.value())) < 1e-9);
  const std::uint64_t before = rng.position();
  CHECK(dropout(x, 0, rng).index == x.index);
  CHECK(rng.position() == before);
  refuses([&] { dropout(x, 1, rng); }, "dropout: rate is 1; need 0 <= rate < 1");
}

TEST_CASE("a training goes on from an archive to the same bits") {
  const Split data = digits();
  for (const std::string& method : semi_supervised_methods()) {
    CAPTURE(method);
    SemiSupervisedSettings settings = quick(method);
    settings.warm_up = 4;
    settings.decline = 0.99;
    settings.dropout = 0.5;
    SemiSupervisedTraining whole(data.train, settings), half(data.train, settings);
    for (int i = 0; i < 8; ++i) whole.step();
    for (int i = 0; i < 3; ++i) half.step();
    Archive kept;
    half.archive(kept);
    settings.seed = 77;  // all that it drew at its start is in the archive
    SemiSupervisedTraining rest(data.train, settings);
    Archive read(kept.bytes());
    rest.archive(read);
    read.finish();
    CHECK(rest.steps_done() == 3);
    for (int i = 0; i < 5; ++i) rest.step();
    for (std::size_t i = 0; i < whole.network().parameters.size(); ++i)
      CHECK(identical(rest.network().parameters[i], whole.network().parameters[i]));
  }
}

TEST_CASE("steps in their steady state ask the system for no memory") {
  const Split data = digits();
  for (const std::string& method : semi_supervised_methods()) {
    CAPTURE(method);
    release_cached_memory();
    SemiSupervisedTraining training(data.train, quick(method));
    for (int i = 0; i < 2; ++i) training.step();
    const std::size_t before = memory_use().system_requests;
    for (int i = 0; i < 4; ++i) training.step();
    if (kRecycles) CHECK(memory_use().system_requests == before);
  }
}

TEST_CASE("what a semi-supervised training refuses") {
  const Split data = digits();
  Rng rng(1);
  refuses(
      [&] {
        SemiSupervised(data.train, {8, 0, 2, false}, rng);
      },
      "SemiSupervised: 8 and 0 hidden units, 2 numbers of style; need at least 1 of each");
  refuses([&] { SemiSupervised(of_size(2, 2, 0), {}, rng); },
          "SemiSupervised: images of 4 pixels, 0 classes; need at least 1 of each");
  refuses(
      [&] {
        SemiSupervised(data.train, {8, 8, 2, true}, rng);
      },
      "SemiSupervised: images are 8 x 8; need 28 x 28 for the convolutions");
  const auto with = [&](auto change) {
    SemiSupervisedSettings s;
    change(s);
    return [&data, s] { SemiSupervisedTraining(data.train, s); };
  };
  refuses(with([](auto& s) { s.method = "gumble"; }),
          "SemiSupervisedTraining: the method is 'gumble'; need one of labels-only, marginalised, "
          "gumbel-softmax, st-gumbel-softmax");
  refuses(
      with([](auto& s) { s.batch = 0; }),
      "SemiSupervisedTraining: labels, batch and steps are 10, 0, 4000; need at least 1 of each");
  refuses(with([](auto& s) { s.alpha = 0; }),
          "SemiSupervisedTraining: alpha is 0; need more than 0, and finite");
  refuses(with([](auto& s) { s.decline = 2; }),
          "SemiSupervisedTraining: decline is 2; need 0 <= decline <= 1");
  refuses(with([](auto& s) { s.labels = 1000; }),
          "SemiSupervisedTraining: 143 digits of class 0; need 1000 with a label");
  SemiSupervisedSettings s = quick("marginalised");
  s.rate = 1e30;
  SemiSupervisedTraining far(data.train, s);
  CHECK_THROWS([&] {
    for (int i = 0; i < 10; ++i) far.step();
  }());
}
