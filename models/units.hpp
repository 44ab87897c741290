// A layer of stochastic units: choices among K categories, as a network sees them.
#pragma once

#include <cstddef>

#include "../engine/tape.hpp"

ARGTAPE_PUBLIC_BEGIN

/// `count` choices among `categories` each. A binary unit is a choice among 2 with one number on
/// either side, as the literature's networks count them: its log-odds, the logit of category 1
/// beside 0, and 1 where that category was chosen.
struct Units {
  std::size_t count = 20, categories = 10;

  /// How many numbers of an example the layer takes, and gives.
  std::size_t width() const { return categories == 2 ? count : count * categories; }
  /// A network's output (..., width) as logits (..., count, categories).
  Var logits(Var h) const;
  /// Choices (..., count, categories), hard or soft, as the input (..., width) of what follows.
  Var values(Var choice) const;
};

ARGTAPE_END
