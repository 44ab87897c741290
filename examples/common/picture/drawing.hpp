// What plots and grids of images share. All places are pixels from the lower left corner.
#pragma once

#include <cstddef>
#include <ostream>
#include <string>

#include "examples/common/picture.hpp"
#include "examples/common/picture/axis.hpp"
#include "examples/common/picture/labels.hpp"

namespace argtape_examples {

constexpr double canvas_width = 900, plot_height = 600;
constexpr double tics_across = 70, tics_up = 34;  // so far apart
constexpr std::size_t longest_name = 40;

// What a series looks like. Colours, marks and dashes go round at different lengths, so that a
// hundred series differ, and those alike in colour, or in grey, differ by mark and dash.
struct Look {
  std::string colour, dark;  // dark enough for text
  std::string mark, dash;

  explicit Look(std::size_t i);
};

struct Area {
  double left, right, bottom, top;
};

std::string place(Spot at);

std::string shortened(const std::string& text, std::size_t width);

// A single series needs no name.
bool has_names(const Picture& picture);

void write_text(std::ostream& script, const std::string& text, Spot at, const std::string& style);

// Returns what is left of the canvas' height.
double write_title(std::ostream& script, const Picture& picture, double height);

// Room on the left for the tics and the name of the y axis.
double left_of(const Picture& picture, const Axis& up);

// Where the plot is: an area of the canvas, in its own pixels.
void write_canvas(std::ostream& script, const Area& area, double height);
void write_axis(std::ostream& script, const Area& area, char name, const Axis& axis,
                const std::vector<Tic>& tics);

void write_plot(std::ostream& script, const Picture& picture);
void write_images(std::ostream& script, const Picture& picture);
// A grid of images is as high as it needs.
double images_height(const Picture& picture);

}  // namespace argtape_examples
