#include "examples/common/picture/drawing.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

namespace argtape_examples {

namespace {

// The roundest number in between: a power of ten, or else the one whose digits are a multiple of
// the largest power, or of its half, or of its fifth.
double roundest(double from, double to) {
  constexpr int digits = 17;
  if (from <= 0 && to >= 0) return 0;
  if (to < 0) return -roundest(-to, -from);
  double power = std::floor(std::log10(to));
  if (std::pow(10.0, power) >= from) return std::pow(10.0, power);
  for (const double end = power++ - digits; power > end; --power)
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
  // A length that no number holds.
  const auto too_far = [](double value) { return std::abs(value) > 1e300; };
  log_ = log_ || std::any_of(finite.begin(), finite.end(), too_far);
  if (unit_ <= 0) {
    constexpr double reach = 1e30;  // many times the unit
    double closest = 0, farthest = 0;
    for (const double value : finite) {
      const double off = std::abs(value / 2 - origin_ / 2);
      if (off > 0 && (closest == 0 || off < closest)) closest = off;
      farthest = std::max(farthest, off);
    }
    unit_ = farthest > 0 ? std::max(closest, farthest / reach) : 1;
  }
  if (finite.empty()) return;
  const auto [least, most] = std::minmax_element(finite.begin(), finite.end());
  low_ = (*this)(*least), high_ = (*this)(*most);
  const double flat = low_ == 0 ? 1 : std::abs(low_) / 2;
  const double beyond = high_ - low_ > 1e-12 * flat ? margin * (high_ - low_) : flat;
  high_ += beyond;
  if (!starts) low_ -= beyond;
}

double Scale::operator()(double value) const {
  return log_ ? std::asinh((value - origin_) / unit_) : value;
}

double Scale::value_at(double place) const {
  constexpr double most = std::numeric_limits<double>::max();
  return std::clamp(log_ ? origin_ + unit_ * std::sinh(place) : place, -most, most);
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
