// What the kinds of pictures share, each of which writes a gnuplot script, and what plots are made
// of.
#pragma once

#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "examples/common/picture.hpp"

namespace argtape_examples {

constexpr double canvas_width = 900, plot_height = 600;

// Text as gnuplot reads it literally.
std::string gnuplot_string(const std::string& text);

std::string shortened(std::string text, std::size_t width);

// What gnuplot makes of the script; "", and what went wrong, where it does not.
std::string run_gnuplot(const std::string& script, std::string& problem);

std::string script_for(const Picture& picture);
void write_head(std::ostream& script, const Picture& picture, double height);
void write_plot(std::ostream& script, const Picture& picture);
void write_surface(std::ostream& script, const Picture& picture);
void write_images(std::ostream& script, const Picture& picture);

// Where a value stands on an axis, and what is written beside it.
class Scale {
 public:
  // All of the values are between its ends; there is no margin below the least if it `starts`.
  Scale(const Axis& axis, const std::vector<double>& values, bool starts = false);

  // What gnuplot draws the value at: the value itself where the axis is linear.
  double operator()(double value) const;
  // From 0 at the axis' low end to 1.
  double share(double value) const { return ((*this)(value)-low_) / (high_ - low_); }
  double low() const { return low_; }
  double high() const { return high_; }
  // Logarithmic, as asked for, or as there are values that a linear axis cannot reach.
  bool log() const { return log_; }

  // Round numbers, at least such a share of the axis apart.
  std::vector<double> tics(double apart) const;

 private:
  double value_at(double place) const;
  void fill(double from, double to, double apart, std::vector<double>& tics) const;

  bool log_;
  double origin_, unit_, low_, high_;
};

// In pixels from the plot's lower left corner.
struct Spot {
  double x, y;
};

struct Box {
  double left, right, bottom, top;
};

constexpr double line_height = 17;

// How wide a text is drawn, by a guess.
double pixel_width(const std::string& text);

// Where a name begins beside its mark so that it covers nothing of what is `taken`, which it joins;
// nothing where there is no room.
std::optional<Spot> beside(const std::string& name, const Box& mark, const Box& plot,
                           std::vector<Box>& taken);

// Heights, from the highest down, moved so that no two are nearer than a line.
void spread_out(std::vector<double>& heights, double top);

}  // namespace argtape_examples
