// What can be fuzzed: a target is fed any bytes, and says what is wrong.
#pragma once

#include <string>
#include <vector>

struct Target {
  std::string name;
  /// Inputs to start from, of which others are made; none: random bytes.
  std::vector<std::string> (*seeds)();
  /// "", or what must not have come of these bytes. A crash is one too, and an exception.
  std::string (*fault)(const std::string& bytes);
};

/// Every reader of files, and the programs' flags.
std::vector<Target> reader_targets();
/// Random programs on the tape.
Target tape_target();
