#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <memory>

#include "models/argtape.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

Split digits() {
  const char* folder = std::getenv("ARGTAPE_DATA");
  const Dataset all = load_digits(folder ? folder : ARGTAPE_DATA_DIR);
  return split(all, default_train_size(all));
}

}  // namespace

TEST_CASE("SGD with momentum and Adam against their definitions") {
  const double g[3] = {1, -2, 0.5};
  std::vector<Tensor> a = {Tensor{1, 2}}, b = a;
  Sgd sgd(0.1, 0.9);
  Adam adam(0.1);
  double p = 1, v = 0, q = 1, m = 0, s = 0;
  for (int t = 1; t <= 3; ++t) {
    Tape tape;
    const std::vector<Var> x = tape.borrow_parameters(a), y = tape.borrow_parameters(b);
    const Var weight = tape.constant(tensor({2}, {g[t - 1], 0}));
    const Gradients gradients = backward({x[0] * weight, y[0] * weight});
    sgd.step(a, x, gradients);
    adam.step(b, y, gradients);
    v = 0.9 * v + g[t - 1];
    p -= 0.1 * v;
    m = 0.9 * m + 0.1 * g[t - 1];
    s = 0.999 * s + 0.001 * g[t - 1] * g[t - 1];
    q -= 0.1 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(s / (1 - std::pow(0.999, t))) + 1e-8);
    CHECK(static_cast<double>(a[0].data()[0]) == doctest::Approx(p).epsilon(1e-6));
    CHECK(static_cast<double>(b[0].data()[0]) == doctest::Approx(q).epsilon(1e-5));
    CHECK(a[0].data()[1] == 2);  // no gradient, no move, in any bit
    CHECK(b[0].data()[1] == 2);
  }
  // Where no gradient arrives, old momentum moves nothing on; and that was no step of Adam's.
  for (bool once : {false, true}) {
    std::vector<Tensor> c = {Tensor{1}, Tensor{2}}, d = c;
    Sgd sgd(0.1, 0.9);
    Adam adam(0.1);
    const auto step = [&](auto& optimiser, std::vector<Tensor>& parameters, bool both) {
      Tape tape;
      const std::vector<Var> x = tape.borrow_parameters(parameters);
      const Var cost = both ? 3 * x[0] + 2 * x[1] : 3 * x[0];
      once ? optimiser.step(parameters, x, cost) : optimiser.step(parameters, x, backward(cost));
    };
    for (bool both : {true, false, true}) {
      const Tensor before_c = c[1], before_d = d[1];
      step(sgd, c, both), step(adam, d, both);
      CHECK(identical(c[1], before_c) != both);
      CHECK(identical(d[1], before_d) != both);
    }
    CHECK(static_cast<double>(c[1](0)) == doctest::Approx(2 - 0.2 - 0.1 * (0.9 * 2 + 2)));
    CHECK(static_cast<double>(d[1](0)) == doctest::Approx(2 - 0.1 - 0.1));  // two steps of the rate
  }
  refuses([] { Sgd(0); }, "Sgd: rate is 0; need more than 0, and a number that Scalar can hold");
  refuses([] { Sgd(1, 1); }, "Sgd: momentum is 1; need 0 <= momentum < 1");
  refuses([] { Adam(-1); },
          "Adam: rate is -1; need more than 0, and a number that Scalar can hold");
  refuses([] { Adam(1, 1); }, "Adam: beta1 is 1; need 0 <= beta1 < 1");
  Tape tape;
  std::vector<Tensor> other = {Tensor{1, 2, 3}};
  const std::vector<Var> x = tape.borrow_parameters(other);
  const Gradients gradients = backward(x[0]);
  refuses(
      [&] { adam.step(other, x, gradients); },
      "Adam: parameter 0 is (3,), on the tape (3,), in the steps before (2,); need the same shape");
  refuses([&] { adam.step(a, {}, gradients); },
          "Adam: 1 parameters, 0 of them on the tape; need as many of each");
}

