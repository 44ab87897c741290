#include "engine/simd/broadcast_loop.hpp"

#include <algorithm>

ARGTAPE_PRIVATE_BEGIN
namespace {

// Rows of `length` numbers, one after the other, from where they stand `step` numbers apart; or,
// unless it moves, of as many copies of a number. They are written in whole lanes: what is too much
// is written over.
void copy_rows(const Scalar* p, bool moves, std::size_t step, std::size_t rows, std::size_t length,
               Scalar* to) {
  for (; rows > 0; --rows, p += step, to += length)
    for (std::size_t i = 0; i < length; i += kLane)
      (!moves                ? Lane(*p)
       : i + kLane <= length ? Lane::load_unaligned(p + i)
                             : load_some(p + i, length - i))
          .store_unaligned(to + i);
}

}  // namespace

StretchedAxes::StretchedAxes(const Shape& shape, const Source* inputs, std::size_t count)
    : count(count) {
  const std::size_t rank = shape.size();
  std::size_t products[kMostInputs];
  std::fill_n(products, count, std::size_t{1});
  for (std::size_t i = rank; i-- > 0;) {
    Axis axis{shape[i], {}};
    bool joins = !axes.empty();
    for (std::size_t j = 0; j < count; ++j) {
      const std::size_t missing = rank - (inputs[j].shape ? inputs[j].shape->size() : 0);
      const std::size_t length = i < missing ? 1 : (*inputs[j].shape)[i - missing];
      if (length != 1) axis.steps[j] = products[j];
      products[j] *= length;
      joins = joins && axis.steps[j] == axes.back().steps[j] * axes.back().length;
    }
    if (axis.length == 1) continue;
    if (joins)
      axes.back().length *= axis.length;
    else
      axes.push_back(axis);
  }
}

void Walk::next(std::size_t steps) {
  for (std::size_t axis = first; axis < place.size() && steps > 0; ++axis) {
    const StretchedAxes::Axis& along = over.axes[axis];
    const std::size_t old = place[axis], to = old + steps;
    steps = to < along.length ? 0 : to / along.length;
    place[axis] = to - steps * along.length;
    for (std::size_t j = 0; j < over.count; ++j) offsets[j] += (place[axis] - old) * along.steps[j];
  }
}

BroadcastLoop::BroadcastLoop(const Shape& shape, const Source* inputs, std::size_t count)
    : axes_(shape, inputs, count) {
  const std::size_t size = size_of(shape);
  for (std::size_t j = 0; j < count; ++j) {
    const std::size_t own = inputs[j].shape ? size_of(*inputs[j].shape) : 1;
    data_[j] = inputs[j].data;
    walked_[j] = own != 1 && own != size;
  }
}

BroadcastLoop::Blocks::Blocks(const BroadcastLoop& loop, std::size_t begin, std::size_t end,
                              std::size_t most, Block* in)
    : at(begin),
      loop_(loop),
      end_(end),
      most_(most),
      in_(in),
      from_(begin % loop.axes_.at(0).length),
      walk_(loop.axes_, 1) {
  walk_.next(begin / loop.axes_.at(0).length);
}

bool BroadcastLoop::Blocks::next() {
  // Shorter stretches are not worth a kernel's call: several make a block.
  constexpr std::size_t short_stretch = 128;
  at += n;
  if (at == end_) return false;
  n = std::min(most_, end_ - at);
  const StretchedAxes::Axis inner = loop_.axes_.at(0);
  if (inner.length < short_stretch && walk_.place.size() > 1) {
    gather(inner, loop_.axes_.at(1));
    return true;
  }
  n = std::min(n, inner.length - from_);
  for (std::size_t j = 0; j < loop_.axes_.count; ++j) {
    const Scalar* stretch = loop_.data_[j] + walk_.offsets[j];
    in_[j] = inner.steps[j] ? run_of(stretch + from_) : lane_of(*stretch, buffers_[j]);
  }
  from_ += n;
  if (from_ < inner.length) return true;
  walk_.next();
  from_ = 0;
  return true;
}

// Copies parts of stretches to where a block of them is made.
void BroadcastLoop::Blocks::gather(const StretchedAxes::Axis& inner,
                                   const StretchedAxes::Axis& outer) {
  n = std::min(n, kBlock);
  for (std::size_t j = 0; j < loop_.axes_.count; ++j)
    in_[j] = loop_.walked_[j] ? run_of(buffers_[j])
             : inner.steps[j] ? run_of(loop_.data_[j] + at)
                              : lane_of(*loop_.data_[j], buffers_[j]);
  for (std::size_t done = 0; done < n;) {
    // Whole stretches along the innermost axis go together.
    std::size_t rows = 1, length = std::min(inner.length - from_, n - done);
    if (length == inner.length) rows = std::min(outer.length - walk_.place[1], (n - done) / length);
    for (std::size_t j = 0; j < loop_.axes_.count; ++j) {
      if (!loop_.walked_[j]) continue;
      const bool moves = inner.steps[j] != 0;
      const Scalar* stretch = loop_.data_[j] + walk_.offsets[j];
      copy_rows(moves ? stretch + from_ : stretch, moves, outer.steps[j], rows, length,
                buffers_[j] + done);
    }
    done += rows * length;
    from_ += length;
    if (from_ < inner.length) continue;
    walk_.next(rows);
    from_ = 0;
  }
}

ARGTAPE_END
