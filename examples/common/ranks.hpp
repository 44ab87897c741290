// The processes that mpirun, or a cluster's scheduler, started together: MPI, where the build found
// one. Only the grid needs to know of it.
#pragma once

namespace argtape_examples {

// This process among those that were started together, as the environment says it; 0 where it is
// alone.
int launched_rank();

// MPI, from the constructor to finish(). A process that ends without finish(), with an error or by
// a signal, has the launcher end the others too; theirs is what their locks and checkpoints are
// for.
class Ranks {
 public:
  // Does nothing in a process that was started by itself. Throws WrongCall if it was not, and the
  // build has no MPI.
  Ranks();
  int rank() const { return rank_; }
  int size() const { return size_; }
  // Waits for all.
  void barrier() const;
  void finish() const;

 private:
  int rank_ = 0, size_ = 1;
  bool started_ = false;
};

}  // namespace argtape_examples
