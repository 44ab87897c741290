// What can be fuzzed: a target is fed any bytes, and says what is wrong.
#pragma once

#include <sys/time.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

struct Target {
  std::string name;
  /// Inputs to start from, of which others are made; none: random bytes.
  std::vector<std::string> (*seeds)();
  /// "", or what must not have come of these bytes. A crash is one too, and an exception.
  std::string (*fault)(const std::string& bytes);
  /// How often each thing that inputs can reach was reached so far, and nothing found wrong.
  std::map<std::string, std::uint64_t> (*reached)() = [] {
    return std::map<std::string, std::uint64_t>();
  };
};

/// Ends the process by SIGPROF unless what follows is done in 20 seconds of a processor's time,
/// however busy the machine is.
inline void limit_time() {
  const itimerval limit{{0, 0}, {20, 0}};
  setitimer(ITIMER_PROF, &limit, nullptr);
}

/// Every reader of files, and the programs' flags.
std::vector<Target> reader_targets();
/// Random programs on the tape.
Target tape_target();
