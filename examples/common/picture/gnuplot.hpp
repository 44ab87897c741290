// Running gnuplot on a script.
#pragma once

#include <string>

namespace argtape_examples {

// Text as gnuplot reads it literally.
std::string gnuplot_string(const std::string& text);

// What gnuplot writes to its standard output goes to `output`. Returns "" or what went wrong.
std::string run_gnuplot(const std::string& script, std::string& output);

}  // namespace argtape_examples
