// A grid of grey images.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

constexpr double ems = 0.66;  // of a character's width

// Whether the reader must be told what white and black are.
bool own_greys(const Picture& picture) { return !picture.image_low || !picture.image_high; }

// Where the images of a grid stand.
struct Grid {
  std::size_t columns, rows;
  double tile_width, tile_height, slot_width, font;
  std::vector<double> tops;  // of each row, from the upper end of the canvas
  double height;
};

Grid grid_of(const Picture& picture) {
  constexpr double side = 24, gap = 14, caption_strip = 24, largest_tile = 260, narrowest = 120;
  constexpr double largest_font = 13, smallest_font = 8;
  constexpr std::size_t one_row_up_to = 5;
  const std::size_t count = picture.images.size();
  double tallness = 0;  // of the tallest image; the others are narrower in the same tile
  std::size_t longest = 0;
  for (const Image& image : picture.images) {
    const double shape = static_cast<double>(image.height) / static_cast<double>(image.width);
    tallness = std::max(tallness, shape);
    longest = std::max(longest, text_width(image.caption));
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
  const double room = (canvas_width - 2 * side + gap) / static_cast<double>(grid.columns) - gap;
  grid.tile_width = std::max(std::min({room, largest_tile, largest_tile / tallness}), 1.0);
  grid.tile_height = grid.tile_width * tallness;
  // A narrow tile's caption has room beside it.
  grid.slot_width =
      gap + (longest > 0 ? std::max(grid.tile_width, std::min(room, narrowest)) : grid.tile_width);
  grid.font = std::clamp(grid.slot_width / (ems * static_cast<double>(longest + 1)), smallest_font,
                         largest_font);
  grid.height = -below_title(picture, 0) + 4;
  for (std::size_t row = 0; row < grid.rows; ++row) {
    const auto end = std::min(count, (row + 1) * grid.columns);
    for (std::size_t i = row * grid.columns; i < end; ++i) {
      if (picture.images[i].caption.empty()) continue;
      grid.height += caption_strip;
      break;
    }
    grid.tops.push_back(grid.height);
    grid.height += grid.tile_height + gap;
  }
  grid.height = std::ceil(grid.height + side - gap + (own_greys(picture) ? 16 : 0));
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
      const bool known = std::isfinite(value);
      rows += (known ? exact(std::clamp(value, greys.white, greys.black)) : "nan") + ' ';
    }
    rows += '\n';
  }
  return rows;
}

// Its upper edge is `top` pixels above the canvas' lower one, and it stands in the middle.
void write_image(Script& script, const Image& image, const Grid& grid, const Greys& greys,
                 Spot top) {
  constexpr std::size_t sharp = 64;
  const auto rows = static_cast<double>(image.height), columns = static_cast<double>(image.width);
  double scale = std::min(grid.tile_width / columns, grid.tile_height / rows);
  // Whole pixels keep every square of the image the same size.
  if (scale > 2) scale = std::floor(scale);
  const double left = std::round(top.x - scale * columns / 2), upper = std::round(top.y);
  const std::size_t least = std::min(image.height, image.width) == 1 ? 2 : 1;
  const std::size_t times = std::max(least, sharp / std::max(image.height, image.width));
  const std::string step = exact(scale / static_cast<double>(times));
  script.plot(pixels_of(image, greys, times), "matrix using (" + exact(left) + "+($1+0.5)*" + step +
                                                  "):(" + exact(upper) + "-($2+0.5)*" + step +
                                                  "):3 with image");
  script.rectangle({left, upper - scale * rows}, {left + scale * columns, upper},
                   "front fs empty border lc rgb '#b0b0b0' lw 1");
  const auto room = static_cast<std::size_t>(grid.slot_width / (ems * grid.font)) - 1;
  script.text(shortened(image.caption, room), {left + scale * columns / 2, upper + 11},
              "center font '," + exact(grid.font) + "'");
}

}  // namespace

double images_height(const Picture& picture) { return grid_of(picture).height; }

void write_images(Script& script, const Picture& picture) {
  const Grid grid = grid_of(picture);
  const Greys greys = greys_of(picture);
  write_title(script, picture, grid.height);
  script.set("palette defined (0 'white', 1 'black')");
  script.set("cbrange [" + exact(greys.white) + ':' + exact(greys.black) + ']');
  const double left = (canvas_width - static_cast<double>(grid.columns) * grid.slot_width) / 2;
  for (std::size_t i = 0; i < picture.images.size(); ++i) {
    const double middle = left + (static_cast<double>(i % grid.columns) + 0.5) * grid.slot_width;
    write_image(script, picture.images[i], grid, greys,
                {middle, grid.height - grid.tops[i / grid.columns]});
  }
  if (own_greys(picture)) {
    script.text("white: " + short_number(greys.white) + ", black: " + short_number(greys.black),
                {canvas_width / 2, 16}, "center tc rgb '#303030'");
  }
}

}  // namespace argtape_examples
