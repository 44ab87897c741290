#include "ops/layer_norm.hpp"

#include <cmath>
#include <stdexcept>
#include <vector>

#include "engine/sweep.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "ops/rows.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {
namespace {

Var centred(Var x) { return x - mean(x, {-1}, true); }
Var scale_of(Var centred, double epsilon) {
  return 1 / sqrt(mean(square(centred), {-1}, true) + epsilon);
}

// Whether v is one row of x, for all of x's rows.
bool one_row(const Shape& v, std::size_t length) {
  return size_of(v) == length && (length == 1 || v[v.size() - 1] == length);
}

// One number for each place of a row, summed over many rows: in double, for a sum of ever more
// floats stops growing, but a block of rows at a time.
class RowSums {
 public:
  explicit RowSums(std::size_t length) : block_(zeros({length})), total_(length, 0) {}
  Scalar* block() { return block_.data(); }
  void row_added() {
    if (++rows_ == 256) empty_block();
  }
  void move_to(Arrival& at, std::size_t input) {
    empty_block();
    const auto [to, fresh] = at.sink(input);
    for (std::size_t i = 0; i < total_.size(); ++i)
      to[i] = (fresh ? 0 : to[i]) + static_cast<Scalar>(total_[i]);
  }

 private:
  void empty_block() {
    for (std::size_t i = 0; i < total_.size(); ++i) {
      total_[i] += static_cast<double>(block_.data()[i]);
      block_.data()[i] = 0;
    }
    rows_ = 0;
  }
  Tensor block_;
  std::vector<double> total_;
  std::size_t rows_ = 0;
};

// For a row n = (x - mean) / deviation, with y = gain n + bias:
// dx = (gain g - <gain g> - n <gain g n>) / deviation, <> being the mean over the row;
// dgain = g n and dbias = g, summed over the rows.
void pass_back(Arrival& at, const Tensor& moments) {
  const Tensor &x = at.in(0).value(), &g = at.numbers();
  const Scalar* gain = at.in(1).value().data();
  const std::size_t length = x.shape()[x.shape().size() - 1], rows = x.size() / length;
  Arrival::Sink sink{nullptr, false};
  if (at.wants(0)) sink = at.sink(0);
  RowSums gains(at.wants(1) ? length : 0), biases(at.wants(2) ? length : 0);
  for (std::size_t r = 0; r < rows; ++r) {
    const Scalar *v = x.data() + r * length, *u = g.data() + r * length;
    const Lane mean(moments.data()[2 * r]), scale(moments.data()[2 * r + 1]);
    const auto normal = [=](Lane v) { return (v - mean) * scale; };
    if (at.wants(1)) {
      map_lanes(
          length, gains.block(), true, [=](Lane v, Lane u) { return normal(v) * u; }, v, u);
      gains.row_added();
    }
    if (at.wants(2)) {
      map_lanes(
          length, biases.block(), true, [](Lane u) { return u; }, u);
      biases.row_added();
    }
    if (!at.wants(0)) continue;
    const auto n = static_cast<double>(length);
    const Lane level(
        static_cast<Scalar>(long_row_sum(
                                length, [](Lane u, Lane k) { return u * k; }, u, gain) /
                            n)),
        slope(static_cast<Scalar>(
            long_row_sum(
                length, [=](Lane v, Lane u, Lane k) { return normal(v) * u * k; }, v, u, gain) /
            n));
    map_lanes(
        length, sink.data + r * length, !sink.fresh,
        [=](Lane v, Lane u, Lane k) { return scale * (u * k - level - normal(v) * slope); }, v, u,
        gain);
  }
  if (at.wants(1)) gains.move_to(at, 1);
  if (at.wants(2)) biases.move_to(at, 2);
}

}  // namespace

Var layer_norm(Var x, Var gain, Var bias, double epsilon) {
  if (!(epsilon > 0))
    throw std::invalid_argument("layer_norm: epsilon is " + str(epsilon) + "; need more than 0");
  if (x.shape().empty() || x.shape()[x.shape().size() - 1] == 0)
    throw std::invalid_argument("layer_norm: x is " + str(x.shape()) +
                                "; need at least one number on the last axis");
  tape_of("layer_norm", {x, gain, bias});
  for (const Var& v : {gain, bias})
    if (!broadcasts_to(v.shape(), x.shape()))
      throw std::invalid_argument("layer_norm: x is " + str(x.shape()) + ", gain is " +
                                  str(gain.shape()) + ", bias is " + str(bias.shape()) +
                                  "; need gain and bias that broadcast to x");
  const std::size_t length = x.shape()[x.shape().size() - 1], rows = x.value().size() / length;
  if (!one_row(gain.shape(), length) || !one_row(bias.shape(), length)) {
    const Var c = centred(x);
    return c * scale_of(c, epsilon) * gain + bias;
  }
  Tensor y = uninitialised(x.shape()), moments = uninitialised({rows, 2});
  for (std::size_t r = 0; r < rows; ++r) {
    const Scalar* v = x.value().data() + r * length;
    const Moments m = row_moments(v, length);
    const Scalar s = 1 / std::sqrt(m.variance + static_cast<Scalar>(epsilon));
    moments.data()[2 * r] = m.mean;
    moments.data()[2 * r + 1] = s;
    const Lane mean(m.mean), scale(s);
    map_lanes(
        length, y.data() + r * length, false,
        [=](Lane v, Lane k, Lane b) { return (v - mean) * scale * k + b; }, v, gain.value().data(),
        bias.value().data());
  }
  return x.tape->record("layer_norm", {x, gain, bias}, std::move(y),
                        [moments = std::move(moments), epsilon](Arrival& at) {
                          if (!at.recorded()) return pass_back(at, moments);
                          const Var g = at.gradient(), c = centred(at.in(0)),
                                    s = scale_of(c, epsilon);
                          const Var n = c * s, u = g * at.in(1);
                          if (at.wants(0))
                            at.give(0, s * (centred(u) - n * mean(u * n, {-1}, true)));
                          if (at.wants(1)) at.give(1, g * n);
                          at.give(2, g);
                        });
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
