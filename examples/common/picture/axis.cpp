#include "examples/common/picture/drawing.hpp"

#include <algorithm>
#include <cmath>

namespace argtape_examples {

namespace {

// The roundest number in between: the one whose digits are a multiple of the largest power of ten,
// or its half, or its fifth.
double roundest(double from, double to) {
  constexpr int digits = 17;
  if (from <= 0 && to >= 0) return 0;
  double power = std::ceil(std::log10(std::max(std::abs(from), std::abs(to))));
  for (const double end = power - digits; power > end; --power)
    for (const double part : {1.0, 2.0, 5.0}) {
      const double step = std::pow(10.0, power) / part, value = std::ceil(from / step) * step;
      if (value <= to) return value;
    }
  return from;
}

}  // namespace

Scale::Scale(const Axis& axis, const std::vector<double>& values, bool starts)
    : log_(axis.log), origin_(axis.origin), unit_(axis.unit), low_(0), high_(1) {
  constexpr double margin = 0.04;
  std::vector<double> finite;
  std::copy_if(values.begin(), values.end(), std::back_inserter(finite),
               [](double value) { return std::isfinite(value); });
  if (finite.empty()) return;
  if (log_ && unit_ == 0) {
    for (const double value : finite) {
      const double off = std::abs(value - origin_) / 2;
      if (off > 0 && (unit_ == 0 || off < unit_)) unit_ = off;
    }
    if (unit_ == 0) unit_ = 1;
  }
  const auto [least, most] = std::minmax_element(finite.begin(), finite.end());
  low_ = (*this)(*least), high_ = (*this)(*most);
  const double flat = low_ == 0 ? 1 : std::abs(low_) / 2;
  const double beyond = high_ > low_ ? margin * (high_ - low_) : flat;
  high_ += beyond;
  if (!starts) low_ -= beyond;
}

double Scale::operator()(double value) const {
  return log_ ? std::asinh((value - origin_) / unit_) : value;
}

double Scale::value_at(double place) const {
  return log_ ? origin_ + unit_ * std::sinh(place) : place;
}

// The roundest number of a stretch, and what still has room beside it.
void Scale::fill(double from, double to, double apart, std::vector<double>& tics) const {
  if (to - from < apart / 4) return;
  const double value = roundest(value_at(from), value_at(to)), place = (*this)(value);
  fill(from, place - apart, apart, tics);
  tics.push_back(value);
  fill(place + apart, to, apart, tics);
}

std::vector<double> Scale::tics(double apart) const {
  std::vector<double> all;
  fill(low_, high_, apart * (high_ - low_), all);
  return all;
}

}  // namespace argtape_examples
