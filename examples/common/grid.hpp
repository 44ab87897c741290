// Long runs: a grid of trainings that do not depend on each other (rules, seeds), on one machine or
// many, interrupted and resumed at will.
//
// The run's folder is the truth. Each cell of the grid has its own files there: a checkpoint while
// it is trained, its result when it is done, and a lock, which the kernel opens when its holder
// dies. A worker goes through the cells and takes those that are neither done nor locked. Workers
// are the processes of --jobs, the ranks of mpirun, or further calls with --resume on the same
// folder; --table looks at the folder from outside. What a cell computes must come from its own
// settings alone, never from what ran before: then the table is the same to the bit for any number
// of workers, in any order, and however often they were stopped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/program.hpp"
#include "examples/common/training.hpp"

namespace argtape_examples {

//   int main(int argc, char** argv) {
//     Program program("12_categorical_vae", "...");
//     Grid grid(program);
//     std::vector<std::string> rules;
//     grid.list("--rules", rules, all_rules, "which rules to compare");
//     return program.run(argc, argv, [&] {
//       const std::size_t steps = grid.steps(20000, 500);
//       for (const std::string& rule : rules)
//         for (std::uint64_t seed : grid.seeds())
//           grid.add("categorical/" + rule + "/" + std::to_string(seed),
//                    [=, &data] { return std::make_unique<VaeTraining>(data, rule, seed, steps);
//                    });
//       const auto form = [](const std::string&) { return Json{{"bound", 0.0}}; };
//       for (const Grid::Row& row : grid.run({{"data", data.name}, {"steps", steps}}, form))
//         ...  row.result["bound"]
//     });
//   }
class Grid {
 public:
  using Factory = std::function<std::unique_ptr<Training>()>;
  // What a cell's result is like (examples/common/json_form.hpp), but for what is added to it.
  using Form = std::function<nlohmann::ordered_json(const std::string& cell)>;
  struct Row {
    std::string cell;
    nlohmann::ordered_json result;
  };

  // Adds --steps, --seeds, --seconds, --jobs, --run, --resume, --table, --checkpoint and --save.
  // Under mpirun this is where MPI starts; ranks other than 0 print nothing on standard output.
  explicit Grid(Program& program);
  ~Grid();
  Grid(const Grid&) = delete;
  Grid& operator=(const Grid&) = delete;

  // A flag with some of `all`, with commas, each once; by default those in `chosen`, or all if it
  // is empty.
  void list(const std::string& flag, std::vector<std::string>& chosen,
            const std::vector<std::string>& all, const std::string& help);
  // --steps, or else one of these.
  std::size_t steps(std::size_t full, std::size_t quick) const;
  // --seed and those after it, --seeds of them.
  std::vector<std::uint64_t> seeds() const;

  // A name of its own for each cell: letters, digits and "+-._/".
  void add(const std::string& cell, Factory factory);

  // Runs what is not done yet, and gives the rows of all cells in the order in which they were
  // added. `settings` are all that changes a number: the folder keeps them, and --resume refuses
  // others, saying which. They, --seed and --seeds also go into the program's JSON. With --table
  // nothing runs: the rows are those that the folder has, settings and seeds are the folder's.
  // A file of the folder's that is not like the settings or the form is refused by name.
  //
  // With --save FILE what the cells trained is saved, each name behind its cell's:
  // "net/st/1.parameters.0".
  //
  // The call does not return in a worker process, on ranks other than 0, and where the run is
  // stopped by SIGINT or SIGTERM: it is saved, and the program ends with 128 and the signal. Where
  // cells failed, or could not be run, std::runtime_error names one and the reason, after the
  // others are done.
  std::vector<Row> run(nlohmann::ordered_json settings, const Form& form);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace argtape_examples
