// A hundred digits with a label, all others without: a generative model whose class is summed out,
// at a cost that grows with the number of classes, or drawn, at one that does not.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/grid.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

using argtape_examples::Estimate;
using argtape_examples::mean_of;
using argtape_examples::number;
using Json = nlohmann::ordered_json;

constexpr std::size_t kMarks = 20;   // of a training's curve
constexpr std::size_t kStyles = 8;   // rows of the analogies
constexpr std::size_t kPart = 2000;  // test digits at a time

// For each of some digits a list: itself, and then its style in every class, pixels from 0 to 255.
Json analogies(const SemiSupervised& network, const Dataset& digits) {
  Tape tape;
  std::vector<Var> w;
  for (const Tensor& p : network.parameters) w.push_back(tape.borrow_constant(p));
  const std::size_t k = network.classes(), pixels = digits.images.shape()[1];
  Tensor each = zeros({k, 1, k});
  for (std::size_t c = 0; c < k; ++c) each.data()[c * k + c] = 1;
  const Var x = tape.constant(digits.images), y = argmax(network.classify(w, x), zero());
  const Var z = network.infer(w, x, y).mean;
  const Tensor made = sigmoid(network.generate(w, tape.constant(each),
                                               broadcast(z, {k, digits.size(), network.latent()})))
                          .value();
  const auto image = [&](const Scalar* from) {
    std::vector<int> grey;
    for (std::size_t i = 0; i < pixels; ++i)
      grey.push_back(static_cast<int>(std::lround(255 * from[i])));
    return grey;
  };
  Json all = Json::array();
  for (std::size_t d = 0; d < digits.size(); ++d) {
    Json& row = all.emplace_back(Json::array({image(digits.images.data() + d * pixels)}));
    for (std::size_t c = 0; c < k; ++c)
      row.push_back(image(made.data() + (c * digits.size() + d) * pixels));
  }
  return all;
}

// One training, and what became of it.
class Digits : public Training {
 public:
  Digits(const Split& data, const SemiSupervisedSettings& settings, bool shows_styles)
      : data_(data),
        settings_(settings),
        shows_styles_(shows_styles),
        marked_with_(rows_from(data.test, 0, 1000)),
        training_(data.train, settings) {}

  Did step(bool may_train) override {
    const std::size_t done = training_.steps_done();
    if (!over_ && (marks_ + 1) * settings_.steps <= kMarks * done) {
      Rng rng(0);
      steps_.push_back(done);
      accuracies_.push_back(accuracy(training_.network(), marked_with_));
      bounds_.push_back(mean_bound(training_.network(), marked_with_, rng));
      marks_ = kMarks * done / settings_.steps;
      return Did::evaluated;
    }
    over_ = over_ || !may_train || done == settings_.steps;
    if (!over_) {
      train();
      return Did::trained;
    }
    if (tested_ == data_.test.size()) return Did::finished;
    const Dataset part = rows_from(data_.test, tested_, kPart);
    const auto size = static_cast<double>(part.size());
    Rng rng(0, 0, tested_);  // the same for all
    right_ += size * accuracy(training_.network(), part);
    bound_ += size * mean_bound(training_.network(), part, rng);
    tested_ += part.size();
    return Did::evaluated;
  }

  // Where it diverges, the flag that may be at fault.
  void train() {
    try {
      training_.step();
    } catch (const std::runtime_error& e) {
      throw std::runtime_error(std::string(e.what()) + ": lower --rate");
    } catch (const std::invalid_argument& e) {
      throw std::runtime_error(std::string(e.what()) + ": lower --rate");
    }
  }

  double progress() const override {
    if (over_) return 1;
    return static_cast<double>(training_.steps_done()) / static_cast<double>(settings_.steps);
  }

  void archive(Archive& a) override {
    a("training", training_);
    a("over", over_);
    a("marks", marks_);
    a("steps", steps_);
    a("accuracies", accuracies_);
    a("bounds", bounds_);
    a("tested", tested_);
    a("right", right_);
    a("bound", bound_);
  }

