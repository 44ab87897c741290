// How many threads the library may use: one setting for all of it, BLAS included.
#pragma once

namespace argtape __attribute__((visibility("default"))) {

  /// Throws std::invalid_argument for n < 1. The default is one. Results are the same, bit for bit,
  /// for any number, but for matrix products, whose last digits may differ. OpenBLAS itself is set
  /// to one thread, for the whole process, with the first product: the library shares products out.
  void set_threads(int n);
  int threads() noexcept;

}  // namespace )
