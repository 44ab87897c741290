// Pictures for the programs' folders and for notebooks' cells, drawn by gnuplot.
//
// They are a small shared library of their own, argtape-pictures, that knows no tape, and that
// engine, ops and models cannot reach: the programs and the notebooks' library link it. This header
// only declares, so that an interpreter reads it at no cost.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace argtape_examples {

// A logarithmic axis has a place for everything: v stands at asinh((v - origin) / unit), which is
// linear up to about a unit from the origin, and logarithmic beyond. So zero is seen, as are error
// bars that reach below it, and values far beyond the others leave those apart.
struct Axis {
  std::string label;
  bool log = false;  // values beyond 1e300 always have one
  double origin = 0;
  double unit = 0;  // 0: half of what is least, but for the origin
};

struct Series {
  enum class Kind { line, points, bars, surface };

  Kind kind;
  std::string name;
  std::vector<double> x, y, z;        // bars: x is the group; surfaces: z is the height
  std::vector<double> low, high;      // y's band or error bar; empty where there is none
  std::vector<double> x_low, x_high;  // points only
  double size = 1;                    // of points' marks, in the usual one's
};

struct Image {
  std::string caption;
  std::size_t height, width;
  std::vector<double> values;  // row-major
};

// One plot of lines and points, or of grouped bars, or a surface, or a grid of grey images: the
// four do not mix. Series are named at the right, at the height where they end, with their marks;
// points that stand alone have their names beside them. Every text is taken literally. All of the
// data is in the picture; what is not finite is left out of the drawing and kept in the CSV.
struct Picture {
  explicit Picture(std::string title, std::string x_label = "", std::string y_label = "");

  std::string title;
  Axis x, y, z;
  // x is a bias and y a standard deviation: with arcs of equal x^2 + y^2.
  bool rings = false;

  std::vector<Series> series;
  std::vector<std::string> categories;  // names of the groups of bars, or of a triangle's corners
  std::vector<Image> images;
  std::size_t columns = 0;                      // of the image grid; 0 chooses
  std::optional<double> image_low, image_high;  // white and black; the default is the data's range

  Picture& line(std::string name, std::vector<double> x, std::vector<double> y,
                std::vector<double> low = {}, std::vector<double> high = {});
  Picture& points(std::string name, std::vector<double> x, std::vector<double> y,
                  const std::vector<double>& y_error = {}, const std::vector<double>& x_error = {});
  Picture& bars(std::string name, std::vector<double> heights,
                const std::vector<double>& errors = {});
  Picture& image(std::string caption, std::size_t height, std::size_t width,
                 std::vector<double> values);
  // The height of f over a rectangle, at n by n of its points.
  Picture& surface(double x_low, double x_high, double y_low, double y_high,
                   const std::function<double(double, double)>& f, std::size_t n = 25);
  // The height of f over the triangle of three probabilities, whose corners are `categories`.
  Picture& simplex(const std::function<double(double, double, double)>& f, std::size_t n = 25);

 private:
  Series& add(Series::Kind kind, std::string name, std::vector<double> x, std::vector<double> y);
};

// "" where gnuplot cannot draw it; then `problem` is one line that says why, or what to install.
std::string to_svg(const Picture& picture, std::string& problem);

// The numbers as a table, its first rows if there are many.
std::string to_text(const Picture& picture);

// Writes name.csv and, where gnuplot can be run, name.svg. Without gnuplot it returns the problem,
// prints it on stderr the first time, and removes an earlier run's name.svg, which would contradict
// the CSV. Returns "" when all is drawn. Throws std::runtime_error naming the file that cannot be
// written.
std::string draw(const Picture& picture, const std::string& folder, const std::string& name);

}  // namespace argtape_examples