  void save(Archive& a) override {
    std::vector<Tensor> parameters = training_.network().parameters;
    a("parameters", parameters);
  }

  // What a result is like.
  static Json form() {
    return {{"method", ""},
            {"seed", 0},
            {"accuracy", 0.0},
            {"bound", 0.0},
            {"at", {0}},
            {"accuracies", {0.0}},
            {"bounds", {0.0}},
            {"styles?",
             {{"height", 0},
              {"width", 0},
              {"images", Json::array({Json::array({Json::array({0})})})}}}};
  }

  Json result() override {
    const auto tested = static_cast<double>(tested_);
    Json row = {
        {"method", settings_.method}, {"seed", settings_.seed}, {"accuracy", right_ / tested},
        {"bound", bound_ / tested},   {"at", steps_},           {"accuracies", accuracies_},
        {"bounds", bounds_}};
    if (shows_styles_)
      row["styles"] = {
          {"height", data_.test.height},
          {"width", data_.test.width},
          {"images", analogies(training_.network(), rows_from(data_.test, 0, kStyles))}};
    return row;
  }

 private:
  const Split& data_;
  SemiSupervisedSettings settings_;
  bool shows_styles_, over_ = false;
  Dataset marked_with_;
  SemiSupervisedTraining training_;
  std::size_t marks_ = 0, tested_ = 0;
  std::vector<std::size_t> steps_;
  std::vector<double> accuracies_, bounds_;
  double right_ = 0, bound_ = 0;
};

// What a step on digits without labels costs, by the number of classes there are to sum or draw
// from. All are measured in turn, several times over, and the fastest step counts.
class Costs : public Training {
 public:
  Costs(const Dataset& digits, std::vector<std::string> methods, std::vector<std::size_t> classes,
        SemiSupervisedSizes sizes, std::size_t batch, std::size_t rounds)
      : digits_(digits),
        methods_(std::move(methods)),
        classes_(std::move(classes)),
        sizes_(sizes),
        batch_(batch),
        rounds_(rounds),
        ms_(methods_.size() * classes_.size(), std::numeric_limits<double>::infinity()) {}

  Did step(bool) override {
    if (done_ == rounds_ * ms_.size()) return Did::finished;
    const std::size_t at = done_++ % ms_.size();
    measure(methods_[at % methods_.size()], classes_[at / methods_.size()], ms_[at]);
    return Did::evaluated;
  }
  double progress() const override {
    return static_cast<double>(done_) / static_cast<double>(rounds_ * ms_.size());
  }
  void archive(Archive& a) override {
    a("done", done_);
    a("ms", ms_);
  }
  static Json form() {
    return {{"cost", Json::array({{{"method", ""}, {"classes", 0}, {"ms_per_step", 0.0}}})}};
  }
  Json result() override {
    Json cost = Json::array();
    for (std::size_t at = 0; at < ms_.size(); ++at)
      cost.push_back({{"method", methods_[at % methods_.size()]},
                      {"classes", classes_[at / methods_.size()]},
                      {"ms_per_step", ms_[at]}});
    return {{"cost", cost}};
  }

