#include "models/data/table.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <utility>

#include "engine/require.hpp"
#include "models/data/number_table.hpp"
#include "models/data/source.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

Dataset labelled(const std::string& path, const LabelColumn& label) {
  const NumberTable table =
      read_number_table(path, "a CSV, .npy or .npz file of numbers and labels", &label);
  const bool numbers = std::all_of(table.labels.begin(), table.labels.end(),
                                   [](const std::string& l) { return parse_number(l).reads; });
  const auto key = [&](const std::string& l) { return std::pair{numbers ? number_in(l) : 0.0, l}; };
  std::map<std::pair<double, std::string>, std::size_t> classes;
  for (const std::string& l : table.labels) classes[key(l)] = 0;
  Dataset data;
  data.name = std::filesystem::path(path).filename().string();
  for (auto& [which, index] : classes) {
    index = data.class_names.size();
    data.class_names.push_back(which.second);
  }
  for (const std::string& l : table.labels) data.labels.push_back(classes[key(l)]);
  data.images = numbers_of(table, path, "row");
  data.height = 1;
  data.width = table.dimensions;
  data.classes = classes.size();
  return data;
}

}  // namespace

Dataset read_table(const std::string& path, const std::string& label) {
  require(!label.empty(), "read_table: the label's name is empty; need a column's name or place");
  return labelled(path, {label, 0});
}

Dataset read_table(const std::string& path, int label) { return labelled(path, {"", label}); }

Tensor Standardiser::operator()(const Tensor& x) const {
  const std::size_t d = mean.size();
  require(x.dimension() == 2 && x.shape()[1] == d, "Standardiser: x is ", x.shape(), "; need (n, ",
          d, ")");
  Tensor y = x;
  for (std::size_t i = 0; i < y.size(); ++i)
    y.data()[i] = (y.data()[i] - mean.data()[i % d]) / deviation.data()[i % d];
  return y;
}

Standardiser standardise(Split& data) {
  const Tensor& x = data.train.images;
  require(x.dimension() == 2 && x.size() > 0, "standardise: the training rows are ", x.shape(),
          "; need (n, d)");
  const std::size_t n = x.shape()[0], d = x.shape()[1];
  Standardiser by{zeros({d}), zeros({d})};
  for (std::size_t j = 0; j < d; ++j) {
    const auto at = [&](std::size_t i) { return static_cast<double>(x.data()[i * d + j]); };
    double mean = 0, squares = 0, furthest = 0;
    for (std::size_t i = 0; i < n; ++i) mean += at(i) / static_cast<double>(n);
    for (std::size_t i = 0; i < n; ++i) {
      squares += std::pow(at(i) - mean, 2);
      furthest = std::max(furthest, std::abs(at(i) - at(0)));
    }
    by.mean.data()[j] = static_cast<Scalar>(mean);
    const auto deviation = static_cast<Scalar>(std::sqrt(squares / static_cast<double>(n)));
    by.deviation.data()[j] = furthest == 0 || deviation == 0 ? 1 : deviation;
  }
  Dataset* const parts[] = {&data.train, &data.validation, &data.test};
  Tensor images[3];  // of all parts, before any is changed
  for (std::size_t i = 0; i < 3; ++i)
    if (parts[i]->size() > 0) images[i] = by(parts[i]->images);
  for (std::size_t i = 0; i < 3; ++i)
    if (parts[i]->size() > 0) parts[i]->images = std::move(images[i]);
  return by;
}

ARGTAPE_END
