#include "examples/common/picture.hpp"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <limits>
#include <locale>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

extern char** environ;

namespace argtape_examples {

namespace fs = std::filesystem;

namespace {

// Okabe and Ito's colours, told apart by colour-blind readers; yellow is too faint for thin lines.
constexpr std::array<const char*, 7> palette = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                "#e69f00", "#56b4e9", "#000000"};
// As many as are no multiple of the colours, so that the second round pairs them anew.
constexpr std::array<int, 12> point_types = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 3, 2};
constexpr int canvas_width = 900;
constexpr int canvas_height = 600;
constexpr std::size_t legend_above_up_to = 6;

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument("Picture: " + message);
}

// Letters, spaces and what is not ASCII stand for themselves, all else is an octal escape: gnuplot
// expands `commands` and @macros before it looks at quotes, its single-quoted strings cannot begin
// with a quote, and its escapes swallow a digit that follows.
std::string gnuplot_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code < 0x20 || code == 0x7f) {
      result += ' ';
    } else if (std::isalpha(code) != 0 || code == ' ' || code >= 0x80) {
      result += c;
    } else {
      result += '\\';
      for (const unsigned shift : {6u, 3u, 0u}) {
        result += static_cast<char>('0' + ((code >> shift) & 7u));
      }
    }
  }
  return result + '"';
}

// Tic labels are printf formats as well.
std::string tic_label(const std::string& text) {
  std::string result;
  for (const char c : text) {
    result += c;
    if (c == '%') result += c;
  }
  return gnuplot_string(result);
}

std::string shortened(const std::string& text, std::size_t width) {
  if (text_width(text) <= width) return text;
  std::size_t bytes = 0;
  for (std::size_t seen = 0; bytes < text.size(); ++bytes) {
    const bool starts_character = (static_cast<unsigned char>(text[bytes]) & 0xc0u) != 0x80u;
    if (starts_character && ++seen == std::max<std::size_t>(width, 1)) break;
  }
  return text.substr(0, bytes) + "…";
}

struct Range {
  double low, high;
};

class Extent {
 public:
  explicit Extent(bool log) : log_(log) {}

  bool shows(double value) const { return std::isfinite(value) && (!log_ || value > 0); }

  void add(double value) {
    if (!shows(value)) return;
    low_ = std::min(low_, value);
    high_ = std::max(high_, value);
  }
  void add(const std::vector<double>& values) {
    for (const double value : values) add(value);
  }

  Range padded(bool pad_low = true, bool pad_high = true) const {
    constexpr double margin = 0.04;
    if (low_ > high_) return log_ ? Range{1, 10} : Range{0, 1};
    if (log_) {
      const double factor = low_ == high_ ? 2 : std::pow(high_ / low_, margin);
      return {pad_low ? low_ / factor : low_, pad_high ? high_ * factor : high_};
    }
    const double flat = low_ == 0 ? 1 : std::abs(low_) / 2;
    const double pad = low_ == high_ ? flat : margin * (high_ - low_);
    return {pad_low ? low_ - pad : low_, pad_high ? high_ + pad : high_};
  }

 private:
  bool log_;
  double low_ = std::numeric_limits<double>::infinity();
  double high_ = -std::numeric_limits<double>::infinity();
};

std::string range_text(Range range) {
  return '[' + exact(range.low) + ':' + exact(range.high) + ']';
}

// gnuplot labels only the powers of ten, which leaves an axis of one decade nearly bare.
void write_log_axis(std::ostream& script, char axis, Range range) {
  script << "set logscale " << axis << '\n';
  const bool plain = range.low >= 1e-4 && range.high < 1e6;
  script << "set format " << axis << (plain ? " '%g'\n" : " '10^{%L}'\n");
  const double low = std::log10(range.low), high = std::log10(range.high);
  if (!plain || high - low > 2.5) return;
  script << "set " << axis << "tics (";
  bool first = true;
  for (int power = static_cast<int>(std::floor(low)); power <= high; ++power) {
    for (const int digit : {1, 2, 5}) {
      script << (first ? "" : ", ") << exact(digit * std::pow(10.0, power));
      first = false;
    }
  }
  script << ")\n";
}

