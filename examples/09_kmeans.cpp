// k-means through an argmin node: Newton's step is Lloyd's step, plain gradient descent is not.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/files.hpp"
#include "examples/common/kmeans_pictures.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

using Json = nlohmann::ordered_json;

std::string text(double value, int digits = 3) { return argtape_examples::number(value, digits); }

std::string plural(std::size_t n, const std::string& what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

// ---- figures in words ----

// Sizes as a reader takes them in: "981, 1 x 19".
std::string listed(std::vector<std::size_t> sizes) {
  std::sort(sizes.rbegin(), sizes.rend());
  std::string all;
  for (std::size_t i = 0, same = 1; i < sizes.size(); i += same) {
    for (same = 1; i + same < sizes.size() && sizes[i + same] == sizes[i];) ++same;
    all += (i ? ", " : "") + std::to_string(sizes[i]);
    if (same > 1) all += " x " + std::to_string(same);
  }
  return all;
}

// In per cent; what rounding leaves is 0.
double over(double loss, double reference) {
  if (!(reference > 0)) return nothing;
  const double percent = 100 * (loss / reference - 1);
  return std::abs(percent) < 1e-10 ? 0 : percent;
}

std::string against_lloyd(double loss, double reference) {
  const double percent = over(loss, reference);
  if (std::isnan(percent)) return "at " + text(loss) + ", Lloyd's loss being 0";
  if (percent == 0) return "at Lloyd's loss";
  return text(std::abs(percent)) + " % " + (percent > 0 ? "over" : "below") + " Lloyd's loss";
}

// A table and the same rows in the JSON, under keys of their own.
class Rows {
 public:
  struct Column {
    std::string header, key;
  };

  explicit Rows(std::vector<Column> columns) : table(headers(columns)), columns_(columns) {}

  void row(const std::vector<Cell>& cells) {
    table.row(cells);
    Json object;
    for (std::size_t i = 0; i < cells.size(); ++i)
      std::visit([&](const auto& value) { object[columns_[i].key] = value; }, cells[i].value());
    json.push_back(std::move(object));
  }

  Table table;
  Json json = Json::array();

 private:
  static std::vector<std::string> headers(const std::vector<Column>& columns) {
    std::vector<std::string> all;
    for (const Column& c : columns) all.push_back(c.header);
    return all;
  }

  std::vector<Column> columns_;
};

// ---- what is asked for ----

struct Settings {
  std::string problem, path, start;
  int points = 1000, dimensions = 200, clusters = 0, batch = 0, steps = 0, tries = 0;
  double rate = 0.01, spread = 0.05;
};

void add_options(Program& program, Settings& s) {
  program.option("--problem", s.problem,
                 "uniform (the default: no clusters at all), separated, or digits");
  program.option("--data", s.path,
                 "Points of your own: a CSV or NumPy (.npy) file, plain or .gz, a point a "
                 "line or row; or a folder with MNIST's IDX files",
                 "FILE|DIR");
  program.option("--points", s.points, "of the uniform and the separated problem");
  program.option("--dimensions", s.dimensions, "of the same");
  program.option("--spread", s.spread, "of the separated clusters, whose centres lie in (0,1)^d");
  program.option("--clusters", s.clusters, "centres; 0: 20, or 10 for digits", 0);
  program.option("--batch", s.batch, "points in a step of the methods on batches; 0: 100, or all",
                 0);
  program.option("--start", s.start,
                 "of all methods: points (the default), k-means++ (for separated), or cube");
  program.option("--tries", s.tries,
                 "starts drawn, of which the lowest is taken; 0: 1, or 20 for separated", 0);
  program.option("--steps", s.steps,
                 "of full-batch Adam, the others in proportion; 0: 500, or 100 with --quick", 0);
  program.option("--rate", s.rate,
                 "Adam's, for numbers spread as in (0,1); others are divided by a power of two");
}

// Checks the flags, and fills in what they leave open.
void settle(const Program& program, Settings& s) {
  const std::filesystem::file_status there = argtape_examples::status_of(s.path);
  const bool folder = std::filesystem::is_directory(there), file = !s.path.empty() && !folder;
  if (file && !std::filesystem::exists(there))
    throw WrongCall("--data: there is no file or folder '" + s.path + "'");
  if (program.given("--problem") && (file || (folder && s.problem != "digits")))
    throw WrongCall("--data and --problem " + s.problem + " exclude each other");
  if (s.problem.empty()) s.problem = folder ? "digits" : file ? "file" : "uniform";
  if (!file && s.problem != "uniform" && s.problem != "separated" && s.problem != "digits")
    throw WrongCall("--problem is '" + s.problem + "'; need uniform, separated or digits");
  const std::string of = s.path.empty() ? "--problem " + s.problem : "--data";
  for (const char* flag : {"--points", "--dimensions", "--spread"}) {
    const bool made =
        s.problem == "separated" || (s.problem == "uniform" && std::string(flag) != "--spread");
    if (program.given(flag) && !made) throw WrongCall(of + " and " + flag + " exclude each other");
  }
  if (s.start.empty()) s.start = s.problem == "separated" ? "k-means++" : "points";
  if (s.start != "points" && s.start != "k-means++" && s.start != "cube")
    throw WrongCall("--start is '" + s.start + "'; need points, k-means++ or cube");
  if (!(s.rate > 0)) throw WrongCall("--rate must be more than 0");
  if (!(s.spread >= 0 && s.spread <= 1e100))
    throw WrongCall("--spread must be 0 or more, and at most 1e100");
  if (s.steps == 0) s.steps = program.quick ? 100 : 500;
  if (s.tries == 0) s.tries = s.problem == "separated" ? 20 : 1;
}

// ---- points ----

struct Data {
  std::string name;
  Tensor points;    // in units of
  double unit = 1;  // a power of two, so that rates mean the same for millimetres and for miles
  std::size_t clusters = 0;

  std::size_t size() const { return points.shape()[0]; }
  std::size_t dimensions() const { return points.shape()[1]; }
  double square(double loss) const { return loss * unit * unit; }
};

// The coordinates' standard deviation, each column from its own mean, all columns together.
double spread_of(const Tensor& points) {
  const std::size_t n = points.shape()[0], d = points.shape()[1];
  std::vector<double> mean(d);
  double squares = 0;
  for (std::size_t i = 0; i < points.size(); ++i)
    mean[i % d] += points.data()[i] / static_cast<double>(n);
  for (std::size_t i = 0; i < points.size(); ++i)
    squares += std::pow(points.data()[i] - mean[i % d], 2);
  return std::sqrt(squares / static_cast<double>(points.size()));
}

Data load(const Settings& s, Rng& rng) {
  const auto n = static_cast<std::size_t>(s.points), d = static_cast<std::size_t>(s.dimensions);
  std::size_t k = static_cast<std::size_t>(s.clusters);
  if (k == 0) k = s.problem == "digits" ? 10 : 20;
  Data data;
  if (s.problem == "file") {
    data = {std::filesystem::path(s.path).filename().string(), read_points(s.path)};
  } else if (s.problem == "digits") {
    const Dataset digits = digits_in(s.path);
    data = {digits.name, digits.images};
  } else if (s.problem == "separated") {
    data = {"separated clusters", separated_points(n, d, k, s.spread, rng)};
  } else {
    data = {"uniform points", rng.uniform({n, d})};
  }
  data.clusters = k;
  if (k > data.size())
    throw WrongCall("--clusters is " + std::to_string(k) + (s.clusters ? "" : ", the default,") +
                    " for " + plural(data.size(), "point") + "; need at most one cluster a point");
  if (static_cast<std::size_t>(s.batch) > data.size())
    throw WrongCall("--batch is more than the " + plural(data.size(), "point"));
  const double wide = spread_of(data.points);
  if (wide > 0) data.unit = std::exp2(std::round(std::log2(wide * std::sqrt(12.0))));
  if (!(data.unit > 1e-140 && data.unit < 1e140))
    throw std::runtime_error(data.name + ": points with a standard deviation of " + text(wide) +
                             "; need 1e-140 to 1e140, for a sum of squares: scale them");
  data.points /= data.unit;
  return data;
}

// In how many of the true clusters of separated_points() a start has a centre.
std::size_t clusters_met(const Tensor& points, const Tensor& start) {
  const std::size_t k = start.shape()[0], d = points.shape()[1];
  Tensor means = zeros({k, d});
  for (std::size_t i = 0; i < points.size(); ++i)
    means.data()[i / d % k * d + i % d] += points.data()[i];
  for (std::size_t m = 0; m < k; ++m)
    for (std::size_t j = 0; j < d; ++j)
      means(m, j) /= static_cast<Scalar>((points.shape()[0] - m + k - 1) / k);
  return k - kmeans_assign(start, means).empty();
}

// ---- methods ----

struct Descent {
  std::string name;
  KMeansDescent settings;
};

// A run with its losses in the points' own units.
struct Outcome {
  std::string name;
  KMeansRun run;
};

const KMeansRun& named(const std::vector<Outcome>& outcomes, const char* name) {
  return std::find_if(outcomes.begin(), outcomes.end(),
                      [&](const Outcome& o) { return o.name == name; })
      ->run;
}

Outcome outcome(const Data& data, const std::string& name, KMeansRun run) {
  for (double& loss : run.loss) loss = data.square(loss);
  run.end.loss = data.square(run.end.loss);
  return {name, std::move(run)};
}

std::vector<Descent> descents(const Settings& s, const Data& data, std::uint64_t seed) {
  const std::size_t n = data.size(), full = static_cast<std::size_t>(s.steps),
                    batch = s.batch > 0 ? static_cast<std::size_t>(s.batch)
                                        : std::min<std::size_t>(100, n);
  KMeansDescent adam;
  adam.by = KMeansDescent::By::adam;
  adam.rate = s.rate;
  adam.steps = full;
  adam.seed = seed;

  KMeansDescent adam_batches = adam;
  adam_batches.steps = 6 * full;
  adam_batches.batch = batch;
  adam_batches.rate = linear_decay(s.rate, 0, adam_batches.steps);

  KMeansDescent plain;
  // At a rate of 1 a centre of all points would jump to the other side of their mean, and back.
  plain.rate = data.clusters > 1 ? 1 : 0.5;
  plain.steps = 2 * full;
  plain.seed = seed;

  KMeansDescent sgd = plain;
  sgd.steps = 10 * full;
  sgd.rate = linear_decay(0.5, 0, sgd.steps);
  sgd.batch = batch;

  std::vector<Descent> all = {
      {"adam", adam}, {"adam-batches", adam_batches}, {"gradient-descent", plain}, {"sgd", sgd}};
  if (s.problem == "uniform") {
    KMeansDescent document = plain;
    document.rate = 1e-5;
    document.steps = 8 * full + 1;
    document.batch = batch;
    document.summed = true;
    all.push_back({"sgd-document", document});
  }
  return all;
}

// Another rule for the argmin; tau is this part of Lloyd's loss a point.
struct RuleRun {
  std::string rule;
  double tau;
  KMeansRun run;
};

// ---- reports ----

void show_methods(Program& program, const std::vector<Outcome>& outcomes, double lloyd) {
  Rows rows({{"method", "method"},
             {"loss", "loss"},
             {"steps", "iterations"},
             {"steps to 1 %", "steps_to_1_percent"},
             {"largest cluster", "largest_cluster"},
             {"empty", "empty_clusters"},
             {"% over Lloyd", "over_lloyd_percent"},
             {"seconds", "seconds"}});
  for (const auto& [name, run] : outcomes) {
    const std::size_t within = kmeans_steps_to(run, 1.01 * lloyd);
    rows.row({name, run.end.loss, run.iterations,
              within == kmeans_never ? Cell(nothing) : Cell(within), run.end.largest(),
              run.end.empty(), over(run.end.loss, lloyd), run.seconds});
  }
  program.print(rows.table, "kmeans");
  program.json["methods"] = rows.json;
}

void show_newton(Program& program, const Data& data, const KMeansComparison& c) {
  Rows rows({{"step", "step"},
             {"Lloyd's loss", "lloyd"},
             {"Newton's loss", "newton"},
             {"points that changed cluster", "changed"},
             {"largest difference of a coordinate", "difference"},
             {"relative", "relative"}});
  const auto loss_after = [&](const KMeansRun& run, std::size_t step) {
    return data.square(run.loss[std::min(step, run.loss.size() - 1)]);
  };
  const std::size_t steps = c.difference.size();
  for (std::size_t i = 0; i < steps; ++i)
    rows.row({i + 1, loss_after(c.lloyd, i + 1), loss_after(c.newton, i + 1),
              i == 0 ? Cell(nothing) : Cell(c.changed[i]), data.unit * c.difference[i],
              c.relative[i]});
  const double apart = data.unit * *std::max_element(c.difference.begin(), c.difference.end());
  const double relative = *std::max_element(c.relative.begin(), c.relative.end());
  program.json["newton_minus_lloyd"] = apart;
  program.json["newton_minus_lloyd_relative"] = relative;
  program.json["relocated"] = c.lloyd.relocated;
  program.json["comparison"] = rows.json;
  if (!program.out.empty()) rows.table.write_csv(program.out + "/kmeans_newton.csv");

  std::cout << "\nNewton's step, centre - gradient / second derivative, "
            << (relative < 1e-10 ? "is Lloyd's step:\n"
                                 : "and Lloyd's part where rounding decides whose a point is:\n");
  constexpr std::size_t shown = 30;
  if (steps <= shown)
    program.print(rows.table);
  else
    std::cout << "(" << steps << " steps; --out has them all)\n";
  std::cout << "The largest difference of a coordinate in all steps is " << text(apart) << ".\n";
  if (c.lloyd.relocated > 0)
    std::cout
        << plural(c.lloyd.relocated, "time")
        << " Lloyd moved the centre of an empty cluster onto the point farthest from its own; "
        << (c.newton.relocated == c.lloyd.relocated
                ? "Newton as often.\n"
                : "Newton " + plural(c.newton.relocated, "time") + ".\n");
}

void show_collapse(const Data& data, const std::vector<Outcome>& outcomes) {
  const KMeansRun &lloyd = named(outcomes, "lloyd"), &plain = named(outcomes, "gradient-descent");
  std::cout << "\nCluster sizes\n  lloyd             " << listed(lloyd.end.size)
            << "\n  gradient-descent  " << listed(plain.end.size) << "\n";
  std::vector<std::size_t> sizes = plain.end.size;
  std::sort(sizes.rbegin(), sizes.rend());
  const std::size_t largest = sizes[0];
  if (plain.end.loss > 1.01 * lloyd.end.loss && 3 * largest > data.size() &&
      largest > 2 * lloyd.end.largest())
    std::cout << "Plain gradient descent collapses: its largest cluster has " << largest << " of "
              << plural(data.size(), "point")
              << (sizes[1] > lloyd.end.largest() ? ", the next " + std::to_string(sizes[1]) : "")
              << ", Lloyd's " << lloyd.end.largest()
              << ".\nA centre's gradient is 2 (size / n) (centre - mean of its points): the larger "
                 "a cluster, the faster\nits centre runs to the middle, where it is the nearest to "
                 "more points still. Lloyd and Newton divide by\nthe size, Adam by the gradient's "
                 "own: Adam's largest cluster has "
              << named(outcomes, "adam").end.largest() << ".\n";
  else
    std::cout << "Here plain gradient descent ends "
              << against_lloyd(plain.end.loss, lloyd.end.loss) << ".\n";
  for (const auto& [name, run] : outcomes)
    if (name == "sgd-document")
      std::cout << "sgd-document has the settings of a question that calls its end similar to what "
                   "sklearn's k-means, Lloyd's\nalgorithm, gives: its largest cluster has "
                << run.end.largest() << " points, and it ends "
                << against_lloyd(run.end.loss, lloyd.end.loss) << ".\n";
}

// SGD where there are clusters to find, from a start with a centre in each and from another.
void show_separated(Program& program, KMeansDescent sgd, Rng& rng) {
  constexpr std::size_t k = 20;
  const Tensor x = separated_points(1000, 200, k, 0.05, rng);
  sgd.batch = 100;
  // 2,000 are enough for either line; where --steps asks for few, these are few too.
  sgd.steps = std::min<std::size_t>(2 * sgd.steps, 2000);
  sgd.rate = linear_decay(1, 0, sgd.steps);
  const auto from = [&](const std::string& how, std::size_t tries) {
    const Tensor start = kmeans_start(how, x, k, rng, tries);
    const double lloyd = kmeans_lloyd(x, start).end.loss;
    const KMeansRun run = kmeans_descent(x, start, sgd);
    const std::size_t met = clusters_met(x, start);
    std::cout << "  from " << (tries > 1 ? "the best of " + std::to_string(tries) + " " : "random ")
              << how << ", with a centre in " << met << " of the " << k << " clusters, SGD ends "
              << against_lloyd(run.end.loss, lloyd) << " of " << text(lloyd, 5) << "\n";
    return Json{{"lloyd", lloyd},
                {"sgd", run.end.loss},
                {"over_lloyd_percent", over(run.end.loss, lloyd)},
                {"iterations", run.iterations},
                {"clusters_met", met}};
  };
  std::cout << "Where there are clusters to find (--problem separated):\n";
  program.json["separated"] = from("k-means++", 20);
  program.json["separated"]["from_points"] = from("points", 1);
}

std::string in_words(std::vector<std::string> parts) {
  std::string all;
  for (std::size_t i = 0; i < parts.size(); ++i)
    all += (i == 0 ? "" : i + 1 < parts.size() ? ", " : " and ") + parts[i];
  return all;
}

void show_rules(Program& program, const Data& data, const KMeansRun& lloyd, const KMeansRun& adam,
                double one, const std::vector<RuleRun>& runs) {
  Rows rows({{"rule", "rule"},
             {"tau / Lloyd's loss a point", "tau_over_loss"},
             {"hard loss", "loss"},
             {"% over Lloyd", "over_lloyd_percent"},
             {"largest cluster", "largest_cluster"},
             {"empty", "empty_clusters"},
             {"centres' spread / Lloyd's", "centres_spread_over_lloyd"}});
  const double reference = lloyd.end.loss, lloyds_spread = spread_of(lloyd.centres);
  const auto spread = [&](const KMeansRun& run) {
    return lloyds_spread > 0 ? spread_of(run.centres) / lloyds_spread : nothing;
  };
  const auto row = [&](const std::string& rule, double tau, const KMeansRun& run) {
    rows.row({rule, tau, run.end.loss, over(run.end.loss, reference), run.end.largest(),
              run.end.empty(), spread(run)});
  };
  row("zero", nothing, adam);
  for (const RuleRun& r : runs) row(r.rule, r.tau, r.run);
  std::cout << "\nOther rules for the argmin, by Adam as above\n";
  program.print(rows.table, "kmeans_rules");
  program.json["rules"] = rows.json;

  const auto facts = [&](const std::string& rule) {
    const RuleRun* best = nullptr;
    for (const RuleRun& r : runs)
      if (r.rule == rule && (!best || r.run.end.loss < best->run.end.loss)) best = &r;
    std::cout << "  It ends lowest for tau " << text(best->tau) << ", "
              << against_lloyd(best->run.end.loss, reference) << "; the zero rule ends "
              << against_lloyd(adam.end.loss, reference) << ".\n";
    for (const RuleRun& r : runs) {
      if (r.rule != rule || data.clusters == 1) continue;
      std::vector<std::string> parts;
      if (spread(r.run) < 0.01)
        parts.push_back("all centres meet, " + text(std::abs(over(r.run.end.loss, one)), 2) +
                        " % from one centre's loss");
      else if (r.run.end.largest() == data.size())
        parts.push_back("one cluster takes all points");
      else if (r.run.end.largest() > 2 * lloyd.end.largest())
        parts.push_back("one cluster has " + std::to_string(r.run.end.largest()) + " of " +
                        plural(data.size(), "point"));
      if (r.run.end.empty() > 0)
        parts.push_back(plural(r.run.end.empty(), "centre") +
                        (r.run.end.empty() == 1 ? " has" : " have") + " no point");
      if (!parts.empty())
        std::cout << "  At tau " << text(r.tau) << ": " << in_words(parts) << ".\n";
    }
  };
  std::cout << "Soft: a point's loss is its mean under softmax(-d / tau), whose gradient pushes "
               "away the centres that are\nfarther than that mean by more than tau.\n";
  facts("soft");
  std::cout << "Straight-through: the loss stays hard, and its gradient has that softmax's "
               "derivative added, which draws\na point's nearer centres to it and pushes the "
               "farther ones away; a centre far from all points gets none.\n";
  facts("straight-through");
}

// Few enough points in the plane to see each of them change hands; the same whatever the seed. The
// line is the one on which Newton's step moves the centre that it moves farthest.
struct Plane {
  Tensor points, centres;
  std::size_t moved = 0;
  Place direction = {};
  double newton = 0;  // how far its step moves that centre
  Line line;
};

Plane make_plane() {
  Plane plane;
  Rng rng(2, 0, 5);
  plane.points = rng.uniform({16, 2});
  plane.centres = kmeans_start("points", plane.points, 3, rng);
  const Tensor step = kmeans_newton_step(plane.points, plane.centres).centres - plane.centres;
  for (std::size_t m = 0; m < 3; ++m) {
    const double length = std::hypot(step(m, 0), step(m, 1));
    if (length <= plane.newton) continue;
    plane.newton = length;
    plane.moved = m;
    plane.direction = {step(m, 0) / length, step(m, 1) / length};
  }
  plane.line =
      loss_along(plane.points, plane.centres, plane.moved, plane.direction, 1.2 * plane.newton);
  return plane;
}

void show_line(Program& program, const Plane& plane) {
  const Line& line = plane.line;
  program.json["parabola_off"] = line.off;
  program.json["parabola_minus_loss_least"] = line.least;
  program.json["kinks"] = line.kinks.size();
  std::cout << "\nAlong a line in the space of the centres of 16 points the loss has "
            << plural(line.kinks.size(), "kink")
            << ". The parabola from the engine's two\nderivatives is the loss within its cell, up "
               "to "
            << text(line.off) << " of it; of " << line.at.size()
            << " samples on the whole line,\nparabola - loss is at least " << text(line.least)
            << (line.least > -1e-12 * line.here
                    ? ": where the parabola is lowest, Newton's step, the loss is no higher.\n"
                    : ".\n");
}

std::vector<Place> places(const Tensor& t, double unit = 1) {
  std::vector<Place> all;
  for (std::size_t i = 0; i < t.shape()[0]; ++i) {
    const Place p = place(t, i);
    all.push_back({p[0] * unit, p[1] * unit});
  }
  return all;
}

Picture plane_picture(const Plane& plane) {
  const auto at = [&](double s) {
    const Place c = place(plane.centres, plane.moved);
    return Place{c[0] + s * plane.direction[0], c[1] + s * plane.direction[1]};
  };
  const Segment line = {at(plane.line.at.front()), at(plane.line.at.back())};
  Picture picture = cells_picture("16 points, 3 centres", places(plane.points),
                                  places(plane.centres), {line.from, line.to});
  add_segments(picture, "the line in the next picture", {line});
  add_points(picture, "Newton's step ends here", {at(plane.newton)}, 2.4);
  return picture;
}

Picture loss_picture(const Data& data, const std::vector<Outcome>& outcomes, bool newton_is_lloyd) {
  Picture picture("Loss against steps: " + data.name, "steps + 1: the start is at 1",
                  "sum of squared distances");
  picture.x.log = true;
  const double reference = named(outcomes, "lloyd").end.loss;
  double top = reference, bottom = reference;
  for (const auto& [name, run] : outcomes) {
    // One line drawn over the other would hide it.
    if (newton_is_lloyd && name == "newton") continue;
    std::vector<double> at(run.step.begin(), run.step.end());
    for (double& step : at) ++step;
    picture.line(newton_is_lloyd && name == "lloyd" ? "lloyd, and newton" : name, at, run.loss);
    top = std::max(top, run.end.loss);
    bottom = std::min(bottom, run.end.loss);
  }
  const double margin = std::max(top - bottom, 0.01 * reference);
  if (margin > 0) picture.y = {picture.y.label, true, bottom, 0.2 * margin};
  return picture;
}

Picture sizes_picture(const Data& data, const std::vector<Outcome>& outcomes) {
  Picture picture("Cluster sizes, largest first: " + data.name, "", "points");
  picture.y.log = true;
  for (std::size_t m = 0; m < data.clusters; ++m)
    picture.categories.push_back(std::to_string(m + 1));
  for (const char* name : {"lloyd", "adam", "sgd", "gradient-descent"}) {
    const KMeansRun& run = named(outcomes, name);
    std::vector<double> heights(run.end.size.begin(), run.end.size.end());
    std::sort(heights.rbegin(), heights.rend());
    picture.bars(name, heights);
  }
  return picture;
}

// The centres with the lowest loss, and each point's cluster.
void write_clusters(const std::string& folder, const Data& data, const KMeansRun& best) {
  std::vector<std::string> columns;
  for (std::size_t j = 0; j < data.dimensions(); ++j)
    columns.push_back("x" + std::to_string(j + 1));
  Table centres(columns), belongs({"point", "cluster"});
  for (std::size_t m = 0; m < data.clusters; ++m) {
    std::vector<Cell> row;
    for (std::size_t j = 0; j < data.dimensions(); ++j)
      row.emplace_back(best.centres(m, j) * data.unit);
    centres.row(row);
  }
  for (std::size_t i = 0; i < data.size(); ++i) belongs.row({i + 1, best.end.nearest[i] + 1});
  centres.write_csv(folder + "/kmeans_centres.csv");
  belongs.write_csv(folder + "/kmeans_clusters.csv");
}

void run(Program& program, const Settings& s) {
  Rng rng(program.seed);
  const Data data = load(s, rng);
  const Tensor& x = data.points;
  const std::size_t n = data.size(), k = data.clusters, tries = static_cast<std::size_t>(s.tries);
  const Tensor start = kmeans_start(s.start, x, k, rng, tries);

  const KMeansComparison compared = kmeans_compare(x, start);
  const KMeansRun other = kmeans_lloyd(x, kmeans_start("k-means++", x, k, rng, tries));
  const KMeansRun single = kmeans_lloyd(x, kmeans_start("points", x, 1, rng));
  const std::vector<Descent> methods = descents(s, data, program.seed);
  std::vector<std::pair<std::string, double>> rules;
  for (const char* rule : {"soft", "straight-through"})
    for (double tau : {1e-3, 1e-2, 1e-1, 1.0}) rules.emplace_back(rule, tau);

  // In full batches: a step on batches costs so much less.
  const auto points_in = [&](const KMeansDescent& d) {
    return d.steps * (d.batch > 0 ? d.batch : n);
  };
  std::size_t total = rules.size() * points_in(methods[0].settings), done = 0;
  for (const Descent& m : methods) total += points_in(m.settings);
  Progress progress("descending", total / n);
  const auto descend = [&](const std::string& name, const KMeansDescent& d) {
    return outcome(data, name, kmeans_descent(x, start, d, [&] {
                     done += d.batch > 0 ? d.batch : n;
                     progress.step(done / n);
                     done %= n;
                   }));
  };
  std::vector<Outcome> outcomes = {outcome(data, "lloyd", compared.lloyd),
                                   outcome(data, "k-means++", other),
                                   outcome(data, "newton", compared.newton)};
  for (const auto& [name, settings] : methods) outcomes.push_back(descend(name, settings));
  std::vector<RuleRun> by_rule;
  const double loss_a_point = compared.lloyd.end.loss / static_cast<double>(n);
  for (const auto& [rule, part] : rules) {
    KMeansDescent adam = methods[0].settings;
    const double tau = std::max(part * loss_a_point, 1e-20);
    adam.rule = rule == "soft" ? gumbel_softmax(tau) : straight_through(tau);
    by_rule.push_back({rule, part, descend(rule, adam).run});
  }
  progress.finish();

  const KMeansRun &lloyd = named(outcomes, "lloyd"), &adam = named(outcomes, "adam");
  const double reference = lloyd.end.loss, one = data.square(single.end.loss);
  auto& json = program.json;
  json["data"] = data.name;
  json["points"] = n;
  json["dimensions"] = data.dimensions();
  json["clusters"] = k;
  json["start"] = s.start;
  json["one_centre"] = one;
  std::cout << data.name << ": " << n << " in " << plural(data.dimensions(), "dimension") << ", "
            << plural(k, "cluster") << "; all from the same start ("
            << (tries > 1 ? "the best of " + std::to_string(tries) + " " : "") << s.start
            << "), k-means++ from its own.\n";
  if (s.problem == "separated") {
    const std::size_t met = clusters_met(x, start);
    json["clusters_met"] = met;
    std::cout << "The start has a centre in " << met << " of the " << plural(k, "cluster") << ".\n";
  }
  std::cout << "One centre for all points has a loss of " << text(one, 5)
            << (reference > 0 ? ", " + against_lloyd(one, reference) : "") << ".\n\n";
  show_methods(program, outcomes, reference);
  show_newton(program, data, compared);
  show_collapse(data, outcomes);
  if (s.problem == "uniform") {
    const auto sgd = std::find_if(methods.begin(), methods.end(),
                                  [](const Descent& d) { return d.name == "sgd"; });
    show_separated(program, sgd->settings, rng);
  }
  show_rules(program, data, lloyd, adam, one, by_rule);
  const Plane plane = make_plane();
  show_line(program, plane);
  if (program.out.empty()) return;

  const KMeansRun& best =
      std::min_element(outcomes.begin(), outcomes.end(), [](const Outcome& a, const Outcome& b) {
        return a.run.end.loss < b.run.end.loss;
      })->run;
  write_clusters(program.out, data, best);
  program.show(plane_picture(plane), "kmeans_cells");
  if (data.dimensions() == 2)
    program.show(cells_picture(data.name, places(x, data.unit), places(best.centres, data.unit)),
                 "kmeans_cells_found");
  program.show(line_picture(plane.line, plane.newton), "kmeans_line");
  program.show(loss_picture(data, outcomes, json["newton_minus_lloyd_relative"] < 1e-6),
               "kmeans_loss");
  program.show(sizes_picture(data, outcomes), "kmeans_sizes");
}

}  // namespace

int main(int argc, char** argv) {
  Program program(
      "09_kmeans",
      "k-means through an argmin node: Newton's step is Lloyd's, plain descent collapses");
  Settings settings;
  add_options(program, settings);
  return program.run(argc, argv, [&] {
    settle(program, settings);
    set_threads(program.threads);
    run(program, settings);
  });
}
