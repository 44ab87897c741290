#include "examples/common/picture/axis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "examples/common/program.hpp"

namespace argtape_examples {

namespace {

constexpr double margin = 0.04;
using Numbers = std::numeric_limits<double>;

}  // namespace

Axis::Axis(const std::string& name, const std::vector<double>& values, const AxisRange& range,
           double begin, double end)
    : log_(range.log), begin_(begin), from_(begin), seam_(end), end_(end) {
  constexpr double below = 0.1, strip = 0.15;
  std::vector<double> shown;
  for (const double value : values) {
    if (!shows(value)) continue;
    if (!log_ || (value > 0 && value >= range.low.value_or(0))) {
      shown.push_back(value);
      continue;
    }
    if (below_.empty()) below_ = "0";
    if (value > 0) below_ = "< " + number(*range.low);
    from_ = begin + below * (end - begin);
  }
  if (shown.empty()) shown = {log_ ? 1.0 : 0.0, log_ ? 10.0 : 1.0};
  const auto [least, most] = std::minmax_element(shown.begin(), shown.end());
  const auto padded = [&, least = *least](double value, double top, int side) {
    if (log_) {
      const double factor = top > least ? margin * (std::log(top) - std::log(least)) : std::log(2);
      return std::clamp(value * std::exp(side * factor), Numbers::denorm_min(), Numbers::max());
    }
    const double flat = least == 0 ? 1 : std::abs(least) / 2;
    return value + side * (top > least ? margin * (top - least) : flat);
  };
  // What is in the strip takes no room below.
  low_ = range.low.value_or(padded(*least, std::min(*most, range.high.value_or(*most)), -1));
  most_ = padded(*most, *most, 1);
  high_ = range.high.value_or(most_);
  if (!(low_ < high_) || (log_ && low_ <= 0)) {
    throw std::invalid_argument("Picture: " + name + "_min must be below " + name +
                                "_max and the data, and positive on a log axis");
  }
  if (high_ >= *most) {
    most_ = high_;
  } else {
    seam_ = end - strip * (end - begin);
    most_ += log_ ? 0 : 0.1 * (*most - high_);
  }
}

bool Axis::shows(double value) const { return std::isfinite(value) && (!log_ || value >= 0); }

double Axis::share(double value, double low, double high) const {
  const auto scaled = [this](double v) { return log_ ? std::log(v) : v; };
  const double share = (scaled(value) - scaled(low)) / (scaled(high) - scaled(low));
  return std::clamp(share, 0.0, 1.0);
}

double Axis::operator()(double value) const {
  if (log_ && value < low_) return (begin_ + from_) / 2;
  if (value <= high_) return from_ + share(value, low_, high_) * (seam_ - from_);
  return seam_ + share(value, high_, most_) * (end_ - seam_);
}

std::vector<double> Axis::marks(double low, double high, double pixels, double apart) const {
  std::vector<double> all;
  if (log_ && high > 4 * low) {
    const double decade = pixels / std::log10(high / low), every = std::ceil(apart / decade);
    for (double power = std::floor(std::log10(low) / every) * every; power <= std::log10(high);
         power += every) {
      for (const double digit : {1.0, 2.0, 5.0}) {
        if (digit == 1 || 0.4 * decade > apart) all.push_back(digit * std::pow(10.0, power));
      }
    }
  } else {
    const double least = apart / pixels * (high - low);
    double step = std::pow(10.0, std::floor(std::log10(least)));
    for (const double factor : {2.0, 2.5, 2.0}) step *= step < least ? factor : 1;
    const double first = std::ceil(low / step);
    // As many as there is room for: rounding may leave them no room to grow.
    for (double i = 0; i * apart <= pixels; ++i) all.push_back((first + i) * step);
  }
  return all;
}

std::vector<double> Axis::round_values(double apart) const {
  std::vector<double> all = marks(low_, high_, seam_ - from_, apart);
  all.erase(std::remove_if(all.begin(), all.end(), [this](double v) { return !full_scale(v); }),
            all.end());
  return all;
}

std::vector<Tic> Axis::tics(double apart) const {
  std::vector<Tic> all;
  if (!below_.empty()) all.emplace_back((begin_ + from_) / 2, below_);
  for (const double value : round_values(apart)) {
    all.emplace_back((*this)(value), number(value, 6));
  }
  if (seam_ == end_) return all;
  for (const double value : marks(high_, most_, end_ - seam_, 0.6 * apart)) {
    const double at = (*this)(value), before = all.empty() ? from_ : all.back().first;
    if (value <= most_ && at - before > 0.5 * apart) all.emplace_back(at, number(value, 6));
  }
  return all;
}

void Axis::rescale(double scale) {
  if (scale <= scale_of_all()) seam_ = end_;
  high_ = low_ + (seam_ - from_) / scale;
  most_ = std::max(most_, high_);
}

std::optional<double> without_outliers(std::vector<double> values) {
  const auto unknown = [](double value) { return !std::isfinite(value); };
  values.erase(std::remove_if(values.begin(), values.end(), unknown), values.end());
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  for (std::size_t i = n; i-- > n - n / 4;) {
    const double body = values[i - 1] - values[0];
    if (values[i] - values[i - 1] > body) return values[i - 1] + margin * body;
  }
  return std::nullopt;
}

}  // namespace argtape_examples
