// Labelled data: the digits and how they are read; any data split, and handed out in shuffled
// batches.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "../../engine/random.hpp"
#include "../../engine/tensor.hpp"

ARGTAPE_PUBLIC_BEGIN

/// Labelled grey images, one a row; or rows of any numbers (table.hpp), of height 1.
struct Dataset {
  std::string name;
  Tensor images;                    // (n, height * width), 0 (background) to 1 (ink)
  std::vector<std::size_t> labels;  // n of them, each below `classes`
  std::size_t height = 0;
  std::size_t width = 0;
  std::size_t classes = 0;
  std::size_t train_size = 0;  // rows to train on, where the data's makers say so; 0: they do not
  std::vector<std::string> class_names = {};  // where they have any but their numbers

  std::size_t size() const { return labels.size(); }
};

/// Digits as the UCI's come, from a CSV file, plain or gzipped, without a header line. A line holds
/// the 64 pixels of an 8 x 8 image, 0..16, which are scaled to 0..1, then the label, 0..9. Blank
/// lines are passed over. Their name is that of the file's folder. Throws std::runtime_error if
/// there is no such file, if it is empty or cut short, or if a line has another number of cells or
/// a cell that is not a number in its range.
Dataset read_digits_csv(const std::string& path);

/// A pair of IDX files as MNIST has them, plain or gzipped: n images of height x width bytes, which
/// are scaled from 0..255 to 0..1, and n labels, 0..9. Their name is that of the images' folder.
/// Throws std::runtime_error if a file is
/// missing, empty, of another kind, shorter or longer than its header promises, or if the two do
/// not match. Memory grows with what the files hold, never with what a header promises.
Dataset read_idx(const std::string& images_path, const std::string& labels_path);

/// The digits a folder holds: MNIST's IDX files (train, t10k, or both, train first) if there are
/// any, otherwise digits.csv; each plain or with .gz, the plain one preferred. With both,
/// train_size is the number of train's. Throws std::runtime_error if there is no such folder, if it
/// holds neither, if an IDX file lacks its partner, and whatever the reader of the files throws.
Dataset load_digits(const std::string& folder);

/// The given rows in the given order; a row may be taken more than once. Throws
/// std::invalid_argument if a row is not below data.size().
Dataset take(const Dataset& data, const std::vector<std::size_t>& rows);

/// `count` rows from `begin` on, or as many of them as there are.
Dataset rows_from(const Dataset& data, std::size_t begin, std::size_t count);

/// The images in black and white: 1 where there is more than half of the ink, else 0.
Dataset binarised(Dataset data);
/// The images in black and white, drawn: a pixel is 1 with its grey as the probability, else 0.
Dataset binarised(Dataset data, Rng& rng);

/// data.train_size if it is not 0, such as 60,000 of all of MNIST; else four fifths of the rows,
/// rounded down: 1,437 of the 1,797 UCI digits, 8,000 of MNIST's 10,000 for tests.
std::size_t default_train_size(const Dataset& data);

struct Split {
  Dataset train, test, validation = {};
};

/// The first `train_size` rows to train on and the rest to test with. Throws std::invalid_argument
/// unless both get at least one row.
Split split(const Dataset& data, std::size_t train_size);
/// Rows in random order: the shares given, rounded down, to validate and to test with, the rest to
/// train on. Throws std::invalid_argument unless every part whose share is not 0 gets a row.
Split split(const Dataset& data, double validation, double test, Rng& rng);

/// One epoch: the rows 0..n-1 shuffled and dealt into batches of `batch_size` indices. Rows that do
/// not fill a batch sit this epoch out.
///
///     for (const std::vector<std::size_t>& rows : Batches(train.size(), 32, rng)) ...
class Batches {
 public:
  using const_iterator = std::vector<std::vector<std::size_t>>::const_iterator;

  /// Draws one permutation from `rng`. Throws std::invalid_argument unless batch_size is in 1..n.
  Batches(std::size_t n, std::size_t batch_size, Rng& rng);

  std::size_t size() const { return batches_.size(); }
  const_iterator begin() const { return batches_.begin(); }
  const_iterator end() const { return batches_.end(); }

 private:
  std::vector<std::vector<std::size_t>> batches_;
};

ARGTAPE_END
