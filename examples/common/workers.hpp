// The processes that do a grid's work, each a worker: it goes through the cells and takes those
// that are neither settled nor locked, until all are settled. One that finds the rest in others'
// hands waits for them: should one of them die, his cell is taken over.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/run_folder.hpp"
#include "examples/common/training.hpp"

namespace argtape_examples {

using Cells = std::vector<std::pair<std::string, std::function<std::unique_ptr<Training>()>>>;

struct Work {
  const RunFolder& folder;
  const Cells& cells;
  std::string program;
  double seconds;     // of training for a cell; 0: no limit
  double checkpoint;  // seconds between two
  bool save;          // what was trained
};

// Thrown after SIGINT or SIGTERM, once all is saved. A second such signal ends the process at once.
struct Stopped {
  int signal;
};

// This process does the work, and shows how far all cells are if it is asked to. A cell that throws
// has failed, and the others go on; but where the folder cannot be written to (std::system_error)
// all is over.
void work_here(const Work& work, bool show);

// `jobs` processes do it. Throws std::runtime_error with the words of the first that could not go
// on, after the last has ended.
void work_in_processes(const Work& work, std::size_t jobs);

}  // namespace argtape_examples
