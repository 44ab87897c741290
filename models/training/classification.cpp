#include "models/training/classification.hpp"

#include "engine/require.hpp"

ARGTAPE_PUBLIC_BEGIN
namespace {

void check(const char* op, const std::vector<std::size_t>& predicted,
           const std::vector<std::size_t>& labels) {
  require(!labels.empty() && predicted.size() == labels.size(), op, ": ", predicted.size(),
          " predictions for ", labels.size(), " labels; need one for each, and at least one");
}

}  // namespace

double accuracy(const std::vector<std::size_t>& predicted, const std::vector<std::size_t>& labels) {
  check("accuracy", predicted, labels);
  std::size_t right = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) right += predicted[i] == labels[i];
  return static_cast<double>(right) / static_cast<double>(labels.size());
}

Tensor confusion_matrix(const std::vector<std::size_t>& predicted,
                        const std::vector<std::size_t>& labels, std::size_t classes) {
  check("confusion_matrix", predicted, labels);
  Tensor counts = zeros({classes, classes});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    require(labels[i] < classes && predicted[i] < classes, "confusion_matrix: example ", i,
            " has label ", labels[i], " and was predicted as ", predicted[i], "; need less than ",
            classes);
    ++counts(labels[i], predicted[i]);
  }
  return counts;
}

ARGTAPE_END