void write_title(std::ostream& script, const std::string& title, double y) {
  constexpr double largest = 17, smallest = 10, fits_at_largest = 92;
  const auto width = static_cast<double>(std::max<std::size_t>(text_width(title), 1));
  const double size = std::clamp(largest * fits_at_largest / width, smallest, largest);
  script << "set label " << gnuplot_string(title) << " at screen 0.5, screen " << exact(y)
         << " center noenhanced font '," << exact(size) << "'\n";
}

void write_frame(std::ostream& script, const Picture& picture) {
  script << "set xlabel " << gnuplot_string(picture.x_label) << " noenhanced\n"
         << "set ylabel " << gnuplot_string(picture.y_label) << " noenhanced\n"
         << "set border 3 lc rgb '#606060' lw 1\n"
         << "set tics nomirror out scale 0.6 tc rgb '#303030'\n"
         << "set grid back lt 1 lc rgb '#e4e4e4' lw 0.7\n"
         << "set rmargin 4\n";
  std::size_t named = 0, longest = 0;
  for (const Series& one : picture.series) {
    named += one.name.empty() ? 0 : 1;
    longest = std::max(longest, text_width(one.name));
  }
  double top = 16;
  if (!picture.title.empty()) {
    write_title(script, picture.title, 1 - 26.0 / canvas_height);
    top = 52;
  }
  if (picture.series.size() < 2 || named == 0) {
    script << "unset key\n";
  } else if (named <= legend_above_up_to) {
    constexpr double line_height = 21, character = 10, sample = 60;
    const double entry = character * static_cast<double>(longest) + sample;
    const double columns = std::clamp(std::floor(810 / entry), 1.0, static_cast<double>(named));
    // gnuplot's own place for a legend at the top is above the title.
    script << "set key at screen 0.5, screen " << exact(1 - (top - 6) / canvas_height)
           << " center top horizontal maxcols " << columns
           << " noenhanced reverse Left samplen 2.2 width 1\n";
    top += line_height * std::ceil(static_cast<double>(named) / columns) + 8;
  } else {
    script << "set key outside right top vertical noenhanced reverse Left samplen 2.2\n"
           << "unset rmargin\n";
  }
  script << "set tmargin at screen " << exact(1 - top / canvas_height) << '\n';
}

Range limited(char axis, Range range, std::optional<double> low, std::optional<double> high,
              bool log) {
  const Range wanted = {low.value_or(range.low), high.value_or(range.high)};
  require(wanted.low < wanted.high && (!log || wanted.low > 0),
          std::string(1, axis) + "_min must be below " + axis +
              "_max and the data, and positive on a log axis");
  return wanted;
}

double clamped(double value, const Extent& extent, Range range, double missing) {
  if (extent.shows(value)) return value;
  return value <= 0 ? range.low : missing;
}

void write_curves(std::ostream& script, const Picture& picture) {
  Extent across(picture.log_x), up(picture.log_y);
  for (const Series& one : picture.series) {
    across.add(one.x);
    across.add(one.x_low);
    across.add(one.x_high);
    up.add(one.y);
    up.add(one.low);
    up.add(one.high);
  }
  const Range x_range = limited('x', across.padded(), picture.x_min, picture.x_max, picture.log_x);
  const Range y_range = limited('y', up.padded(), picture.y_min, picture.y_max, picture.log_y);

  write_frame(script, picture);
  script << "set xrange " << range_text(x_range) << "\nset yrange " << range_text(y_range) << '\n';
  if (picture.log_x) write_log_axis(script, 'x', x_range);
  if (picture.log_y) write_log_axis(script, 'y', y_range);

  std::ostringstream bands, curves;
  for (std::size_t i = 0; i < picture.series.size(); ++i) {
    const Series& one = picture.series[i];
    const std::string data = "$data" + std::to_string(i);
    const std::string colour = std::string(" lc rgb '") + palette[i % palette.size()] + "'";
    script << data << " << EOD\n";
    for (std::size_t k = 0; k < one.x.size(); ++k) {
      const bool shown = across.shows(one.x[k]) && up.shows(one.y[k]);
      // A blank line interrupts both a line and its band.
      if (!shown) {
        script << '\n';
        continue;
      }
      const auto bound = [&](const std::vector<double>& from, double value, const Extent& extent,
                             Range range) {
        return exact(from.empty() ? value : clamped(from[k], extent, range, value));
      };
      script << exact(one.x[k]) << ' ' << exact(one.y[k]) << ' '
             << bound(one.x_low, one.x[k], across, x_range) << ' '
             << bound(one.x_high, one.x[k], across, x_range) << ' '
             << bound(one.low, one.y[k], up, y_range) << ' '
             << bound(one.high, one.y[k], up, y_range) << '\n';
    }
    script << "EOD\n";
    if (one.kind == Series::Kind::line) {
      if (!one.low.empty()) {
        bands << data << " using 1:5:6 with filledcurves fs transparent solid 0.18 noborder"
              << colour << " notitle, ";
      }
      const std::size_t dash = 1 + i / palette.size();
      constexpr std::size_t few = 20;
      curves << data << " using 1:2 with " << (one.x.size() <= few ? "linespoints pt 7" : "lines")
             << " lw 2.5 dt " << dash << colour;
    } else {
      const bool x_bars = !one.x_low.empty(), y_bars = !one.low.empty();
      const char* style = x_bars && y_bars ? "1:2:3:4:5:6 with xyerrorbars"
                          : x_bars         ? "1:2:3:4 with xerrorbars"
                          : y_bars         ? "1:2:5:6 with yerrorbars"
                                           : "1:2 with points";
      curves << data << " using " << style << " lw 1.5 pt " << point_types[i % point_types.size()]
             << colour;
      if (one.size != 1) curves << " ps mark*" << exact(one.size);
    }
    curves << " title " << gnuplot_string(one.name)
           << (i + 1 < picture.series.size() ? ", " : "\n");
  }
  script << "plot " << bands.str() << curves.str();
}

