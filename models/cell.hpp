// A small convolutional network around one cell, whose edges are each given one operation of
// several: what an architecture search looks through.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../engine/random.hpp"
#include "../ops/select.hpp"
#include "data/data.hpp"

ARGTAPE_PUBLIC_BEGIN

/// What an edge may do: "none" (zeros), "skip" (the value itself), "conv3x3" and "conv5x5" (relu,
/// then a convolution), "avg3x3" and "max3x3" (pooling with stride 1). All keep the shape.
const std::vector<std::string>& cell_operations();

/// The cell's edges: 0-1, 0-2, 1-2. Each node is the sum of the edges that end in it.
constexpr std::size_t kCellEdges = 3;

/// The images with each 2 x 2 pixels as their mean; an odd row or column at the end is left out.
/// Throws std::invalid_argument for images of fewer pixels.
Dataset halved_images(const Dataset& data);

/// A stem (convolution 3 x 3 to `channels` planes), which is node 0; nodes 1 and 2; relu, mean of 2
/// x 2 pixels, and a dense layer to the classes' logits.
class CellNetwork {
 public:
  /// For images and classes such as the data's. candidates[e] names what edge e may do, of
  /// cell_operations() (for others see select() and mixture() themselves); the same operation may
  /// stand there more than once, each with weights of its own. Throws std::invalid_argument for
  /// another number of edges, an edge without candidates, an unknown operation, no channels, and
  /// images of less than 2 x 2 pixels.
  CellNetwork(const Dataset& data, std::size_t channels,
              const std::vector<std::vector<std::string>>& candidates, Rng& rng);

  std::vector<Tensor> parameters;
  const std::vector<std::vector<std::string>>& candidates() const { return candidates_; }

  /// The edges that end in one node: `first`, `first` + 1, ..., and what each candidate would make
  /// of its input.
  struct Into {
    std::size_t first;
    std::vector<std::vector<Branch>> edges;
  };
  /// Makes a node's value out of the edges that end in it, as with one choice (1, K) an edge:
  /// Var y = select(choice[into.first], into.edges[0]), and so on, summed.
  using Combine = std::function<Var(const Into& into)>;

  /// Images (B, height * width) to logits (B, classes); `on_tape` are the parameters there, as
  /// tape.borrow_parameters() gives them.
  Var operator()(const std::vector<Var>& on_tape, Var images, const Combine& combine) const;
  /// The same where each edge has just one candidate.
  Var operator()(const std::vector<Var>& on_tape, Var images) const;

  /// Its parts: node 0; what candidate k of an edge makes of x; the logits from node 2.
  Var stem(const std::vector<Var>& on_tape, Var images) const;
  Var operation(const std::vector<Var>& on_tape, std::size_t edge, std::size_t k, Var x) const;
  Var head(const std::vector<Var>& on_tape, Var x) const;

 private:
  std::size_t height_, width_, channels_;
  std::vector<std::vector<std::string>> candidates_;
  std::vector<std::vector<std::size_t>> weights_;  // of each candidate: which parameter; 0: none
};

struct CellTraining {
  std::size_t channels = 8, batch = 100, steps = 800;
  double rate = 6e-3;  ///< of Adam, at the start; it falls to 0 in a straight line
  std::uint64_t seed = 1;
};

struct TrainedCell {
  double test_accuracy = 0;
  double loss = 0;  ///< mean of the last twentieth of the steps
  double seconds = 0;
};

/// Trains a cell of one operation for each edge on data.train, from scratch, and counts how many of
/// data.test it names right. `progress`, if given, is called after each step. Throws
/// std::invalid_argument for settings that do not fit, and std::runtime_error when the loss is no
/// longer a number.
TrainedCell train_cell(const Split& data, const std::vector<std::string>& cell,
                       const CellTraining& settings, const std::function<void()>& progress = {});

/// The digits in shuffled batches, epoch after epoch.
class DigitBatches {
 public:
  /// Throws std::invalid_argument unless batch is in 1..digits.
  DigitBatches(Dataset digits, std::size_t batch, Rng rng);
  Dataset next();

 private:
  Dataset digits_;
  std::size_t batch_, at_ = 0;
  Rng rng_;
  Batches epoch_;
};

ARGTAPE_END
