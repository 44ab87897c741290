#include "ops/kernels/blas.hpp"

#include <algorithm>
#include <limits>
#include <mutex>
#include <new>
#include <optional>
#include <vector>
#include <xtensor-blas/xblas.hpp>

#include "engine/require.hpp"
#include "engine/system/parallel.hpp"

// OpenBLAS has these beside the standard's functions; another BLAS goes by its own settings.
extern "C" void openblas_set_num_threads(int) __attribute__((weak));
extern "C" int openblas_get_num_threads() __attribute__((weak));
extern "C" void* blas_memory_alloc(int) __attribute__((weak));
extern "C" void blas_memory_free(void*) __attribute__((weak));

ARGTAPE_PRIVATE_BEGIN
namespace {

// A product this large is worth a second thread, and a side this long a piece of its own.
constexpr std::size_t kManyProducts = 1 << 17, kPiece = 128;

// What OpenBLAS gives to one thread by itself: products of matrices, and of a matrix and a vector.
constexpr std::size_t kFewProducts = 1 << 18, kFewOfVector = 1 << 13;

// While any product is computed, OpenBLAS has one thread: products are shared out here, among the
// threads that do all other work, and two sets of threads that wait for work by spinning would be
// in each other's way. Its setting is the host program's, and comes back with the last product.
class OneBlasThread {
 public:
  OneBlasThread() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (users++ > 0 || !openblas_get_num_threads || !openblas_set_num_threads) return;
    found = openblas_get_num_threads();
    if (found > 1) openblas_set_num_threads(1);
  }
  ~OneBlasThread() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (--users == 0 && found > 1) openblas_set_num_threads(found);
  }
  OneBlasThread(const OneBlasThread&) = delete;
  OneBlasThread& operator=(const OneBlasThread&) = delete;

 private:
  inline static std::mutex mutex;
  inline static int users = 0, found = 1;
};

// OpenBLAS keeps as many buffers as threads have been in a product at once; where there is no room
// to map another, under `ulimit -v` say, it tries for ever. So one is mapped for each thread that
// lives and has had a product, at its first, and no room is an error.
class Buffer {
 public:
  Buffer() {
    const std::lock_guard<std::mutex> lock(mutex);
    if (mapped.size() == users && blas_memory_alloc && blas_memory_free) map_one();
    ++users;
  }
  ~Buffer() {
    const std::lock_guard<std::mutex> lock(mutex);
    --users;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

 private:
  static void map_one() {
    constexpr std::size_t kBytes = std::size_t{1} << 27;
    mapped.reserve(mapped.size() + 1);
    std::vector<void*> taken;  // it hands out those first that it has
    taken.reserve(mapped.size() + 1);
    ::operator delete(::operator new(kBytes));
    do taken.push_back(blas_memory_alloc(0));
    while (std::find(mapped.begin(), mapped.end(), taken.back()) != mapped.end());
    for (void* buffer : taken) blas_memory_free(buffer);
    mapped.push_back(taken.back());
  }

  inline static std::mutex mutex;
  inline static std::size_t users = 0;
  inline static std::vector<void*>& mapped = *new std::vector<void*>;  // threads may outlive main()
};

// Rows and columns of the result are cut at multiples of what BLAS works on at a time.
constexpr std::size_t kBlock = 8;

}  // namespace

void gemm(bool ta, bool tb, std::size_t n, std::size_t m, std::size_t k, const Scalar* a,
          const Scalar* b, Scalar beta, Scalar* c) {
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<xt::blas_index_t>::max());
  if (n > most || m > most || k > most)
    refuse<std::length_error>("matmul: (", n, ", ", k, ") times (", k, ", ", m,
                              "); need lengths that BLAS can count");
  if (n == 0 || m == 0) return;
  std::optional<OneBlasThread> one;
  if (n * m * k > (n == 1 || m == 1 ? kFewOfVector : kFewProducts)) one.emplace();
  const auto index = [](std::size_t i) { return static_cast<xt::blas_index_t>(i == 0 ? 1 : i); };
  const auto transposed = [](bool yes) { return yes ? cxxblas::Trans : cxxblas::NoTrans; };
  // Numbers i..j of the result, where it is a column or a row: op(matrix) times a vector takes a
  // third of the time of a product of matrices.
  const auto vector = [&](bool t, const Scalar* matrix, const Scalar* x, std::size_t length,
                          std::size_t i, std::size_t j) {
    if (beta == 0) std::fill(c + i, c + j, Scalar{0});  // NaN too, which 0 times c is not
    cxxblas::gemv<xt::blas_index_t>(cxxblas::RowMajor, transposed(t), index(t ? k : j - i),
                                    index(t ? j - i : k), Scalar{1}, matrix + (t ? i : i * k),
                                    index(t ? length : k), x, 1, beta == 0 ? Scalar{1} : beta,
                                    c + i, 1);
  };
  // Rows i..j and columns u..v of the result.
  const auto part = [&](std::size_t i, std::size_t j, std::size_t u, std::size_t v) {
    thread_local Buffer buffer;
    if (m == 1 && k > 0) return vector(ta, a, b, n, i, j);
    if (n == 1 && k > 0) return vector(!tb, b, a, m, u, v);
    cxxblas::gemm<xt::blas_index_t>(cxxblas::RowMajor, transposed(ta), transposed(tb), index(j - i),
                                    index(v - u), static_cast<xt::blas_index_t>(k), Scalar{1},
                                    a + (ta ? i : i * k), index(ta ? n : k), b + (tb ? u * k : u),
                                    index(tb ? k : m), beta, c + i * m + u, index(m));
  };
  if (n * m * k < kManyProducts) return part(0, n, 0, m);
  // Cut along the longer side by the shape alone, whatever the number of threads: BLAS adds in
  // another order at a matrix's edge. Pieces are few, since each packs the other factor anew.
  const std::size_t length = std::max(n, m), blocks = (length + kBlock - 1) / kBlock;
  std::size_t pieces = 2;
  while (length >= 2 * pieces * kPiece) pieces *= 2;
  const std::size_t share = (blocks + pieces - 1) / pieces * kBlock;
  parallel_for((length + share - 1) / share, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin * share; i < std::min(end * share, length); i += share) {
      const std::size_t j = std::min(i + share, length);
      n >= m ? part(i, j, 0, m) : part(0, n, i, j);
    }
  });
}

ARGTAPE_END
