#include <doctest/doctest.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/random.hpp"
#include "engine/tensor.hpp"
#include "models/data/data.hpp"
#include "models/data/table.hpp"
#include "models/training/archive.hpp"
#include "tests/folder.hpp"

using namespace argtape;
namespace fs = std::filesystem;

namespace {

std::string data_dir() {
  const char* dir = std::getenv("ARGTAPE_DATA");
  return dir ? dir : ARGTAPE_DATA_DIR;
}

std::string read_bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string word(unsigned n) {
  std::string s;
  for (unsigned shift : {24U, 16U, 8U, 0U}) s += static_cast<char>((n >> shift) & 0xffU);
  return s;
}

/// An IDX file of images whose bytes count up from 0.
std::string idx_images(unsigned n, unsigned height, unsigned width) {
  std::string s = word(0x803) + word(n) + word(height) + word(width);
  for (unsigned i = 0; i < n * height * width; ++i) s += static_cast<char>(i & 0xffU);
  return s;
}

std::string idx_labels(const std::vector<int>& labels) {
  std::string s = word(0x801) + word(static_cast<unsigned>(labels.size()));
  for (int label : labels) s += static_cast<char>(label);
  return s;
}

/// A line of digits.csv with one of its 65 cells replaced.
std::string csv_line(std::size_t column = 65, const std::string& cell = "7") {
  std::string s;
  for (std::size_t i = 1; i <= 65; ++i)
    s += (i == column ? cell : i == 65 ? "7" : std::to_string(i % 17)) + (i < 65 ? "," : "\n");
  return s;
}

std::vector<std::size_t> counts(const Dataset& data) {
  std::vector<std::size_t> n(data.classes);
  for (std::size_t label : data.labels) ++n.at(label);
  return n;
}

}  // namespace

TEST_CASE("data: the embedded digits are read right") {
  const Dataset data = load_digits(data_dir());
  CHECK(data.name == "data");  // the folder's
  CHECK(data.train_size == 0);
  CHECK(data.size() == 1797);
  CHECK(str(data.images.shape()) == "(1797, 64)");
  CHECK(data.height == 8);
  CHECK(data.width == 8);
  CHECK(data.classes == 10);
  CHECK(*std::min_element(data.images.begin(), data.images.end()) == 0);
  CHECK(*std::max_element(data.images.begin(), data.images.end()) == 1);
  CHECK(counts(data) == std::vector<std::size_t>{178, 182, 177, 183, 181, 182, 181, 179, 174, 180});

  // All values are sixteenths, so their sum is exact in double.
  double sum = 0;
  for (Scalar v : data.images) sum += static_cast<double>(v);
  CHECK(sum == 561718.0 / 16);

  const std::vector<double> row_1000 = {0, 0, 1,  14, 2,  0,  0, 0, 0, 0, 0, 16, 5,  0,  0,  0,
                                        0, 0, 0,  14, 10, 0,  0, 0, 0, 0, 0, 11, 16, 1,  0,  0,
                                        0, 0, 0,  3,  14, 6,  0, 0, 0, 0, 0, 0,  8,  12, 0,  0,
                                        0, 0, 10, 14, 13, 16, 8, 3, 0, 0, 2, 11, 12, 15, 16, 15};
  for (std::size_t i = 0; i < 64; ++i)
    CHECK(data.images(1000, i) == static_cast<Scalar>(row_1000[i] / 16));
  CHECK(data.labels[1000] == 1);
}

TEST_CASE("data: the embedded digits split into 1,437 and 360") {
  const Dataset data = load_digits(data_dir());
  CHECK(default_train_size(data) == 1437);
  const Split parts = split(data, default_train_size(data));
  CHECK(counts(parts.train) ==
        std::vector<std::size_t>{143, 146, 142, 146, 144, 145, 144, 143, 141, 143});
  CHECK(counts(parts.test) == std::vector<std::size_t>{35, 36, 35, 37, 37, 37, 37, 36, 33, 37});
  CHECK(std::equal(parts.train.images.begin(), parts.train.images.end(), data.images.begin()));
  CHECK(std::equal(parts.test.images.begin(), parts.test.images.end(),
                   data.images.begin() + 1437 * 64));
}

