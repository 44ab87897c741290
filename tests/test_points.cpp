// Points: the readers of CSV and NumPy files, their errors word for word, and made points. Built
// for both libraries.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/data/points.hpp"
#include "tests/folder.hpp"

using namespace argtape;

namespace {

Tensor csv(const std::string& text) { return read_points(Folder().write("points.csv", text)); }

// A number's bytes, least first, or most first.
template <class Number>
std::string bytes_of(Number value, bool big = false) {
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  std::string s;
  for (std::size_t i = 0; i < sizeof value; ++i)
    s += static_cast<char>(bits >> 8 * (big ? sizeof value - 1 - i : i) & 0xffU);
  return s;
}

std::string numpy_header(const std::string& dictionary, unsigned version = 1) {
  std::string s = std::string("\x93NUMPY") + static_cast<char>(version) + '\0';
  const std::string text = dictionary + "\n";
  return s + bytes_of(static_cast<std::uint32_t>(text.size())).substr(0, version == 1 ? 2 : 4) +
         text;
}

std::string described(const std::string& type, const std::string& shape, bool fortran = false) {
  return "{'descr': '" + type + "', 'fortran_order': " + (fortran ? "True" : "False") +
         ", 'shape': " + shape + ", }          ";
}

template <class Number>
std::string numpy(const std::string& type, const std::string& shape,
                  const std::vector<Number>& numbers, bool fortran = false, unsigned version = 1) {
  std::string s = numpy_header(described(type, shape, fortran), version);
  for (Number x : numbers) s += bytes_of(x, type[0] == '>');
  return s;
}

Tensor npy(const std::string& bytes) { return read_points(Folder().write("points", bytes)); }

void is(const Tensor& t, std::size_t n, std::size_t d, const std::vector<double>& numbers) {
  CHECK(t.shape() == Shape{n, d});
  REQUIRE(t.size() == numbers.size());
  CHECK(std::equal(numbers.begin(), numbers.end(), t.begin(),
                   [](double number, Scalar x) { return static_cast<Scalar>(number) == x; }));
}

}  // namespace

TEST_CASE("points: CSV files as people have them") {
  is(csv("1,2\n3,4\n"), 2, 2, {1, 2, 3, 4});
  is(csv("x,y\n1.5,-2e3\n"), 1, 2, {1.5, -2000});
  is(csv("\n# made by hand\nheight;weight, kg\r\n\r\n1;2\r\n  \n3;4"), 2, 2, {1, 2, 3, 4});
  is(csv("1\t 2\n3\t4\n"), 2, 2, {1, 2, 3, 4});
  is(csv("\xef\xbb\xbf"
         "1 , 2\n"),
     1, 2, {1, 2});
  is(csv("# np.savetxt\n  1.0e+00 2.0e+00\n 3 -4 \n"), 2, 2, {1, 2, 3, -4});
  is(csv("+1.5,+2\n"), 1, 2, {1.5, 2});
  is(csv("7\n8\n9"), 3, 1, {7, 8, 9});
  is(csv("length width\n1 2\n"), 1, 2, {1, 2});
  const Folder folder;
  is(read_points(folder.write_gz("points.csv.gz", "1,2\n3,4\n")), 2, 2, {1, 2, 3, 4});
}

TEST_CASE("points: a header has a name in it, and marks of missing values are none") {
  is(csv(",x,y\n0,1,2\n"), 1, 3, {0, 1, 2});  // as pandas writes it
  is(csv("Na,Mg\n1,2\n"), 1, 2, {1, 2});      // sodium
  is(csv("\"NA\",\"B\"\n1,2\n"), 1, 2, {1, 2});
  const Folder folder;
  for (const std::string cell : {"NA", "na", "N/A", "null", "None", "?", "-", ".", "", "\"NA\""}) {
    CAPTURE(cell);
    const std::string path = folder.write("bad.csv", cell + "," + cell + "\n1,2\n");
    CHECK_THROWS_WITH_AS(
        read_points(path),
        ("data: " + path + ", line 1, column 1 is '" + cell + "'; need a number").c_str(),
        std::runtime_error);
  }
}

