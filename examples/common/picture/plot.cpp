// Lines, points and bars, with their names beside them.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

constexpr double left = 96, top = plot_height - 44;
constexpr std::size_t longest_name = 40;
using Kind = Series::Kind;

// Colours and marks go round at different lengths, and dashes with the colours, so that many series
// are told apart, in grey too.
struct Look {
  std::string colour, mark, dash;

  explicit Look(std::size_t i) {
    // Okabe and Ito's colours, told apart by colour-blind readers, but for yellow, which is too
    // faint for lines.
    constexpr std::array colours = {"#0072b2", "#e69f00", "#009e73", "#cc79a7",
                                    "#000000", "#56b4e9", "#d55e00"};
    constexpr std::array marks = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 15};
    constexpr std::array dashes = {"solid", "(9,4)", "(2,3)"};
    colour = std::string(" lc rgb '") + colours[i % colours.size()] + "'";
    mark = " lw 1.5 pt " + std::to_string(marks[i % marks.size()]);
    dash = dashes[i / colours.size() % dashes.size()];
  }
};

struct Plot {
  std::vector<Series> series;  // each with all of its bounds
  Scale across, up;
  double bottom, width, height;  // of the plot, in pixels
  double bar;                    // its width; groups are 1 apart

  Spot spot(double x, double y) const { return {across.share(x) * width, up.share(y) * height}; }
};

double widest(const std::vector<std::string>& names) {
  double width = 0;
  for (const std::string& name : names)
    width = std::max(width, pixel_width(shortened(name, longest_name)));
  return width;
}

// Points that stand alone have their names beside them, all else is named at the right.
bool stands_alone(const Series& one) { return one.kind == Kind::points && one.x.size() == 1; }

Plot plot_of(const Picture& picture) {
  constexpr double below = 68, beside = 24, slope = 0.6;
  const bool bars = picture.series[0].kind == Kind::bars;
  const auto groups = static_cast<double>(picture.categories.size());
  const double bar = bars ? 0.8 / static_cast<double>(picture.series.size()) : 0;
  std::vector<Series> all = picture.series;
  std::vector<double> x, y;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < all.size(); ++i) {
    Series& one = all[i];
    // A single series needs no name.
    if (all.size() == 1) one.name = "";
    if (!one.name.empty() && !stands_alone(one)) names.push_back(one.name);
    // Bars of a group stand side by side.
    if (bars)
      for (double& at : one.x) at += bar * (static_cast<double>(i) + 0.5) - 0.4;
    if (one.low.empty()) one.low = one.high = one.y;
    if (one.x_low.empty()) one.x_low = one.x_high = one.x;
    for (const auto* from : {&one.x, &one.x_low, &one.x_high})
      x.insert(x.end(), from->begin(), from->end());
    for (const auto* from : {&one.y, &one.low, &one.high})
      y.insert(y.end(), from->begin(), from->end());
  }
  if (bars) x.insert(x.end(), {-0.5, groups - 0.5}), y.push_back(0);
  const bool stand = bars && std::none_of(y.begin(), y.end(), [](double v) { return v < 0; });
  const double width = canvas_width - left - beside - (names.empty() ? 0 : 10 + widest(names));
  const double category = widest(picture.categories);
  const double bottom = below + (category * groups > width ? slope * category : 0);
  return {all, Scale(picture.x, x), Scale(picture.y, y, stand), bottom, width, top - bottom, bar};
}

void write_text(std::ostream& script, const Plot& plot, const std::string& text, Spot at,
                const std::string& style) {
  script << "set label " << gnuplot_string(shortened(text, longest_name)) << " at graph "
         << number(at.x / plot.width, 4) << ", graph " << number(at.y / plot.height, 4) << " front "
         << style << '\n';
}

