#include "ops/blas.hpp"

#include <atomic>
#include <limits>
#include <stdexcept>
#include <string>
#include <xtensor-blas/xblas.hpp>

#include "engine/threads.hpp"

// OpenBLAS has this beside the standard's functions; another BLAS goes by its own settings.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));

namespace argtape {
inline namespace ARGTAPE_ABI {

void gemm(bool ta, bool tb, std::size_t n, std::size_t m, std::size_t k, const Scalar* a,
          const Scalar* b, Scalar beta, Scalar* c) {
  static std::atomic<int> blas_threads{0};
  if (openblas_set_num_threads && blas_threads.exchange(threads()) != threads())
    openblas_set_num_threads(threads());
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<xt::blas_index_t>::max());
  if (n > most || m > most || k > most)
    throw std::length_error("matmul: (" + std::to_string(n) + ", " + std::to_string(k) +
                            ") times (" + std::to_string(k) + ", " + std::to_string(m) +
                            "); need lengths that BLAS can count");
  if (n == 0 || m == 0) return;
  const auto index = [](std::size_t i) { return static_cast<xt::blas_index_t>(i == 0 ? 1 : i); };
  cxxblas::gemm<xt::blas_index_t>(cxxblas::RowMajor, ta ? cxxblas::Trans : cxxblas::NoTrans,
                                  tb ? cxxblas::Trans : cxxblas::NoTrans, index(n), index(m),
                                  static_cast<xt::blas_index_t>(k), Scalar{1}, a, index(ta ? n : k),
                                  b, index(tb ? k : m), beta, c, index(m));
}

}  // namespace ARGTAPE_ABI
}  // namespace argtape
