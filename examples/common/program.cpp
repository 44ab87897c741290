#include "examples/common/program.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <functional>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "examples/common/report.hpp"

namespace argtape_examples {

namespace fs = std::filesystem;

namespace {

constexpr char kPage[] = "report.html";
constexpr auto fixed = std::chars_format::fixed, scientific = std::chars_format::scientific;

int decimal_exponent(double value, int digits) {
  const std::string text = formatted(scientific, digits - 1, std::abs(value));
  return std::stoi(text.substr(text.find('e') + 1));
}

std::string one_line(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
  while (!text.empty() && (text.back() == ' ' || text.back() == '.')) text.pop_back();
  return text;
}

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(std::min(std::ceil(seconds), 359999.0));
  const auto text = [](long long n, const char* unit) { return std::to_string(n) + unit; };
  if (whole >= 3600) return text(whole / 3600, " h ") + text(whole / 60 % 60, " min");
  if (whole >= 60) return text(whole / 60, " min ") + text(whole % 60, " s");
  return text(whole, " s");
}

// nlohmann's destructors ask for memory, and what a destructor throws ends the process: even then
// it says why, in the memory that is held back for that.
void end_in_words(std::function<int()> out_of_memory) {
  static std::function<int()> say;
  static void* held;
  static const std::terminate_handler otherwise = std::get_terminate();
  constexpr std::size_t bytes = 1 << 20;
  say = std::move(out_of_memory);
  std::free(std::exchange(held, std::malloc(bytes)));
  std::set_terminate([] {
    std::free(std::exchange(held, nullptr));
    try {
      if (const std::exception_ptr thrown = std::current_exception())
        std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      std::_Exit(say());
    } catch (...) {
    }
    otherwise();
  });
}

// CLI11 2.1 wraps -1 around to 2^64 - 1, reads 010 as eight and saturates what is too large.
template <class Integer>
CLI::Validator whole_number(Integer minimum) {
  return CLI::Validator(
      [minimum](const std::string& text) {
        Integer value{};
        const char* end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, value);
        const bool octal = text.size() > 1 && text[0] == '0';
        if (error == std::errc::result_out_of_range) return "too large: '" + text + "'";
        if (error != std::errc() || stop != end || octal || value < minimum) {
          return "must be a whole number, " + std::to_string(minimum) + " or more, not '" + text +
                 "'";
        }
        return std::string();
      },
      "");
}

// A decimal point in every locale; no number if it is not finite, or too large for a double.
std::optional<double> finite_number(const std::string& text) {
  double value = 0;
  const char *begin = text.data(), *end = begin + text.size();
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') ++begin;
  const auto [stop, error] = std::from_chars(begin, end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return std::nullopt;
  return value;
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) {
        return text.empty() ? std::string("it is empty; need a name") : std::string();
      },
      "");
}

// --quick=no would be taken for --quick.
CLI::Validator alone() {
  return CLI::Validator(
      [](const std::string& text) {
        return text == "true" ? std::string() : "it has the value '" + text + "'; need it alone";
      },
      "");
}

std::string one_of(std::vector<std::string> words) {
  const std::string last = words.back();
  words.pop_back();
  return words.empty() ? last : joined(words) + " or " + last;
}

// "a,,b" has an empty word in between.
std::vector<std::string> parts(const std::string& list) {
  std::vector<std::string> all;
  std::istringstream in(list + ',');
  for (std::string word; std::getline(in, word, ',');) all.push_back(word);
  return all;
}

// A standard stream that is closed stays out of reach: else the next file that is opened takes its
// place, and what is printed lands there.
void keep_standard_streams_apart() {
  for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (::fcntl(stream, F_GETFD) < 0) {
      const int file = ::open("/dev/null", O_RDONLY);  // the lowest number that is free
      if (file > STDERR_FILENO) ::close(file);
    }
}

void require_writable_folder(const fs::path& folder, const std::string& flag) {
  if (!fs::is_directory(status_of(folder))) {
    throw WrongCall(flag + ": there is no folder '" + folder.string() + "'; create it first");
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw WrongCall(flag + ": cannot write in '" + folder.string() + "'; choose another folder");
  }
}

