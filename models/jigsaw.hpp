// Jigsaw puzzles: digits cut in g x g pieces, shuffled, and put back by a network that gives each
// piece a row of logits, one for each place, and a matching (G. Mena, D. Belanger, S. Linderman and
// J. Snoek, "Learning Latent Permutations with Gumbel-Sinkhorn Networks", arXiv 1802.08665, section
// 5.2).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "../ops/matching.hpp"
#include "../ops/rules/gumbel_sinkhorn.hpp"
#include "data/data.hpp"

ARGTAPE_PUBLIC_BEGIN

/// How images are cut: into grid x grid pieces of height x width pixels, counted row by row. What
/// is left over at the right and at the bottom is not used.
struct Cut {
  std::size_t grid, height, width;
  std::size_t pieces() const { return grid * grid; }
  std::size_t pixels() const { return height * width; }
};

/// Throws std::invalid_argument unless 1 <= grid <= both sides of the images.
Cut cut_for(const Dataset& data, std::size_t grid);
/// Images (n, H * W) as their pieces, (n, grid^2, height * width).
Tensor cut_up(const Dataset& data, const Cut& cut);
/// Pieces as images again, (n, grid * height * grid * width).
Tensor put_together(const Tensor& pieces, const Cut& cut);

/// What is seen of each piece: a convolution 3 x 3, relu, max-pooling 2 x 2 (where there are as
/// many pixels), a dense layer, relu, and a dense layer to the logits, shared by all pieces. With
/// `context`, each piece also sees the mean of all pieces' hidden units: what the whole digit is
/// made of, in whatever order.
class JigsawNetwork {
 public:
  /// Throws std::invalid_argument for a zero among the numbers.
  JigsawNetwork(const Cut& cut, std::size_t channels, std::size_t hidden, bool context, Rng& rng);
  std::vector<Tensor> parameters;
  /// Pieces (B, N, pixels) to logits (B, N, N): row i is piece i's, column j place j's.
  Var operator()(const std::vector<Var>& on_tape, Var pieces) const;

 private:
  Cut cut_;
  std::size_t channels_, hidden_, pooled_;
  bool context_;
};

struct JigsawSettings {
  std::size_t grid = 3, channels = 16, hidden = 128, steps = 3000, batch = 50;
  double rate = 6e-3;  ///< of Adam; it falls to 0 in a straight line
  double tau = 1;
  /// Sinkhorn's operator: few iterations. Where pieces look alike more of them, and convergence
  /// most of all, put fewer pieces back (3 x 3 and 4 x 4, on three seeds each).
  HowFar far = std::size_t{5};
  bool context = true;
  std::uint64_t seed = 1;
};

/// How puzzles came out, put together by matching, without noise.
struct JigsawScore {
  double wrong = 0, any = 0;  ///< proportion of places with a wrong piece, of puzzles with any
  /// The same where a piece counts as wrong only if its pixels differ: many pieces of a digit are
  /// blank.
  double wrong_pixels = 0, any_pixels = 0;
  double kendall = 0;  ///< mean of 1 - 4 inversions / (N (N - 1))
  double l1 = 0;       ///< mean |difference| of a pixel
  double l2 = 0;       ///< mean squared difference of a pixel
};

struct JigsawRun {
  JigsawScore score;
  std::vector<double>
      loss;             ///< squared error of a pixel, the mean over each twentieth of the steps
  double residual = 0;  ///< of the last step's soft permutations
  std::size_t steps = 0;
  double seconds = 0;
  /// The first test puzzles as images: shuffled, put back by the soft permutation S(X / tau), by
  /// the hard one, and as they were.
  Tensor shuffled, soft, hard, whole;
};

/// Trains on puzzles from data.train, drawn and shuffled anew each time, for the squared error of
/// the pixels under Gumbel-Sinkhorn, and puts each of data.test together once. `progress`, if
/// given, is called after each step. Throws std::invalid_argument for settings that do not fit.
JigsawRun train_jigsaw(const Split& data, const JigsawSettings& settings, std::size_t pictures = 8,
                       const std::function<void()>& progress = {});

/// The score of pieces (B, N, pixels) put in order: `found` has for each place of each puzzle the
/// piece that was put there, counted from its own place in `whole`. Throws std::invalid_argument if
/// it does not fit.
JigsawScore score_jigsaw(const Tensor& whole, const std::vector<std::size_t>& found);

ARGTAPE_END
