// A tape to look at: as text, as a Graphviz graph, as a picture.
#pragma once

#include <string>

#include "tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// One line a node: "#4 matmul (32, 10) <- #2, #3". A node that passes back a surrogate is marked
/// with ~, one that cuts with x.
std::string to_text(const Tape& tape);
std::ostream& operator<<(std::ostream& out, const Tape& tape);

/// The tape in Graphviz' language, inputs on top. Solid edges carry an exact gradient, dashed
/// orange ones a surrogate, dotted red ones nothing; grey ones lead to values that want none. Nodes
/// that are not exact are boxes with their rule.
std::string to_dot(const Tape& tape);

/// The same as SVG, drawn by Graphviz' `dot`; an empty string where that is not installed.
std::string to_svg(const Tape& tape);

ARGTAPE_END