std::vector<bool> columns_with_errors(const Table& table) {
  std::vector<bool> result(table.headers().size(), false);
  for (const auto& row : table.rows()) {
    for (std::size_t i = 0; i < row.size(); ++i) result[i] = result[i] || row[i].has_error();
  }
  return result;
}

nlohmann::ordered_json json_value(const Cell& cell) {
  return std::visit([](const auto& value) { return nlohmann::ordered_json(value); }, cell.value());
}

}  // namespace

std::string with_error(double value, double error) {
  if (std::isnan(value)) return "-";
  if (!std::isfinite(value) || !std::isfinite(error) || error == 0) {
    return number(value) + " ± " + number(error);
  }
  error = std::abs(error);
  const int largest = decimal_exponent(std::max(std::abs(value), error), 2);
  const bool with_power = largest < -3 || largest > 5;
  const int finest = decimal_exponent(error, 2) - 1;
  // A double holds no more than 17 digits, however small the error is.
  const int decimals = std::min(with_power ? largest - finest : -finest, 17);
  const auto both = [&](double unit) {
    const int shown = std::max(decimals, 0);
    return formatted(fixed, shown, value / unit) + " ± " + formatted(fixed, shown, error / unit);
  };
  if (with_power) {
    const double scale = std::pow(10.0, largest);
    const std::string power = formatted(scientific, 0, scale);
    return '(' + both(scale) + ')' + power.substr(power.find('e'));
  }
  if (decimals < 0) {
    const double unit = std::pow(10.0, -decimals);
    value = std::round(value / unit) * unit;
    error = std::round(error / unit) * unit;
  }
  return both(1);
}

Estimate mean_of(const std::vector<double>& runs) {
  const auto n = static_cast<double>(runs.size());
  double mean = 0, squares = 0;
  for (double v : runs) mean += v / n;
  for (double v : runs) squares += (v - mean) * (v - mean);
  return {mean, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0};
}

std::string joined(const std::vector<std::string>& words, const std::string& between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

std::string Cell::text() const {
  if (const auto* text = std::get_if<std::string>(&value_)) return *text;
  if (const auto* whole = std::get_if<std::int64_t>(&value_)) return std::to_string(*whole);
  const double value = std::get<double>(value_);
  return has_error_ ? with_error(value, error_) : number(value, 4);
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {}

Table& Table::row(std::vector<Cell> cells) {
  if (cells.size() != headers_.size()) {
    throw std::invalid_argument("Table: a row of " + std::to_string(cells.size()) +
                                " cells under " + std::to_string(headers_.size()) + " headers");
  }
  rows_.push_back(std::move(cells));
  return *this;
}

void Table::print(std::ostream& out) const {
  std::vector<std::vector<std::string>> lines{headers_};
  for (const auto& row : rows_) {
    lines.emplace_back();
    for (const Cell& cell : row) lines.back().push_back(cell.text());
  }
  std::vector<std::size_t> widths(headers_.size(), 0);
  for (const auto& line : lines) {
    for (std::size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], text_width(line[i]));
    }
  }
  for (std::size_t r = 0; r < lines.size(); ++r) {
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const std::string padding(widths[i] - text_width(lines[r][i]), ' ');
      if (i == 0) {
        out << lines[r][i] << (widths.size() > 1 ? padding : "");
      } else {
        out << "  " << padding << lines[r][i];
      }
    }
    out << '\n';
    if (r > 0) continue;
    for (std::size_t i = 0; i < widths.size(); ++i) {
      out << (i == 0 ? "" : "  ") << std::string(widths[i], '-');
    }
    out << '\n';
  }
}

void Table::write_csv(const fs::path& path) const {
  const std::vector<bool> errors = columns_with_errors(*this);
  std::string text;
  const auto add = [&text](std::size_t column, const std::string& field) {
    text += (column == 0 ? "" : ",") + csv_field(field);
  };
  for (std::size_t i = 0; i < headers_.size(); ++i) {
    add(i, headers_[i]);
    if (errors[i]) add(i + 1, headers_[i] + " error");
  }
  text += '\n';
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto* value = std::get_if<double>(&row[i].value());
      add(i, value ? exact(*value) : row[i].text());
      if (errors[i]) add(i + 1, row[i].has_error() ? exact(row[i].error()) : "");
    }
    text += '\n';
  }
  write_file(path, text);
}

