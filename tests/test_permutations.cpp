// The systems that learn permutations: sorting numbers, and jigsaw puzzles.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/threads.hpp"
#include "models/jigsaw.hpp"
#include "models/sorting.hpp"
#include "ops/shape.hpp"
#include "tests/recycling.hpp"
#include "tests/refuses.hpp"

using namespace argtape;

namespace {

// A network 1-1-n whose logit for place j is slopes[j] times the number.
Mlp linear(const std::vector<double>& slopes) {
  Rng rng(1);
  Mlp network({1, 1, slopes.size()}, rng);
  network.parameters = {ones({1, 1}), zeros({1}), tensor({1, slopes.size()}, slopes),
                        zeros({slopes.size()})};
  return network;
}

SortingScore sorted_with(const std::vector<double>& slopes, double low, double high) {
  SortingScore score{low, high};
  const Tensor lists = Rng(3).uniform({200, slopes.size()}, low, high);
  score_sorting(lists, sort_by_matching(linear(slopes), lists), score);
  return score;
}

}  // namespace

TEST_CASE("numbers are sorted where the places' slopes rise, however close they lie") {
  std::vector<double> rising(50);
  for (std::size_t j = 0; j < 50; ++j) rising[j] = 3 * static_cast<double>(j) - 1000;
  for (double low : {0.0, 1.0, 1000.0}) CHECK(sorted_with(rising, low, low + 1).any == 0);
  std::swap(rising[20], rising[21]);
  CHECK(sorted_with(rising, 0, 1).any == 1);
  CHECK(sorted_with(rising, 0, 1).wrong == doctest::Approx(2.0 / 50));
  // A descending list in the middle of which one number stays.
  CHECK(sorted_with({2, 1, 0}, 0, 1).wrong == doctest::Approx(2.0 / 3));

  SortingScore score{0, 1};
  score_sorting(tensor({2, 3}, {1, 1, 0, 2, 3, 1}), tensor({2, 3}, {0, 1, 1, 1, 3, 2}), score);
  CHECK(score.wrong == doctest::Approx(2.0 / 6));
  CHECK(score.any == 0.5);
  refuses(
      [] {
        sort_by_matching(linear({1, 2}), zeros({3, 3}));
      },
      "sort_by_matching: lists are (3, 3), the network has 2 places; need (B, 2)");
  refuses([&] { score_sorting(zeros({3}), zeros({3}), score); },
          "score_sorting: lists are (3,), sorted (3,); need (B, n) for both");
}

TEST_CASE("up to 15 numbers are sorted, on the interval of training and on others") {
  for (std::size_t n : {std::size_t{5}, std::size_t{10}, std::size_t{15}}) {
    CAPTURE(n);
    std::size_t elsewhere = 0;
    for (std::uint64_t seed = 1; seed <= 3; ++seed) {
      CAPTURE(seed);
      SortingSettings settings;
      settings.seed = seed;
      const SortingRun run = train_sorting(n, "gumbel-sinkhorn", settings);
      REQUIRE(run.scores.size() == sorting_intervals().size());
      CHECK(run.steps == 500);
      CHECK(run.residual <= 0.0101);
      CHECK(run.loss.back() < run.loss.front() / 5);
      CHECK(run.scores[0].any <= (n == 5 ? 0.03 : 0.06));
      bool all = true;
      for (const SortingScore& s : run.scores) all = all && s.any <= 0.01;
      elsewhere += all;
    }
    CHECK(elsewhere >= 2);
  }
}

TEST_CASE("80 numbers are sorted when Sinkhorn's operator converges, and not after 10 iterations") {
  SortingSettings settings;
  if (!kRecycles) settings.steps = 20;  // the training is run, and not judged
  const SortingRun run = train_sorting(80, "gumbel-sinkhorn", settings, 200);
  settings.far = std::size_t{10};
  const SortingRun stopped = train_sorting(80, "gumbel-sinkhorn", settings, 200);
  CHECK(stopped.residual > run.residual);
  if (!kRecycles) return;
  CHECK(run.scores[0].any <= 0.05);
  CHECK(stopped.scores[0].any > 0.2);
  CHECK(stopped.residual > 0.05);
}