TEST_CASE("AdamW, RMSprop and clipping against PyTorch's numbers") {
  // PyTorch 1.13, in float64: AdamW(lr=0.1, weight_decay=0.3), RMSprop(lr=0.1, alpha=0.9).
  const Tensor g[3] = {Tensor{1, -2, 0.5}, Tensor{-3, 0.25, 4}, Tensor{0.125, 1e-3, -1}};
  const double adamw[3][3] = {{0.870000001, 2.04, -0.584999998},
                              {0.893318984, 2.03605346, -0.649596574},
                              {0.902166041, 2.01919721, -0.676350173}},
               rmsprop[3][3] = {{0.683772244, 2.31622776, -0.816227746},
                                {0.985283586, 2.27491814, -1.13025521},
                                {0.972052646, 2.27474397, -1.05019755}};
  const auto follows = [&](auto optimiser, const double(&path)[3][3]) {
    std::vector<Tensor> a = {Tensor{1, 2, -0.5}};
    for (int t = 0; t < 3; ++t) {
      Tape tape;
      const std::vector<Var> x = tape.borrow_parameters(a);
      optimiser.step(a, x, Gradients(x, {g[t]}));
      for (std::size_t i = 0; i < 3; ++i)
        CHECK(static_cast<double>(a[0](i)) == doctest::Approx(path[t][i]).epsilon(2e-6));
    }
  };
  follows(AdamW(0.1, 0.3), adamw);
  follows(RmsProp(0.1, 0.9), rmsprop);
  refuses([] { AdamW(0.1, -1); }, "AdamW: weight_decay is -1; need a finite number of at least 0");
  refuses([] { RmsProp(0.1, 1); }, "RmsProp: decay is 1; need 0 <= decay < 1");
  refuses([] { RmsProp(0.1, 0.9, 0); },
          "RmsProp: epsilon is 0; need more than 0, and a number that Scalar can hold");

  // clip_grad_norm_([a, b], 2), whose quotient has 1e-6 added below, and clip_grad_value_(, 2.5).
  Tape tape;
  const Var a = tape.parameter(zeros({3})), b = tape.parameter(zeros({2}));
  Gradients clipped({b, a}, {Tensor{12, 0.5}, Tensor{3, -4, 1}}), cut = clipped, whole = clipped;
  CHECK(clipped.clip_norm(2) == doctest::Approx(13.047988350699889));
  CHECK(clipped.norm() == doctest::Approx(2));
  const double in_a[3] = {0.45984096390132034, -0.6131212852017605, 0.15328032130044011},
               in_b[2] = {1.8393638556052814, 0.07664016065022006};
  for (std::size_t i = 0; i < 3; ++i)
    CHECK(static_cast<double>(clipped[a](i)) == doctest::Approx(in_a[i]).epsilon(1e-6));
  for (std::size_t i = 0; i < 2; ++i)
    CHECK(static_cast<double>(clipped[b](i)) == doctest::Approx(in_b[i]).epsilon(1e-6));
  cut.clip_values(2.5);
  CHECK(identical(cut[a], Tensor{2.5, -2.5, 1}));
  CHECK(identical(cut[b], Tensor{2.5, 0.5}));
  CHECK(cut.clip_norm(100) == doctest::Approx(4.47213595499958));
  CHECK(identical(cut[a], Tensor{2.5, -2.5, 1}));  // short enough: no bit changes
  whole *= 0.5;
  CHECK(identical(whole[b], Tensor{6, 0.25}));
  const Scalar nan = std::nanf("");
  Gradients bad({a}, {Tensor{1, nan, 0}});
  refuses([&] { bad.clip_norm(1); },
          "clip_norm: the gradient of node 0 is NaN; need finite numbers");
  refuses([&] { bad.clip_values(1); },
          "clip_values: the gradient of node 0 is NaN; need finite numbers");
  refuses([&] { cut.clip_norm(0); },
          "clip_norm: the most is 0; need more than 0, and a number that Scalar can hold");
  // What Scalar rounds to 0, to a number of few digits, or to an infinity.
  for (double bound : {1e-60, 1e-42, 1e39, 1e300})
    for (const auto clip : {+[](Gradients&g, double most) { g.clip_norm(most); },
                            +[](Gradients&g, double most) { g.clip_values(most); }}) {
      Gradients kept = whole;
      CHECK_THROWS_WITH_AS(clip(kept, bound), doctest::Contains("a number that Scalar can hold"),
                           std::invalid_argument);
      CHECK(identical(kept[b], whole[b]));
    }
  refuses([&] { whole *= 1e300; },
          "Gradients: *= 1e+300 takes the gradient of node 0 out of Scalar's range; need a smaller "
          "number");
  CHECK(identical(whole[b], Tensor{6, 0.25}));
  refuses([&] { Gradients({a}, {zeros({2})}); },
          "Gradients: gradient 0 is (2,), its Var (3,); need the same shape");
  refuses(
      [&] {
        Gradients({a, a}, {zeros({3}), zeros({3})});
      },
      "Gradients: node 0 is there twice; need one gradient for each Var");
  refuses([&] { Gradients({a}, {}); }, "Gradients: 0 gradients for 1 Vars; need one for each");
  // The norm of what has squares out of range.
  CHECK(Gradients({b}, {Tensor{3e30, 4e30}}).norm() == doctest::Approx(5e30));
}

