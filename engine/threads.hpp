// How many threads the library may use: one setting for all of it, BLAS included; and what threads
// of the program's own may do at once.
//
// Anything with a tape, an Rng, an optimiser and a learned state of its own for each thread. They
// may share what none of them changes, such as a model's tensors and data, rules, running_mean()
// among them, and methods that learn nothing; a tape, an Rng, the state of nvil(), rebar() or
// relax() that two use at once refuses the second. The library's own threads help one of them at a
// time; the work of the others is done where it is asked for, with the same results.
#pragma once

namespace argtape __attribute__((visibility("default"))) {

  /// Throws std::invalid_argument for n < 1. The default is one. Results are the same, bit for bit,
  /// for any number. OpenBLAS itself has one thread, in the whole process, while a product is
  /// computed: the library shares products out. Any thread may call it, at any time: work that has
  /// begun is not affected.
  void set_threads(int n);
  int threads() noexcept;

}  // namespace )
