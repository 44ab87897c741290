#include "tests/definition.hpp"

namespace plain {
namespace {

using namespace argtape;
using Limits = std::numeric_limits<Scalar>;

// Errors add up in another order than the definition's, and a few functions are not rounded right.
constexpr long double kSlack = 8;

Array constant_array(const Tensor& t) {
  Array x{t.shape(), {}};
  for (Scalar v : t) x.x.emplace_back(Number({static_cast<long double>(v), 0}, {}));
  return x;
}

std::string in_words(const Example& example, const Tensor& weight) {
  std::string text = example.settings.empty() ? "" : "\n  with " + example.settings;
  for (std::size_t i = 0; i < example.points.size(); ++i)
    text += "\n  x" + std::to_string(i) + " " + str(example.points[i].shape()) + ": " +
            str(example.points[i], 9);
  return text + "\n  arriving " + str(weight.shape()) + ": " + str(weight, 9);
}

// The definition is gone through once for each number that a slope is looked at for: of many, for
// some.
constexpr std::size_t kMostSlopes = 12;

// "", or which number of a gradient for point i of sum(weight y) is not what it is by definition.
std::string wrong_slope(const Example& example, Arrays inputs, std::size_t i, const Tensor& weight,
                        const Tensor& found, const Tensor& recorded, std::size_t first) {
  const std::size_t n = found.size(), step = n / kMostSlopes + 1;
  for (std::size_t k = first % step; k < n; k += step) {
    inputs[i].x[k].d.v = 1;
    const Array y = example.plain(inputs);
    inputs[i].x[k].d.v = 0;
    Rounded total;
    for (std::size_t j = 0; j < y.x.size(); ++j)
      if (const Scalar w = weight.data()[j]; w != 0)
        if (const Rounded d = y.x[j].d; d.v != 0 || d.e != 0) total = total + constant(w) * d;
    for (const Tensor* gradient : {&found, &recorded})
      if (const std::string wrong = apart(gradient->data()[k], total, example.near); !wrong.empty())
        return (gradient == &found ? "gradient for x" : "recorded gradient for x") +
               std::to_string(i) + ": number " + std::to_string(k) + wrong;
  }
  return "";
}

}  // namespace

std::string apart(Scalar number, const Rounded& expected, long double near) {
  const auto found = static_cast<long double>(number);
  if (std::isnan(expected.v) && std::isnan(found)) return "";
  if (found == expected.v || number == static_cast<Scalar>(expected.v)) return "";
  const long double bound = kSlack * (expected.e * Limits::epsilon() + Limits::min()) + near;
  // What is added up may be beyond the range on the way.
  if (std::abs(expected.v) + expected.e > Limits::max() / 4 && !std::isfinite(found)) return "";
  if (!std::isnan(expected.v) && (std::isnan(bound) || std::abs(found - expected.v) <= bound))
    return "";
  return " is " + str(static_cast<double>(found), 17) + ", by definition " +
         str(static_cast<double>(expected.v), 17) + " +- " + str(static_cast<double>(bound), 3);
}

std::string wrong_with(const Example& example, Draws& draws) {
  Tape tape;
  std::vector<Var> x, wanted;
  Arrays inputs;
  std::vector<std::size_t> which;
  for (const Tensor& point : example.points) {
    inputs.push_back(constant_array(point));
    if (draws.rarely()) {
      x.push_back(tape.constant(point));
      continue;
    }
    which.push_back(x.size());
    x.push_back(tape.parameter(point));
    wanted.push_back(x.back());
  }
  const Var y = example.f(x);
  const Array expected = example.plain(inputs);
  const Tensor weight = draws.weights(y.shape());
  const std::size_t first = draws.below(100);
  std::string wrong;
  if (y.shape() != expected.shape)
    wrong = "value: " + str(y.shape()) + ", by definition " + str(expected.shape);
  for (std::size_t k = 0; k < expected.x.size() && wrong.empty(); ++k)
    if (wrong = apart(y.value().data()[k], expected.x[k].v, example.near); !wrong.empty())
      wrong = "value: number " + std::to_string(k) + wrong;
  if (wrong.empty() && !wanted.empty()) {
    const Var w = tape.constant(weight);
    const Gradients found = backward(y, {}, w);
    const std::vector<Var> recorded = differentiate(y, wanted, w);
    for (std::size_t i = 0; i < wanted.size() && wrong.empty(); ++i)
      wrong = wrong_slope(example, inputs, which[i], weight, found[wanted[i]], recorded[i].value(),
                          first);
  }
  return wrong.empty() ? "" : wrong + in_words(example, weight);
}

}  // namespace plain
