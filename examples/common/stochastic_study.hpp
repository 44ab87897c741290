// What programs 11 and 12 share: networks with stochastic layers trained under every rule and
// method, over seeds, and the table and the pictures of how they came out.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <argtape/argtape.hpp>
#include "examples/common/grid.hpp"
#include "examples/common/program.hpp"

namespace argtape_examples {

// A row of images side by side, for the pictures.
struct Strip {
  std::string caption;
  argtape::Tensor images;  // (n, pixels), 0..1
};

struct StudiedNetwork {
  std::string name, layers;  // "categorical", "784-(20x10)-200-784"
  std::function<std::unique_ptr<argtape::StochasticNetwork>(std::uint64_t seed)> make;
};

// What a program compares, and how.
struct StudyPlan {
  std::string key;                               // of its files
  std::string quantity;                          // what the figures are
  std::vector<StudiedNetwork> networks;          // all there are,
  std::vector<std::string> chosen;               // and those to train
  argtape::StochasticTrainingSettings training;  // but for the rule, the seed and the temperature
  double tau_rate = 0;                           // the temperature falls from 1 by this rate
  std::size_t tau_every = 1;                     // refreshed as seldom as that
  double tau_floor = 0.5;
  std::size_t test = 2000;      // digits for m = 1
  std::size_t test_100 = 2000;  // for m = 100
  std::size_t test_1000 = 500;  // for m = 1,000
  std::size_t train = 2000;     // training digits for m = 1
  // Pictures of what one trained network does; `digits` are test digits.
  std::function<std::vector<Strip>(const argtape::StochasticNetwork& network,
                                   const argtape::Dataset& digits, argtape::Rng& rng)>
      strips;
};

// The grid of networks, rules and seeds: runs it, prints the table, and with --out draws.
class StochasticStudy {
 public:
  // Adds the flags.
  StochasticStudy(Program& program, Grid& grid);
  // Of the digits that --data names, black and white.
  argtape::Dataset digits() const;
  // In the program's body.
  void run(StudyPlan plan, const argtape::Split& data, const std::string& name);

 private:
  struct Cells;
  void settle(StudyPlan& plan) const;  // what the flags change
  // All but those that cannot be trained: the reasons.
  std::vector<std::string> add_cells(const StudyPlan& plan, const argtape::Split& data);
  Program& program_;
  Grid& grid_;
  std::vector<std::string> rules_;
  std::string temperatures_;
  double rate_ = 0, tau_rate_ = -1;
  int test_ = 0, bound_ = 0, samples_ = 2;
};

}  // namespace argtape_examples