TEST_CASE("every rule trains, zero nothing, and the same seed gives the same run") {
  SortingSettings settings;
  settings.steps = 300;
  for (const std::string& method : sorting_methods()) {
    CAPTURE(method);
    const SortingRun run = train_sorting(4, method, settings, 200);
    CHECK(run.rule == method);
    CHECK(run.loss.size() == 20);
    if (method == "zero")
      CHECK(run.scores[0].any > 0.5);
    else if (method.rfind("score", 0) != 0 && method != "blackbox")
      CHECK(run.scores[0].any <= 0.02);
    set_threads(2);
    const SortingRun again = train_sorting(4, method, settings, 200);
    set_threads(1);
    CHECK(again.loss == run.loss);
    CHECK(again.scores[0].wrong == run.scores[0].wrong);
  }
  refuses([&] { train_sorting(4, "reinmax", settings); },
          "train_sorting: the method is 'reinmax'; need one of zero, score-function, "
          "score-function+mean, score-function+leave-one-out, straight-through-identity, "
          "straight-through-sinkhorn, gumbel-sinkhorn, st-gumbel-sinkhorn, perturbed, blackbox, "
          "i-mle, neural-sort, soft-sort");
  refuses([&] { train_sorting(0, "zero", settings); },
          "train_sorting: lists of 0 numbers; need at least 1");
  settings.batch = 0;
  refuses([&] { train_sorting(4, "zero", settings, 7); },
          "train_sorting: hidden, steps, batch and lists are 32, 300, 0, 7; need at least 1 of "
          "each");
  settings.batch = 1;
  settings.repeats = 0;
  refuses([&] { train_sorting(4, "zero", settings, 7); },
          "train_sorting: repeats are 0; need at least 1");
}

TEST_CASE("images cut up and put together") {
  Dataset data;
  data.height = 5, data.width = 6, data.labels = {0, 1};
  data.images = xt::arange<Scalar>(60);
  data.images = reshaped(data.images, {2, 30});
  const Cut cut = cut_for(data, 2);
  CHECK(cut.height == 2);
  CHECK(cut.width == 3);
  const Tensor pieces = cut_up(data, cut);
  REQUIRE(pieces.shape() == Shape{2, 4, 6});
  CHECK(Tensor(pieces) ==
        tensor({2, 4, 6}, {0,  1,  2,  6,  7,  8,  3,  4,  5,  9,  10, 11, 12, 13, 14, 18,
                           19, 20, 15, 16, 17, 21, 22, 23, 30, 31, 32, 36, 37, 38, 33, 34,
                           35, 39, 40, 41, 42, 43, 44, 48, 49, 50, 45, 46, 47, 51, 52, 53}));
  const Tensor whole = put_together(pieces, cut);
  REQUIRE(whole.shape() == Shape{2, 24});
  for (std::size_t i = 0; i < 24; ++i) {
    REQUIRE(whole.data()[i] == static_cast<Scalar>(i));
    REQUIRE(whole.data()[24 + i] == static_cast<Scalar>(30 + i));
  }
  refuses([&] { cut_for(data, 6); },
          "cut_for: a grid of 6 for images of 5 x 6; need at least 1, and a pixel for each piece");
  refuses(
      [&] {
        put_together(zeros({2, 4, 5}), cut);
      },
      "put_together: pieces are (2, 4, 5); need (n, 4, 6)");
}