TEST_CASE("gradients of a batch in pieces add up to those of the whole") {
  Rng rng(5);
  const Mlp model({4, 6, 2}, rng);
  const Tensor x = rng.normal({12, 4});
  const auto gradients = [&](Tape& tape, std::vector<Var>& w, std::size_t from, std::size_t n) {
    w = tape.borrow_parameters(model.parameters);
    Tensor part = uninitialised({n, 4});
    std::copy_n(x.data() + from * 4, n * 4, part.data());
    return backward(sum(square(model(w, tape.constant(part))), 1));
  };
  Tape at_once;
  std::vector<Var> all;
  const Gradients expected = gradients(at_once, all, 0, 12);
  Gradients total;
  std::vector<Var> w;
  std::unique_ptr<Tape> tape;
  for (std::size_t piece = 0; piece < 3; ++piece) {
    tape = std::make_unique<Tape>();
    Gradients g = gradients(*tape, w, piece * 4, 4);
    g += total;
    total = std::move(g);
  }
  for (std::size_t i = 0; i < w.size(); ++i)
    for (std::size_t k = 0; k < expected[all[i]].size(); ++k)
      CHECK(static_cast<double>(total[w[i]].data()[k]) ==
            doctest::Approx(static_cast<double>(expected[all[i]].data()[k])).epsilon(1e-4));
  Gradients fewer({w[0]}, {zeros(w[0].shape())});
  refuses([&] { fewer += total; }, "Gradients: 1 += 4 of them; need as many of each");
  Gradients other({w[1]}, {zeros(w[1].shape())});
  refuses([&] { other += fewer; },
          "Gradients: gradient 0 is (6,) of node 1, what is added (4, 6) of node 0; need those of "
          "the same parameters");
}

TEST_CASE("a rate may be a schedule, which goes on where an archive left it") {
  std::vector<Tensor> a = {Tensor{1, 2}}, b = a;
  Sgd by_schedule(linear_decay(0.5, 0, 4)), by_hand(0.5);
  for (int t = 0; t < 6; ++t) {
    Tape tape;
    const std::vector<Var> x = tape.borrow_parameters(a), y = tape.borrow_parameters(b);
    const Gradients gradients = backward({sum(square(x[0])), sum(square(y[0]))});
    by_hand.rate = 0.5 * std::max(0.0, 1 - t / 4.0);
    by_schedule.step(a, x, gradients), by_hand.step(b, y, gradients);
    CHECK(by_schedule.rate == by_hand.rate);
    CHECK(identical(a[0], b[0]));
    Archive kept;
    by_schedule.archive(kept);
    Sgd other(linear_decay(0.5, 0, 4));
    Archive read(kept.bytes());
    other.archive(read);
    by_schedule = other;
  }
  refuses([] { Sgd([](std::size_t) { return 0.0; }); },
          "Sgd: rate is 0; need more than 0, and a number that Scalar can hold");
  Sgd none([](std::size_t step) { return step == 0 ? 1.0 : -1.0; });
  const auto step = [&] {
    Tape tape;
    const std::vector<Var> x = tape.borrow_parameters(a);
    none.step(a, x, sum(x[0]));
  };
  step();
  refuses(step, "Sgd: rate is -1; need more than 0, and a number that Scalar can hold");
}

TEST_CASE("a state of another kind is refused: of a network, of moments that were not kept") {
  const auto bytes_of = [](auto& state) {
    Archive kept;
    state.archive(kept);
    return kept.bytes();
  };
  const auto stepped = [](Adam adam) {
    std::vector<Tensor> p = {Tensor{1, 2}};
    Tape tape;
    const std::vector<Var> x = tape.borrow_parameters(p);
    adam.step(p, x, backward(x[0]));
    return adam;
  };
  Adam plain = stepped(Adam(0.1, 0)), adam(0.1);
  Archive without(bytes_of(plain));
  CHECK_THROWS_WITH_AS(adam.archive(without),
                       doctest::Contains("the state has 0 tensors of mean; need 1"),
                       std::runtime_error);
  const auto with = [](std::size_t hidden) {
    ControlVariateSettings settings;
    settings.hidden = hidden;
    return std::make_shared<ControlVariate>(settings);
  };
  const auto four = with(4);
  {
    Tape tape;
    Rng rng(1);
    relax(four)(
        tape.parameter(zeros({2, 3})),
        [](Var z) {
          return sum(z * Tensor{1, 2, 4}, -1);
        },
        rng);
  }
  for (std::size_t other : {std::size_t{0}, std::size_t{8}}) {
    Archive archive(bytes_of(*four));
    const std::string words = "the state has 4 hidden units; need " + std::to_string(other);
    CHECK_THROWS_WITH_AS(with(other)->archive(archive), doctest::Contains(words.c_str()),
                         std::runtime_error);
  }
  Archive archive(bytes_of(*four));
  CHECK_NOTHROW(with(4)->archive(archive));
}

TEST_CASE("several groups in one last sweep move as each does alone") {
  Rng rng(4);
  Mlp encoder({5, 4, 3}, rng), decoder({3, 4, 5}, rng);
  const Mlp first = encoder, second = decoder;
  const Tensor x = rng.normal({7, 5});
  const auto train = [&](bool together) {
    Mlp e = first, d = second;
    Adam adam(1e-2);
    Sgd sgd(1e-3, 0.9);
    for (int t = 0; t < 3; ++t) {
      Tape tape;
      const std::vector<Var> in = tape.borrow_parameters(e.parameters),
                             out = tape.borrow_parameters(d.parameters);
      const Var seen = tape.constant(x);
      const Var cost = sum(squared_error(d(out, e(in, seen)), seen), 1);
      if (together) {
        step_together({{adam, e.parameters, in}, {sgd, d.parameters, out}}, cost);
      } else {
        const Gradients gradients = backward(cost);
        adam.step(e.parameters, in, gradients);
        sgd.step(d.parameters, out, gradients);
      }
    }
    std::vector<Tensor> all = e.parameters;
    all.insert(all.end(), d.parameters.begin(), d.parameters.end());
    return all;
  };
  const std::vector<Tensor> a = train(true), b = train(false);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(identical(a[i], b[i]));
  Tape tape;
  const std::vector<Var> in = tape.borrow_parameters(encoder.parameters);
  Adam adam(1e-2), other(1e-2);
  refuses(
      [&] {
        step_together({{adam, encoder.parameters, in}, {adam, encoder.parameters, in}}, sum(in[0]));
      },
      "step_together: the same Adam in two groups; need one for each");
  refuses(
      [&] {
        step_together({{adam, encoder.parameters, in}, {other, encoder.parameters, in}},
                      sum(in[0]));
      },
      "step_together: node 0 is among the parameters twice; need each of them once");
}

