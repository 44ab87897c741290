// A grid of grey images.
#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

namespace {

// Within `width` and below `top`, around `middle`, with its caption above. Returns what plots it.
std::string write_image(std::ostream& script, const Image& image, double width, double height,
                        double middle, double top, const std::string& data) {
  // gnuplot refuses an image of a single row or column.
  const std::size_t times = std::min(image.height, image.width) == 1 ? 2 : 1;
  const auto rows = static_cast<double>(image.height), columns = static_cast<double>(image.width);
  double scale = std::min(width / columns, height / rows);
  // Whole pixels keep every square of the image the same size.
  if (scale > 2) scale = std::floor(scale);
  const double left = std::round(middle - scale * columns / 2), upper = std::round(top);
  script << data << " << EOD\n";
  for (std::size_t r = 0; r < times * image.height; ++r)
    for (std::size_t c = 0; c < times * image.width; ++c)
      script << image.values[r / times * image.width + c / times]
             << (c + 1 < times * image.width ? ',' : '\n');
  script << "EOD\nset object rectangle from " << left << ',' << upper << " to "
         << left + scale * columns << ',' << upper + scale * rows
         << " front fs empty border lc rgb '#b0b0b0'\n";
  const std::string step = exact(scale / static_cast<double>(times));
  return data + " matrix using (" + exact(left) + "+($1+0.5)*" + step + "):(" + exact(upper) +
         "+($2+0.5)*" + step + "):3 with image, ";
}

}  // namespace

void write_images(std::ostream& script, const Picture& picture) {
  constexpr double title = 44, side = 24, gap = 14, caption = 24, letter = 8.2;
  constexpr double largest_tile = 260, narrowest_slot = 134, wider = 1.6;
  const std::vector<Image>& images = picture.images;
  double tallness = 0;  // of the tallest image; the others are narrower in the same tile
  double least = INFINITY, most = -INFINITY;
  for (const Image& image : images) {
    tallness =
        std::max(tallness, static_cast<double>(image.height) / static_cast<double>(image.width));
    for (const double value : image.values)
      if (std::isfinite(value)) least = std::min(least, value), most = std::max(most, value);
  }
  const double white = picture.image_low.value_or(least < INFINITY ? least : 0);
  const double asked = picture.image_high.value_or(most), black = asked > white ? asked : white + 1;
  const auto count = static_cast<double>(images.size());
  const std::size_t columns =
      picture.columns > 0
          ? std::min(picture.columns, images.size())
          : static_cast<std::size_t>(std::ceil(std::sqrt(wider * count * tallness)));
  const double room = (canvas_width - 2 * side) / static_cast<double>(columns);
  const double tile = std::min({room - gap, largest_tile, largest_tile / tallness});
  // A narrow tile's caption has room beside it.
  const double slot = std::max(tile + gap, std::min(room, narrowest_slot));
  const double first = (canvas_width - static_cast<double>(columns - 1) * slot) / 2;
  std::ostringstream body;
  body.copyfmt(script);
  std::string plots;
  double top = title - gap;
  for (std::size_t i = 0; i < images.size(); i += columns) {
    const std::size_t end = std::min(i + columns, images.size());
    std::string captions;
    for (std::size_t k = i; k < end; ++k) captions += images[k].caption;
    top += gap + (captions.empty() ? 0 : caption);
    for (std::size_t k = i; k < end; ++k) {
      const double middle = first + static_cast<double>(k - i) * slot;
      plots += write_image(body, images[k], tile, tile * tallness, middle, top,
                           "$data" + std::to_string(k));
      const std::string name =
          shortened(images[k].caption, static_cast<std::size_t>(slot / letter));
      body << "set label " << gnuplot_string(name) << " at " << middle << ',' << top - 11
           << " center font ',13'\n";
    }
    top += tile * tallness;
  }
  const double height = std::ceil(top + gap + side);
  write_head(script, picture, height);
  if (!picture.image_low || !picture.image_high)
    body << "set label " << gnuplot_string("white " + number(white) + ", black " + number(black))
         << " at " << canvas_width / 2 << ',' << height - 14 << " center\n";
  script << "unset border\nunset tics\nset palette maxcolors 33 defined (0 'white', 1 "
            "'black')\nset cbrange ["
         << white << ':' << black
         << "]\nset lmargin at screen 0\nset rmargin at screen 1\nset bmargin at screen 0\n"
         << "set tmargin at screen " << 1 - title / height << "\nset xrange [0:" << canvas_width
         << "]\nset yrange [" << height << ':' << title << "]\n"
         << body.str() << "plot " << plots << "NaN\n";
}

}  // namespace argtape_examples
