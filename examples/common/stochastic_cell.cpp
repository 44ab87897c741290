#include "examples/common/stochastic_cell.hpp"

#include <algorithm>
#include <cmath>

namespace argtape_examples {

using namespace argtape;
using Json = nlohmann::ordered_json;

namespace {

constexpr std::uint64_t kEvaluation = 5, kPictures = 6;  // streams of random numbers
// So many draws in one step of the evaluation, which takes about a second.
constexpr std::size_t kDraws = 20000;

// Five images side by side, the next five below, a pixel apart, in steps of 1/255.
Json strip_json(const Strip& strip, std::size_t height, std::size_t width) {
  const std::size_t n = strip.images.shape()[0], columns = std::min<std::size_t>(5, n),
                    rows = (n + columns - 1) / columns, across = columns * (width + 1) - 1,
                    down = rows * (height + 1) - 1;
  std::vector<int> values(down * across, 0);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t r = 0; r < height; ++r)
      for (std::size_t c = 0; c < width; ++c)
        values[(i / columns * (height + 1) + r) * across + i % columns * (width + 1) + c] =
            static_cast<int>(std::lround(255 * strip.images.data()[(i * height + r) * width + c]));
  return {{"caption", strip.caption}, {"height", down}, {"width", across}, {"values", values}};
}

}  // namespace

StochasticCell::StochasticCell(const Program& program, const StudyPlan& plan, const Split& data,
                               const StudiedNetwork& network,
                               const StochasticTrainingSettings& settings, bool pictures)
    : program_(program),
      plan_(plan),
      data_(data),
      network_(network.name),
      layers_(network.layers),
      rule_(settings.rule),
      seed_(settings.seed),
      steps_(settings.steps),
      tau_(settings.tau),
      pictures_(pictures),
      training_(network.make(settings.seed), data, settings),
      figures_({{"m1", &data.test, 1, 10, plan.test},
                {"m100", &data.test, 100, 1, plan.test_100},
                {"m1000", &data.test, 1000, 1, plan.test_1000},
                {"train", &data.train, 1, 1, plan.train}}),
      rng_(seed_, 0, kEvaluation) {
  for (Figure& f : figures_) f.digits = std::min(f.digits, f.of->size());
}

Training::Did StochasticCell::step(bool may_train) {
  const bool evaluating = at_ > 0 || digit_ > 0;
  if (training_.mark_due() || (!evaluating && may_train && !training_.done())) {
    const bool trains = !training_.mark_due();
    try {
      training_.step();
    } catch (const std::invalid_argument& e) {
      throw std::runtime_error(e.what() + program_.advice(training_.steps_done(), "--rate"));
    }
    return trains ? Did::trained : Did::evaluated;
  }
  if (at_ == figures_.size()) return Did::finished;
  evaluate();
  return Did::evaluated;
}

void StochasticCell::evaluate() {
  const Figure& f = figures_[at_];
  const std::size_t some = std::max<std::size_t>(1, kDraws / f.m / f.repeats),
                    end = std::min(f.digits, digit_ + some);
  const Dataset part = rows_from(*f.of, digit_, end - digit_);
  sum_ += negative_bound(training_.network(), part.images, f.m, rng_, f.repeats) *
          static_cast<double>(part.size());
  digit_ = end;
  if (digit_ < f.digits) return;
  means_.push_back(sum_ / static_cast<double>(f.digits));
  ++at_;
  digit_ = 0;
  sum_ = 0;
}

double StochasticCell::progress() const {
  const double evaluation = static_cast<double>(at_) / static_cast<double>(figures_.size()),
               training = static_cast<double>(training_.steps_done()) / static_cast<double>(steps_);
  return at_ > 0 ? 0.9 + 0.1 * evaluation : 0.9 * training;
}

void StochasticCell::archive(Archive& a) {
  a("training", training_);
  a("figure", at_);
  a("digit", digit_);
  a("sum", sum_);
  a("means", means_);
  a("rng", rng_);
}

Json StochasticCell::strips() const {
  Rng rng(seed_, 0, kPictures);
  Json all = Json::array();
  for (const Strip& strip : plan_.strips(training_.network(), data_.test, rng))
    all.push_back(strip_json(strip, data_.test.height, data_.test.width));
  return all;
}

void StochasticCell::save(Archive& a) {
  std::vector<Tensor> parameters = training_.network().parameters;
  a("parameters", parameters);
}

Json StochasticCell::form() {
  return {
      {"network", ""},
      {"layers", ""},
      {"rule", ""},
      {"seed", 0},
      {"tau?", 0.0},
      {"m1", nullptr},
      {"m100", nullptr},
      {"m1000", nullptr},
      {"train", nullptr},
      {"kl", nullptr},
      {"curve", {{"step", {0}}, {"seconds", {0.0}}, {"bound", {0.0}}}},
      {"strips?", Json::array({{{"caption", ""}, {"height", 0}, {"width", 0}, {"values", {0}}}})}};
}

Json StochasticCell::result() {
  Json row = {{"network", network_}, {"layers", layers_}, {"rule", rule_}, {"seed", seed_}};
  for (std::size_t i = 0; i < figures_.size(); ++i) row[figures_[i].key] = means_[i];
  const double kl =
      mean_divergence(training_.network(), rows_from(data_.test, 0, plan_.test).images);
  row["kl"] = std::isnan(kl) ? Json(nullptr) : Json(kl);
  const BoundCurve& curve = training_.curve();
  row["curve"] = {{"step", curve.steps}, {"seconds", curve.seconds}, {"bound", curve.bound}};
  if (!tau_.scheduled()) row["tau"] = tau_.at(0);
  if (pictures_) row["strips"] = strips();
  return row;
}

}  // namespace argtape_examples
