// models/training/archive.hpp: what is saved comes back to the bit, and no other file is taken for
// it.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <system_error>
#include <vector>

#include "engine/sweep.hpp"
#include "models/training/archive.hpp"
#include "models/training/layers.hpp"
#include "models/training/optimisers.hpp"
#include "ops/elementwise.hpp"
#include "ops/reduce.hpp"
#include "tests/folder.hpp"

using namespace argtape;

namespace {

struct Inner {
  int depth = -3;
  void archive(Archive& a) { a("depth", depth); }
};

// One of each.
struct Everything {
  Tensor weights = zeros({2, 3});
  std::vector<Tensor> layers, none;
  std::uint64_t word = 0;
  std::int8_t small = 0;
  bool flag = false;
  double x = 0;
  float y = 0;
  std::string text;
  std::vector<double> curve;
  std::vector<std::size_t> order;
  Rng rng{1};
  Inner inner{0};

  void archive(Archive& a) {
    a("weights", weights);
    a("layers", layers);
    a("none", none);
    a("word", word);
    a("small", small);
    a("flag", flag);
    a("x", x);
    a("y", y);
    a("text", text);
    a("curve", curve);
    a("order", order);
    a("rng", rng);
    a("inner", inner);
  }
};

Everything something() {
  Everything e;
  Rng rng(7, 0, 3);
  e.weights = rng.normal({2, 3});
  e.weights.data()[0] = std::numeric_limits<Scalar>::quiet_NaN();
  e.weights.data()[1] = std::numeric_limits<Scalar>::denorm_min();
  e.weights.data()[2] = -Scalar(0);
  e.layers = {rng.normal({4}), zeros({0, 5}), rng.normal({}), rng.normal({1, 2, 3, 2})};
  e.word = ~std::uint64_t(0);
  e.small = -128;
  e.flag = true;
  e.x = std::nextafter(0.1, 1.0);
  e.y = 1.5f;
  e.text = std::string("na\0me\n", 6);
  e.curve = {1e308, -std::numeric_limits<double>::infinity(), 0};
  e.order = {3, 0, ~std::size_t(0)};
  e.rng = rng;
  e.inner.depth = std::numeric_limits<int>::min();
  return e;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(Scalar)) == 0;
}

template <class State>
std::string save(const Folder& folder, State& state) {
  const std::string path = folder / "state";
  save_archive(path, "test", [&](Archive& a) { state.archive(a); });
  return path;
}

