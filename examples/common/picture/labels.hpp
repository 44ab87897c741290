// Where names stand beside what they name, without covering it or each other.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "examples/common/picture/gnuplot.hpp"

namespace argtape_examples {

// How wide a text is drawn, by a guess that is seldom too small.
double pixel_width(const std::string& text);

struct Label {
  std::string text;
  std::vector<Spot> anchors;  // what it may stand beside, the best first
  std::string colour;
  int side = 1;  // 1: to the right of `at`, -1: to the left, 0: around it
  Spot at = {0, 0}, anchor = {0, 0};
};

constexpr double line_height = 17;

class Labels {
 public:
  // Labels stay in between; none stands where something was drawn, if it can be helped.
  Labels(Spot low, Spot high);

  // What labels should not cover, within `reach` of the stroke. A greater weight is avoided more.
  void avoid(Spot from, Spot to, double reach, int weight = 4);

  // Beside their anchors. Each takes the best place that the others leave.
  void place(std::vector<Label>& labels);

 private:
  struct Box {
    double left, right, bottom, top;
  };

  static Box box(const Label& label);
  template <class F>
  void cells(const Box& box, F f);
  double cost(const Label& label);
  void move(Label& label);

  Spot low_, high_;
  std::size_t columns_;
  std::vector<int> taken_;
};

// One below the other at x, as near to their anchors' heights as they can.
void place_in_column(std::vector<Label>& labels, double x, double bottom, double top);

}  // namespace argtape_examples
