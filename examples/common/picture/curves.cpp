// Lines and points, with their names beside them.
#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

constexpr double connector = 26;  // from a line's end to its name

Axis axis_of(const Picture& picture, bool x, double begin, double end) {
  std::vector<double> values, marks;
  for (const Series& one : picture.series) {
    for (const auto* some :
         {x ? &one.x : &one.y, x ? &one.x_low : &one.low, x ? &one.x_high : &one.high}) {
      values.insert(values.end(), some->begin(), some->end());
      if (some == &one.x || some == &one.y) marks.insert(marks.end(), some->begin(), some->end());
    }
  }
  AxisWish wish = x ? AxisWish{picture.log_x, picture.x_min, picture.x_max}
                    : AxisWish{picture.log_y, picture.y_min, picture.y_max};
  if (picture.rings && !wish.high) wish.high = without_outliers(marks);
  return Axis(x ? "x" : "y", values, wish, begin, end);
}

// The spots of a path that are there, from the last on, at most so many.
std::vector<Spot> some(const std::vector<Spot>& spots, std::size_t most) {
  std::vector<Spot> seen, all;
  for (const Spot& spot : spots) {
    if (is_there(spot)) seen.push_back(spot);
  }
  const std::size_t every = (seen.size() + most - 1) / std::max<std::size_t>(most, 1);
  for (std::size_t k = seen.size(); k > 0; k -= std::min(k, every)) all.push_back(seen[k - 1]);
  return all;
}

class Curves {
 public:
  Curves(const Picture& picture, Script& script, const Area& area)
      : picture_(picture),
        script_(script),
        area_(area),
        across_(axis_of(picture, true, area.left, area.right)),
        up_(axis_of(picture, false, area.bottom, area.top)),
        labels_({area.left, area.bottom}, {canvas_width - 4, area.top}) {
    if (!picture.rings) return;
    double scale = std::min(across_.scale(), up_.scale());
    // A little smaller, where that leaves no outlier.
    for (const double whole : {across_.whole_scale(), up_.whole_scale()}) {
      if (whole > 0.7 * scale) scale = std::min(scale, whole);
    }
    across_.rescale(scale);
    up_.rescale(scale);
  }

  void write() {
    write_frame(script_, picture_, area_, &across_, up_);
    for (const Series& one : picture_.series) write_bounds(one);
    if (picture_.rings) write_rings();
    std::vector<std::vector<Spot>> paths;
    for (const Series& one : picture_.series) paths.push_back(path(one));
    for (std::size_t i = 0; i < paths.size(); ++i) write_line(picture_.series[i], paths[i]);
    for (std::size_t i = 0; i < paths.size(); ++i) write_marks(i, paths[i]);
    if (has_names(picture_)) {
      for (std::size_t i = 0; i < paths.size(); ++i) name(picture_.series[i], paths[i]);
    }
    place_in_column(ends_, area_.right + connector, area_.bottom, area_.top);
    labels_.place(beside_);
    for (const auto* labels : {&ends_, &beside_}) {
      for (const Label& label : *labels) write_label(label);
    }
  }

  // Lines that end at the right have their names there.
  static bool ends_at_right(const Series& one, const Axis& across, const Area& area) {
    for (std::size_t k = one.x.size(); k-- > 0 && one.kind == Series::Kind::line;) {
      if (std::isfinite(one.y[k]) && across.shows(one.x[k])) {
        return across(one.x[k]) > area.right - 0.08 * (area.right - area.left);
      }
    }
    return false;
  }

 private:
  // Where a line changes from one scale to the other it has a spot more.
  std::vector<Spot> path(const Series& one) const {
    std::vector<Spot> spots;
    const std::optional<double> seam = up_.strip();
    for (std::size_t k = 0; k < one.x.size(); ++k) {
      if (!across_.shows(one.x[k]) || !up_.shows(one.y[k])) {
        spots.push_back(no_spot);
        continue;
      }
      const Spot spot = {across_(one.x[k]), up_(one.y[k])};
      const bool joined =
          one.kind == Series::Kind::line && !spots.empty() && is_there(spots.back());
      if (joined && seam && (one.y[k - 1] - *seam) * (one.y[k] - *seam) < 0) {
        const double t = (*seam - one.y[k - 1]) / (one.y[k] - one.y[k - 1]);
        spots.push_back({spots.back().x + t * (spot.x - spots.back().x), up_(*seam)});
      }
      spots.push_back(spot);
    }
    return spots;
  }

  // A line's band, or points' error bars.
  void write_bounds(const Series& one) {
    const Look look(one.look);
    std::string band, bars;
    for (std::size_t k = 0; k < one.y.size(); ++k) {
      if (!across_.shows(one.x[k]) || !up_.shows(one.y[k])) {
        band += '\n';
        continue;
      }
      const Spot at = {across_(one.x[k]), up_(one.y[k])};
      const auto bar = [&](Spot from, Spot to) {
        bars += rows_of({from, to, no_spot});
        labels_.avoid(from, to, 1);
      };
      if (!one.low.empty()) {
        const double low = up_(one.low[k]), high = up_(one.high[k]);
        band += row({at.x, low, high});
        if (one.kind == Series::Kind::points) bar({at.x, low}, {at.x, high});
      }
      if (!one.x_low.empty()) bar({across_(one.x_low[k]), at.y}, {across_(one.x_high[k]), at.y});
    }
    if (one.kind == Series::Kind::line && !one.low.empty()) {
      script_.plot(band,
                   "using 1:2:3 with filledcurves fs transparent solid 0.15 noborder lc rgb '" +
                       look.colour + "'");
    }
    if (!bars.empty()) script_.plot(bars, "with lines lw 1.3 lc rgb '" + look.colour + "'");
  }