std::string progress_line(const std::string& label, std::size_t done, std::size_t total,
                          double seconds, std::size_t before) {
  done = std::min(done, total);
  const std::size_t percent = total == 0 ? 100 : 100 * done / total;
  std::string text = label +
                     std::string(percent < 10    ? 4
                                 : percent < 100 ? 3
                                                 : 2,
                                 ' ') +
                     std::to_string(percent) + '%';
  if (done > before) {
    const double left =
        seconds * static_cast<double>(total - done) / static_cast<double>(done - before);
    text += "  " + duration(left) + " left";
  }
  return text;
}

Progress::Progress(std::string label, std::size_t total, std::size_t before)
    : label_(std::move(label)),
      total_(total),
      before_(before),
      done_(before),
      terminal_(::isatty(STDERR_FILENO) == 1),
      start_(Clock::now()),
      last_(start_) {}

Progress::~Progress() { finish(); }

void Progress::step(std::size_t steps) {
  if (!terminal_) return;
  done_ += steps;
  const Clock::time_point now = Clock::now();
  if (now - last_ < std::chrono::milliseconds(100)) return;
  last_ = now;
  drawn_ = true;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  // One write, so that nothing printed meanwhile lands in the middle of the line.
  const std::string line = "\r\033[K" + progress_line(label_, done_, total_, seconds, before_);
  std::fputs(line.c_str(), stderr);
}

void Progress::finish() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

struct Program::State {
  State(const std::string& program, const std::string& description)
      : app(description, program), name(program) {}

  void check_paths(Program& program);
  void claim(const std::string& shown);
  int complain(int status, const std::string& message) const;
  int printed() const;
  int out_of_memory() const;
  Table asked() const;

  CLI::App app;
  std::optional<Report> report;  // with --out
  nlohmann::ordered_json json;
  std::string name;
  std::string json_file;
  std::string failure;  // told at the end
  std::set<std::string> names_shown;
  std::map<fs::path, std::string> written;  // by which flag
  std::vector<std::string> sizes;           // the flags that take a whole number
};

void Program::State::check_paths(Program& program) {
  const auto check = [](const std::string& flag, const fs::path& file, const char* kind) {
    try {
      require_writable_file(file);
    } catch (const std::system_error& e) {
      throw WrongCall(flag + ": " + e.what() + "; name another " + kind);
    }
  };
  if (!program.data.empty() && !fs::is_directory(status_of(program.data))) {
    throw WrongCall("--data: there is no folder '" + program.data +
                    "'; give the one with MNIST's IDX files");
  }
  if (!program.out.empty()) {
    std::error_code error;
    fs::create_directories(program.out, error);
    if (error) {
      throw WrongCall("--out: cannot create '" + program.out + "' (" + error.message() +
                      "); choose another folder");
    }
    require_writable_folder(program.out, "--out");
    check("--out", fs::path(program.out) / kPage, "folder");
  }
  if (!json_file.empty()) {
    check("--json", json_file, "file");
    program.writes("--json", json_file);
  }
}

void Program::State::claim(const std::string& shown) {
  if (!names_shown.insert(shown).second) {
    throw std::logic_error("'" + shown + "' is shown twice: the second would replace the first");
  }
}

int Program::State::complain(int status, const std::string& message) const {
  const std::string advice = status == 2 ? "; see " + name + " --help" : "";
  std::cout.flush();
  std::cerr << name << ": " << one_line(message) << advice << std::endl;
  return status;
}

int Program::State::printed() const {
  const bool whole = std::cout.flush() && (!report || report->printed());
  return whole ? 0 : complain(1, "standard output cannot be written");
}

// What may change a figure: the flags of the call, and the values that the others have.
Table Program::State::asked() const {
  Table table({"flag", "value", "what it is"});
  for (const CLI::Option* flag : app.get_options()) {
    const std::string name = flag->get_name();
    if (name == "--help" || name == "--threads" || name == "--json" || name == "--out") continue;
    const bool takes_value = flag->get_items_expected_max() > 0;
    const std::string value =
        flag->count() == 0 ? flag->get_default_str() : joined(flag->results());
    table.row({name,
               takes_value         ? value
               : flag->count() > 0 ? "yes"
                                   : "no",
               flag->get_description()});
  }
  return table;
}

