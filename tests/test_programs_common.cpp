#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <limits>
#include <locale>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/picture.hpp"
#include "examples/common/picture/drawing.hpp"
#include "examples/common/program.hpp"
#include "tests/folder.hpp"

using namespace argtape_examples;
namespace fs = std::filesystem;

namespace {

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();

// What reaches the file descriptor, whichever stream wrote it.
class Capture {
 public:
  explicit Capture(int descriptor) : descriptor_(descriptor), file_(std::tmpfile()) {
    flush();
    saved_ = ::dup(descriptor_);
    ::dup2(::fileno(file_), descriptor_);
  }
  ~Capture() {
    flush();
    ::dup2(saved_, descriptor_);
    ::close(saved_);
    std::fclose(file_);
  }
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  std::string text() {
    flush();
    std::string result(static_cast<std::size_t>(::lseek(::fileno(file_), 0, SEEK_END)), '\0');
    const auto size = ::pread(::fileno(file_), result.data(), result.size(), 0);
    result.resize(size < 0 ? 0 : static_cast<std::size_t>(size));
    return result;
  }

 private:
  static void flush() {
    std::cout.flush();
    std::fflush(stdout);
    std::fflush(stderr);
  }

  int descriptor_, saved_;
  std::FILE* file_;
};

class SearchPath {
 public:
  explicit SearchPath(const std::string& value) {
    if (const char* old = std::getenv("PATH")) old_ = old;
    ::setenv("PATH", value.c_str(), 1);
  }
  ~SearchPath() {
    if (old_) {
      ::setenv("PATH", old_->c_str(), 1);
    } else {
      ::unsetenv("PATH");
    }
  }
  SearchPath(const SearchPath&) = delete;
  SearchPath& operator=(const SearchPath&) = delete;

