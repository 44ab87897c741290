#include "ops/kernels/broadcast_loop.hpp"

namespace argtape {
inline namespace ARGTAPE_ABI {

BroadcastLoop::BroadcastLoop(const Shape& shape, std::initializer_list<const Shape*> inputs)
    : inputs_(inputs.size()) {
  const std::size_t rank = shape.size();
  std::size_t j = 0;
  for (const Shape* input : inputs) {
    steps_[j].assign(rank, std::size_t{0});
    std::size_t step = 1;
    for (std::size_t i = input->size(); i-- > 0;) {
      if ((*input)[i] != 1) steps_[j][rank - input->size() + i] = step;
      step *= (*input)[i];
    }
    ++j;
  }
  // Axes which all inputs run through alike join.
  lengths_.assign(rank, std::size_t{1});
  std::size_t axes = 0;
  for (std::size_t i = 0; i < rank; ++i) {
    if (shape[i] == 1) continue;
    bool joins = axes > 0;
    for (j = 0; j < inputs_ && joins; ++j) joins = steps_[j][axes - 1] == steps_[j][i] * shape[i];
    if (!joins) ++axes;
    lengths_[axes - 1] = joins ? lengths_[axes - 1] * shape[i] : shape[i];
    for (j = 0; j < inputs_; ++j) steps_[j][axes - 1] = steps_[j][i];
  }
  if (axes > 0) {
    --axes;
    length_ = lengths_[axes];
    for (j = 0; j < inputs_; ++j) moves_[j] = steps_[j][axes] != 0;
  }
  lengths_.resize(axes);
}

BroadcastLoop::Walk::Walk(const BroadcastLoop& over, std::size_t stretch)
    : over(over), at(over.lengths_.size(), std::size_t{0}) {
  for (std::size_t axis = at.size(); axis-- > 0;) {
    at[axis] = stretch % over.lengths_[axis];
    stretch /= over.lengths_[axis];
    for (std::size_t j = 0; j < over.inputs_; ++j) places[j] += at[axis] * over.steps_[j][axis];
  }
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
