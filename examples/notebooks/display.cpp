#include "examples/notebooks/display.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iomanip>
#include <locale>
#include <numeric>
#include <sstream>
#include <utility>

#include "engine/require.hpp"
#include "examples/common/files.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using argtape_examples::Cell;
using argtape_examples::html_text;

namespace notebook {
namespace {

// A cell of a table: sentences begin at the left and are broken, numbers are not.
std::string html_cell(const char* tag, const std::string& text) {
  const char* const style = text.size() > 30 ? "text-align:left" : "white-space:nowrap";
  return std::string("<") + tag + " style=\"" + style + "\">" + html_text(text) + "</" + tag + ">";
}

// Under a caption, which may be empty.
Bundle bundle_of(const argtape_examples::Table& table, const std::string& caption = "") {
  std::ostringstream text;
  if (!caption.empty()) text << caption << '\n';
  table.print(text);
  std::string html = caption.empty() ? "" : "<div>" + html_text(caption) + "</div>";
  html += "<table>";
  std::string names, headers;
  for (const std::string& header : table.headers())
    names += header, headers += html_cell("th", header);
  if (!names.empty()) html += "<thead><tr>" + headers + "</tr></thead>";
  html += "<tbody>";
  for (const auto& row : table.rows()) {
    html += "<tr>";
    for (const Cell& cell : row) html += html_cell(&cell == &row[0] ? "th" : "td", cell.text());
    html += "</tr>";
  }
  return {text.str(), html + "</tbody></table>", ""};
}

Bundle lines(const std::string& text) { return {text, "<pre>" + html_text(text) + "</pre>", ""}; }

Cell cell(double x) { return Cell(str(x, 4)); }

// As in the programs' tables.
Cell listed(double x, int decimals) {
  if (decimals < 0 || std::isnan(x)) return Cell(x);
  std::ostringstream text;
  text.imbue(std::locale::classic());
  text << std::fixed << std::setprecision(decimals) << x;
  return Cell(text.str());
}

// The first ones of n and the last; `n` itself stands for what is left out between them.
std::vector<std::size_t> some_of(std::size_t n, std::size_t most) {
  std::vector<std::size_t> all(std::min(n, most));
  std::iota(all.begin(), all.end(), 0);
  if (n > most) all[most - 2] = n, all[most - 1] = n - 1;
  return all;
}

// A row's index among all but the last axis: "1, 0".
std::string index_of(std::size_t row, const Shape& shape) {
  std::string words;
  for (std::size_t axis = shape.size() - 1; axis-- > 0; row /= shape[axis])
    words = std::to_string(row % shape[axis]) + (words.empty() ? "" : ", ") + words;
  return words;
}

std::string shape_words(const Tensor& t) { return "Tensor " + str(t.shape()); }

argtape_examples::Table numbers_of(const Tensor& t) {
  constexpr std::size_t most_columns = 12, most_rows = 16;
  const std::size_t n = t.dimension() > 0 ? t.shape().back() : 1, rows = n > 0 ? t.size() / n : 0;
  const std::vector<std::size_t> columns = some_of(n, most_columns);
  std::vector<std::string> headers = {""};
  for (std::size_t c : columns) headers.push_back(c == n ? "..." : std::to_string(c));
  argtape_examples::Table table(headers);
  for (std::size_t r : some_of(rows, most_rows)) {
    std::vector<Cell> cells = {Cell(r == rows           ? "..."
                                    : t.dimension() > 1 ? index_of(r, t.shape())
                                                        : std::string())};
    for (std::size_t c : columns)
      cells.push_back(c == n || r == rows ? Cell("...")
                                          : cell(static_cast<double>(t.data()[r * n + c])));
    table.row(std::move(cells));
  }
  return table;
}

argtape_examples::Table about_table() {
  return argtape_examples::Table({"name", "formula", "gradient", "cost", "paper"});
}

// Of one that is not the library's there is but the name to say.
void add(argtape_examples::Table& table, const std::string& name) {
  const About* const found = about(name);
  if (found)
    table.row({name, std::string("$") + found->formula + "$", found->gradient, found->cost,
               found->paper});
  else
    table.row({name, "", "", "", ""});
}

// An error bar, unless it is smaller than float can tell.
Cell with_bar(double value, double error) {
  return error > 1e-6 ? Cell(value, error) : Cell(value);
}

bool runs(const char* command) {
  return std::system((std::string("command -v ") + command + " >/dev/null 2>&1").c_str()) == 0;
}

Tensor batch_of(const Tensor& pixels) {
  if (pixels.dimension() != 2 && pixels.dimension() != 3)
    refuse("images: the tensor is ", pixels.shape(), "; need (h, w) or (n, h, w)");
  Shape shape = pixels.shape();
  if (shape.size() == 2) shape = {1, shape[0], shape[1]};
  return reshaped(pixels, shape);
}

}  // namespace

Row::Row(std::string name, Tensor numbers, Tensor errors)
    : name(std::move(name)), numbers(std::move(numbers)), errors(std::move(errors)) {
  if (this->errors.size() != 0 && this->errors.size() != this->numbers.size())
    refuse("Row: '", this->name, "' has ", this->numbers.size(), " numbers and ",
           this->errors.size(), " errors; need as many");
}
Row::Row(std::string name, Tensor numbers) : Row(std::move(name), std::move(numbers), zeros({0})) {}
Row::Row(std::string name, Var numbers) : Row(std::move(name), numbers.value()) {}

Table::Table(std::vector<Row> rows, std::vector<std::string> headers, int decimals)
    : rows(std::move(rows)), headers(std::move(headers)), decimals(decimals) {}

Picture images(const Tensor& pixels, const std::vector<std::string>& captions,
               const std::string& title) {
  const Tensor all = batch_of(pixels);
  const std::size_t n = all.shape()[0], h = all.shape()[1], w = all.shape()[2];
  if (!captions.empty() && captions.size() != n)
    refuse("images: there are ", n, " images and ", captions.size(), " captions; need as many");
  Picture picture(title);
  for (std::size_t i = 0; i < n; ++i)
    picture.image(captions.empty() ? "" : captions[i], h, w,
                  {all.data() + i * h * w, all.data() + (i + 1) * h * w});
  return picture;
}

Picture image(const Tensor& pixels, const std::string& title) { return images(pixels, {}, title); }

Progress::Progress(std::string label, std::size_t total)
    : label_(std::move(label)), total_(total), start_(std::chrono::steady_clock::now()), last_() {
  static std::size_t made = 0;
  id_ = "argtape-progress-" + std::to_string(++made) + "-" +
        std::to_string(start_.time_since_epoch().count());
}

bool Progress::due(const std::string& words) {
  const auto now = std::chrono::steady_clock::now();
  ++done_;
  words_ = words;
  if (done_ < total_ && now - last_ < std::chrono::milliseconds(100)) return false;
  last_ = now;
  return true;
}

Bundle bundle(const Progress& progress) {
  const std::chrono::duration<double> seconds = progress.last_ - progress.start_;
  // When all is done nothing is said of time, which is another in every run.
  std::string words = progress.done_ < progress.total_
                          ? argtape_examples::progress_line(progress.label_, progress.done_,
                                                            progress.total_, seconds.count())
                          : progress.label_ + ": " + std::to_string(progress.done_) + " steps";
  if (!progress.words_.empty()) words += ", " + progress.words_;
  return {words,
          "<progress max=\"" + std::to_string(progress.total_) + "\" value=\"" +
              std::to_string(progress.done_) + "\"></progress> " + html_text(words),
          ""};
}

Bundle bundle(const Tensor& tensor) {
  Bundle b = bundle_of(numbers_of(tensor), shape_words(tensor));
  if (tensor.size() <= 64) b.text = str(tensor) + "  " + shape_words(tensor);
  return b;
}

// A new tape may stand where the Var's was: then the Var may be beyond its end.
bool is_there(const Var& var) { return Tape::alive(var.tape) && var.index < var.tape->size(); }

Bundle bundle(const Var& var) {
  if (!var.tape) return lines("an empty Var");
  if (!is_there(var)) return lines("a Var whose tape is gone");
  if (!var.tape->node(var.index).value)
    return lines("a Var whose value was given back by backward_and_release()");
  const Node& node = var.tape->node(var.index);
  Bundle b =
      bundle_of(numbers_of(*node.value), "#" + std::to_string(var.index) + " " +
                                             node.op.name.c_str() + " " + str(var.shape()) +
                                             (node.parameter        ? ", a parameter"
                                              : node.wants_gradient ? ", wants a gradient"
                                                                    : ", wants no gradient"));
  if (var.value().size() <= 64) b.text = b.text.substr(0, b.text.find('\n') + 1) + str(var.value());
  return b;
}

// More nodes than that take Graphviz minutes, and nobody reads them.
Bundle bundle(const Tape& tape) {
  constexpr std::size_t most_drawn = 300, most_lines = 100;
  if (tape.size() == 0) return lines("an empty tape");
  if (tape.size() > most_drawn) {
    std::istringstream all(to_text(tape));
    std::string text, line;
    for (std::size_t i = 0; i < most_lines && std::getline(all, line); ++i) text += line + '\n';
    return lines(text + "and " + std::to_string(tape.size() - most_lines) + " nodes more; up to " +
                 std::to_string(most_drawn) + " are drawn\n");
  }
  Bundle b = lines(to_text(tape));
  b.svg = to_svg(tape);
  if (!b.svg.empty()) b.html.clear();  // JupyterLab would prefer it
  return b;
}

Bundle bundle(const Gradients& gradients) {
  if (gradients.entries().empty()) return lines("gradients of nothing");
  std::vector<Row> rows;
  bool vectors = true;
  for (const auto& e : gradients.entries()) {
    rows.emplace_back(e.name, e.gradient);
    vectors = vectors && e.gradient.size() <= 12;
  }
  if (vectors) return bundle(Table(std::move(rows)));
  argtape_examples::Table table({"of", "shape", "norm", "gradient"});
  for (const auto& e : gradients.entries())
    table.row({e.name.c_str(), str(e.gradient.shape()), cell(norm(e.gradient)),
               e.reached ? "arrived" : "none arrived"});
  return bundle_of(table);
}

Bundle bundle(const Rule& rule) { return bundle(std::vector<Rule>{rule}); }
Bundle bundle(const std::vector<Rule>& rules) {
  argtape_examples::Table table = about_table();
  for (const Rule& rule : rules) add(table, rule.name);
  return bundle_of(table);
}

Bundle bundle(const Method& method) { return bundle(std::vector<Method>{method}); }
Bundle bundle(const std::vector<Method>& methods) {
  argtape_examples::Table table = about_table();
  for (const Method& method : methods) add(table, method.name);
  return bundle_of(table);
}

Bundle bundle(const Measure& measure) { return bundle(std::vector<Measure>{measure}); }
Bundle bundle(const std::vector<Measure>& measures) {
  argtape_examples::Table table(
      {"rule", "bias", "std", "mse", "cosine", "evaluations", "backwards"});
  for (const Measure& m : measures)
    if (m.refusal.empty())
      table.row({m.rule, with_bar(m.bias, m.bias_se), with_bar(m.std, m.std_se),
                 with_bar(m.mse, m.mse_se), with_bar(m.cosine, m.cosine_se), m.evaluations,
                 m.backwards});
    else
      table.row({m.rule, "refuses", "", "", "", "", ""});
  return bundle_of(table);
}

Bundle bundle(const CheckResult& result) {
  std::ostringstream text;
  text << result;
  if (result) text << ", to " << str(result.error, 1) << " of the gradient's norm";
  return lines(text.str());
}

Bundle bundle(const std::vector<StopLine>& report) {
  if (report.empty()) return lines("a stop report on no parameters");
  const char* const reasons[] = {"reached", "zero", "not finite", "cut", "unconnected", "refused"};
  argtape_examples::Table table({"parameter", "", "in words"});
  for (const StopLine& line : report) {
    if (!is_there(line.parameter)) return lines("a stop report whose tape is gone");
    table.row({line.parameter.tape->node(line.parameter.index).op.name.c_str(),
               reasons[static_cast<int>(line.reason)], line.words});
  }
  Bundle b = bundle_of(table);
  b.text = str(report);
  return b;
}

Bundle bundle(const Table& table) {
  std::size_t columns = 0;
  for (const Row& row : table.rows) columns = std::max(columns, row.numbers.size());
  std::vector<std::string> headers = table.headers;
  if (headers.empty()) headers.push_back("");
  while (headers.size() <= columns)
    headers.push_back(table.headers.empty() && columns > 1 ? std::to_string(headers.size() - 1)
                                                           : "");
  argtape_examples::Table shown(headers);
  for (const Row& row : table.rows) {
    std::vector<Cell> cells = {row.name};
    for (std::size_t i = 0; i + 1 < headers.size(); ++i) {
      const auto at = [i](const Tensor& t) { return static_cast<double>(t.data()[i]); };
      cells.push_back(i >= row.numbers.size() ? Cell("")
                      : i < row.errors.size() ? with_bar(at(row.numbers), at(row.errors))
                                              : listed(at(row.numbers), table.decimals));
    }
    shown.row(std::move(cells));
  }
  return bundle_of(shown);
}

Bundle bundle(const Picture& picture) {
  std::string problem;
  const std::string svg = to_svg(picture, problem), numbers = to_text(picture);
  if (svg.empty()) return lines(numbers + problem + "\n");
  return {numbers, "", svg};
}

}  // namespace notebook

// For setup.hpp, which looks them up in the library it has just loaded.
extern "C" __attribute__((visibility("default"))) const char* argtape_notebook_line() {
  static std::string line;
  line = std::string("argtape ") + ARGTAPE_VERSION + ", " +
         (sizeof(Scalar) == 8 ? "double" : "float") + ", " + std::to_string(threads()) +
         (threads() == 1 ? " thread" : " threads");
  return line.c_str();
}

extern "C" __attribute__((visibility("default"))) const char* argtape_notebook_missing() {
  static std::string words;
  words.clear();
  if (!notebook::runs("gnuplot"))
    words +=
        "gnuplot is not installed: pictures are shown as their numbers. (Debian: gnuplot-nox; "
        "conda-forge: gnuplot)\n";
  if (!notebook::runs("dot"))
    words +=
        "Graphviz is not installed: tapes are shown as text. (Debian, conda-forge: graphviz)\n";
  return words.c_str();
}
