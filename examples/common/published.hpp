// What others report of the networks of programs 11 and 12, in nats a digit of MNIST: the one place
// where these figures stand.
#pragma once

#include <cmath>
#include <string>
#include <vector>

namespace argtape_examples {

// A column of the table: a rule's or a method's name, and the word for it in the papers' tables.
struct Column {
  const char *rule, *label;
};
const std::vector<Column> kColumns = {{"score-function", "SF"},
                                      {"score-function+mean", "SF mean"},
                                      {"nvil", "NVIL"},
                                      {"darn", "DARN"},
                                      {"muprop", "MuProp"},
                                      {"straight-through", "ST"},
                                      {"annealed-straight-through", "ann. ST"},
                                      {"gumbel-softmax", "Gumbel"},
                                      {"st-gumbel-softmax", "ST Gumbel"},
                                      {"reinmax", "ReinMax"},
                                      {"zgr", "ZGR"},
                                      {"gumbel-rao", "Gumbel-Rao"},
                                      {"score-function+leave-one-out", "RLOO"},
                                      {"rebar", "REBAR"},
                                      {"disarm", "DisARM"}};

constexpr double kNone = NAN;

struct Published {
  const char *program = "", *network = "", *rule = "";
  // arXiv 1611.01144, table 1, m = 1000; for K-ary latents arXiv 2010.04838, table 2, batches of
  // 200, m = 5000. Its SF divides by the signal's deviation, as nvil does; its DARN of binary units
  // has the baseline at 1/2, as zgr has.
  double paper = kNone;
  // PyTorch, the same network and settings as the program's defaults, m = 1 and m = 100: 8,000
  // digits, 6,000 steps (11) or 5,000 (12), mean of two seeds; 60,000 digits, 30,000 or 50,000
  // steps, one seed.
  double small_1 = kNone, small_100 = kNone, full_1 = kNone, full_100 = kNone;
};

const std::vector<Published> kPublished = {
    {"11_structured_prediction", "binary", "nvil", 72.0},
    {"11_structured_prediction", "binary", "zgr", 59.7},
    {"11_structured_prediction", "binary", "muprop", 58.9},
    {"11_structured_prediction", "binary", "straight-through", 58.9},
    {"11_structured_prediction", "binary", "annealed-straight-through", 58.7},
    {"11_structured_prediction", "binary", "gumbel-softmax", 58.5},
    {"11_structured_prediction", "binary", "st-gumbel-softmax", 59.3},
    {"11_structured_prediction", "categorical", "nvil", 73.1},
    {"11_structured_prediction", "categorical", "darn", 67.9},
    {"11_structured_prediction", "categorical", "muprop", 63.0, 81.65, 69.2},
    {"11_structured_prediction", "categorical", "straight-through", 61.8, 81.2, 60.65, 70.0, 56.1},
    {"11_structured_prediction", "categorical", "annealed-straight-through", 61.1, 81.8, 61.6},
    {"11_structured_prediction", "categorical", "gumbel-softmax", 59.0, 82.15, 59.35, 70.5, 56.8},
    {"11_structured_prediction", "categorical", "st-gumbel-softmax", 59.7, 79.35, 60.65, 69.7,
     57.7},
    {"11_structured_prediction", "categorical", "reinmax", kNone, 80.3, 65.7},
    {"11_structured_prediction", "categorical", "score-function+leave-one-out", kNone, 82.4, 70.65},
    {"11_structured_prediction", "categorical", "score-function+mean", kNone, 91.2, 79.25},
    {"11_structured_prediction", "categorical", "score-function", kNone, 103.0, 90.3},

    {"12_categorical_vae", "binary", "nvil", 112.2},
    {"12_categorical_vae", "binary", "zgr", 110.9},
    {"12_categorical_vae", "binary", "muprop", 109.7},
    {"12_categorical_vae", "binary", "straight-through", 116.0},
    {"12_categorical_vae", "binary", "annealed-straight-through", 111.5},
    {"12_categorical_vae", "binary", "gumbel-softmax", 105.0},
    {"12_categorical_vae", "binary", "st-gumbel-softmax", 111.5},
    {"12_categorical_vae", "categorical", "nvil", 110.6},
    {"12_categorical_vae", "categorical", "darn", 128.8},
    {"12_categorical_vae", "categorical", "muprop", 107.0},
    {"12_categorical_vae", "categorical", "straight-through", 110.9},
    {"12_categorical_vae", "categorical", "annealed-straight-through", 107.8},
    {"12_categorical_vae", "categorical", "gumbel-softmax", 101.5},
    {"12_categorical_vae", "categorical", "st-gumbel-softmax", 107.8},
    {"12_categorical_vae", "notebook", "reinmax", kNone, 116.85, 105.9, 97.0, 85.2},
    {"12_categorical_vae", "notebook", "st-gumbel-softmax", kNone, 118.0, 105.8, 97.4, 84.3},
    {"12_categorical_vae", "notebook", "gumbel-softmax", kNone, 122.55, 100.0, 93.5, 78.9},
    {"12_categorical_vae", "notebook", "straight-through", kNone, 124.25, 109.7, 109.7, 91.6},
    {"12_categorical_vae", "notebook", "score-function+leave-one-out", kNone, 130.9, 118.9},
    {"12_categorical_vae", "notebook", "score-function+mean", kNone, 145.85, 135.2},
    {"12_categorical_vae", "4-ary", "gumbel-softmax", 93.8},
    {"12_categorical_vae", "4-ary", "score-function+mean", 122.2},
    {"12_categorical_vae", "4-ary", "straight-through", 104.5},
    {"12_categorical_vae", "4-ary", "st-gumbel-softmax", 93.7},
    {"12_categorical_vae", "4-ary", "gumbel-rao", 93.8},
    {"12_categorical_vae", "8-ary", "gumbel-softmax", 92.3},
    {"12_categorical_vae", "8-ary", "score-function+mean", 124.9},
    {"12_categorical_vae", "8-ary", "straight-through", 105.1},
    {"12_categorical_vae", "8-ary", "st-gumbel-softmax", 92.8},
    {"12_categorical_vae", "8-ary", "gumbel-rao", 93.1},
    {"12_categorical_vae", "16-ary", "gumbel-softmax", 94.3},
    {"12_categorical_vae", "16-ary", "score-function+mean", 129.5},
    {"12_categorical_vae", "16-ary", "straight-through", 104.5},
    {"12_categorical_vae", "16-ary", "st-gumbel-softmax", 92.6},
    {"12_categorical_vae", "16-ary", "gumbel-rao", 92.4},
};

// The line of one network and rule; nothing but kNone where nobody reports anything.
inline Published published(const std::string& program, const std::string& network,
                           const std::string& rule) {
  for (const Published& p : kPublished)
    if (program == p.program && network == p.network && rule == p.rule) return p;
  return {};
}

}  // namespace argtape_examples
