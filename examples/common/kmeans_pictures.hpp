// What 09 draws: points in the plane with the cells of the centres, and the loss along a line in
// the space of the centres.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <argtape/argtape.hpp>
#include "examples/common/picture.hpp"

namespace argtape_examples {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

using Place = std::array<double, 2>;

inline Place place(const argtape::Tensor& t, std::size_t row) {
  return {static_cast<double>(t(row, 0)), static_cast<double>(t(row, 1))};
}

inline double squared_distance(const Place& a, const Place& b) {
  return (a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]);
}

struct Box {
  Place low, high;

  // The smallest that holds all of them, and a margin.
  explicit Box(const std::vector<Place>& places) : low(places.at(0)), high(low) {
    for (const Place& p : places)
      for (std::size_t a = 0; a < 2; ++a) {
        low[a] = std::min(low[a], p[a]);
        high[a] = std::max(high[a], p[a]);
      }
    for (std::size_t a = 0; a < 2; ++a) {
      const double wide = high[a] - low[a], flat = high[a] == 0 ? 1 : std::abs(high[a]);
      const double margin = 0.05 * (wide > 0 ? wide : flat);
      low[a] -= margin, high[a] += margin;
    }
  }
};

struct Segment {
  Place from, to;
};

// Segments, with a gap after each, without marks.
inline void add_segments(Picture& picture, const std::string& name,
                         const std::vector<Segment>& segments) {
  std::vector<double> across, up;
  for (const Segment& s : segments) {
    across.insert(across.end(), {s.from[0], s.to[0], nothing});
    up.insert(up.end(), {s.from[1], s.to[1], nothing});
  }
  picture.line(name, across, up);
  picture.series.back().size = 0;
}

inline void add_points(Picture& picture, const std::string& name, const std::vector<Place>& places,
                       double size = 1) {
  std::vector<double> across, up;
  for (const Place& p : places) {
    across.push_back(p[0]);
    up.push_back(p[1]);
  }
  picture.points(name, across, up);
  picture.series.back().size = size;
}

// The part of the line p + t u, low <= t <= high, where a t <= b.
inline bool clip(double a, double b, double& low, double& high) {
  if (a > 0) high = std::min(high, b / a);
  if (a < 0) low = std::max(low, b / a);
  return !(a == 0 && b < 0) && low < high;
}

// The borders between the centres' cells within a box: of each pair's bisector, the part to which
// no other centre is nearer.
inline std::vector<Segment> borders(const std::vector<Place>& centres, const Box& box) {
  std::vector<Segment> all;
  for (std::size_t i = 0; i < centres.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const Place &a = centres[i], &b = centres[j];
      const Place p = {(a[0] + b[0]) / 2, (a[1] + b[1]) / 2}, u = {b[1] - a[1], a[0] - b[0]};
      double from = -std::numeric_limits<double>::infinity(), to = -from;
      bool some = u[0] != 0 || u[1] != 0;
      for (std::size_t axis = 0; axis < 2; ++axis)
        some = some && clip(u[axis], box.high[axis] - p[axis], from, to) &&
               clip(-u[axis], p[axis] - box.low[axis], from, to);
      for (std::size_t m = 0; m < centres.size() && some; ++m) {
        if (m == i || m == j) continue;
        // |x - a|^2 <= |x - c|^2 on the line.
        const Place& c = centres[m];
        const Place v = {c[0] - a[0], c[1] - a[1]};
        const Place middle = {(c[0] + a[0]) / 2, (c[1] + a[1]) / 2};
        some = clip(v[0] * u[0] + v[1] * u[1],
                    v[0] * (middle[0] - p[0]) + v[1] * (middle[1] - p[1]), from, to);
      }
      if (some)
        all.push_back(
            {{p[0] + from * u[0], p[1] + from * u[1]}, {p[0] + to * u[0], p[1] + to * u[1]}});
    }
  return all;
}