void write_bars(std::ostream& script, const Picture& picture) {
  const std::size_t groups = picture.categories.size();
  Extent up(picture.log_y);
  if (!picture.log_y) up.add(0);
  bool below = false, above = false;
  for (const Series& one : picture.series) {
    for (const auto* values : {&one.y, &one.low, &one.high}) {
      up.add(*values);
      for (const double value : *values) {
        below = below || value < 0;
        above = above || value > 0;
      }
    }
  }
  const Range y_range = limited('y', up.padded(picture.log_y || below, above || !below),
                                picture.y_min, picture.y_max, picture.log_y);

  write_frame(script, picture);
  if (picture.log_y) write_log_axis(script, 'y', y_range);
  script << "set xrange [-0.6:" << exact(static_cast<double>(groups) - 0.4) << "]\nset yrange "
         << range_text(y_range) << "\nset grid noxtics\n";
  if (below) script << "set xzeroaxis lt 1 lc rgb '#606060' lw 1\n";

  constexpr double character = 8.5, plot_width = 780;
  std::size_t longest = 0;
  for (const std::string& name : picture.categories) {
    longest = std::max(longest, text_width(name));
  }
  const bool crowded =
      static_cast<double>(longest + 1) * character * static_cast<double>(groups) > plot_width;
  script << "set xtics noenhanced scale 0 " << (crowded ? "rotate by 35 right " : "") << "(";
  for (std::size_t i = 0; i < groups; ++i) {
    script << (i == 0 ? "" : ", ") << tic_label(shortened(picture.categories[i], 40)) << ' ' << i;
  }
  script << ")\n";

  const double width = 0.8 / static_cast<double>(picture.series.size());
  std::ostringstream boxes, errors;
  for (std::size_t i = 0; i < picture.series.size(); ++i) {
    const Series& one = picture.series[i];
    const std::string data = "$data" + std::to_string(i);
    script << data << " << EOD\n";
    for (std::size_t k = 0; k < one.y.size(); ++k) {
      if (!up.shows(one.y[k])) continue;
      const double x = static_cast<double>(k) - 0.4 + width * (static_cast<double>(i) + 0.5);
      const double low = one.low.empty() ? one.y[k] : clamped(one.low[k], up, y_range, one.y[k]);
      const double high = one.high.empty() ? one.y[k] : clamped(one.high[k], up, y_range, one.y[k]);
      script << exact(x) << ' ' << exact(one.y[k]) << ' ' << exact(0.94 * width) << ' '
             << exact(low) << ' ' << exact(high) << '\n';
    }
    script << "EOD\n";
    boxes << (i == 0 ? "" : ", ") << data << " using 1:2:3 with boxes fs solid "
          << (i < palette.size() ? "0.9" : "0.45") << " noborder lc rgb '"
          << palette[i % palette.size()] << "' title " << gnuplot_string(one.name);
    if (!one.low.empty()) {
      // Error bars with caps; gnuplot's own paint a white dot over the bar.
      errors << ", " << data << " using 1:4:(0):($5-$4) with vectors heads size screen 0.005,90 "
             << "lw 1.3 lc rgb '#303030' notitle";
    }
  }
  script << "plot " << boxes.str() << errors.str() << '\n';
}