// The words it is refused with; empty if it is not.
template <class Load>
std::string refusal(const std::string& path, Load load, const std::string& kind = "test") {
  try {
    load_archive(path, kind, load);
    return "";
  } catch (const std::runtime_error& error) {
    const std::string words = error.what(), begin = "cannot load '" + path + "': ";
    REQUIRE(words.substr(0, begin.size()) == begin);
    return words.substr(begin.size());
  }
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

TEST_CASE("what is saved comes back to the bit") {
  const Folder folder;
  Everything e = something(), back;
  const std::string path = save(folder, e);
  REQUIRE(refusal(path, [&](Archive& a) {
            CHECK(a.loading());
            back.archive(a);
          }) == "");
  CHECK(same_bits(back.weights, e.weights));
  REQUIRE(back.layers.size() == 4);
  for (std::size_t i = 0; i < 4; ++i) CHECK(same_bits(back.layers[i], e.layers[i]));
  CHECK(back.none.empty());
  CHECK(back.word == e.word);
  CHECK(back.small == -128);
  CHECK(back.flag);
  CHECK(back.x == e.x);
  CHECK(back.y == 1.5f);
  CHECK(back.text == e.text);
  CHECK(back.curve == e.curve);
  CHECK(back.order == e.order);
  CHECK(same_bits(back.rng.normal({40}), e.rng.normal({40})));
  CHECK(back.inner.depth == e.inner.depth);
  back.rng = e.rng = Rng(5);
  CHECK(contents(path) != "");
  const std::string twice = folder / "twice";
  save_archive(twice, "test", [&](Archive& a) { back.archive(a); });
  save_archive(path, "test", [&](Archive& a) { e.archive(a); });
  CHECK(contents(twice) == contents(path));
}

TEST_CASE(
    "a file that was cut, lengthened or damaged anywhere is refused before anything is read") {
  const Folder folder;
  Everything e = something();
  const std::string good = contents(save(folder, e)), bad = folder / "bad";
  const auto untouched = [](Archive&) { FAIL("it was read"); };
  for (std::size_t n = 0; n < good.size(); ++n) {
    folder.write("bad", good.substr(0, n));
    const std::string words = refusal(bad, untouched);
    CHECK_MESSAGE(words.find(n < 8 ? "it is no archive" : "it is torn") == 0, n, ": ", words);
  }
  folder.write("bad", good + '\0');
  CHECK(refusal(bad, untouched).find("it is torn: ") == 0);
  for (std::size_t n = 0; n < good.size(); ++n)
    for (const int bit : {0, 7}) {
      std::string changed = good;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      folder.write("bad", changed);
      const std::string words = refusal(bad, untouched);
      const char* expected = n < 8    ? "it is no archive"
                             : n < 12 ? "its format is version "
                             : n < 16 ? "it is damaged"
                             : n < 24 ? "it is torn"
                                      : "it is damaged";
      CHECK_MESSAGE(words.find(expected) == 0, n, ": ", words);
    }
  std::string newer = good;
  newer[8] = 2;
  folder.write("bad", newer);
  CHECK(refusal(bad, untouched) == "its format is version 2; need 1");
  CHECK(refusal(folder / "none", untouched) == "No such file or directory");
  CHECK(refusal(folder.path(), untouched) == "it is no archive of argtape's");
  CHECK(refusal(folder / "state", untouched, "another") ==
        "it is one of test; need one of another");
}

TEST_CASE("another state's file is refused, by the name of what differs") {
  const Folder folder;
  Everything e = something();
  const std::string path = save(folder, e);
  Tensor t = zeros({2, 3}), other = zeros({3, 2});
  std::vector<Tensor> two(2, zeros({4}));
  std::vector<Tensor> four{zeros({4}), zeros({0, 5}), zeros({1}), zeros({1, 2, 3, 2})};
  double x = 0;
  CHECK(refusal(path, [&](Archive& a) { a("weight", t); }) ==
        "it has 'weights' where 'weight' is needed");
  CHECK(refusal(path, [&](Archive& a) { a("weights", other); }) ==
        "'weights' is (2, 3); need (3, 2)");
  CHECK(refusal(path, [&](Archive& a) { a("weights", x); }) ==
        (sizeof(Scalar) == 4 ? "'weights' is a tensor of floats; need a number"
                             : "'weights' is a tensor of doubles; need a number"));
  CHECK(refusal(path, [&](Archive& a) { a("weights", t); }) == "it has more in it than is needed");
  const auto layers = [&](std::vector<Tensor>& as) {
    return refusal(path, [&](Archive& a) {
      a("weights", t);
      a("layers", as);
    });
  };
  CHECK(layers(two) == "'layers' are 4 tensors; need 2");
  CHECK(layers(four) == "'layers[2]' is (); need (1,)");
  CHECK(refusal(path, [&](Archive& a) {
          e.archive(a);
          a("more", x);
        }) == "it ends within a thing");
  const std::string small = folder / "small";
  int many = 300, depth = 0;
  std::uint8_t few = 0;
  Inner inner;
  save_archive(small, "test", [&](Archive& a) { a("n", many); });
  CHECK(refusal(small, [&](Archive& a) { a("n", few); }) == "'n' is too large for this program");
  save_archive(small, "test", [&](Archive& a) { a("inner", inner); });
  CHECK(refusal(small, [&](Archive& a) { a("depth", depth); }) ==
        "it has 'inner/depth' where 'depth' is needed");
}

TEST_CASE("where a file cannot be written the old one is still there, and nothing beside it") {
  const Folder folder;
  Everything e = something();
  const std::string path = save(folder, e), before = contents(path);
  e.curve.assign(10000, 1);
  // Stands for a full disk.
  const auto old_handler = ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit unlimited, limit;
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &unlimited) == 0);
  limit = unlimited;
  limit.rlim_cur = 20000;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  std::string words;
  try {
    save(folder, e);
  } catch (const std::system_error& error) {
    words = error.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
  ::signal(SIGXFSZ, old_handler);
  CHECK(words == "cannot write '" + path + "': File too large");
  CHECK(contents(path) == before);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
  CHECK_THROWS_WITH_AS(
      write_durably(folder / "none/file", "x"),
      ("cannot write '" + (folder / "none/file") + "': No such file or directory").c_str(),
      std::system_error);
  std::filesystem::create_directory(folder / "place");
  CHECK_THROWS_AS(write_durably(folder / "place", "x"), std::system_error);
  CHECK_FALSE(std::filesystem::exists(folder / "place.tmp"));
  save(folder, e);
  CHECK(contents(path).size() > 80000);
}

TEST_CASE_TEMPLATE("a training goes on from its archive to the same bits", Optimiser, Sgd, Adam) {
  struct Training {
    Rng rng{3};
    Mlp mlp{{5, 4, 3}, rng};
    Optimiser optimiser{0.05};
    void step() {
      Tape tape;
      const std::vector<Var> on_tape = tape.borrow_parameters(mlp.parameters);
      const Var loss = sum(square(mlp(on_tape, tape.constant(rng.normal({6, 5})))));
      optimiser.step(mlp.parameters, on_tape, loss);
      optimiser.rate *= 0.9;
    }
    void archive(Archive& a) {
      a("rng", rng);
      a("parameters", mlp.parameters);
      a("optimiser", optimiser);
    }
  };
  const Folder folder;
  Training whole;
  for (int i = 0; i < 8; ++i) whole.step();
  for (int stop : {0, 1, 5}) {
    Training first, second;
    for (int i = 0; i < stop; ++i) first.step();
    const std::string path = save(folder, first);
    second.rng = Rng(99);
    load_archive(path, "test", [&](Archive& a) { second.archive(a); });
    for (int i = stop; i < 8; ++i) second.step();
    for (std::size_t i = 0; i < whole.mlp.parameters.size(); ++i)
      CHECK(identical(second.mlp.parameters[i], whole.mlp.parameters[i]));
  }
}

TEST_CASE("a checksum tells a number and a shape apart") {
  Tensor t = Rng(1).normal({3, 4});
  const std::uint32_t before = checksum(t);
  CHECK(checksum(Tensor(t)) == before);
  CHECK(checksum(reshaped(t, {4, 3})) != before);
  t.data()[11] = std::nextafter(t.data()[11], Scalar(9));
  CHECK(checksum(t) != before);
}