int Program::State::out_of_memory() const {
  std::vector<std::string> all;
  for (const std::string& flag : sizes)
    if (app.count(flag) > 0) all.push_back(flag);
  return complain(
      1, "there is not enough memory; " +
             (all.empty() ? "free some, or try --quick" : "choose less for " + one_of(all)));
}

Program::Program(std::string name, std::string description)
    : state_(std::make_unique<State>(name, description)), json(state_->json) {
  CLI::App& app = state_->app;
  const std::string group = "Every program's options";
  app.add_option("--seed", seed, "The same seed gives the same run")
      ->check(whole_number<std::uint64_t>(0))
      ->capture_default_str()
      ->group(group);
  app.add_option(
         "--threads", threads,
         "Threads the library may use; more than one pays for large networks on an idle machine")
      ->check(whole_number(1))
      ->group(group);
  app.add_option("--json", state_->json_file, "Write every figure to this file")
      ->check(not_empty())
      ->type_name("FILE")
      ->group(group);
  app.add_option("--out", out,
                 "Write a page (report.html), pictures and CSV to this folder, made if need be")
      ->check(not_empty())
      ->type_name("DIR")
      ->group(group);
  app.add_flag("--quick", quick, "A short run")->check(alone())->group(group);
}

Program::~Program() = default;

void Program::option(const std::string& flag, int& value, const std::string& help, int minimum) {
  state_->app.add_option(flag, value, help)->check(whole_number(minimum))->capture_default_str();
  state_->sizes.push_back(flag);
}

void Program::option(const std::string& flag, double& value, const std::string& help) {
  state_->app
      .add_option_function<std::string>(
          flag, [&value](const std::string& text) { value = *finite_number(text); }, help)
      ->check(CLI::Validator(
          [](const std::string& text) {
            return finite_number(text) ? "" : "must be a number, not '" + text + "'";
          },
          ""))
      ->type_name("FLOAT")
      ->default_str(exact(value));
}

void Program::option(const std::string& flag, std::string& value, const std::string& help,
                     const std::string& type) {
  state_->app.add_option(flag, value, help)
      ->check(not_empty())
      ->capture_default_str()
      ->type_name(type);
}

void Program::option(const std::string& flag, bool& value, const std::string& help) {
  state_->app.add_flag(flag, value, help)->check(alone());
}

void Program::option(const std::string& flag, std::vector<std::string>& chosen,
                     const std::vector<std::string>& all, const std::string& help) {
  if (chosen.empty()) chosen = all;
  const auto choose = [flag, all, &chosen](const std::string& text) {
    chosen = parts(text);
    for (const std::string& name : chosen) {
      if (std::count(all.begin(), all.end(), name) == 0)
        throw WrongCall(flag + " has '" + name + "'; need some of " + joined(all));
      if (std::count(chosen.begin(), chosen.end(), name) > 1)
        throw WrongCall(flag + " has '" + name + "' twice; need each once");
    }
  };
  state_->app
      .add_option_function<std::string>(flag, choose,
                                        help + ": some of " + joined(all, ",") + ", with commas")
      ->type_name("NAMES")
      ->default_str(chosen == all ? "all" : joined(chosen, ","));
}

void Program::takes_digits() {
  state_->app
      .add_option("--data", data, "A folder with MNIST's IDX files; default: the UCI digits")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Every program's options");
}

void Program::writes(const std::string& flag, const std::string& file) {
  std::error_code no_name;  // a pipe's
  const auto place = [&](const fs::path& path) {
    return fs::weakly_canonical(fs::absolute(path), no_name);
  };
  const fs::path path = place(file), ending = path.extension();
  if (no_name) return;
  const auto [there, is_new] = state_->written.emplace(path, flag);
  const bool shown = ending == ".html" || ending == ".csv" || ending == ".svg" || ending == ".dot";
  const bool of_out = shown && !out.empty() && path.parent_path() == place(out);
  if (is_new && !of_out) return;
  throw WrongCall(flag + ": '" + file + "' is " + (of_out ? "--out" : there->second) +
                  "'s too; name another");
}