 private:
  std::optional<std::string> old_;
};

bool gnuplot_is_there() { return std::system("gnuplot --version >/dev/null 2>&1") == 0; }

bool is_one_line(const std::string& text) {
  return !text.empty() && text.back() == '\n' && std::count(text.begin(), text.end(), '\n') == 1;
}

struct Outcome {
  int status;
  std::string out, err;
};

template <class Body>
Outcome run(Program& program, const std::vector<std::string>& arguments, Body body) {
  std::vector<const char*> argv{"program"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  Capture out(STDOUT_FILENO), err(STDERR_FILENO);
  const int status = program.run(static_cast<int>(argv.size()), argv.data(), body);
  return {status, out.text(), err.text()};
}

}  // namespace

TEST_CASE("number: compact, whole numbers in full, NaN as a dash") {
  CHECK(number(0.0123) == "0.0123");
  CHECK(number(0.5) == "0.5");
  CHECK(number(1.2e-5) == "1.2e-05");
  CHECK(number(12345) == "12345");
  CHECK(number(999.7) == "1000");
  CHECK(number(-2500) == "-2500");
  CHECK(number(1234567) == "1.23e+06");
  CHECK(number(999999.9) == "1e+06");
  CHECK(number(3.14159, 5) == "3.1416");
  CHECK(number(0) == "0");
  CHECK(number(-0.0) == "0");
  CHECK(number(not_a_number) == "-");
  CHECK(number(-infinity) == "-inf");
}

TEST_CASE("with_error: two digits of error, the value to the same decimal") {
  CHECK(with_error(0.51234, 0.00301) == "0.5123 ± 0.0030");
  CHECK(with_error(-0.51234, 0.0123) == "-0.512 ± 0.012");
  CHECK(with_error(0.5, 0.00996) == "0.500 ± 0.010");
  CHECK(with_error(12.3, 4.56) == "12.3 ± 4.6");
  CHECK(with_error(1234.4, 56.2) == "1234 ± 56");
  CHECK(with_error(123456, 5678) == "123500 ± 5700");
  CHECK(with_error(1.2e-5, 3e-7) == "(1.200 ± 0.030)e-05");
  CHECK(with_error(0.00001, 0.5) == "0.00 ± 0.50");
  CHECK(with_error(2e8, 1e7) == "(2.00 ± 0.10)e+08");
  CHECK(with_error(0.25, 0) == "0.25 ± 0");
  CHECK(with_error(0.25, not_a_number) == "0.25 ± -");
  CHECK(with_error(not_a_number, 0.1) == "-");
}

TEST_CASE("table: columns line up by code points, not by bytes") {
  Table table({"rule", "bias", "steps"});
  table.row({"zero", {0.51234, 0.00301}, 7}).row({"exact τ", 0.25, 12345});
  std::ostringstream out;
  table.print(out);
  CHECK(out.str() ==
        "rule                bias  steps\n"
        "-------  ---------------  -----\n"
        "zero     0.5123 ± 0.0030      7\n"
        "exact τ             0.25  12345\n");
  CHECK_THROWS_AS(table.row({"too few"}), std::invalid_argument);
}

TEST_CASE("table: the CSV quotes text and keeps every digit") {
  Folder folder;
  Table table({"rule, or \"method\"", "bias"});
  table.row({"a,b", {1.0 / 3, 0.125}}).row({"say \"hi\"", 0.1}).row({"two\nlines", not_a_number});
  table.write_csv(folder / "table.csv");
  CHECK(contents(folder / "table.csv") ==
        "\"rule, or \"\"method\"\"\",bias,bias error\n"
        "\"a,b\",0.3333333333333333,0.125\n"
        "\"say \"\"hi\"\"\",0.1,\n"
        "\"two\nlines\",nan,\n");
  CHECK_THROWS_WITH_AS(table.write_csv(folder / "none/table.csv"), doctest::Contains("table.csv"),
                       std::runtime_error);
}

TEST_CASE("progress: share and time left, and nothing in a pipe") {
  CHECK(progress_line("training", 0, 10, 0) == "training    0%");
  CHECK(progress_line("training", 42, 100, 42) == "training   42%  58 s left");
  CHECK(progress_line("training", 1, 100, 1) == "training    1%  1 min 39 s left");
  CHECK(progress_line("training", 1, 10000, 1) == "training    0%  2 h 46 min left");
  CHECK(progress_line("training", 12, 10, 5) == "training  100%  0 s left");
  CHECK(progress_line("resumed", 60, 100, 10, 50) == "resumed   60%  40 s left");
  CHECK(progress_line("resumed", 50, 100, 10, 50) == "resumed   50%");
  CHECK(progress_line("nothing", 0, 0, 0) == "nothing  100%");
  Capture err(STDERR_FILENO);
  {
    Progress progress("training", 2);
    progress.step();
    ::usleep(120000);
    progress.step();
  }
  CHECK(err.text().empty());
}

TEST_CASE("program: a wrong call is one line that says what to do, and status 2") {
  Folder folder;
  std::ofstream(folder / "file") << "x";
  std::ofstream(folder / "kept") << "x";
  fs::permissions(folder / "kept", fs::perms::owner_read);
  const std::string file = folder / "file", none = folder / "none", kept = folder / "kept";
  const std::vector<std::pair<std::vector<std::string>, std::string>> calls = {
      {{"--nonsense"}, "--nonsense"},
      {{"stray"}, "stray"},
      {{"--seed", "-1"}, "--seed"},
      {{"--seed", "99999999999999999999"}, "too large"},
      {{"--seed", "1e3"}, "--seed"},
      {{"--seed"}, "--seed"},
      {{"--threads", "0"}, "must be a whole number, 1 or more"},
      {{"--threads", "two"}, "--threads"},
      {{"--categories", "1"}, "2 or more"},
      {{"--tau", "nan"}, "--tau"},
      {{"--quick=-1"}, "--quick: it has the value '-1'; need it alone"},
      {{"--fast=false"}, "--fast: it has the value 'false'; need it alone"},
      {{"--tau", "0.5x"}, "--tau"},
      {{"--json", none + "/x.json"}, "No such file or directory; name another file"},
      {{"--json", folder.path()}, "Is a directory; name another file"},
      {{"--json", kept}, "Permission denied; name another file"},
      {{"--out", file + "/below"}, "cannot create"},
      {{"--out", file}, "--out"},
      {{"--data", none}, "there is no folder"},
  };
  for (const auto& call : calls) {
    const std::string& message = call.second;
    CAPTURE(message);
    Program program("09_test", "a test");
    int categories = 10;
    double tau = 1;
    program.option("--categories", categories, "how many classes", 2);
    bool fast = false;
    program.option("--tau", tau, "the temperature");
    program.option("--fast", fast, "in a hurry");
    program.takes_digits();
    bool ran = false;
    const Outcome outcome = run(program, call.first, [&] { ran = true; });
    CHECK(outcome.status == 2);
    CHECK(is_one_line(outcome.err));
    CHECK(outcome.err.find("09_test: ") == 0);
    CHECK(outcome.err.find(message) != std::string::npos);
    CHECK(outcome.err.find("see 09_test --help") != std::string::npos);
    CHECK(outcome.out.empty());
    CHECK_FALSE(ran);
  }
}

TEST_CASE("program: a name or a path may not be empty") {
  for (const std::string flag : {"--json", "--out", "--data", "--rule"}) {
    Program program("09_test", "a test");
    std::string rule;
    program.option("--rule", rule, "just this rule");
    program.takes_digits();
    bool ran = false;
    for (const std::vector<std::string>& call :
         {std::vector<std::string>{flag, ""}, {flag + "="}}) {
      const Outcome outcome = run(program, call, [&] { ran = true; });
      CHECK(outcome.status == 2);
      CHECK(is_one_line(outcome.err));
      CHECK(outcome.err.find(flag) != std::string::npos);
    }
    CHECK_FALSE(ran);
  }
}

TEST_CASE("program: what fails says what to do, whatever was thrown") {
  const auto said = [](const std::vector<std::string>& flags, auto body) {
    Program program("09_test", "a test");
    int draws = 1, hidden = 1;
    program.option("--draws", draws, "draws");
    program.option("--hidden", hidden, "units");
    const Outcome outcome = run(program, flags, body);
    CHECK(outcome.status == 1);
    CHECK(is_one_line(outcome.err));
    return outcome.err;
  };
  const auto no_memory = [] { throw std::bad_alloc(); };
  CHECK(said({}, no_memory) == "09_test: there is not enough memory; free some, or try --quick\n");
  CHECK(said({"--hidden", "9"}, no_memory) ==
        "09_test: there is not enough memory; choose less for --hidden\n");
  CHECK(said({"--hidden", "9", "--draws", "8"}, [] {
          std::vector<int>().reserve(std::size_t(-1));
        }) == "09_test: there is not enough memory; choose less for --draws or --hidden\n");
  CHECK(said({}, std::function<void()>()) ==
        "09_test: a function that was to be called is missing; give the code one\n");
}

TEST_CASE(
    "program: advice after a failed step names what was given, and the rate once it can matter") {
  const auto advice = [](const std::vector<std::string>& flags, std::size_t steps) {
    Program program("09_test", "a test");
    double rate = 1, tau = 1, lambda = 1;
    program.option("--rate", rate, "Adam's");
    program.option("--temperature", tau, "tau");
    program.option("--lambda", lambda, "lambda");
    std::string text;
    run(program, flags, [&] {
      text = program.advice(steps, "--rate", {"--temperature", "--lambda"});
    });
    return text;
  };
  CHECK(advice({}, 3) == "; training diverged at step 3, so lower --rate");
  CHECK(advice({"--rate", "9"}, 3) == "; training diverged at step 3, so lower --rate");
  CHECK(advice({"--rate", "9"}, 0) == "; it came in the first step of training");
  CHECK(advice({"--temperature", "9"}, 3) ==
        "; it came at step 3 of training, so choose a milder --temperature");
  CHECK(advice({"--temperature", "9", "--rate", "9"}, 0) ==
        "; it came at step 0 of training, so choose a milder --temperature");
  CHECK(advice({"--temperature", "9", "--rate", "9", "--lambda", "9"}, 1) ==
        "; it came at step 1 of training, so choose a milder --temperature, --lambda or --rate");
}

TEST_CASE("program: numbers are read and shown alike in every locale") {
  const std::string old = std::setlocale(LC_ALL, nullptr);
  const char* german = nullptr;
  for (const char* name : {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"})
    if (!german) german = std::setlocale(LC_ALL, name);
  if (!german) MESSAGE("no locale with a decimal comma is installed");
  struct Comma : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Comma));
  CHECK(number(0.0123) == "0.0123");
  CHECK(with_error(0.512, 0.003) == "0.5120 ± 0.0030");
  CHECK(with_error(123456, 1200) == "123500 ± 1200");
  CHECK(progress_line("t", 1, 10000, 1) == "t    0%  2 h 46 min left");
  Program program("09_test", "a test");
  double tau = 0.25;
  program.option("--tau", tau, "the temperature");
  const Outcome help = run(program, {"--help"}, [] {});
  CHECK(help.out.find("0.25") != std::string::npos);
  CHECK(run(program, {"--tau", "1.5"}, [] {}).status == 0);
  CHECK(tau == 1.5);
  CHECK(run(program, {"--tau", "1,5"}, [] {}).status == 2);
  std::locale::global(before);
  std::setlocale(LC_ALL, old.c_str());
}

TEST_CASE("program: the flags arrive, its own and CLI11's") {
  Folder folder;
  const std::string out = folder / "a/b";
  Program program("09_test", "a test");
  int categories = 10;
  double tau = 1;
  std::string rule = "zero";
  bool hard = false;
  program.option("--categories", categories, "how many classes");
  program.option("--tau", tau, "the temperature");
  program.option("--rule", rule, "the backward rule");
  program.option("--hard", hard, "one-hot values");
  const Outcome outcome =
      run(program,
          {"--seed", "18446744073709551615", "--threads=3", "--quick", "--out", out, "--categories",
           "4", "--tau", "-1.5e-3", "--rule", "st", "--hard"},
          [&] { CHECK(fs::is_directory(out)); });
  CHECK(outcome.status == 0);
  CHECK(outcome.err.empty());
  CHECK(program.seed == 18446744073709551615u);
  CHECK(program.threads == 3);
  CHECK(program.quick);
  CHECK(categories == 4);
  CHECK(tau == -1.5e-3);
  CHECK(rule == "st");
  CHECK(hard);
  CHECK(program.given("--hard"));
  CHECK_FALSE(program.given("--json"));
}

TEST_CASE("program: defaults, and --help with status 0") {
  Program program("09_test", "what it shows");
  CHECK(program.seed == 1);
  CHECK(program.threads == 1);
  const Outcome outcome = run(program, {"--help"}, [] { FAIL("--help must not run the body"); });
  CHECK(outcome.status == 0);
  CHECK(outcome.err.empty());
  for (const char* part : {"what it shows", "--seed", "--threads", "--json", "--out", "--quick"}) {
    CHECK(outcome.out.find(part) != std::string::npos);
  }
  CHECK(outcome.out.find("--data") == std::string::npos);
}

TEST_CASE("program: a failure in the body is one line and status 1, a WrongCall is status 2") {
  Folder folder;
  const std::string file = folder / "figures.json";
  std::ofstream(file) << "the last good run";
  Program failing("09_test", "a test");
  const Outcome failed =
      run(failing, {"--json", file}, [] { throw std::runtime_error("the loss\nis NaN"); });
  CHECK(failed.status == 1);
  CHECK(failed.err == "09_test: the loss is NaN\n");
  CHECK(contents(file) == "the last good run");
  CHECK(folder.files() == 1);

  Program wrong("09_test", "a test");
  const Outcome called = run(wrong, {}, [] { throw WrongCall("--a needs --b"); });
  CHECK(called.status == 2);
  CHECK(called.err == "09_test: --a needs --b; see 09_test --help\n");
}

TEST_CASE("program: the JSON is complete, with null for what is not finite") {
  Folder folder;
  const std::string file = folder / "figures.json";
  Program program("09_test", "a test");
  const Outcome outcome = run(program, {"--json", file, "--seed", "7"}, [&] {
    program.json["loss"] = not_a_number;
    program.figure("accuracy", {0.75, 0.5});
    program.figure("steps", 1000);
    program.json["list"] = {1.5, infinity};
    program.json["bytes"] = "\xff";
    program.show(Table({"rule", "bias"}).row({"zero", {0.5, 0.25}}).row({"exact", not_a_number}),
                 "rules");
    CHECK_FALSE(fs::exists(file));
  });
  CHECK(outcome.status == 0);
  CHECK(folder.files() == 1);
  const auto json = nlohmann::ordered_json::parse(contents(file));
  CHECK(json["program"] == "09_test");
  CHECK(json["seed"] == 7);
  CHECK(json["quick"] == false);
  CHECK(json["loss"].is_null());
  CHECK(json["accuracy"] == 0.75);
  CHECK(json["accuracy error"] == 0.5);
  CHECK(json["steps"].is_number_integer());
  CHECK(json["list"][1].is_null());
  CHECK(json["rules"][0] ==
        nlohmann::ordered_json{{"rule", "zero"}, {"bias", 0.5}, {"bias error", 0.25}});
  CHECK(json["rules"][1]["bias"].is_null());
}

TEST_CASE("program: --out gets a table's CSV, and a name is used once") {
  Folder folder;
  Program program("09_test", "a test");
  const Table table = Table({"a", "b"}).row({"x", 1});
  const Outcome outcome = run(program, {"--out", folder.path()}, [&] {
    program.show(table, "one");
    program.show(table, "one");
  });
  CHECK(outcome.status == 1);
  CHECK(outcome.err.find("'one'") != std::string::npos);
  CHECK(outcome.out == "a  b\n-  -\nx  1\n");
  CHECK(contents(folder / "one.csv") == "a,b\nx,1\n");
}

TEST_CASE("write_file: replaces whole files, writes through links and devices") {
  Folder folder;
  write_file(folder / "file", "old and longer");
  fs::create_symlink(folder / "file", folder / "link");
  write_file(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(contents(folder / "file") == "new");
  // What its owner alone may read stays so.
  fs::permissions(folder / "file", fs::perms::owner_read | fs::perms::owner_write);
  write_file(folder / "file", "newer");
  CHECK(contents(folder / "file") == "newer");
  CHECK(fs::status(folder / "file").permissions() ==
        (fs::perms::owner_read | fs::perms::owner_write));
  CHECK_NOTHROW(write_file("/dev/null", "x"));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  const int reader = ::open((folder / "pipe").c_str(), O_RDONLY | O_NONBLOCK);
  require_writable_file(folder / "pipe");
  write_file(folder / "pipe", "through");
  char read[8] = {};
  CHECK(::read(reader, read, 7) == 7);
  CHECK(std::string(read) == "through");
  ::close(reader);
  fs::remove(folder / "pipe");
  CHECK_FALSE(fs::is_regular_file("/dev/null"));
  CHECK_THROWS_WITH_AS(write_file(folder.path(), "x"), doctest::Contains("Is a directory"),
                       std::runtime_error);
  CHECK(folder.files() == 2);
  if (fs::exists("/dev/full")) CHECK_THROWS_AS(write_file("/dev/full", "x"), std::runtime_error);
  CHECK_THROWS_WITH_AS(require_writable_file("/dev/none/file"), doctest::Contains("No such file"),
                       std::runtime_error);
  const fs::path memory = "/dev/shm/argtape test " + std::to_string(::getpid());
  if (fs::exists("/dev/shm") && ::access("/dev/shm", W_OK) == 0) {
    for (const char* text : {"old and longer", "new"}) write_file(memory, text);
    CHECK(contents(memory) == "new");
    fs::remove(memory);
  }
}

TEST_CASE("picture: the CSV of each kind, with or without gnuplot") {
  Folder folder;
  const SearchPath nowhere(folder / "empty");
  Capture err(STDERR_FILENO);

  Picture lines("t", "x", "y");
  lines.line("a,b", {0, 1}, {0.1, not_a_number}, {0, 0.5}, {0.2, 1}).line("plain", {2}, {3});
  std::ofstream(folder / "lines.svg") << "an earlier run's";
  const std::string hint = draw(lines, folder.path(), "lines");
  CHECK(contents(folder / "lines.csv") ==
        "series,x,y,low,high\n\"a,b\",0,0.1,0,0.2\n\"a,b\",1,nan,0.5,1\nplain,2,3,,\n");
  CHECK(hint.find("gnuplot-nox with apt") != std::string::npos);
  CHECK(hint.find("conda-forge") != std::string::npos);
  CHECK(hint.find('\n') == std::string::npos);
  CHECK_FALSE(fs::exists(folder / "lines.svg"));

  Picture points("t");
  points.points("p", {1, 2}, {3, 4}, {0.5, 0.25}).points("q", {1}, {1}, {}, {0.5});
  CHECK(draw(points, folder.path(), "points") == hint);
  CHECK(contents(folder / "points.csv") ==
        "series,x,y,low,high,x_low,x_high\n"
        "p,1,3,2.5,3.5,,\np,2,4,3.75,4.25,,\nq,1,1,,,0.5,1.5\n");

  Picture bars("t");
  bars.categories = {"cat", "big dog"};
  bars.bars("exact", {0.5, 0.25}).bars("sampled", {0.5, 0.75}, {0.25, 0.5});
  draw(bars, folder.path(), "bars");
  CHECK(contents(folder / "bars.csv") ==
        "series,x,y,low,high\nexact,cat,0.5,,\nexact,big dog,0.25,,\n"
        "sampled,cat,0.5,0.25,0.75\nsampled,big dog,0.75,0.25,1.25\n");

  Picture grid("t");
  grid.image("one", 1, 2, {0, 0.5}).image("", 2, 1, {1, 16});
  draw(grid, folder.path(), "grid");
  CHECK(contents(folder / "grid.csv") ==
        "image,row,column,value\none,0,0,0\none,0,1,0.5\n2,0,0,1\n2,1,0,16\n");

  draw(Picture("t").surface(
           0, 1, 2, 4, [](double x, double y) { return x * y; }, 2),
       folder.path(), "surface");
  CHECK(contents(folder / "surface.csv") == "series,x,y,z\n,0,2,0\n,0,4,0\n,1,2,2\n,1,4,4\n");

  const std::string said = err.text();
  CHECK(std::count(said.begin(), said.end(), '\n') <= 1);
  CHECK(folder.files() == 5);
}

TEST_CASE("picture: without gnuplot a table and one line that says what to install") {
  Folder folder;
  const SearchPath nowhere(folder / "empty");
  Picture picture("How far");
  picture.line("long name", {1, 2}, {1.0 / 3, not_a_number}).line("b", {10}, {2});
  std::string problem;
  CHECK(to_svg(picture, problem) == "");
  CHECK(problem.find("gnuplot was not found: for pictures install gnuplot-nox") == 0);
  CHECK(to_text(picture) ==
        "How far\nseries     x   y\nlong name  1   0.3333\nlong name  2   -\nb          10  2\n");
  const std::string many = to_text(Picture("t").image("", 10, 10, std::vector<double>(100)));
  CHECK(std::count(many.begin(), many.end(), '\n') == 26);
  CHECK(many.find("and 77 rows more\n") != std::string::npos);
}

TEST_CASE("picture: what cannot be drawn is refused, what cannot be written is named") {
  Folder folder;
  CHECK_THROWS_AS(draw(Picture("empty"), folder.path(), "x"), std::invalid_argument);
  CHECK_THROWS_AS(Picture("t").line("a", {1, 2}, {1}), std::invalid_argument);
  CHECK_THROWS_AS(Picture("t").line("a", {1}, {1}, {0}), std::invalid_argument);
  CHECK_THROWS_AS(Picture("t").points("a", {1}, {1}, {1, 2}), std::invalid_argument);
  CHECK_THROWS_AS(Picture("t").image("a", 2, 2, {1, 2, 3}), std::invalid_argument);
  Picture mixed("t");
  mixed.categories = {"a"};
  mixed.bars("b", {1}).line("l", {1}, {1});
  CHECK_THROWS_AS(draw(mixed, folder.path(), "x"), std::invalid_argument);
  CHECK_THROWS_AS(draw(Picture("t").bars("b", {1}), folder.path(), "x"), std::invalid_argument);
  const auto flat = [](double, double, double) { return 1.0; };
  CHECK_THROWS_AS(Picture("t").simplex(flat, 1), std::invalid_argument);
  CHECK_THROWS_AS(draw(Picture("t").simplex(flat).line("l", {1}, {1}), folder.path(), "x"),
                  std::invalid_argument);
  CHECK_THROWS_AS(draw(Picture("t").simplex(flat).simplex(flat), folder.path(), "x"),
                  std::invalid_argument);
  CHECK_THROWS_WITH_AS(draw(Picture("t").line("a", {1}, {1}), folder / "none", "curve"),
                       doctest::Contains("curve.csv"), std::runtime_error);
  CHECK(folder.files() == 0);
}

TEST_CASE("picture: a gnuplot that fails leaves the CSV and says why") {
  Folder folder;
  fs::create_directory(folder / "bin");
  std::ofstream(folder / "bin/gnuplot") << "#!/bin/sh\necho 'no such terminal' >&2\nexit 1\n";
  fs::permissions(folder / "bin/gnuplot", fs::perms::owner_all);
  const SearchPath broken(folder / "bin");
  Capture err(STDERR_FILENO);
  const std::string hint = draw(Picture("t").line("a", {1}, {1}), folder.path(), "curve");
  CHECK(hint == "gnuplot failed (no such terminal)");
  std::ofstream(folder / "bin/gnuplot") << "#!/bin/sh\nexit 1\n";
  CHECK(draw(Picture("t").line("a", {1}, {1}), folder.path(), "curve") ==
        "gnuplot failed (it gave no reason)");
  // It may not take for ever, where the system can tell.
  fs::rename(folder / "bin/gnuplot", folder / "bin/timeout");
  std::ofstream(folder / "bin/timeout") << "#!/bin/sh\necho \"$1 $2\" >&2\nexit 124\n";
  CHECK(draw(Picture("t").line("a", {1}, {1}), folder.path(), "curve") ==
        "gnuplot failed (60 gnuplot)");
  CHECK(fs::exists(folder / "curve.csv"));
  CHECK_FALSE(fs::exists(folder / "curve.svg"));
}

TEST_CASE("what is no UTF-8 is replaced on the page and in pictures") {
  CHECK(utf8("a\xff\xc3\xa4\xc3") == "a\ufffd\u00e4\ufffd");
  CHECK(gnuplot_string("a\xff") == "\"a\ufffd\"");
  Folder folder;
  Program program("09_test", "a test");
  std::string text;
  program.option("--text", text, "some text");
  CHECK(run(program, {"--out", folder.path(), "--text", "b\xff<"}, [] {}).status == 0);
  CHECK(contents(folder / "report.html").find("b\ufffd&lt;") != std::string::npos);
}

TEST_CASE("program: two outputs are not one file, and what cannot be written is told before") {
  Folder folder;
  fs::create_directory(folder / "out");
  fs::create_directory_symlink(folder / "out", folder / "link");
  const std::string out = folder / "out";
  const auto refused = [&](const std::vector<std::string>& flags, const std::string& words) {
    Program program("09_test", "a test");
    const Outcome outcome = run(program, flags, [&] {
      program.writes("--save", folder / "out/a.npz");
      FAIL("it ran");
    });
    CHECK(outcome.status == 2);
    CHECK_MESSAGE(outcome.err.find(words) != std::string::npos, outcome.err);
  };
  for (const char* name : {"report.html", "rules.csv", "rules.svg"}) {
    const std::string file = folder / (std::string("link/") + name);
    refused({"--out", out, "--json", file}, "--json: '" + file + "' is --out's too; name another");
  }
  refused({"--json", folder / "link/a.npz"}, "a.npz' is --json's too; name another");
  refused({"--json", "/dev/none/file"}, "No such file or directory; name another file");
  refused({"--json", folder / std::string(252, 'x')}, "File name too long");
  fs::create_directory(folder / "out/report.html");
  refused({"--out", out},
          "--out: cannot write '" + out + "/report.html': Is a directory; name another folder");
}

TEST_CASE("picture: gnuplot draws every kind") {
  if (!gnuplot_is_there()) {
    MESSAGE("left out, since there is no gnuplot: pictures");
    return;
  }
  Folder folder;
  std::vector<Picture> pictures;
  pictures.push_back(
      Picture("lines").line("a", {1, 2, 3}, {1, not_a_number, 2}, {0, 0, -1}, {2, 2, 3}));
  pictures.back().y.log = pictures.back().x.log = true;
  pictures.push_back(Picture("many"));
  for (int i = 0; i < 20; ++i) pictures.back().line("line " + std::to_string(i), {0, 1}, {0, 1});
  pictures.push_back(Picture("points").points("a", {1}, {1}, {1}, {1}).points("b", {2}, {2}));
  pictures.back().rings = pictures.back().x.log = pictures.back().y.log = true;
  pictures.push_back(Picture("no marks").line("a", {1, 2}, {1, 2}).line("b", {1, 2}, {2, 1}));
  pictures.back().series[0].size = 0;
  pictures.push_back(Picture("nothing finite").line("a", {1, 2}, {not_a_number, infinity}));
  pictures.push_back(Picture("far").points("a", {-1.7e308, 1.7e308}, {-1.7e308, 1.7e308}));
  pictures.push_back(Picture("bars").bars("a", {1, -2}, {0.5, 0.5}).bars("b", {not_a_number, 0}));
  pictures.back().categories = {"a%g 50%",
                                "a very long name of a category 'quoted' " + std::string(100, 'x')};
  pictures.push_back(Picture("images")
                         .image("one pixel", 1, 1, {3})
                         .image("", 2, 3, {1, 2, 3, not_a_number, 5, 6}));
  pictures.push_back(Picture("a surface").surface(0, 1, -1, 1, [](double x, double y) {
    return x > 0.5 ? not_a_number : x * y;
  }));
  pictures.push_back(Picture("a triangle").simplex([](double a, double b, double c) {
    return std::max({a, b, c});
  }));
  pictures.back().categories = {"cat", "dog", "owl"};
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    CAPTURE(pictures[i].title);
    const std::string name = "picture " + std::to_string(i);
    CHECK(draw(pictures[i], folder.path(), name) == "");
    const std::string svg = contents(folder / (name + ".svg"));
    CHECK(svg.find("<?xml") == 0);
    CHECK(svg.find("</svg>") != std::string::npos);
    CHECK(svg.find(">" + pictures[i].title + "<") != std::string::npos);
    for (const std::string& category : pictures[i].categories)
      CHECK(svg.find(category.substr(0, 30)) != std::string::npos);
  }
  CHECK(folder.files() == 2 * pictures.size());
}

TEST_CASE("picture: a triangle's function is asked at probabilities, and placed where they are") {
  std::vector<std::array<double, 3>> asked;
  const Picture picture = Picture("t").simplex(
      [&](double a, double b, double c) {
        asked.push_back({a, b, c});
        return a;
      },
      5);
  const Series& one = picture.series[0];
  REQUIRE(asked.size() == 25);
  for (std::size_t k = 0; k < asked.size(); ++k) {
    const auto [a, b, c] = asked[k];
    CHECK(a + b + c == doctest::Approx(1));
    CHECK(std::min({a, b, c}) >= 0);
    CHECK(one.x[k] == doctest::Approx(b + c / 2));
    CHECK(one.y[k] == doctest::Approx(c * std::sqrt(0.75)));
    CHECK(one.z[k] == a);
  }
}

TEST_CASE("axis: zero, what is below it and what is far above have a place on a log axis") {
  const auto labels = [](const Scale& scale) {
    std::vector<std::string> all;
    for (const double tic : scale.tics(0.07)) all.push_back(number(tic, 6));
    return all;
  };
  const Scale log({"", true}, {0, 1e-3, 1, not_a_number, infinity});
  CHECK(log.share(0) > 0);
  CHECK(log.share(1e-3) - log.share(0) > 0.1);
  CHECK(log(1) - log(0.1) == doctest::Approx(log(10) - log(1)).epsilon(0.001));
  CHECK(joined(labels(log)) ==
        "0, 0.0004, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1");
  // What is as good as zero stands there.
  const Scale nearly({"", true, 0, 1e-6}, {1e-9, 0, 1});
  CHECK(nearly.share(1e-9) == doctest::Approx(nearly.share(0)).epsilon(0.001));
  const Scale below({"", true}, {-0.5, 0.01, 1});
  CHECK(below.share(-0.5) > 0);
  CHECK(below.share(0) > below.share(-0.5));
  // An outlier leaves the others apart.
  const Scale outlier({"", true, 10, 1}, {10, 10.5, 11, 1000});
  CHECK(outlier.share(11) - outlier.share(10) > 0.1);
  CHECK(outlier.share(1000) < 1);
  // Numbers that are all but equal, and all there are.
  for (const std::vector<double>& extremes :
       {std::vector<double>{1e16, 1e16 + 2}, {-1e308, 1e308}, {5e-324, 1e308}, {}, {0}, {-3}}) {
    const Scale scale({"", true}, extremes);
    double before = -1;
    for (const double tic : scale.tics(0.07)) {
      CHECK(scale.share(tic) - before > 0.069);
      before = scale.share(tic);
    }
    for (const double value : extremes) {
      CHECK(scale.share(value) >= 0);
      CHECK(scale.share(value) <= 1);
    }
  }
  CHECK(Scale({}, {1, 3}).share(2) == doctest::Approx(0.5));
  CHECK(Scale({}, {0, 3}, true).low() == 0);
}

TEST_CASE("labels: in a column none overlap, and they keep their order") {
  std::vector<double> heights = {500, 302, 301, 300, 100, 95, 95, 20};
  spread_out(heights, 510);
  for (std::size_t i = 0; i < heights.size(); ++i) {
    CHECK(heights[i] >= 0);
    CHECK(heights[i] <= 510);
    if (i > 0) CHECK(heights[i - 1] - heights[i] >= line_height - 0.01);
  }
  CHECK(heights.front() == 500);
  CHECK(heights.back() == 20);
  std::vector<double> low(10, 0.0);
  spread_out(low, 510);
  CHECK(low.front() == doctest::Approx(9 * line_height));
}

TEST_CASE("labels: beside their marks, on none and on no other label, inside") {
  const Box plot = {0, 800, 0, 500};
  std::vector<Box> taken;
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) {
    const double x = 20.0 + 37 * (i * 7 % 20), y = 15.0 + 24 * (i * 3 % 20);
    taken.push_back({x - 5, x + 5, y - 5, y + 5});
    names.push_back("name " + std::to_string(i));
  }
  const std::vector<Box> marks = taken;
  for (std::size_t i = 0; i < names.size(); ++i) {
    CAPTURE(names[i]);
    const auto at = beside(names[i], marks[i], plot, taken);
    REQUIRE(at);
    CHECK(taken.back().left == at->x);
    CHECK(std::abs(at->y - (marks[i].bottom + 5)) < 30);
  }
  CHECK_FALSE(beside(std::string(120, 'x'), marks[0], plot, taken));
  REQUIRE(taken.size() == 40);
  for (std::size_t i = 20; i < taken.size(); ++i) {
    CHECK(taken[i].left >= 0);
    CHECK(taken[i].right <= 800);
    for (std::size_t k = 0; k < i; ++k)
      CHECK((taken[k].left >= taken[i].right || taken[k].right <= taken[i].left ||
             taken[k].bottom >= taken[i].top || taken[k].top <= taken[i].bottom));
  }
}

