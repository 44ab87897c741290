#include "examples/common/ranks.hpp"

#ifdef ARGTAPE_MPI
#define OMPI_SKIP_MPICXX  // the C++ bindings, which MPI 3 has dropped
#include <mpi.h>
#endif

#include <cstdlib>

#include "examples/common/program.hpp"

namespace argtape_examples {
namespace {

// What Open MPI, PMIx and MPICH set for each process that they launch. To call MPI_Init in one that
// they did not takes a second, for nothing.
const char* rank_in_environment() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"})
    if (const char* rank = std::getenv(name)) return rank;
  return nullptr;
}

}  // namespace

int launched_rank() {
  const char* rank = rank_in_environment();
  return rank == nullptr ? 0 : std::atoi(rank);
}

Ranks::Ranks() : started_(rank_in_environment() != nullptr) {
  if (!started_) return;
#ifdef ARGTAPE_MPI
  int provided = 0;
  MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
#else
  throw WrongCall(
      "this build has no MPI: install libopenmpi-dev and set the build up anew, or use --jobs "
      "instead of mpirun");
#endif
}

void Ranks::barrier() const {
#ifdef ARGTAPE_MPI
  if (started_) MPI_Barrier(MPI_COMM_WORLD);
#endif
}

void Ranks::finish() const {
#ifdef ARGTAPE_MPI
  if (started_) MPI_Finalize();
#endif
}

}  // namespace argtape_examples