TEST_CASE("data: a plain CSV file reads as the gzipped one does") {
  const Folder folder;
  const std::string lines = csv_line() + csv_line(3, "16") + csv_line(65, "0");
  const Dataset plain = read_digits_csv(folder.write("plain.csv", lines));
  const Dataset packed = read_digits_csv(folder.write_gz("packed.csv.gz", lines));
  CHECK(plain.labels == std::vector<std::size_t>{7, 7, 0});
  CHECK(plain.images(1, 2) == 1);
  CHECK(identical(plain.images, packed.images));
  CHECK(plain.labels == packed.labels);
}

TEST_CASE("data: a CSV file may have blank lines, spaces, decimals and ConvGeometry line ends") {
  const Folder folder;
  std::string lines = csv_line(1, " 4.0 ") + "\n" + csv_line();
  lines.pop_back();
  lines += "\r\n\r\n";
  const Dataset data = read_digits_csv(folder.write("digits.csv", lines));
  CHECK(data.size() == 2);
  CHECK(data.images(0, 0) == Scalar{0.25});

  lines = csv_line();
  lines.pop_back();
  CHECK(read_digits_csv(folder.write("no_last_newline.csv", lines)).size() == 1);
}

TEST_CASE("data: IDX files, plain and gzipped, are read right") {
  const Folder folder;
  const std::string images = idx_images(5, 7, 11);
  const std::string labels = idx_labels({3, 1, 4, 1, 9});
  const Dataset plain = read_idx(folder.write("i", images), folder.write("l", labels));
  const Dataset packed = read_idx(folder.write_gz("i.gz", images), folder.write_gz("l.gz", labels));

  CHECK(plain.name == fs::path(folder.path()).filename().string());
  CHECK(str(plain.images.shape()) == "(5, 77)");
  CHECK(plain.height == 7);
  CHECK(plain.width == 11);
  CHECK(plain.classes == 10);
  CHECK(plain.labels == std::vector<std::size_t>{3, 1, 4, 1, 9});
  for (std::size_t i = 0; i < 5 * 77; ++i)
    CHECK(plain.images.data()[i] == static_cast<Scalar>(i % 256) / Scalar{255});
  CHECK(identical(plain.images, packed.images));
  CHECK(plain.labels == packed.labels);
}

TEST_CASE("data: IDX files longer than a reading chunk are read right") {
  const Folder folder;
  const Dataset data = read_idx(folder.write_gz("i.gz", idx_images(3, 1000, 500)),
                                folder.write("l", idx_labels({0, 1, 2})));
  CHECK(data.images(2, 499999) == static_cast<Scalar>(1499999 % 256) / Scalar{255});
}

TEST_CASE("data: a folder's files are found, plain or gzipped, train before t10k") {
  const Folder folder;
  folder.write("digits.csv", csv_line());
  const std::string own = fs::path(folder.path()).filename().string();
  CHECK(load_digits(folder.path()).name == own);

  folder.write_gz("t10k-images-idx3-ubyte.gz", idx_images(2, 2, 2));
  folder.write("t10k-labels-idx1-ubyte", idx_labels({8, 9}));
  CHECK(load_digits(folder.path()).labels == std::vector<std::size_t>{8, 9});
  CHECK(load_digits(folder.path()).train_size == 0);

  folder.write("train-images-idx3-ubyte", idx_images(3, 2, 2));
  folder.write_gz("train-labels-idx1-ubyte.gz", idx_labels({0, 1, 2}));
  const Dataset both = load_digits(folder.path());
  CHECK(both.name == own);
  CHECK(load_digits(folder.path() + "/.").name == own);
  CHECK(load_digits(folder.path() + "//").name == own);
  CHECK(both.labels == std::vector<std::size_t>{0, 1, 2, 8, 9});
  // Where the files say what is for training, that is the split: three and two, not four and one.
  CHECK(both.train_size == 3);
  CHECK(default_train_size(both) == 3);
  CHECK(split(both, default_train_size(both)).test.labels == std::vector<std::size_t>{8, 9});
  CHECK(default_train_size(take(both, {0, 1, 2, 3, 4})) == 4);  // of any other rows nobody says it
  CHECK(str(both.images.shape()) == "(5, 4)");
  CHECK(both.images(2, 3) == Scalar{11} / Scalar{255});
  CHECK(both.images(3, 0) == 0);
  CHECK(both.images(4, 3) == Scalar{7} / Scalar{255});
}

