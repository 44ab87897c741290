// Lines, points and bars, with their names beside them.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <utility>
#include <vector>

#include "examples/common/picture/drawing.hpp"
#include "examples/common/picture/gnuplot.hpp"
#include "examples/common/program.hpp"

namespace argtape_examples {

namespace {

constexpr double connector = 26;  // from a line's end to its name

struct Plot {
  const Picture& picture;
  Area area;
  Axis across, up;

  bool shows(const Series& one, std::size_t k) const {
    return across.shows(one.x[k]) && up.shows(one.y[k]);
  }
  Spot at(const Series& one, std::size_t k) const {
    Spot spot = {across(one.x[k]), up(one.y[k])};
    if (one.kind == Series::Kind::bars) {
      const auto i = static_cast<double>(&one - picture.series.data());
      spot.x += half_bar() * (2 * i + 1 - static_cast<double>(picture.series.size()));
    }
    return spot;
  }
  double half_bar() const {
    return 0.4 * across.scale() / static_cast<double>(picture.series.size());
  }
};

bool has_bars(const Picture& picture) { return !picture.categories.empty(); }

double widest_category(const Picture& picture) {
  double widest = 0;
  for (const std::string& name : picture.categories) {
    widest = std::max(widest, pixel_width(shortened(name, longest_name)));
  }
  return widest;
}

bool slanted(const Picture& picture) {
  return widest_category(picture) * static_cast<double>(picture.categories.size()) > 800;
}

Axis axis_of(const Picture& picture, char name, double begin, double end) {
  const bool x = name == 'x';
  std::vector<double> values, marks;
  for (const Series& one : picture.series) {
    const std::vector<double>&middle = x ? one.x : one.y, &low = x ? one.x_low : one.low,
          &high = x ? one.x_high : one.high;
    marks.insert(marks.end(), middle.begin(), middle.end());
    for (const auto* some : {&middle, &low, &high}) {
      values.insert(values.end(), some->begin(), some->end());
    }
  }
  AxisRange range = {x ? picture.log_x : picture.log_y, x ? picture.x_min : picture.y_min,
                     x ? picture.x_max : picture.y_max};
  if (has_bars(picture) && x) {
    range.low = -0.5, range.high = static_cast<double>(picture.categories.size()) - 0.5;
  } else if (has_bars(picture) && !range.log) {
    values.push_back(0);
    const bool above = std::none_of(marks.begin(), marks.end(), [](double y) { return y < 0; });
    if (above && !range.low) range.low = 0;
  }
  if (picture.rings && !range.high) range.high = without_outliers(marks);
  return Axis(std::string(1, name), values, range, begin, end);
}

// The places of a series that are shown, at most so many; a line's last first.
std::vector<Spot> some_places(const Plot& plot, const Series& one, std::size_t most) {
  std::vector<Spot> all, some;
  for (std::size_t k = 0; k < one.x.size(); ++k) {
    if (plot.shows(one, k)) all.push_back(plot.at(one, k));
  }
  if (one.kind == Series::Kind::line) std::reverse(all.begin(), all.end());
  for (std::size_t k = 0; k < all.size(); k += (all.size() + most - 1) / most) {
    some.push_back(all[k]);
  }
  return some;
}

// Lines that end at the right have their names there.
bool ends_at_right(const Plot& plot, const Series& one) {
  if (one.kind != Series::Kind::line || one.name.empty()) return false;
  const std::vector<Spot> last = some_places(plot, one, 1);
  return !last.empty() && last[0].x - plot.area.left > 0.92 * (plot.area.right - plot.area.left);
}

Plot plot_of(const Picture& picture, double top) {
  constexpr double right = canvas_width - 16;
  const double bottom = 58 + (slanted(picture) ? 0.55 * widest_category(picture) : 0);
  Axis up = axis_of(picture, 'y', bottom, top);
  const double left = left_of(picture, up);
  Plot plot = {picture, {left, right, bottom, top}, axis_of(picture, 'x', left, right), up};
  double widest = 0;
  for (const Series& one : picture.series) {
    if (!has_names(picture) || !ends_at_right(plot, one)) continue;
    widest = std::max(widest, pixel_width(shortened(one.name, longest_name)));
  }
  if (widest > 0) plot.area.right = canvas_width - 6 - widest - connector;
  plot.across = axis_of(picture, 'x', left, plot.area.right);
  if (!picture.rings) return plot;
  double scale = std::min(plot.across.scale(), plot.up.scale());
  // A little smaller, where that leaves no outlier.
  for (const Axis* axis : {&plot.across, &plot.up}) {
    if (axis->scale_of_all() > 0.7 * scale) scale = std::min(scale, axis->scale_of_all());
  }
  plot.across.rescale(scale);
  plot.up.rescale(scale);
  return plot;
}

// Rows of x, y and their bounds; a row without any interrupts the line.
std::string rows_of(const Plot& plot, const Series& one, Labels& labels) {
  std::string rows;
  for (std::size_t k = 0; k < one.x.size(); ++k) {
    if (!plot.shows(one, k)) {
      rows += '\n';
      continue;
    }
    const Spot at = plot.at(one, k);
    Spot low = at, high = at;
    if (!one.x_low.empty()) low.x = plot.across(one.x_low[k]), high.x = plot.across(one.x_high[k]);
    if (!one.low.empty()) low.y = plot.up(one.low[k]), high.y = plot.up(one.high[k]);
    rows += place(at) + ',' + place({low.x, high.x}) + ',' + place({low.y, high.y}) + '\n';
    if (one.kind == Series::Kind::bars) {
      const double half = plot.half_bar();
      labels.avoid({at.x, plot.area.bottom}, {at.x, at.y - half}, half);
    } else if (one.kind == Series::Kind::points) {
      labels.avoid(at, at, 5 * one.size);
      labels.avoid({low.x, at.y}, {high.x, at.y}, 1);
      labels.avoid({at.x, low.y}, {at.x, high.y}, 1);
    } else if (k > 0 && plot.shows(one, k - 1)) {
      labels.avoid(plot.at(one, k - 1), at, 2);
    }
  }
  return rows;
}

std::vector<Tic> tics_of(const Plot& plot) {
  if (!has_bars(plot.picture)) return plot.across.tics(tics_across);
  std::vector<Tic> tics;
  for (const std::string& name : plot.picture.categories) {
    std::string text;  // tic labels are printf formats
    for (const char c : shortened(name, longest_name)) text += std::string(c == '%' ? 2 : 1, c);
    tics.emplace_back(plot.across(static_cast<double>(tics.size())), text);
  }
  return tics;
}

// Bands lie below, marks above.
void write_series(std::ostream& script, const Plot& plot, Labels& labels) {
  constexpr std::size_t few = 20, marks = 7;
  constexpr std::ptrdiff_t lines_without_marks = 3;
  std::string bands, curves;
  const std::vector<Series>& series = plot.picture.series;
  const auto is_line = [](const Series& one) { return one.kind == Series::Kind::line; };
  const auto lines = std::count_if(series.begin(), series.end(), is_line);
  for (std::size_t i = 0; i < series.size(); ++i) {
    const Series& one = series[i];
    const Look look(one.look);
    const std::string data = "$data" + std::to_string(i);
    const std::string colour = " lc rgb '" + look.colour + "' ", mark = " pt " + look.mark;
    script << data << " << EOD\n" << rows_of(plot, one, labels) << "EOD\n";
    if (one.kind == Series::Kind::points) {
      const bool bars = !one.low.empty() || !one.x_low.empty();
      curves += data + (bars ? " using 1:2:3:4:5:6 with xyerrorbars" : " using 1:2 with points") +
                mark + " lw 1.5" + " ps mark*" + exact(one.size) + colour + "notitle, ";
      continue;
    }
    if (one.kind == Series::Kind::bars) {
      const std::string half = exact(0.94 * plot.half_bar());
      const double base = plot.picture.log_y ? plot.area.bottom : plot.up(0);
      curves += data + " using 1:2:($1-" + half + "):($1+" + half + "):(" + exact(base) +
                "):2 with boxxyerror fs solid 0.9 noborder" + colour + "notitle, ";
      if (!one.low.empty()) {
        curves +=
            data + " using 1:5:(0):($6-$5) with vectors nohead lw 1.6 lc rgb '#303030' notitle, ";
      }
      continue;
    }
    if (!one.low.empty()) {
      bands += data + " using 1:5:6 with filledcurves fs transparent solid 0.15 noborder" + colour +
               "notitle, ";
    }
    curves += data + " using 1:2 with lines lw 2.2 dt " + look.dash + colour + "notitle, ";
    // All of few, else some, from another place on for each line.
    const std::size_t every = one.x.size() <= few ? 1 : one.x.size() / marks;
    if (every > 1 && lines <= lines_without_marks) continue;
    curves += data + " every " + std::to_string(every) +
              "::" + std::to_string(every * i / series.size()) + " using 1:2 with points" + mark +
              " lw 1.5" + colour + "notitle, ";
  }
  script << "plot " << bands << curves << "NaN notitle\n";
}

// Arcs of equal bias^2 + standard deviation^2.
void write_rings(std::ostream& script, const Plot& plot, std::vector<Label>& names) {
  constexpr int steps = 60;
  for (const double x : plot.across.round_values(tics_across)) {
    Label name = {"mse " + number(x * x, 4), "#707070", {}};
    for (int i = 0; i < steps; ++i) {
      Spot ends[2];
      bool seen = x > 0;
      for (int end : {0, 1}) {
        const double angle = std::acos(-1.0) / 2 * (i + end) / steps;
        const double bias = x * std::cos(angle), deviation = x * std::sin(angle);
        seen = seen && plot.across.full_scale(bias) && plot.up.full_scale(deviation);
        ends[end] = {plot.across(bias), plot.up(deviation)};
      }
      if (!seen) continue;
      script << "set arrow from " << place(ends[0]) << " to " << place(ends[1])
             << " nohead back lc rgb '#a0a0a0'\n";
      if (i % 3 == 0) name.anchors.push_back(ends[0]);
    }
    if (!name.anchors.empty()) names.push_back(std::move(name));
  }
}

void write_label(std::ostream& script, const Label& label) {
  constexpr double near = 16, clear = 5;
  const char* side = label.side > 0 ? "left" : label.side < 0 ? "right" : "center";
  write_text(script, label.text, label.at, std::string(side) + " tc rgb '" + label.colour + "'");
  const double across = label.at.x - label.anchor.x, up = label.at.y - label.anchor.y;
  const double length = std::hypot(across, up);
  if (length < near) return;
  const Spot gap = {clear / length * across, clear / length * up};
  script << "set arrow from " << place({label.anchor.x + gap.x, label.anchor.y + gap.y}) << " to "
         << place({label.at.x - gap.x, label.at.y - gap.y}) << " nohead lw 0.8 lc rgb '"
         << label.colour << "'\n";
}

}  // namespace

void write_plot(std::ostream& script, const Picture& picture) {
  constexpr std::size_t anchors = 16;
  const Plot plot = plot_of(picture, write_title(script, picture, plot_height));
  write_canvas(script, plot.area, plot_height);
  script << "set border 3 lc rgb '#606060'\nset grid back lt 1 lc rgb '#dddddd' lw 0.7\n"
         << "set tics nomirror out scale 0.6 tc rgb '#303030'\n";
  const Area& area = plot.area;
  write_text(script, picture.x_label, {(area.left + area.right) / 2, 15}, "center");
  write_text(script, picture.y_label, {15, (area.bottom + area.top) / 2}, "center rotate by 90");
  write_axis(script, area, 'y', plot.up, plot.up.tics(tics_up));
  write_axis(script, area, 'x', plot.across, tics_of(plot));
  if (slanted(picture)) script << "set xtics rotate by 35 right\n";
  Labels labels({area.left, area.bottom}, {canvas_width - 4, area.top});
  std::vector<Label> at_right, beside;
  for (const Series& one : picture.series) {
    if (one.name.empty() || !has_names(picture)) continue;
    Label name = {shortened(one.name, longest_name), Look(one.look).dark,
                  some_places(plot, one, anchors)};
    if (name.anchors.empty()) continue;
    (ends_at_right(plot, one) ? at_right : beside).push_back(std::move(name));
  }
  if (picture.rings) write_rings(script, plot, beside);
  place_in_column(at_right, area.right + connector, area.bottom, area.top);
  for (const Label& label : at_right) labels.avoid(label.at, {canvas_width, label.at.y}, 8);
  std::ostringstream series;
  write_series(series, plot, labels);
  labels.place(beside);
  for (const Label& label : at_right) write_label(script, label);
  for (const Label& label : beside) write_label(script, label);
  script << series.str();
}

}  // namespace argtape_examples
