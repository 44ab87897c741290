#include "examples/common/picture/labels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "examples/common/files.hpp"

namespace argtape_examples {

namespace {

constexpr double cell = 3;  // pixels

}  // namespace

double pixel_width(const std::string& text) {
  constexpr double character = 8.3;
  return character * static_cast<double>(text_width(text));
}

Labels::Labels(Spot low, Spot high)
    : low_(low),
      high_(high),
      columns_(static_cast<std::size_t>((high.x - low.x) / cell) + 1),
      taken_(columns_ * (static_cast<std::size_t>((high.y - low.y) / cell) + 1)) {}

template <class F>
void Labels::cells(const Box& box, F f) {
  const auto index = [](double pixel, double most) {
    return static_cast<std::size_t>(std::clamp(pixel, 0.0, most) / cell);
  };
  const double width = high_.x - low_.x, height = high_.y - low_.y;
  for (std::size_t row = index(box.bottom - low_.y, height); row <= index(box.top - low_.y, height);
       ++row) {
    for (std::size_t column = index(box.left - low_.x, width);
         column <= index(box.right - low_.x, width); ++column) {
      f(taken_[row * columns_ + column]);
    }
  }
}

void Labels::avoid(Spot from, Spot to, double reach, int weight) {
  const double length = std::hypot(to.x - from.x, to.y - from.y);
  const auto steps = static_cast<int>(length / cell) + 1;
  for (int i = 0; i <= steps; ++i) {
    const double x = from.x + (to.x - from.x) * i / steps, y = from.y + (to.y - from.y) * i / steps;
    cells({x - reach, x + reach, y - reach, y + reach},
          [weight](int& taken) { taken = std::max(taken, weight); });
  }
}

Labels::Box Labels::box(const Label& label) {
  const double width = pixel_width(label.text);
  const double left = label.at.x - (label.side > 0 ? 0 : label.side < 0 ? width : width / 2);
  return {left, left + width, label.at.y - line_height / 2, label.at.y + line_height / 2};
}

// Of what is covered and of the distance.
double Labels::cost(const Label& label) {
  const Box own = box(label);
  if (own.left < low_.x || own.right > high_.x || own.bottom < low_.y || own.top > high_.y) {
    return std::numeric_limits<double>::infinity();
  }
  double sum = 0.8 * std::hypot(label.at.x - label.anchor.x, label.at.y - label.anchor.y);
  cells(own, [&sum](int taken) { sum += taken; });
  return sum;
}

void Labels::move(Label& label) {
  constexpr int directions = 16;
  double least = std::numeric_limits<double>::infinity();
  Label best = label;
  for (std::size_t i = 0; i < label.anchors.size(); ++i) {
    const double later = 40.0 * static_cast<double>(i) / static_cast<double>(label.anchors.size());
    label.anchor = label.anchors[i];
    for (const double distance : {10.0, 15.0, 22.0, 32.0, 46.0, 66.0, 94.0, 130.0}) {
      for (int d = 0; d < directions; ++d) {
        const double angle = 2 * std::acos(-1.0) * d / directions;
        const double across = std::cos(angle), up = std::sin(angle);
        label.side = across > 0.3 ? 1 : across < -0.3 ? -1 : 0;
        label.at = {label.anchor.x + distance * across,
                    label.anchor.y + (distance + (label.side == 0 ? line_height / 4 : 0)) * up};
        const double sum = cost(label) + later;
        if (sum < least) {
          least = sum;
          best = label;
        }
      }
    }
  }
  label = best;
}

void Labels::place(std::vector<Label>& labels) {
  constexpr int rounds = 3, weight = 100;
  const auto occupy = [this](const Label& label, int by) {
    cells(box(label), [by](int& taken) { taken += by; });
  };
  for (int round = 0; round < rounds; ++round) {
    for (Label& label : labels) {
      if (round > 0) occupy(label, -weight);
      move(label);
      occupy(label, weight);
    }
  }
}

void place_in_column(std::vector<Label>& labels, double x, double bottom, double top) {
  std::vector<std::size_t> order(labels.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return labels[a].anchors[0].y > labels[b].anchors[0].y;
  });
  const auto n = static_cast<double>(labels.size());
  const double step = std::min(line_height, (top - bottom) / std::max(n - 1, 1.0));
  // Least squares under a least distance: neighbours that are too near stand around their mean.
  struct Group {
    double sum, size;
  };
  std::vector<Group> groups;
  for (std::size_t i = 0; i < order.size(); ++i) {
    Group last = {labels[order[i]].anchors[0].y + step * static_cast<double>(i), 1};
    while (!groups.empty() && groups.back().sum / groups.back().size <= last.sum / last.size) {
      last = {last.sum + groups.back().sum, last.size + groups.back().size};
      groups.pop_back();
    }
    groups.push_back(last);
  }
  std::size_t i = 0;
  for (const Group& group : groups) {
    const double mean = std::clamp(group.sum / group.size, bottom + step * (n - 1),
                                   std::max(top, bottom + step * (n - 1)));
    for (double left = group.size; left > 0.5; --left, ++i) {
      Label& label = labels[order[i]];
      label.anchor = label.anchors[0];
      label.at = {x, mean - step * static_cast<double>(i)};
    }
  }
}

}  // namespace argtape_examples
