#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture.hpp"

namespace argtape_examples {

// Thrown by a program's body when its flags make no sense together: status 2 instead of 1.
class WrongCall : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown to end the program at once with a status, in a few words, or silently if there are none.
struct Ended {
  int status;
  std::string words;
};

// "0.5120 ± 0.0030": two significant digits of error, and the value to the same decimal.
std::string with_error(double value, double error);

// "a, b, c".
std::string joined(const std::vector<std::string>& words, const std::string& between = ", ");

// The mean of several runs and its standard error, 0 for a single one.
struct Estimate {
  double mean = 0, error = 0;
};
Estimate mean_of(const std::vector<double>& runs);

// What a table shows is rounded; its CSV and JSON keep every digit of a numeric cell.
class Cell {
 public:
  using Value = std::variant<std::string, std::int64_t, double>;

  Cell(const char* text) : value_(std::string(text)) {}
  Cell(std::string text) : value_(std::move(text)) {}
  template <class Number, std::enable_if_t<std::is_arithmetic_v<Number>, int> = 0>
  Cell(Number value) {
    if constexpr (std::is_integral_v<Number>) {
      value_ = static_cast<std::int64_t>(value);
    } else {
      value_ = static_cast<double>(value);
    }
  }
  Cell(double value, double error) : value_(value), error_(error), has_error_(true) {}

  const Value& value() const { return value_; }
  double error() const { return error_; }
  bool has_error() const { return has_error_; }
  std::string text() const;

 private:
  Value value_;
  double error_ = 0;
  bool has_error_ = false;
};

class Table {
 public:
  explicit Table(std::vector<std::string> headers);

  Table& row(std::vector<Cell> cells);
  void print(std::ostream& out = std::cout) const;
  // A column with errors is followed by one named "<header> error".
  void write_csv(const std::filesystem::path& path) const;

  const std::vector<std::string>& headers() const { return headers_; }
  const std::vector<std::vector<Cell>>& rows() const { return rows_; }

 private:
  std::vector<std::string> headers_;
  std::vector<std::vector<Cell>> rows_;
};

// "training   42%  1 min 20 s left", where those `before` took no part of the seconds.
std::string progress_line(const std::string& label, std::size_t done, std::size_t total,
                          double seconds, std::size_t before = 0);

// Draws on stderr if that is a terminal, ten times a second at most, and wipes its line at the end.
class Progress {
 public:
  // `before`: done in an earlier run.
  Progress(std::string label, std::size_t total, std::size_t before = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void step(std::size_t steps = 1);
  void finish();
  // Whether anybody sees it.
  bool terminal() const { return terminal_; }
  std::size_t done() const { return done_; }

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_;
  std::size_t total_, before_, done_;
  bool terminal_, drawn_ = false;
  Clock::time_point start_, last_;
};

// The flags, the statuses and the outputs that all programs share:
//
//   int main(int argc, char** argv) {
//     Program program("02_argmax_gradients", "what each backward rule makes of one draw");
//     int categories = 10;
//     program.option("--categories", categories, "how many classes", 2);
//     return program.run(argc, argv, [&] {
//       Table table({"rule", "bias"});
//       ...
//       program.show(table, "rules");
//     });
//   }
class Program {
 private:
  struct State;
  std::unique_ptr<State> state_;

 public:
  Program(std::string name, std::string description);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // Flags of the program's own; the value they find is the default that --help shows. Text may not
  // be empty: where there is such a default it means that nothing was asked for.
  void option(const std::string& flag, int& value, const std::string& help, int minimum = 1);
  void option(const std::string& flag, double& value, const std::string& help);
  // `type`: what --help calls the value.
  void option(const std::string& flag, std::string& value, const std::string& help,
              const std::string& type = "TEXT");
  void option(const std::string& flag, bool& value, const std::string& help);
  // Some of `all`, with commas, each once; by default those in `chosen`, or all if it is empty.
  void option(const std::string& flag, std::vector<std::string>& chosen,
              const std::vector<std::string>& all, const std::string& help);
  // Adds --data, for the programs that train on digits.
  void takes_digits();

  // Below the flags in --help: what the JSON has.
  void footer(const std::string& text);
  // Throws WrongCall where what this flag writes is a file that another one writes, or --out.
  void writes(const std::string& flag, const std::string& file);
  // Whether the call has this flag.
  bool given(const std::string& flag) const;

  // The run goes on, and all that it shows and writes is there; but it ends with status 1 and these
  // words.
  void fail_at_the_end(std::string words);

  // The status to return from main: 0, 1 for a failed run, 2 for a wrong call. What was computed
  // reaches --json even where standard output is full, closed, or a pipe that nobody reads.
  int run(int argc, const char* const* argv, const std::function<void()>& body);

  // Prints the table, and with --out puts it on the page and, if it has a name, writes name.csv.
  void print(const Table& table, const std::string& name = "");
  // The same, and keeps the table in the JSON under `name`.
  void show(const Table& table, const std::string& name);
  // With --out, draws the picture there.
  void show(const Picture& picture, const std::string& name);
  // What the run means, in words: on the page, below all that was printed.
  void explain(const std::string& words);
  // Keeps one figure in the JSON.
  void figure(const std::string& name, const Cell& value);

  // How an error in training goes on: which flags may be at fault. Before the first step is done
  // the rate has done nothing yet; of the `others`, such as a temperature, those that were given
  // may.
  std::string advice(std::size_t steps_done, const std::string& rate,
                     const std::vector<std::string>& others = {}) const;

  std::uint64_t seed = 1;
  int threads = 1;
  bool quick = false;
  std::string data;  // empty: the digits in examples/data
  std::string out;   // empty: no page, no pictures and no CSV

  nlohmann::ordered_json& json;  // written to --json FILE after the body; <nlohmann/json.hpp>
};

}  // namespace argtape_examples