constexpr double tile_gap = 14;
constexpr double caption_strip = 24;

struct Grid {
  std::size_t columns, rows;
  double tile_width, tile_height;  // in the canvas's pixels, like all below
  double left, top;
  double slot_width, slot_height;
  int height;
};

Grid lay_out(const Picture& picture) {
  constexpr double side = 24, largest_tile = 260;
  constexpr std::size_t one_row_up_to = 5;
  const std::size_t count = picture.images.size();
  double tallness = 0;  // of the tallest image; the others are narrower in the same tile
  bool captions = false;
  for (const Image& image : picture.images) {
    const double shape = static_cast<double>(image.height) / static_cast<double>(image.width);
    tallness = std::max(tallness, shape);
    captions = captions || !image.caption.empty();
  }
  Grid grid{};
  grid.columns = picture.columns;
  if (grid.columns == 0) {
    const double wanted = std::round(std::sqrt(1.6 * static_cast<double>(count) * tallness));
    grid.columns = std::max(static_cast<std::size_t>(std::max(wanted, 1.0)), one_row_up_to);
    // The same number of rows, filled more evenly.
    const std::size_t rows = (count + grid.columns - 1) / grid.columns;
    grid.columns = (count + rows - 1) / rows;
  }
  grid.columns = std::min(grid.columns, count);
  grid.rows = (count + grid.columns - 1) / grid.columns;
  const auto columns = static_cast<double>(grid.columns), rows = static_cast<double>(grid.rows);
  const double room = (canvas_width - 2 * side + tile_gap) / columns - tile_gap;
  const double strip = captions ? caption_strip : 0;
  grid.tile_width = std::max(std::min({room, largest_tile, largest_tile / tallness}), 1.0);
  grid.tile_height = grid.tile_width * tallness;
  // A narrow tile's caption has room beside it.
  const double widest_slot = std::max(grid.tile_width, std::min(room, 120.0));
  grid.slot_width = (captions ? widest_slot : grid.tile_width) + tile_gap;
  grid.slot_height = grid.tile_height + tile_gap + strip;
  grid.left = (canvas_width - columns * grid.slot_width) / 2;
  const double title = picture.title.empty() ? 12 : 54;
  grid.top = title + strip;
  grid.height = static_cast<int>(title + rows * grid.slot_height + side - tile_gap);
  return grid;
}

// How often each pixel is given in both directions. gnuplot refuses an image of a single row or
// column, and some viewers blur a small one that an SVG enlarges.
std::size_t repeats(const Image& image, bool svg) {
  constexpr std::size_t sharp = 64;
  const std::size_t least = std::min(image.height, image.width) == 1 ? 2 : 1;
  return svg ? std::max(least, sharp / std::max(image.height, image.width)) : least;
}

