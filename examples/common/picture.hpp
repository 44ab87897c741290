#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "files.hpp"  // relative: notebooks read this header, too

namespace argtape_examples {

struct Series {
  enum class Kind { line, points, bars };

  Kind kind = Kind::line;
  std::string name;
  std::vector<double> x, y;           // bars: the group
  std::vector<double> low, high;      // y's band or error bar; empty where there is none
  std::vector<double> x_low, x_high;  // points only
  double size = 1;                    // of points' marks, in the usual one's
  std::size_t look = 0;               // colour, mark and dash, its own unless set
};

struct Image {
  std::string caption;
  std::size_t height, width;
  std::vector<double> values;  // row-major
};

// One plot of lines and points, or of grouped bars, or one grid of grey images: the three do not
// mix. Names stand beside what they name. Every text is taken literally. What is not finite, or
// negative on a log axis, is left out of the drawing and kept in the CSV.
struct Picture {
  explicit Picture(std::string title, std::string x_label = "", std::string y_label = "");

  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  // Where the full scale begins and ends; the defaults are the data's range and a margin. What is
  // above is drawn smaller, in a strip beyond; on a log axis zero, and what is below, has a place
  // of its own.
  std::optional<double> x_min, x_max, y_min, y_max;
  // x is a bias and y a standard deviation: both at one scale, with arcs of equal x^2 + y^2.
  bool rings = false;

  std::vector<Series> series;
  std::vector<std::string> categories;  // one name for each group of bars
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

 private:
  Series& add(Series::Kind kind, std::string name, std::vector<double> x, std::vector<double> y);
};

// Writes name.csv and, where gnuplot can be run, name.svg and name.png. Without gnuplot it returns
// one line that says what to install, prints it on stderr the first time, and removes an earlier
// run's name.svg and name.png, which would contradict the CSV. Returns "" when all is drawn.
// Throws std::runtime_error naming the file that cannot be written.
std::string draw(const Picture& picture, const std::filesystem::path& folder,
                 const std::string& name);

}  // namespace argtape_examples