void Program::footer(const std::string& text) { state_->app.footer(text); }

bool Program::given(const std::string& flag) const { return state_->app.count(flag) > 0; }

void Program::fail_at_the_end(std::string words) { state_->failure = std::move(words); }

int Program::run(int argc, const char* const* argv, const std::function<void()>& body) {
  try {
    end_in_words([this] { return state_->out_of_memory(); });
    keep_standard_streams_apart();
    state_->app.parse(argc, argv);
    state_->check_paths(*this);
    // Without a file the run ends with its reader, as under `head`.
    if (!state_->json_file.empty() || !out.empty()) std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of the one who writes it
    // Not the number of threads: it must not change a figure, so the files can be compared.
    json["program"] = state_->name;
    json["seed"] = seed;
    json["quick"] = quick;
    if (!out.empty()) state_->report.emplace(std::cout);
    body();
    if (state_->report)
      write_file(
          fs::path(out) / kPage,
          state_->report->html(state_->name, state_->app.get_description(), state_->asked()));
    if (!state_->json_file.empty()) {
      std::cout.flush();  // the file may be /dev/stdout
      using Json = nlohmann::ordered_json;
      write_file(state_->json_file,
                 json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
    }
    const int status = state_->printed();
    return state_->failure.empty() ? status : state_->complain(1, state_->failure);
  } catch (const Ended& end) {
    return end.words.empty() ? end.status : state_->complain(end.status, end.words);
  } catch (const CLI::CallForHelp&) {
    std::cout << state_->app.help();
    return state_->printed();
  } catch (const CLI::ParseError& error) {
    return state_->complain(2, error.what());
  } catch (const WrongCall& error) {
    return state_->complain(2, error.what());
  } catch (const std::bad_alloc&) {
    return state_->out_of_memory();
  } catch (const std::length_error&) {  // more numbers than any memory holds
    return state_->out_of_memory();
  } catch (const std::system_error& error) {  // a file's
    return state_->complain(1, error.what() + std::string("; make room there, or name another"));
  } catch (const std::bad_function_call&) {
    return state_->complain(1, "a function that was to be called is missing; give the code one");
  } catch (const std::exception& error) {
    return state_->complain(1, error.what());
  }
}

void Program::print(const Table& table, const std::string& name) {
  state_->report ? state_->report->show(table, name) : table.print();
  std::cout.flush();
  if (!name.empty() && !out.empty()) table.write_csv(fs::path(out) / (name + ".csv"));
}

void Program::show(const Table& table, const std::string& name) {
  state_->claim(name);
  print(table, name);
  auto& rows = json[name] = nlohmann::ordered_json::array();
  for (const auto& row : table.rows()) {
    nlohmann::ordered_json object;
    for (std::size_t i = 0; i < row.size(); ++i) {
      object[table.headers()[i]] = json_value(row[i]);
      if (row[i].has_error()) object[table.headers()[i] + " error"] = row[i].error();
    }
    rows.push_back(std::move(object));
  }
}

void Program::show(const Picture& picture, const std::string& name) {
  state_->claim(name);
  if (out.empty()) return;
  const std::string why = draw(picture, out, name);
  std::ifstream svg(fs::path(out) / (name + ".svg"));
  std::ostringstream text;
  text << svg.rdbuf();
  state_->report->show_picture(picture.title, text.str(), why);
}

void Program::explain(const std::string& words) {
  if (state_->report) state_->report->explain(words);
}

void Program::figure(const std::string& name, const Cell& value) {
  json[name] = json_value(value);
  if (value.has_error()) json[name + " error"] = value.error();
}

std::string Program::advice(std::size_t steps_done, const std::string& rate,
                            const std::vector<std::string>& others) const {
  std::vector<std::string> suspects;
  for (const std::string& flag : others)
    if (given(flag)) suspects.push_back(flag);
  if (suspects.empty())
    return steps_done == 0
               ? "; it came in the first step of training"
               : "; training diverged at step " + std::to_string(steps_done) + ", so lower " + rate;
  if (steps_done > 0 && given(rate)) suspects.push_back(rate);
  return "; it came at step " + std::to_string(steps_done) + " of training, so choose a milder " +
         one_of(suspects);
}

}  // namespace argtape_examples