TEST_CASE("data: take and split") {
  const Dataset data{"toy", tensor({3, 2}, {0, 1, 2, 3, 4, 5}), {5, 6, 7}, 1, 2, 10};
  const Dataset taken = take(data, {2, 0, 2});
  CHECK(taken.name == "toy");
  CHECK(identical(taken.images, tensor({3, 2}, {4, 5, 0, 1, 4, 5})));
  CHECK(taken.labels == std::vector<std::size_t>{7, 5, 7});
  CHECK(taken.height == 1);
  CHECK(taken.width == 2);
  CHECK(taken.classes == 10);
  CHECK(take(data, {}).size() == 0);
  CHECK(rows_from(data, 1, 1).labels == std::vector<std::size_t>{6});
  CHECK(rows_from(data, 1, ~std::size_t(0)).labels == std::vector<std::size_t>{6, 7});
  CHECK(rows_from(data, 4, 2).size() == 0);

  const Split parts = split(data, 1);
  CHECK(identical(parts.train.images, tensor({1, 2}, {0, 1})));
  CHECK(parts.test.labels == std::vector<std::size_t>{6, 7});

  Dataset mnist = data;
  mnist.labels.resize(10000);
  CHECK(default_train_size(mnist) == 8000);
}

TEST_CASE("data: batches deal out each row at most once, shuffled, full batches only") {
  Rng rng(1);
  const Batches batches(103, 10, rng);
  CHECK(batches.size() == 10);
  std::vector<std::size_t> seen;
  for (const std::vector<std::size_t>& rows : batches) {
    CHECK(rows.size() == 10);
    seen.insert(seen.end(), rows.begin(), rows.end());
  }
  CHECK(seen.size() == 100);
  CHECK_FALSE(std::is_sorted(seen.begin(), seen.end()));
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
  CHECK(seen.back() < 103);
}

TEST_CASE("data: batches follow the seed and differ between epochs") {
  Rng a(7);
  Rng b(7);
  const Batches first(50, 50, a);
  const Batches second(50, 50, a);
  CHECK(*first.begin() == *Batches(50, 50, b).begin());
  CHECK(*first.begin() != *second.begin());
}

TEST_CASE("data: wrong calls are refused") {
  const Dataset data{"toy", zeros({3, 2}), {0, 1, 2}, 1, 2, 10};
  CHECK_THROWS_WITH_AS(take(data, {0, 3}), "data: row 3 of 3 rows; need rows below 3",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      split(data, 0),
      "data: train_size 0 of 3 rows; need at least 1 row to train on and 1 to test with",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      split(data, 3),
      "data: train_size 3 of 3 rows; need at least 1 row to train on and 1 to test with",
      std::invalid_argument);
  Rng rng(1);
  CHECK_THROWS_WITH_AS(
      Batches(3, 0, rng),
      "data: batch_size 0 for 3 rows; need at least 1, and at most as many as there are",
      std::invalid_argument);
  CHECK_THROWS_WITH_AS(
      Batches(3, 4, rng),
      "data: batch_size 4 for 3 rows; need at least 1, and at most as many as there are",
      std::invalid_argument);
}