  void write_rings() {
    constexpr int steps = 90;
    for (const Tic& tic : across_.tics(52)) {
      if (tic.value <= 0) continue;
      std::vector<Spot> ring;
      for (int i = 0; i <= steps; ++i) {
        const double angle = std::acos(-1.0) / 2 * i / steps;
        const double x = tic.value * std::cos(angle), y = tic.value * std::sin(angle);
        const bool seen = across_.to_scale(x) && up_.to_scale(y);
        ring.push_back(seen ? Spot{across_(x), up_(y)} : no_spot);
        if (i > 0 && seen && is_there(ring[ring.size() - 2])) {
          labels_.avoid(ring[ring.size() - 2], ring.back(), 0, 1);
        }
      }
      script_.plot(rows_of(ring), "with lines lw 1 lc rgb '#b0b0b0'");
      beside_.push_back({"mse " + short_number(tic.value * tic.value), some(ring, 24), "#707070"});
      std::reverse(beside_.back().anchors.begin(), beside_.back().anchors.end());
    }
  }

  void write_line(const Series& one, const std::vector<Spot>& spots) {
    if (one.kind != Series::Kind::line) return;
    const Look look(one.look);
    script_.plot(rows_of(spots), "with lines lw 2.2 lc rgb '" + look.colour + "' dt " + look.dash);
    for (std::size_t k = 1; k < spots.size(); ++k) {
      if (is_there(spots[k]) && is_there(spots[k - 1])) {
        labels_.avoid(spots[k - 1], spots[k], 2);
      }
    }
  }

  // Of a line with few points all, else a few if there are many lines.
  void write_marks(std::size_t i, const std::vector<Spot>& spots) {
    constexpr std::size_t few = 20, lines_without = 3, marks = 7;
    const Series& one = picture_.series[i];
    const Look look(one.look);
    std::vector<Spot> marked;
    if (one.kind == Series::Kind::points || one.x.size() <= few) {
      marked = some(spots, spots.size());
    } else if (picture_.series.size() > lines_without) {
      const std::size_t every = spots.size() / marks;
      for (std::size_t k = (i * every) / picture_.series.size(); k < spots.size(); k += every) {
        marked.push_back(spots[k]);
      }
    }
    if (marked.empty()) return;
    script_.plot(rows_of(marked), "with points lw 1.5 pt " + std::to_string(look.mark) +
                                      " lc rgb '" + look.colour + "' ps mark*" + exact(one.size));
    const double reach = 5 * one.size;
    for (const Spot& spot : marked) {
      if (is_there(spot)) labels_.avoid(spot, spot, reach, 8);
    }
  }

  void name(const Series& one, const std::vector<Spot>& spots) {
    constexpr std::size_t anchors = 24;
    Label label = {shortened(one.name, longest_name), some(spots, anchors), Look(one.look).dark};
    if (one.name.empty() || label.anchors.empty()) return;
    (ends_at_right(one, across_, area_) ? ends_ : beside_).push_back(std::move(label));
  }

  void write_label(const Label& label) {
    constexpr double near = 14, clear = 5;
    const char* side = label.side > 0 ? "left" : label.side < 0 ? "right" : "center";
    script_.text(label.text, label.at, std::string(side) + " tc rgb '" + label.colour + "'");
    const double across = label.at.x - label.anchor.x, up = label.at.y - label.anchor.y;
    const double length = std::hypot(across, up);
    if (length <= near) return;
    const double share = clear / length;
    script_.line({label.anchor.x + share * across, label.anchor.y + share * up},
                 {label.at.x - share * across, label.at.y - share * up},
                 "lw 0.8 lc rgb '" + label.colour + "'");
  }

  const Picture& picture_;
  Script& script_;
  Area area_;
  Axis across_, up_;
  Labels labels_;
  std::vector<Label> ends_, beside_;
};

}  // namespace

void write_curves(Script& script, const Picture& picture) {
  write_title(script, picture, canvas_height);
  Area area = {0, canvas_width - 16, 58, below_title(picture, canvas_height)};
  area.left = left_of(picture, axis_of(picture, false, area.bottom, area.top));
  const Axis across = axis_of(picture, true, area.left, area.right);
  double widest = 0;
  for (const Series& one : picture.series) {
    if (has_names(picture) && Curves::ends_at_right(one, across, area)) {
      widest = std::max(widest, pixel_width(shortened(one.name, longest_name)));
    }
  }
  if (widest > 0) area.right = canvas_width - 6 - widest - connector;
  Curves(picture, script, area).write();
}

}  // namespace argtape_examples