// In a column, the lines ordered as they end below all others; those that stand alone beside their
// marks, where there is room.
void write_names(std::ostream& script, const Plot& plot, bool rings, std::vector<Box>& taken) {
  std::multimap<double, std::size_t> column;  // from the top down
  std::vector<std::pair<std::size_t, Box>> alone;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const Series& one = plot.series[i];
    double height = NAN;
    for (std::size_t k = 0; k < one.x.size(); ++k) {
      if (!std::isfinite(one.x[k]) || !std::isfinite(one.y[k])) continue;
      const bool ends = plot.bar == 0 && one.kind == Kind::line && one.size > 0;
      height = ends ? plot.up.share(one.y[k]) * plot.height : plot.height;
      // A band may lie under a name.
      const bool points = one.kind == Kind::points;
      const double reach = points ? 6 * one.size : 3;
      const Spot low = plot.spot(one.x_low[k], points ? one.low[k] : one.y[k]);
      const Spot high = plot.spot(one.x_high[k], points ? one.high[k] : one.y[k]);
      taken.push_back({low.x - reach, high.x + reach, low.y - reach, high.y + reach});
    }
    if (one.name.empty() || std::isnan(height)) continue;
    if (stands_alone(one))
      alone.emplace_back(i, taken.back());
    else
      column.emplace(-height, i);
  }
  const Box inside = {0, plot.width + (column.empty() ? 20 : 0), 0, plot.height};
  const char* style = rings ? "left boxed" : "left";
  for (const auto& [i, mark] : alone) {
    const std::string& name = plot.series[i].name;
    if (const auto spot = beside(name, mark, inside, taken))
      write_text(script, plot, name, *spot, style);
    else
      column.emplace(-plot.height, i);
  }
  std::vector<double> heights;
  for (const auto& [down, i] : column) heights.push_back(-down);
  spread_out(heights, plot.height);
  auto height = heights.begin();
  for (const auto& [down, i] : column) {
    const Look look(i);
    const bool marked = plot.series[i].size > 0;
    write_text(
        script, plot, (marked ? "" : "— ") + plot.series[i].name, {plot.width + 14, *height++},
        marked ? "left offset 0.9,-0.3 point" + (plot.bar > 0 ? " pt 5" : look.mark) + look.colour
               : "left offset -0.5,-0.2 tc" + look.colour.substr(3));
  }
}

void write_axis(std::ostream& script, char name, const Scale& scale, double apart,
                const std::vector<std::string>& categories) {
  script << "set " << name << "range [" << scale.low() << ':' << scale.high() << "]\n";
  std::vector<std::pair<std::string, double>> tics;
  if (scale.log())
    for (const double value : scale.tics(apart)) tics.emplace_back(number(value, 6), scale(value));
  for (const std::string& name : categories) {
    std::string text;  // a tic's label is a printf format
    for (const char c : shortened(name, longest_name)) text += std::string(c == '%' ? 2 : 1, c);
    tics.emplace_back(text, static_cast<double>(tics.size()));
  }
  for (std::size_t i = 0; i < tics.size(); ++i)
    script << "set " << name << "tics " << (i == 0 ? "(" : "add (") << gnuplot_string(tics[i].first)
           << ' ' << tics[i].second << ")\n";
}

// Arcs of equal bias^2 + standard deviation^2.
void write_rings(std::ostream& script, const Plot& plot, std::vector<Box>& taken) {
  constexpr int steps = 48;
  const double quarter = std::acos(-1.0) / 2;
  const Scale& longer = plot.across.high() > plot.up.high() ? plot.across : plot.up;
  std::string arcs;
  for (const double r : longer.tics(0.1)) {
    if (r <= 0) continue;
    for (int i = 0; i <= steps; ++i)
      arcs += exact(plot.across(r * std::cos(quarter * i / steps))) + ',' +
              exact(plot.up(r * std::sin(quarter * i / steps))) + '\n';
    arcs += '\n';
    const std::string name = "mse " + number(r * r, 4);
    for (const double angle : {0.3 * quarter, 0.7 * quarter}) {
      const Spot at = plot.spot(r * std::cos(angle), r * std::sin(angle));
      const double half = pixel_width(name) / 2;
      if (at.x + half > plot.width || at.y + 8 > plot.height) continue;
      taken.push_back({at.x - half, at.x + half, at.y - 8, at.y + 8});
      write_text(script, plot, name, at, "center boxed tc rgb '#606060'");
      break;
    }
  }
  script << "$rings << EOD\n" << arcs << "EOD\n";
}

