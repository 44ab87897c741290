// A grid of grey images.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "examples/common/picture/drawing.hpp"
#include "examples/common/program.hpp"

namespace argtape_examples {

namespace {

constexpr double side = 24, gap = 14;

// How many stand in a row: as asked for, or so that the picture is a little wider than high.
std::size_t columns_of(const Picture& picture, double tallness) {
  constexpr std::size_t one_row_up_to = 5;
  const std::size_t count = picture.images.size();
  if (picture.columns > 0) return std::min(picture.columns, count);
  const double wanted = std::round(std::sqrt(1.6 * static_cast<double>(count) * tallness));
  const std::size_t most = std::max(static_cast<std::size_t>(std::max(wanted, 1.0)), one_row_up_to);
  // The same number of rows, filled evenly.
  const std::size_t rows = (count + most - 1) / most;
  return (count + rows - 1) / rows;
}

struct Grid {
  std::size_t columns;
  double slot, tile_width, tile_height;
  std::vector<double> tops;  // of each row, from the upper end of the canvas
  double height;
};

Grid grid_of(const Picture& picture) {
  constexpr double caption_strip = 24, largest_tile = 260, narrowest_caption = 120;
  double tallness = 0;  // of the tallest image; the others are narrower in the same tile
  bool captions = false;
  for (const Image& image : picture.images) {
    const double shape = static_cast<double>(image.height) / static_cast<double>(image.width);
    tallness = std::max(tallness, shape);
    captions = captions || !image.caption.empty();
  }
  Grid grid{};
  grid.columns = columns_of(picture, tallness);
  const double room = (canvas_width - 2 * side + gap) / static_cast<double>(grid.columns) - gap;
  grid.tile_width = std::max(std::min({room, largest_tile, largest_tile / tallness}), 1.0);
  grid.tile_height = grid.tile_width * tallness;
  // A narrow tile's caption has room beside it.
  grid.slot = gap + std::max(grid.tile_width, captions ? std::min(room, narrowest_caption) : 0);
  grid.height = picture.title.empty() ? 16 : 52;
  for (std::size_t i = 0; i < picture.images.size(); i += grid.columns) {
    const auto row = picture.images.begin() + static_cast<std::ptrdiff_t>(i);
    const auto rest = picture.images.end() - row;
    const auto size = std::min(rest, static_cast<std::ptrdiff_t>(grid.columns));
    const bool named =
        std::any_of(row, row + size, [](const Image& image) { return !image.caption.empty(); });
    grid.tops.push_back(grid.height + (named ? caption_strip : 0));
    grid.height = grid.tops.back() + grid.tile_height + gap;
  }
  grid.height = std::ceil(grid.height + side);
  return grid;
}

struct Greys {
  double white, black;
};

Greys greys_of(const Picture& picture) {
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (const Image& image : picture.images) {
    for (const double value : image.values) {
      if (!std::isfinite(value)) continue;
      least = std::min(least, value);
      most = std::max(most, value);
    }
  }
  const double white = picture.image_low.value_or(least <= most ? least : 0);
  const double black = picture.image_high.value_or(least <= most ? most : 1);
  return {white, white < black ? black : white + 1};
}

// gnuplot refuses an image of a single row or column, and some viewers blur a small one that an SVG
// enlarges: each pixel is given several times.
std::string pixels_of(const Image& image, const Greys& greys, std::size_t times) {
  std::string rows;
  for (std::size_t r = 0; r < times * image.height; ++r) {
    for (std::size_t c = 0; c < times * image.width; ++c) {
      const double value = image.values[r / times * image.width + c / times];
      rows += (c == 0 ? "" : ",") +
              (std::isfinite(value) ? exact(std::clamp(value, greys.white, greys.black)) : "nan");
    }
    rows += '\n';
  }
  return rows;
}

// Stands below `top`, around it, with its caption above. Returns what plots it.
std::string write_image(std::ostream& script, const Image& image, const Grid& grid,
                        const Greys& greys, Spot top, const std::string& data) {
  constexpr std::size_t sharp = 64;
  constexpr double largest_font = 13, smallest_font = 8, ems = 0.66;
  const auto rows = static_cast<double>(image.height), columns = static_cast<double>(image.width);
  double scale = std::min(grid.tile_width / columns, grid.tile_height / rows);
  // Whole pixels keep every square of the image the same size.
  if (scale > 2) scale = std::floor(scale);
  const double left = std::round(top.x - scale * columns / 2), upper = std::round(top.y);
  const std::size_t least = std::min(image.height, image.width) == 1 ? 2 : 1;
  const std::size_t times = std::max(least, sharp / std::max(image.height, image.width));
  const std::string step = exact(scale / static_cast<double>(times));
  script << data << " << EOD\n"
         << pixels_of(image, greys, times) << "EOD\n"
         << "set object rectangle from " << place({left, upper - scale * rows}) << " to "
         << place({left + scale * columns, upper}) << " front fs empty border lc rgb '#b0b0b0'\n";
  const double font =
      std::clamp(grid.slot / (ems * static_cast<double>(text_width(image.caption) + 1)),
                 smallest_font, largest_font);
  const auto room = static_cast<std::size_t>(grid.slot / (ems * font)) - 1;
  write_text(script, shortened(image.caption, room), {left + scale * columns / 2, upper + 11},
             "center font '," + exact(font) + "'");
  return data + " matrix using (" + exact(left) + "+($1+0.5)*" + step + "):(" + exact(upper) +
         "-($2+0.5)*" + step + "):3 with image notitle, ";
}

}  // namespace

double images_height(const Picture& picture) { return grid_of(picture).height; }

void write_images(std::ostream& script, const Picture& picture) {
  const Grid grid = grid_of(picture);
  const Greys greys = greys_of(picture);
  write_title(script, picture, grid.height);
  script << "unset border\nunset tics\nunset colorbox\nset palette defined (0 'white', 1 'black')\n"
         << "set cbrange [" << exact(greys.white) << ':' << exact(greys.black) << "]\n";
  write_canvas(script, {0, canvas_width, 0, grid.height}, grid.height);
  const double left = (canvas_width - static_cast<double>(grid.columns) * grid.slot) / 2;
  std::string plots;
  for (std::size_t i = 0; i < picture.images.size(); ++i) {
    const double middle = left + (static_cast<double>(i % grid.columns) + 0.5) * grid.slot;
    plots += write_image(script, picture.images[i], grid, greys,
                         {middle, grid.height - grid.tops[i / grid.columns]},
                         "$data" + std::to_string(i));
  }
  if (!picture.image_low || !picture.image_high) {
    write_text(script, "white " + number(greys.white) + ", black " + number(greys.black),
               {canvas_width / 2, 16}, "center tc rgb '#303030'");
  }
  script << "plot " << plots << "NaN notitle\n";
}

}  // namespace argtape_examples
