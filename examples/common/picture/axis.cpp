#include "examples/common/picture/axis.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace argtape_examples {

namespace {

constexpr double strip_share = 0.15, floor_share = 0.1, margin = 0.04;
constexpr double plain_from = 1e-4, plain_to = 1e6;  // else powers of ten on a log axis

Tic tic_at(double at, double value, bool powers) {
  if (!powers) return {at, value, short_number(value), ""};
  const double power = std::floor(std::log10(value) + 1e-9);
  const std::string digit = short_number(value / std::pow(10.0, power));
  return {at, value, (digit == "1" ? "" : digit + " x ") + "10", short_number(power)};
}

// The least of 1, 2, 5, 10, 20, ... times a power of ten that is `least` or more.
double round_step(double least) {
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= least) return digit * power;
  }
  return 10 * power;
}

std::vector<double> multiples(double step, double low, double high) {
  std::vector<double> all;
  for (double i = std::ceil(low / step - 1e-9); i <= high / step + 1e-9; ++i) {
    all.push_back(i == 0 ? 0 : i * step);  // no -0
  }
  return all;
}

// Of a log axis: as many digits of each power of ten as there is room for, or one power of several.
std::vector<double> log_marks(double low, double high, double pixels_a_decade, double apart) {
  std::vector<double> digits = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  if (std::log10(10.0 / 9) * pixels_a_decade < apart) digits = {1, 2, 5};
  if (std::log10(2.0) * pixels_a_decade < apart) digits = {1};
  const double every = std::max(round_step(apart / pixels_a_decade), 1.0);
  std::vector<double> all;
  for (double power = std::floor(std::log10(low) / every) * every; power <= std::log10(high);
       power += every) {
    for (const double digit : digits) {
      const double value = digit * std::pow(10.0, power);
      if (value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) all.push_back(value);
    }
  }
  return all;
}

}  // namespace

std::string short_number(double value) {
  std::array<char, 32> text;
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::general, 6)
          .ptr;
  return std::string(text.data(), end);
}

Axis::Axis(const std::string& name, const std::vector<double>& values, const AxisWish& wish,
           double begin, double end)
    : log_(wish.log), begin_(begin), end_(end) {
  std::vector<double> shown;
  bool below = false, nearly = false;  // zero, or so
  for (const double value : values) {
    if (!shows(value)) continue;
    if (log_ && (value == 0 || value < wish.low.value_or(0))) {
      below = true;
      nearly = nearly || value > 0;
    } else {
      shown.push_back(value);
    }
  }
  double low = log_ ? 1 : 0, high = log_ ? 10 : 1;
  if (!shown.empty()) {
    const auto [least, most] = std::minmax_element(shown.begin(), shown.end());
    const double flat = *least == 0 ? 1 : std::abs(*least) / 2;
    // What is in a strip takes no room below.
    const double body = std::max(*least, std::min(*most, wish.high.value_or(*most)));
    const auto pad = [&](double top) {
      if (top == *least) return log_ ? 2 : flat;
      return log_ ? std::pow(top / *least, margin) : margin * (top - *least);
    };
    low = log_ ? *least / pad(body) : *least - pad(body);
    high = log_ ? *most * pad(*most) : *most + pad(*most);
  }
  const double first = wish.low.value_or(low), last = wish.high.value_or(high);
  if (!(first < last) || (log_ && first <= 0)) {
    throw std::invalid_argument("Picture: " + name + "_min must be below " + name +
                                "_max and the data, and positive on a log axis");
  }
  const double length = end - begin, from = begin + (below ? floor_share * length : 0);
  if (below) {
    const double at = begin + floor_share * length / 2;
    floor_ = nearly ? tic_at(at, *wish.low, first < plain_from) : Tic{at, 0, "0", ""};
    if (nearly) floor_->label = "< " + floor_->label;
  }
  if (!shown.empty() && last < *std::max_element(shown.begin(), shown.end())) {
    const double seam = end - strip_share * length;
    if (!log_) high += 0.1 * (high - last);
    pieces_ = {{first, last, from, seam}, {last, high, seam, end}};
  } else {
    pieces_ = {{first, last, from, end}};
  }
}

bool Axis::shows(double value) const { return std::isfinite(value) && (!log_ || value >= 0); }

double Axis::share(const Piece& piece, double value) const {
  const double share = log_ ? std::log(value / piece.low) / std::log(piece.high / piece.low)
                            : (value - piece.low) / (piece.high - piece.low);
  return std::clamp(share, 0.0, 1.0);
}

double Axis::operator()(double value) const {
  if (log_ && (value <= 0 || value < pieces_[0].low)) return floor_ ? floor_->at : begin_;
  const Piece& piece = value > pieces_[0].high ? pieces_.back() : pieces_[0];
  return piece.from + share(piece, value) * (piece.to - piece.from);
}

std::vector<Tic> Axis::tics(double apart) const {
  std::vector<Tic> all;
  if (floor_) all.push_back(*floor_);
  const bool powers = log_ && (pieces_[0].low < plain_from || pieces_.back().high > plain_to);
  for (const Piece& piece : pieces_) {
    const double pixels = piece.to - piece.from;
    double step = round_step((piece.high - piece.low) * apart / pixels);
    std::vector<double> values;
    if (log_) {
      values = log_marks(piece.low, piece.high, pixels / std::log10(piece.high / piece.low), apart);
    }
    // Less than a decade may have no round number on a log axis either.
    for (int tries = 0; values.size() < (piece.from > pieces_[0].from ? 1 : 2) && tries < 3;
         ++tries) {
      values = multiples(step, piece.low, piece.high);
      step = round_step(step / 2.6);
    }
    for (const double value : values) {
      const double at = (*this)(value);
      if (all.empty() || at - all.back().at > 0.6 * apart) all.push_back(tic_at(at, value, powers));
    }
  }
  return all;
}

std::vector<double> Axis::seams() const {
  std::vector<double> all;
  if (floor_) all.push_back(pieces_[0].from);
  if (pieces_.size() > 1) all.push_back(pieces_[1].from);
  return all;
}

std::optional<double> Axis::strip() const {
  if (pieces_.size() < 2) return std::nullopt;
  return pieces_[1].low;
}

void Axis::rescale(double scale) {
  const double top = pieces_.back().high, low = pieces_[0].low, from = pieces_[0].from;
  if (scale <= whole_scale()) {
    pieces_ = {{low, low + (end_ - from) / scale, from, end_}};
  } else {
    const double seam = pieces_[0].to, high = low + (seam - from) / scale;
    pieces_ = {{low, high, from, seam}, {high, top, seam, end_}};
  }
}

std::optional<double> without_outliers(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  for (std::size_t i = n; i-- > n - n / 4;) {
    const double body = values[i - 1] - values[0];
    if (values[i] - values[i - 1] > body) return values[i - 1] + margin * body;
  }
  return std::nullopt;
}

}  // namespace argtape_examples
