// Private: tables of numbers in files of several kinds, with or without a column of labels.
#pragma once

#include <string>
#include <vector>

#include "../../engine/tensor.hpp"

ARGTAPE_PRIVATE_BEGIN

/// `size` rows of `dimensions` numbers, in double whatever the library's Scalar.
struct NumberTable {
  std::size_t size = 0, dimensions = 0;
  std::vector<double> numbers;      ///< row by row
  std::vector<std::string> labels;  ///< of the rows, where a column of them was asked for
};

/// Which column holds the labels: the one of that name, or the one at a place, a negative one
/// counted from the last.
struct LabelColumn {
  std::string name;
  int index = 0;
  bool named() const { return !name.empty(); }
  std::string words() const { return named() ? "'" + name + "'" : std::to_string(index); }
};

/// The table in a CSV, .npy or, with a label, .npz file; see read_points() and read_table(). `need`
/// says in errors what it should have been.
NumberTable read_number_table(const std::string& path, const std::string& need,
                              const LabelColumn* label = nullptr);

/// Its numbers as a tensor. Throws std::runtime_error for those that Scalar cannot hold, 0 among
/// them for another number; `row` is what a row is called.
Tensor numbers_of(const NumberTable& table, const std::string& path, const std::string& row);

ARGTAPE_END
