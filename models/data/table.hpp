// Any labelled table as a Dataset.
#pragma once

#include <string>

#include "data.hpp"

ARGTAPE_PUBLIC_BEGIN

/// The rows of a CSV, .npy or .npz file, plain or gzipped, as read_points() (points.hpp) reads
/// them, whose column `label` holds the labels: whole numbers, or in CSV words too. The classes are
/// the different labels in order, of numbers if all are, else of the alphabet; class_names has
/// them. The other columns, d numbers a row, are the `images`, of height 1 and width d, as they
/// stand. The name is that of the file.
///
/// The label is a column's name, which a CSV file has in its header, or its place, a negative one
/// counted from the last. In an .npz file it is the name of an array (n,), and all others, of n
/// rows each, are put side by side.
///
/// Throws std::runtime_error as read_points() does, and if there is no such column, for missing
/// labels and for those that are no whole numbers.
Dataset read_table(const std::string& path, const std::string& label);
Dataset read_table(const std::string& path, int label = -1);

/// (x - mean) / deviation, column by column.
struct Standardiser {
  Tensor mean, deviation;  ///< (d,) each

  /// Throws std::invalid_argument unless x is (n, d).
  Tensor operator()(const Tensor& x) const;
  template <class A>
  void archive(A& a) {
    a("mean", mean);
    a("deviation", deviation);
  }
};

/// That of the training rows alone, applied to all parts; a column that is constant there, or whose
/// deviation is 0 as a Scalar, has deviation 1. If it throws, no part is changed.
Standardiser standardise(Split& data);

ARGTAPE_END