// Points and centres in two dimensions. The picture has room for `more`, which the caller adds.
inline Picture cells_picture(const std::string& name, const std::vector<Place>& points,
                             const std::vector<Place>& centres,
                             const std::vector<Place>& more = {}) {
  Picture picture("Points by cluster, and the borders between the centres' cells: " + name);
  std::vector<Place> all = points;
  all.insert(all.end(), centres.begin(), centres.end());
  all.insert(all.end(), more.begin(), more.end());
  const Box box(all);
  // First, so that they look the same however many clusters there are, and lie below the points.
  add_segments(picture, "borders", borders(centres, box));
  add_points(picture, "centres", centres, 2.4);
  std::vector<std::vector<Place>> clusters(centres.size());
  for (const Place& p : points) {
    std::size_t nearest = 0;
    for (std::size_t m = 1; m < centres.size(); ++m)
      if (squared_distance(p, centres[m]) < squared_distance(p, centres[nearest])) nearest = m;
    clusters[nearest].push_back(p);
  }
  constexpr std::size_t legend = 24;  // more names have no room
  for (std::size_t m = 0; m < clusters.size(); ++m)
    add_points(picture, clusters.size() <= legend ? "cluster " + std::to_string(m + 1) : "",
               clusters[m]);
  return picture;
}

// The loss as one centre moves along a line, and the parabola of the cell it starts in.
struct Line {
  std::vector<double> at, loss, kinks, loss_at_kinks;
  double here = 0, slope = 0, bend = 0;  // at 0, from the engine
  double begin = 0, end = 0;             // of the cell around 0
  double off = 0;                        // the largest |parabola - loss| / loss inside the cell
  double least = 0;                      // the smallest parabola - loss anywhere

  double parabola(double s) const { return here + s * slope + s * s * bend / 2; }
};

// The centre `moved` moves by s * direction, |s| <= reach.
inline Line loss_along(const argtape::Tensor& points, const argtape::Tensor& centres,
                       std::size_t moved, const Place& direction, double reach) {
  using namespace argtape;
  Tensor tangent = zeros(centres.shape());
  for (std::size_t a = 0; a < 2; ++a) tangent(moved, a) = static_cast<Scalar>(direction[a]);
  Line line;
  {
    Tape tape;
    const Var c = tape.parameter(centres, "centres"), u = tape.constant(tangent);
    const Var loss = sum(kmeans_loss(tape.constant(points), c, zero()));
    const Var slope = sum(differentiate(loss, c)[0] * u);
    line.bend = sum(differentiate(slope, c)[0] * u).item();
    line.here = loss.item();
    line.slope = slope.item();
  }
  const auto loss_at = [&](double s) {
    return kmeans_assign(points, centres + static_cast<Scalar>(s) * tangent).loss;
  };
  line.begin = -reach, line.end = reach;
  // A point changes hands where the moved centre is as far away as the nearest of the others:
  // s^2 |u|^2 - 2 s u (x - c) + |x - c|^2 = that distance.
  const Place c = place(centres, moved);
  const double a = squared_distance(direction, {0, 0});
  for (std::size_t i = 0; i < points.shape()[0]; ++i) {
    const Place x = place(points, i);
    double rest = std::numeric_limits<double>::infinity();
    for (std::size_t m = 0; m < centres.shape()[0]; ++m)
      if (m != moved) rest = std::min(rest, squared_distance(x, place(centres, m)));
    const double b = direction[0] * (x[0] - c[0]) + direction[1] * (x[1] - c[1]);
    const double root = b * b - a * (squared_distance(x, c) - rest);
    if (root <= 0) continue;
    for (double s : {(b - std::sqrt(root)) / a, (b + std::sqrt(root)) / a}) {
      if (std::abs(s) > reach) continue;
      line.kinks.push_back(s);
      line.loss_at_kinks.push_back(loss_at(s));
      if (s < 0) line.begin = std::max(line.begin, s);
      if (s >= 0) line.end = std::min(line.end, s);
    }
  }
  constexpr int samples = 150;
  line.least = std::numeric_limits<double>::infinity();
  for (int i = -samples; i <= samples; ++i) {
    const double s = reach * i / samples, loss = loss_at(s), above = line.parabola(s) - loss;
    line.at.push_back(s);
    line.loss.push_back(loss);
    line.least = std::min(line.least, above);
    if (s >= line.begin && s <= line.end) line.off = std::max(line.off, std::abs(above) / loss);
  }
  return line;
}

// `newton` is how far Newton's step moves the centre.
inline Picture line_picture(const Line& line, double newton) {
  Picture picture("The loss as one centre moves along a line: a parabola in each cell",
                  "how far the centre has moved", "sum of squared distances");
  std::vector<double> parabola;
  for (double s : line.at) parabola.push_back(line.parabola(s));
  picture.line("loss", line.at, line.loss);
  picture.line("parabola of the cell at 0", line.at, parabola);
  picture.points("a point changes its cluster", line.kinks, line.loss_at_kinks);
  picture.points("Newton's step", {newton}, {line.parabola(newton)});
  picture.series.back().size = 1.6;
  return picture;
}

}  // namespace argtape_examples