TEST_CASE("data: what is wrong with a folder is said") {
  const Folder folder;
  const std::string need = "; need a folder with MNIST's IDX files or digits.csv, plain or .gz";
  const auto refused = [](const std::string& path, const std::string& message) {
    CHECK_THROWS_WITH_AS(load_digits(path), message.c_str(), std::runtime_error);
  };
  refused(folder / "none", "data: there is no folder " + (folder / "none") + need);
  refused("", "data: there is no folder " + need);
  refused(folder.path(), "data: " + folder.path() + " holds no digits" + need);
  const std::string file = folder.write("file", "x");
  refused(file, "data: " + file + " is not a folder" + need);

  folder.write("t10k-images-idx3-ubyte", idx_images(2, 2, 2));
  refused(folder.path(), "data: " + folder.path() + " holds t10k-images-idx3-ubyte; need " +
                             "t10k-labels-idx1-ubyte beside it, plain or .gz");
  folder.write("t10k-labels-idx1-ubyte", idx_labels({0, 1}));
  folder.write("train-labels-idx1-ubyte", idx_labels({0, 1}));
  refused(folder.path(), "data: " + folder.path() + " holds train-labels-idx1-ubyte; need " +
                             "train-images-idx3-ubyte beside it, plain or .gz");
  folder.write("train-images-idx3-ubyte", idx_images(2, 3, 2));
  refused(folder.path(), "data: " + folder.path() +
                             " holds images of 3 x 2 in train and of 2 x 2 in t10k; need one size");
}

TEST_CASE("data: what is wrong with a CSV file is said") {
  const Folder folder;
  const auto refused = [&](const std::string& bytes, const std::string& message) {
    const std::string path = folder.write("bad.csv", bytes);
    CHECK_THROWS_WITH_AS(read_digits_csv(path), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };
  const std::string a_line = "a CSV file of 64 pixels and a label a line";
  CHECK_THROWS_WITH_AS(read_digits_csv(folder / "none"),
                       ("data: there is no file " + (folder / "none") + "; need " + a_line).c_str(),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read_digits_csv(folder.path()),
                       ("data: " + folder.path() + " is a folder; need " + a_line).c_str(),
                       std::runtime_error);

  refused("", " is empty; need 64 pixels and a label a line");
  refused("\n\r\n", " is empty; need 64 pixels and a label a line");
  refused(csv_line() + "1,2,3\n", ", line 2 has 3 cells; need 64 pixels and a label");
  refused(csv_line() + "\n" + csv_line(1, "0,0"),
          ", line 3 has 66 cells; need 64 pixels and a label");
  refused("hello", ", line 1 has 1 cell; need 64 pixels and a label");
  refused(std::string(5000, '1'), ", line 1 has more than 4096 characters; need " + a_line);

  const auto pixel = [&](const std::string& cell, const std::string& shown) {
    refused(csv_line() + csv_line(2, cell),
            ", line 2, column 2 is '" + shown + "'; need a number from 0 to 16");
  };
  pixel("ink", "ink");
  pixel("", "");
  pixel("  ", "  ");
  pixel("17", "17");
  pixel("16.01", "16.01");
  pixel("-1", "-1");
  pixel("nan", "nan");
  pixel("NaN", "NaN");
  pixel("inf", "inf");
  pixel("1e999", "1e999");
  pixel("0x10", "0x10");
  pixel("3 4", "3 4");
  pixel(std::string("3\0", 2), "3?");
  pixel("a text that is far too long to show", "a text that is far t...");

  const auto label = [&](const std::string& cell) {
    refused(csv_line(65, cell), ", line 1, column 65 is '" + cell + "'; need a label from 0 to 9");
  };
  label("10");
  label("-1");
  label("2.5");
  label("nan");
  label("seven");
  label("");
}

TEST_CASE("data: a gzipped CSV file that is damaged is refused") {
  const Folder folder;
  std::string lines;
  for (std::size_t i = 0; i < 200; ++i) lines += csv_line(1 + i % 64, std::to_string(i % 16));
  const std::string whole = read_bytes(folder.write_gz("whole.csv.gz", lines));

  // How many rows come out before the break is for zlib to say; that the count is there is for us.
  const std::string half = folder.write("half.csv.gz", whole.substr(0, whole.size() / 2));
  try {
    read_digits_csv(half);
    FAIL("a truncated file was read");
  } catch (const std::runtime_error& e) {
    const std::string message = e.what();
    const std::string before = "data: " + half + " breaks off after ";
    const std::string after = " rows; need an intact file";
    REQUIRE(message.size() > before.size() + after.size());
    CHECK(message.substr(0, before.size()) == before);
    CHECK(message.substr(message.size() - after.size()) == after);
    const int rows = std::stoi(message.substr(before.size()));
    CHECK(rows > 0);
    CHECK(rows < 200);
  }

  const std::string no_sum = folder.write("no_sum.csv.gz", whole.substr(0, whole.size() - 8));
  CHECK_THROWS_WITH_AS(
      read_digits_csv(no_sum),
      ("data: " + no_sum + " breaks off after 200 rows; need an intact file").c_str(),
      std::runtime_error);

  std::string flipped = whole;
  flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);
  const std::string bad_sum = folder.write("bad_sum.csv.gz", flipped);
  CHECK_THROWS_WITH_AS(
      read_digits_csv(bad_sum),
      ("data: " + bad_sum + " cannot be read (incorrect data check); need an intact file").c_str(),
      std::runtime_error);
}

