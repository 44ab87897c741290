#include "examples/common/grid.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <system_error>

#include "examples/common/ranks.hpp"
#include "examples/common/run_folder.hpp"
#include "examples/common/workers.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace {

// A folder for a run that nobody wants to keep.
class PassingFolder {
 public:
  PassingFolder() {
    std::string name = (fs::temp_directory_path() / "argtape-run-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::runtime_error("cannot make '" + name +
                               "': " + std::generic_category().message(errno) +
                               "; name a folder with --run, or another one for TMPDIR");
    path_ = name;
  }
  ~PassingFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  PassingFolder(const PassingFolder&) = delete;
  PassingFolder& operator=(const PassingFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

}  // namespace

struct Grid::State {
  explicit State(Program& program) : program(program) {}

  void check_flags(const Ranks& ranks) const;
  Json manifest(const Json& settings) const;
  Json manifest_form(Json manifest) const;
  std::vector<Row> rows(const RunFolder& folder, const Json& manifest, const Form& form) const;
  void require_networks(const RunFolder& folder, const Json& manifest) const;
  void save_networks(const RunFolder& folder, const std::vector<Row>& rows) const;
  void work(const RunFolder& folder, const Ranks& ranks) const;
  void tell_table(const RunFolder& folder, const Json& manifest) const;
  void tell_failures(const RunFolder& folder) const;
  std::string how_to_go_on() const;

  Program& program;
  int steps = 0, seeds = 1, jobs = 1;
  double seconds = 0, checkpoint = 60;
  std::string run, save;
  bool resume = false, table = false;
  std::vector<std::pair<std::string, const std::vector<std::string>*>> lists;
  Cells cells;
};

Grid::Grid(Program& program) : state_(std::make_unique<State>(program)) {
  State& s = *state_;
  program.option("--steps", s.steps, "of each training; 0: a number that suits the program", 0);
  program.option("--seeds", s.seeds, "how many seeds, --seed and those after it");
  program.option("--seconds", s.seconds,
                 "of training for each cell, and no more; 0: all steps, however long they take");
  program.option("--jobs", s.jobs, "processes that share the cells out between them");
  program.option("--run", s.run,
                 "a folder for checkpoints and results, so that the run can be resumed", "DIR");
  program.option("--resume", s.resume, "go on with the run in the --run folder, or join it");
  program.option("--table", s.table, "show what the --run folder has so far, and run nothing");
  program.option("--checkpoint", s.checkpoint, "seconds between two checkpoints of a cell");
  program.option("--save", s.save,
                 "what was trained goes to this .safetensors or .npz file, each cell's parameters "
                 "behind its name",
                 "FILE");
  if (launched_rank() == 0) return;
  const int nowhere = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nowhere >= 0) ::dup2(nowhere, STDOUT_FILENO);
  ::close(nowhere);
}

Grid::~Grid() = default;

void Grid::list(const std::string& flag, std::vector<std::string>& chosen,
                const std::vector<std::string>& all, const std::string& help) {
  state_->program.option(flag, chosen, all, help);
  state_->lists.emplace_back(flag.substr(flag.find_first_not_of('-')), &chosen);
}

std::size_t Grid::steps(std::size_t full, std::size_t quick) const {
  if (state_->steps > 0) return static_cast<std::size_t>(state_->steps);
  return state_->program.quick ? quick : full;
}

std::vector<std::uint64_t> Grid::seeds() const {
  std::vector<std::uint64_t> all;
  for (int i = 0; i < state_->seeds; ++i)
    all.push_back(state_->program.seed + static_cast<std::uint64_t>(i));
  return all;
}

void Grid::add(const std::string& cell, Factory factory) {
  for (const auto& other : state_->cells)
    if (other.first == cell) throw std::logic_error("the cell '" + cell + "' is there already");
  for (const char c : cell)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 &&
        std::string("+-._/").find(c) == std::string::npos)
      throw std::logic_error("a cell's name is '" + cell + "'; need letters, digits and +-._/");
  state_->cells.emplace_back(cell, std::move(factory));
}

void Grid::State::check_flags(const Ranks& ranks) const {
  if (run.empty() && (resume || table))
    throw WrongCall(std::string(resume ? "--resume" : "--table") + " needs --run DIR");
  if (resume && table) throw WrongCall("--resume and --table exclude each other");
  if (!(seconds >= 0)) throw WrongCall("--seconds must be at least 0");
  if (!(checkpoint >= 0)) throw WrongCall("--checkpoint must be at least 0");
  if (ranks.size() > 1 && jobs > 1)
    throw WrongCall("--jobs is for one machine alone; under mpirun start more ranks");
  if (ranks.size() > 1 && run.empty())
    throw WrongCall("under mpirun --run DIR is needed, a folder that all ranks see");
  if (!run.empty()) {
    const RunFolder folder(run);
    program.writes("--run", folder.manifest_file());
    for (const auto& [cell, make] : cells)
      for (const std::string& file :
           {folder.result_file(cell), folder.checkpoint(cell), folder.network(cell)})
        program.writes("--run", file);
  }
  if (save.empty()) return;
  try {
    argtape::require_savable(save);
  } catch (const std::system_error& e) {
    throw WrongCall(std::string("--save: ") + e.what());
  } catch (const std::invalid_argument& e) {
    throw WrongCall(std::string("--") + e.what());  // the flag is called as the function
  }
  program.writes("--save", save);
}