 private:
  void measure(const std::string& method, std::size_t classes, double& fastest) const {
    using Clock = std::chrono::steady_clock;
    Rng rng(1);
    Dataset like = rows_from(digits_, 0, batch_);
    like.classes = classes;
    SemiSupervised network(like, sizes_, rng);
    Adam adam(1e-4);
    const Rule rule = method == "gumbel-softmax" ? gumbel_softmax(1) : st_gumbel_softmax(1);
    for (int i = 0; i < 5; ++i) {
      const Clock::time_point start = Clock::now();
      Tape tape;
      const std::vector<Var> w = tape.borrow_parameters(network.parameters);
      const Var x = tape.constant(binarised(like, rng).images), logits = network.classify(w, x);
      const auto noise = [&](const Shape& shape) { return tape.constant(rng.normal(shape)); };
      const Var u =
          method == "marginalised"
              ? network.marginal_bound(w, x, logits, noise({classes, like.size(), sizes_.latent}))
              : network.sampled_bound(w, x, logits, rule, noise({like.size(), sizes_.latent}), rng);
      adam.step(network.parameters, w, -mean(u));
      if (i < 2) continue;  // these ask the system for memory
      fastest = std::min(fastest,
                         std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    }
  }

  const Dataset& digits_;
  std::vector<std::string> methods_;
  std::vector<std::size_t> classes_;
  SemiSupervisedSizes sizes_;
  std::size_t batch_, rounds_, done_ = 0;
  std::vector<double> ms_;
};

using Rows = std::map<std::string, std::vector<Json>>;  // by method

std::vector<double> column(const std::vector<Json>& rows, const char* key) {
  std::vector<double> all;
  for (const Json& row : rows) all.push_back(row.at(key).get<double>());
  return all;
}

// arXiv 1611.01144, table 2: with convolutional networks, and 50,000 digits without labels.
struct Published {
  double accuracy, bound;
};
const std::map<std::string, Published> kPublished = {{"marginalised", {0.926, -106.8}},
                                                     {"gumbel-softmax", {0.924, -109.6}},
                                                     {"st-gumbel-softmax", {0.936, -110.7}}};

void show_accuracies(Program& program, const Rows& rows, bool mnist) {
  std::vector<std::string> headers = {"method", "test accuracy", "bound, nats", "ms a step"};
  if (mnist) headers.insert(headers.end(), {"published accuracy", "published bound"});
  Table table(headers);
  for (const std::string& method : semi_supervised_methods()) {
    const auto of = rows.find(method);
    if (of == rows.end()) continue;
    const auto cell = [&](const char* key) {
      const Estimate e = mean_of(column(of->second, key));
      return e.error > 0 ? Cell(e.mean, e.error) : Cell(e.mean);
    };
    std::vector<Cell> cells = {method, cell("accuracy"), cell("bound"),
                               mean_of(column(of->second, "ms_per_step")).mean};
    const auto known = kPublished.find(method);
    if (mnist && known != kPublished.end())
      cells.insert(cells.end(), {known->second.accuracy, known->second.bound});
    else if (mnist)
      cells.insert(cells.end(), {"-", "-"});
    table.row(cells);
  }
  program.print(table, "semi_supervised");
  std::cout << "\nThe bound is one of log p(x) on test digits, with the class summed out for every "
               "method; greater is better.\n±, with several seeds, is the standard error over them."
            << (mnist ? " Published (arXiv 1611.01144, table 2) are convolutional networks with\n"
                        "100 labels among 50,000 digits.\n\n"
                      : "\n\n");
}

// ms = at_none + each * classes, with the least squares of relative errors.
struct Line {
  double at_none = 0, each = 0;
  double operator()(double classes) const { return at_none + each * classes; }
};
Line fitted(const std::vector<double>& classes, const std::vector<double>& ms) {
  double w = 0, x = 0, y = 0, xx = 0, xy = 0;
  for (std::size_t i = 0; i < ms.size(); ++i) {
    const double weight = 1 / (ms[i] * ms[i]);
    w += weight, x += weight * classes[i], y += weight * ms[i];
    xx += weight * classes[i] * classes[i], xy += weight * classes[i] * ms[i];
  }
  const double determinant = w * xx - x * x;
  if (ms.size() < 2) return {ms[0], 0};
  return {(xx * y - x * xy) / determinant, (w * xy - x * y) / determinant};
}

void show_costs(Program& program, const Json& cost) {
  std::map<std::string, std::pair<std::vector<double>, std::vector<double>>> of;
  std::vector<std::string> methods;
  for (const Json& row : cost) {
    const std::string method = row.at("method");
    if (of.count(method) == 0) methods.push_back(method);
    of[method].first.push_back(row.at("classes"));
    of[method].second.push_back(row.at("ms_per_step"));
  }
  std::vector<std::string> headers = {"ms a step, without labels"};
  for (double k : of[methods[0]].first) headers.push_back(number(k) + " classes");
  headers.insert(headers.end(), {"last / first", "fitted line"});
  Table table(headers);
  Picture picture("What a step costs by the number of classes", "classes", "ms a step");
  for (const std::string& method : methods) {
    const auto& [classes, ms] = of[method];
    if (classes != of[methods[0]].first)
      throw std::runtime_error("cost.json has other classes for " + method + " than for " +
                               methods[0] + "; remove it, and --resume computes it anew");
    const Line line = fitted(classes, ms);
    std::vector<Cell> cells = {method};
    for (double v : ms) cells.emplace_back(v);
    cells.emplace_back(ms.back() / ms.front());
    cells.emplace_back(number(line.at_none) + " + " + number(line.each) + " k");
    table.row(cells);
    picture.line(method + ": " + cells.back().text(), classes, ms);
  }
  program.print(table, "semi_supervised_cost");
  std::cout << "\nSummed out, D + k (I + G): q(y|x) once, q(z|x, y) and p(x|y, z) for each of k "
               "classes, but for what the image\nadds to the former's first layer, which is "
               "computed once. Drawn, D + I + G: each network once.\n";
  if (of.count("marginalised") > 0)
    for (const std::string& method : methods)
      if (method != "marginalised")
        std::cout << "Summing out takes "
                  << number(of["marginalised"].second.front() / of[method].second.front())
                  << " times as long as " << method << " with " << number(of[method].first.front())
                  << " classes, "
                  << number(of["marginalised"].second.back() / of[method].second.back())
                  << " times with " << number(of[method].first.back()) << ".\n";
  program.show(picture, "semi_supervised_cost_lines");
}

// A curve over the steps, the mean over the seeds with its standard error, for each method.
void draw_curves(Program& program, const Rows& rows, const std::string& data) {
  const auto draw = [&](const char* key, const std::string& title, const char* unit,
                        const std::string& name) {
    Picture picture(title + ": " + data, "step", unit);
    for (const std::string& method : semi_supervised_methods()) {
      const auto of = rows.find(method);
      if (of == rows.end()) continue;
      std::vector<double> at, mean, low, high;
      for (std::size_t m = 0; m < kMarks; ++m) {
        std::vector<double> values;
        for (const Json& row : of->second)
          if (m < row.at(key).size()) values.push_back(row.at(key)[m]);
        if (values.size() < of->second.size()) break;
        const Estimate e = mean_of(values);
        at.push_back(of->second[0].at("at")[m]);
        mean.push_back(e.mean);
        low.push_back(e.mean - e.error);
        high.push_back(e.mean + e.error);
      }
      if (of->second.size() > 1)
        picture.line(method, at, mean, low, high);
      else
        picture.line(method, at, mean);
    }
    program.show(picture, name);
  };
  draw("accuracies", "Test accuracy in training", "accuracy", "semi_supervised_accuracy");
  draw("bounds", "Bound of the log-likelihood in training", "nats a digit",
       "semi_supervised_bound");
}

void draw_analogies(Program& program, const Rows& rows) {
  for (const std::string& method : semi_supervised_methods()) {
    const auto of = rows.find(method);
    if (of == rows.end() || !of->second[0].contains("styles")) continue;
    const Json &styles = of->second[0].at("styles"), &rows_of = styles.at("images");
    if (rows_of.empty()) continue;
    Picture picture("A test digit, and its style in every class: " + method);
    picture.columns = rows_of[0].size();
    picture.image_low = 0;
    picture.image_high = 255;
    for (const Json& row : rows_of)
      for (std::size_t c = 0; c < row.size(); ++c)
        picture.image(&row != &rows_of[0] ? ""
                      : c == 0            ? "digit"
                                          : std::to_string(c - 1),
                      styles.at("height"), styles.at("width"), row[c].get<std::vector<double>>());
    program.show(picture, "semi_supervised_analogies_" + method);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Program program("13_semi_supervised",
                  "a hundred labels for many digits: the class of the others summed out, or drawn");
  Grid grid(program);
  SemiSupervisedSettings settings;
  const auto whole = [](std::size_t n) { return static_cast<int>(n); };
  int classifier = whole(settings.sizes.classifier), hidden = whole(settings.sizes.hidden),
      latent = whole(settings.sizes.latent), labels = whole(settings.labels),
      batch = whole(settings.batch), unlabelled = 50000, warm_up = 0, cost_batch = 100;
  std::vector<std::string> methods, classes;
  program.takes_digits();
  grid.list("--methods", methods, semi_supervised_methods(), "how the digits without labels count");
  grid.list("--classes", classes, {"5", "10", "20", "50", "100"}, "for what a step costs");
  program.option("--labels", labels, "labelled digits of each class");
  program.option("--unlabelled", unlabelled, "digits to train on at most, the first of the data's");
  program.option("--classifier", classifier, "hidden units of q(y|x)");
  program.option("--hidden", hidden, "hidden units of each of the other two networks");
  program.option("--latent", latent, "numbers of a style");
  program.option("--conv", settings.sizes.conv, "convolutional networks, for digits of 28 x 28");
  program.option("--batch", batch, "digits without labels in a step");
  program.option("--warm-up", warm_up,
                 "steps before they teach q(y|x); 0: a quarter of all, 1000 at most", 0);
  program.option("--alpha", settings.alpha, "of the labelled digits' cross-entropy");
  program.option("--labelled-weight", settings.labelled_weight,
                 "of the labelled digits' bound beside that of the others");
  program.option("--dropout", settings.dropout,
                 "of q(y|x)'s hidden units, and 0.4 of it of pixels");
  program.option("--rate", settings.rate, "Adam's");
  program.option("--decline", settings.decline,
                 "share of the steps, at the end, in which the rate falls to 0");
  program.option("--tau-rate", settings.tau_rate,
                 "the temperature is max(0.5, exp(-rate step)); for both forms of Gumbel-softmax");
  program.option("--cost-batch", cost_batch, "digits in the steps whose cost is measured");
  return program.run(argc, argv, [&] {
    if (!(settings.rate > 0)) throw WrongCall("--rate must be more than 0");
    if (!(settings.alpha > 0)) throw WrongCall("--alpha must be more than 0");
    if (!(settings.labelled_weight >= 0)) throw WrongCall("--labelled-weight must be at least 0");
    if (!(settings.dropout >= 0 && settings.dropout < 1))
      throw WrongCall("--dropout must be at least 0 and less than 1");
    if (!(settings.tau_rate >= 0)) throw WrongCall("--tau-rate must be at least 0");
    if (!(settings.decline >= 0 && settings.decline <= 1))
      throw WrongCall("--decline must be at least 0 and at most 1");
    set_threads(program.threads);
    const auto size = [](int n) { return static_cast<std::size_t>(n); };
    Dataset digits = digits_in(program.data);
    if (settings.sizes.conv && (digits.height != 28 || digits.width != 28))
      throw WrongCall("--conv needs digits of 28 x 28 (--data DIR); these are " +
                      std::to_string(digits.height) + " x " + std::to_string(digits.width));
    Split data = split(digits, default_train_size(digits));
    data.train = rows_from(data.train, 0, size(unlabelled));
    std::vector<std::size_t> of_class(digits.classes, 0);
    for (std::size_t label : data.train.labels) ++of_class[label];
    const std::size_t fewest = *std::min_element(of_class.begin(), of_class.end());
    if (size(labels) > fewest)
      throw WrongCall("--labels is more than the " + std::to_string(fewest) +
                      " digits that some class has");
    settings.steps = grid.steps(4000, 400);
    settings.sizes.classifier = size(classifier);
    settings.sizes.hidden = size(hidden);
    settings.sizes.latent = size(latent);
    settings.labels = size(labels);
    settings.batch = size(batch);
    settings.warm_up =
        warm_up > 0 ? size(warm_up) : std::min<std::size_t>(1000, settings.steps / 4);

    for (const std::string& method : methods)
      for (const std::uint64_t seed : grid.seeds())
        grid.add(method + "/" + std::to_string(seed), [&, method, seed] {
          SemiSupervisedSettings own = settings;
          own.method = method;
          own.seed = seed;
          return std::make_unique<Digits>(data, own, seed == program.seed);
        });
    std::vector<std::string> without_labels = methods;
    without_labels.erase(std::remove(without_labels.begin(), without_labels.end(), "labels-only"),
                         without_labels.end());
    std::vector<std::size_t> ks;
    for (const std::string& k : classes) ks.push_back(std::stoul(k));
    SemiSupervisedSizes sizes = settings.sizes;
    sizes.latent = 32;  // a style of the usual size
    if (!without_labels.empty())
      grid.add("cost", [&] {
        return std::make_unique<Costs>(data.train, without_labels, ks, sizes, size(cost_batch),
                                       program.quick ? 2 : 5);
      });

    const std::vector<Grid::Row> found = grid.run(
        {{"data", digits.name},
         {"digits", {checksum(digits.images), checksum(one_hot(digits.labels, digits.classes))}},
         {"pixels", digits.images.shape()[1]},
         {"train", data.train.size()},
         {"test", data.test.size()},
         {"steps", settings.steps},
         {"labels", labels},
         {"classifier", classifier},
         {"hidden", hidden},
         {"latent", latent},
         {"conv", settings.sizes.conv},
         {"batch", batch},
         {"warm_up", settings.warm_up},
         {"alpha", settings.alpha},
         {"labelled_weight", settings.labelled_weight},
         {"dropout", settings.dropout},
         {"rate", settings.rate},
         {"decline", settings.decline},
         {"tau_rate", settings.tau_rate},
         {"cost_batch", cost_batch}},
        [](const std::string& cell) { return cell == "cost" ? Costs::form() : Digits::form(); });
    Rows rows;
    Json cost = Json::array();
    auto& json = program.json;
    json["rows"] = Json::array();
    for (const Grid::Row& row : found) {
      if (row.cell == "cost") {
        cost = row.result.at("cost");
        continue;
      }
      rows[row.result.at("method")].push_back(row.result);
      Json& kept = json["rows"].emplace_back();
      for (const char* key : {"method", "seed", "accuracy", "bound", "ms_per_step"})
        kept[key] = row.result.at(key);
    }
    json["cost"] = cost;
    const std::string name = json.at("data");
    std::cout << name << ": " << json.at("labels") << " labelled digits of each class among "
              << json.at("train") << ", " << json.at("test") << " to test with, black and white; "
              << (json.at("seconds") > 0 ? "at most " : "") << json.at("steps") << " steps\n\n";
    show_accuracies(program, rows, json.at("pixels") == 784);
    if (!cost.empty()) show_costs(program, cost);
    program.explain(
        "The labels alone train a classifier; all methods below train it on the digits without "
        "labels too, "
        "as a hidden variable of a generative model. Its class is summed out, at the price of all "
        "classes in "
        "each step, or drawn, at the price of one and of a rule's gradient. Summing out is the "
        "better "
        "gradient; with many classes drawing is the cheaper one.");
    if (program.out.empty() || rows.empty()) return;
    draw_curves(program, rows, name);
    draw_analogies(program, rows);
  });
}
