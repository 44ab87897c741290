// models/training/archive.hpp: what is saved comes back to the bit, and no other file is taken for
// it.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <limits>
#include <map>
#include <string>
#include <system_error>
#include <vector>

#include "engine/sweep.hpp"
#include "models/categorical_vae.hpp"
#include "models/semi_supervised.hpp"
#include "models/training/archive.hpp"
#include "models/training/layers.hpp"
#include "models/training/optimisers.hpp"
#include "models/training/write_durably.hpp"
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
  const std::string path = folder / "state.safetensors";
  argtape::save(path, state, "test");
  return path;
}

// The words it is refused with; empty if it is not.
template <class Load>
std::string refusal(const std::string& path, Load load, const std::string& kind = "test") {
  try {
    argtape::load(path, load, kind);
    return "";
  } catch (const std::runtime_error& error) {
    const std::string words = error.what(), begin = "cannot load '" + path + "': ";
    REQUIRE(words.substr(0, begin.size()) == begin);
    return words.substr(begin.size());
  }
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
  const std::string twice = folder / "twice.safetensors";
  argtape::save(twice, back, "test");
  argtape::save(path, e, "test");
  CHECK(contents(twice) == contents(path));
}

TEST_CASE(
    "a .safetensors file that was cut, lengthened or damaged anywhere is refused before anything "
    "is "
    "read") {
  const Folder folder;
  Everything e = something();
  const std::string good = contents(save(folder, e)), bad = folder / "bad";
  const auto untouched = [](Archive&) { FAIL("it was read"); };
  const auto one_of = [](const std::string& words, std::initializer_list<const char*> starts) {
    return std::any_of(starts.begin(), starts.end(),
                       [&](const char* start) { return words.rfind(start, 0) == 0; });
  };
  for (std::size_t n = 0; n < good.size(); ++n) {
    folder.write("bad", good.substr(0, n));
    const std::string words = refusal(bad, untouched);
    CHECK_MESSAGE(words.rfind(n < 8 ? "it is neither a .s" : "it is torn: ", 0) == 0, n, words);
  }
  folder.write("bad", good + '\0');
  CHECK(refusal(bad, untouched).rfind("it is torn: ", 0) == 0);
  for (const bool kind : {true, false})  // also where the name of the checksum is what is damaged
    for (std::size_t n = 0; n < good.size(); ++n)
      for (const int bit : {0, 7}) {
        std::string changed = good;
        changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
        folder.write("bad", changed);
        const std::string words = refusal(bad, untouched, kind ? "test" : "");
        CHECK_MESSAGE(one_of(words, {"it is neither", "it is torn", "it is damaged",
                                     "its format is version ", "'"}),
                      n, ": ", words);
      }
  std::string newer = good;
  newer[newer.find(R"("argtape":")") + 11] = '2';
  folder.write("bad", newer);
  CHECK(refusal(bad, untouched) == "its format is version 2; need 1");
  CHECK(refusal(folder / "none", untouched) == "No such file or directory");
  CHECK(refusal(folder.path(), untouched) == "it is a folder");
  CHECK(refusal(folder / "state.safetensors", untouched, "another") ==
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
  std::string text;
  CHECK(refusal(path, [&](Archive& a) { a("weight", t); }) ==
        "it has no 'weight', but 'word', 'small', 'flag', 'x', 'y' and 10 more");
  CHECK(refusal(path, [&](Archive& a) { a("weights", other); }) ==
        "'weights' is (2, 3); need (3, 2)");
  CHECK(refusal(path, [&](Archive& a) { a("weights", x); }) ==
        "'weights' is float32 (2, 3); need a number");
  CHECK(refusal(path, [&](Archive& a) { a("rng", text); }) ==
        "'rng' is uint64 (3,); need a text: uint8 (n,)");
  CHECK(refusal(path, [&](Archive& a) { a("weights", t); }) ==
        "it has 'word', 'small', 'flag', 'x', 'y' and 9 more too; need nothing more");
  const auto layers = [&](std::vector<Tensor>& as) {
    return refusal(path, [&](Archive& a) { a("layers", as); });
  };
  CHECK(layers(two) == "'layers' are 4 tensors; need 2");
  CHECK(layers(four) == "'layers.2' is (); need (1,)");
  const std::string small = folder / "small.safetensors";
  int many = 300, depth = 0, below = -1;
  std::uint8_t few = 0;
  std::int64_t signed_one = 0;
  std::uint64_t large = ~std::uint64_t(0);
  Inner inner;
  const auto saved = [&](auto& thing) { argtape::save(small, [&](Archive& a) { a("n", thing); }); };
  const auto loaded = [&](auto& thing) {
    return refusal(
        small, [&](Archive& a) { a("n", thing); }, "");
  };
  saved(many);
  CHECK(loaded(few) == "'n' is a number that this program's type cannot hold");
  saved(below);
  CHECK(loaded(large) == "'n' is a number that this program's type cannot hold");
  large = ~std::uint64_t(0);
  saved(large);
  CHECK(loaded(signed_one) == "'n' is a number that this program's type cannot hold");
  saved(inner);
  CHECK(loaded(depth) == "it has no 'n', but 'n.depth'");
  CHECK_THROWS_WITH_AS(argtape::save(small, [&](Archive& a) { a("n", many), a("n", depth); }),
                       "save: two things are called 'n'; need a name for each",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(argtape::save(folder / "x.bin", e),
                       ("save: '" + (folder / "x.bin") +
                        "' ends in neither .safetensors nor .npz; need a name that does")
                           .c_str(),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(argtape::save(folder / "x.npz", e, "test"),
                       ("save: '" + (folder / "x.npz") +
                        "' is to be of the kind 'test'; need a .safetensors file for that")
                           .c_str(),
                       std::invalid_argument);
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

TEST_CASE("a link stays, a file keeps its mode, and what is protected or no file is refused") {
  namespace fs = std::filesystem;
  const Folder folder;
  const std::string file = folder.write("file", "old"), link = folder / "link",
                    later = folder / "later";
  const auto mode = [&] { return static_cast<int>(fs::status(file).permissions()); };
  fs::create_directory(folder / "sub");
  fs::create_symlink("sub/../file", link);
  fs::create_symlink(link, folder / "sub/link");
  fs::create_symlink("sub/new", later);
  for (const int kept : {0600, 0644, 0777}) {
    fs::permissions(file, static_cast<fs::perms>(kept));
    write_durably(folder / "sub/link", std::to_string(kept));
    CHECK(fs::is_symlink(link));
    CHECK(contents(file) == std::to_string(kept));
    CHECK(mode() == kept);
  }
  write_durably(later, "new");
  CHECK(fs::is_symlink(later));
  CHECK(contents(folder / "sub/new") == "new");

  const auto refused = [&](const std::string& path, const std::string& why) {
    CAPTURE(path);
    for (const auto& write : {std::function<void()>([&] { write_durably(path, "x"); }),
                              std::function<void()>([&] { require_writable(path); })})
      CHECK_THROWS_WITH_AS(write(), ("cannot write '" + path + "'" + why).c_str(),
                           std::system_error);
  };
  require_writable(file);
  require_writable(folder / "another");
  fs::permissions(file, static_cast<fs::perms>(0444));
  refused(file, ": Permission denied");
  refused(link, ": Permission denied");
  CHECK(contents(file) == std::to_string(0777));
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  refused(folder / "pipe", ", which is no regular file: Operation not supported");
  refused("/dev/null", ", which is no regular file: Operation not supported");
  refused(folder / "sub", ": Is a directory");
  refused(folder / "none/file", ": No such file or directory");
  refused(folder / "sub/new/file", ": Not a directory");
  fs::create_symlink("turn", folder / "turn");
  refused(folder / "turn", ": Too many levels of symbolic links");
  // Its text goes there first.
  fs::create_directory(folder / "taken.tmp");
  refused(folder / "taken", ", through '" + (folder / "taken.tmp") + "': Is a directory");
  for (const std::size_t length : {std::size_t{252}, std::size_t{255}}) {
    const std::string name = folder / std::string(length, 'x');
    refused(name, ", through '" + name + ".tmp': File name too long");
  }
  require_writable(folder / std::string(251, 'x'));
  write_durably(folder / std::string(251, 'x'), "x");
  // What a killed writer left, whatever it is, is no obstacle.
  fs::permissions(file, static_cast<fs::perms>(0600));
  REQUIRE(::mkfifo((file + ".tmp").c_str(), 0644) == 0);
  write_durably(file, "after all");
  CHECK(contents(file) == "after all");
  CHECK(mode() == 0600);
  CHECK_FALSE(fs::exists(file + ".tmp"));
  CHECK_THROWS_WITH_AS(require_savable(folder / "x.bin"),
                       doctest::Contains("need a name that does"), std::invalid_argument);
  CHECK_THROWS_AS(require_savable(folder / "none/x.npz"), std::system_error);
}

TEST_CASE("names are UTF-8 in both formats") {
  const Folder folder;
  const std::string high = "\xf0\x9f\x98\x80";
  for (const std::string& path : {folder / "n.safetensors", folder / "n.npz"}) {
    std::map<std::string, Tensor> good = {{"", zeros({1})}, {"\xc3\xa4" + high, zeros({1})}}, back;
    argtape::save(path, good);
    argtape::load(path, back);
    CHECK(back.size() == 2);
    CHECK(back.count("\xc3\xa4" + high) == 1);
    // A byte alone, a half, more bytes than are due, half of a character, beyond the last, and 0.
    for (const std::string& name :
         {std::string("a\xff"), std::string("\x80"), std::string("\xc3"), std::string("\xc0\x80"),
          std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"), std::string("z\0y", 3)}) {
      std::map<std::string, Tensor> bad = {{name, zeros({1})}};
      CHECK_THROWS_WITH_AS(argtape::save(path, bad),
                           doctest::Contains("is no text; need UTF-8 without a zero byte"),
                           std::invalid_argument);
    }
    // As others may write them.
    std::map<std::string, Tensor> plain = {{"abcd", zeros({1})}};
    argtape::save(path, plain);
    std::string file = contents(path);
    for (std::size_t at = 0; (at = file.find("abcd", at)) != std::string::npos;)
      file.replace(at, 4, "ab\xff\xff");
    folder.write("bad", file);
    CHECK(refusal(
              folder / "bad", [](Archive&) { FAIL("it was read"); }, "")
              .find("no text in UTF-8") != std::string::npos);
    // A name may have a line's end; an error does not.
    std::map<std::string, Tensor> two_lines = {{"a\n\x1b[1mb", zeros({1})}};
    argtape::save(path, two_lines);
    CHECK(refusal(
              path, [](Archive&) {}, "")
              .find("it has 'a??[1mb' too") != std::string::npos);
  }
}

TEST_CASE(
    "an .npz file that was cut or lengthened is refused, and damage to it is refused or makes no "
    "difference; what is whole comes back to the bit") {
  const Folder folder;
  Everything e = something();
  const std::string path = folder / "state.npz", bad = folder / "bad";
  argtape::save(path, e);
  const auto same = [&](Everything& back) {
    CHECK(same_bits(back.weights, e.weights));
    REQUIRE(back.layers.size() == 4);
    for (std::size_t i = 0; i < 4; ++i) CHECK(same_bits(back.layers[i], e.layers[i]));
    CHECK(back.word == e.word);
    CHECK(back.small == e.small);
    CHECK(back.flag == e.flag);
    CHECK(back.x == e.x);
    CHECK(back.text == e.text);
    CHECK(back.curve == e.curve);
    CHECK(back.order == e.order);
    CHECK(back.rng.position() == e.rng.position());
    CHECK(back.inner.depth == e.inner.depth);
  };
  Everything back;
  argtape::load(path, back);
  same(back);
  const std::string good = contents(path);
  const auto refused = [&](const std::string& file) {
    folder.write("bad", file);
    return refusal(
               bad, [](Archive&) { FAIL("it was read"); }, "") != "";
  };
  for (std::size_t n = 0; n < good.size(); ++n) CHECK_MESSAGE(refused(good.substr(0, n)), n);
  for (const std::string& more : {std::string(1, '\0'), std::string(100, '\0'), std::string("x"),
                                  good, good.substr(good.size() - 22)}) {
    CHECK(refused(good + more));
    CHECK(refused(more + good));
  }
  // Versions, flags, times, attributes and numbers of disks, which nobody reads.
  const std::map<std::string, std::vector<std::size_t>> unread = {
      {"PK\x03\x04", {4, 5, 6, 7, 10, 11, 12, 13}},
      {"PK\x01\x02", {4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 34, 35, 36, 37, 38, 39, 40, 41}},
      {"PK\x05\x06", {4, 5, 6, 7, 8, 9, 12, 13, 14, 15}}};
  std::string harmless(good.size(), '\0');
  for (const auto& [begins, fields] : unread)
    for (std::size_t at = 0; (at = good.find(begins, at)) != std::string::npos; ++at)
      for (const std::size_t field : fields) harmless[at + field] = 1;
  for (std::size_t n = 0; n < good.size(); ++n)
    for (const int bit : {0, 3, 7}) {
      std::string changed = good;
      changed[n] = static_cast<char>(changed[n] ^ (1 << bit));
      folder.write("bad", changed);
      Everything read;
      const bool was_read = refusal(
                                bad, [&](Archive& a) { read.archive(a); }, "") == "";
      CHECK_MESSAGE((!was_read || harmless[n]), n);
      if (was_read) same(read);
    }
}

TEST_CASE("an .npz file as others write it: with a comment, its sizes elsewhere") {
  const Folder folder;
  std::map<std::string, Tensor> arrays = {{"x", tensor({2}, {1, 2})}}, back;
  const std::string path = folder / "x.npz";
  argtape::save(path, arrays);
  const std::string good = contents(path);
  const std::size_t directory = good.find("PK\x01\x02"), end = good.find("PK\x05\x06");
  const auto reads = [&](const std::string& file) {
    folder.write("x.npz", file);
    back.clear();
    const bool read = refusal(
                          path, [&](Archive& a) { a.things(back); }, "") == "";
    if (read) CHECK(identical(back.at("x"), arrays.at("x")));
    return read;
  };
  for (const std::string& comment :
       {std::string("made by hand"), "PK\x05\x06" + std::string(30, '\0'), std::string(0xffff, 'P'),
        std::string("PK\x05\x06")}) {
    std::string file = good + comment;
    file[end + 20] = static_cast<char>(comment.size() & 0xffU);
    file[end + 21] = static_cast<char>(comment.size() >> 8U);
    CAPTURE(comment.size());
    CHECK(reads(file));
    CHECK_FALSE(reads(file + 'x'));
    CHECK_FALSE(reads(file.substr(0, file.size() - 1)));
  }
  // With so many bytes at a place, which lies before the directory.
  const auto with = [&](std::string file, std::size_t at, const std::string& more) {
    file[end + 16] = static_cast<char>(directory + more.size());
    return file.insert(at, more);
  };
  // As NumPy's, of which each might grow beyond 4 GB.
  std::string large = good;
  large.replace(18, 8, 8, '\xff');
  large[28] = 20;
  const std::size_t numbers = 30 + 5;  // behind the name
  CHECK(reads(with(large, numbers, std::string("\x01\0\x10\0", 4) + std::string(16, '\0'))));
  // As they go into a pipe: what is known only afterwards stands behind.
  std::string piped = good;
  piped.replace(14, 12, 12, '\0');
  CHECK_FALSE(reads(with(piped, directory, std::string(16, '\0'))));
  piped[6] = piped[directory + 8] = 8;
  CHECK(reads(with(piped, directory, std::string(16, '\0'))));
}

TEST_CASE("parameters in a file: of a model, a list, a map, with names and shapes checked") {
  const Folder folder;
  Rng rng(3);
  for (const std::string& path : {folder / "m.safetensors", folder / "m.npz"}) {
    CAPTURE(path);
    const Mlp model({3, 4, 2}, rng);
    Mlp back({3, 4, 2}, rng);
    argtape::save(path, model);
    argtape::load(path, back);
    for (std::size_t i = 0; i < 4; ++i) CHECK(identical(back.parameters[i], model.parameters[i]));
    std::map<std::string, Tensor> all;
    argtape::load(path, all);
    REQUIRE(all.size() == 4);
    CHECK(identical(all.at("parameters.2"), model.parameters[2]));
    Mlp wider({3, 5, 2}, rng), deeper({3, 4, 4, 2}, rng);
    CHECK(refusal(
              path, [&](Archive& a) { a.things(wider); }, "") ==
          "'parameters.0' is (3, 4); need (3, 5)");
    CHECK(refusal(
              path, [&](Archive& a) { a.things(deeper); }, "") ==
          "'parameters' are 4 tensors; need 6");
    argtape::save(path, all);
    argtape::load(path, back);
    argtape::save(path, model.parameters);
    std::vector<Tensor> list;
    argtape::load(path, list);
    REQUIRE(list.size() == 4);
    CHECK(identical(list[3], model.parameters[3]));
    CHECK(refusal(
              path, [&](Archive& a) { a.things(back); }, "") ==
          "'parameters' are 0 tensors; need 4");
    std::map<std::string, Tensor> none, reserved = {{"__metadata__", zeros({1})}};
    argtape::save(path, none);
    argtape::load(path, none);
    CHECK(none.empty());
    CHECK_THROWS_WITH_AS(argtape::save(path, reserved), doctest::Contains("'__metadata__'"),
                         std::invalid_argument);
    double far = 1e300;
    float near = 0;
    argtape::save(path, [&](Archive& a) { a("x", far); });
    CHECK(refusal(
              path, [&](Archive& a) { a("x", near); }, "") ==
          "'x' is a number that this program's type cannot hold");
  }
}

TEST_CASE("any model with parameters is saved without a line of its own") {
  const Folder folder;
  const std::string path = folder / "m.safetensors";
  CategoricalVaeSettings settings;
  settings.encoder = settings.decoder = {5};
  settings.latents = {2, 3};
  const CategoricalVae vae(4, settings);
  settings.seed = 2;
  CategoricalVae back(4, settings);
  StochasticNetwork& network = back;
  save(path, vae);
  load(path, network);
  for (std::size_t i = 0; i < vae.parameters.size(); ++i)
    CHECK(identical(back.parameters[i], vae.parameters[i]));
  Dataset digits;
  digits.images = zeros({2, 4}), digits.labels = {0, 1}, digits.height = digits.width = 2;
  digits.classes = 2;
  Rng rng(1);
  const SemiSupervised one(digits, {3, 3, 2, false}, rng);
  SemiSupervised other(digits, {3, 3, 2, false}, rng);
  save(folder / "m.npz", one);
  load(folder / "m.npz", other);
  CHECK(identical(other.parameters[0], one.parameters[0]));
  CHECK(refusal(
            path, [&](Archive& a) { a.things(other); }, "") != "");
}

namespace {

// A safetensors file as others write it: without a checksum.
std::string foreign(const std::string& header, const std::string& data) {
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size());
  return length + header + data;
}

template <class T>
std::string bytes_of(std::initializer_list<T> numbers) {
  return {reinterpret_cast<const char*>(numbers.begin()), numbers.size() * sizeof(T)};
}

}  // namespace

TEST_CASE("files of others: every kind of number, converted exactly or refused") {
  const Folder folder;
  const auto entry = [&](const std::string& type, std::size_t n, const std::string& data) {
    return foreign(R"({"x": {"dtype":")" + type + R"(", "shape":[)" + std::to_string(n) +
                       R"(], "data_offsets":[0, )" + std::to_string(data.size()) + "]}}",
                   data);
  };
  const auto is = [&](const std::string& type, const std::string& data,
                      const std::vector<double>& expected) {
    CAPTURE(type);
    folder.write("f", entry(type, expected.size(), data));
    Tensor x = zeros({expected.size()});
    CHECK(refusal(
              folder / "f", [&](Archive& a) { a("x", x); }, "") == "");
    CHECK(identical(x, tensor({expected.size()}, expected)));
  };
  is("F64", bytes_of<double>({1.5, -2, 1e-300}), {1.5, -2, 0});
  is("F32", bytes_of<float>({1.5F, -2}), {1.5, -2});
  is("BF16", bytes_of<std::uint16_t>({0x3fc0, 0xc000}), {1.5, -2});
  // 1.5, -2, the largest, the least normal and the least number.
  is("F16", bytes_of<std::uint16_t>({0x3e00, 0xc000, 0x7bff, 0x0400, 0x8001}),
     {1.5, -2, 65504, std::ldexp(1, -14), -std::ldexp(1, -24)});
  is("I8", bytes_of<std::int8_t>({-128, 127}), {-128, 127});
  is("U8", bytes_of<std::uint8_t>({128, 255}), {128, 255});
  is("I16", bytes_of<std::int16_t>({-32768}), {-32768});
  is("U16", bytes_of<std::uint16_t>({65535}), {65535});
  is("I32", bytes_of<std::int32_t>({-70000}), {-70000});
  is("U32", bytes_of<std::uint32_t>({1U << 31U}), {0x1p31});
  is("I64", bytes_of<std::int64_t>({-(1LL << 40)}), {-0x1p40});
  is("U64", bytes_of<std::uint64_t>({1ULL << 63U}), {0x1p63});
  is("BOOL", std::string("\0\1", 2), {0, 1});

  const auto refused = [&](const std::string& file, const std::string& words) {
    folder.write("f", file);
    Tensor x = zeros({1});
    CHECK(refusal(
              folder / "f", [&](Archive& a) { a("x", x); }, "") == words);
  };
  refused(entry("F64", 1, bytes_of({1e300})), "'x' has 1e+300 at 0; need numbers that can be held");
  refused(entry("I64", 1, bytes_of<std::int64_t>({(1LL << 24) + 1})),
          "'x' has 16777217 at 0; need numbers that can be held");
  refused(entry("U64", 1, bytes_of<std::uint64_t>({~0ULL})),
          "'x' has 18446744073709551615 at 0; need numbers that can be held");
  refused(entry("C64", 1, std::string(8, '\0')),
          "'x' is of the type C64; need F16, BF16, F32, F64, integers or BOOL");
  refused(entry("F8_E4M3", 1, "x"),
          "'x' is of the type F8_E4M3; need F16, BF16, F32, F64, integers or BOOL");
  refused(entry("F32", 1, "123"), "it is damaged: the place of 'x' does not fit its shape");
  refused(entry("F32", 1, "1234") + "5", "it is torn: 5 bytes of 4 behind its header");
  refused(foreign("{]", ""), "it is damaged: its header has no \" at byte 1");
  refused(foreign("{\"x\":1}", ""), "it is damaged: its header has no { at byte 5");
  refused(foreign("{\"x\"", ""), "it is damaged: its header has no : at byte 4");
  refused(foreign("{\"x", ""), "it is damaged: its header ends too early");
  refused(foreign("{\"\\uD8\"}", ""), "it is damaged: its header has an unknown escape");
  refused(foreign("{} x", ""), "it is damaged: its header goes on after its end");
  refused(foreign("{}", ""), "it has no 'x'");
  const std::string twice = R"("x":{"dtype":"U8","shape":[],"data_offsets":[0,1]})",
                    other = R"("y":{"dtype":"U8","shape":[],"data_offsets":[0,1]})",
                    later = R"("y":{"dtype":"U8","shape":[],"data_offsets":[2,3]})";
  refused(foreign("{" + twice + "," + twice + "}", "1"),
          "it is damaged: two things are called 'x'");
  refused(foreign(R"({"x":{"dtype":"U8","shape":[2],"shape":[],"data_offsets":[0,1]}})", "1"),
          "it is damaged: two things are called 'shape'");
  for (const char* half : {"\\ud83d", "\\ud83d\\u0041", "\\ude00", "\\ud83d\\ud83d"})
    refused(foreign(std::string("{\"") + half + "\":{}}", ""),
            "it is damaged: its header has '?"
            "??"
            "', no text in UTF-8");
  refused(foreign("{" + twice + "," + other + "}", "1"),
          "it is damaged: its arrays do not stand one behind the other");
  refused(foreign("{" + twice + "," + later + "}", "123"),
          "it is damaged: its arrays do not stand one behind the other");
  const auto one = [](const std::string& fields) {
    return foreign("{\"x\":{" + fields + "}}", "1");
  };
  for (const char* two : {R"("dtype":"U8","data_offsets":[0,1])",
                          R"("shape":[],"data_offsets":[0,1])", R"("dtype":"U8","shape":[])"})
    refused(one(two), "it is damaged: 'x' lacks one of dtype, shape and data_offsets");
  refused(one(R"("dtype":"U8","shape":[01],"data_offsets":[0,1])"),
          "it is damaged: its header has no whole number where one is needed");
  const std::string nothing = R"("y":{"dtype":"U8","shape":[0],"data_offsets":)";
  refused(
      foreign("{" + nothing + "[18446744073709551615,18446744073709551615]}," + twice + "}", "1"),
      "it is torn: 1 bytes of 18446744073709551615 behind its header");
  refused(
      foreign("{" + nothing + "[1,1]}," + R"("x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
              "12"),
      "it is damaged: its arrays do not stand one behind the other");
  refused(std::string("PK\3\4 and so on"), "it is torn: its end is not that of a zip archive");

  // Escapes in a name, beyond the first 65536 characters too.
  folder.write(
      "f",
      foreign(R"({"\u00e4\ud83d\ude00\n":{"dtype":"U8","shape":[],"data_offsets":[0,1]}})", "7"));
  std::map<std::string, Tensor> all;
  argtape::load(folder / "f", all);
  CHECK(all.begin()->first == "\xc3\xa4\xf0\x9f\x98\x80\n");
}

TEST_CASE_TEMPLATE("a training goes on from its archive to the same bits", Optimiser, Sgd, Adam,
                   AdamW, RmsProp) {
  struct Training {
    Rng rng{3};
    Mlp mlp{{5, 4, 3}, rng};
    Optimiser optimiser{exponential_decay(0.05, 0.1, 1e-3)};
    void step() {
      Tape tape;
      const std::vector<Var> on_tape = tape.borrow_parameters(mlp.parameters);
      const Var loss = sum(square(mlp(on_tape, tape.constant(rng.normal({6, 5})))));
      optimiser.step(mlp.parameters, on_tape, loss);
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
    argtape::load(path, second, "test");
    for (int i = stop; i < 8; ++i) second.step();
    for (std::size_t i = 0; i < whole.mlp.parameters.size(); ++i)
      CHECK(identical(second.mlp.parameters[i], whole.mlp.parameters[i]));
  }
}

TEST_CASE("an optimiser reads what its own kind wrote, and no other's") {
  const auto written = [](Optimiser&& optimiser) {
    Archive a;
    optimiser.archive(a);
    return a.bytes();
  };
  const std::string of_adam = written(Adam(0.1)), of_adamw = written(AdamW(0.1));
  const auto read = [](Optimiser&& optimiser, const std::string& bytes) {
    Archive a(bytes);
    optimiser.archive(a);
    a.finish();
  };
  CHECK_NOTHROW(read(Adam(1), of_adam));
  CHECK_NOTHROW(read(AdamW(1), of_adamw));
  CHECK_THROWS_WITH_AS(read(AdamW(1), of_adam), "the state is of Adam; need one of AdamW",
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read(Adam(1), of_adamw), "the state is of AdamW; need one of Adam",
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read(Sgd(1), of_adamw), "the state is of AdamW; need one of Sgd",
                       std::runtime_error);
}

TEST_CASE("a checksum tells a number and a shape apart") {
  Tensor t = Rng(1).normal({3, 4});
  const std::uint32_t before = checksum(t);
  CHECK(checksum(Tensor(t)) == before);
  CHECK(checksum(reshaped(t, {4, 3})) != before);
  t.data()[11] = std::nextafter(t.data()[11], Scalar(9));
  CHECK(checksum(t) != before);
}