Json Grid::State::manifest(const Json& settings) const {
  Json all = {{"program", program.json.at("program")},
              {"format", 1},
              {"seed", program.seed},
              {"seeds", seeds},
              {"quick", program.quick},
              {"seconds", seconds}};
  for (const auto& [name, chosen] : lists) all[name] = *chosen;
  all.update(settings);
  all["cells"] = Json::array();
  for (const auto& cell : cells) all["cells"].push_back(cell.first);
  return all;
}

// What a folder's is like; the lists of names may have others.
Json Grid::State::manifest_form(Json manifest) const {
  manifest["cells"] = {""};
  for (const auto& [name, chosen] : lists) manifest[name] = {""};
  return manifest;
}

std::string Grid::State::how_to_go_on() const {
  return run.empty() ? "nothing was kept: --run DIR would have" : "--resume goes on from there";
}

void Grid::State::work(const RunFolder& folder, const Ranks& ranks) const {
  const Work work{folder, cells, program.json.at("program"), seconds, checkpoint, !save.empty()};
  try {
    if (jobs == 1)
      work_here(work, ranks.rank() == 0);
    else
      work_in_processes(work, std::min(static_cast<std::size_t>(jobs), cells.size()));
  } catch (const Stopped& stopped) {
    throw Ended{128 + stopped.signal, std::string("stopped by ") +
                                          (stopped.signal == SIGINT ? "SIGINT" : "SIGTERM") + "; " +
                                          how_to_go_on()};
  } catch (const std::exception& error) {
    throw std::runtime_error(std::string(error.what()) + "; " + how_to_go_on());
  }
}

std::vector<Grid::Row> Grid::State::rows(const RunFolder& folder, const Json& manifest,
                                         const Form& form) const {
  std::vector<Row> all;
  for (const std::string cell : manifest.at("cells")) {
    if (!folder.done(cell)) continue;
    Json like = form(cell);
    like.update({{"steps", 0}, {"seconds", 0.0}, {"ms_per_step", 0.0}});
    all.push_back({cell, folder.result(cell, like)});
  }
  return all;
}

// Of the cells that are done already.
void Grid::State::require_networks(const RunFolder& folder, const Json& manifest) const {
  for (const std::string cell : manifest.at("cells"))
    if (folder.done(cell) && !folder.has_network(cell))
      throw WrongCall("--save: '" + run + "' has the cell " + cell +
                      " without what it trained, from a call without --save; need another folder");
}

void Grid::State::save_networks(const RunFolder& folder, const std::vector<Row>& rows) const {
  std::map<std::string, std::map<std::string, argtape::Tensor>> all;
  for (const Row& row : rows) argtape::load(folder.network(row.cell), all[row.cell]);
  argtape::save(save, [&](argtape::Archive& a) {
    for (auto& [cell, network] : all) a(cell, network);
  });
}

// How far a run is that somebody else may be at.
void Grid::State::tell_table(const RunFolder& folder, const Json& manifest) const {
  std::size_t done = 0, all = manifest.at("cells").size();
  std::string others;
  for (const std::string cell : manifest.at("cells")) {
    if (folder.done(cell)) {
      ++done;
    } else if (const auto reason = folder.failure(cell)) {
      others += "  " + cell + " failed: " + *reason + "\n";
    } else if (const double progress = folder.progress(cell); progress > 0) {
      others += "  " + cell + " " + number(std::floor(100 * progress)) + "%" +
                (folder.at_work(cell) ? "" : ", stopped") + "\n";
    }
  }
  std::cout << done << " of " << all << " cells are done\n" << others << "\n";
}

void Grid::State::tell_failures(const RunFolder& folder) const {
  std::string first;
  std::size_t count = 0;
  for (const auto& cell : cells)
    if (!folder.done(cell.first) && ++count == 1)
      first = cell.first + ": " +
              folder.failure(cell.first).value_or("the workers were killed before it was done");
  if (count == 0) return;
  const std::string words = std::to_string(count) + " of " + std::to_string(cells.size()) +
                            " cells failed; " + first + "; " + how_to_go_on();
  if (count == cells.size()) throw std::runtime_error(words);
  program.fail_at_the_end(words);
}

std::vector<Grid::Row> Grid::run(Json settings, const Form& form) {
  State& s = *state_;
  const Ranks ranks;
  s.check_flags(ranks);
  std::optional<PassingFolder> passing;
  if (s.run.empty()) passing.emplace();
  const RunFolder folder(passing ? passing->path() : fs::path(s.run));
  Json manifest = s.manifest(settings);
  if (s.table) {
    manifest = folder.manifest(s.manifest_form(manifest));
    if (manifest.at("program") != s.program.json.at("program"))
      throw WrongCall("--run: '" + s.run + "' holds a run of " +
                      manifest.at("program").get<std::string>() + "; need one of this program's");
    if (!s.save.empty()) s.require_networks(folder, manifest);
    s.tell_table(folder, manifest);
  } else {
    if (ranks.rank() == 0) s.resume ? folder.resume(manifest) : folder.start(manifest);
    ranks.barrier();
    if (ranks.rank() != 0) folder.require_same(manifest);
    if (!s.save.empty()) s.require_networks(folder, manifest);
    s.work(folder, ranks);
  }
  ranks.finish();
  if (ranks.rank() != 0) throw Ended{0, ""};
  if (!s.table) s.tell_failures(folder);
  std::vector<Row> rows = s.rows(folder, manifest, form);
  if (!s.save.empty()) s.save_networks(folder, rows);
  for (const char* unwanted : {"format", "cells"}) manifest.erase(unwanted);
  s.program.json.update(manifest);
  return rows;
}

}  // namespace argtape_examples
