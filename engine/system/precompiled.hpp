// What nearly every file of the library includes, compiled once for each of its layers: half of
// what a file costs is to read xtensor. Nothing relies on it: -Db_pch=false builds the same. (No
// #pragma once: it is compiled as a file of its own.)

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../tensor.hpp"
