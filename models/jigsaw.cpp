#include "models/jigsaw.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/require.hpp"
#include "engine/sweep.hpp"
#include "models/training/layers.hpp"
#include "models/training/loss_curve.hpp"
#include "models/training/optimisers.hpp"
#include "ops/choice.hpp"
#include "ops/conv.hpp"
#include "ops/elementwise.hpp"
#include "ops/linalg.hpp"
#include "ops/loss.hpp"
#include "ops/pool.hpp"
#include "ops/reduce.hpp"
#include "ops/rules/straight_through.hpp"
#include "ops/shape.hpp"
#include "ops/sinkhorn.hpp"
#include "ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

// Calls f(place among the pieces' numbers, place in the image) for each pixel of one image.
template <class F>
void each_pixel(const Cut& c, std::size_t image_width, F f) {
  std::size_t k = 0;
  for (std::size_t p = 0; p < c.pieces(); ++p)
    for (std::size_t i = 0; i < c.height; ++i)
      for (std::size_t j = 0; j < c.width; ++j, ++k)
        f(k, (p / c.grid * c.height + i) * image_width + p % c.grid * c.width + j);
}

// The pieces of some digits in random order: which piece stands where, and the pieces.
struct Puzzles {
  std::vector<std::size_t> order;
  Tensor whole, shuffled;

  Puzzles(const Tensor& pieces, const std::vector<std::size_t>& rows, Rng& rng) {
    const std::size_t n = pieces.shape()[1], pixels = pieces.shape()[2];
    whole = uninitialised({rows.size(), n, pixels});
    shuffled = uninitialised(whole.shape());
    for (std::size_t b = 0; b < rows.size(); ++b) {
      const Scalar* from = pieces.data() + rows[b] * n * pixels;
      std::copy_n(from, n * pixels, whole.data() + b * n * pixels);
      const std::vector<std::size_t> one = rng.permutation(n);
      for (std::size_t i = 0; i < n; ++i)
        std::copy_n(from + one[i] * pixels, pixels, shuffled.data() + (b * n + i) * pixels);
      order.insert(order.end(), one.begin(), one.end());
    }
  }
};

std::vector<std::size_t> range(std::size_t begin, std::size_t end) {
  std::vector<std::size_t> rows(end - begin);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = begin + i;
  return rows;
}

// One number a matrix (n, m) in front of the rest.
Tensor joined(const std::vector<Tensor>& parts) {
  Shape shape = parts[0].shape();
  shape[0] = 0;
  for (const Tensor& t : parts) shape[0] += t.shape()[0];
  Tensor all = uninitialised(shape);
  Scalar* to = all.data();
  for (const Tensor& t : parts) to = std::copy_n(t.data(), t.size(), to);
  return all;
}

}  // namespace

Cut cut_for(const Dataset& data, std::size_t grid) {
  require(grid >= 1 && grid <= std::min(data.height, data.width), "cut_for: a grid of ", grid,
          " for images of ", data.height, " x ", data.width,
          "; need at least 1, and a pixel for each piece");
  return {grid, data.height / grid, data.width / grid};
}

Tensor cut_up(const Dataset& data, const Cut& cut) {
  Tensor pieces = uninitialised({data.size(), cut.pieces(), cut.pixels()});
  const std::size_t size = cut.pieces() * cut.pixels(), image = data.height * data.width;
  for (std::size_t b = 0; b < data.size(); ++b)
    each_pixel(cut, data.width, [&](std::size_t k, std::size_t at) {
      pieces.data()[b * size + k] = data.images.data()[b * image + at];
    });
  return pieces;
}

Tensor put_together(const Tensor& pieces, const Cut& cut) {
  const std::size_t size = cut.pieces() * cut.pixels();
  require(pieces.dimension() == 3 && pieces.shape()[1] == cut.pieces() &&
              pieces.shape()[2] == cut.pixels(),
          "put_together: pieces are ", pieces.shape(), "; need (n, ", cut.pieces(), ", ",
          cut.pixels(), ")");
  Tensor images = uninitialised({pieces.shape()[0], size});
  for (std::size_t b = 0; b < pieces.shape()[0]; ++b)
    each_pixel(cut, cut.grid * cut.width, [&](std::size_t k, std::size_t at) {
      images.data()[b * size + at] = pieces.data()[b * size + k];
    });
  return images;
}

