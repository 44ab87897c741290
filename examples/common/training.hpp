// A training that a grid (examples/common/grid.hpp) runs, stops and goes on with.
#pragma once

#include <nlohmann/json.hpp>

#include "models/training/archive.hpp"

namespace argtape_examples {

// One cell at work: first its training, a step at a time, then its evaluation, in pieces of some
// seconds at most, so that it can be stopped in between.
class Training {
 public:
  // What a call of step() did. The time of `trained` counts as the cell's seconds, that of
  // `evaluated` does not. `finished`: there was nothing left to do, and nothing was done.
  enum class Did { trained, evaluated, finished };

  virtual ~Training() = default;
  // Without `may_train` (--seconds are used up) the training is over, and what is left is to
  // evaluate.
  virtual Did step(bool may_train) = 0;
  // How much is done, 0..1.
  virtual double progress() const = 0;
  // All that step() goes on from. It is read back into a training that the cell's own factory made.
  virtual void archive(argtape::Archive& a) = 0;
  // What --save keeps of it once it is finished: the parameters, by name.
  virtual void save(argtape::Archive&) {}
  // Once finished: the cell's row, an object. "steps" (those trained), "seconds" and "ms_per_step"
  // are added to it.
  virtual nlohmann::ordered_json result() = 0;
};

}  // namespace argtape_examples
