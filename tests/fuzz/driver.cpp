// The targets without a fuzzer's guidance: random inputs from a seed, so that any compiler will do.
//
//   fuzz [--seconds S | --inputs N | --reach N] [--seed K] [--first I] [TARGET...]
//   fuzz --file FILE TARGET
//
// With --reach it says how often N inputs reached what the target can reach, and fails where one
// thing was not.
// Every input follows from the seed and its number alone: what fails, or crashes, or takes more
// than 20 seconds of a processor, is named by them, and comes again.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>

#include "engine/random.hpp"
#include "tests/fuzz/target.hpp"

using namespace argtape;

namespace {

struct Call {
  double seconds = 1;
  std::uint64_t inputs = ~std::uint64_t{0}, seed = 1, first = 0;
  std::string file;
  bool reach = false;
};

std::string random_bytes(Rng& rng, std::size_t n) {
  std::string bytes(n, '\0');
  for (char& c : bytes) c = static_cast<char>(rng.below(256));
  return bytes;
}

void edit(std::string& bytes, Rng& rng) {
  const std::size_t at = rng.below(bytes.size() + 1), left = bytes.size() - at,
                    n = std::min(left, 1 + rng.below(rng.below(4) ? 4 : 64));
  const auto number = [&] {
    const std::string all[] = {"0",
                               "-1",
                               "1e999",
                               "18446744073709551616",
                               "nan",
                               "\xff\xff\xff\xff",
                               std::string("\0\0\0\x80", 4),
                               std::string("\0", 1)};
    return all[rng.below(std::size(all))];
  };
  switch (rng.below(7)) {
    case 0:
      bytes.replace(at, n, random_bytes(rng, n));
      break;
    case 1:
      if (left > 0) bytes[at] = static_cast<char>(bytes[at] ^ (1 << rng.below(8)));
      break;
    case 2:
      bytes.erase(at, n);
      break;
    case 3:
      bytes.insert(at, bytes.substr(rng.below(bytes.size() + 1), n));
      break;
    case 4:
      bytes.replace(at, n, number());
      break;
    case 5:
      bytes.insert(at, number());
      break;
    case 6:
      if (rng.below(4) == 0) bytes.resize(at);
      break;
  }
}

std::string input(const std::vector<std::string>& seeds, std::uint64_t seed, std::uint64_t number) {
  Rng rng(seed, 0, number);
  if (seeds.empty()) return random_bytes(rng, 8 + rng.below(200));
  std::string bytes = seeds[rng.below(seeds.size())];
  for (std::size_t edits = rng.below(6); edits > 0; --edits) edit(bytes, rng);
  return bytes;
}

std::string fault_of(const Target& target, const std::string& bytes) {
  try {
    return target.fault(bytes);
  } catch (const std::exception& error) {
    return std::string("an exception that is not documented: ") + error.what();
  }
}

// Tells how often each thing was reached; 1 if one was not.
int unreached(const Target& target) {
  int status = 0;
  for (const auto& [name, count] : target.reached()) {
    std::cout << count << "\t" << name << "\n";
    if (count == 0) status = 1;
  }
  if (status != 0) std::cerr << target.name << ": what is counted 0 was not reached" << std::endl;
  return status;
}

// In a process of its own, which says by `done` how far it came. Its status is 1 if it found a
// fault.
int child(const Target& target, const Call& call, volatile std::uint64_t& done) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(call.seconds);
  const std::vector<std::string> seeds = target.seeds();
  for (; done < call.inputs && (call.inputs != ~std::uint64_t{0} || Clock::now() < end);
       done = done + 1) {
    limit_time();
    const std::string wrong = fault_of(target, input(seeds, call.seed, call.first + done));
    if (wrong.empty()) continue;
    std::cerr << target.name << ": " << wrong << std::endl;
    return 1;
  }
  return call.reach ? unreached(target) : 0;
}

bool holds(const Target& target, const Call& call) {
  void* shared = mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& done = *new (shared) volatile std::uint64_t(0);
  const pid_t process = fork();
  if (process == 0) std::exit(child(target, call, done));
  int status = 0;
  waitpid(process, &status, 0);
  std::cout << target.name << ": " << done << " inputs" << std::endl;
  if (status == 0) return true;
  if (call.reach && done == call.inputs) return false;
  std::cout << target.name << ": input " << call.first + done << " ends with status " << status
            << "\nagain: fuzz " << target.name << " --seed " << call.seed << " --first "
            << call.first + done << " --inputs 1" << std::endl;
  return false;
}

// Whether nothing is wrong with a file, or with those of a folder.
bool holds_for(const Target& target, const std::string& place) {
  std::vector<std::filesystem::path> files = {place};
  if (std::filesystem::is_directory(place))
    files.assign(std::filesystem::directory_iterator(place), {});
  bool fine = true;
  for (const std::filesystem::path& path : files) {
    std::ifstream file(path, std::ios::binary);
    const std::string wrong = fault_of(target, {std::istreambuf_iterator<char>(file), {}});
    if (!wrong.empty()) std::cout << path.string() << ": " << wrong << std::endl;
    fine = fine && wrong.empty();
  }
  std::cout << target.name << ": " << files.size() << " files" << std::endl;
  return fine;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<Target> targets = reader_targets();
  targets.push_back(tape_target());
  std::vector<std::string> all, names;
  for (const Target& target : targets) all.push_back(target.name);
  Call call;
  CLI::App app("Feeds random inputs to targets, all or those that are named.");
  app.add_option("--seconds", call.seconds, "how long to each");
  app.add_option("--inputs", call.inputs, "how many to each");
  app.add_option("--seed", call.seed, "from which they follow");
  app.add_option("--first", call.first, "the number of the first");
  CLI::Option* reach = app.add_option("--reach", call.inputs, "how many, and tell what they reach");
  app.add_option("--file", call.file, "feed this file instead, or a folder's")
      ->check(CLI::ExistingPath);
  app.add_option("targets", names)->check(CLI::IsMember(all));
  CLI11_PARSE(app, argc, argv);
  call.reach = reach->count() > 0;
  bool fine = true;
  for (const Target& target : targets)
    if (names.empty() || std::find(names.begin(), names.end(), target.name) != names.end())
      fine = (call.file.empty() ? holds(target, call) : holds_for(target, call.file)) && fine;
  return fine ? 0 : 1;
}
