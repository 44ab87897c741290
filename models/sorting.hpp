// Numbers put in order by a network that never compares two of them: each number by itself gets a
// row of logits, one for each place, and a matching does the rest (G. Mena, D. Belanger, S.
// Linderman and J. Snoek, "Learning Latent Permutations with Gumbel-Sinkhorn Networks", arXiv
// 1802.08665, section 5.1).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../ops/matching.hpp"
#include "../ops/rules/gumbel_sinkhorn.hpp"
#include "training/layers.hpp"

ARGTAPE_PUBLIC_BEGIN

struct SortingSettings {
  std::size_t hidden = 32, steps = 500, batch = 20;
  double rate = 0.1;  ///< of Adam; it falls to 0 in a straight line
  double tau = 1;
  /// Sinkhorn's operator, to convergence. After 10 or 20 iterations its sums are far from one for
  /// many numbers, and what is learned from it leaves an error in nearly every list of 80 or more;
  /// 300 do as well as convergence on the interval of training.
  HowFar far = Converge{1e-2, 300};
  double lambda = 5;        ///< of blackbox and i-mle
  std::size_t repeats = 4;  ///< draws for each list, for a rule that needs several
  std::uint64_t seed = 1;
};

/// An interval that numbers are drawn from, and how lists of them came out.
struct SortingScore {
  double low, high;
  double wrong = 0;  ///< proportion of places with a wrong number
  double any = 0;    ///< proportion of lists with a wrong place
};

struct SortingRun {
  std::string rule;
  std::vector<SortingScore> scores;
  std::vector<double> loss;  ///< the mean over each twentieth of the steps
  double residual = 0;       ///< of the last step's soft permutations, where the rule has any
  std::size_t steps = 0;
  double seconds = 0;
};

/// The methods train_sorting() knows: the rules for matchings by name (ops/rules/names.hpp), and
/// the peers that sort by one score for each number, "neural-sort" and "soft-sort"
/// (ops/soft_sort.hpp).
std::vector<std::string> sorting_methods();

/// The intervals of arXiv 1802.08665, table 1, and others: (0, 1), on which it is trained, (0, 10),
/// (0, 1000), (1, 2), (10, 11), (10, 20), (100, 101), (1000, 1001).
std::vector<SortingScore> sorting_intervals();

/// Trains a network 1-hidden-n on lists of n numbers from U(0, 1), for the squared error of P^T x
/// against the sorted list, then sorts `lists` unseen lists from each interval by matching.
/// Neither has noise there. `progress`, if given, is called after each step. Throws
/// std::invalid_argument for an unknown method and settings that do not fit.
SortingRun train_sorting(std::size_t n, const std::string& method, const SortingSettings& settings,
                         std::size_t lists = 500, const std::function<void()>& progress = {});

/// Lists (B, n) sorted by a network 1-hidden-n: for each list the number it puts at each place. The
/// logits are computed in double, and the mean of each row and column is taken off before they are
/// rounded: no matching changes by it, and numbers that lie close together stay apart.
Tensor sort_by_matching(const Mlp& network, const Tensor& lists);

/// wrong and any: how `sorted` differs from the lists in order. Equal numbers are interchangeable.
void score_sorting(const Tensor& lists, const Tensor& sorted, SortingScore& score);

ARGTAPE_END
