#include "examples/common/picture.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <stdexcept>
#include <utility>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

using Rows = std::vector<std::vector<std::string>>;

void require(bool holds, const std::string& message) {
  if (!holds) throw std::invalid_argument("Picture: " + message);
}

Rows rows_of_images(const Picture& picture, std::string (*text)(double)) {
  Rows rows = {{"image", "row", "column", "value"}};
  for (std::size_t i = 0; i < picture.images.size(); ++i) {
    const Image& image = picture.images[i];
    const std::string name = image.caption.empty() ? std::to_string(i + 1) : image.caption;
    for (std::size_t k = 0; k < image.values.size(); ++k)
      rows.push_back({name, std::to_string(k / image.width), std::to_string(k % image.width),
                      text(image.values[k])});
  }
  return rows;
}

// Columns that no series has are left out.
Rows rows_of(const Picture& picture, std::string (*text)(double)) {
  if (!picture.images.empty()) return rows_of_images(picture, text);
  using Column = std::pair<const char*, std::vector<double> Series::*>;
  std::vector<Column> columns = {{"x", &Series::x},          {"y", &Series::y},
                                 {"z", &Series::z},          {"low", &Series::low},
                                 {"high", &Series::high},    {"x_low", &Series::x_low},
                                 {"x_high", &Series::x_high}};
  const auto nobody_has = [&](const Column& column) {
    return std::all_of(picture.series.begin(), picture.series.end(),
                       [&](const Series& one) { return (one.*column.second).empty(); });
  };
  columns.erase(std::remove_if(columns.begin(), columns.end(), nobody_has), columns.end());
  Rows rows = {{"series"}};
  for (const Column& column : columns) rows[0].emplace_back(column.first);
  for (const Series& one : picture.series)
    for (std::size_t k = 0; k < one.y.size(); ++k) {
      rows.push_back({one.name});
      for (const auto& [name, values] : columns)
        rows.back().push_back((one.*values).empty() ? "" : text((one.*values)[k]));
      if (one.kind == Series::Kind::bars) rows.back()[1] = picture.categories[k];
    }
  return rows;
}

void check(const Picture& picture) {
  require(picture.series.empty() != picture.images.empty(),
          "give it series or images, not both and not neither");
  for (const Series& one : picture.series) {
    const Series::Kind first = picture.series[0].kind;
    require(one.kind == first || std::max(one.kind, first) == Series::Kind::points,
            "only lines and points mix");
    require(one.kind != Series::Kind::surface || picture.series.size() == 1,
            "a surface stands alone");
    require(one.kind != Series::Kind::bars || one.y.size() == picture.categories.size(),
            "'" + one.name + "' has " + std::to_string(one.y.size()) + " bars for " +
                std::to_string(picture.categories.size()) + " categories");
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

Picture::Picture(std::string title_, std::string x_label, std::string y_label)
    : title(std::move(title_)) {
  x.label = std::move(x_label);
  y.label = std::move(y_label);
}

Series& Picture::add(Series::Kind kind, std::string name, std::vector<double> at_x,
                     std::vector<double> at_y) {
  require(at_x.size() == at_y.size(), "'" + name + "' needs as many x as y");
  series.push_back({kind, std::move(name), std::move(at_x), std::move(at_y), {}, {}, {}, {}, {}});
  return series.back();
}

Picture& Picture::line(std::string name, std::vector<double> at_x, std::vector<double> at_y,
                       std::vector<double> low, std::vector<double> high) {
  require(low.size() == high.size() && (low.empty() || low.size() == at_y.size()),
          "'" + name + "' needs as many low and high as y");
  Series& one = add(Series::Kind::line, std::move(name), std::move(at_x), std::move(at_y));
  one.low = std::move(low);
  one.high = std::move(high);
  return *this;
}

Picture& Picture::points(std::string name, std::vector<double> at_x, std::vector<double> at_y,
                         const std::vector<double>& y_error, const std::vector<double>& x_error) {
  Series& one = add(Series::Kind::points, std::move(name), std::move(at_x), std::move(at_y));
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

Picture& Picture::surface(double x_low, double x_high, double y_low, double y_high,
                          const std::function<double(double, double)>& f, std::size_t n) {
  require(n >= 2, "a surface of " + std::to_string(n) + " by " + std::to_string(n) +
                      " points; need 2 by 2 or more");
  Series& one = add(Series::Kind::surface, "", {}, {});
  const auto last = static_cast<double>(n - 1);
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      one.x.push_back(x_low + static_cast<double>(i) / last * (x_high - x_low));
      one.y.push_back(y_low + static_cast<double>(k) / last * (y_high - y_low));
      one.z.push_back(f(one.x.back(), one.y.back()));
    }
  return *this;
}

// A square of which one side is drawn together to a point.
Picture& Picture::simplex(const std::function<double(double, double, double)>& f, std::size_t n) {
  const auto over = [&](double up, double right) {
    return f((1 - up) * (1 - right), (1 - up) * right, up);
  };
  surface(0, 1, 0, 1, over, n);
  Series& one = series.back();
  for (std::size_t k = 0; k < one.x.size(); ++k) {
    const double up = one.x[k];
    one.x[k] = (1 - up) * one.y[k] + up / 2;
    one.y[k] = up * std::sqrt(0.75);
  }
  categories.resize(3);
  return *this;
}

std::string to_text(const Picture& picture) {
  constexpr std::size_t most = 24;
  check(picture);
  Rows rows = rows_of(picture, [](double value) { return number(value, 4); });
  const std::size_t all = rows.size();
  rows.resize(std::min(all, most));
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], text_width(row[i]));
  std::string text = picture.title + '\n';
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i)
      text += row[i] +
              (i + 1 < row.size() ? std::string(widths[i] + 2 - text_width(row[i]), ' ') : "\n");
  if (all > most) text += "and " + std::to_string(all - most) + " rows more\n";
  return text;
}

std::string to_svg(const Picture& picture, std::string& problem) {
  check(picture);
  std::string svg = run_gnuplot(script_for(picture), problem);
  // Images that are enlarged stay sharp.
  const std::string tag = "<image ", style = "style='image-rendering:pixelated' ";
  for (std::size_t at = 0; (at = svg.find(tag, at)) != std::string::npos;)
    svg.insert(at += tag.size(), style);
  return svg;
}

std::string draw(const Picture& picture, const std::string& folder, const std::string& name) {
  const std::filesystem::path path = folder;
  check(picture);
  std::string csv, problem;
  for (const auto& row : rows_of(picture, exact))
    for (std::size_t i = 0; i < row.size(); ++i)
      csv += csv_field(row[i]) + (i + 1 < row.size() ? ',' : '\n');
  write_file(path / (name + ".csv"), csv);

  const std::string svg = to_svg(picture, problem);
  if (!svg.empty()) {
    write_file(path / (name + ".svg"), svg);
    return "";
  }
  std::error_code ignored;
  std::filesystem::remove(path / (name + ".svg"), ignored);
  static std::atomic<bool> told{false};
  if (!told.exchange(true)) std::cerr << problem << "; the numbers are in CSV files" << std::endl;
  return problem;
}

}  // namespace argtape_examples
