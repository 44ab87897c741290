// Bars in groups.
#include <algorithm>
#include <string>
#include <vector>

#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

Axis axis_of(const Picture& picture, double begin, double end) {
  std::vector<double> values;
  if (!picture.log_y) values.push_back(0);
  for (const Series& one : picture.series) {
    for (const auto* some : {&one.y, &one.low, &one.high}) {
      values.insert(values.end(), some->begin(), some->end());
    }
  }
  AxisWish wish = {picture.log_y, picture.y_min, picture.y_max};
  const auto negative = [](double value) { return value < 0; };
  if (!wish.log && !wish.low && std::none_of(values.begin(), values.end(), negative)) wish.low = 0;
  return Axis("y", values, wish, begin, end);
}

// The names of the series in a row, each beside its colour.
void write_legend(Script& script, const Picture& picture, double y) {
  constexpr double swatch = 12, apart = 26;
  double width = -apart;
  for (const Series& one : picture.series) {
    width += swatch + 6 + pixel_width(one.name) + apart;
  }
  double x = (canvas_width - width) / 2;
  for (const Series& one : picture.series) {
    script.rectangle({x, y - swatch / 2}, {x + swatch, y + swatch / 2},
                     "fs solid noborder fc rgb '" + Look(one.look).colour + "'");
    script.text(one.name, {x + swatch + 6, y}, "left");
    x += swatch + 6 + pixel_width(one.name) + apart;
  }
}

}  // namespace

void write_bars(Script& script, const Picture& picture) {
  write_title(script, picture, canvas_height);
  Area area = {60, canvas_width - 16, 58, below_title(picture, canvas_height)};
  const bool named = has_names(picture);
  if (named) area.top -= 26;
  const auto groups = static_cast<double>(picture.categories.size());
  double widest = 0;
  for (const std::string& name : picture.categories) {
    widest = std::max(widest, pixel_width(shortened(name, longest_name)));
  }
  const bool crowded = groups * (widest + 8) > area.right - area.left;
  if (crowded) area.bottom += 0.6 * widest;
  const Axis up = axis_of(picture, area.bottom, area.top);
  area.left = left_of(picture, up);
  write_frame(script, picture, area, nullptr, up);
  if (named) write_legend(script, picture, area.top + 20);

  const double group = (area.right - area.left) / groups;
  for (std::size_t k = 0; k < picture.categories.size(); ++k) {
    script.text(shortened(picture.categories[k], longest_name),
                {area.left + group * (static_cast<double>(k) + 0.5), area.bottom - 15},
                crowded ? "right rotate by 35" : "center");
  }
  const double width = 0.8 * group / static_cast<double>(picture.series.size());
  const double base = picture.log_y ? area.bottom : up(0);
  for (std::size_t i = 0; i < picture.series.size(); ++i) {
    const Series& one = picture.series[i];
    std::string boxes, errors;
    for (std::size_t k = 0; k < one.y.size(); ++k) {
      if (!up.shows(one.y[k])) continue;
      const double left =
          area.left + group * (static_cast<double>(k) + 0.1) + width * static_cast<double>(i);
      const double x = left + 0.47 * width, end = up(one.y[k]);
      boxes += row({x, base, left, left + 0.94 * width, std::min(base, end), std::max(base, end)});
      if (!one.low.empty()) errors += rows_of({{x, up(one.low[k])}, {x, up(one.high[k])}, no_spot});
    }
    const std::string colour = Look(one.look).colour;
    if (!boxes.empty()) {
      script.plot(boxes, "with boxxyerror fs solid 0.9 noborder lc rgb '" + colour + "'");
    }
    if (!errors.empty()) script.plot(errors, "with lines lw 1.6 lc rgb '#303030'");
  }
}

}  // namespace argtape_examples
