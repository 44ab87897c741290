// k-means through an argmin node: Newton's step is Lloyd's step, plain gradient descent is not.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "examples/common/program.hpp"
#include "models/argtape.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

struct Data {
  std::string name;
  Tensor points;
  std::vector<double> origin;  // what was taken from the points as they were read,
  double unit = 1;             // and what they were then divided by, a power of two
};

// Where a coordinate stands in the user's own units.
double in_place(const Data& data, std::size_t j, double x) {
  return x * data.unit + (data.origin.empty() ? 0 : data.origin[j]);
}

// Its losses in the user's own units.
KMeansRun in_place(const Data& data, KMeansRun run) {
  for (double& loss : run.loss) loss *= data.unit * data.unit;
  run.end.loss *= data.unit * data.unit;
  return run;
}

struct Outcome {
  std::string name;
  KMeansRun run;
};

// Sizes as a reader takes them in: "981, 1 x 19".
std::string listed(std::vector<std::size_t> sizes) {
  std::sort(sizes.rbegin(), sizes.rend());
  std::string text;
  for (std::size_t i = 0, same = 1; i < sizes.size(); i += same) {
    for (same = 1; i + same < sizes.size() && sizes[i + same] == sizes[i];) ++same;
    text += (i ? ", " : "") + std::to_string(sizes[i]);
    if (same > 1) text += " x " + std::to_string(same);
  }
  return text;
}

// In per cent; what rounding leaves is 0.
double over(double loss, double lloyd) {
  if (!(lloyd > 0)) return nothing;
  const double percent = 100 * (loss / lloyd - 1);
  return std::abs(percent) < 1e-10 ? 0 : percent;
}

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

nlohmann::ordered_json steps_or_null(std::size_t steps) {
  return steps == kmeans_never ? nlohmann::ordered_json() : nlohmann::ordered_json(steps);
}

Cell steps_cell(std::size_t steps) { return steps == kmeans_never ? Cell("never") : Cell(steps); }

// ---- the picture of the cells, in two dimensions ----

struct Segment {
  double x0, y0, x1, y1;
};

// The part of the line p + t u, low <= t <= high, where a t <= b.
bool clip(double a, double b, double& low, double& high) {
  if (a > 0) high = std::min(high, b / a);
  if (a < 0) low = std::max(low, b / a);
  return !(a == 0 && b < 0) && low < high;
}

// The borders between the centres' cells within a box: of each pair's bisector, the part to which
// no other centre is nearer.
std::vector<Segment> borders(const Tensor& c, const double (&low)[2], const double (&high)[2]) {
  std::vector<Segment> all;
  const std::size_t k = c.shape()[0];
  for (std::size_t i = 0; i < k; ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const double p[2] = {(c(i, 0) + c(j, 0)) / 2, (c(i, 1) + c(j, 1)) / 2};
      const double u[2] = {c(j, 1) - c(i, 1), c(i, 0) - c(j, 0)};
      double from = -std::numeric_limits<double>::infinity(), to = -from;
      bool some = u[0] != 0 || u[1] != 0;
      for (std::size_t a = 0; a < 2; ++a)
        some = some && clip(u[a], high[a] - p[a], from, to) && clip(-u[a], p[a] - low[a], from, to);
      for (std::size_t m = 0; m < k && some; ++m) {
        if (m == i || m == j) continue;
        // |x - c_i|^2 <= |x - c_m|^2 on the line.
        const double v[2] = {c(m, 0) - c(i, 0), c(m, 1) - c(i, 1)};
        const double middle[2] = {(c(m, 0) + c(i, 0)) / 2, (c(m, 1) + c(i, 1)) / 2};
        some = clip(v[0] * u[0] + v[1] * u[1],
                    v[0] * (middle[0] - p[0]) + v[1] * (middle[1] - p[1]), from, to);
      }
      if (some)
        all.push_back({p[0] + from * u[0], p[1] + from * u[1], p[0] + to * u[0], p[1] + to * u[1]});
    }
  return all;
}

