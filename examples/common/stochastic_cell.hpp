// One cell of the grid of programs 11 and 12: a network trained under one rule, then judged.
#pragma once

#include "examples/common/stochastic_study.hpp"

namespace argtape_examples {

class StochasticCell : public Training {
 public:
  // `plan` and `data` must outlive it. With `pictures` the result has strips of images.
  StochasticCell(const Program& program, const StudyPlan& plan, const argtape::Split& data,
                 const StudiedNetwork& network, const argtape::StochasticTrainingSettings& settings,
                 bool pictures);
  Did step(bool may_train) override;
  double progress() const override;
  void archive(argtape::Archive& a) override;
  void save(argtape::Archive& a) override;
  nlohmann::ordered_json result() override;
  // What it is like, for Grid::run().
  static nlohmann::ordered_json form();

 private:
  // A bound of the trained network: of m samples on the first digits, mean over some repeats.
  struct Figure {
    const char* key;
    const argtape::Dataset* of;
    std::size_t m, repeats, digits;
  };
  void evaluate();
  nlohmann::ordered_json strips() const;

  const Program& program_;
  const StudyPlan& plan_;
  const argtape::Split& data_;
  std::string network_, layers_, rule_;
  std::uint64_t seed_;
  std::size_t steps_;
  argtape::Temperature tau_;
  bool pictures_;
  argtape::StochasticTraining training_;
  std::vector<Figure> figures_;
  // Where the evaluation is: the figure, the next digit, the sum so far, the figures before.
  std::size_t at_ = 0, digit_ = 0;
  double sum_ = 0;
  std::vector<double> means_;
  argtape::Rng rng_;
};

}  // namespace argtape_examples
