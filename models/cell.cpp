#include "models/cell.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/require.hpp"
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
#include "ops/temperature.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

std::string size_named(const Dataset& data) {
  return "images are " + std::to_string(data.height) + " x " + std::to_string(data.width);
}

// The side of an operation's kernel; 0 for those without weights.
std::size_t kernel_of(const std::string& operation) {
  return operation == "conv3x3" ? 3 : operation == "conv5x5" ? 5 : 0;
}

}  // namespace

const std::vector<std::string>& cell_operations() {
  static const std::vector<std::string> all = {"none",    "skip",   "conv3x3",
                                               "conv5x5", "avg3x3", "max3x3"};
  return all;
}

Dataset halved_images(const Dataset& data) {
  require(data.height >= 2 && data.width >= 2, "halved_images: ", size_named(data),
          "; need at least 2 x 2");
  Dataset half = data;
  half.height = data.height / 2;
  half.width = data.width / 2;
  half.images = uninitialised({data.size(), half.height * half.width});
  Scalar* to = half.images.data();
  for (std::size_t b = 0; b < data.size(); ++b)
    for (std::size_t i = 0; i < half.height; ++i)
      for (std::size_t j = 0; j < half.width; ++j) {
        const Scalar* p = data.images.data() + (b * data.height + 2 * i) * data.width + 2 * j;
        *to++ = (p[0] + p[1] + p[data.width] + p[data.width + 1]) / 4;
      }
  return half;
}

CellNetwork::CellNetwork(const Dataset& data, std::size_t channels,
                         const std::vector<std::vector<std::string>>& candidates, Rng& rng)
    : height_(data.height), width_(data.width), channels_(channels), candidates_(candidates) {
  require(channels > 0, "CellNetwork: channels are 0; need at least 1");
  require(height_ >= 2 && width_ >= 2, "CellNetwork: ", size_named(data), "; need at least 2 x 2");
  require(candidates.size() == kCellEdges, "CellNetwork: candidates for ", candidates.size(),
          " edges; need ", kCellEdges);
  const Initialiser start = uniform_fan_in();
  const auto kernels = [&](std::size_t planes, std::size_t side) {
    parameters.push_back(reshaped(start.weights(planes * side * side, channels, rng),
                                  {channels, planes, side, side}));
  };
  kernels(1, 3);
  for (std::size_t e = 0; e < kCellEdges; ++e) {
    require(!candidates[e].empty(), "CellNetwork: edge ", e,
            " has no candidate; need at least one");
    weights_.emplace_back();
    for (const std::string& name : candidates[e]) {
      const auto& known = cell_operations();
      require(std::find(known.begin(), known.end(), name) != known.end(),
              "CellNetwork: an operation is '", name,
              "'; need none, skip, conv3x3, conv5x5, avg3x3 or max3x3");
      const std::size_t side = kernel_of(name);
      weights_[e].push_back(side > 0 ? parameters.size() : 0);
      if (side > 0) kernels(channels, side);
    }
  }
  const std::size_t features = channels * (height_ / 2) * (width_ / 2);
  parameters.push_back(start.weights(features, data.classes, rng));
  parameters.push_back(start.bias(features, data.classes, rng));
}

Var CellNetwork::stem(const std::vector<Var>& w, Var images) const {
  require(w.size() == parameters.size(), "CellNetwork: ", w.size(),
          " parameters on the tape; need ", parameters.size());
  const Shape& shape = images.shape();
  require(shape.size() == 2 && shape[1] == height_ * width_, "CellNetwork: images are ", shape,
          "; need (B, ", height_ * width_, ")");
  return conv2d(reshape(images, {shape[0], 1, height_, width_}), w[0], 1, 1);
}

Var CellNetwork::operation(const std::vector<Var>& w, std::size_t edge, std::size_t k,
                           Var x) const {
  const std::string& name = candidates_[edge][k];
  if (name == "none") return x.tape->constant(zeros(x.shape()), "none");
  if (name == "skip") return x;
  if (name == "avg3x3") return avg_pool2d(x, 3, 1, 1);
  if (name == "max3x3") return max_pool2d(x, 3, 1, 1);
  return conv2d(relu(x), w[weights_[edge][k]], 1, kernel_of(name) / 2);
}