void write_grid(std::ostream& script, const Picture& picture, const Grid& grid, bool svg) {
  Extent greys(false);
  for (const Image& image : picture.images) greys.add(image.values);
  Range range = greys.padded(false, false);
  if (picture.image_low) range.low = *picture.image_low;
  if (picture.image_high) range.high = *picture.image_high;
  if (!(range.low < range.high)) range.high = range.low + 1;

  script << "unset border\nunset tics\nunset key\nunset colorbox\n"
         << "set palette defined (0 'white', 1 'black')\nset cbrange " << range_text(range) << '\n'
         << "set lmargin at screen 0\nset rmargin at screen 1\n"
         << "set bmargin at screen 0\nset tmargin at screen 1\n"
         << "set xrange [0:" << canvas_width << "]\nset yrange [" << grid.height << ":0]\n";
  write_title(script, picture.title, 1 - 26.0 / grid.height);

  constexpr double largest_font = 13, smallest_font = 8, character = 0.66;
  std::size_t longest = 1;
  for (const Image& image : picture.images) longest = std::max(longest, text_width(image.caption));
  const double font = std::clamp(grid.slot_width / (character * static_cast<double>(longest + 1)),
                                 smallest_font, largest_font);
  const auto caption_width = static_cast<std::size_t>(grid.slot_width / (character * font)) - 1;
  std::ostringstream plots;
  for (std::size_t i = 0; i < picture.images.size(); ++i) {
    const Image& image = picture.images[i];
    const auto rows = static_cast<double>(image.height);
    const auto columns = static_cast<double>(image.width);
    double scale = std::min(grid.tile_width / columns, grid.tile_height / rows);
    // Whole pixels keep every square of the image the same size.
    if (scale > 2) scale = std::floor(scale);
    const double width = scale * columns, height = scale * rows;
    const double slot = grid.left + static_cast<double>(i % grid.columns) * grid.slot_width;
    const double left = std::round(slot + (grid.slot_width - width) / 2);
    const double top =
        std::round(grid.top + static_cast<double>(i / grid.columns) * grid.slot_height);
    script << "set label " << gnuplot_string(shortened(image.caption, caption_width)) << " at "
           << exact(left + width / 2) << ',' << exact(top - 11) << " center noenhanced font ',"
           << exact(font) << "'\n"
           << "set object rectangle from " << exact(left) << ',' << exact(top) << " to "
           << exact(left + width) << ',' << exact(top + height)
           << " front fs empty border lc rgb '#b0b0b0' lw 1\n";
    const std::size_t times = repeats(image, svg);
    script << "$data" << i << " << EOD\n";
    for (std::size_t r = 0; r < times * image.height; ++r) {
      for (std::size_t c = 0; c < times * image.width; ++c) {
        const double value = image.values[r / times * image.width + c / times];
        script << exact(std::isnan(value) ? value : std::clamp(value, range.low, range.high))
               << ' ';
      }
      script << '\n';
    }
    script << "EOD\n";
    const std::string step = exact(scale / static_cast<double>(times));
    plots << (i == 0 ? "plot " : ", ") << "$data" << i << " matrix using (" << exact(left)
          << "+($1+0.5)*" << step << "):(" << exact(top) << "+($2+0.5)*" << step
          << "):3 with image notitle";
  }
  script << plots.str() << '\n';
}

std::string script_for(const Picture& picture, bool svg) {
  std::ostringstream script;
  script.imbue(std::locale::classic());
  const Grid grid = picture.images.empty() ? Grid{} : lay_out(picture);
  const int height = picture.images.empty() ? canvas_height : grid.height;
  const std::string size = " size " + std::to_string(canvas_width) + ',' + std::to_string(height);
  script << "set encoding utf8\n";
  if (svg) {
    script << "set terminal svg enhanced" << size
           << " font 'sans-serif,14' background rgb 'white'\nmark = 0.6\n";
  } else {
    script << "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n  set terminal pngcairo enhanced"
           << size << " font 'sans-serif,14' fontscale 0.82 background rgb 'white'\n} else {\n"
           << "  set terminal png truecolor enhanced" << size
           << " background rgb 'white'\n}\nmark = 1.2\n";
  }
  script << "set pointsize mark\n";
  if (!picture.images.empty()) {
    write_grid(script, picture, grid, svg);
  } else if (picture.series.front().kind == Series::Kind::bars) {
    write_bars(script, picture);
  } else {
    write_curves(script, picture);
  }
  return script.str();
}

std::string csv_for(const Picture& picture) {
  std::string text;
  if (!picture.images.empty()) {
    text = "image,row,column,value\n";
    for (std::size_t i = 0; i < picture.images.size(); ++i) {
      const Image& image = picture.images[i];
      const std::string name = image.caption.empty() ? std::to_string(i + 1) : image.caption;
      for (std::size_t k = 0; k < image.values.size(); ++k) {
        text += csv_field(name) + ',' + std::to_string(k / image.width) + ',' +
                std::to_string(k % image.width) + ',' + exact(image.values[k]) + '\n';
      }
    }
    return text;
  }
  const bool x_errors = std::any_of(picture.series.begin(), picture.series.end(),
                                    [](const Series& one) { return !one.x_low.empty(); });
  text = x_errors ? "series,x,y,low,high,x_low,x_high\n" : "series,x,y,low,high\n";
  const auto field = [](const std::vector<double>& values, std::size_t k) {
    return ',' + (values.empty() ? "" : exact(values[k]));
  };
  for (const Series& one : picture.series) {
    for (std::size_t k = 0; k < one.y.size(); ++k) {
      const bool bars = one.kind == Series::Kind::bars;
      text += csv_field(one.name) + ',' +
              (bars ? csv_field(picture.categories[k]) : exact(one.x[k])) + field(one.y, k) +
              field(one.low, k) + field(one.high, k);
      if (x_errors) text += field(one.x_low, k) + field(one.x_high, k);
      text += '\n';
    }
  }
  return text;
}