Picture cells_picture(const Data& data, const Tensor& centres) {
  Picture picture("Points by cluster, and the borders between the centres' cells: " + data.name);
  const KMeansAssignment a = kmeans_assign(data.points, centres);
  const std::size_t n = data.points.shape()[0];
  double low[2], high[2];
  for (std::size_t j = 0; j < 2; ++j) {
    low[j] = high[j] = data.points(0, j);
    for (std::size_t i = 0; i < n; ++i) {
      low[j] = std::min(low[j], static_cast<double>(data.points(i, j)));
      high[j] = std::max(high[j], static_cast<double>(data.points(i, j)));
    }
    const double margin = 0.05 * (high[j] - low[j]);
    low[j] -= margin, high[j] += margin;
  }
  const auto x = [&](double v) { return in_place(data, 0, v); };
  const auto y = [&](double v) { return in_place(data, 1, v); };
  for (std::size_t m = 0; m < a.size.size(); ++m) {
    std::vector<double> across, up;
    for (std::size_t i = 0; i < n; ++i)
      if (a.nearest[i] == m) {
        across.push_back(x(data.points(i, 0)));
        up.push_back(y(data.points(i, 1)));
      }
    constexpr std::size_t legend = 24;  // more names have no room
    picture.points(a.size.size() <= legend ? "cluster " + std::to_string(m + 1) : "", across, up);
  }
  std::vector<double> across, up;
  for (const Segment& s : borders(centres, low, high)) {
    constexpr int pieces = 12;  // a line of few points is drawn with dots on it
    for (int i = 0; i <= pieces; ++i) {
      const double t = static_cast<double>(i) / pieces;
      across.push_back(x(s.x0 + t * (s.x1 - s.x0)));
      up.push_back(y(s.y0 + t * (s.y1 - s.y0)));
    }
    across.push_back(nothing);
    up.push_back(nothing);
  }
  picture.line("borders", across, up);
  across.clear(), up.clear();
  for (std::size_t m = 0; m < a.size.size(); ++m) {
    across.push_back(x(centres(m, 0)));
    up.push_back(y(centres(m, 1)));
  }
  picture.points("centres", across, up);
  return picture;
}

// ---- the loss along a line in the space of the centres ----

struct Line {
  std::vector<double> at, loss, parabola, kinks, loss_at_kinks;
  double begin = 0, end = 0;  // of the cell around 0
  double off = 0;             // |parabola - loss| / loss, the largest inside the cell
};

// One centre moved by s * direction, |s| <= reach.
Line along(const Tensor& points, const Tensor& centres, std::size_t moved, const Tensor& direction,
           double reach) {
  const std::size_t n = points.shape()[0], d = points.shape()[1];
  Tensor tangent = zeros(centres.shape());
  std::copy_n(direction.data(), d, tangent.data() + moved * d);
  Tape tape;
  const Var c = tape.parameter(centres, "centres"), u = tape.constant(tangent);
  const Var loss = sum(kmeans_loss(tape.constant(points), c, zero()));
  const Var slope = sum(differentiate(loss, c)[0] * u);
  const Var bend = sum(differentiate(slope, c)[0] * u);

  const auto loss_at = [&](double s) {
    return kmeans_assign(points, centres + static_cast<Scalar>(s) * tangent).loss;
  };
  Line line;
  line.begin = -reach, line.end = reach;
  // A point changes hands where the moved centre is as far away as the nearest of the others:
  // s^2 |u|^2 - 2 s u (x - c) + |x - c|^2 = that distance.
  double a = 0;
  for (std::size_t j = 0; j < d; ++j) a += std::pow(direction.data()[j], 2);
  for (std::size_t i = 0; i < n; ++i) {
    double b = 0, own = 0, rest = std::numeric_limits<double>::infinity();
    for (std::size_t m = 0; m < centres.shape()[0]; ++m) {
      double distance = 0;
      for (std::size_t j = 0; j < d; ++j) distance += std::pow(points(i, j) - centres(m, j), 2);
      (m == moved ? own : rest) = m == moved ? distance : std::min(rest, distance);
    }
    for (std::size_t j = 0; j < d; ++j)
      b += direction.data()[j] * (points(i, j) - centres(moved, j));
    const double root = b * b - a * (own - rest);
    if (root <= 0) continue;
    for (double s : {(b - std::sqrt(root)) / a, (b + std::sqrt(root)) / a}) {
      if (std::abs(s) > reach) continue;
      line.kinks.push_back(s);
      line.loss_at_kinks.push_back(loss_at(s));
      if (s < 0) line.begin = std::max(line.begin, s);
      if (s >= 0) line.end = std::min(line.end, s);
    }
  }
  constexpr int samples = 800;
  for (int i = -samples; i <= samples; ++i) {
    const double s = reach * i / samples, here = loss_at(s);
    line.at.push_back(s);
    line.loss.push_back(here);
    line.parabola.push_back(loss.item() + s * slope.item() + s * s * bend.item() / 2);
    if (s >= line.begin && s <= line.end)
      line.off = std::max(line.off, std::abs(line.parabola.back() - here) / here);
  }
  return line;
}

