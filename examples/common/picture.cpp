#include "examples/common/picture.hpp"

#include <algorithm>
#include <atomic>
#include <iostream>
#include <locale>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "examples/common/picture/drawing.hpp"
#include "examples/common/picture/gnuplot.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;

namespace {

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument("Picture: " + message);
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

std::string script_for(const Picture& picture, bool svg) {
  const double height = picture.images.empty() ? plot_height : images_height(picture);
  const std::string size = " enhanced size " + exact(canvas_width) + ',' + exact(height);
  std::ostringstream script;
  script.imbue(std::locale::classic());
  script << "set encoding utf8\nset datafile separator ','\nset errorbars 0\nunset key\n";
  if (svg) {
    script << "set terminal svg" << size << " font 'sans-serif,14' background 'white'\n"
           << "mark = 0.7\n";
  } else {
    script << "if (strstrt(GPVAL_TERMINALS, 'pngcairo')) {\n  set terminal pngcairo" << size
           << " font 'sans-serif,14' fontscale 0.82 background 'white'\n} else {\n"
           << "  set terminal png truecolor" << size << " background 'white'\n}\nmark = 1.2\n";
  }
  script << "set pointsize mark\n";
  picture.images.empty() ? write_plot(script, picture) : write_images(script, picture);
  return script.str();
}

// The blur of enlarged images, where browsers can be told.
void keep_pixels_sharp(std::string& svg) {
  const std::string tag = "<image ", style = "style='image-rendering:pixelated' ";
  for (std::size_t at = svg.find(tag); at != std::string::npos; at = svg.find(tag, at)) {
    at += tag.size();
    svg.insert(at, style);
  }
}

void add_error(const std::string& name, const std::vector<double>& values,
               const std::vector<double>& errors, std::vector<double>& low,
               std::vector<double>& high) {
  require(errors.empty() || errors.size() == values.size(),
          "'" + name + "' needs as many errors as values");
  for (std::size_t i = 0; i < errors.size(); ++i) {
    low.push_back(values[i] - errors[i]);
    high.push_back(values[i] + errors[i]);
  }
}

}  // namespace

Picture::Picture(std::string title_, std::string x_label_, std::string y_label_)
    : title(std::move(title_)), x_label(std::move(x_label_)), y_label(std::move(y_label_)) {}

Series& Picture::add(Series::Kind kind, std::string name, std::vector<double> x,
                     std::vector<double> y) {
  require(x.size() == y.size(), "'" + name + "' needs as many x as y");
  Series one;
  one.kind = kind;
  one.name = std::move(name);
  one.x = std::move(x);
  one.y = std::move(y);
  one.look = series.size();
  series.push_back(std::move(one));
  return series.back();
}

Picture& Picture::line(std::string name, std::vector<double> x, std::vector<double> y,
                       std::vector<double> low, std::vector<double> high) {
  require(low.size() == high.size() && (low.empty() || low.size() == y.size()),
          "'" + name + "' needs as many low and high as y");
  Series& one = add(Series::Kind::line, std::move(name), std::move(x), std::move(y));
  one.low = std::move(low);
  one.high = std::move(high);
  return *this;
}

Picture& Picture::points(std::string name, std::vector<double> x, std::vector<double> y,
                         const std::vector<double>& y_error, const std::vector<double>& x_error) {
  Series& one = add(Series::Kind::points, std::move(name), std::move(x), std::move(y));
  add_error(one.name, one.y, y_error, one.low, one.high);
  add_error(one.name, one.x, x_error, one.x_low, one.x_high);
  return *this;
}

Picture& Picture::bars(std::string name, std::vector<double> heights,
                       const std::vector<double>& errors) {
  std::vector<double> group(heights.size());
  std::iota(group.begin(), group.end(), 0.0);
  Series& one = add(Series::Kind::bars, std::move(name), std::move(group), std::move(heights));
  add_error(one.name, one.y, errors, one.low, one.high);
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