TEST_CASE("data: what is wrong with IDX files is said") {
  const Folder folder;
  const std::string good_images = folder.write("images", idx_images(2, 3, 4));
  const std::string good_labels = folder.write("labels", idx_labels({0, 1}));
  const auto images_refused = [&](const std::string& bytes, const std::string& message) {
    const std::string path = folder.write("bad", bytes);
    CHECK_THROWS_WITH_AS(read_idx(path, good_labels), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };
  const auto labels_refused = [&](const std::string& bytes, const std::string& message) {
    const std::string path = folder.write("bad", bytes);
    CHECK_THROWS_WITH_AS(read_idx(good_images, path), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };

  const std::string none = folder / "none";
  CHECK_THROWS_WITH_AS(read_idx(none, good_labels),
                       ("data: there is no file " + none + "; need an IDX file of images").c_str(),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read_idx(good_images, none),
                       ("data: there is no file " + none + "; need an IDX file of labels").c_str(),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read_idx(good_labels, good_images),
                       ("data: " + good_labels +
                        " has the magic number 0x00000801; need 0x00000803, an IDX file of images")
                           .c_str(),
                       std::runtime_error);

  images_refused("", " is empty; need an IDX file of images");
  labels_refused("", " is empty; need an IDX file of labels");
  images_refused("abcd",
                 " has the magic number 0x61626364; need 0x00000803, an IDX file of images");
  labels_refused("abcd",
                 " has the magic number 0x61626364; need 0x00000801, an IDX file of labels");
  images_refused(word(0x803) + "abc", " ends after 7 bytes; need a header of 16");
  labels_refused(word(0x801), " ends after 4 bytes; need a header of 8");
  images_refused("a", " ends after 1 bytes; need a header of 16");

  const std::string limits = "; need at least 1 on each axis, and at most 65535 pixels a side";
  images_refused(idx_images(0, 3, 4), " promises 0 x 3 x 4 images" + limits);
  images_refused(idx_images(2, 0, 4), " promises 2 x 0 x 4 images" + limits);
  images_refused(idx_images(2, 3, 0), " promises 2 x 3 x 0 images" + limits);
  labels_refused(idx_labels({}), " promises 0 labels; need at least 1 on each axis");

  // Headers that promise more than any machine has.
  images_refused(word(0x803) + word(0xffffffff) + word(0xffffffff) + word(0xffffffff),
                 " promises 4294967295 x 4294967295 x 4294967295 images" + limits);
  images_refused(word(0x803) + word(0xffffffff) + word(0xffff) + word(0xffff) + "abc",
                 " ends after 19 bytes; need 18446181123756261391, as its header promises "
                 "4294967295 x 65535 x 65535 images");
  labels_refused(word(0x801) + word(0xffffffff),
                 " ends after 8 bytes; need 4294967303, as its header promises 4294967295 labels");

  images_refused(idx_images(2, 3, 4).substr(0, 30),
                 " ends after 30 bytes; need 40, as its header promises 2 x 3 x 4 images");
  labels_refused(idx_labels({1, 2}).substr(0, 9),
                 " ends after 9 bytes; need 10, as its header promises 2 labels");
  images_refused(idx_images(2, 3, 4) + "x",
                 " goes on after the 40 bytes its header promises; need nothing there");
  labels_refused(idx_labels({1, 2}) + "x",
                 " goes on after the 10 bytes its header promises; need nothing there");
  labels_refused(idx_labels({1, 10}), ", label 2 is 10; need a label from 0 to 9");
  labels_refused(idx_labels({255, 1}), ", label 1 is 255; need a label from 0 to 9");

  const std::string three = folder.write("three", idx_labels({0, 1, 2}));
  CHECK_THROWS_WITH_AS(read_idx(good_images, three),
                       ("data: " + good_images + " holds 2 images, " + three +
                        " 3 labels; need a label for each image")
                           .c_str(),
                       std::runtime_error);
}

TEST_CASE("data: a gzipped IDX file that is damaged is refused") {
  const Folder folder;
  const std::string labels = folder.write("labels", idx_labels({0, 1}));
  const std::string whole = read_bytes(folder.write_gz("whole.gz", idx_images(2, 3, 4)));
  const auto refused = [&](const std::string& bytes, const std::string& message) {
    const std::string path = folder.write("bad.gz", bytes);
    CHECK_THROWS_WITH_AS(read_idx(path, labels), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };
  refused(whole.substr(0, 10), " ends after 0 bytes; need a header of 16");
  refused(whole.substr(0, whole.size() - 4),
          " breaks off before its checksum; need an intact file");
  std::string flipped = whole;
  flipped[flipped.size() - 6] = static_cast<char>(flipped[flipped.size() - 6] ^ 1);
  refused(flipped, " cannot be read (incorrect data check); need an intact file");
}

namespace {

constexpr char kIris[] =
    "length,width,kind\n5.1,3.5,\"setosa\"\n7.0,3.2, versicolor\n6.3,3.3,virginica\n"
    "4.9,3,setosa\n";

// An .npy file of numbers in double.
std::string npy(const std::string& shape, const std::vector<double>& numbers,
                const std::string& type = "<f8") {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }\n";
  return std::string("\x93NUMPY\x01\0", 8) + static_cast<char>(header.size()) + '\0' + header +
         std::string(reinterpret_cast<const char*>(numbers.data()), numbers.size() * 8);
}

}  // namespace

TEST_CASE("data: a labelled table in CSV, .npy and .npz") {
  const Folder folder;
  for (const Dataset& data : {read_table(folder.write("iris.csv", kIris)),
                              read_table(folder.write_gz("iris.csv", kIris), "kind")}) {
    CHECK(data.name == "iris.csv");
    CHECK(data.class_names == std::vector<std::string>{"setosa", "versicolor", "virginica"});
    CHECK(data.classes == 3);
    CHECK(data.labels == std::vector<std::size_t>{0, 1, 2, 0});
    CHECK(identical(data.images, tensor({4, 2}, {5.1, 3.5, 7, 3.2, 6.3, 3.3, 4.9, 3})));
    CHECK(data.height == 1);
    CHECK(data.width == 2);
    CHECK(take(data, {2}).class_names == data.class_names);
  }
}

TEST_CASE("data: labels that are numbers, of a file's own kind") {
  const Folder folder;
  const auto same = [](const Dataset& data) {
    CHECK(data.class_names == std::vector<std::string>{"-1", "9", "10"});
    CHECK(data.labels == std::vector<std::size_t>{2, 1, 0, 1});
    CHECK(identical(data.images, tensor({4, 2}, {1.5, 1, 2.5, 2, 3.5, 3, 4.5, 4})));
  };
  same(read_table(folder.write("n.csv", "10;1.5;1\n9.0;2.5;2\n-1;3.5;3\n+9;4.5;4\n"), 0));
  same(read_table(
      folder.write("n.npy", npy("(4, 3)", {10, 1.5, 1, 9, 2.5, 2, -1, 3.5, 3, 9, 4.5, 4})), -3));
  const std::string path = folder / "n.npz";
  std::map<std::string, Tensor> arrays = {{"x", tensor({4, 1}, {1.5, 2.5, 3.5, 4.5})},
                                          {"y", tensor({4}, {10, 9, -1, 9})},
                                          {"z", tensor({4}, {1, 2, 3, 4})}};
  save(path, arrays);
  same(read_table(path, "y"));
  // What it is its bytes say, whatever it is called.
  for (const char* name : {"n.npz.gz", "n.NPZ", "n"}) {
    same(read_table(folder.write(name, contents(path)), "y"));
    same(read_table(folder.write_gz(name, contents(path)), "y"));
  }
  same(read_table(folder.write("csv.npz", "y,x,z\n10,1.5,1\n9,2.5,2\n-1,3.5,3\n9,4.5,4\n"), "y"));
  same(read_table(folder.write("P.csv", "P,x,K\n10,1.5,1\n9,2.5,2\n-1,3.5,3\n9,4.5,4\n"), "P"));

  const auto refused = [&](auto read, const std::string& words) {
    CHECK_THROWS_WITH_AS(read(), doctest::Contains(words.c_str()), std::runtime_error);
  };
  const auto csv = [&](const std::string& text, auto label) {
    return [&folder, text, label] { read_table(folder.write("bad.csv", text), label); };
  };
  refused(csv(kIris, "sort"),
          "bad.csv has the columns length,width,kind; need a column 'sort' for the labels, and");
  refused(csv("a\r\x1b[1mb,c\n1,2\n", "y"), "bad.csv has the columns a??[1mb,c; need");
  refused(csv("1,2\n3,4\n", "kind"), "bad.csv has no header; need a column 'kind' for the labels");
  refused(csv("1,2\n3,4\n", 2), "bad.csv, line 1 has 2 columns; need column 2 for the labels");
  refused(csv("1\n3\n", -1), "line 1 has 1 column; need column -1 for the labels, and others");
  refused(csv("1,a\n3,\n", -1), "bad.csv, line 2, column 2 is ''; need a label");
  refused(csv("1,a\n3,NA\n", -1), "bad.csv, line 2, column 2 is 'NA'; need a label");
  refused(csv("1,2\n3,0.5\n", -1),
          "bad.csv, line 2, column 2 is 0.5; need a whole number or a word for a label");
  refused(csv("1,2\n3,nan\n", -1), "bad.csv, line 2, column 2 is 'nan'; need a finite number");
  refused(csv("a,1\nb,2\n", -1), "bad.csv, line 1, column 1 is 'a'; need a number");
  refused([&] { read_table(path, "w"); }, "n.npz has no labels 'w'; need an array of that name");
  refused([&] { read_table(path, 0); }, "n.npz has no labels 0; need an array of that name");
  refused([&] { read_table(folder / "n.npy", "y"); },
          "n.npy has no names of columns; need the labels' column as a number");
  arrays["x"] = zeros({3, 1});
  save(path, arrays);
  refused([&] { read_table(path, "y"); }, "'x' has the shape (3, 1); need 4 rows, one for each");
  folder.write("n.npy", npy("(1, 2)", {1, 2}, "<U2"));
  refused([&] { read_table(folder / "n.npy"); },
          "n.npy holds texts, the type '<U2'; need float16, float32, float64, integers or bool, "
          "such as np.unique(x, return_inverse=True)[1] makes of texts");
  // The shape is a tuple of Python's.
  for (const char* shape : {"(1 2,)", "(12)", "(,)", "(3,,4)", "(3, 4 ,x)", "(,3)"}) {
    folder.write("n.npy", npy(shape, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
    refused([&] { read_table(folder / "n.npy"); }, "n.npy has a damaged NumPy header");
  }
  for (const char* shape : {"(3, 4)", "(3,4,)", "( 3 , 4 )"}) {
    folder.write("n.npy", npy(shape, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}));
    CHECK(read_table(folder / "n.npy").size() == 3);
  }
  folder.write("n.npz", "PK\3\4");
  refused([&] { read_table(path, "y"); }, "n.npz cannot be read: it is torn");
  arrays["x"] = zeros({4, 1});
  save(path, arrays);
  const std::string packed = contents(folder.write_gz("n.npz.gz", contents(path)));
  folder.write("n.npz.gz", packed.substr(0, packed.size() - 4));
  refused([&] { read_table(folder / "n.npz.gz", "y"); },
          "n.npz.gz breaks off before its checksum; need an intact file");
  folder.write("n.npz.gz", packed + "garbage!");
  refused([&] { read_table(folder / "n.npz.gz", "y"); },
          "n.npz.gz cannot be read (incorrect header check); need an intact file");
  folder.write("n.npy", npy("(0, 99999999999999)", {}));
  refused([&] { read_table(folder / "n.npy"); }, "n.npy has the shape (0, 99999999999999), more");
}

TEST_CASE("data: a random split has every row once, and is standardised by the training rows") {
  Dataset data;
  data.images = Rng(1).normal({103, 3});
  data.width = 3;
  data.height = 1;
  data.classes = 103;
  for (std::size_t i = 0; i < 103; ++i) {
    data.labels.push_back(i);
    data.images(i, 0) = 5;
    data.images(i, 1) = static_cast<Scalar>(1000 + i);
  }
  Rng rng(2), again(2);
  Split parts = split(data, 0.1, 0.25, rng);
  CHECK(split(data, 0.1, 0.25, again).train.labels == parts.train.labels);
  CHECK(parts.validation.size() == 10);
  CHECK(parts.test.size() == 25);
  CHECK(parts.train.size() == 68);
  std::vector<std::size_t> rows;
  for (const Dataset* part : {&parts.train, &parts.validation, &parts.test})
    for (std::size_t i = 0; i < part->size(); ++i) {
      CHECK(part->images(i, 1) == static_cast<Scalar>(1000 + part->labels[i]));
      rows.push_back(part->labels[i]);
    }
  std::sort(rows.begin(), rows.end());
  CHECK(rows == data.labels);

  const Split before = parts;
  const Standardiser by = standardise(parts);
  for (std::size_t j = 0; j < 3; ++j) {
    double mean = 0, squares = 0;
    for (std::size_t i = 0; i < 68; ++i)
      mean += static_cast<double>(before.train.images(i, j)) / 68;
    for (std::size_t i = 0; i < 68; ++i)
      squares += std::pow(static_cast<double>(before.train.images(i, j)) - mean, 2) / 68;
    const double deviation = j == 0 ? 1 : std::sqrt(squares);  // the first is constant
    for (std::size_t i = 0; i < 10; ++i)
      CHECK(
          static_cast<double>(parts.validation.images(i, j)) ==
          doctest::Approx((static_cast<double>(before.validation.images(i, j)) - mean) / deviation)
              .epsilon(1e-4));
  }
  CHECK(identical(by(before.test.images), parts.test.images));
  CHECK(split(data, 0, 0.5, rng).validation.size() == 0);
  CHECK_THROWS_WITH_AS(split(data, 0.001, 0.5, rng),
                       "data: shares of 0.001 and 0.5 of 103 rows to validate and test with; need "
                       "some row for each, and to train on",
                       std::invalid_argument);
  CHECK_THROWS_AS(split(data, 0.5, 0.5, rng), std::invalid_argument);
  CHECK_THROWS_WITH_AS(by(zeros({2, 2})), "Standardiser: x is (2, 2); need (n, 3)",
                       std::invalid_argument);
}

TEST_CASE(
    "data: a column that differs by less than Scalar can tell is standardised as a constant") {
  Split parts;
  parts.train.images = zeros({200, 2});
  parts.train.labels.assign(200, 0);
  parts.train.images(0, 0) = std::numeric_limits<Scalar>::denorm_min();
  parts.train.images(0, 1) = 200;
  const Standardiser by = standardise(parts);
  CHECK(by.deviation(0) == 1);
  CHECK(by.deviation(1) != 1);
  CHECK(std::all_of(parts.train.images.begin(), parts.train.images.end(),
                    [](Scalar x) { return std::isfinite(x); }));
}
