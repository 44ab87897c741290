// One axis of a plot: where a value stands, in pixels, and what is written beside it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace argtape_examples {

struct AxisRange {
  bool log = false;
  // Where the full scale begins and ends; the defaults are the data's range and a margin.
  std::optional<double> low, high;
};

using Tic = std::pair<double, std::string>;  // where, and what stands there

class Axis {
 public:
  // What is above `high` has a strip of its own, to a smaller scale; on a log axis zero, and what
  // is below `low`, has one place. `name` is what an error calls the axis.
  Axis(const std::string& name, const std::vector<double>& values, const AxisRange& range,
       double begin, double end);

  bool shows(double value) const;
  // The place of a value. What is beyond the axis stands at its end.
  double operator()(double value) const;
  bool full_scale(double value) const { return value >= low_ && value <= high_; }

  // Round numbers at full scale, so many pixels apart.
  std::vector<double> round_values(double apart) const;
  std::vector<Tic> tics(double apart) const;

  // Of a linear axis: pixels a unit, and how many there would be without a strip.
  double scale() const { return (seam_ - from_) / (high_ - low_); }
  double scale_of_all() const { return (end_ - from_) / (most_ - low_); }
  void rescale(double scale);

  // The full scale is in between.
  double from() const { return from_; }
  double seam() const { return seam_; }

 private:
  double share(double value, double low, double high) const;
  std::vector<double> marks(double low, double high, double pixels, double apart) const;

  bool log_;
  double low_, high_, most_;          // most_ is the strip's end
  double begin_, from_, seam_, end_;  // in pixels
  std::string below_;                 // what stands below from_
};

// Where the full scale should end: below values that are far above all others.
std::optional<double> without_outliers(std::vector<double> values);

}  // namespace argtape_examples