TEST_CASE("accuracy and the confusion matrix") {
  const std::vector<std::size_t> predicted = {0, 1, 1, 2, 0}, labels = {0, 1, 2, 2, 1};
  CHECK(accuracy(predicted, labels) == 0.6);
  CHECK(confusion_matrix(predicted, labels, 3) == Tensor{{1, 0, 0}, {1, 1, 0}, {0, 1, 1}});
  refuses([&] { accuracy({1}, labels); },
          "accuracy: 1 predictions for 5 labels; need one for each, and at least one");
  refuses([&] { confusion_matrix(predicted, labels, 2); },
          "confusion_matrix: example 2 has label 2 and was predicted as 1; need less than 2");
}

TEST_CASE("the range of Scalar: Adam goes on after a gradient of any finite size") {
  constexpr double rate = 0.1, b1 = 0.9, b2 = 0.999, epsilon = 1e-8;
  for (double far : {1e15, 1e19, 1e20, 1e30, 3e38, -3e38, 1e-18, 1e-30})
    for (std::size_t size : {std::size_t{1}, std::size_t{37}}) {
      CAPTURE(far);
      std::vector<Tensor> a = {zeros({size})};
      Adam adam(rate);
      double m = 0, v = 0, p = 0, other_m = 0, other_v = 0, other = 0;
      for (int t = 1; t <= 30; ++t) {
        const double g = t == 3 ? far : 1;
        Tensor weight = full({size}, 1);
        weight.data()[0] = static_cast<Scalar>(g);
        Tape tape;
        const std::vector<Var> x = tape.borrow_parameters(a);
        adam.step(a, x, x[0] * tape.constant(weight));
        const auto step = [&](double slope, double& mean, double& square, double& at) {
          mean = b1 * mean + (1 - b1) * slope;
          square = b2 * square + (1 - b2) * slope * slope;
          at -= rate * (mean / (1 - std::pow(b1, t))) /
                (std::sqrt(square / (1 - std::pow(b2, t))) + epsilon);
        };
        step(g, m, v, p), step(1, other_m, other_v, other);
        CHECK(static_cast<double>(a[0].data()[0]) == doctest::Approx(p).epsilon(1e-4));
        if (size > 1)
          CHECK(static_cast<double>(a[0].data()[size - 1]) == doctest::Approx(other).epsilon(1e-4));
      }
    }
  const char* too_small = "; need more than 0, and a number that Scalar can hold";
  CHECK_THROWS_WITH_AS(Adam(0.1, 0.9, 0.999, 1e-46), doctest::Contains(too_small),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(Adam(1e39), doctest::Contains(too_small), std::invalid_argument);
  CHECK_THROWS_WITH_AS(Sgd(1e39), doctest::Contains(too_small), std::invalid_argument);
}

TEST_CASE("what learns takes in no such number: an optimiser, of gradients that are not finite") {
  constexpr Scalar inf = std::numeric_limits<Scalar>::infinity();
  const auto try_all = [&](auto make, const std::string& name) {
    for (Scalar bad : {std::nanf(""), inf, -inf})
      for (bool once : {false, true}) {
        CAPTURE(bad);
        std::vector<Tensor> a = {full({40}, 1)}, b = a;
        auto harmed = make(), spared = make();
        const auto step = [&](auto& optimiser, std::vector<Tensor>& p, const Tensor& slope) {
          Tape tape;
          const std::vector<Var> x = tape.borrow_parameters(p);
          const Var cost = x[0] * tape.constant(slope);
          once ? optimiser.step(p, x, cost) : optimiser.step(p, x, backward(cost));
        };
        const Tensor good = full({40}, 2);
        Tensor poisoned = good;
        poisoned.data()[33] = bad;
        step(harmed, a, good), step(spared, b, good);
        const Tensor before = a[0];
        CHECK_THROWS_WITH_AS(step(harmed, a, poisoned),
                             (name + ": the gradient of parameter 0 is " +
                              str(static_cast<double>(bad)) + " at 33; need finite numbers")
                                 .c_str(),
                             std::invalid_argument);
        CHECK(a[0](33) == before(33));
        // What is kept about it had no part in the step that was refused.
        step(harmed, a, good), step(spared, b, good);
        CHECK(a[0](33) == b[0](33));
        for (Scalar x : a[0]) CHECK(std::isfinite(x));
      }
    std::vector<Tensor> a = {Tensor{1, inf}};
    Tape tape;
    const std::vector<Var> x = tape.borrow_parameters(a);
    auto optimiser = make();
    CHECK_THROWS_WITH_AS(optimiser.step(a, x, x[0]),
                         (name + ": parameter 0 is inf at 1; need finite numbers").c_str(),
                         std::invalid_argument);
  };
  try_all([] { return Adam(0.1); }, "Adam");
  try_all([] { return Sgd(0.1, 0.9); }, "Sgd");
  try_all([] { return AdamW(0.1); }, "AdamW");
  try_all([] { return RmsProp(0.1); }, "RmsProp");
  std::vector<Tensor> a = {Tensor{1}};
  Tape tape;
  const std::vector<Var> x = tape.borrow_parameters(a);
  const Gradients gradients = backward(x[0] * 1e10);
  refuses([&] { Sgd(1e30).step(a, x, gradients); },
          "Sgd: a step at rate 1e+30 takes parameter 0 out of Scalar's range; need a lower rate");
  CHECK(a[0](0) == 1);
}

TEST_CASE("a step is refused for parameters on another tape than the costs, and leaves no trace") {
  std::vector<Tensor> p = {zeros({1000})}, q = {Tensor{1.0, 2.0}};
  Sgd sgd(linear_decay(1, 0, 10)), other(1);
  Adam adam(0.1);
  for (int i = 0; i < 5; ++i) {
    Tape a, b;
    const std::vector<Var> vp = a.borrow_parameters(p), vq = b.borrow_parameters(q);
    const char* words = "is on another tape than the costs";
    CHECK_THROWS_WITH_AS(sgd.step(p, vp, sum(square(vq[0]))), doctest::Contains(words),
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(step_together({{other, q, vq}, {sgd, p, vp}}, sum(square(vq[0]))),
                         doctest::Contains(words), std::invalid_argument);
    CHECK_THROWS_AS(sgd.step(p, vp, backward(sum(square(vq[0])))), std::invalid_argument);
    CHECK_THROWS_AS(adam.step(q, vq, backward(sum(vq[0] * NAN))), std::invalid_argument);
  }
  CHECK(p[0] == zeros({1000}));
  Tape tape;
  const std::vector<Var> vp = tape.borrow_parameters(p), vq = tape.borrow_parameters(q);
  sgd.step(p, vp, sum(vp[0]));
  CHECK(sgd.rate == 1);  // no step of the schedule was used up
  Tape another;
  const std::vector<Var> once_more = another.borrow_parameters(q);
  adam.step(q, once_more, sum(once_more[0]));
  CHECK(q[0](0) == doctest::Approx(0.9));  // Adam's first step is its rate
}

TEST_CASE("after a refused step the right one is as good as the first") {
  Tape tape;
  const std::vector<Var> x = {tape.parameter(ones({2}))};
  const Gradients gradients = backward(sum(square(x[0])));
  const auto try_all = [&](auto&& optimiser) {
    std::vector<Tensor> column = {ones({2, 1})}, two = {ones({2}), ones({2})}, right = {ones({2})};
    CHECK_THROWS_AS(optimiser.step(column, x, gradients), std::invalid_argument);
    CHECK_THROWS_AS(optimiser.step(two, x, gradients), std::invalid_argument);
    CHECK_THROWS_AS(optimiser.step(right, x, Gradients()), std::invalid_argument);
    optimiser.step(right, x, gradients);
    CHECK(right[0](0) < 1);
    CHECK(column[0] == ones({2, 1}));
    CHECK(two[0] == ones({2}));
  };
  try_all(Sgd(0.1, 0.9)), try_all(Adam(0.1)), try_all(AdamW(0.1)), try_all(RmsProp(0.1));
  // A rate that is refused binds it to no parameters either.
  Sgd late([](std::size_t) {
    static int asked = 0;
    return asked++ == 1 ? -1.0 : 1.0;
  });
  std::vector<Tensor> right = {ones({2})};
  CHECK_THROWS_AS(late.step(right, x, gradients), std::invalid_argument);
  Tape other;
  std::vector<Tensor> three = {ones({3})};
  const std::vector<Var> y = {other.parameter(three[0])};
  late.step(three, y, backward(sum(y[0])));
  CHECK(three[0] == zeros({3}));
}

TEST_CASE("gradients of a tape that is gone are not those of the next at its address") {
  std::vector<Tensor> p = {Tensor{1}};
  Sgd sgd(1);
  Gradients old;
  const Tape* address = nullptr;
  for (bool again : {false, true}) {
    Tape tape;
    const std::vector<Var> v = tape.borrow_parameters(p);
    if (!again) {
      old = backward(5 * v[0]);
      address = &tape;
      continue;
    }
    REQUIRE(&tape == address);
    const char* words =
        "gradients: node 0 is neither a parameter of this tape nor among the Vars asked for";
    refuses([&] { sgd.step(p, v, old); }, words);
    refuses([&] { old[v[0]]; }, words);
    CHECK(p[0](0) == 1);
  }
  refuses([&] { Gradients()[Var()]; },
          "gradients: node 0 is neither a parameter of this tape nor among the Vars asked for");
}

TEST_CASE("a step is for each parameter once, in order, and for parameters alone") {
  std::vector<Tensor> p = {Tensor{1}, Tensor{1}};
  Sgd sgd(1);
  Tape tape;
  const std::vector<Var> v = tape.borrow_parameters(p);
  const Var c = tape.borrow_constant(p[0]), cost = sum(v[0] * c), twice = 2 * v[1];
  const Gradients g = backward(cost, twice);
  const char* order =
      "Sgd: parameters on the tape out of order; need them in the order in which they were put "
      "there";
  refuses([&] { sgd.step(p, {v[1], v[0]}, g); }, order);
  refuses([&] { sgd.step(p, {v[0], v[0]}, g); }, order);
  refuses([&] { sgd.step(p, {v[0], c}, cost); }, "Sgd: node 2 is constant; need parameters");
  refuses(
      [&] {
        sgd.step(p, {v[0], twice}, cost + sum(twice));
      },
      "Sgd: node 6 is multiply; need parameters");
  CHECK(p == std::vector<Tensor>{Tensor{1}, Tensor{1}});
  sgd.step(p, v, cost);  // the tape is still good
  CHECK(p == std::vector<Tensor>{Tensor{0}, Tensor{1}});
}

TEST_CASE("a rate set by hand is looked at before a step; 0 is one") {
  std::vector<Tensor> p = {Tensor{1}};
  const auto step = [&](double rate, bool once) {
    RmsProp optimiser(1);
    optimiser.rate = rate;
    Tape tape;
    const std::vector<Var> v = tape.borrow_parameters(p);
    if (once)
      optimiser.step(p, v, v[0]);
    else
      optimiser.step(p, v, backward(v[0]));
  };
  for (bool once : {true, false}) {
    refuses([&] { step(-1, once); },
            "RmsProp: rate is -1; need more than 0, and a number that Scalar can hold");
    refuses([&] { step(std::nan(""), once); },
            "RmsProp: rate is nan; need more than 0, and a number that Scalar can hold");
    refuses([&] { step(1e300, once); },
            "RmsProp: rate is 1e+300; need more than 0, and a number that Scalar can hold");
    step(0, once);
    CHECK(p[0](0) == 1);
  }
}

TEST_CASE("layers: a dense stack against plain loops, initialisers within their bounds") {
  Rng rng(1);
  const Mlp net({3, 4, 2}, rng);
  REQUIRE(net.parameters.size() == 4);
  Tape tape;
  const Tensor x{{1, 2, 3}, {-1, 0, 1}};
  const Tensor y = net(tape.borrow_parameters(net.parameters), tape.constant(x)).value();
  for (std::size_t r = 0; r < 2; ++r)
    for (std::size_t o = 0; o < 2; ++o) {
      double out = net.parameters[3].data()[o];
      for (std::size_t h = 0; h < 4; ++h) {
        double hidden = net.parameters[1].data()[h];
        for (std::size_t i = 0; i < 3; ++i)
          hidden += static_cast<double>(x(r, i)) * net.parameters[0](i, h);
        out += std::max(hidden, 0.0) * net.parameters[2](h, o);
      }
      CHECK(static_cast<double>(y(r, o)) == doctest::Approx(out).epsilon(1e-5));
    }
  for (float w : uniform_fan_in().weights(16, 5, rng)) CHECK(std::abs(w) < 0.25f);
  for (float w : glorot_uniform().weights(4, 2, rng)) CHECK(std::abs(w) < 1);
  CHECK(glorot_uniform().bias(4, 2, rng) == Tensor{0, 0});
  refuses([&] { Mlp({3}, rng); }, "Mlp: 1 sizes; need at least 2");
  refuses([&] { Mlp({3, 0}, rng); }, "Mlp: a size is 0; need at least 1");
  refuses([&] { net({}, tape.constant(x)); }, "Mlp: 0 parameters on the tape; need 4");
  const std::vector<Var> w = tape.borrow_parameters(net.parameters);
  for (const auto& [first, last] : {std::pair{0u, 3u}, {0u, 6u}, {2u, 0u}})
    CHECK_THROWS_WITH_AS(dense_layers(w, first, last, tape.constant(x)),
                         doctest::Contains(" of 4 parameters on the tape; need weights and a bias"),
                         std::invalid_argument);
}

TEST_CASE("the 0/1 loss is 1 where the choice is wrong, in both forms") {
  Tape tape;
  const Var z = tape.parameter(Tensor{{0, 1, 0}, {1, 0, 0}});
  CHECK(zero_one_loss(z, {1, 2}).value() == Tensor{0, 1});
  CHECK(zero_one_loss_squared(z, {1, 2}).value() == Tensor{0, 1});
  CHECK(backward(zero_one_loss(z, {1, 2}))[z] == Tensor{{0, -1, 0}, {0, 0, -1}});
  CHECK(backward(zero_one_loss_squared(z, {1, 2}))[z] == Tensor{{0, 0, 0}, {1, 0, -1}});
  refuses([&] { zero_one_loss(z, {1}); },
          "zero_one_loss: choices are (2, 3), labels are 1; need (..., n, K) and n labels");
}

TEST_CASE("zero_one: the zero rule leaves every weight bit-identical, and says why") {
  const Split data = digits();
  Rng rng(1);
  Mlp net({64, 16, 10}, rng);
  const std::vector<Tensor> start = net.parameters;
  ZeroOneSettings settings;
  settings.epochs = 3;
  const ZeroOneRun run = train_zero_one(data, "zero", settings, net);
  for (std::size_t i = 0; i < start.size(); ++i) CHECK(identical(start[i], net.parameters[i]));
  CHECK_FALSE(run.moved);
  CHECK(run.stop_report.find("argmax[zero]") != std::string::npos);
  CHECK(run.by_epoch.front() == run.by_epoch.back());
}

TEST_CASE("zero_one: straight-through and the exact expected loss are the same run, step by step") {
  const Split data = digits();
  Rng rng(1);
  const Mlp start({64, 32, 10}, rng);
  ZeroOneSettings settings;
  for (std::size_t epochs : {std::size_t{1}, std::size_t{2}, std::size_t{10}}) {
    settings.epochs = epochs;
    Mlp a = start, b = start;
    const ZeroOneRun st = train_zero_one(data, "straight-through", settings, a),
                     exact = train_zero_one(data, "exact", settings, b);
    for (std::size_t i = 0; i < a.parameters.size(); ++i)
      CHECK(identical(a.parameters[i], b.parameters[i]));
    CHECK(st.by_epoch == exact.by_epoch);
    CHECK(st.moved);
  }
}

TEST_CASE("zero_one: every learning rule learns the digits (seeded, the small data)") {
  const Split data = digits();
  ZeroOneSettings settings;
  settings.epochs = 60;
  for (const std::string& method : zero_one_methods()) {
    if (method == "zero") continue;
    CAPTURE(method);
    double best = 0;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      settings.seed = seed;
      const ZeroOneRun run = train_zero_one(data, method, settings);
      CHECK(run.test_accuracy > 0.7);
      best = std::max(best, run.test_accuracy);
      CHECK(run.steps == 660);
    }
    CHECK(best > (method == "score-function" ? 0.78 : 0.85));
  }
  CHECK_THROWS_AS(train_zero_one(data, "gumble", settings), std::invalid_argument);
  settings.batch = 0;
  refuses([&] { train_zero_one(data, "exact", settings); },
          ("train_zero_one: epochs, batch and repeats are " + std::to_string(settings.epochs) +
           ", 0, 4; need at least 1 of each")
              .c_str());
}

TEST_CASE(
    "a training step in its steady state asks the system for no memory for tensors and nodes") {
  using Loss = std::function<Var(const std::vector<Var>&, Tape&, Rng&)>;
  struct Model {
    const char* name;
    std::vector<Tensor> parameters;
    Loss loss;
  };
  const Split data = digits();
  Rng start(1);
  const Dataset batch = take(data.train, start.permutation(100));
  const auto weights = [&](const Shape& s) { return start.normal(s) * 0.1f; };
  const std::vector<Model> models = {
      {"0/1 loss", Mlp({64, 32, 10}, start).parameters,
       [&](const std::vector<Var>& w, Tape& tape, Rng& rng) {
         const Var h = relu(dense(tape.constant(batch.images), w[0], w[1]));
         return zero_one_loss(sample(dense(h, w[2], w[3]), reinmax(), rng), batch.labels);
       }},
      {"categorical autoencoder", Mlp({64, 60, 64}, start).parameters,
       [&](const std::vector<Var>& w, Tape& tape, Rng& rng) {
         const Var x = tape.borrow_constant(batch.images);
         const Var l = reshape(dense(x, w[0], w[1]), {100, 6, 10});
         const Var z = reshape(sample(l, gumbel_softmax(1), rng), {100, 60});
         return sum(bce_with_logits(dense(z, w[2], w[3]), x)) / 100.0 +
                mean(kl_categorical_uniform(l));
       }},
      {"convolutions",
       {weights({8, 1, 3, 3}), weights({4, 8, 3, 3}), weights({4, 10}), weights({10})},
       [&](const std::vector<Var>& w, Tape& tape, Rng&) {
         const Var x = tape.constant(reshaped(batch.images, {100, 1, 8, 8}));
         const Var h = max_pool2d(relu(conv2d(x, w[0], 1, 1)), 2);
         const Var p = mean(conv2d(h, w[1], 1, 1), {2, 3});
         return mean(cross_entropy(dense(p, w[2], w[3]), batch.labels));
       }},
      {"k-means",
       {weights({10, 64})},
       [&](const std::vector<Var>& w, Tape& tape, Rng&) {
         const Var x = tape.borrow_constant(batch.images);
         const Var d = sum(square(w[0]), 1) - 2.0 * matmul_transposed(x, w[0]);
         return sum_of([](auto a, auto b) { return square(a - b); }, x,
                       take(w[0], indices_of(argmin(d, zero()))));
       }},
      {"permutations",
       {weights({7, 20, 20})},
       [&](const std::vector<Var>& w, Tape& tape, Rng& rng) {
         const Var noise = tape.constant(rng.gumbel({7, 20, 20}));
         return sum(square(matmul(sinkhorn(w[0] + noise, 0.5, 10), w[0])));
       }},
      {"rows",
       {weights({50, 30}), weights({30}), weights({30})},
       [&](const std::vector<Var>& w, Tape&, Rng&) {
         const Var h = layer_norm(w[0], w[1], w[2]);
         return sum(elementwise([](auto a) { return a * sigmoid(a); }, h) * softmax(h), 1);
       }}};
  for (Model model : models)
    for (bool from_costs : {false, true}) {
      CAPTURE(model.name);
      CAPTURE(from_costs);
      Adam adam(1e-3);
      Rng rng(2);
      std::size_t after_two = 0;
      for (int step = 0; step < 8; ++step) {
        Tape tape;
        const std::vector<Var> w = tape.borrow_parameters(model.parameters);
        const Var loss = model.loss(w, tape, rng);
        if (from_costs)
          adam.step(model.parameters, w, loss);
        else
          adam.step(model.parameters, w, backward(loss));
        if (step == 1) after_two = memory_use().system_requests;
      }
      if (kRecycles) CHECK(memory_use().system_requests == after_two);
    }
}

TEST_CASE("a step from the costs is the step from the gradients, in less memory") {
  const Split data = digits();
  const Dataset few = take(data.train, {0, 1, 2, 3, 4});
  const auto train = [&](auto make, bool from_costs, std::size_t& bytes) {
    Rng rng(1);
    Mlp net({64, 512, 512, 512, 10}, rng);
    auto optimiser = make();
    release_cached_memory();
    for (int step = 0; step < 3; ++step) {
      Tape tape;
      const std::vector<Var> w = tape.borrow_parameters(net.parameters);
      const Var loss = cross_entropy(net(w, tape.constant(few.images)), few.labels);
      if (from_costs)
        optimiser.step(net.parameters, w, loss);
      else
        optimiser.step(net.parameters, w, backward(loss));
    }
    bytes = memory_use().cached_bytes;
    return net.parameters;
  };
  const auto same = [&](auto make) {
    std::size_t least = 0, most = 0;
    const std::vector<Tensor> a = train(make, true, least), b = train(make, false, most);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(identical(a[i], b[i]));
    // The two largest gradients, of 1 MB each, are never there together.
    if (kRecycles) CHECK(least + 1000000 <= most);
  };
  same([] { return Adam(1e-3); });
  same([] { return Sgd(1e-3, 0.9); });

  Tensor p = zeros({2}), q = zeros({2});
  std::vector<Tensor> both = {p, q};
  Tape tape;
  const std::vector<Var> v = tape.borrow_parameters(both);
  CHECK_THROWS_WITH_AS(
      Sgd(1).step(both, {v[1], v[0]}, sum(v[0])),
      "Sgd: parameters on the tape out of order; need them in the order in which they were put "
      "there",
      std::invalid_argument);
}

TEST_CASE("the same seed gives the same bits, whatever the thread count") {
  const auto train = [](int n) {
    set_threads(n);
    Rng rng(1);
    std::vector<Tensor> parameters = {rng.normal({700, 300}), rng.normal({300}),
                                      rng.normal({300, 77})};
    Adam adam(1e-2);
    for (int step = 0; step < 3; ++step) {
      Tape tape;
      const std::vector<Var> w = tape.borrow_parameters(parameters);
      const Var l = relu(layer_norm(w[0] * w[1], w[1], w[1])) + static_cast<double>(rng.below(5));
      const Var soft = sample(l, gumbel_softmax(0.7), rng),
                hard = sample(l, st_gumbel_softmax(1), rng),
                scored = sample(matmul(l, w[2]), score_function(running_mean()), rng),
                again = sample(l, gumbel_rao(1, 4), rng);
      const Var cost = sum(soft * log_softmax(l - hard), 1) + logsumexp(l + again, 1) +
                       mean(square(scored - softmax(matmul(l, w[2]))), 1) +
                       cross_entropy(l, std::vector<std::size_t>(700, 7));
      adam.step(parameters, w, {cost, square(cost)});
    }
    set_threads(1);
    return parameters;
  };
  const std::vector<Tensor> one = train(1);
  for (int n : {2, 3, 5}) {
    const std::vector<Tensor> many = train(n);
    for (std::size_t i = 0; i < one.size(); ++i) CHECK(identical(one[i], many[i]));
  }
}

TEST_CASE("the same seed gives the same run") {
  const Split data = digits();
  ZeroOneSettings settings;
  settings.epochs = 2;
  for (const char* method : {"gumbel-softmax", "score-function+leave-one-out"})
    CHECK(train_zero_one(data, method, settings).by_epoch ==
          train_zero_one(data, method, settings).by_epoch);
}
