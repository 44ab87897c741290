#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace argtape_examples {

struct Series {
  enum class Kind { line, points, bars };

  Kind kind;
  std::string name;
  std::vector<double> x, y;
  std::vector<double> low, high;      // y's band or error bar; empty where there is none
  std::vector<double> x_low, x_high;  // points only
  double size = 1;                    // of points' marks, in the usual one's
};

struct Image {
  std::string caption;
  std::size_t height, width;
  std::vector<double> values;  // row-major
};

// One plot of lines and points, or of grouped bars, or one grid of grey images: the three do not
// mix. Every text is taken literally. What is not finite, or not positive on a log axis, is left
// out of the drawing and kept in the CSV.
struct Picture {
  explicit Picture(std::string title, std::string x_label = "", std::string y_label = "");

  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  // The defaults are the data's range and a margin.
  std::optional<double> x_min, x_max, y_min, y_max;

  std::vector<Series> series;
  std::vector<std::string> categories;  // one name for each group of bars
  std::vector<Image> images;
  std::size_t columns = 0;                      // of the image grid; 0 chooses
  std::optional<double> image_low, image_high;  // white and black; the default is the data's range

  Picture& line(std::string name, std::vector<double> x, std::vector<double> y,
                std::vector<double> low = {}, std::vector<double> high = {});
  Picture& points(std::string name, std::vector<double> x, std::vector<double> y,
                  std::vector<double> y_error = {}, std::vector<double> x_error = {});
  Picture& bars(std::string name, std::vector<double> heights, std::vector<double> errors = {});
  Picture& image(std::string caption, std::size_t height, std::size_t width,
                 std::vector<double> values);
};

// Writes name.csv and, where gnuplot can be run, name.svg and name.png. Without gnuplot it returns
// one line that says what to install, prints it on stderr the first time, and removes an earlier
// run's name.svg and name.png, which would contradict the CSV. Returns "" when all is drawn.
// Throws std::runtime_error naming the file that cannot be written.
std::string draw(const Picture& picture, const std::filesystem::path& folder,
                 const std::string& name);

// The shortest text that reads back as the same double, whatever the locale.
std::string exact(double value);

std::string csv_field(const std::string& text);

// A reader sees the old file or the new one, never a half. A file that is there keeps its mode. A
// link or a device is written through.
void write_file(const std::filesystem::path& path, const std::string& text);

// Characters as the reader counts them: code points, not bytes.
std::size_t text_width(const std::string& text);

}  // namespace argtape_examples