TEST_CASE("points: a line is bounded, whatever a small file unpacks to") {
  const Folder folder;
  std::string zeros;
  for (int i = 0; i < 1 << 19; ++i) zeros += "0,";
  zeros.back() = '\n';
  CHECK(read_points(folder.write_gz("longest.gz", zeros)).shape() == Shape{1, 1U << 19});
  std::string more = "0,0";
  for (int i = 0; i < 1 << 22; ++i) more += ",0";
  const std::string bomb = folder.write_gz("bomb.gz", more + "\n");
  CHECK(std::filesystem::file_size(bomb) < 20000);
  CHECK_THROWS_WITH_AS(
      read_points(bomb),
      ("data: " + bomb +
       ", line 1 has more than 1048576 characters; need a CSV or NumPy file of points")
          .c_str(),
      std::runtime_error);
}

TEST_CASE("points: long lines, many lines") {
  std::string text;
  std::vector<double> numbers;
  for (int i = 0; i < 5000; ++i) {
    text += std::to_string(i) + (i % 2500 == 2499 ? "\n" : ",");
    numbers.push_back(i);
  }
  is(csv(text), 2, 2500, numbers);
}

TEST_CASE("points: what is wrong with a CSV file is said") {
  const Folder folder;
  const auto refused = [&](const std::string& text, const std::string& message) {
    const std::string path = folder.write("bad.csv", text);
    CHECK_THROWS_WITH_AS(read_points(path), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };
  const std::string kind = "; need a CSV or NumPy file of points";
  CHECK_THROWS_WITH_AS(read_points(folder / "none"),
                       ("data: there is no file " + (folder / "none") + kind).c_str(),
                       std::runtime_error);
  CHECK_THROWS_WITH_AS(read_points(folder / "."),
                       ("data: " + (folder / ".") + " is a folder" + kind).c_str(),
                       std::runtime_error);
  refused("", " holds no points; need a line of numbers for each");
  refused("\n\n", " holds no points; need a line of numbers for each");
  refused("x,y\n", " holds no points; need a line of numbers for each");
  refused("1,2\n3,4,5\n", ", line 2 has 3 cells; need 2, as line 1 has");
  refused("x,y\n\n1,2\n\n3\n", ", line 5 has 1 cell; need 2, as line 3 has");
  // A header of another width: a decimal comma, a comma in a name.
  refused("x\n0,5\n1,5\n", ", line 2 has 2 cells; need 1, as the header in line 1 has");
  refused("x;y\n0,5;1,5\n", ", line 2, column 1 is '0,5'; need a number");
  refused("a, b and c\n1;2;3\n", ", line 2 has 3 cells; need 1, as the header in line 1 has");
  refused("# made\nx,y\n\n1,2,3\n", ", line 4 has 3 cells; need 2, as the header in line 2 has");
  refused("x,y,\n1,2\n", ", line 2 has 2 cells; need 3, as the header in line 1 has");
  refused("1,2,\n3,4\n", ", line 1, column 3 is ''; need a number");
  refused("1,2\n3,four\n", ", line 2, column 2 is 'four'; need a number");
  refused("x,1\n3,4\n", ", line 1, column 1 is 'x'; need a number");
  refused("x,y\na,b\n", ", line 2, column 1 is 'a'; need a number");
  refused("1,2\n3,\n", ", line 2, column 2 is ''; need a number");
  refused("1,2\n3,0x10\n", ", line 2, column 2 is '0x10'; need a number");
  refused("1;2\n3;4,5\n", ", line 2, column 2 is '4,5'; need a number");
  refused("1,2\n3,+-4\n", ", line 2, column 2 is '+-4'; need a number");
  refused("1,2\nnan,4\n", ", line 2, column 1 is 'nan'; need a finite number");
  refused("NaN,inf\n", ", line 1, column 1 is 'NaN'; need a finite number");
  refused("1,-inf\n", ", line 1, column 2 is '-inf'; need a finite number");
  refused("1,1e999\n", ", line 1, column 2 is '1e999'; need a number that a double can hold");
  refused("1,1e-999\n", ", line 1, column 2 is '1e-999'; need a number that a double can hold");
  refused(std::string("1,2\n\0,4\n", 8), ", line 2 holds a zero byte, as no text does" + kind);
  refused("PK\x03\x04", " holds no points; need a line of numbers for each");

  const std::string whole = folder.write_gz("whole.gz", std::string(3000, '\n') + "1,2\n");
  std::ifstream in(whole, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(in), {}};
  refused(packed.substr(0, packed.size() - 8), " breaks off after 1 row; need an intact file");
}

TEST_CASE("points: NumPy files of every kind") {
  is(npy(numpy<double>("<f8", "(2, 3)", {1, 2, 3, 4, 5, -6.5})), 2, 3, {1, 2, 3, 4, 5, -6.5});
  is(npy(numpy<double>(">f8", "(2, 3)", {1, 2, 3, 4, 5, -6.5})), 2, 3, {1, 2, 3, 4, 5, -6.5});
  is(npy(numpy<float>("<f4", "(1, 2)", {0.5F, -3})), 1, 2, {0.5, -3});
  is(npy(numpy<float>(">f4", "(1, 2)", {0.5F, -3})), 1, 2, {0.5, -3});
  is(npy(numpy<std::uint16_t>("<f2", "(2, 1)", {0x3e00, 0xc000})), 2, 1, {1.5, -2});
  is(npy(numpy<std::uint16_t>(">f2", "(2, 1)", {0x3e00, 0xc000})), 2, 1, {1.5, -2});
  is(npy(numpy<std::int8_t>("|i1", "(2, 1)", {-128, 127})), 2, 1, {-128, 127});
  is(npy(numpy<std::uint8_t>("|u1", "(2, 1)", {128, 255})), 2, 1, {128, 255});
  for (const char* order : {"<", ">"}) {
    const std::string o = order;
    is(npy(numpy<std::int16_t>(o + "i2", "(2, 1)", {-32768, 256})), 2, 1, {-32768, 256});
    is(npy(numpy<std::uint16_t>(o + "u2", "(2, 1)", {65535, 256})), 2, 1, {65535, 256});
    is(npy(numpy<std::int32_t>(o + "i4", "(2, 1)", {-70000, 70000})), 2, 1, {-70000, 70000});
    is(npy(numpy<std::uint32_t>(o + "u4", "(1, 1)", {4294967295U})), 1, 1, {4294967295.0});
    is(npy(numpy<std::int64_t>(o + "i8", "(2, 1)", {-(1LL << 50), 3})), 2, 1, {-0x1p50, 3});
    is(npy(numpy<std::uint64_t>(o + "u8", "(1, 1)", {1ULL << 63U})), 1, 1, {0x1p63});
  }
  is(npy(numpy<std::uint8_t>("|b1", "(1, 3)", {0, 1, 1})), 1, 3, {0, 1, 1});
  is(npy(numpy<double>("<f8", "(2, 3)", {1, 4, 2, 5, 3, 6}, true)), 2, 3, {1, 2, 3, 4, 5, 6});
  is(npy(numpy<double>("<f8", "(3,)", {1, 2, 3})), 3, 1, {1, 2, 3});
  is(npy(numpy<double>("<f8", "(2L, 3L)", {1, 2, 3, 4, 5, 6})), 2, 3, {1, 2, 3, 4, 5, 6});
  is(npy(numpy<double>("<f8", "(2L,)", {1, 2})), 2, 1, {1, 2});
  for (unsigned version : {2U, 3U})
    is(npy(numpy<double>("<f8", "(1, 2)", {1, 2}, false, version)), 1, 2, {1, 2});
  const Folder folder;
  is(read_points(folder.write_gz("x.npy.gz", numpy<float>("<f4", "(1, 2)", {1, 2}))), 1, 2, {1, 2});

  std::vector<double> many(300000);  // more than a chunk
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = static_cast<double>(i);
  is(npy(numpy<double>("<f8", "(100000, 3)", many)), 100000, 3, many);
}

TEST_CASE("points: what is wrong with a NumPy file is said") {
  const Folder folder;
  const auto refused = [&](const std::string& bytes, const std::string& message) {
    const std::string path = folder.write("bad.npy", bytes);
    CHECK_THROWS_WITH_AS(read_points(path), ("data: " + path + message).c_str(),
                         std::runtime_error);
  };
  const auto of_type = [&](const std::string& type, const std::string& message) {
    refused(numpy<double>(type, "(1, 1)", {1}),
            message + "; need float16, float32, float64, integers or bool");
  };
  const std::string good = numpy<double>("<f8", "(2, 2)", {1, 2, 3, 4});
  const std::size_t header = good.size() - 32;
  const std::string least = ", the least a NumPy file has",
                    kind = "; need a CSV or NumPy file of points";
  refused("\x93", " begins as no NumPy file does; need one");
  refused("\x93MUMPY\x01", " begins as no NumPy file does; need one");
  refused(good.substr(0, 6), " ends after 6 bytes; need 10" + least);
  refused(good.substr(0, 9), " ends after 9 bytes; need 10" + least);
  refused(numpy_header("", 2).substr(0, 11), " ends after 11 bytes; need 12" + least);
  refused(numpy_header("{}", 4), " has NumPy's format version 4; need 1 to 3");
  refused(good.substr(0, 40),
          " ends after 40 bytes; need " + std::to_string(header) + ", for its header");
  refused(std::string("\x93NUMPY\x02\0", 8) + "\xff\xff\xff\xff",
          " promises a header of 4294967295 bytes; need at most 1048576");
  const std::string damaged =
      " has a damaged NumPy header; need one with descr, fortran_order and shape";
  refused(numpy_header("{}"), damaged);
  refused(numpy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2"), damaged);
  refused(numpy_header("{'descr': '<f8', 'fortran_order': Fals, 'shape': (2, 2)}"), damaged);
  refused(numpy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (2, -2)}"), damaged);
  for (const char* length : {"two", "L", "2LL", "2l", "2 L"})
    refused(numpy<double>("<f8", std::string("(2, ") + length + ")", {1, 2, 3, 4}), damaged);
  of_type("<c16", " holds the type '<c16'");
  of_type("", " holds the type ''");
  refused(numpy<double>("|O", "(1, 1)", {1}),
          " holds Python objects, the type '|O'; need float16, float32, float64, integers or bool, "
          "such as np.unique(x, return_inverse=True)[1] makes of texts");
  refused(numpy<double>("<U5", "(1, 1)", {1}),
          " holds texts, the type '<U5'; need float16, float32, float64, integers or bool, such as "
          "np.unique(x, return_inverse=True)[1] makes of texts");
  of_type("<M8[ns]", " holds the type '<M8[ns]'");
  of_type("|f8", " holds the type '|f8'");
  refused(numpy_header("{'descr': [('x', '<f8')], 'fortran_order': False, 'shape': (1,)}"),
          " holds structures; need float16, float32, float64, integers or bool");
  refused(numpy<double>("<f8", "()", {1}), " has the shape (); need (points, dimensions)");
  refused(numpy<double>("<f8", "(1, 1, 1)", {1}),
          " has the shape (1, 1, 1); need (points, dimensions)");
  const std::string at_least = "; need at least one point and one dimension";
  refused(numpy<double>("<f8", "(0, 3)", {}), " has the shape (0, 3)" + at_least);
  refused(numpy<double>("<f8", "(3, 0)", {}), " has the shape (3, 0)" + at_least);
  refused(numpy<double>("<f8", "(0,)", {}), " has the shape (0,)" + at_least);

  // Headers that promise more than any machine has: nothing is asked for before it is there.
  // Those beside an axis of length 0 count too: no tensor has such a shape.
  for (const char* shape :
       {"(4611686018427387904, 4)", "(0, 99999999999999)", "(99999999999999, 0)",
        "(3, 0, 99999999999999)", "(18446744073709551615,)"})
    refused(numpy<double>("<f8", shape, {}),
            std::string(" has the shape ") + shape + ", more than memory can hold; need less");
  refused(numpy<double>("<f8", "(99999999999999999999, 4)", {}), damaged);
  const std::string huge = numpy<double>("<f8", "(1000000, 1000000)", {1});
  refused(huge, " ends after " + std::to_string(huge.size()) + " bytes; need " +
                    std::to_string(8000000000000 + huge.size() - 8) +
                    ", as its header promises the shape (1000000, 1000000)");
  refused(good.substr(0, header + 20), " ends after " + std::to_string(header + 20) +
                                           " bytes; need " + std::to_string(header + 32) +
                                           ", as its header promises the shape (2, 2)");
  refused(good + "x", " goes on after the " + std::to_string(header + 32) +
                          " bytes its header promises; need nothing there");

  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  constexpr double inf = std::numeric_limits<double>::infinity();
  refused(numpy<double>("<f8", "(2, 3)", {1, 2, 3, 4, nan, 6}),
          ", row 2, column 2 is NaN; need a finite number");
  refused(numpy<double>("<f8", "(2, 3)", {1, 2, 3, 4, nan, 6}, true),
          ", row 1, column 3 is NaN; need a finite number");
  refused(numpy<float>(">f4", "(2,)", {1, -std::numeric_limits<float>::infinity()}),
          ", row 2, column 1 is infinite; need a finite number");
  refused(numpy<double>("<f8", "(1, 1)", {inf}),
          ", row 1, column 1 is infinite; need a finite number");

  const std::string whole = folder.write_gz("whole.npy.gz", good);
  std::ifstream in(whole, std::ios::binary);
  const std::string packed{std::istreambuf_iterator<char>(in), {}};
  refused(packed.substr(0, packed.size() - 4),
          " breaks off before its checksum; need an intact file");
}

TEST_CASE("points: a gzipped file ends where its last member does") {
  const Folder folder;
  for (const std::string& bytes :
       {std::string("1,2\n3,4\n"), numpy<float>("<f4", "(2, 2)", {1, 2, 3, 4})}) {
    const std::string half = bytes.substr(0, bytes.size() / 2), rest = bytes.substr(half.size());
    const std::string whole = contents(folder.write_gz("whole.gz", bytes)),
                      members = contents(folder.write_gz("half.gz", half)) +
                                contents(folder.write_gz("none.gz", "")) +
                                contents(folder.write_gz("rest.gz", rest));
    is(read_points(folder.write("members.gz", members)), 2, 2, {1, 2, 3, 4});
    const auto refused = [&](const std::string& behind, const std::string& message) {
      const std::string path = folder.write("longer.gz", whole + behind);
      CHECK_THROWS_WITH_AS(read_points(path), ("data: " + path + message).c_str(),
                           std::runtime_error);
    };
    // Some of these are more than is read at once.
    for (const std::string& behind : {std::string("garbage!"), std::string(512, '\0'),
                                      std::string(1 << 20, 'x'), bytes, std::string("\n\n")})
      refused(behind, " cannot be read (incorrect header check); need an intact file");
    refused("\x1f\x8b\x07\x01",
            " cannot be read (unknown compression method); need an intact file");
    const std::string cut =
        bytes[0] == '1' ? " breaks off after 2 rows" : " breaks off before its checksum";
    for (const std::string& behind : {std::string("\x1f"), whole.substr(0, 10)})
      refused(behind, cut + "; need an intact file");
  }
}

TEST_CASE("points: a number that the library's Scalar cannot hold") {
  const Folder folder;
  const std::string path = folder.write("large.csv", "x,y\n0,1\n2,-1e300\n");
  if (sizeof(Scalar) == 8)
    is(read_points(path), 2, 2, {0, 1, 2, -1e300});
  else
    CHECK_THROWS_WITH_AS(read_points(path),
                         ("data: " + path +
                          ", point 2, column 2 is -1e+300; need a number that the library's Scalar "
                          "can hold")
                             .c_str(),
                         std::runtime_error);
}

TEST_CASE("points: what would become 0 is refused, in text and in a NumPy file alike") {
  const Folder folder;
  const auto refused = [](const std::string& path, const std::string& shown) {
    CHECK_THROWS_WITH_AS(read_points(path),
                         ("data: " + path + ", point 1, column 2 is " + shown +
                          "; need a number that the library's Scalar can hold")
                             .c_str(),
                         std::runtime_error);
  };
  const auto both = [&](const std::string& text, double value) {
    return std::vector<std::string>{
        folder.write("tiny.csv", "1," + text + "\n"),
        folder.write("tiny.npy", numpy<double>("<f8", "(1, 2)", {1, value}))};
  };
  for (double value : {std::numeric_limits<double>::denorm_min(), 1e-50})
    for (const std::string& path : both(str(value), value))
      if (sizeof(Scalar) == 8)
        is(read_points(path), 1, 2, {1, value});
      else
        refused(path, str(value));
  for (const std::string& path : both("1e-44", 1e-44))  // a float, if not a normal one
    CHECK(read_points(path)(0, 1) == static_cast<Scalar>(1e-44));
  for (const std::string& path : both("-0.0", -0.0)) CHECK(read_points(path)(0, 1) == 0);
}

TEST_CASE("points: separated clusters") {
  constexpr std::size_t n = 1000, d = 5, k = 10;
  constexpr double spread = 0.01;
  Rng rng(3);
  const Tensor x = separated_points(n, d, k, spread, rng);
  CHECK(x.shape() == Shape{n, d});
  double mean[k][d] = {};
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < d; ++j) mean[i % k][j] += static_cast<double>(x(i, j)) * k / n;
  const auto squared = [&](std::size_t i, std::size_t m) {
    double sum = 0;
    for (std::size_t j = 0; j < d; ++j)
      sum += std::pow(static_cast<double>(x(i, j)) - mean[m][j], 2);
    return sum;
  };
  // Uniform centres lie sqrt(d / 6) = 0.9 apart on average; a point lies spread sqrt(d) = 0.02 from
  // its own.
  double within = 0, between = 0;
  for (std::size_t i = 0; i < n; ++i) {
    within += squared(i, i % k);
    for (std::size_t m = 0; m < k; ++m) {
      if (m == i % k) continue;
      CHECK(squared(i, m) > 25 * squared(i, i % k));
      between += squared(i, m) / (n * (k - 1));
    }
  }
  // Its own mean takes one of each hundred degrees of freedom.
  const double variance = within / ((n - k) * d);
  CHECK(std::abs(variance - spread * spread) <
        4 * spread * spread * std::sqrt(2.0 / ((n - k) * d)));
  CHECK(between > 0.4);
  CHECK(between < 1.4);
  for (const auto& centre : mean)
    for (double c : centre) {
      CHECK(c > -spread);
      CHECK(c < 1 + spread);
    }
  CHECK_THROWS_WITH_AS(separated_points(10, 0, 2, 0.1, rng),
                       "separated_points: 10 points in 0 dimensions around 2 centres, with spread "
                       "0.1; need at least 1 of each, and a finite spread of 0 or more",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(separated_points(10, 2, 2, std::numeric_limits<double>::infinity(), rng),
                       doctest::Contains("need at least 1 of each, and a finite spread"),
                       std::invalid_argument);
}
