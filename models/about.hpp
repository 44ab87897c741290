// What there is to say of each rule and method: its formula, whose it is, what it promises, what it
// takes.
#pragma once

#include <string>

#include "../engine/scalar.hpp"

ARGTAPE_PUBLIC_BEGIN

/// In the formulas l are the logits, p = softmax(l), g Gumbel noise, D the choice, f' the gradient
/// of the cost f at what goes forward, J(q) = diag(q) - q q^T, S Sinkhorn's operator, b a baseline.
struct About {
  const char* name;
  const char* formula;   ///< of what goes back to the logits, in LaTeX
  const char* gradient;  ///< "exact", "biased", "unbiased", or that with what it is unbiased for
  const char* cost;      ///< of one estimate, with default settings
  const char* paper;     ///< authors, year, arXiv number
};

/// Of a rule or method of the library, by its name; for any other, nullptr.
const About* about(const std::string& name);

ARGTAPE_END