JigsawNetwork::JigsawNetwork(const Cut& cut, std::size_t channels, std::size_t hidden, bool context,
                             Rng& rng)
    : cut_(cut), channels_(channels), hidden_(hidden), context_(context) {
  require(channels > 0 && hidden > 0 && cut.pixels() > 0, "JigsawNetwork: ", channels,
          " channels, ", hidden, " hidden units, ", cut.pixels(),
          " pixels a piece; need at least 1 of each");
  const bool pools = cut.height > 1 && cut.width > 1;
  pooled_ = pools ? (cut.height / 2) * (cut.width / 2) : cut.pixels();
  const Initialiser start = uniform_fan_in();
  const auto layer = [&](std::size_t n, std::size_t m) {
    parameters.push_back(start.weights(n, m, rng));
    parameters.push_back(start.bias(n, m, rng));
  };
  layer(9, channels);
  parameters[0] = reshaped(parameters[0], {channels, 1, 3, 3});
  layer(channels * pooled_, hidden);
  if (context) layer(2 * hidden, hidden);
  layer(hidden, cut.pieces());
}

Var JigsawNetwork::operator()(const std::vector<Var>& w, Var pieces) const {
  const Shape& shape = pieces.shape();
  require(w.size() == parameters.size(), "JigsawNetwork: ", w.size(),
          " parameters on the tape; need ", parameters.size());
  require(shape.size() == 3 && shape[1] == cut_.pieces() && shape[2] == cut_.pixels(),
          "JigsawNetwork: pieces are ", shape, "; need (B, grid^2, height * width)");
  const std::size_t b = shape[0], n = shape[1];
  Var x = reshape(pieces, {b * n, 1, cut_.height, cut_.width});
  x = relu(conv2d(x, w[0], w[1], 1, 1));
  if (cut_.height > 1 && cut_.width > 1) x = max_pool2d(x, 2);
  x = relu(dense(reshape(x, {b, n, channels_ * pooled_}), w[2], w[3]));
  if (context_)
    x = relu(
        dense(concatenate({x, broadcast(mean(x, 1, keep_axes), {b, n, hidden_})}, -1), w[4], w[5]));
  return dense(x, w[w.size() - 2], w[w.size() - 1]);
}