TEST_CASE("scores of puzzles: by piece, by pixels, and by order") {
  // Two puzzles of four pieces of two pixels; pieces 1 and 2 of the first are blank.
  const Tensor whole = tensor({2, 4, 2}, {1, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0});
  const JigsawScore right = score_jigsaw(whole, {0, 1, 2, 3, 0, 1, 2, 3});
  CHECK(right.wrong == 0);
  CHECK(right.any_pixels == 0);
  CHECK(right.kendall == 1);
  const JigsawScore blank = score_jigsaw(whole, {0, 2, 1, 3, 0, 1, 2, 3});
  CHECK(blank.wrong == 0.25);
  CHECK(blank.any == 0.5);
  CHECK(blank.wrong_pixels == 0);
  CHECK(blank.any_pixels == 0);
  CHECK(blank.l1 == 0);
  CHECK(blank.kendall == doctest::Approx(1 - 4 * 1.0 / 24));
  const JigsawScore reversed = score_jigsaw(whole, {3, 2, 1, 0, 0, 1, 2, 3});
  CHECK(reversed.wrong == 0.5);
  CHECK(reversed.wrong_pixels == 0.25);
  CHECK(reversed.any_pixels == 0.5);
  CHECK(reversed.kendall == doctest::Approx(0));
  CHECK(reversed.l1 == doctest::Approx(2.0 / 16));
  CHECK(reversed.l2 == doctest::Approx(2.0 / 16));
  refuses(
      [&] {
        score_jigsaw(whole, {0, 1, 2, 4, 0, 1, 2, 3});
      },
      "score_jigsaw: puzzles are (2, 4, 2), with 8 pieces found; need (B, N, pixels) and B * N "
      "pieces below N");
}

TEST_CASE("the jigsaw network's logits move with the pieces") {
  Rng rng(5);
  const Cut cut{3, 4, 5};
  for (bool context : {false, true}) {
    const JigsawNetwork network(cut, 4, 8, context, rng);
    const Tensor pieces = rng.uniform({2, 9, 20});
    const std::vector<std::size_t> order = rng.permutation(9);
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(network.parameters);
    const Var x = tape.constant(pieces);
    const Tensor moved = network(w, take(x, order, 1)).value(),
                 expected = take(network(w, x), order, 1).value();
    REQUIRE(moved.shape() == Shape{2, 9, 9});
    for (std::size_t i = 0; i < moved.size(); ++i)
      CHECK(moved.data()[i] == doctest::Approx(expected.data()[i]).epsilon(1e-4));
    refuses(
        [&] {
          network(w, tape.constant(zeros({2, 9, 19})));
        },
        "JigsawNetwork: pieces are (2, 9, 19); need (B, grid^2, height * width)");
  }
  refuses([&] { JigsawNetwork(cut, 0, 8, true, rng); },
          "JigsawNetwork: 0 channels, 8 hidden units, 20 pixels a piece; need at least 1 of each");
}

TEST_CASE("small puzzles of the embedded digits are put back") {
  const Dataset digits = load_digits(ARGTAPE_DATA_DIR);
  const Split data = split(digits, default_train_size(digits));
  JigsawSettings settings;
  settings.grid = 2;
  settings.steps = 400;
  const JigsawRun run = train_jigsaw(data, settings, 3);
  CHECK(run.score.wrong_pixels < 0.15);
  CHECK(run.score.kendall > 0.7);
  CHECK(run.loss.back() < run.loss.front() / 4);
  CHECK(run.whole.shape() == Shape{3, 64});
  CHECK(run.hard.shape() == Shape{3, 64});
  // What the matching puts back has each of the shuffled pieces' pixels, the soft one their sum.
  for (std::size_t b = 0; b < 3; ++b) {
    std::vector<Scalar> before(run.shuffled.data() + 64 * b, run.shuffled.data() + 64 * (b + 1)),
        after(run.hard.data() + 64 * b, run.hard.data() + 64 * (b + 1));
    std::sort(before.begin(), before.end());
    std::sort(after.begin(), after.end());
    CHECK(before == after);
  }
  settings.batch = 0;
  refuses([&] { train_jigsaw(data, settings); },
          "train_jigsaw: steps and batch are 400, 0; need at least 1 of each");
}