Picture line_picture(const Line& line, double newton) {
  Picture picture("The loss as one centre moves along a line: a parabola in each cell",
                  "how far the centre has moved", "sum of squared distances");
  const auto [low, high] = std::minmax_element(line.loss.begin(), line.loss.end());
  const double margin = 0.08 * (*high - *low);
  picture.y_min = *low - margin;
  picture.y_max = *high + margin;
  std::vector<double> parabola = line.parabola;
  for (double& y : parabola)
    if (y > *picture.y_max) y = nothing;
  picture.line("loss", line.at, line.loss);
  picture.line("parabola of the cell at 0, from the engine's derivatives", line.at, parabola);
  picture.points("kinks: a point changes its cluster", line.kinks, line.loss_at_kinks);
  // The sample that is nearest to where Newton's step ends.
  const auto lands = static_cast<std::size_t>(
      std::lower_bound(line.at.begin(), line.at.end(), newton) - line.at.begin());
  picture.points("Newton's step: the parabola's lowest point", {line.at[lands]},
                 {line.parabola[lands]});
  return picture;
}

}  // namespace

int main(int argc, char** argv) {
  Program program(
      "09_kmeans",
      "k-means through an argmin node: Newton's step is Lloyd's, plain descent collapses");
  std::string problem, path, start_name;
  int points = 1000, dimensions = 200, clusters = 0, batch = 0, steps = 0, tries = 0;
  double adam_rate = 0.01, spread = 0.05;
  program.option("--problem", problem,
                 "uniform (the default: no clusters at all), separated, or digits");
  program.app
      .add_option("--data", path,
                  "Points of your own: a CSV or NumPy (.npy) file, plain or .gz, a point a "
                  "line or row; or a folder with MNIST's IDX files")
      ->type_name("FILE|DIR");
  program.option("--points", points, "of the uniform and the separated problem");
  program.option("--dimensions", dimensions, "of the same");
  program.option("--spread", spread, "of the separated clusters, whose centres lie in (0,1)^d");
  program.option("--clusters", clusters, "centres; 0: 20, or 10 for digits", 0);
  program.option("--batch", batch, "points in a step of the methods on batches; 0: 100, or all", 0);
  program.option("--start", start_name,
                 "of all methods: points (the default), k-means++ (for separated), or cube");
  program.option("--tries", tries,
                 "starts drawn, of which the lowest is taken; 0: 1, or 20 for separated", 0);
  program.option("--steps", steps,
                 "of full-batch Adam, the others in proportion; 0: 500, or 100 with --quick", 0);
  program.option("--rate", adam_rate,
                 "Adam's, for numbers spread as in (0,1); scaled to those at hand");
  return program.run(argc, argv, [&] {
    if (program.app.count("--data") > 0 && path.empty())
      throw WrongCall("--data: the file's name is empty");
    const bool folder = std::filesystem::is_directory(path), file = !path.empty() && !folder;
    if (file && !std::filesystem::exists(path))
      throw WrongCall("--data: there is no file or folder '" + path + "'");
    if (problem.empty()) problem = folder ? "digits" : file ? "file" : "uniform";
    if (problem != "uniform" && problem != "separated" && problem != "digits" && !file)
      throw WrongCall("--problem is '" + problem + "'; need uniform, separated or digits");
    if (!path.empty() && problem != (folder ? "digits" : "file"))
      throw WrongCall("--data and --problem " + problem + " exclude each other");
    if (start_name.empty()) start_name = problem == "separated" ? "k-means++" : "points";
    if (start_name != "points" && start_name != "k-means++" && start_name != "cube")
      throw WrongCall("--start is '" + start_name + "'; need points, k-means++ or cube");
    if (!(adam_rate > 0)) throw WrongCall("--rate must be more than 0");
    if (!(spread >= 0)) throw WrongCall("--spread must be 0 or more");
    set_threads(program.threads);

    Rng rng(program.seed);
    Data data;
    const auto n_made = static_cast<std::size_t>(points),
               d_made = static_cast<std::size_t>(dimensions);
    std::size_t k = static_cast<std::size_t>(clusters);
    if (k == 0) k = problem == "digits" ? 10 : 20;
    if (problem == "file") {
      data = {std::filesystem::path(path).filename().string(), read_points(path), {}};
      // So that rates and temperatures mean the same for millimetres and for miles.
      const double wide = spread_of(data.points);
      if (wide > 0) data.unit = std::exp2(std::floor(std::log2(wide * std::sqrt(12.0))));
      if (!(data.unit > 1e-140 && data.unit < 1e140))
        throw std::runtime_error(path + " has points with a standard deviation of " +
                                 argtape_examples::number(wide) +
                                 "; need 1e-140 to 1e140, for a sum of squares: scale them");
      data.points /= data.unit;
    } else if (problem == "digits") {
      const Dataset digits = load_digits(folder ? path : ARGTAPE_DATA_DIR);
      data = {digits.name, digits.images, {}};
    } else if (problem == "separated") {
      data = {"separated clusters", separated_points(n_made, d_made, k, spread, rng), {}};
    } else {
      data = {"uniform points", rng.uniform({n_made, d_made}), {}};
    }
    const Tensor& x = data.points;
    const std::size_t n = x.shape()[0], d = x.shape()[1];
    if (k > n)
      throw WrongCall("--clusters is " + std::to_string(k) + (clusters ? "" : ", the default,") +
                      " for " + std::to_string(n) + " points; need at most one cluster a point");
    if (static_cast<std::size_t>(batch) > n)
      throw WrongCall("--batch is more than the " + std::to_string(n) + " points");
    const std::size_t full = steps > 0       ? static_cast<std::size_t>(steps)
                             : program.quick ? 100
                                             : 500;
    const std::size_t rows =
        batch > 0 ? static_cast<std::size_t>(batch) : std::min<std::size_t>(100, n);
    const std::size_t drawn = tries > 0                ? static_cast<std::size_t>(tries)
                              : problem == "separated" ? 20
                                                       : 1;
    const Tensor start = kmeans_start(start_name, x, k, rng, drawn);
    const double unit = problem == "uniform" ? 1 : spread_of(x) * std::sqrt(12.0);

    // Each method with its settings.
    using By = KMeansDescent::By;
    std::vector<std::pair<std::string, KMeansDescent>> descents(5);
    const auto set = [&](std::size_t i, const char* name, By by, double rate, std::size_t count,
                         std::size_t of, bool decays) {
      auto& [label, s] = descents[i];
      label = name, s.by = by, s.rate = rate, s.steps = count, s.batch = of, s.decays = decays;
      s.seed = program.seed;
    };
    const double rate = unit > 0 ? unit * adam_rate : adam_rate;
    set(0, "adam", By::adam, rate, full, 0, false);
    set(1, "adam-batches", By::adam, rate, 6 * full, rows, true);
    // At a rate of 1 a centre of all points would jump to the other side of their mean, and back.
    set(2, "gradient-descent", By::sgd, k > 1 ? 1 : 0.5, 2 * full, 0, false);
    set(3, "sgd", By::sgd, 0.5, 10 * full, rows, true);
    set(4, "sgd-document", By::sgd, 1e-5, 8 * full + 1, rows, false);
    descents[4].second.summed = true;

    std::vector<std::pair<std::string, double>> rules;  // soft or straight-through, and tau
    for (const char* kind : {"soft", "straight-through"})
      for (double part : {1e-3, 1e-2, 1e-1, 1.0}) rules.emplace_back(kind, part);
    // In full batches: a step on batches costs so much less.
    Progress progress("descending", full * (3 + rules.size()) + 24 * full * rows / n);
    std::size_t done = 0;
    const auto descend = [&](const KMeansDescent& s) {
      return in_place(data, kmeans_descent(x, start, s, [&] {
                        done += s.batch > 0 ? s.batch : n;
                        progress.step(done / n);
                        done %= n;
                      }));
    };

    std::vector<Outcome> methods;
    KMeansComparison compared = kmeans_compare(x, start);
    for (double& off : compared.difference) off *= data.unit;
    const KMeansRun lloyd = in_place(data, compared.lloyd),
                    newton = in_place(data, compared.newton);
    const double reference = lloyd.end.loss;
    methods.push_back({"lloyd", lloyd});
    methods.push_back({"k-means++", in_place(data, kmeans_lloyd(x, kmeans_start("k-means++", x, k,
                                                                                rng, drawn)))});
    methods.push_back({"newton", newton});
    for (const auto& [name, settings] : descents) methods.push_back({name, descend(settings)});
    const double one = in_place(data, kmeans_lloyd(x, kmeans_start("points", x, 1, rng))).end.loss;
    const KMeansRun& plain = methods[5].run;

    std::vector<KMeansRun> by_rule;
    const double loss_a_point = reference / (data.unit * data.unit) / static_cast<double>(n);
    for (const auto& [kind, part] : rules) {
      KMeansDescent s = descents[0].second;
      const double tau = std::max(part * loss_a_point, 1e-20);
      s.rule = kind == "soft" ? gumbel_softmax(tau) : straight_through(tau);
      by_rule.push_back(descend(s));
    }
    progress.finish();

    auto& json = program.json;
    json["data"] = data.name;
    json["points"] = n;
    json["dimensions"] = d;
    json["clusters"] = k;
    json["start"] = start_name;
    json["methods"] = nlohmann::ordered_json::array();
    std::cout << data.name << ": " << n << " in " << d << " dimensions, " << k
              << " clusters; all from the same start (" << start_name
              << "), k-means++ from its own.\nOne centre for all points has a loss of "
              << argtape_examples::number(one, 5) << ", "
              << argtape_examples::number(over(one, reference)) << " % over Lloyd.\n\n";
    Table table({"method", "loss", "% over Lloyd", "steps", "steps to 1 %", "largest cluster",
                 "empty", "seconds"});
    for (const Outcome& m : methods) {
      const std::size_t within = kmeans_steps_to(m.run, 1.01 * reference);
      table.row({m.name, m.run.end.loss, over(m.run.end.loss, reference), m.run.iterations,
                 steps_cell(within), m.run.end.largest(), m.run.end.empty(), m.run.seconds});
      json["methods"].push_back({{"method", m.name},
                                 {"loss", m.run.end.loss},
                                 {"iterations", m.run.iterations},
                                 {"steps_to_1_percent", steps_or_null(within)},
                                 {"largest_cluster", m.run.end.largest()},
                                 {"empty_clusters", m.run.end.empty()},
                                 {"over_lloyd_percent", over(m.run.end.loss, reference)},
                                 {"seconds", m.run.seconds}});
    }
    table.print();

    const auto largest = [](const std::vector<double>& v) {
      return *std::max_element(v.begin(), v.end());
    };
    const double apart = largest(compared.difference);
    json["newton_minus_lloyd"] = apart;
    json["newton_minus_lloyd_relative"] = largest(compared.relative);
    json["one_centre"] = one;
    json["relocated"] = lloyd.relocated;
    Table steps_table({"step", "Lloyd's loss", "Newton's loss", "points that changed cluster",
                       "largest difference of a coordinate", "relative"});
    const std::size_t taken = compared.difference.size();
    const auto loss_after = [](const KMeansRun& run, std::size_t step) {
      return run.loss[std::min(step, run.loss.size() - 1)];
    };
    json["comparison"] = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < taken; ++i) {
      const double by_lloyd = loss_after(lloyd, i + 1), by_newton = loss_after(newton, i + 1);
      steps_table.row({i + 1, by_lloyd, by_newton, i == 0 ? Cell("-") : Cell(compared.changed[i]),
                       compared.difference[i], compared.relative[i]});
      json["comparison"].push_back({{"step", i + 1},
                                    {"lloyd", by_lloyd},
                                    {"newton", by_newton},
                                    {"difference", compared.difference[i]},
                                    {"relative", compared.relative[i]}});
    }
    std::cout << "\nNewton's step, centre - gradient / second derivative, is Lloyd's step:\n";
    if (taken <= 30) steps_table.print();
    std::cout << (taken <= 30 ? "" : "(" + std::to_string(taken) + " steps; --out has them all)\n")
              << "The largest difference of a coordinate in all steps is "
              << argtape_examples::number(apart) << ".\n";
    if (lloyd.relocated > 0)
      std::cout << lloyd.relocated
                << " clusters were empty and had their centre moved onto the point farthest from "
                   "its own, for both.\n";

    std::cout << "\nCluster sizes\n  lloyd             " << listed(lloyd.end.size)
              << "\n  gradient-descent  " << listed(plain.end.size) << "\n";
    if (plain.end.loss > 1.01 * reference && 3 * plain.end.largest() > n && k > 3)
      std::cout
          << "Plain gradient descent collapses. A centre's gradient is 2 (size / n) (centre - mean "
             "of its points):\nthe largest cluster's centre runs ahead to the middle, is soon the "
             "nearest to nearly every point,\ngrows, and runs faster still, while the others "
             "hardly "
             "move and are left with next to nothing.\nLloyd and Newton divide by the size, Adam "
             "by "
             "the gradient's own: there all keep pace.\n";
    else
      std::cout << "Here plain gradient descent ends "
                << argtape_examples::number(over(plain.end.loss, reference))
                << " % over Lloyd's loss.\n";

    if (problem == "uniform") {
      // The same descent where there are clusters to find.
      const Tensor apart_points = separated_points(1000, 200, 20, 0.05, rng);
      const Tensor apart_start = kmeans_start("k-means++", apart_points, 20, rng, 20);
      KMeansDescent s = descents[3].second;
      s.rate = 1;
      s.batch = 100;
      s.steps = 2000;
      const double best = kmeans_lloyd(apart_points, apart_start).end.loss;
      const KMeansRun run = kmeans_descent(apart_points, apart_start, s);
      std::cout << "Where there are clusters to find (--problem separated), SGD ends "
                << argtape_examples::number(over(run.end.loss, best)) << " % over Lloyd's "
                << argtape_examples::number(best, 5) << ".\n";
      json["separated"] = {{"lloyd", best},
                           {"sgd", run.end.loss},
                           {"over_lloyd_percent", over(run.end.loss, best)},
                           {"iterations", run.iterations}};
    }

    std::cout << "\nOther rules for the argmin, by Adam as above\n";
    Table rule_table({"rule", "tau / Lloyd's loss a point", "hard loss", "% over Lloyd",
                      "largest cluster", "empty", "centres' spread / Lloyd's"});
    json["rules"] = nlohmann::ordered_json::array();
    const double apart_by_lloyd = spread_of(lloyd.centres);
    const auto rule_row = [&](const std::string& kind, double part, const KMeansRun& run) {
      const double apart_now =
          apart_by_lloyd > 0 ? spread_of(run.centres) / apart_by_lloyd : nothing;
      rule_table.row({kind, part, run.end.loss, over(run.end.loss, reference), run.end.largest(),
                      run.end.empty(), apart_now});
      json["rules"].push_back({{"rule", kind},
                               {"tau_over_loss", part},
                               {"loss", run.end.loss},
                               {"over_lloyd_percent", over(run.end.loss, reference)},
                               {"largest_cluster", run.end.largest()},
                               {"empty_clusters", run.end.empty()},
                               {"centres_spread_over_lloyd", apart_now}});
    };
    rule_row("zero", nothing, methods[3].run);
    for (std::size_t i = 0; i < rules.size(); ++i)
      rule_row(rules[i].first, rules[i].second, by_rule[i]);
    rule_table.print();
    std::cout
        << "Soft: a point's loss is its mean under softmax(-d / tau). A little softness rounds the "
           "kinks off, and may end\nlower. With more, each centre answers for nearly every point, "
           "and "
           "they meet in the middle, as good as one.\nStraight-through: the loss stays hard, and "
           "its "
           "gradient has that softmax's derivative added, which draws a\npoint's nearer centres to "
           "it "
           "and pushes the farther ones away (soft's does so too, beyond tau): a centre\npushed "
           "off all "
           "points gets none back.\n";

    // In two dimensions, few enough points to see each of them change hands. The line is the one on
    // which Newton's step moves the centre that it moves farthest.
    Data plane{"16 points, 3 centres", {}, {}};
    Rng few(program.seed + 1, 0, 5);
    plane.points = few.uniform({16, 2});
    const Tensor plane_centres = kmeans_start("points", plane.points, 3, few);
    const Tensor step = kmeans_newton_step(plane.points, plane_centres).centres - plane_centres;
    std::size_t moved = 0;
    const auto length = [&](std::size_t m) { return std::hypot(step(m, 0), step(m, 1)); };
    for (std::size_t m = 1; m < 3; ++m)
      if (length(m) > length(moved)) moved = m;
    const Tensor move{step(moved, 0) / length(moved), step(moved, 1) / length(moved)};
    const double reach = 1.2 * length(moved);
    const Line line = along(plane.points, plane_centres, moved, move, reach);
    std::cout << "\nAlong a line in the space of the centres the loss is a parabola in each cell; "
                 "the one "
                 "from the engine's\ntwo derivatives lies on it within its cell, up to "
              << argtape_examples::number(line.off)
              << " of the loss, and nowhere below it: where it is "
              << "least,\nwhich is Newton's step, the loss is no higher.\n";
    json["parabola_off"] = line.off;
    if (program.out.empty()) return;

    table.write_csv(program.out + "/kmeans.csv");
    steps_table.write_csv(program.out + "/kmeans_newton.csv");
    rule_table.write_csv(program.out + "/kmeans_rules.csv");
    const KMeansRun& best =
        std::min_element(methods.begin(), methods.end(), [](const Outcome& a, const Outcome& b) {
          return a.run.end.loss < b.run.end.loss;
        })->run;
    std::vector<std::string> columns;
    for (std::size_t j = 0; j < d; ++j) columns.push_back("x" + std::to_string(j + 1));
    Table centres(columns), belongs({"point", "cluster"});
    for (std::size_t m = 0; m < k; ++m) {
      std::vector<Cell> row;
      for (std::size_t j = 0; j < d; ++j) row.emplace_back(in_place(data, j, best.centres(m, j)));
      centres.row(row);
    }
    for (std::size_t i = 0; i < n; ++i) belongs.row({i + 1, best.end.nearest[i] + 1});
    centres.write_csv(program.out + "/kmeans_centres.csv");
    belongs.write_csv(program.out + "/kmeans_clusters.csv");

    Picture cells = cells_picture(plane, plane_centres);
    const double x0 = plane_centres(moved, 0), y0 = plane_centres(moved, 1);
    cells.line("the line of kmeans_line", {x0 - reach * move(0), x0 + reach * move(0)},
               {y0 - reach * move(1), y0 + reach * move(1)});
    program.show(cells, "kmeans_cells");
    if (d == 2) program.show(cells_picture(data, best.centres), "kmeans_cells_found");
    program.show(line_picture(line, length(moved)), "kmeans_line");
    Picture losses("Loss against steps: " + data.name, "step", "sum of squared distances");
    losses.log_x = true;
    double top = reference, bottom = reference;
    // One line drawn over the other would hide it.
    const bool same = largest(compared.relative) < 1e-6;
    for (const Outcome& m : methods) {
      if (same && m.name == "newton") continue;
      const std::vector<double> at(m.run.step.begin(), m.run.step.end());
      losses.line(same && m.name == "lloyd" ? "lloyd, and newton" : m.name, at, m.run.loss);
      top = std::max(top, m.run.end.loss);
      bottom = std::min(bottom, m.run.end.loss);
    }
    const double margin = std::max(top - bottom, 0.01 * reference);
    losses.y_min = bottom - 0.2 * margin;
    losses.y_max = top + 0.8 * margin;
    program.show(losses, "kmeans_loss");
    Picture sizes("Cluster sizes, largest first: " + data.name, "", "points");
    sizes.log_y = true;
    for (std::size_t m = 0; m < k; ++m) sizes.categories.push_back(std::to_string(m + 1));
    for (std::size_t i : {std::size_t{0}, std::size_t{3}, std::size_t{6}, std::size_t{5}}) {
      std::vector<double> heights(methods[i].run.end.size.begin(), methods[i].run.end.size.end());
      std::sort(heights.rbegin(), heights.rend());
      sizes.bars(methods[i].name, heights);
    }
    program.show(sizes, "kmeans_sizes");
  });
}