TEST_CASE("picture: fifteen series are told apart, without colours too") {
  Picture picture("t");
  for (int i = 0; i < 15; ++i) picture.line(std::to_string(i), {0, 1}, {0, 1});
  const std::string script = script_for(picture);
  // Each line's dash and colour, and its mark and colour.
  std::vector<std::string> dashes, marks, colours;
  const auto word_after = [&](const std::string& key, std::size_t at) {
    const std::size_t begin = script.find(key, at) + key.size();
    return script.substr(begin, script.find(' ', begin) - begin);
  };
  for (std::size_t at = 0; (at = script.find("with lines lw", at)) != std::string::npos; ++at) {
    dashes.push_back(word_after(" dt ", at));
    colours.push_back(word_after(" lc rgb ", at));
    marks.push_back(word_after(" pt ", at));
  }
  REQUIRE(dashes.size() == 15);
  for (std::size_t i = 0; i < 15; ++i)
    for (std::size_t k = 0; k < i; ++k) {
      CHECK((marks[i] != marks[k] || dashes[i] != dashes[k]));
      CHECK((colours[i] != colours[k] || (marks[i] != marks[k] && dashes[i] != dashes[k])));
    }
}

TEST_CASE("picture: no text reaches a shell or gnuplot's interpreter") {
  if (!gnuplot_is_there()) {
    MESSAGE("left out, since there is no gnuplot: pictures");
    return;
  }
  Folder folder;
  const std::string touch = "touch \"" + folder / "owned" + "\"";
  const std::vector<std::string> texts = {
      "a_b^c {x} `" + touch + "`",
      "$(" + touch + ") @GPVAL_VERSION",
      "'; system('" + touch + "'); '",
      "\"; system(\"" + touch + "\"); \"",
      "\nsystem('" + touch + "')\n!" + touch + "\n",
      "' . system('" + touch + "') . '",
      "ends in a backslash \\",
      "EOD\n!" + touch,
  };
  for (std::size_t i = 0; i < texts.size(); ++i) {
    CAPTURE(texts[i]);
    const std::string name = "text" + std::to_string(i);
    Picture lines(texts[i], texts[i], texts[i]);
    lines.line(texts[i], {1, 2}, {1, 2}).line(texts[i], {1, 2}, {2, 1});
    CHECK(draw(lines, folder.path(), name) == "");
    Picture bars(texts[i]);
    bars.categories = {texts[i]};
    CHECK(draw(bars.bars(texts[i], {1}), folder.path(), "bars" + name) == "");
    Picture grid(texts[i]);
    CHECK(draw(grid.image(texts[i], 1, 1, {1}), folder.path(), "grid" + name) == "");
    CHECK_FALSE(fs::exists(folder / "owned"));
  }
  const std::string title = "under_score `date` $(date) \"quoted\" it's 100% \\n @x, 0/1 τ=0.5";
  CHECK(draw(Picture(title).line("a", {1, 2}, {1, 2}), folder.path(), "title") == "");
  CHECK(contents(folder / "title.svg").find(">" + title + "<") != std::string::npos);
}
