// The same graphs in both libraries: what each computes, as doubles.
#pragma once

#include <string>
#include <vector>

struct Computed {
  std::string name;  // of the graph, and of what was computed
  std::vector<double> numbers;
};

std::vector<Computed> computed_in_float();
std::vector<Computed> computed_in_double();