JigsawRun train_jigsaw(const Split& data, const JigsawSettings& settings, std::size_t pictures,
                       const std::function<void()>& progress) {
  require(settings.steps > 0 && settings.batch > 0, "train_jigsaw: steps and batch are ",
          settings.steps, ", ", settings.batch, "; need at least 1 of each");
  const Cut cut = cut_for(data.train, settings.grid);
  const std::size_t n = cut.pieces();
  Rng rng(settings.seed), order(settings.seed, 0, 1), noise(settings.seed, 0, 2);
  JigsawNetwork network(cut, settings.channels, settings.hidden, settings.context, rng);
  const Tensor train = cut_up(data.train, cut), test = cut_up(data.test, cut);
  const Rule rule = gumbel_sinkhorn(settings.tau, settings.far);
  Adam adam(linear_decay(settings.rate, 0, settings.steps));

  JigsawRun run;
  LossCurve curve(settings.steps);
  const auto begin = std::chrono::steady_clock::now();
  for (; run.steps < settings.steps; ++run.steps) {
    std::vector<std::size_t> rows(settings.batch);
    for (std::size_t& r : rows) r = order.below(data.train.size());
    const Puzzles puzzles(train, rows, order);
    Tape tape;
    const std::vector<Var> weights = tape.borrow_parameters(network.parameters);
    const Var items = tape.borrow_constant(puzzles.shuffled, "pieces");
    const Var p = sample_matching(network(weights, items), rule, noise);
    const Var cost = mean(
        squared_error(permute(p, items), tape.borrow_constant(puzzles.whole, "whole")), {-2, -1});
    curve.add(run.steps, mean(cost).item());
    run.residual = residual(p.value());
    adam.step(network.parameters, weights, cost / static_cast<double>(settings.batch));
    if (progress) progress();
  }
  run.loss = curve.means();
  run.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();

  Rng shuffle(settings.seed, 0, 3);
  std::vector<std::size_t> found(data.test.size() * n);
  std::vector<Tensor> shuffled, soft, hard;
  constexpr std::size_t kAtOnce = 250;
  for (std::size_t from = 0; from < data.test.size(); from += kAtOnce) {
    const Puzzles puzzles(test, range(from, std::min(from + kAtOnce, data.test.size())), shuffle);
    Tape tape;
    std::vector<Var> weights;
    for (const Tensor& w : network.parameters) weights.push_back(tape.borrow_constant(w));
    const Var items = tape.borrow_constant(puzzles.shuffled), logits = network(weights, items);
    const Var p = matching(logits, zero());
    const std::vector<std::size_t> places = indices_of(p);
    for (std::size_t r = 0; r < places.size(); ++r)
      found[from * n + r / n * n + places[r]] = puzzles.order[r];
    if (from >= pictures) continue;
    shuffled.push_back(puzzles.shuffled);
    soft.push_back(permute(matching(logits, rule), items).value());
    hard.push_back(permute(p, items).value());
  }
  run.score = score_jigsaw(test, found);
  const auto first = [&](const Tensor& pieces) {
    const Tensor images = put_together(pieces, cut);
    const std::size_t rows = std::min(pictures, images.shape()[0]), size = images.shape()[1];
    Tensor some = uninitialised({rows, size});
    std::copy_n(images.data(), rows * size, some.data());
    return some;
  };
  run.whole = first(test);
  if (pictures > 0) {
    run.shuffled = first(joined(shuffled));
    run.soft = first(joined(soft));
    run.hard = first(joined(hard));
  }
  return run;
}

JigsawScore score_jigsaw(const Tensor& whole, const std::vector<std::size_t>& found) {
  const bool fits = whole.dimension() == 3 && whole.size() > 0 &&
                    found.size() == whole.shape()[0] * whole.shape()[1];
  const std::size_t n = fits ? whole.shape()[1] : 0;
  require(fits && std::all_of(found.begin(), found.end(), [=](std::size_t f) { return f < n; }),
          "score_jigsaw: puzzles are ", whole.shape(), ", with ", found.size(),
          " pieces found; need (B, N, pixels) and B * N pieces below N");
  const std::size_t count = whole.shape()[0], pixels = whole.shape()[2];
  std::size_t wrong = 0, any = 0, differ = 0, any_differ = 0, inversions = 0;
  double off = 0, squared = 0;
  for (std::size_t b = 0; b < count; ++b) {
    const std::size_t* order = found.data() + b * n;
    const Scalar* pieces = whole.data() + b * n * pixels;
    const std::size_t wrong_before = wrong, differ_before = differ;
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t i = 0; i < j; ++i) inversions += order[i] > order[j];
      wrong += order[j] != j;
      const Scalar *here = pieces + order[j] * pixels, *right = pieces + j * pixels;
      differ += !std::equal(here, here + pixels, right);
      for (std::size_t k = 0; k < pixels; ++k) {
        const double d = static_cast<double>(here[k]) - static_cast<double>(right[k]);
        off += std::abs(d);
        squared += d * d;
      }
    }
    any += wrong > wrong_before;
    any_differ += differ > differ_before;
  }
  const auto over = [](auto x, std::size_t all) {
    return static_cast<double>(x) / static_cast<double>(all);
  };
  JigsawScore s;
  s.wrong = over(wrong, count * n);
  s.any = over(any, count);
  s.wrong_pixels = over(differ, count * n);
  s.any_pixels = over(any_differ, count);
  s.kendall = n == 1 ? 1 : 1 - 4 * over(inversions, count * n * (n - 1));
  s.l1 = over(off, count * n * pixels);
  s.l2 = over(squared, count * n * pixels);
  return s;
}

ARGTAPE_END