void check(const Picture& picture) {
  require(picture.series.empty() != picture.images.empty(),
          "give it series or images, not both and not neither");
  for (const Series& one : picture.series) {
    const bool bars = one.kind == Series::Kind::bars;
    require(bars == (picture.series.front().kind == Series::Kind::bars),
            "bars stand on categories and do not mix with lines and points");
    require(!bars || one.y.size() == picture.categories.size(),
            "'" + one.name + "' has " + std::to_string(one.y.size()) + " bars for " +
                std::to_string(picture.categories.size()) + " categories");
  }
}

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

File scratch_file() {
  File file(std::tmpfile(), &std::fclose);
  if (!file) {
    throw std::runtime_error("no temporary file can be made: " +
                             std::generic_category().message(errno));
  }
  return file;
}

std::string last_line(std::FILE* file) {
  std::rewind(file);
  std::string last, line;
  for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) {
    if (c != '\n') {
      line += static_cast<char>(c);
      continue;
    }
    if (line.find_first_not_of(" \t") != std::string::npos) last = line;
    line.clear();
  }
  if (line.find_first_not_of(" \t") != std::string::npos) last = line;
  last.erase(0, std::min(last.find_first_not_of(" \t"), last.size()));
  return last;
}

// No shell, and no name of a file in the script: gnuplot's output is its standard output.
// Returns "" or what went wrong.
std::string run_gnuplot(const std::string& script, std::string& output) {
  const File input = scratch_file(), drawn = scratch_file(), errors = scratch_file();
  if (std::fwrite(script.data(), 1, script.size(), input.get()) != script.size() ||
      std::fflush(input.get()) != 0) {
    throw std::runtime_error("gnuplot's temporary script cannot be written: " +
                             std::generic_category().message(errno));
  }
  std::rewind(input.get());

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(input.get()), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(drawn.get()), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ::fileno(errors.get()), STDERR_FILENO);
  std::string program = "gnuplot", no_user_settings = "-d";
  std::array<char*, 3> arguments = {program.data(), no_user_settings.data(), nullptr};
  pid_t child = 0;
  const int failure =
      ::posix_spawnp(&child, "gnuplot", &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0) return "gnuplot was not found";

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return "gnuplot was lost";
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    const std::string reason = last_line(errors.get());
    return "gnuplot failed" + (reason.empty() ? "" : " (" + reason + ")");
  }
  std::rewind(drawn.get());
  std::array<char, 65536> block;
  output.clear();
  while (const std::size_t size = std::fread(block.data(), 1, block.size(), drawn.get())) {
    output.append(block.data(), size);
  }
  return output.empty() ? "gnuplot drew nothing" : "";
}

// What the repeated pixels leave of the blur, browsers take away.
void keep_pixels_sharp(std::string& svg) {
  const std::string tag = "<image ", style = "style='image-rendering:pixelated' ";
  for (std::size_t at = svg.find(tag); at != std::string::npos; at = svg.find(tag, at)) {
    at += tag.size();
    svg.insert(at, style);
  }
}

}  // namespace

std::string exact(double value) {
  if (std::isnan(value)) return "nan";
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return std::string(text.data(), end);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char c : text) {
    result += c;
    if (c == '"') result += c;
  }
  return result + '"';
}

std::size_t text_width(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u;
  }));
}

