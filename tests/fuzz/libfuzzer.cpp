// A target as clang's libFuzzer takes it, which the environment's FUZZ_TARGET names.
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "tests/fuzz/target.hpp"

namespace {

const Target& target() {
  static const Target chosen = [] {
    const char* name = std::getenv("FUZZ_TARGET");
    std::vector<Target> targets = reader_targets();
    targets.push_back(tape_target());
    for (const Target& one : targets)
      if (name && one.name == name) return one;
    std::cerr << "FUZZ_TARGET is none; need the name of a target\n";
    std::exit(2);
  }();
  return chosen;
}

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

// Now and then it begins anew from one of the target's seeds.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned int seed) {
  static const std::vector<std::string> seeds = target().seeds();
  if (!seeds.empty() && (size < 2 || seed % 64 == 0)) {
    const std::string& from = seeds[seed / 64 % seeds.size()];
    size = from.copy(reinterpret_cast<char*>(data), most);
  }
  return LLVMFuzzerMutate(data, size, most);
}

// libFuzzer's own limit is of the time that passes, and keeps no watch over a busy machine's.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::signal(SIGPROF, [](int) { std::abort(); });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  limit_time();
  const std::string wrong = target().fault({reinterpret_cast<const char*>(data), size});
  if (wrong.empty()) return 0;
  std::cerr << target().name << ": " << wrong << std::endl;
  std::abort();
}
