#include "ops/kernels/broadcast_loop.hpp"

#include <algorithm>

ARGTAPE_PRIVATE_BEGIN
namespace {

// Rows of `length` numbers, one after the other, from where they stand `step` numbers apart; or of
// as many copies of a number. They are written in whole lanes: what is too much is written over.
void copy_rows(const Scalar* p, std::size_t step, std::size_t rows, std::size_t length,
               Scalar* to) {
  for (; rows > 0; --rows, p += step, to += length) {
    std::size_t i = 0;
    for (; i + kLane <= length; i += kLane) Lane::load_unaligned(p + i).store_unaligned(to + i);
    if (i < length) load_some(p + i, length - i).store_unaligned(to + i);
  }
}
void repeat_rows(const Scalar* p, std::size_t step, std::size_t rows, std::size_t length,
                 Scalar* to) {
  for (; rows > 0; --rows, p += step, to += length)
    for (std::size_t i = 0; i < length; i += kLane) Lane(*p).store_unaligned(to + i);
}

}  // namespace

BroadcastLoop::BroadcastLoop(const Shape& shape, const Source* inputs, std::size_t count)
    : count_(count) {
  const std::size_t rank = shape.size(), size = size_of(shape);
  std::size_t products[kMostInputs];
  for (std::size_t j = 0; j < count; ++j) {
    const std::size_t own = inputs[j].shape ? size_of(*inputs[j].shape) : 1;
    data_[j] = inputs[j].data;
    whole_[j] = own == size && own != 1;
    if (own == 1 || own == size) continue;
    products[walks_] = 1;
    walked_[walks_++] = j;
  }
  // Axes which all inputs run through alike join.
  for (std::size_t i = rank; i-- > 0;) {
    Axis axis{shape[i], {}};
    bool joins = !axes_.empty();
    for (std::size_t w = 0; w < walks_; ++w) {
      const Shape& own = *inputs[walked_[w]].shape;
      const std::size_t missing = rank - own.size(), length = i < missing ? 1 : own[i - missing];
      if (length != 1) axis.steps[w] = products[w];
      products[w] *= length;
      joins = joins && axis.steps[w] == axes_.back().steps[w] * axes_.back().length;
    }
    if (axis.length == 1) continue;
    if (joins)
      axes_.back().length *= axis.length;
    else
      axes_.push_back(axis);
  }
  if (!axes_.empty()) length_ = axes_[0].length;
}

BroadcastLoop::Blocks::Blocks(const BroadcastLoop& loop, std::size_t begin, std::size_t end,
                              std::size_t most)
    : at(begin),
      loop_(loop),
      end_(end),
      most_(most),
      from_(begin % loop.length_),
      place_(loop.axes_.size(), std::size_t{0}) {
  for (std::size_t w = 0; w < loop.walks_; ++w) stretch_[w] = loop.data_[loop.walked_[w]];
  std::size_t stretch = begin / loop.length_;
  for (std::size_t axis = 1; axis < place_.size(); ++axis) {
    const auto& [length, steps] = loop.axes_[axis];
    place_[axis] = stretch % length;
    stretch /= length;
    for (std::size_t w = 0; w < loop.walks_; ++w) stretch_[w] += place_[axis] * steps[w];
  }
  for (std::size_t j = 0; j < loop.count_; ++j)
    if (!loop.whole_[j]) in[j] = lane_of(*loop.data_[j], buffers_[j]);
}

bool BroadcastLoop::Blocks::next() {
  // Shorter stretches are not worth a kernel's call: several make a block.
  constexpr std::size_t short_stretch = 128;
  at += n;
  if (at == end_) return false;
  n = std::min(most_, end_ - at);
  for (std::size_t j = 0; j < loop_.count_; ++j)
    if (loop_.whole_[j]) in[j] = run_of(loop_.data_[j] + at);
  if (loop_.walks_ == 0) return true;
  if (loop_.length_ < short_stretch) {
    gather();
    return true;
  }
  if (from_ == loop_.length_) next_stretch();
  n = std::min(n, loop_.length_ - from_);
  for (std::size_t w = 0; w < loop_.walks_; ++w) {
    const std::size_t j = loop_.walked_[w];
    in[j] =
        loop_.axes_[0].steps[w] ? run_of(stretch_[w] + from_) : lane_of(*stretch_[w], buffers_[j]);
  }
  from_ += n;
  return true;
}

void BroadcastLoop::Blocks::next_stretch() {
  from_ = 0;
  for (std::size_t axis = 1; axis < place_.size(); ++axis) {
    const auto& [length, steps] = loop_.axes_[axis];
    const bool wraps = ++place_[axis] == length;
    for (std::size_t w = 0; w < loop_.walks_; ++w)
      stretch_[w] = wraps ? stretch_[w] - steps[w] * (length - 1) : stretch_[w] + steps[w];
    if (!wraps) return;
    place_[axis] = 0;
  }
}

// Copies parts of stretches to where a block of them is made.
void BroadcastLoop::Blocks::gather() {
  n = std::min(n, kBlock);
  for (std::size_t done = 0; done < n;) {
    if (from_ == loop_.length_) next_stretch();
    // Whole stretches along the innermost axis go together.
    std::size_t rows = 1, length = std::min(loop_.length_ - from_, n - done);
    if (length == loop_.length_)
      rows = std::min(loop_.axes_[1].length - place_[1], (n - done) / length);
    for (std::size_t w = 0; w < loop_.walks_; ++w) {
      const std::size_t step = loop_.axes_[1].steps[w];
      Scalar* to = buffers_[loop_.walked_[w]] + done;
      if (loop_.axes_[0].steps[w])
        copy_rows(stretch_[w] + from_, step, rows, length, to);
      else
        repeat_rows(stretch_[w], step, rows, length, to);
      stretch_[w] += (rows - 1) * step;
    }
    place_[1] += rows - 1;
    done += rows * length;
    from_ += length;
  }
  for (std::size_t w = 0; w < loop_.walks_; ++w)
    in[loop_.walked_[w]] = run_of(buffers_[loop_.walked_[w]]);
}

ARGTAPE_END
