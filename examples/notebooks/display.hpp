// How the library's values are shown in a notebook. What is shown is put together in compiled code,
// in a library of its own, so that a cell has little to compile.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../../models/argtape.hpp"
#include "../common/picture.hpp"

namespace notebook {

/// What is shown of a value: always as text, and where there is more to see as HTML or SVG.
struct Bundle {
  std::string text, html, svg;
};

using argtape_examples::Picture;

/// A name, then numbers, of a Tensor, a Var or one by one; with as many errors, in a second Tensor,
/// they read "0.51 ± 0.02".
struct Row {
  Row(std::string name, argtape::Tensor numbers);
  Row(std::string name, argtape::Tensor numbers, argtape::Tensor errors);
  Row(std::string name, argtape::Var numbers);
  template <class... N, class = std::enable_if_t<(std::is_arithmetic_v<N> && ...)>>
  Row(std::string name, double first, N... others)
      : Row(std::move(name), argtape::Tensor{static_cast<argtape::Scalar>(first),
                                             static_cast<argtape::Scalar>(others)...}) {}
  std::string name;
  argtape::Tensor numbers, errors;
};

/// Rows under headers, of which the first is over the names, as the programs print them ("-" is no
/// number): xcpp::display(notebook::Table({{"x", x}, {"dy/dx", slope}}));
struct Table {
  explicit Table(std::vector<Row> rows, std::vector<std::string> headers = {}, int decimals = -1);
  std::vector<Row> rows;
  std::vector<std::string> headers;
  int decimals;  ///< after the point; less than 0: four digits in all
};

/// A grey image (h, w), or several (n, h, w), light where numbers are small.
Picture image(const argtape::Tensor& pixels, const std::string& title = "");
Picture images(const argtape::Tensor& pixels, const std::vector<std::string>& captions = {},
               const std::string& title = "");

/// How far a loop has come. Its line is shown with the first step, and changes in place, ten times
/// a second at most:
///   notebook::Progress progress("training", 200);
///   train([] { progress.step(); });
class Progress {
 public:
  Progress(std::string label, std::size_t total);
  /// `words`: what else there is to say, such as the loss. (In setup.hpp: the kernel shows it.)
  void step(const std::string& words = "");

 private:
  friend Bundle bundle(const Progress& progress);
  /// One step is done; whether its line should be shown now.
  bool due(const std::string& words);
  std::string label_, words_, id_;
  std::size_t total_, done_ = 0;
  bool shown_ = false;
  std::chrono::steady_clock::time_point start_, last_;
};

// What each type is shown as.
Bundle bundle(const argtape::Tensor& tensor);
Bundle bundle(const argtape::Var& var);
Bundle bundle(const argtape::Tape& tape);
Bundle bundle(const argtape::Gradients& gradients);
Bundle bundle(const argtape::Rule& rule);
Bundle bundle(const std::vector<argtape::Rule>& rules);
Bundle bundle(const argtape::Method& method);
Bundle bundle(const std::vector<argtape::Method>& methods);
Bundle bundle(const argtape::Measure& measure);
Bundle bundle(const std::vector<argtape::Measure>& measures);
Bundle bundle(const argtape::CheckResult& result);
Bundle bundle(const std::vector<argtape::StopLine>& report);
Bundle bundle(const Picture& picture);
Bundle bundle(const Table& table);
Bundle bundle(const Progress& progress);

}  // namespace notebook
