// Where names stand beside what they name, without covering it or each other.
#pragma once

#include <string>
#include <vector>

namespace argtape_examples {

// In pixels, from the lower left corner.
struct Spot {
  double x, y;
};

struct Label {
  std::string text, colour;
  std::vector<Spot> anchors;  // what it may stand beside, the best first
  Spot at = {0, 0}, anchor = {0, 0};
  int side = 1;  // 1: to the right of `at`, -1: to the left, 0: around it
};

// How wide a text is drawn, by a guess.
double pixel_width(const std::string& text);

class Labels {
 public:
  // Labels stay in between.
  Labels(Spot low, Spot high) : low_(low), high_(high) {}

  // No label should stand within `reach` of this stroke.
  void avoid(Spot from, Spot to, double reach);

  void place(std::vector<Label>& labels) const;

 private:
  struct Box {
    double left, right, bottom, top;

    bool meets(const Box& other) const;
  };

  static Box box(const Label& label);
  double cost(const Label& label, const std::vector<Box>& others) const;
  Label best(Label label, const std::vector<Box>& others) const;

  Spot low_, high_;
  std::vector<Box> taken_;
};

// One below the other at x, each as near to its anchor's height as the others let it.
void place_in_column(std::vector<Label>& labels, double x, double bottom, double top);

}  // namespace argtape_examples
