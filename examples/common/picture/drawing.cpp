#include "examples/common/picture/drawing.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "examples/common/picture/gnuplot.hpp"

namespace argtape_examples {

Look::Look(std::size_t i) {
  // Okabe and Ito's colours, told apart by colour-blind readers, but for yellow, which is too faint
  // for lines; and the same with half of the light.
  constexpr std::array<std::array<const char*, 2>, 7> colours = {{{"#0072b2", "#004f7c"},
                                                                  {"#e69f00", "#855c00"},
                                                                  {"#009e73", "#006248"},
                                                                  {"#cc79a7", "#8c3f69"},
                                                                  {"#000000", "#000000"},
                                                                  {"#56b4e9", "#1c6a98"},
                                                                  {"#d55e00", "#8f3f00"}}};
  constexpr std::array<int, 11> marks = {7, 5, 9, 13, 11, 6, 4, 8, 12, 10, 15};
  constexpr std::array<const char*, 3> dashes = {"solid", "(9,4)", "(2,3)"};
  colour = colours[i % colours.size()][0];
  dark = colours[i % colours.size()][1];
  mark = std::to_string(marks[i % marks.size()]);
  dash = dashes[i / colours.size() % dashes.size()];
}

// Hundredths are enough.
std::string place(Spot at) {
  return exact(std::round(100 * at.x) / 100) + ',' + exact(std::round(100 * at.y) / 100);
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

void write_text(std::ostream& script, const std::string& text, Spot at, const std::string& style) {
  if (text.empty()) return;
  script << "set label " << gnuplot_string(text) << " at " << place(at) << " front noenhanced "
         << style << '\n';
}

double write_title(std::ostream& script, const Picture& picture, double height) {
  constexpr double largest = 17, smallest = 10, fits_at_largest = 92;
  const auto width = static_cast<double>(std::max<std::size_t>(text_width(picture.title), 1));
  const double size = std::clamp(largest * fits_at_largest / width, smallest, largest);
  write_text(script, picture.title, {canvas_width / 2, height - 24},
             "center font '," + exact(size) + "'");
  return height - (picture.title.empty() ? 16 : 48);
}

double left_of(const Picture& picture, const Axis& up) {
  double widest = 0;
  for (const auto& tic : up.tics(tics_up)) widest = std::max(widest, pixel_width(tic.second));
  return (picture.y_label.empty() ? 24 : 48) + widest;
}

void write_canvas(std::ostream& script, const Area& area, double height) {
  script << "set lmargin at screen " << exact(area.left / canvas_width)
         << "\nset rmargin at screen " << exact(area.right / canvas_width)
         << "\nset bmargin at screen " << exact(area.bottom / height) << "\nset tmargin at screen "
         << exact(area.top / height) << "\nset xrange [" << exact(area.left) << ':'
         << exact(area.right) << "]\nset yrange [" << exact(area.bottom) << ':' << exact(area.top)
         << "]\n";
}

void write_axis(std::ostream& script, const Area& area, char name, const Axis& axis,
                const std::vector<Tic>& tics) {
  const bool across = name == 'x';
  // What is not to the full scale is shaded.
  const auto shade = [&](double from, double to) {
    const Spot low = across ? Spot{from, area.bottom} : Spot{area.left, from};
    const Spot high = across ? Spot{to, area.top} : Spot{area.right, to};
    if (from == to) return;
    script << "set object rectangle from " << place(low) << " to " << place(high)
           << " behind fs solid noborder fc rgb '#ececec'\n";
  };
  shade(across ? area.left : area.bottom, axis.from());
  shade(axis.seam(), across ? area.right : area.top);
  const char* between = " (";
  script << "set " << name << "tics noenhanced";
  for (const auto& [at, label] : tics) {
    script << between << gnuplot_string(label) << ' ' << exact(at);
    between = ", ";
  }
  script << ")\n";
}

}  // namespace argtape_examples
