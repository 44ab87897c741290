// Where names stand: beside the one point that they name, or in a column at the right.
#include <algorithm>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

double pixel_width(const std::string& text) {
  return 4 + 8 * static_cast<double>(text_width(text));
}

std::optional<Spot> beside(const std::string& name, const Box& mark, const Box& plot,
                           std::vector<Box>& taken) {
  constexpr double gap = 5;
  const double width = pixel_width(name), middle = (mark.bottom + mark.top) / 2;
  Box box{};
  const auto meets = [&](const Box& other) {
    return box.left < other.right && other.left < box.right && box.bottom < other.top &&
           other.bottom < box.top;
  };
  for (const double up : {0, 15, -15, 21, -21, 28, -28})
    for (const double x :
         {mark.right + gap, mark.left - gap - width, (mark.left + mark.right - width) / 2}) {
      const double y = middle + up;
      box = {x, x + width, y - line_height / 2, y + line_height / 2};
      if (box.left < plot.left || box.right > plot.right || box.bottom < plot.bottom ||
          box.top > plot.top || std::any_of(taken.begin(), taken.end(), meets))
        continue;
      taken.push_back(box);
      return Spot{x, y};
    }
  return std::nullopt;
}

void spread_out(std::vector<double>& heights, double top) {
  double room = top;
  for (double& height : heights) room = (height = std::min(height, room)) - line_height;
  room = 0;
  for (auto height = heights.rbegin(); height != heights.rend(); ++height)
    room = (*height = std::max(*height, room)) + line_height;
}

}  // namespace argtape_examples
