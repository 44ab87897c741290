// One axis of a plot: where a value stands, in pixels, and what is written beside it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace argtape_examples {

struct Tic {
  double at, value;
  std::string label, power;  // the power is a superscript
};

struct AxisWish {
  bool log = false;
  // The defaults are the data's range and a margin. What lies above `high` is drawn to a smaller
  // scale, in a strip beyond a seam; on a log axis what lies below `low`, and every zero, has one
  // place of its own.
  std::optional<double> low, high;
};

class Axis {
 public:
  // `name` is what an error calls it.
  Axis(const std::string& name, const std::vector<double>& values, const AxisWish& wish,
       double begin, double end);

  bool shows(double value) const;
  // What is below the axis stands at its begin, what is above at its end.
  double operator()(double value) const;

  // Neither below the axis nor in the strip.
  bool to_scale(double value) const { return value >= pieces_[0].low && value <= pieces_[0].high; }

  // At least so many pixels apart.
  std::vector<Tic> tics(double apart) const;
  // Where the scale changes.
  std::vector<double> seams() const;
  // The value of the seam before the strip.
  std::optional<double> strip() const;

  // Pixels a unit, before the strip, of a linear axis; it can be made less.
  double scale() const {
    return (pieces_[0].to - pieces_[0].from) / (pieces_[0].high - pieces_[0].low);
  }
  // Without a strip.
  double whole_scale() const {
    return (end_ - pieces_[0].from) / (pieces_.back().high - pieces_[0].low);
  }
  void rescale(double scale);

 private:
  struct Piece {
    double low, high, from, to;
  };

  double share(const Piece& piece, double value) const;

  bool log_;
  double begin_, end_;
  std::vector<Piece> pieces_;  // one, or two with a strip
  std::optional<Tic> floor_;   // of zeros on a log axis
};

// As printf's %g, whatever the locale.
std::string short_number(double value);

// Where a plot of points should begin its strip: below values that are far above the others.
std::optional<double> without_outliers(std::vector<double> values);

}  // namespace argtape_examples
