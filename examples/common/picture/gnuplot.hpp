// What gnuplot is told, and running it.
#pragma once

#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

namespace argtape_examples {

constexpr double canvas_width = 900;

// In pixels, from the lower left corner of the canvas.
struct Spot {
  double x, y;
};

// One that is not there interrupts a line.
extern const Spot no_spot;
bool is_there(Spot spot);

// Every text is taken literally.
class Script {
 public:
  Script(double height, bool svg);

  void set(const std::string& command);
  // `power` is a superscript behind it.
  void text(const std::string& text, Spot at, const std::string& style,
            const std::string& power = "");
  void line(Spot from, Spot to, const std::string& style);
  void rectangle(Spot low, Spot high, const std::string& style);

  // What is plotted first lies below.
  void plot(const std::string& rows, const std::string& how);

  std::string str() const { return commands_.str() + plots_ + '\n'; }

 private:
  std::ostringstream commands_;
  std::string plots_;
  int blocks_ = 0;
};

// Rows of a Script's plot.
std::string row(std::initializer_list<double> numbers);
std::string rows_of(const std::vector<Spot>& spots);

// What gnuplot writes to its standard output goes to `output`. Returns "" or what went wrong.
std::string run_gnuplot(const std::string& script, std::string& output);

}  // namespace argtape_examples