Var CellNetwork::head(const std::vector<Var>& w, Var x) const {
  const std::size_t features = channels_ * (height_ / 2) * (width_ / 2);
  return dense(reshape(avg_pool2d(relu(x), 2), {x.shape()[0], features}), w[w.size() - 2],
               w[w.size() - 1]);
}

Var CellNetwork::operator()(const std::vector<Var>& w, Var images, const Combine& combine) const {
  std::vector<Var> nodes{stem(w, images)};
  for (std::size_t node = 1, edge = 0; edge < kCellEdges; ++node) {
    Into into{edge, {}};
    for (std::size_t from = 0; from < node; ++from, ++edge) {
      into.edges.emplace_back();
      for (std::size_t k = 0; k < candidates_[edge].size(); ++k)
        into.edges.back().push_back(
            [this, &w, edge, k, x = nodes[from]] { return operation(w, edge, k, x); });
    }
    nodes.push_back(combine(into));
  }
  return head(w, nodes.back());
}

Var CellNetwork::operator()(const std::vector<Var>& w, Var images) const {
  return (*this)(w, images, [](const Into& into) {
    Var total;
    for (const std::vector<Branch>& branches : into.edges) {
      require(branches.size() == 1, "CellNetwork: ", branches.size(),
              " candidates on an edge; need one, or a way to combine them");
      total = total.tape ? total + branches[0]() : branches[0]();
    }
    return total;
  });
}

DigitBatches::DigitBatches(Dataset digits, std::size_t batch, Rng rng)
    : digits_(std::move(digits)), batch_(batch), rng_(rng), epoch_(digits_.size(), batch, rng_) {}

Dataset DigitBatches::next() {
  if (at_ == epoch_.size()) {
    epoch_ = Batches(digits_.size(), batch_, rng_);
    at_ = 0;
  }
  return take(digits_, epoch_.begin()[static_cast<std::ptrdiff_t>(at_++)]);
}

TrainedCell train_cell(const Split& data, const std::vector<std::string>& cell,
                       const CellTraining& settings, const std::function<void()>& progress) {
  require(settings.steps > 0 && settings.rate > 0, "train_cell: ", settings.steps,
          " steps at rate ", settings.rate, "; need more than 0 of both");
  require(data.test.size() > 0, "train_cell: no digits to test with; need at least one");
  std::vector<std::vector<std::string>> candidates;
  for (const std::string& operation : cell) candidates.push_back({operation});
  Rng start(settings.seed);
  CellNetwork network(data.train, settings.channels, candidates, start);
  DigitBatches deck(data.train, settings.batch, Rng(settings.seed, 0, 1));
  Adam adam(linear_decay(settings.rate, 0, settings.steps));
  TrainedCell result;
  LossCurve curve(settings.steps);
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t step = 0; step < settings.steps; ++step) {
    const Dataset digits = deck.next();
    Tape tape;
    const std::vector<Var> w = tape.borrow_parameters(network.parameters);
    const Var loss =
        mean(cross_entropy(network(w, tape.borrow_constant(digits.images)), digits.labels));
    if (!std::isfinite(loss.item()))
      refuse<std::runtime_error>("train_cell: the loss is ", static_cast<double>(loss.item()),
                                 " at step ", step, "; need a lower rate");
    curve.add(step, loss.item());
    adam.step(network.parameters, w, loss);
    if (progress) progress();
  }
  result.loss = curve.means().back();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::size_t right = 0;
  constexpr std::size_t kAtOnce = 200;
  for (std::size_t from = 0; from < data.test.size(); from += kAtOnce) {
    const Dataset digits = rows_from(data.test, from, kAtOnce);
    Tape tape;
    std::vector<Var> w;
    for (const Tensor& p : network.parameters) w.push_back(tape.borrow_constant(p));
    const std::vector<std::size_t> found =
        indices_of(argmax(network(w, tape.borrow_constant(digits.images)), zero()));
    for (std::size_t i = 0; i < found.size(); ++i) right += found[i] == digits.labels[i];
  }
  result.test_accuracy = static_cast<double>(right) / static_cast<double>(data.test.size());
  return result;
}

ARGTAPE_END
