// What the three kinds of pictures share: the looks of the series, and the frame of a plot.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/common/picture.hpp"
#include "examples/common/picture/axis.hpp"
#include "examples/common/picture/gnuplot.hpp"
#include "examples/common/picture/labels.hpp"

namespace argtape_examples {

constexpr double canvas_height = 600;  // of a plot
constexpr std::size_t longest_name = 40;

// What a series looks like. Colours, marks and dashes go round at different lengths, so that a
// hundred series differ, and those alike in colour, or in grey, differ by mark and dash.
struct Look {
  std::string colour, dark;  // dark enough for text
  int mark;
  std::string dash;

  explicit Look(std::size_t i);
};

struct Area {
  double left, right, bottom, top;
};

std::string shortened(const std::string& text, std::size_t width);

// More than one, else the title says it.
bool has_names(const Picture& picture);

// What the title leaves of a canvas' height.
double below_title(const Picture& picture, double height);
void write_title(Script& script, const Picture& picture, double height);

// Room on the left for the tics and the name of the y axis.
double left_of(const Picture& picture, const Axis& up);

// Grid, tics and names. `across` is null where the x axis has categories.
void write_frame(Script& script, const Picture& picture, const Area& area, const Axis* across,
                 const Axis& up);

void write_curves(Script& script, const Picture& picture);
void write_bars(Script& script, const Picture& picture);

double images_height(const Picture& picture);
void write_images(Script& script, const Picture& picture);

}  // namespace argtape_examples
