#include "examples/common/picture/labels.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "examples/common/files.hpp"

namespace argtape_examples {

namespace {

constexpr double line_height = 17;

}  // namespace

double pixel_width(const std::string& text) {
  return 10 + 8.2 * static_cast<double>(text_width(text));
}

bool Labels::Box::meets(const Box& other) const {
  return left < other.right && other.left < right && bottom < other.top && other.bottom < top;
}

Labels::Box Labels::box(const Label& label) {
  const double width = pixel_width(label.text);
  const double left = label.at.x - (label.side > 0 ? 0 : label.side < 0 ? width : width / 2);
  return {left, left + width, label.at.y - line_height / 2, label.at.y + line_height / 2};
}

void Labels::avoid(Spot from, Spot to, double reach) {
  constexpr std::size_t enough = 4000;  // to find what room there is
  // What ends where the last one did has been seen to.
  const Box end = {to.x - reach, to.x + reach, to.y - reach, to.y + reach};
  if (taken_.size() > enough || (!taken_.empty() && taken_.back().meets(end))) return;
  const double apart = std::max(2 * reach, 5.0);
  const double length = std::hypot(to.x - from.x, to.y - from.y);
  const double steps = std::max(std::ceil(length / apart), 1.0);
  for (double i = 0; i <= steps; ++i) {
    const double x = from.x + (to.x - from.x) * i / steps, y = from.y + (to.y - from.y) * i / steps;
    taken_.push_back({x - reach, x + reach, y - reach, y + reach});
  }
}

// Of the distance, and of what the label and the line to it cover.
double Labels::cost(const Label& label, const std::vector<Box>& others) const {
  const Box own = box(label);
  if (own.left < low_.x || own.right > high_.x || own.bottom < low_.y || own.top > high_.y) {
    return std::numeric_limits<double>::infinity();
  }
  const double across = label.at.x - label.anchor.x, up = label.at.y - label.anchor.y;
  const Spot way = {label.anchor.x + 0.6 * across, label.anchor.y + 0.6 * up};
  const Box line = {way.x - 1, way.x + 1, way.y - 1, way.y + 1};
  int covered = 0;
  for (const Box& box : taken_) covered += own.meets(box) + line.meets(box);
  for (const Box& box : others) covered += 40 * (own.meets(box) + line.meets(box));
  return std::hypot(across, up) + 8 * covered;
}

Label Labels::best(Label label, const std::vector<Box>& others) const {
  constexpr int directions = 16;
  double least = std::numeric_limits<double>::infinity();
  Label best = label;
  for (std::size_t i = 0; i < label.anchors.size(); ++i) {
    label.anchor = label.anchors[i];
    for (const double distance : {10, 15, 22, 32, 46, 66, 94, 130}) {
      for (int d = 0; d < directions; ++d) {
        const double angle = 2 * std::acos(-1.0) * d / directions;
        const double across = std::cos(angle), up = std::sin(angle);
        label.side = across > 0.3 ? 1 : across < -0.3 ? -1 : 0;
        label.at = {label.anchor.x + distance * across,
                    label.anchor.y + (distance + (label.side == 0 ? 4 : 0)) * up};
        const double later =
            40 * static_cast<double>(i) / static_cast<double>(label.anchors.size());
        const double sum = later + cost(label, others);
        if (sum < least) {
          least = sum;
          best = label;
        }
      }
    }
  }
  return best;
}

void Labels::place(std::vector<Label>& labels) const {
  for (const bool again : {false, true}) {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      std::vector<Box> others;
      for (std::size_t k = 0; k < labels.size(); ++k) {
        if (k < i || (again && k > i)) others.push_back(box(labels[k]));
      }
      labels[i] = best(labels[i], others);
    }
  }
}

void place_in_column(std::vector<Label>& labels, double x, double bottom, double top) {
  std::stable_sort(labels.begin(), labels.end(),
                   [](const Label& a, const Label& b) { return a.anchors[0].y > b.anchors[0].y; });
  const auto n = static_cast<double>(labels.size());
  const double step = std::min(line_height, (top - bottom) / std::max(n - 1, 1.0));
  // The nearest heights in the mean square that are a step apart: a run of labels that are too near
  // stands around its mean. Each height is counted from where the label would be in a full column.
  struct Run {
    double sum, size;
  };
  std::vector<Run> runs;
  for (double i = 0; i < n; ++i) {
    runs.push_back({labels[static_cast<std::size_t>(i)].anchors[0].y + step * i, 1});
    for (std::size_t k = runs.size() - 1;
         k > 0 && runs[k - 1].sum / runs[k - 1].size <= runs[k].sum / runs[k].size; --k) {
      runs[k - 1] = {runs[k - 1].sum + runs[k].sum, runs[k - 1].size + runs[k].size};
      runs.pop_back();
    }
  }
  double i = 0;
  for (const Run& run : runs) {
    const double lowest = bottom + step * (n - 1);
    const double mean = std::clamp(run.sum / run.size, lowest, std::max(top, lowest));
    for (const double end = i + run.size; i < end; ++i) {
      Label& label = labels[static_cast<std::size_t>(i)];
      label.anchor = label.anchors[0];
      label.at = {x, mean - step * i};
    }
  }
}

}  // namespace argtape_examples
