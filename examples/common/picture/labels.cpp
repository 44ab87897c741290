// Where names stand: beside the one point that they name, or in a column at the right.
#include <algorithm>

#include "examples/common/files.hpp"
#include "examples/common/picture/drawing.hpp"

namespace argtape_examples {

double pixel_width(const std::string& text) {
  return 4 + 8 * static_cast<double>(text_width(text));
}

Spot beside(const std::string& name, Spot mark, const Box& plot, std::vector<Box>& taken) {
  constexpr double away = 11;
  const double width = pixel_width(name);
  Box box{};
  const auto meets = [&](const Box& other) {
    return box.left < other.right && other.left < box.right && box.bottom < other.top &&
           other.bottom < box.top;
  };
  for (const double up : {0.0, 14.0, -14.0, 20.0, -20.0, 28.0, -28.0})
    for (const double across : {away, -away - width, -width / 2}) {
      const Spot at = {mark.x + across, mark.y + up};
      box = {at.x, at.x + width, at.y - line_height / 2, at.y + line_height / 2};
      if (box.left < plot.left || box.right > plot.right || box.bottom < plot.bottom ||
          box.top > plot.top || std::any_of(taken.begin(), taken.end(), meets))
        continue;
      taken.push_back(box);
      return at;
    }
  return {mark.x + away, mark.y};
}

void spread_out(std::vector<double>& heights, double top) {
  double room = top;
  for (double& height : heights) room = (height = std::min(height, room)) - line_height;
  room = 0;
  for (auto height = heights.rbegin(); height != heights.rend(); ++height)
    room = (*height = std::max(*height, room)) + line_height;
}

}  // namespace argtape_examples
