// The ops of the menu, each beside its definition, but for those of tests/menu.hpp, which work
// number by number. A file each, named alike.
#pragma once

#include <vector>

#include "tests/properties/settings.hpp"

namespace plain {
using Table = std::vector<Defined>;
}  // namespace plain

extern const plain::Table kReductions, kLines;
extern const plain::Table kMoves;
extern const plain::Table kRowByRow;
extern const plain::Table kProducts, kWindows;
extern const plain::Table kDistributions;
extern const plain::Table kChoices;
extern const plain::Table kBranches, kFormulas;

// What each table says.
using Vars = std::vector<argtape::Var>;
using Tensors = std::vector<argtape::Tensor>;
using Indices = std::vector<std::size_t>;
using plain::Array, plain::Arrays, plain::Example, plain::Line, plain::Number, plain::Row,
    plain::Rows;
using plain::categories, plain::either_way, plain::average, plain::number_by_row,
    plain::of_something;
using plain::probabilities, plain::row_by_row, plain::stretched_rows, plain::tau_words;
using plain::temperature, plain::variance_of, plain::with_axis, plain::without_axis, plain::words;