// Rows of x, y and their bounds; a row without any interrupts the line.
void write_data(std::ostream& script, const Plot& plot, const Series& one) {
  for (std::size_t k = 0; k < one.x.size(); ++k) {
    if (std::isfinite(one.x[k]) && std::isfinite(one.y[k]))
      script << plot.across(one.x[k]) << ',' << plot.up(one.y[k]) << ','
             << plot.across(one.x_low[k]) << ',' << plot.across(one.x_high[k]) << ','
             << plot.up(one.low[k]) << ',' << plot.up(one.high[k]);
    script << '\n';
  }
}

// Bands lie below, marks above.
void write_series(std::ostream& script, const Plot& plot, const Picture& picture) {
  constexpr std::size_t few = 20, marks = 7;
  std::string bands = picture.rings ? "$rings with lines lc rgb '#a0a0a0', " : "", curves;
  for (std::size_t i = 0; i < plot.series.size(); ++i) {
    const Series& one = picture.series[i];
    const Look look(i);
    const bool errors = !one.low.empty() || !one.x_low.empty();
    const std::string data = "$data" + std::to_string(i);
    const std::string mark = look.mark + " ps mark*" + exact(one.size) + look.colour + ", ";
    script << data << " << EOD\n";
    write_data(script, plot, plot.series[i]);
    script << "EOD\n";
    if (one.kind == Kind::points) {
      curves += data + (errors ? " with xyerrorbars" : " with points") + mark;
      continue;
    }
    if (one.kind == Kind::bars) {
      curves += data + " using 1:2:(" + exact(0.94 * plot.bar) +
                ") with boxes fs solid 0.9 noborder" + look.colour + ", ";
      if (errors)
        curves += data + " using 1:5:(0):($6-$5) with vectors nohead lw 1.6 lc rgb '#303030', ";
      continue;
    }
    if (errors)
      bands += data + " using 1:5:6 with filledcurves fs transparent solid 0.15 noborder" +
               look.colour + ", ";
    curves += data + " with lines lw 2.2 dt " + look.dash + look.colour + ", ";
    // All of few, else some, from another place on for each line.
    const std::size_t every = one.x.size() <= few ? 1 : one.x.size() / marks;
    if (one.size > 0)
      curves += data + " every " + std::to_string(every) +
                "::" + std::to_string(every * i / plot.series.size()) + " with points" + mark;
  }
  script << "plot " << bands << curves << "NaN\n";
}

}  // namespace

void write_plot(std::ostream& script, const Picture& picture) {
  constexpr double tics_across = 56, tics_up = 34, unslanted = 70;  // pixels
  const Plot plot = plot_of(picture);
  std::vector<Box> taken;
  write_head(script, picture, plot_height);
  script << "mark = 0.7\nset style textbox opaque noborder margins 0.3,0.1 fc rgb 'white'\n"
         << "set errorbars 0\nset border 3 lc rgb '#606060'\n"
         << "set grid back lt 1 lc rgb '#dddddd' lw 0.7\n"
         << "set tics nomirror out scale 0.6 tc rgb '#303030'\n"
         << "set lmargin at screen " << left / canvas_width << "\nset rmargin at screen "
         << (left + plot.width) / canvas_width << "\nset bmargin at screen "
         << plot.bottom / plot_height << "\nset tmargin at screen " << top / plot_height << '\n';
  script << "set xlabel " << gnuplot_string(shortened(picture.x.label, 100)) << "\nset label "
         << gnuplot_string(shortened(picture.y.label, 66))
         << " at screen 0.02, graph 0.5 center rotate by 90\n";
  write_axis(script, 'x', plot.across, tics_across / plot.width, picture.categories);
  write_axis(script, 'y', plot.up, tics_up / plot.height, {});
  if (plot.bottom > unslanted) script << "set xtics rotate by 35 right\n";
  if (picture.rings) write_rings(script, plot, taken);
  write_names(script, plot, picture.rings, taken);
  write_series(script, plot, picture);
}

}  // namespace argtape_examples
