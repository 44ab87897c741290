#include "examples/common/picture/drawing.hpp"

#include <algorithm>
#include <array>

#include "examples/common/files.hpp"

namespace argtape_examples {

namespace {

constexpr double tics_across = 52, tics_up = 34;  // at least so far apart

// Where the scale changes: a dashed line; what is not to scale is shaded.
void write_seams(Script& script, const Area& area, const Axis& axis, bool across) {
  for (const double at : axis.seams()) {
    Area shade = area;
    Spot from = {area.left, at}, to = {area.right, at};
    if (across) {
      from = {at, area.bottom}, to = {at, area.top};
      (at < (area.left + area.right) / 2 ? shade.right : shade.left) = at;
    } else {
      (at < (area.bottom + area.top) / 2 ? shade.top : shade.bottom) = at;
    }
    script.rectangle({shade.left, shade.bottom}, {shade.right, shade.top},
                     "behind fs solid noborder fc rgb '#f2f2f2'");
    script.line(from, to, "lc rgb '#909090' lw 1 dt (4,4) back");
  }
}

}  // namespace

Look::Look(std::size_t i) {
  // Okabe and Ito's colours, told apart by colour-blind readers; yellow is too faint for lines.
  constexpr std::array<std::array<int, 3>, 7> colours = {{{0, 114, 178},
                                                          {230, 159, 0},
                                                          {0, 158, 115},
                                                          {204, 121, 167},
                                                          {0, 0, 0},
                                                          {86, 180, 233},
                                                          {213, 94, 0}}};
  constexpr std::array<int, 11> marks = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 15};
  constexpr std::array<const char*, 3> dashes = {"solid", "(9,4)", "(2,3)"};
  const auto hex = [&](int share, int of) {
    constexpr const char* digits = "0123456789abcdef";
    std::string text = "#";
    for (const int channel : colours[i % colours.size()]) {
      const int value = channel * share / of;
      text += {digits[value / 16], digits[value % 16]};
    }
    return text;
  };
  colour = hex(1, 1);
  dark = hex(5, 8);
  mark = marks[i % marks.size()];
  dash = dashes[i / colours.size() % dashes.size()];
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

bool has_names(const Picture& picture) {
  return std::count_if(picture.series.begin(), picture.series.end(),
                       [](const Series& one) { return !one.name.empty(); }) > 1;
}

double below_title(const Picture& picture, double height) {
  return height - (picture.title.empty() ? 16 : 48);
}

void write_title(Script& script, const Picture& picture, double height) {
  constexpr double largest = 17, smallest = 10, fits_at_largest = 92;
  const auto width = static_cast<double>(std::max<std::size_t>(text_width(picture.title), 1));
  const double size = std::clamp(largest * fits_at_largest / width, smallest, largest);
  script.text(picture.title, {canvas_width / 2, height - 24}, "center font '," + exact(size) + "'");
}

double left_of(const Picture& picture, const Axis& up) {
  double widest = 0;
  for (const Tic& tic : up.tics(tics_up)) widest = std::max(widest, pixel_width(tic.label));
  return (picture.y_label.empty() ? 20 : 40) + widest;
}

void write_frame(Script& script, const Picture& picture, const Area& area, const Axis* across,
                 const Axis& up) {
  const std::string grid = "lc rgb '#dddddd' lw 0.7 back", axis = "lc rgb '#606060' lw 1";
  write_seams(script, area, up, false);
  if (across) write_seams(script, area, *across, true);
  for (const Tic& tic : up.tics(tics_up)) {
    script.line({area.left, tic.at}, {area.right, tic.at}, grid);
    script.line({area.left - 4, tic.at}, {area.left, tic.at}, axis);
    script.text(tic.label, {area.left - 9, tic.at}, "right tc rgb '#303030'", tic.power);
  }
  for (const Tic& tic : across ? across->tics(tics_across) : std::vector<Tic>()) {
    script.line({tic.at, area.bottom}, {tic.at, area.top}, grid);
    script.line({tic.at, area.bottom - 4}, {tic.at, area.bottom}, axis);
    script.text(tic.label, {tic.at, area.bottom - 15}, "center tc rgb '#303030'", tic.power);
  }
  script.line({area.left, area.bottom}, {area.right, area.bottom}, axis);
  script.line({area.left, area.bottom}, {area.left, area.top}, axis);
  script.text(picture.x_label, {(area.left + area.right) / 2, 16}, "center");
  script.text(picture.y_label, {16, (area.bottom + area.top) / 2}, "center rotate by 90");
}

}  // namespace argtape_examples
