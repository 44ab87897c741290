// Digits cut in pieces, shuffled, and put back by a network trained through Gumbel-Sinkhorn.
#include <algorithm>
#include <nlohmann/json.hpp>

#include <argtape/argtape.hpp>
#include "examples/common/digits.hpp"
#include "examples/common/program.hpp"

using namespace argtape;
using namespace argtape_examples;

namespace {

std::vector<double> row_of(const Tensor& images, std::size_t i) {
  const std::size_t size = images.shape()[1];
  return {images.data() + i * size, images.data() + (i + 1) * size};
}

}  // namespace

int main(int argc, char** argv) {
  Program program("08_jigsaw", "digits cut in pieces, shuffled, and put back by a network");
  JigsawSettings settings;
  int grid = static_cast<int>(settings.grid), steps = 0, batch = static_cast<int>(settings.batch),
      hidden = static_cast<int>(settings.hidden), channels = static_cast<int>(settings.channels),
      iterations = 5;
  double tolerance = 1e-2;
  bool alone = false;
  program.takes_digits();
  program.option("--grid", grid, "pieces along a side");
  program.option("--steps", steps, "training steps; 0: 3000, or 300 with --quick", 0);
  program.option("--batch", batch, "puzzles in a step");
  program.option("--hidden", hidden, "hidden units for a piece");
  program.option("--channels", channels, "of the convolution");
  program.option("--rate", settings.rate, "Adam's, at the start; it falls to 0");
  program.option("--temperature", settings.tau, "of Sinkhorn's operator");
  program.option("--iterations", iterations,
                 "of Sinkhorn's operator; 0: as many as the tolerance takes", 0);
  program.option("--tolerance", tolerance, "how near to 1 it brings all sums, with --iterations 0");
  program.option("--alone", alone,
                 "place each piece on its own looks, as the paper does, not with the mean of all "
                 "pieces' features beside it");
  return program.run(argc, argv, [&] {
    if (!(settings.rate > 0)) throw WrongCall("--rate must be more than 0");
    if (!(settings.tau > 0)) throw WrongCall("--temperature must be more than 0");
    if (!(tolerance >= 1e-5 && tolerance < 1))
      throw WrongCall("--tolerance must be at least 1e-05 and less than 1");
    set_threads(program.threads);
    const Dataset digits = digits_in(program.data);
    if (static_cast<std::size_t>(grid) > std::min(digits.height, digits.width))
      throw WrongCall("--grid is more than the " +
                      std::to_string(std::min(digits.height, digits.width)) +
                      " pixels along a side of a digit");
    const Split data = split(digits, default_train_size(digits));
    settings.grid = static_cast<std::size_t>(grid);
    settings.steps = static_cast<std::size_t>(steps > 0 ? steps : program.quick ? 300 : 3000);
    settings.batch = static_cast<std::size_t>(batch);
    settings.hidden = static_cast<std::size_t>(hidden);
    settings.channels = static_cast<std::size_t>(channels);
    settings.context = !alone;
    settings.seed = program.seed;
    if (iterations > 0)
      settings.far = static_cast<std::size_t>(iterations);
    else
      settings.far = Converge{tolerance, 300};

    Progress progress("training", settings.steps);
    JigsawRun run;
    std::size_t step = 0;
    try {
      run = train_jigsaw(data, settings, 8, [&] { progress.step(), ++step; });
    } catch (const std::invalid_argument& e) {
      throw std::runtime_error(e.what() + program.advice(step, "--rate", {"--temperature"}));
    }
    progress.finish();

    const JigsawScore& s = run.score;
    const Cut cut = cut_for(digits, settings.grid);
    std::cout << digits.name << " in " << grid << " x " << grid << " pieces of " << cut.height
              << " x " << cut.width << " pixels: " << data.train.size() << " digits to train on, "
              << data.test.size() << " to test with; " << run.steps << " steps, "
              << argtape_examples::number(run.seconds) << " seconds\n\n";
    Table table({"put back by matching", "places wrong", "puzzles with any"});
    table.row({"by pixels", s.wrong_pixels, s.any_pixels});
    table.row({"by piece", s.wrong, s.any});
    table.row({"guessing, by piece", 1 - 1 / static_cast<double>(cut.pieces()), "-"});
    program.print(table, "jigsaw");
    std::cout << "\nKendall's tau " << argtape_examples::number(s.kendall) << ", l1 "
              << argtape_examples::number(s.l1) << ", l2 " << argtape_examples::number(s.l2)
              << " a pixel. Blank pieces are interchangeable: their order counts by piece, and not "
                 "by pixels.\n"
                 "Sinkhorn's operator left sums up to "
              << argtape_examples::number(run.residual) << " off 1"
              << (run.residual > 0.05 ? ": far from doubly stochastic, but so few iterations place "
                                        "the pieces better\nthan many, see --iterations.\n"
                                      : ".\n");
    auto& json = program.json;
    json["data"] = digits.name;
    json["grid"] = grid;
    json["steps"] = run.steps;
    json["seconds"] = run.seconds;
    json["wrong"] = s.wrong;
    json["any"] = s.any;
    json["wrong_pixels"] = s.wrong_pixels;
    json["any_pixels"] = s.any_pixels;
    json["kendall"] = s.kendall;
    json["l1"] = s.l1;
    json["l2"] = s.l2;
    json["residual"] = run.residual;
    json["loss"] = run.loss;
    if (program.out.empty()) return;
    program.explain(
        "The network never sees how a puzzle was shuffled: it learns from the squared error of the "
        "picture "
        "that its soft permutation puts together. On unseen digits the best matching takes the "
        "place of that. "
        "A place is wrong if it holds another piece, by pixels if the picture differs there; tau "
        "is the "
        "rank correlation between the places found and the right ones.");
    Picture puzzles("Shuffled, put back softly, and by matching: " + digits.name);
    puzzles.columns = run.whole.shape()[0];
    puzzles.image_low = 0;
    puzzles.image_high = 1;
    const std::vector<std::pair<std::string, const Tensor*>> rows = {{"shuffled", &run.shuffled},
                                                                     {"soft", &run.soft},
                                                                     {"hard", &run.hard},
                                                                     {"whole", &run.whole}};
    for (const auto& [name, images] : rows)
      for (std::size_t i = 0; i < puzzles.columns; ++i)
        puzzles.image(i == 0 ? name : "", cut.grid * cut.height, cut.grid * cut.width,
                      row_of(*images, i));
    program.show(puzzles, "jigsaw_puzzles");
    Picture loss("Squared error of a pixel in training", "step", "mean");
    loss.y.log = true;
    std::vector<double> at(run.loss.size());
    for (std::size_t i = 0; i < at.size(); ++i)
      at[i] = static_cast<double>((i + 1) * run.steps) / static_cast<double>(at.size());
    loss.line("soft, with noise", at, run.loss);
    program.show(loss, "jigsaw_loss");
  });
}