void write_file(const fs::path& path, const std::string& text) {
  const auto fail = [&path](const std::string& reason) {
    throw std::runtime_error("cannot write '" + path.string() + "': " + reason);
  };
  std::error_code error;
  const fs::file_status before = fs::symlink_status(path, error);
  const fs::file_type type = before.type();
  if (type == fs::file_type::directory) fail("it is a folder");
  const bool replace = type == fs::file_type::not_found || type == fs::file_type::regular;
  fs::path target = path;
  if (replace) target += "." + std::to_string(::getpid()) + ".tmp";
  errno = 0;
  std::ofstream file(target, std::ios::binary);
  // Who may read the file is for its owner to say; still empty, the new one gives nothing away.
  if (type == fs::file_type::regular) fs::permissions(target, before.permissions(), error);
  file << text;
  file.close();
  if (!file) {
    const std::string reason = std::generic_category().message(errno);
    if (replace) fs::remove(target, error);
    fail(reason);
  }
  if (!replace) return;
  fs::rename(target, path, error);
  if (error) {
    const std::string reason = error.message();
    fs::remove(target, error);
    fail(reason);
  }
}

Picture::Picture(std::string title_, std::string x_label_, std::string y_label_)
    : title(std::move(title_)), x_label(std::move(x_label_)), y_label(std::move(y_label_)) {}

Picture& Picture::line(std::string name, std::vector<double> x, std::vector<double> y,
                       std::vector<double> low, std::vector<double> high) {
  require(
      x.size() == y.size() && low.size() == high.size() && (low.empty() || low.size() == y.size()),
      "'" + name + "' needs as many x as y, and low and high");
  series.push_back({Series::Kind::line,
                    std::move(name),
                    std::move(x),
                    std::move(y),
                    std::move(low),
                    std::move(high),
                    {},
                    {}});
  return *this;
}

namespace {

void add_error(const std::vector<double>& values, const std::vector<double>& errors,
               std::vector<double>& low, std::vector<double>& high) {
  for (std::size_t i = 0; i < errors.size(); ++i) {
    low.push_back(values[i] - errors[i]);
    high.push_back(values[i] + errors[i]);
  }
}

}  // namespace

Picture& Picture::points(std::string name, std::vector<double> x, std::vector<double> y,
                         std::vector<double> y_error, std::vector<double> x_error) {
  require(x.size() == y.size() && (y_error.empty() || y_error.size() == y.size()) &&
              (x_error.empty() || x_error.size() == x.size()),
          "'" + name + "' needs as many x as y, and errors");
  Series one{Series::Kind::points, std::move(name), std::move(x), std::move(y), {}, {}, {}, {}};
  add_error(one.y, y_error, one.low, one.high);
  add_error(one.x, x_error, one.x_low, one.x_high);
  series.push_back(std::move(one));
  return *this;
}

Picture& Picture::bars(std::string name, std::vector<double> heights, std::vector<double> errors) {
  require(errors.empty() || errors.size() == heights.size(),
          "'" + name + "' needs as many errors as heights");
  Series one{Series::Kind::bars, std::move(name), {}, std::move(heights), {}, {}, {}, {}};
  add_error(one.y, errors, one.low, one.high);
  series.push_back(std::move(one));
  return *this;
}

Picture& Picture::image(std::string caption, std::size_t height, std::size_t width,
                        std::vector<double> values) {
  require(height > 0 && width > 0 && values.size() == height * width,
          "image '" + caption + "' has " + std::to_string(values.size()) + " values for " +
              std::to_string(height) + " x " + std::to_string(width));
  images.push_back({std::move(caption), height, width, std::move(values)});
  return *this;
}

std::string draw(const Picture& picture, const fs::path& folder, const std::string& name) {
  check(picture);
  const auto file = [&](const char* ending) { return folder / (name + ending); };
  write_file(file(".csv"), csv_for(picture));

  std::string svg, png;
  std::string problem = run_gnuplot(script_for(picture, true), svg);
  if (problem.empty()) problem = run_gnuplot(script_for(picture, false), png);
  if (problem.empty()) {
    keep_pixels_sharp(svg);
    write_file(file(".svg"), svg);
    write_file(file(".png"), png);
    return "";
  }
  std::error_code ignored;
  fs::remove(file(".svg"), ignored);
  fs::remove(file(".png"), ignored);
  const std::string hint = problem +
                           ": only the CSV of each picture is written; for the pictures install "
                           "gnuplot-nox with apt, or gnuplot from conda-forge";
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) std::cerr << hint << std::endl;
  return hint;
}

}  // namespace argtape_examples
